import subprocess
import sys

import pytest

from electra_tf import config
from electra_tf.objectives import objective

DECLARED = objective.Declaration(
    networks={},
    losses={
        "first": objective.Loss(2.0, "First loss", "nats per token"),
        "other": objective.Loss(0.0, "Other loss", "units"),
    },
    metrics={
        "hits": objective.Metric("Hit rate", ("hits", "first_count"), "hit {:.1f}"),
        "area": objective.Metric("Area", len, is_compared=True),
    },
    sums={},
    rows=objective.Rows(),
)


def test_values_are_shown_from_the_total_loss_to_what_every_run_has():
    common = {"speed": objective.Shown("Speed", "{:.0f}/s")}
    shown = objective.shown(DECLARED, common)
    assert list(shown) == ["loss", "first_loss", "other_loss", "hits", "area", "speed"]
    compared = [name for name, one in shown.items() if one.is_compared]
    assert compared == ["loss", "first_loss", "other_loss", "area"]
    assert shown["first_loss"].title == "First loss (nats per token)"
    lines = {name: one.line.format(0.25) for name, one in shown.items() if one.line}
    assert lines == {
        "first_loss": "first loss 0.2500",
        "other_loss": "other loss 0.2500",
        "hits": "hit 0.2",
        "speed": "0/s",
    }


def test_what_an_objective_has_to_say_and_to_do_is_asked_for():
    with pytest.raises(TypeError, match=r"counts.*declare.*sums.*verdicts"):
        objective.Objective(config.PretrainConfig())


def test_declarations_need_neither_tensorflow_nor_keras():
    code = "import electra_tf.objectives.objective, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "electra_tf.objectives.objective" in loaded
    assert not {"tensorflow", "keras"} & {*loaded}
