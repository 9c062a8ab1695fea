import math

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import corruption, registry

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=1,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)

# B=2, L=7, P=3; [CLS] 2, [SEP] 3, [MASK] 4. Row 1 ends in padding and has two unused
# slots.
BATCH = {
    "token_ids": np.int32([[2, 7, 4, 3, 4, 4, 3], [2, 9, 4, 3, 0, 0, 0]]),
    "segment_ids": np.int32([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]),
    "example_ids": np.int32([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0, 0]]),
    "position_ids": np.int32([[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 0, 0]]),
    "mask_positions": np.int32([[2, 4, 5], [2, 0, 2]]),
    "mask_ids": np.int32([[8, 6, 10], [5, 0, 0]]),
    "mask_weights": np.float32([[1, 1, 1], [1, 0, 0]]),
    "sampling_noise": np.float32([[0.1, 0.5, 0.9], [0.3, 0.7, 0.2]]),
    "data_position": np.int32([[0, 1, 2, 3], [0, 1, 2, 4]]),
}
BATCH = {name: tf.constant(value) for name, value in BATCH.items()}
HIDDEN = [(0, 2, 8), (0, 4, 6), (0, 5, 10), (1, 2, 5)]  # row, position, token


def build(name="electra", shares="embeddings", **settings):
    objective = registry.build(
        config.PretrainConfig(
            model=MODEL,
            generator=config.GeneratorConfig(width_scale=0.5, shares=shares),
            objective=config.ObjectiveConfig(name=name, **settings),
            data=config.DataConfig(example_tokens=7, row_tokens=7),
        )
    )
    rng = np.random.default_rng(9)
    for network in objective.networks.values():
        for variable in network.trainable_variables:
            mean = 1.0 if variable.path.endswith("gamma") else 0.0
            sigma = 0.6 if len(variable.shape) == 2 else 0.2
            variable.assign(rng.normal(mean, sigma, variable.shape))
    return objective


@pytest.fixture(scope="module")
def electra():
    return build()


@pytest.fixture(scope="module")
def flat():
    """At this temperature every token is as likely, 1 in 11."""
    return build(temperature=1000.0)


@pytest.fixture(scope="module")
def uniform():
    return build("uniform")


def guess(objective):
    generator = objective.networks["generator"]
    return np.float64(generator(models.inputs_of(generator, BATCH)))


def judge(objective, token_ids):
    discriminator = objective.networks["discriminator"]
    rows = models.inputs_of(discriminator, BATCH)
    return np.float64(discriminator(rows | {"token_ids": tf.constant(token_ids)}))


def vary_noise(times):
    """Returns the batch so many times over, each with other noise."""
    batch = {name: tf.repeat(value, times, axis=0) for name, value in BATCH.items()}
    noise = np.random.default_rng(2).random([2 * times, 3], dtype=np.float32)
    return batch | {"sampling_noise": tf.constant(noise)}


def minus_log_p(logits):
    """Sums over HIDDEN in plain numpy; logits [B, P, V], slots 0, 1, 2 and 0."""
    total = 0.0
    for slot, (row, _, token) in zip([0, 1, 2, 0], HIDDEN, strict=True):
        x = logits[row, slot]
        total += np.log(np.sum(np.exp(x))) - x[token]
    return total


def fill(sampled):
    """Returns the corrupted rows, and where they differ from the original ones."""
    original, corrupted = (np.array(BATCH["token_ids"]) for _ in range(2))
    for slot, (row, position, token) in zip([0, 1, 2, 0], HIDDEN, strict=True):
        original[row, position] = token
        corrupted[row, position] = sampled[row, slot]
    return corrupted, corrupted != original


def test_hidden_and_real_tokens_are_counted(electra):
    counts = electra.counts(BATCH)
    assert {name: float(count) for name, count in counts.items()} == {
        "mlm": 4,
        "rtd": 11,
    }


def test_both_losses_are_sums_over_hidden_and_over_real_tokens(electra):
    sums, metrics = electra.sums(BATCH, training=False)
    logits = guess(electra)
    np.testing.assert_allclose(sums["mlm"], minus_log_p(logits), rtol=1e-5)
    hits = [
        logits[row, slot].argmax() == token
        for slot, (row, _, token) in zip([0, 1, 2, 0], HIDDEN, strict=True)
    ]
    assert float(metrics["mlm_correct"]) == sum(hits)

    sampled = np.asarray(electra.verdicts(BATCH)["sampled"])
    token_ids, is_replaced = fill(sampled)
    verdicts = judge(electra, token_ids)
    real = np.asarray(BATCH["example_ids"]) > 0
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-5)


def test_verdicts_are_counted_over_real_tokens(electra):
    _, metrics = electra.sums(BATCH, training=False)
    sampled = np.asarray(electra.verdicts(BATCH)["sampled"])
    token_ids, is_replaced = fill(sampled)
    flagged = judge(electra, token_ids) > 0
    real = np.asarray(BATCH["example_ids"]) > 0
    assert is_replaced.any()
    assert 0 < (flagged & real).sum() < real.sum()
    want = {
        "flagged": (flagged & real).sum(),
        "replaced": is_replaced.sum(),
        "caught": (flagged & is_replaced).sum(),
        "rtd_correct": ((flagged == is_replaced) & real).sum(),
        "sampled_correct": len(HIDDEN) - is_replaced.sum(),
    }
    assert {name: float(metrics[name]) for name in want} == want


def test_the_histogram_counts_real_tokens_by_kind_and_probability(electra):
    histogram = electra.sums(BATCH, training=False)[1]["rtd_histogram"]
    found = electra.verdicts(BATCH)
    _, is_replaced = fill(np.asarray(found["sampled"]))
    real = np.asarray(BATCH["example_ids"]) > 0
    want = np.zeros([2, registry.AUC_BINS])
    probabilities = np.asarray(found["replaced_probability"])
    for kind, probability in zip(is_replaced[real], probabilities[real], strict=True):
        want[int(kind), int(probability * registry.AUC_BINS)] += 1
    np.testing.assert_array_equal(histogram, want)
    assert np.count_nonzero(want) > 3


def test_verdicts_at_both_ends_fall_into_the_outer_bins(electra):
    logit = electra.networks["discriminator"].trainable_variables[-1]
    before = logit.numpy()
    for bias, place in [(-200.0, 0), (200.0, registry.AUC_BINS - 1)]:
        logit.assign([bias])
        histogram = np.asarray(electra.sums(BATCH, training=False)[1]["rtd_histogram"])
        assert histogram[:, place].sum() == histogram.sum() == 11
    logit.assign(before)


def test_samples_follow_the_generator_and_the_noise_of_the_batch(electra):
    sampled = electra.verdicts(BATCH)["sampled"]
    want = corruption.sample(
        tf.constant(guess(electra), tf.float32), BATCH["sampling_noise"]
    )
    np.testing.assert_array_equal(sampled, want)
    others = np.asarray(electra.verdicts(vary_noise(20))["sampled"])
    assert len(np.unique(others[:20], axis=0)) > 5


def test_padding_and_unused_slots_count_for_nothing(electra):
    padding = BATCH["example_ids"] == 0
    unused = BATCH["mask_weights"] == 0
    other = BATCH | {
        "token_ids": tf.where(padding, 9, BATCH["token_ids"]),
        "mask_ids": tf.where(unused, 7, BATCH["mask_ids"]),
        "mask_positions": tf.where(unused, 6, BATCH["mask_positions"]),
    }
    want, got = electra.sums(BATCH, False), electra.sums(other, False)
    for part in range(2):
        for name, value in want[part].items():
            np.testing.assert_allclose(got[part][name], value, rtol=1e-5, err_msg=name)


def test_the_discriminators_loss_reaches_the_generator_through_embeddings_alone(
    electra,
):
    generator = electra.networks["generator"]
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = electra.sums(BATCH, training=False)
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
    still = [float(electra.sums(BATCH, False)[0]["mlm"]) for _ in range(2)]
    moved = [float(electra.sums(BATCH, True)[0]["mlm"]) for _ in range(2)]
    assert still[0] == still[1]
    assert len({still[0], *moved}) == 3


def test_networks_and_weights_are_as_the_settings_say(electra):
    def shared(objective):
        left, right = objective.networks.values()
        ids = {id(v) for v in left.trainable_variables}
        return sum(id(v) in ids for v in right.trainable_variables)

    assert list(electra.networks) == ["generator", "discriminator"]
    assert shared(electra) == 5
    assert electra.weights == {"mlm": 1.0, "rtd": 50.0}
    apart = build(shares="nothing", mlm_weight=2.0, rtd_weight=30.0)
    assert apart.weights == {"mlm": 2.0, "rtd": 30.0}
    assert shared(apart) == 0
    paths = {v.path for v in apart.networks["generator"].trainable_variables}
    assert "embeddings_project/kernel" not in paths
    assert apart.configs["generator"].embedding_size == 3
    assert apart.configs["discriminator"] == MODEL


def test_disallow_correct_never_samples_the_original(flat):
    strict = build(disallow_correct=True, temperature=1000.0)
    batch = vary_noise(60)
    # One in 11 of 360 is 33; the standard error of that is 5.5; allow four of them.
    for objective, fewest, most in ((strict, 0, 0), (flat, 11, 55)):
        hits = objective.verdicts(batch)["sampled"] == batch["mask_ids"]
        assert fewest <= np.sum(hits) <= most


def test_temperature_flattens_what_is_sampled(flat):
    cold = build(temperature=0.01)
    np.testing.assert_array_equal(
        cold.verdicts(BATCH)["sampled"], guess(cold).argmax(axis=-1)
    )
    # Flat, the noise alone decides: the place of 11 equal shares it falls into.
    np.testing.assert_array_equal(
        flat.verdicts(BATCH)["sampled"], np.asarray(BATCH["sampling_noise"]) * 11 // 1
    )


def test_a_masked_language_model_learns_from_the_hidden_tokens_alone():
    mlm = build("mlm", mlm_weight=3.0)
    assert list(mlm.networks) == ["generator"]
    assert mlm.configs == {"generator": MODEL}  # full size: BERT
    assert mlm.weights == {"mlm": 3.0}
    assert float(mlm.counts(BATCH)["mlm"]) == 4
    sums, metrics = mlm.sums(BATCH, training=False)
    logits = guess(mlm)
    assert sums.keys() == {"mlm"}
    np.testing.assert_allclose(sums["mlm"], minus_log_p(logits), rtol=1e-5)
    assert metrics.keys() == mlm.metrics.keys() == {"mlm_correct"}
    sampled = corruption.sample(
        tf.constant(logits, tf.float32), BATCH["sampling_noise"]
    )
    np.testing.assert_array_equal(mlm.verdicts(BATCH)["sampled"], sampled)


def test_uniform_replacement_draws_every_token_alike(uniform):
    noise = (np.arange(330, dtype=np.float32) + 0.5) / 330
    _, sampled, _ = uniform.guess(
        {"sampling_noise": noise[None], "mask_weights": tf.ones([1, 330])},
        training=True,
    )
    np.testing.assert_array_equal(np.bincount(sampled[0], minlength=11), [30] * 11)
    almost_one = np.nextafter(np.float32(1), np.float32(0))
    noise = tf.fill([2, 3], almost_one)
    assert np.max(uniform.verdicts(BATCH | {"sampling_noise": noise})["sampled"]) == 10


def test_uniform_replacement_trains_a_discriminator_alone(uniform):
    assert list(uniform.networks) == ["discriminator"]
    sums, _ = uniform.sums(BATCH, training=False)
    np.testing.assert_allclose(sums["mlm"], 4 * math.log(11), rtol=1e-6)
    assert uniform.weights["mlm"] == 0.0
    token_ids, is_replaced = fill(np.asarray(uniform.verdicts(BATCH)["sampled"]))
    verdicts = judge(uniform, token_ids)
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    real = np.asarray(BATCH["example_ids"]) > 0
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-5)


def test_the_sums_are_those_an_objective_announces(electra, uniform):
    for objective in (electra, uniform):
        losses, metrics = objective.sums(BATCH, training=False)
        assert (
            losses.keys() == objective.weights.keys() == objective.counts(BATCH).keys()
        )
        assert {n: tuple(m.shape) for n, m in metrics.items()} == objective.metrics


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(errors.UserError, match=r"'elektra'.*electra, mlm, uniform"):
        build("elektra")
