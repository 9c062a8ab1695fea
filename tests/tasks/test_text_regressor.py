import functools

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import text_regressor

TEXTS = [
    f"the {who} {what} {where}"
    for who in ("cat", "dog")
    for what in ("sat", "ran")
    for where in ("on the mat", "under a tree", "over", "on a roof .")
]
# A cat costs far more; of an unusual range.
PRICES = [5000.0 if "cat" in text else 4000.0 for text in TEXTS]


@pytest.fixture
def build(build_task):
    return functools.partial(build_task, text_regressor.ElectraTextRegressor)


@pytest.mark.slow
@pytest.mark.learns
def test_it_learns_numbers_of_any_range_by_heart_and_keeps_them(build, tmp_path):
    regressor = build()
    regressor.compile(learning_rate=5e-3)
    history = regressor.fit(TEXTS, PRICES, batch_size=8, epochs=20, verbose=0)
    assert history.history["loss"][-1] < 0.15
    found = regressor.predict(TEXTS)
    assert found.dtype == np.float32
    # The two prices are a thousand apart.
    np.testing.assert_allclose(found, PRICES, atol=400)
    assert (regressor.offset, regressor.scale) == (4500.0, 500.0)
    regressor.save_to_preset(str(tmp_path))
    again = text_regressor.ElectraTextRegressor.from_preset(str(tmp_path))
    np.testing.assert_allclose(again.predict(TEXTS), found, rtol=1e-6)
    assert again.get_config() == regressor.get_config()
    # Offset and scale are those of the first labels, whatever comes later.
    loss, error = again.evaluate(TEXTS, PRICES, verbose=0)
    np.testing.assert_allclose(
        error, np.mean(np.abs(found - PRICES)) / 500.0, rtol=1e-4
    )
    np.testing.assert_allclose(
        loss, np.mean((found - PRICES) ** 2) / 500.0**2, rtol=1e-4
    )
    # In a dataset, labels and answers are of that range too.
    data = tf.data.Dataset.from_tensor_slices((TEXTS, PRICES)).batch(5)
    np.testing.assert_allclose(again.evaluate(data, verbose=0), [loss, error], 1e-4)
    texts = data.map(lambda x, y: x)
    np.testing.assert_allclose(again.predict(texts, verbose=0), found, rtol=1e-5)


def test_answers_are_in_the_units_of_the_labels(build):
    plain = build(offset=0.0, scale=1.0)
    moved = build(offset=7.0, scale=3.0)
    moved.set_weights(plain.get_weights())
    want = plain.predict(TEXTS)
    assert want.shape == (16,)
    np.testing.assert_allclose(moved.predict(TEXTS), want * 3 + 7, rtol=1e-5)
    assert moved.predict([]).shape == (0,)
    kernel, bias = (
        "classification_head/logits/kernel",
        "classification_head/logits/bias",
    )
    ones = np.ones(2, np.float32)
    assert moved.exported(kernel, ones).tolist() == [3, 3]
    assert moved.exported(bias, ones).tolist() == [10, 10]
    other = "classification_head/dense/bias"
    assert moved.exported(other, ones).tolist() == [1, 1]


def test_equal_labels_have_a_scale_of_one(build):
    regressor = build(head="linear")
    regressor.fit(TEXTS[:3], [4, 4, 4], epochs=1, verbose=0)
    assert (regressor.offset, regressor.scale) == (4.0, 1.0)
    assert np.isfinite(regressor.predict(TEXTS)).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["good", "bad", "1"], "the labels are not all numbers"),
        ([1, None, 2], "no finite number"),
        ([1, float("nan"), 2], "no finite number"),
        ([1, float("inf"), 2], "no finite number"),
        ([[1, 2], [2, 3], [3, 4]], "no finite number"),
        ([1, 2], "2 labels for 3 inputs"),
        (None, "the labels are None"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(labels, message, build):
    with pytest.raises(errors.UserError, match=message):
        build().fit(TEXTS[:3], labels, verbose=0)


def test_a_scale_must_be_positive(build):
    with pytest.raises(errors.UserError, match=r"scale=0.0: want more than 0"):
        build(scale=0.0)
