"""A served graph writes what Python writes."""

import numpy as np
import pytest
import seq2seq
import tensorflow as tf

from electra_tf import errors
from electra_tf.finetuning import client, task_config
from electra_tf.kinds import registry
from electra_tf.serving import saved_model

KIND = registry.KINDS["seq2seq"]


@pytest.fixture(scope="module")
def model():
    return seq2seq.build()


@pytest.mark.parametrize(
    "settings",
    [
        {"no_repeat_ngram_size": 1},
        pytest.param(
            {"num_beams": 3, "num_best": 2, "max_length": 9, "no_repeat_ngram_size": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["greedy", "beams"],
)
@pytest.mark.filterwarnings("ignore:1 of")
def test_a_server_writes_what_predict_does(model, settings):
    model.generation = task_config.GenerateConfig(**settings)
    want = KIND.answer(model, seq2seq.TEXTS, 8)
    assert len({one["generated"] for one in want}) > 2  # Else nothing is told.
    (signature,) = model.signatures().values()
    said = tf.function(signature.function)(text=tf.constant(seq2seq.TEXTS))
    assert said.keys() >= KIND.signature.outputs
    rows = client._decoded({name: one.numpy().tolist() for name, one in said.items()})
    assert rows["truncated"] == [False, False, False, True, False]
    for place, (text, right) in enumerate(zip(seq2seq.TEXTS, want, strict=True)):
        row = {name: values[place] for name, values in rows.items()}
        found = KIND.response(row, text)
        assert found["generated"] == right["generated"]
        assert found["score"] == pytest.approx(right["score"], abs=1e-5)
        texts = [one["generated"] for one in found.get("n_best", [])]
        assert texts == [one["generated"] for one in right.get("n_best", [])]


@pytest.mark.slow
def test_no_texts_are_answered_by_none(model):
    model.generation = task_config.GenerateConfig()
    (signature,) = model.signatures().values()
    said = tf.function(signature.function)(text=tf.zeros([0], tf.string))
    assert said["generated"].shape == (0,)
    assert said["n_best"].shape == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.filterwarnings("ignore")
def test_an_export_writes_texts_in_batches(model, tmp_path, weights):
    model.generation = task_config.GenerateConfig(num_beams=2)
    found = model.export_for_serving(
        tmp_path / "served", batch_sizes=(1, 2), weights=weights
    )
    served = tf.saved_model.load(found.folder).signatures[saved_model.DEFAULT]
    said = served(text=tf.constant(seq2seq.TEXTS))["generated"].numpy()
    one_by_one = [
        served(text=tf.constant([text]))["generated"].numpy()[0]
        for text in seq2seq.TEXTS
    ]
    np.testing.assert_array_equal(said, one_by_one)
    if weights == "float32":
        want = [one["generated"] for one in KIND.answer(model, seq2seq.TEXTS, 2)]
        assert [text.decode() for text in said] == want


def test_what_has_no_fixed_length_is_refused(model, tmp_path):
    with pytest.raises(errors.UserError, match="answers that are written have no"):
        model.export_for_serving(tmp_path / "served", fixed_length=True)
