import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import candidates, registry
from electra_tf.weights import preset

SLOTS = [(0, 0), (0, 1), (0, 2), (1, 0)]  # of the hidden tokens: row, slot
SEEN = masked_rows.BATCH


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("teams")


def variables(learned, name):
    return learned.networks[name].trainable_variables


def read(learned):
    """Returns corrupted rows, is_replaced, candidates and scores of both [4, C]."""
    sampled = np.asarray(learned.verdicts(SEEN)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    guesses = tf.constant(masked_rows.guess(learned), tf.float32)
    offered = candidates.draw(guesses, SEEN, learned.settings.candidates)
    selector = learned.networks["selector"]
    rows = SEEN | {"token_ids": tf.constant(token_ids), "candidate_ids": offered}
    scores = selector({name: rows[name] for name in selector.input})
    return token_ids, is_replaced, np.asarray(offered), np.float64(scores)


def test_each_loss_is_the_papers(learned):
    token_ids, is_replaced, offered, scores = read(learned)
    sums, metrics = learned.sums(SEEN, False, 0.0)
    guesses = masked_rows.guess(learned)
    np.testing.assert_allclose(sums["mlm"], masked_rows.minus_log_p(guesses), rtol=1e-5)
    verdicts = masked_rows.judge(learned, token_ids)
    real = np.asarray(SEEN["example_ids"]) > 0
    of_each = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    np.testing.assert_allclose(sums["rtd"], of_each[real].sum(), rtol=1e-5)
    selection, selected = 0.0, 0
    for slot, (_, _, token) in zip(SLOTS, masked_rows.HIDDEN, strict=True):
        assert offered[slot][0] == token
        assert len({*offered[slot]}) == 4
        shares = np.exp(scores[slot]) / np.exp(scores[slot]).sum()
        selection -= np.log(shares[0])
        selected += shares.argmax() == 0
    np.testing.assert_allclose(sums["selection"], selection, rtol=1e-5)
    assert float(metrics["selected"]) == selected
    counts = {name: float(count) for name, count in learned.counts(SEEN).items()}
    assert counts == {"mlm": 4, "rtd": 11, "selection": 4}
    weights = {"mlm": 1.0, "rtd": 5.0, "selection": 2.0}
    assert masked_rows.weights_of(learned) == weights


def test_a_candidates_score_is_the_product_with_its_vector(learned):
    token_ids, _, offered, scores = read(learned)
    selector = learned.networks["selector"]
    encoder, head = selector.get_layer("encoder"), selector.get_layer("selection_head")
    rows = models.inputs_of(encoder, SEEN) | {"token_ids": tf.constant(token_ids)}
    hidden = np.float64(encoder(rows))
    table = np.float64(encoder.get_layer("embeddings").word_embeddings)
    for slot, (row, position, _) in zip(SLOTS, masked_rows.HIDDEN, strict=True):
        state = tf.constant(hidden[row, position], tf.float32)[None]
        vector = np.float64(head.norm(tf.nn.gelu(head.dense(state))))[0]
        want = table[offered[slot]] @ vector
        np.testing.assert_allclose(scores[slot], want, rtol=1e-3, atol=1e-4)


def test_the_slope_of_the_selection_is_that_of_a_softmax(learned):
    _, _, offered, scores = read(learned)
    head = learned.networks["selector"].get_layer("selection_head")
    with tf.GradientTape() as tape:
        loss = learned.sums(SEEN, False, 0.0)[0]["selection"]
    table = learned.networks["selector"].get_layer("encoder").get_layer("embeddings")
    rows = np.float64(table.word_embeddings)
    want = np.zeros(5)  # of LayerNorm's shift: what is added to each vector
    for slot in SLOTS:
        shares = np.exp(scores[slot]) / np.exp(scores[slot]).sum()
        want += (shares - np.eye(4)[0]) @ rows[offered[slot]]
    found = tape.gradient(loss, head.norm.beta.value)
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)


def test_each_loss_reaches_its_own_tower_and_what_is_shared(learned):
    parts = {name: {id(v): v for v in variables(learned, name)} for name in SETS}
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = learned.sums(SEEN, False, 0.0)
    for loss, reached in REACHED.items():
        for name, own in parts.items():
            others = [part for other, part in parts.items() if other != name]
            alone = [v for key, v in own.items() if not any(key in o for o in others)]
            assert alone
            slopes = tape.gradient(sums[loss], [v.value for v in alone])
            assert {slope is not None for slope in slopes} == {name in reached}
        shared = parts["generator"].keys() & parts["selector"].keys()
        lowest = [parts["selector"][key] for key in shared]
        assert {v.path.split("/")[0] for v in lowest} == {
            "embeddings",
            "embeddings_project",
            "layer_0",
        }
        slopes = tape.gradient(sums[loss], [v.value for v in lowest])
        assert all(slope is not None for slope in slopes)


SETS = ("generator", "discriminator", "selector")
REACHED = {
    "mlm": {"generator"},
    "rtd": {"discriminator"},
    "selection": {"selector"},
}


def test_both_towers_in_one_pass_give_what_each_gives_alone(learned):
    token_ids, _, offered, scores = read(learned)
    seen = SEEN | {"token_ids": tf.constant(token_ids)}
    found = learned._read(seen, tf.constant(offered), False)
    np.testing.assert_allclose(found[0], masked_rows.judge(learned, token_ids), 1e-5)
    np.testing.assert_allclose(found[1], scores, rtol=1e-5)


def test_what_is_kept_opens_as_networks_of_their_roles(learned):
    """The files hold the layers in the order of the usual networks."""
    kept = {}
    for name, one in learned.declared.networks.items():
        kept[one.saved_as] = one.role
        usual = preset.BUILDERS[one.role](one.config)
        network = one.kept(learned.networks[name])
        assert [v.path for v in usual.weights] == [v.path for v in network.weights]
        for variable, value in zip(usual.weights, network.weights, strict=True):
            variable.assign(value)
        rows = models.inputs_of(usual, SEEN)
        np.testing.assert_allclose(usual(rows), network(rows), rtol=1e-5)
    assert kept == {name: name for name in ("generator", "discriminator", "encoder")}


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        (
            "objective",
            {"candidates": 12},
            "candidates=12: the vocabulary has 11 tokens",
        ),
        ("objective", {"own_layers": 3}, "own_layers=3: the towers share at least one"),
        ("objective", {"shared_layers": 3}, "has 2 blocks .* choose 2 at most"),
        ("generator", {"width_scale": 0.5}, "hidden_size is 3, the main network's 6"),
        ("generator", {"shares": "disentangled"}, "choose embeddings or nothing"),
    ],
)
def test_networks_that_cannot_be_are_refused_when_settings_are_read(
    section, changes, said
):
    settings = masked_rows.settings_of("teams")
    changed = getattr(settings, section).model_copy(update=changes)
    settings = settings.model_copy(update={section: changed})
    with pytest.raises(errors.UserError, match=said):
        registry.declare(settings)


def test_sizes_that_weights_will_decide_are_judged_when_they_have():
    settings = masked_rows.settings_of("teams")
    small = settings.generator.model_copy(update={"width_scale": 0.5})
    start = settings.train.model_copy(update={"init_from": "there"})
    settings = settings.model_copy(update={"generator": small, "train": start})
    registry.declare(settings)
    with pytest.raises(errors.UserError, match="hidden_size is 3"):
        registry.build(settings)
    model = settings.model
    found = small.model_copy(update={"architecture": model})
    registry.build(settings.model_copy(update={"generator": found}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shares", "own"),
    [
        ("nothing", {}),
        ("embeddings", {"shared_layers": 0}),
        ("embeddings", {"own_layers": 0}),
    ],
)
def test_less_and_more_may_be_shared(shares, own):
    learned = masked_rows.build("teams", shares, **own)
    sums, _ = learned.sums(SEEN, False, 0.0)
    assert all(np.isfinite(float(value)) for value in sums.values())
    generator = {id(v) for v in variables(learned, "generator")}
    shared = [v.path for v in variables(learned, "selector") if id(v) in generator]
    found = {path.split("/")[0] for path in shared}
    blocks = set() if own.get("shared_layers") == 0 else {"layer_0"}
    projected = blocks and {"embeddings_project"}
    tied = {"embeddings"} | projected if shares == "embeddings" else set()
    assert found == tied | blocks


def test_a_generator_that_shares_blocks_has_the_main_networks_heads():
    settings = masked_rows.settings_of("teams")
    assert settings.generator.resolve(settings.model).num_heads == 1
    small = registry.declare(settings).networks["generator"].config
    assert (small.num_heads, small.intermediate_size, small.num_layers) == (3, 8, 2)
    assert config.differences(small, settings.model).keys() == {"num_layers"}
