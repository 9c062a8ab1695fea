import masked_rows
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.objectives import checks, objective, registry

GOOD = registry.declare(masked_rows.settings_of("mlm"))


def refused(message):
    return pytest.raises(errors.UserError, match=message)


@pytest.mark.parametrize("saved_as", ["", "no name"])
def test_networks_of_which_no_preset_can_be_made_are_refused(saved_as):
    network = GOOD.networks["generator"]._replace(saved_as=saved_as)
    with refused("^objective.name=mine: its networks are saved_as .*; name one"):
        checks.refuse_incomplete("mine", GOOD._replace(networks={"any": network}))


@pytest.mark.parametrize("name", ["metrics", "objective", "my network"])
def test_a_network_that_would_hide_a_part_of_the_model_is_refused(name):
    network = GOOD.networks["generator"]
    with refused(f"mine: no network can be called '{name}'; take another name"):
        checks.refuse_incomplete("mine", GOOD._replace(networks={name: network}))


def test_two_networks_under_one_name_are_refused():
    network = GOOD.networks["generator"]
    with refused("saved_as .'generator', 'generator'.; name one at least, each"):
        checks.refuse_incomplete(
            "mine", GOOD._replace(networks={"one": network, "other": network})
        )


def test_an_objective_without_a_loss_is_refused():
    with refused("it declares no loss; declare one"):
        checks.refuse_incomplete("mine", GOOD._replace(losses={}, metrics={}))


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (
            ("mlm_corect", "mlm_count"),
            "mlm_corect, which is no sum; did you mean mlm_c",
        ),
        (("mlm_correct", "xyz"), "made of xyz, which is no sum; declare it in `sums`"),
    ],
)
def test_a_metric_of_sums_that_nobody_returns_is_refused(of, said):
    metrics = {"own": objective.Metric("Own", of)}
    with refused(f"metric own is made of .*{said}|{said}"):
        checks.refuse_incomplete("mine", GOOD._replace(metrics=metrics))


def test_metrics_may_be_made_of_what_every_run_has():
    metrics = {"fill": objective.Metric("Fill", ("tokens", "positions"))}
    checks.refuse_incomplete("mine", GOOD._replace(metrics=metrics))
    metrics = {"fill": objective.Metric("Fill", ("tokens", "places"))}
    with refused("metric fill is made of places"):
        checks.refuse_incomplete("mine", GOOD._replace(metrics=metrics))


@pytest.mark.parametrize(
    ("losses", "sums", "said"),
    [
        (
            {},
            {"mlm_correct": 0.0},
            "MaskedLanguageModel.sums: losses are .., declared are .'mlm'.;",
        ),
        (
            {"mlm": 0.0},
            {},
            "MaskedLanguageModel.sums: sums are .., declared are .'mlm_correct'.;",
        ),
        ({"mlm": 0.0}, {"mlm_correct": 0.0, "x": 0.0}, "sums are .'mlm_correct', 'x'."),
        (
            {"mlm": 0.0},
            {"mlm_correct": [0.0, 1.0]},
            r"mlm_correct has the shape \(2,\)",
        ),
        (
            {"mlm": [0.0]},
            {"mlm_correct": 0.0},
            r"mlm has the shape \(1,\), declared is",
        ),
    ],
)
def test_what_is_returned_and_not_declared_is_refused(losses, sums, said):
    learned = masked_rows.build("mlm")
    counts = learned.counts(masked_rows.BATCH)
    losses, sums = (
        {name: tf.constant(value) for name, value in part.items()}
        for part in (losses, sums)
    )
    with refused(said) as told:
        checks.refuse_undeclared(learned, losses, counts, sums)
    assert "\n" not in str(told.value)


def test_counts_are_of_the_losses():
    learned = masked_rows.build("mlm")
    losses, sums = learned.sums(masked_rows.BATCH, False, 0.0)
    checks.refuse_undeclared(learned, losses, learned.counts(masked_rows.BATCH), sums)
    with refused("MaskedLanguageModel.counts are .., declared are .'mlm'.; return"):
        checks.refuse_undeclared(learned, losses, {}, sums)
