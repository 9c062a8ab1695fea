import masked_rows
import numpy as np
import pytest

from electra_tf.objectives import corruption


@pytest.fixture(scope="module")
def learned():
    return masked_rows.build("electra_tt")


def test_every_real_token_is_guessed_and_the_hidden_ones_are_filled_in(learned):
    batch = masked_rows.BATCH
    counts = {name: float(count) for name, count in learned.counts(batch).items()}
    assert counts == {"mlm": 11, "rtd": 11}
    logits = np.float64(learned.score(batch, False))
    original = np.asarray(corruption.original(batch))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    real = np.asarray(batch["example_ids"]) > 0
    nll = -np.take_along_axis(log_p, original[..., None], -1)[..., 0]
    sums, metrics = learned.sums(batch, False, 0.0)
    np.testing.assert_allclose(sums["mlm"], nll[real].sum(), rtol=1e-5)
    assert float(metrics["mlm_correct"]) == (logits.argmax(-1) == original)[real].sum()
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    places = np.asarray(batch["mask_positions"])
    at = np.take_along_axis(logits, places[..., None], axis=1).astype(np.float32)
    np.testing.assert_array_equal(
        sampled, corruption.sample(at, batch["sampling_noise"])
    )
    token_ids, is_replaced = masked_rows.fill(sampled)
    verdicts = masked_rows.judge(learned, token_ids)
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    np.testing.assert_allclose(sums["rtd"], costs[real].sum(), rtol=1e-5)


def test_what_is_hidden_from_a_reader_is_not_hidden_from_the_towers(learned):
    batch = masked_rows.BATCH
    shown = batch | {"token_ids": corruption.original(batch)}
    found = [learned.score(rows, False) for rows in (shown, batch)]
    np.testing.assert_array_equal(*found)
