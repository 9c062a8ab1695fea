import math

import masked_rows
import numpy as np
import pytest
import tensorflow as tf

import electra_tf
from electra_tf import config, errors
from electra_tf.objectives import registry
from electra_tf.training import run
from electra_tf.weights import opening, preset


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("electric", temperature=1.7)


def test_the_loss_is_that_of_algorithm_2(learned):
    """-log of kq / ((n - k) p + kq) where noise was put, else of the rest of 1."""
    batch = masked_rows.BATCH
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    logits = np.float64(learned.score(batch, False)) / 1.7
    q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = np.take_along_axis(q, token_ids[..., None], -1)[..., 0]
    p = np.exp(-masked_rows.judge(learned, token_ids))
    is_noise = np.zeros([2, 7], bool)
    for row, position, _ in masked_rows.HIDDEN:
        is_noise[row, position] = True
    assert (is_noise & ~is_replaced).any() or is_replaced.sum() == 4
    k = 0.15  # of n = 1
    noise = k * q / ((1.0 - k) * p + k * q)
    costs = -np.log(np.where(is_noise, noise, 1.0 - noise))
    real = np.asarray(batch["example_ids"]) > 0
    sums, metrics = learned.sums(batch, False, 0.0)
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-4)
    np.testing.assert_allclose(
        np.asarray(learned.verdicts(batch)["probability"])[real], noise[real], rtol=1e-4
    )
    assert float(metrics["replaced"]) == len(masked_rows.HIDDEN)


def test_a_sample_that_is_the_original_counts_as_noise(learned):
    cold = masked_rows.build("electric", temperature=1e-3)
    batch = masked_rows.BATCH
    sampled = cold.verdicts(batch)["sampled"]
    lucky = batch | {"mask_ids": sampled}
    metrics = cold.sums(lucky, False, 0.0)[1]
    assert float(metrics["replaced"]) == 4.0


def test_no_gradient_of_the_energies_passes_through_the_noise(learned):
    generator = learned.networks["generator"].trainable_variables
    with tf.GradientTape() as tape:
        loss = learned.sums(masked_rows.BATCH, False, 0.0)[0]["rtd"]
    slopes = tape.gradient(loss, [v.value for v in generator])
    reached = [v.path for v, s in zip(generator, slopes, strict=True) if s is not None]
    assert all(path.startswith("embeddings/") for path in reached)


def test_energies_are_kept_as_such(learned):
    networks = learned.declared.networks.values()
    kept = {one.saved_as: one.role for one in networks if one.saved_as}
    assert kept == {"energy": "energy"}
    assert learned._log_odds == pytest.approx(math.log(0.15 / 0.85))


def test_a_task_starts_from_its_encoder_and_a_run_from_the_whole(tiny_run, tmp_path):
    def settings(*overrides):
        chosen = ["objective={name: electric}", "train.steps=6", *overrides]
        return config.load(config.PretrainConfig, str(tiny_run), chosen)

    run.run(settings(), str(tmp_path / "a"))
    first = opening.open_pretrained(str(tmp_path / "a/preset"))
    assert [*first.networks] == ["energy"]
    encoder = electra_tf.ElectraBackbone.from_preset(str(tmp_path / "a/preset"))
    states = encoder.predict(
        {
            "token_ids": np.int32([[2, 7, 3]]),
            "segment_ids": np.zeros([1, 3], np.int32),
            "padding_mask": np.ones([1, 3], np.int32),
        },
        verbose=0,
    )
    assert np.isfinite(states["sequence_output"]).all()
    start = settings(
        f"train.init_from={tmp_path / 'a/preset'}", "train.learning_rate=1e-12"
    )
    run.run(start, str(tmp_path / "b"))
    files = [tmp_path / name / "preset/energy.weights.h5" for name in "ab"]
    was, now = (preset.stored_arrays(str(file)) for file in files)
    assert was.keys() == now.keys()


def test_noise_that_avoids_the_original_is_refused():
    with pytest.raises(errors.UserError, match=r"objective\.disallow_correct"):
        masked_rows.build("electric", disallow_correct=True)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_noise_alone_and_no_noise_are_refused(rate):
    settings = masked_rows.settings_of("electric")
    data = settings.data.model_copy(update={"mask_rate": rate})
    with pytest.raises(errors.UserError, match=f"mask_rate={rate}: electric tells"):
        registry.declare(settings.model_copy(update={"data": data}))
