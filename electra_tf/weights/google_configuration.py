"""What the JSON files beside a TF1 checkpoint say: heads, and the activation.

In:   a folder with BERT's or transformers' config.json, or the hyperparameters that the
      2020 code was given; the sizes of the encoders in the checkpoint beside it.
Out:  what the sizes do not say of them; notes of what was taken for granted.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pydantic
from pydantic import PositiveInt

from electra_tf import config, errors
from electra_tf.system import reading

HEAD_WIDTH = 64  # of the published models

# Widths and depths of the 2020 code's `model_size` (2020 code, training_utils.py).
_MODEL_SIZES = {"small": (256, 12), "base": (768, 12), "large": (1024, 24)}

# A configuration is a small file; what is larger beside a checkpoint is none.
_MAX_CONFIG_BYTES = 1_000_000


class _Beside(config.Settings):
    """What a configuration beside a checkpoint says: BERT's and transformers' words."""

    model_config = pydantic.ConfigDict(extra="ignore")

    num_attention_heads: PositiveInt
    hidden_size: PositiveInt | None = None
    num_hidden_layers: PositiveInt | None = None
    intermediate_size: PositiveInt | None = None
    embedding_size: PositiveInt | None = None
    vocab_size: PositiveInt | None = None
    max_position_embeddings: PositiveInt | None = None
    type_vocab_size: PositiveInt | None = None
    hidden_act: Literal["gelu", "relu"] = "gelu"


# What these are called in `config.ModelConfig`.
_SIZES = {
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "intermediate_size": "intermediate_size",
    "embedding_size": "embedding_size",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_positions",
    "type_vocab_size": "num_segments",
}


class Configurations:
    """The JSON files beside a checkpoint that say how many heads an encoder has."""

    def __init__(
        self,
        prefix: str,
        encoders: Mapping[str, Mapping[str, int]],
        given: Mapping[str, int | None],
    ) -> None:
        """Reads them.

        Args:
            prefix: of the checkpoint.
            encoders: sizes of each, by the setting of its heads, the main one first.
            given: what the user says the numbers of heads are, by those settings.

        Raises:
            UserError: one is damaged, or is of another model; two contradict each
                other.
        """
        self.notes: list[str] = []  # what was taken for granted, a sentence each
        self._prefix = prefix
        self._encoders = encoders
        self._given = given
        self._files: dict[str, str] = {}
        self._stated: dict[str, _Beside] = {}
        for file, stated in _read_beside(os.path.dirname(prefix) or "."):
            apart = {s: _contradiction(stated, sizes) for s, sizes in encoders.items()}
            of = [setting for setting, reason in apart.items() if not reason]
            if of:
                self._take(of[0], file, stated)
            elif any(given[setting] is not None for setting in encoders):
                self.notes.append(f"{file} is not of this checkpoint and is not read")
            else:
                raise errors.UserError(
                    f"{file} is not of the checkpoint beside it, {prefix}: "
                    f"{next(iter(apart.values()))}; put the right one there, or move "
                    "it away"
                )

    def count_heads(self, setting: str, name: str) -> int:
        """Counts heads: as given, as a file says, or by the width where that is sure.

        Args:
            setting: of the encoder.
            name: of its network, for messages.

        Raises:
            UserError: nothing tells.
        """
        width, count = self._encoders[setting]["hidden_size"], self._given[setting]
        stated = self._stated.get(setting)
        if count is not None:
            if stated and stated.num_attention_heads != count:
                self.notes.append(
                    f"{self._files[setting]} says {stated.num_attention_heads} heads "
                    f"of the {name}; {setting}={count} goes before"
                )
            return count
        if stated:
            return stated.num_attention_heads
        in_2020 = max(1, width // HEAD_WIDTH)  # As in the 2020 code.
        if setting == "generator_num_heads" and width % in_2020 == 0:
            return in_2020
        if width % HEAD_WIDTH:
            raise errors.UserError(
                f"{self._prefix}: its {name} is {width} wide, which heads {HEAD_WIDTH} "
                "wide do not divide, and no file beside it says how many it has; "
                f"convert it with --{setting}=<the number it was trained with> (python "
                "-m electra_tf.convert), or put its config.json there"
            )
        self.notes.append(
            f"the {name} is taken to have {in_2020} attention heads, {HEAD_WIDTH} "
            "wide, as those that were published; if it was trained with others, give "
            f"--{setting}"
        )
        return in_2020

    def activation(self, setting: str) -> str:
        """Returns the activation; the 2020 code's where no file says."""
        stated = self._stated.get(setting)
        return stated.hidden_act if stated else "gelu"

    def _take(self, setting: str, file: str, stated: _Beside) -> None:
        before = self._stated.setdefault(setting, stated)
        self._files.setdefault(setting, file)
        what = ("num_attention_heads", "hidden_act")
        if any(getattr(before, name) != getattr(stated, name) for name in what):
            raise errors.UserError(
                f"{self._files[setting]} and {file} do not say the same {what[0]} and "
                f"{what[1]}; move the wrong one away"
            )


def _read_beside(folder: str) -> Iterable[tuple[str, _Beside]]:
    """Yields (file, what it says) of the configurations in a folder."""
    for name in sorted(os.listdir(folder)):
        file = os.path.join(folder, name)
        is_small = os.path.isfile(file) and os.path.getsize(file) <= _MAX_CONFIG_BYTES
        if not name.endswith(".json") or not is_small:
            continue
        with open(file, "rb") as stream:
            text = stream.read()
        if b"num_attention_heads" not in text and b"hparam_overrides" not in text:
            continue
        values = reading.read_json(file)
        overrides = values.get("model_hparam_overrides")
        if isinstance(overrides, dict):
            values = _resolved(values, overrides)
        if "num_attention_heads" in values:
            yield file, config.check(_Beside, values, file)


def _resolved(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Returns the architecture that hyperparameters of the 2020 code mean."""
    size = values.get("model_size", "small")
    width, depth = _MODEL_SIZES.get(str(size), (None, None))
    width = overrides.get("hidden_size", width)
    if isinstance(width, int):  # Else it is refused when it is checked.
        values |= {
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "intermediate_size": 4 * width,
        }
    return values | {"hidden_size": width, "num_hidden_layers": depth} | overrides


def _contradiction(stated: _Beside, sizes: Mapping[str, int]) -> str:
    """Says the first size of an encoder that is not as stated; "" if there is none."""
    for name, ours in _SIZES.items():
        value = getattr(stated, name)
        if value is not None and value != sizes[ours]:
            return f"it says {name}={value}, and the arrays have {sizes[ours]}"
    return ""
