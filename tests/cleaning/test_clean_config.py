"""The settings of cleaning."""

import pytest

from electra_tf import config, errors
from electra_tf.cleaning import clean_config


def check(**select):
    values = {"select": select}
    return config.check(clean_config.CleanConfig, values, "--set").select


def test_a_bound_and_a_share_contradict_each_other():
    with pytest.raises(errors.UserError, match="contradict each other: set one"):
        check(most=1, drop_rate=0.1)


def test_a_twentieth_is_dropped_unless_something_is_said():
    assert check().rate == 0.05
    assert check(drop_rate=0).rate == 0
    assert check(most=2).rate is None
