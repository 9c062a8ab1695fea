import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.network import models


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("replace_mlm", restoring_weight=2.0)


def test_the_full_size_network_restores_from_samples(learned):
    batch = masked_rows.BATCH
    sums, metrics = learned.sums(batch, False, 0.0)
    guesses = masked_rows.guess(learned)
    np.testing.assert_allclose(sums["mlm"], masked_rows.minus_log_p(guesses), rtol=1e-5)
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    assert is_replaced.any()
    restorer = learned.networks["restorer"]
    rows = models.inputs_of(restorer, batch) | {"token_ids": tf.constant(token_ids)}
    logits = np.float64(restorer(rows))
    np.testing.assert_allclose(
        sums["restoring"], masked_rows.minus_log_p(logits), rtol=1e-5
    )
    slots = zip([0, 1, 2, 0], masked_rows.HIDDEN, strict=True)
    right = [logits[row, slot].argmax() == token for slot, (row, _, token) in slots]
    assert float(metrics["restored"]) == sum(right)
    counts = {name: float(count) for name, count in learned.counts(batch).items()}
    assert counts == {"mlm": 4, "restoring": 4}
    assert masked_rows.weights_of(learned) == {"mlm": 1.0, "restoring": 2.0}


def test_restoring_reaches_the_generator_through_embeddings_alone(learned):
    variables = learned.networks["generator"].trainable_variables
    with tf.GradientTape() as tape:
        loss = learned.sums(masked_rows.BATCH, False, 0.0)[0]["restoring"]
    slopes = tape.gradient(loss, [v.value for v in variables])
    reached = [v.path for v, s in zip(variables, slopes, strict=True) if s is not None]
    assert len(reached) == 5
    assert all(path.startswith("embeddings/") for path in reached)


def test_the_full_size_network_is_what_a_preset_keeps(learned):
    kept = {
        name: network.saved_as
        for name, network in learned.declared.networks.items()
        if network.saved_as
    }
    assert kept == {"restorer": "generator"}
    assert learned.declared.networks["restorer"].config == masked_rows.MODEL
