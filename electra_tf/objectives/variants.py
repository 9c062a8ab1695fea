"""The settings of all objectives but ELECTRA and the masked language model.

Found by name when settings are read (`config.ObjectiveConfig.KINDS`), so that who reads
of ELECTRA reads of no other. Nothing here loads TensorFlow.
"""

from typing import Literal

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from electra_tf import config


class UniformConfig(config.ObjectiveConfig):
    """A discriminator of tokens that are drawn uniformly."""

    rtd_weight: NonNegativeFloat = Field(
        50.0, description="Weight of the discriminator's loss."
    )


class ReplaceMlmConfig(config.SampledConfig):
    """A masked language model that reads samples, not [MASK] (paper, 3.4)."""

    restoring_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the full-size network's loss (the paper has none)."
    )


class AllTokensMlmConfig(config.SampledConfig):
    """Names every token, or copies it, from rows with samples (paper, 3.4)."""

    all_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the full-size network's loss (the paper has none)."
    )


class FrozenGeneratorConfig(config.ObjectiveConfig):
    """A discriminator beside a generator that learns no more (Fast-ELECTRA)."""

    generator: str = Field(
        "",
        description="Preset, workdir or other people's weights with a generator of the "
        "data's vocabulary.",
    )
    temperature_start: PositiveFloat = Field(
        2.0, description="Divides the generator's logits at the first step."
    )
    temperature_end: PositiveFloat = Field(1.0, description="The same, at the last.")
    temperature_schedule: Literal["exponential", "linear", "constant"] = Field(
        "exponential", description="How it gets there; constant stays as it starts."
    )
    temperature_decay: PositiveFloat = Field(
        0.1,
        description="Share of the run in which an exponential falls to 1 / e of its "
        "height.",
    )

    @pydantic.field_validator("generator")
    @classmethod
    def _generator_is_named(cls, value: str) -> str:
        if not value:
            raise ValueError(
                "name the preset whose generator is used: "
                "--set objective.generator=runs/mlm/preset"
            )
        return value

    model_config = pydantic.ConfigDict(validate_default=True)


class ElectricConfig(config.ElectraConfig):
    """Energies that are learned from a two-tower generator's noise (Electric)."""

    disallow_correct: Literal[False] = Field(
        False, description="Always false: noise has the probability that it says."
    )


class AdversarialConfig(config.ElectraConfig):
    """A generator that learns by REINFORCE to be taken for the text (appendix F)."""

    mlm_weight: NonNegativeFloat = Field(
        0.0, description="Weight of the guesses' likelihood (paper: it is not learned)."
    )
    reinforce_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the generator's loss (the paper prints none)."
    )
    baseline_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the baseline's loss (the paper prints none)."
    )
    disallow_correct: Literal[False] = Field(
        False, description="Always false: REINFORCE needs the probability of a sample."
    )


class TeamsConfig(config.ElectraConfig):
    """A discriminator with a tower that selects among likely tokens (TEAMS)."""

    rtd_weight: NonNegativeFloat = Field(
        5.0, description="Weight of the detecting tower's loss (TEAMS' code)."
    )
    selection_weight: NonNegativeFloat = Field(
        2.0, description="Weight of the selecting tower's loss (TEAMS' code)."
    )
    candidates: PositiveInt = Field(
        5, ge=2, description="Tokens to select from, with the original (TEAMS' code)."
    )
    shared_layers: NonNegativeInt = Field(
        3,
        description="Lowest blocks that the generator has in common with the towers; "
        "it is then as wide as they are: generator.width_scale=1 (TEAMS' code: 3).",
    )
    own_layers: NonNegativeInt = Field(
        1, description="Last blocks that each tower has for itself (TEAMS' code: 1)."
    )


class CorrectiveLmConfig(config.ElectraConfig):
    """Detects replaced tokens and corrects them (COCO-LM, METRO)."""

    correction_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the loss of the corrections (COCO-LM: 1)."
    )
    correction: Literal["mixture", "weighted"] = Field(
        "mixture",
        description="mixture: -log of c [it stands there] + (1 - c) softmax, where c "
        "is the chance that it was not replaced (COCO-LM). weighted: (1 - c) "
        "times the -log of the softmax (METRO-T0's code). No gradient reaches c.",
    )
