import math

import masked_rows
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def uniform():
    return masked_rows.build("uniform")


def test_uniform_replacement_draws_every_token_alike(uniform):
    noise = (np.arange(330, dtype=np.float32) + 0.5) / 330
    _, sampled, _ = uniform.guess(
        {"sampling_noise": noise[None], "mask_weights": tf.ones([1, 330])},
        training=True,
        progress=0.0,
    )
    np.testing.assert_array_equal(np.bincount(sampled[0], minlength=11), [30] * 11)
    almost_one = np.nextafter(np.float32(1), np.float32(0))
    noise = tf.fill([2, 3], almost_one)
    assert (
        np.max(
            uniform.verdicts(masked_rows.BATCH | {"sampling_noise": noise})["sampled"]
        )
        == 10
    )


def test_uniform_replacement_trains_a_discriminator_alone(uniform):
    assert list(uniform.networks) == ["discriminator"]
    sums, _ = uniform.sums(masked_rows.BATCH, False, 0.0)
    np.testing.assert_allclose(sums["mlm"], 4 * math.log(11), rtol=1e-6)
    assert masked_rows.weights_of(uniform)["mlm"] == 0.0
    token_ids, is_replaced = masked_rows.fill(
        np.asarray(uniform.verdicts(masked_rows.BATCH)["sampled"])
    )
    verdicts = masked_rows.judge(uniform, token_ids)
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    real = np.asarray(masked_rows.BATCH["example_ids"]) > 0
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-5)
