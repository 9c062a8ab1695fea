import found_settings
import pytest

from electra_tf import config, errors
from electra_tf.objectives import variants


def refusal(name, **settings):
    with pytest.raises(errors.UserError) as caught:
        config.check(
            config.PretrainConfig, {"objective": {"name": name, **settings}}, "test"
        )
    return str(caught.value)


def test_settings_are_found_by_name_and_without_tensorflow():
    said = found_settings.read_elsewhere(
        "objective.all_weight",
        "objective.name=all_tokens_mlm",
        "objective.all_weight=3",
    )
    assert said == "3.0 False\n"


def test_each_class_is_the_one_of_an_objective():
    found = {config.ObjectiveConfig.kind(name) for name in config.ObjectiveConfig.KINDS}
    own = found_settings.classes_of(variants)
    assert own
    assert own <= found


def test_a_frozen_generator_must_be_named():
    assert "objective.generator: name the preset" in refusal("frozen_generator")


def test_what_electra_alone_has_is_refused_elsewhere():
    assert "uniform has no temperature" in refusal("uniform", temperature=2.0)
    assert "did you mean objective.restoring_weight" in refusal(
        "replace_mlm", restorin_weight=2.0
    )
