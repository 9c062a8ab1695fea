"""The settings of all optimizers but AdamW.

Found by name when settings are read (`config.OptimizerConfig.KINDS`), so that who reads
of AdamW reads of no other. Nothing here loads TensorFlow.
"""

from pydantic import Field, PositiveFloat

from electra_tf import config


class LambConfig(config.OptimizerConfig):
    """LAMB (You et al. 2020, arXiv 1904.00962). Defaults: the paper's."""

    beta_1: config.Rate = Field(
        0.9, lt=1.0, description="LAMB's first moment (NVIDIA's ELECTRA: 0.878)."
    )
    beta_2: config.Rate = Field(
        0.999, lt=1.0, description="LAMB's second moment (NVIDIA's ELECTRA: 0.974)."
    )
    epsilon: PositiveFloat = Field(
        1e-6, description="Added to the root of the corrected second moment."
    )
    adapt_all: bool = Field(
        False,
        description="Scale the steps of biases and LayerNorms by their own lengths, "
        "too (NVIDIA's ELECTRA: no, --skip_adaptive).",
    )
