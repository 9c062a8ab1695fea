import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.objectives import corruption, losses


@pytest.fixture(scope="module")
def electra():
    return masked_rows.build()


@pytest.fixture(scope="module")
def flat():
    """At this temperature every token is as likely, 1 in 11."""
    return masked_rows.build(temperature=1000.0)


def test_hidden_and_real_tokens_are_counted(electra):
    counts = electra.counts(masked_rows.BATCH)
    assert {name: float(count) for name, count in counts.items()} == {
        "mlm": 4,
        "rtd": 11,
    }


def test_both_losses_are_sums_over_hidden_and_over_real_tokens(electra):
    sums, metrics = electra.sums(masked_rows.BATCH, False, 0.0)
    logits = masked_rows.guess(electra)
    np.testing.assert_allclose(sums["mlm"], masked_rows.minus_log_p(logits), rtol=1e-5)
    hits = [
        logits[row, slot].argmax() == token
        for slot, (row, _, token) in zip([0, 1, 2, 0], masked_rows.HIDDEN, strict=True)
    ]
    assert float(metrics["mlm_correct"]) == sum(hits)

    sampled = np.asarray(electra.verdicts(masked_rows.BATCH)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    verdicts = masked_rows.judge(electra, token_ids)
    real = np.asarray(masked_rows.BATCH["example_ids"]) > 0
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-5)


def test_verdicts_are_counted_over_real_tokens(electra):
    _, metrics = electra.sums(masked_rows.BATCH, False, 0.0)
    sampled = np.asarray(electra.verdicts(masked_rows.BATCH)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    flagged = masked_rows.judge(electra, token_ids) > 0
    real = np.asarray(masked_rows.BATCH["example_ids"]) > 0
    assert is_replaced.any()
    assert 0 < (flagged & real).sum() < real.sum()
    want = {
        "flagged": (flagged & real).sum(),
        "replaced": is_replaced.sum(),
        "caught": (flagged & is_replaced).sum(),
        "rtd_correct": ((flagged == is_replaced) & real).sum(),
        "sampled_correct": len(masked_rows.HIDDEN) - is_replaced.sum(),
    }
    assert {name: float(metrics[name]) for name in want} == want


def test_the_histogram_counts_real_tokens_by_kind_and_probability(electra):
    histogram = electra.sums(masked_rows.BATCH, False, 0.0)[1]["rtd_histogram"]
    found = electra.verdicts(masked_rows.BATCH)
    _, is_replaced = masked_rows.fill(np.asarray(found["sampled"]))
    real = np.asarray(masked_rows.BATCH["example_ids"]) > 0
    want = np.zeros([2, losses.AUC_BINS])
    probabilities = np.asarray(found["probability"])
    for kind, probability in zip(is_replaced[real], probabilities[real], strict=True):
        want[int(kind), int(probability * losses.AUC_BINS)] += 1
    np.testing.assert_array_equal(histogram, want)
    assert np.count_nonzero(want) > 3


def test_verdicts_at_both_ends_fall_into_the_outer_bins(electra):
    logit = electra.networks["discriminator"].trainable_variables[-1]
    before = logit.numpy()
    for bias, place in [(-200.0, 0), (200.0, losses.AUC_BINS - 1)]:
        logit.assign([bias])
        histogram = np.asarray(
            electra.sums(masked_rows.BATCH, False, 0.0)[1]["rtd_histogram"]
        )
        assert histogram[:, place].sum() == histogram.sum() == 11
    logit.assign(before)


def test_samples_follow_the_generator_and_the_noise_of_the_batch(electra):
    sampled = electra.verdicts(masked_rows.BATCH)["sampled"]
    want = corruption.sample(
        tf.constant(masked_rows.guess(electra), tf.float32),
        masked_rows.BATCH["sampling_noise"],
    )
    np.testing.assert_array_equal(sampled, want)
    others = np.asarray(electra.verdicts(masked_rows.vary_noise(20))["sampled"])
    assert len(np.unique(others[:20], axis=0)) > 5


def test_padding_and_unused_slots_count_for_nothing(electra):
    padding = masked_rows.BATCH["example_ids"] == 0
    unused = masked_rows.BATCH["mask_weights"] == 0
    other = masked_rows.BATCH | {
        "token_ids": tf.where(padding, 9, masked_rows.BATCH["token_ids"]),
        "mask_ids": tf.where(unused, 7, masked_rows.BATCH["mask_ids"]),
        "mask_positions": tf.where(unused, 6, masked_rows.BATCH["mask_positions"]),
    }
    want, got = (
        electra.sums(masked_rows.BATCH, False, 0.0),
        electra.sums(other, False, 0.0),
    )
    for part in range(2):
        for name, value in want[part].items():
            np.testing.assert_allclose(got[part][name], value, rtol=1e-5, err_msg=name)


def test_the_discriminators_loss_reaches_the_generator_through_embeddings_alone(
    electra,
):
    generator = electra.networks["generator"]
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = electra.sums(masked_rows.BATCH, False, 0.0)
    variables = generator.trainable_variables
    reached = {
        v.path
        for v, slope in zip(
            variables,
            tape.gradient(sums["rtd"], [v.value for v in variables]),
            strict=True,
        )
        if slope is not None
    }
    assert reached == {
        "embeddings/word_embeddings",
        "embeddings/position_embeddings",
        "embeddings/segment_embeddings",
        "embeddings/norm/gamma",
        "embeddings/norm/beta",
    }
    slopes = tape.gradient(sums["mlm"], [v.value for v in variables])
    assert all(slope is not None for slope in slopes)
    own = {id(v) for v in variables}
    others = [
        v.value
        for v in electra.networks["discriminator"].trainable_variables
        if id(v) not in own
    ]
    assert all(slope is None for slope in tape.gradient(sums["mlm"], others))


def test_dropout_acts_in_training_alone(electra):
    still = [
        float(electra.sums(masked_rows.BATCH, False, 0.0)[0]["mlm"]) for _ in range(2)
    ]
    moved = [
        float(electra.sums(masked_rows.BATCH, True, 0.0)[0]["mlm"]) for _ in range(2)
    ]
    assert still[0] == still[1]
    assert len({still[0], *moved}) == 3


def test_networks_and_weights_are_as_the_settings_say(electra):
    def shared(objective):
        left, right = objective.networks.values()
        ids = {id(v) for v in left.trainable_variables}
        return sum(id(v) in ids for v in right.trainable_variables)

    assert list(electra.networks) == ["generator", "discriminator"]
    assert shared(electra) == 5
    assert masked_rows.weights_of(electra) == {"mlm": 1.0, "rtd": 50.0}
    apart = masked_rows.build(shares="nothing", mlm_weight=2.0, rtd_weight=30.0)
    assert masked_rows.weights_of(apart) == {"mlm": 2.0, "rtd": 30.0}
    assert shared(apart) == 0
    paths = {v.path for v in apart.networks["generator"].trainable_variables}
    assert "embeddings_project/kernel" not in paths
    assert apart.declared.networks["generator"].config.embedding_size == 3
    assert apart.declared.networks["discriminator"].config == masked_rows.MODEL


def test_disallow_correct_never_samples_the_original(flat):
    strict = masked_rows.build(disallow_correct=True, temperature=1000.0)
    batch = masked_rows.vary_noise(60)
    # One in 11 of 360 is 33; the standard error of that is 5.5; allow four of them.
    for objective, fewest, most in ((strict, 0, 0), (flat, 11, 55)):
        hits = objective.verdicts(batch)["sampled"] == batch["mask_ids"]
        assert fewest <= np.sum(hits) <= most


def test_temperature_flattens_what_is_sampled(flat):
    cold = masked_rows.build(temperature=0.01)
    np.testing.assert_array_equal(
        cold.verdicts(masked_rows.BATCH)["sampled"],
        masked_rows.guess(cold).argmax(axis=-1),
    )
    # Flat, the noise alone decides: the place of 11 equal shares it falls into.
    np.testing.assert_array_equal(
        flat.verdicts(masked_rows.BATCH)["sampled"],
        np.asarray(masked_rows.BATCH["sampling_noise"]) * 11 // 1,
    )
