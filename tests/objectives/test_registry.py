import sys

import masked_rows
import pytest

from electra_tf import config, errors
from electra_tf.objectives import registry


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(
        errors.UserError, match=r"'elektra'.*electra, mlm, uniform, electra_15"
    ):
        masked_rows.build("elektra")


def test_each_objective_has_its_settings_in_the_configuration():
    assert registry.OBJECTIVES.keys() == config.ObjectiveConfig.KINDS.keys()
    for name, kind in registry.OBJECTIVES.items():
        assert kind.Settings is config.ObjectiveConfig.kind(name)


@pytest.mark.parametrize("name", registry.OBJECTIVES)
def test_the_sums_are_those_that_an_objective_declares(name):
    learned = masked_rows.build(name)
    declared = registry.declare(masked_rows.settings_of(name))
    losses, metrics = learned.sums(masked_rows.BATCH, False, 0.0)
    counts = learned.counts(masked_rows.BATCH)
    assert losses.keys() == declared.losses.keys() == counts.keys()
    assert {n: tuple(m.shape) for n, m in metrics.items()} == declared.sums
    assert learned.networks.keys() == declared.networks.keys()


@pytest.mark.parametrize("name", registry.OBJECTIVES)
def test_verdicts_are_those_that_the_rows_tell_of(name):
    learned = masked_rows.build(name)
    judged = {"probability"} if learned.declared.rows.judged_by else set()
    found = learned.verdicts(masked_rows.BATCH)
    assert found.keys() == {"sampled"} | judged


MINE = """
from electra_tf.objectives import mlm

class Mine(mlm.MaskedLanguageModel):
    pass

class NoObjective:
    Settings = mlm.MaskedLanguageModel.Settings
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine_for_registry.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine_for_registry", None)


def test_a_class_of_ones_own_is_built_by_its_path(mine):
    learned = masked_rows.build("mine_for_registry:Mine", mlm_weight=2.0)
    assert type(learned).__name__ == "Mine"
    assert masked_rows.weights_of(learned) == {"mlm": 2.0}


def test_a_class_that_is_no_objective_is_refused(mine):
    with pytest.raises(errors.UserError, match="it is no objective; derive it from "):
        masked_rows.build("mine_for_registry:NoObjective")
