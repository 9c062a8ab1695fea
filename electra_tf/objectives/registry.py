"""Which class is learned by: the objectives by their names.

In:   the settings.
Out:  an objective with fresh networks; or what it says of itself.
"""

from electra_tf import config, errors
from electra_tf.objectives import (
    adversarial,
    all_tokens_mlm,
    checks,
    corrective_lm,
    electra,
    electra_15,
    electra_tt,
    electric,
    frozen_generator,
    mlm,
    objective,
    replace_mlm,
    teams,
    uniform,
)

OBJECTIVES: dict[str, type[objective.Objective]] = {
    "electra": electra.ReplacedTokenDetection,
    "mlm": mlm.MaskedLanguageModel,
    "uniform": uniform.UniformReplacement,
    "electra_15": electra_15.HiddenTokenDetection,
    "replace_mlm": replace_mlm.ReplaceMlm,
    "all_tokens_mlm": all_tokens_mlm.AllTokensMlm,
    "frozen_generator": frozen_generator.FrozenGenerator,
    "electra_tt": electra_tt.TwoTowerElectra,
    "electric": electric.Electric,
    "adversarial": adversarial.Adversarial,
    "teams": teams.Teams,
    "corrective_lm": corrective_lm.CorrectiveLm,
}


def find(settings: config.PretrainConfig) -> type[objective.Objective]:
    """Returns the class that the settings name, one of ours or the user's own.

    Raises:
        UserError: it is no objective.
    """
    name = settings.objective.name
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    found = config.ObjectiveConfig.own_class(name)
    if not (isinstance(found, type) and issubclass(found, objective.Objective)):
        raise errors.UserError(
            f"objective.name={name}: it is no objective; derive it from "
            "electra_tf.objectives.objective.Objective"
        )
    return found


def declare(settings: config.PretrainConfig) -> objective.Declaration:
    """Returns what the objective of the settings says of itself; builds nothing.

    Raises:
        UserError: no run could be made of it (`checks`).
    """
    declared = find(settings).declare(settings)
    checks.refuse_incomplete(settings.objective.name, declared)
    return declared


def build(settings: config.PretrainConfig) -> objective.Objective:
    """Builds the objective that the settings name, with fresh networks."""
    return find(settings)(settings)
