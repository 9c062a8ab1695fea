import keras
import numpy as np
import pytest
import scipy.special

from electra_tf import errors
from electra_tf.tasks import heads


def randomize(layer, shape):
    layer.build(shape)
    chance = np.random.default_rng(3)
    for variable in layer.trainable_variables:
        variable.assign(chance.normal(0, 0.5, variable.shape))
    return {v.path.partition("/")[2]: v.numpy() for v in layer.trainable_variables}


def gelu(x):
    return x * 0.5 * (1 + scipy.special.erf(x / np.sqrt(2)))


def test_a_dense_head_is_dense_gelu_dense():
    head = heads.ClassificationHead(4, 5, 0.5, name="classification_head")
    arrays = randomize(head, (None, 6))
    x = np.random.default_rng(4).normal(0, 1, [3, 6]).astype(np.float32)
    hidden = gelu(x @ arrays["dense/kernel"] + arrays["dense/bias"])
    want = hidden @ arrays["logits/kernel"] + arrays["logits/bias"]
    np.testing.assert_allclose(head(x), want, atol=1e-5)


def test_a_linear_head_is_one_dense_layer():
    head = heads.ClassificationHead(4, None, 0.5, name="classification_head")
    arrays = randomize(head, (None, 6))
    assert set(arrays) == {"logits/kernel", "logits/bias"}
    x = np.random.default_rng(4).normal(0, 1, [3, 6]).astype(np.float32)
    want = x @ arrays["logits/kernel"] + arrays["logits/bias"]
    np.testing.assert_allclose(head(x), want, atol=1e-5)


def test_a_token_head_does_the_same_at_every_token():
    head = heads.TokenHead(4, 0.5, name="token_head")
    arrays = randomize(head, (None, None, 6))
    x = np.random.default_rng(4).normal(0, 1, [3, 7, 6]).astype(np.float32)
    want = x @ arrays["logits/kernel"] + arrays["logits/bias"]
    np.testing.assert_allclose(head(x), want, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (heads.ClassificationHead(4, 5, 0.5, dtype="mixed_bfloat16"), (3, 6)),
        (heads.TokenHead(4, 0.5, dtype="mixed_bfloat16"), (3, 7, 6)),
    ],
)
def test_logits_are_float32_and_dropout_rests_in_inference(head, shape):
    randomize(head, shape)
    x = np.ones(shape, np.float32)
    assert head(x).dtype == "float32"
    np.testing.assert_array_equal(head(x), head(x))
    assert np.ptp(np.asarray(head(x, training=True)), axis=0).any()


@pytest.mark.parametrize(
    "head",
    [
        heads.ClassificationHead(4, 5, 0.3, name="classification_head"),
        heads.ClassificationHead(4, None, 0.3, name="a_head"),
        heads.TokenHead(4, 0.3, name="token_head"),
    ],
)
def test_a_head_is_made_again_from_its_settings(head):
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(head)
    )
    assert type(again) is type(head)
    assert again.get_config() == head.get_config()


def test_kernels_are_glorot_uniform():
    head = heads.ClassificationHead(30, 200, 0.0)
    head.build((None, 100))
    for kernel in (head.dense.kernel, head.logits.kernel):
        limit = np.sqrt(6 / sum(kernel.shape))
        assert 0.99 * limit < np.max(np.abs(kernel.numpy())) <= limit


def test_a_dense_head_is_as_wide_as_the_encoder(tiny_backbone):
    made = {
        head: heads.build_classification_head(tiny_backbone, 3, head, 0.1)
        for head in ("dense", "linear")
    }
    assert made["dense"].hidden_dim == 12
    assert made["linear"].hidden_dim is None
    assert {head.name for head in made.values()} == {"classification_head"}
    with pytest.raises(errors.UserError, match='head=\'wide\': want "dense" or "lin'):
        heads.build_classification_head(tiny_backbone, 3, "wide", 0.1)
