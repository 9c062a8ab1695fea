"""KerasHub's own harness, run on our classes as on theirs.

What of it cannot hold is named where it is left out. Sizes all differ, as everywhere.
"""

import keras
import keras_hub
import numpy as np
import pytest
from keras_hub.src.tests import test_case

from electra_tf.tasks import (
    backbone,
    masked_lm,
    multiple_choice,
    preprocessor,
    question_answerer,
    replaced_token_detector,
    text_classifier,
    text_embedder,
    text_regressor,
    token_classifier,
    tokenizer,
)

VOCAB = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat a dog ##s ran".split()
TEXTS = ["the cat sat", "a dogs ran", "the mat"]
SIZES = {
    "vocab_size": len(VOCAB),
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 8,
    "embedding_dim": 6,
    "intermediate_dim": 10,
    "max_sequence_length": 20,
}
IDS = {
    "token_ids": np.array([[2, 5, 6, 7, 3], [2, 10, 11, 3, 0], [2, 9, 3, 0, 0]]),
    "segment_ids": np.zeros((3, 5), "int32"),
    "padding_mask": np.array([[1] * 5, [1] * 4 + [0], [1] * 3 + [0, 0]]),
}
WIDTH = 12

# The harness says `check_types`, which Keras no longer heeds.
pytestmark = pytest.mark.filterwarnings("ignore:The `check_types`:DeprecationWarning")


@keras.saving.register_keras_serializable(package="test_harness")
class AsTheyAre(keras_hub.models.Preprocessor):
    """For tasks whose labels no tf.data.Dataset of strings can have."""

    def call(self, x, y=None, sample_weight=None):
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


def texts():
    return preprocessor.ElectraTextPreprocessor(
        tokenizer.ElectraTokenizer(VOCAB), sequence_length=WIDTH
    )


def flags(*shape):
    return np.random.default_rng(3).integers(0, 2, shape)


# The task; its own arguments; what it trains on; of what shape its predictions are;
# arguments of `compile`.
TASKS = {
    "classifier": (
        text_classifier.ElectraTextClassifier,
        {"num_classes": 4, "preprocessor": texts},
        (TEXTS, [0, 3, 1]),
        (3, 4),
        None,
    ),
    "regressor": (
        text_regressor.ElectraTextRegressor,
        {"preprocessor": texts, "offset": 0.0, "scale": 1.0},
        (TEXTS, [0.5, 2.0, 1.0]),
        (3,),
        None,
    ),
    "embedder": (
        text_embedder.ElectraTextEmbedder,
        {"preprocessor": texts},
        (TEXTS, np.ones((3, 8))),
        (3, 8),
        {"loss": "mse"},  # It has none of its own.
    ),
    "tokens": (
        token_classifier.ElectraTokenClassifier,
        {"num_classes": 2, "preprocessor": AsTheyAre},
        (IDS, flags(3, 5)),
        (3, 5, 2),
        None,
    ),
    "questions": (
        question_answerer.ElectraQuestionAnswerer,
        {"preprocessor": AsTheyAre, "head": "plain"},
        (IDS, {"start": np.array([1, 2, 1]), "end": np.array([2, 2, 1])}),
        {"start": (3, 5), "end": (3, 5)},
        None,
    ),
    "choices": (
        multiple_choice.ElectraMultipleChoice,
        {"preprocessor": AsTheyAre},
        ({name: np.stack([x, x[::-1]], 1) for name, x in IDS.items()}, flags(3)),
        (3, 2),
        None,
    ),
    "detector": (
        replaced_token_detector.ElectraReplacedTokenDetector,
        {"preprocessor": AsTheyAre},
        (IDS, flags(3, 5)),
        (3, 5),
        None,
    ),
    "masked_lm": (
        masked_lm.ElectraMaskedLM,
        {"preprocessor": AsTheyAre},
        ({**IDS, "mask_positions": flags(3, 2)}, flags(3, 2), np.ones((3, 2))),
        (3, 2, len(VOCAB)),
        None,
    ),
}


def made(name):
    """The arguments of a task's constructor."""
    _, arguments, *_ = TASKS[name]
    built = {**arguments, "preprocessor": arguments["preprocessor"]()}
    return {"backbone": backbone.ElectraBackbone(**SIZES), **built}


class TestHarness(test_case.TestCase):
    def test_the_backbone(self):
        self.run_backbone_test(
            backbone.ElectraBackbone,
            dict(SIZES),
            IDS,
            {"sequence_output": (3, 5, 8), "pooled_output": (3, 8)},
        )

    def test_the_tokenizer(self):
        self.run_preprocessing_layer_test(
            tokenizer.ElectraTokenizer,
            {"vocabulary": VOCAB},
            ["the cat sat", "a dogs ran"],
            expected_output=[[5, 6, 7], [10, 11, 12, 13]],
            expected_detokenize_output=["the cat sat", "a dogs ran"],
        )

    def test_the_preprocessor(self):
        self.init_kwargs = {
            "tokenizer": tokenizer.ElectraTokenizer(VOCAB),
            "sequence_length": 7,
        }
        self.run_preprocessor_test(
            preprocessor.ElectraTextPreprocessor,
            self.init_kwargs,
            (["the cat sat"], [1], [0.5]),
            expected_output=(
                {
                    "token_ids": [[2, 5, 6, 7, 3, 0, 0]],
                    "segment_ids": [[0] * 7],
                    "padding_mask": [[1] * 5 + [0] * 2],
                },
                [1],
                [0.5],
            ),
        )


def _of_task(name):
    def test(self):
        cls, _, data, shape, compiled = TASKS[name]
        self.run_task_test(
            cls, made(name), data, expected_output_shape=shape, compile_kwargs=compiled
        )

    return test


def _of_saving(name):
    def test(self):
        arguments = {**made(name), "preprocessor": None}
        data = TASKS[name][2][0]
        self.run_model_saving_test(
            TASKS[name][0], arguments, data if isinstance(data, dict) else IDS
        )

    return test


for _name in TASKS:
    _test = _of_task(_name)
    if _name not in ("classifier", "choices"):
        _test = pytest.mark.slow(_test)
    setattr(TestHarness, f"test_the_{_name}", _test)
    setattr(TestHarness, f"test_the_{_name}_saved", _of_saving(_name))
