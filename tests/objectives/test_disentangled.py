import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import disentangled, registry
from electra_tf.training import run
from electra_tf.weights import opening, preset


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build(shares="disentangled")


def block_of(network):
    return network.get_layer("encoder").get_layer("embeddings")


def rows():
    return {name: masked_rows.BATCH[name] for name in models.ROW_FIELDS}


def test_verdicts_are_those_of_the_tables_added_up(learned):
    network = learned.networks["discriminator"]
    plain = models.build_discriminator(masked_rows.MODEL)
    generator = block_of(learned.networks["generator"])
    own = block_of(network)
    assert np.abs(own.word_embeddings).max() > 0.1  # Drawn by the helper.
    arrays = {v.path: np.asarray(v) for v in network.weights}
    for name in ("word_embeddings", "position_embeddings"):
        tables = getattr(own, name), getattr(generator, name)
        arrays[f"embeddings/{name}"] = np.add(*tables)
    for variable in plain.weights:
        variable.assign(arrays[variable.path])
    np.testing.assert_allclose(network(rows()), plain(rows()), rtol=1e-5, atol=1e-5)
    before = [np.asarray(v) for v in network.weights]
    kept = disentangled.fold(network)
    np.testing.assert_allclose(kept(rows()), plain(rows()), rtol=1e-5, atol=1e-5)
    for was, now in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(was, now)


def test_the_discriminators_loss_pulls_at_its_own_tables_alone(learned):
    generator = learned.networks["generator"].trainable_variables
    own = block_of(learned.networks["discriminator"]).trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = learned.sums(masked_rows.BATCH, False, 0.0)
    assert all(
        slope is None
        for slope in tape.gradient(sums["rtd"], [v.value for v in generator])
    )
    slopes = tape.gradient(sums["rtd"], [v.value for v in own])
    assert all(slope is not None for slope in slopes)
    assert all(
        slope is None for slope in tape.gradient(sums["mlm"], [v.value for v in own])
    )


def test_its_tables_start_at_zero_and_each_variable_is_in_one_network():
    fresh = registry.build(masked_rows.settings_of(shares="disentangled"))
    own = block_of(fresh.networks["discriminator"])
    for name in ("word_embeddings", "position_embeddings"):
        assert not np.any(np.asarray(getattr(own, name)))
    assert np.any(np.asarray(own.segment_embeddings))
    left, right = (
        {id(v) for v in network.weights} for network in fresh.networks.values()
    )
    assert not left & right


def test_a_run_keeps_whole_tables_and_another_starts_from_them(tiny_run, tmp_path):
    def settings(*overrides):
        chosen = ["generator.shares=disentangled", "train.steps=6", *overrides]
        return config.load(config.PretrainConfig, str(tiny_run), chosen)

    run.run(settings(), str(tmp_path / "a"))
    first = opening.open_pretrained(str(tmp_path / "a/preset"))
    networks = {name: preset.build(first, name) for name in first.networks}
    words = [np.asarray(block_of(n).word_embeddings) for n in networks.values()]
    assert words[0].shape == words[1].shape
    assert np.any(words[0] != words[1])
    # At such a rate nothing is learned: what is kept is what it started from.
    origin = f"train.init_from={tmp_path / 'a/preset'}"
    run.run(settings(origin, "train.learning_rate=1e-12"), str(tmp_path / "b"))
    again = opening.open_pretrained(str(tmp_path / "b/preset"))
    found = preset.build(again, "discriminator")
    for was, now in zip(networks["discriminator"].weights, found.weights, strict=True):
        np.testing.assert_allclose(was, now, atol=1e-6, err_msg=was.path)


@pytest.mark.parametrize("name", ["replace_mlm", "all_tokens_mlm"])
def test_who_has_no_discriminator_cannot_have_it(name):
    with pytest.raises(errors.UserError, match="choose embeddings or nothing"):
        masked_rows.build(name, shares="disentangled")
