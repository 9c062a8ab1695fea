import found_settings
import pytest

from electra_tf import config, errors
from electra_tf.training import variants


def test_settings_are_found_by_name_and_without_tensorflow():
    said = found_settings.read_elsewhere(
        "optimizer.beta_1", "optimizer.name=lamb", "optimizer.beta_1=0.878"
    )
    assert said == "0.878 False\n"


def test_each_class_is_the_one_of_an_optimizer():
    found = {config.OptimizerConfig.kind(name) for name in config.OptimizerConfig.KINDS}
    own = found_settings.classes_of(variants)
    assert own
    assert own <= found


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("optimizer.bias_correction=false", "lamb has no bias_correction|no setting"),
        ("optimizer.beta_1=1.0", "beta_1"),
    ],
)
def test_what_adamw_alone_has_and_a_moment_that_never_moves_are_refused(stated, said):
    with pytest.raises(errors.UserError, match=said):
        config.load(config.PretrainConfig, None, ["optimizer.name=lamb", stated])
