import masked_rows
import numpy as np
import pytest
import tensorflow as tf

SLOTS = [(0, 0), (0, 1), (0, 2), (1, 0)]  # of the hidden tokens: row, slot


@pytest.fixture(scope="module", params=["mixture", "weighted"])
def learned(request):
    return masked_rows.build(
        "corrective_lm", correction=request.param, correction_weight=2.0
    )


def read(learned):
    """Returns samples, scores [4, V], the gate [B, L] and is_replaced, in numpy."""
    sampled = learned.verdicts(masked_rows.BATCH)["sampled"]
    _, scores, gate = learned._read(masked_rows.BATCH, sampled, False)
    sampled = np.asarray(sampled)
    _, is_replaced = masked_rows.fill(sampled)
    scores = np.float64([np.asarray(scores)[slot] for slot in SLOTS])
    return [sampled[slot] for slot in SLOTS], scores, np.float64(gate), is_replaced


def correction(form, scores, gate, sampled):
    """As COCO-LM and METRO-T0 have it, in plain numpy and without logarithms."""
    total = 0.0
    for number, (row, position, token) in enumerate(masked_rows.HIDDEN):
        shares = np.exp(scores[number]) / np.exp(scores[number]).sum()
        copy = 1.0 / (1.0 + np.exp(gate[row, position]))
        if form == "weighted":
            total -= (1.0 - copy) * np.log(shares[token])
        else:
            here = sampled[number] == token
            total -= np.log(copy * here + (1.0 - copy) * shares[token])
    return total


def test_each_loss_is_the_papers(learned):
    sampled, scores, gate, is_replaced = read(learned)
    tokens = [token for _, _, token in masked_rows.HIDDEN]
    assert sampled != tokens
    sums, metrics = learned.sums(masked_rows.BATCH, False, 0.0)
    guesses = masked_rows.guess(learned)
    np.testing.assert_allclose(sums["mlm"], masked_rows.minus_log_p(guesses), rtol=1e-5)
    want = correction(learned.settings.correction, scores, gate, sampled)
    np.testing.assert_allclose(sums["correction"], want, rtol=1e-5)
    real = np.asarray(masked_rows.BATCH["example_ids"]) > 0
    of_each = np.log1p(np.exp(np.where(is_replaced, -gate, gate)))
    np.testing.assert_allclose(sums["rtd"], of_each[real].sum(), rtol=1e-5)
    named = [
        scores[number].argmax() == token and sampled[number] != token
        for number, token in enumerate(tokens)
    ]
    assert float(metrics["corrected"]) == sum(named)
    counts = {n: float(c) for n, c in learned.counts(masked_rows.BATCH).items()}
    assert counts == {"mlm": 4, "rtd": 11, "correction": 4}
    weights = {"mlm": 1.0, "rtd": 50.0, "correction": 2.0}
    assert masked_rows.weights_of(learned) == weights


def test_the_slope_of_the_correction_is_that_of_plain_numbers(learned):
    sampled, scores, gate, _ = read(learned)
    network = learned.networks["discriminator"]
    bias = network.get_layer("masked_token_head").output_bias
    with tf.GradientTape() as tape:
        loss = learned.sums(masked_rows.BATCH, False, 0.0)[0]["correction"]
    found = tape.gradient(loss, bias.value)
    form, want = learned.settings.correction, np.zeros(11)
    for token in range(11):
        step = 1e-5 * np.eye(11)[token]
        ends = [correction(form, scores + way * step, gate, sampled) for way in (1, -1)]
        want[token] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)


def test_corrections_tell_neither_the_gate_nor_the_generator_anything(learned):
    discriminator, generator = (
        learned.networks[name].trainable_variables
        for name in ("discriminator", "generator")
    )
    shared = {id(v) for v in discriminator}
    with tf.GradientTape(persistent=True) as tape:
        sums, _ = learned.sums(masked_rows.BATCH, False, 0.0)
    head = [v.value for v in discriminator if "replaced_token_head" in v.path]
    assert head
    assert all(s is None for s in tape.gradient(sums["correction"], head))
    assert all(s is not None for s in tape.gradient(sums["rtd"], head))
    own = [v.value for v in generator if id(v) not in shared]
    assert own
    for name in ("correction", "rtd"):
        assert all(s is None for s in tape.gradient(sums[name], own))


def test_the_blocks_of_the_generator_drop_nothing(learned):
    rates = {}
    for name, network in learned.networks.items():
        block = network.get_layer("encoder").get_layer("layer_0")
        rates[name] = block.hidden_dropout.rate, block.attention_dropout.rate
    assert rates == {"generator": (0.0, 0.0), "discriminator": (0.1, 0.1)}


def test_what_is_kept_is_a_discriminator(learned):
    declared = learned.declared.networks["discriminator"]
    kept = declared.kept(learned.networks["discriminator"])
    sampled = learned.verdicts(masked_rows.BATCH)["sampled"]
    rows, _, gate = learned._read(masked_rows.BATCH, sampled, False)
    seen = masked_rows.BATCH | {"token_ids": rows.token_ids}
    alone = kept({name: seen[name] for name in kept.input})
    np.testing.assert_allclose(alone, gate, rtol=1e-5)
    assert "masked_token_head" not in {v.path.split("/")[0] for v in kept.weights}
