"""What the paper's recipe is, and what would have no effect on it."""

import keras
import pytest

from electra_tf import errors
from electra_tf.tasks import (
    backbone,
    text_classifier,
)

Classifier = text_classifier.ElectraTextClassifier


@pytest.mark.parametrize(
    ("width", "rate", "decay"),
    [(256, 3e-4, 0.8), (257, 1e-4, 0.8), (768, 1e-4, 0.8), (1024, 5e-5, 0.9)],
)
def test_rates_are_the_papers_for_the_width(width, rate, decay, tiny_model_config):
    model = tiny_model_config.model_copy(
        update={"hidden_size": width, "num_heads": 1, "num_layers": 1}
    )
    classifier = Classifier(backbone.ElectraBackbone.from_model_config(model), 2)
    learner = classifier.optimizer
    assert learner.get_config()["learning_rate"]["config"]["peak"] == rate
    variables = classifier.trainable_variables
    learner.build(variables)
    rates = {v.path: rate for v, rate in zip(variables, learner.rates, strict=True)}
    assert rates["classification_head/dense/kernel"] == 1.0
    assert rates["layer_0/query/kernel"] == pytest.approx(decay)
    assert rates["embeddings/word_embeddings"] == pytest.approx(decay**2)
    assert (learner.clip_norm, learner.decoupled_decay) == (1, 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"optimizer": "adam", "learning_rate": 1e-3},
            "learning_rate=0.001 has no eff",
        ),
        (
            {"optimizer": "sgd", "layer_decay": 0.9},
            "layer_decay=0.9 .* optimizer sgd; ",
        ),
        (
            {"optimizer": keras.optimizers.Adam(), "weight_decay": 0.0},
            "weight_decay=0.0 has no effect on optimizer Adam; leave optimizer out",
        ),
        ({"learning_rate": "fast"}, "learning_rate='fast': want a number"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0: want a number, 0 or more"),
        (
            {"learning_rate": keras.optimizers.schedules.CosineDecay(1e-3, 9)},
            "learning_rate=<.*: want a number.*; a schedule",
        ),
    ],
)
def test_rates_that_would_have_no_effect_are_refused(kwargs, message, build_classifier):
    classifier = build_classifier()
    with pytest.raises(errors.UserError, match=message) as refused:
        classifier.compile(**kwargs)
    assert "\n" not in str(refused.value)
