"""What is stored smaller is float32 again for whoever loads it."""

import json

import keras
import numpy as np
import pytest
import servers
import tensorflow as tf

from electra_tf.finetuning import task_config
from electra_tf.release import exporter
from electra_tf.serving import stored_weights
from electra_tf.tasks import catalog

TEXTS = ["the cat sat", "", "a dog ran under the tree . " * 5]

# The largest error of a matrix, as a share of its largest value.
ERRORS = {"float16": 2**-11, "bfloat16": 2**-8, "int8": 0.5 / 127 + 1e-6}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("bfloat16", marks=pytest.mark.slow),
        "int8",
    ],
)
@pytest.mark.filterwarnings("ignore:.*lost their end")
def test_a_loaded_model_has_the_weights_that_were_stored(kind, tiny_tuned, tmp_path):
    settings = task_config.ExportConfig(
        export={"weights": kind, "fixed_length": kind == "int8"}
    )
    base = tmp_path / "cats"
    exporter.export(
        str(tiny_tuned[0]), str(base), settings, batch_sizes=[1], say=lambda _: None
    )
    stored = tf.train.load_checkpoint(str(base / "1" / "variables" / "variables"))
    dtypes = stored.get_variable_to_dtype_map()
    shapes = stored.get_variable_to_shape_map()
    matrices = [
        name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1
    ]
    assert {dtypes[name] for name in matrices} == {tf.as_dtype(kind)}

    # The same model in Python, of weights that lost as much.
    model = catalog.load(str(tiny_tuned[0]))
    assert len(matrices) == sum(len(one.shape) == 2 for one in model.weights)
    for one in model.weights:
        if len(one.shape) == 2:
            values = np.array(one)
            lost = rounded(values, kind)
            assert not np.array_equal(lost, values)
            worst = np.abs(values).max() * ERRORS[kind]
            np.testing.assert_allclose(lost, values, rtol=0, atol=worst)
            one.assign(lost)
    want = np.array([list(r["scores"].values()) for r in model.predict_classes(TEXTS)])

    folder = str(base / "1")
    found = servers.Served(folder)("serving_default", text=TEXTS)
    np.testing.assert_allclose(found["scores"], want, rtol=0, atol=1e-5)
    loaded = tf.saved_model.load(folder)
    found = loaded.signatures["serving_default"](text=tf.constant(TEXTS))
    np.testing.assert_allclose(found["scores"], want, rtol=0, atol=1e-5)
    about = json.loads((base / "1" / "assets.extra" / "model.json").read_text())
    assert about["weights"] == kind
    length = 13 if kind == "int8" else None
    assert about["signatures"]["tokens"]["inputs"]["token_ids"] == (
        f"int32 [None, {length}]"
    )


def rounded(values, kind):
    """Rounds as the storage does; int8 by the longer axis, in plain numpy."""
    if kind != "int8":
        return tf.cast(tf.cast(values, kind), tf.float32).numpy()
    tall = values if values.shape[0] > values.shape[1] else values.T
    rows = [
        np.rint(row / (np.abs(row).max() / 127.0)) * (np.abs(row).max() / 127.0)
        for row in tall
    ]
    found = np.array(rows, np.float32)
    return found if tall is values else found.T


def test_a_row_of_zeros_stays_one():
    variable = keras.Variable(np.eye(3, 2, dtype=np.float32))
    stored = stored_weights.store([variable], "int8")
    with stored.tracing():
        np.testing.assert_allclose(variable.value, np.eye(3, 2), atol=1e-6)


def test_a_model_is_itself_again_after_it_was_exported_smaller(tiny_tuned, tmp_path):
    model = catalog.load(str(tiny_tuned[0]))
    before = model.predict(["the cat sat"])
    model.export_for_serving(tmp_path / "cats", batch_sizes=[1], weights="int8")
    np.testing.assert_array_equal(model.predict(["the cat sat"]), before)
    assert model.preprocessor.fixed_length is False
