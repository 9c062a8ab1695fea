"""Strings become what the encoder takes: KerasHub's preprocessor, with ours inside.

In:   strings, or pairs of strings.
Out:  `inputs.Rows` for Python values; padded tensors inside a tf.data pipeline.
"""

import os
from collections.abc import Sequence
from typing import Any, Self

import keras
import keras_hub

from electra_tf import errors
from electra_tf.system import checksums
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import columns, inputs, keras_hub_presets
from electra_tf.tasks import tokenizer as tokenizers

SEQUENCE_LENGTH = 512  # tokens; KerasHub's default

# Arguments that a task's `from_preset` takes, too, and settings of a run.
SETTINGS = ("sequence_length", "truncate", "long_texts", "stride")

_KNOWN = {
    "truncate": ("round_robin", "waterfall"),
    "long_texts": ("truncate", "windows"),
}


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTextPreprocessor(keras_hub.models.TextClassifierPreprocessor):
    """Texts to rows of token ids, for all tasks.

    Args:
        tokenizer: ours.
        sequence_length: most tokens in a row, [CLS] and [SEP] included.
        truncate: "round_robin" cuts the longer text of a pair first; "waterfall" the
            second one.
        long_texts: what becomes of longer ones. "truncate" cuts them; "windows" makes
            several rows, whose outputs are averaged (Python values only).
        stride: tokens from one window to the next; None = half a window.
    """

    settings = SETTINGS
    lengths = ("sequence_length",)  # Of those, what the position table bounds.
    # Whether rows are padded to that length always, in the graph of an export.
    fixed_length = False
    tokenizer_cls = tokenizers.ElectraTokenizer
    backbone_cls = backbones.ElectraBackbone

    def __init__(
        self,
        tokenizer: tokenizers.ElectraTokenizer,
        sequence_length: int = SEQUENCE_LENGTH,
        truncate: str = "round_robin",
        long_texts: inputs.LongTexts = "truncate",
        stride: int | None = None,
        **kwargs: Any,
    ) -> None:
        errors.refuse_arguments(
            self, kwargs, "name", "trainable", "dtype", "config_file"
        )
        super().__init__(tokenizer, sequence_length, truncate, **kwargs)
        self.long_texts, self.stride = long_texts, stride
        self.change()

    @classmethod
    def from_preset(cls, preset: str, *args: Any, **kwargs: Any) -> Self:
        """Builds the preprocessor of whatever a task's `from_preset` takes.

        Args:
            preset: as in `ElectraTask.from_preset`.
            *args: arguments of KerasHub's `from_preset`.
            **kwargs: arguments of the constructor.
        """
        folder, source = keras_hub_presets.open_unless_ours(os.fspath(preset))
        if source is None:
            found: Self = super().from_preset(folder, *args, **kwargs)
            return found
        tables = [model.max_positions for model in source.networks.values()]
        kwargs.setdefault("sequence_length", min(SEQUENCE_LENGTH, *tables))
        return cls(tokenizers.ElectraTokenizer.from_source(source), **kwargs)

    def change(self, **settings: Any) -> None:
        """Sets arguments of the constructor, by name.

        Raises:
            UserError: a value makes no sense.
        """
        for name, value in settings.items():
            setattr(self, name, value)
        if self.sequence_length < 3:
            raise errors.UserError(
                f"sequence_length={self.sequence_length}: want at least 3, [CLS], a "
                "token and [SEP]"
            )
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                want = " or ".join(f'"{value}"' for value in known)
                raise errors.UserError(f"{name}={getattr(self, name)!r}: want {want}")
        if self.stride is not None and self.stride < 1:
            raise errors.UserError(f"stride={self.stride}: want at least 1 token")

    def rows(self, x: Any) -> inputs.Rows:
        """Turns texts, or pairs, into rows.

        Args:
            x: a string; a list or array of strings, or of pairs of strings; or, as in
                KerasHub, a tuple of two lists.
        """
        firsts, seconds = split_pairs(x)
        encode = self.tokenizer.encode
        return inputs.frame_texts(
            [encode(text) for text in firsts],
            None if seconds is None else [encode(text) for text in seconds],
            self.frame,
            self.truncate,
            self.long_texts,
            self.stride,
        )

    @property
    def frame(self) -> inputs.Frame:
        """What stands around the words of a row."""
        words = self.tokenizer
        return inputs.Frame(
            words.cls_token_id,
            words.sep_token_id,
            self.sequence_length,
            self.fixed_length,
        )

    def save_to_preset(self, preset_dir: Any, *args: Any, **kwargs: Any) -> None:
        """Saves as KerasHub does, with checksums."""
        with checksums.renewed(preset_dir):
            super().save_to_preset(preset_dir, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same preprocessor."""
        return {
            **super().get_config(),
            "long_texts": self.long_texts,
            "stride": self.stride,
        }


def split_pairs(x: Any) -> tuple[list[str], list[str] | None]:
    """Splits inputs into first texts and second ones; None where there are none.

    Raises:
        UserError: neither strings nor pairs, or some of each.
    """
    if getattr(x, "shape", None) == ():
        x = columns.plain(x)
    if hasattr(x, "__next__"):
        x = list(x)  # To its end: what trains refuses those that may have none.
    if isinstance(x, str | bytes):
        return [_text(x, 0)], None
    if isinstance(x, tuple) and len(x) == 2:
        if all(isinstance(part, str | bytes) for part in x):
            return [_text(x[0], 0)], [_text(x[1], 0)]
        firsts, seconds = (columns.values(part, "inputs") for part in x)
        if len(firsts) != len(seconds):
            raise errors.UserError(
                f"{len(firsts)} first texts and {len(seconds)} second ones; want as "
                "many of both"
            )
        return _texts(firsts), _texts(seconds)
    values = columns.values(x, "inputs")
    if values and all(_is_pair(value) for value in values):
        return _texts([a for a, _ in values]), _texts([b for _, b in values])
    return _texts(values), None


def single_texts(x: Any) -> list[str]:
    """Returns texts as a list of strings.

    Raises:
        UserError: they are pairs, or no strings.
    """
    texts, seconds = split_pairs(x)
    if seconds is not None:
        raise errors.UserError("the inputs are pairs of texts; want single texts")
    return texts


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _texts(values: Sequence[Any]) -> list[str]:
    return [_text(value, index) for index, value in enumerate(values)]


def _text(value: Any, index: int) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return str(value)
    raise errors.UserError(
        f"input {index} is {value!r:.60}, a {type(value).__name__}; want a string, or "
        "a pair of strings (of two columns: a tuple, (first, second))"
    )
