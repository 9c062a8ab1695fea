import masked_rows
import numpy as np


def test_the_discriminator_learns_from_the_hidden_positions_alone():
    learned = masked_rows.build("electra_15")
    batch = masked_rows.BATCH
    counts = {name: float(count) for name, count in learned.counts(batch).items()}
    assert counts == {"mlm": 4, "rtd": 4}
    sums, metrics = learned.sums(batch, False, 0.0)
    sampled = np.asarray(learned.verdicts(batch)["sampled"])
    token_ids, is_replaced = masked_rows.fill(sampled)
    verdicts = masked_rows.judge(learned, token_ids)
    costs = np.log1p(np.exp(np.where(is_replaced, -verdicts, verdicts)))
    places = [(row, position) for row, position, _ in masked_rows.HIDDEN]
    np.testing.assert_allclose(
        sums["rtd"], sum(costs[place] for place in places), rtol=1e-5
    )
    assert float(metrics["replaced"]) == is_replaced.sum()
    assert float(np.sum(metrics["rtd_histogram"])) == len(places)


def test_it_is_elsewhere_what_electra_is():
    learned, electra = masked_rows.build("electra_15"), masked_rows.build()
    assert learned.declared.losses == electra.declared.losses
    mlm = [
        each.sums(masked_rows.BATCH, False, 0.0)[0]["mlm"]
        for each in (learned, electra)
    ]
    np.testing.assert_array_equal(*mlm)
