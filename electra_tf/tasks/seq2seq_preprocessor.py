"""Sources and targets become rows: KerasHub's preprocessor, with our tokenizer.

In:   dict(encoder_text=..., decoder_text=...), as Python strings or tensors.
Out:  token ids `[CLS] source [SEP]` and `[CLS] target [SEP]`; answers, as text.
"""

import os
from collections.abc import Sequence
from typing import Any, Self

import keras
import keras_hub
import numpy as np

from electra_tf import errors
from electra_tf.system import checksums
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import inputs, keras_hub_presets, pairs
from electra_tf.tasks import tokenizer as tokenizers

SEQUENCE_LENGTH = 512  # tokens

# Arguments that a task's `from_preset` takes, too, and settings of a run.
SETTINGS = ("encoder_sequence_length", "decoder_sequence_length")

# Why an answer cannot be begun: one token stands at its start.
SHORTEST = 3


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraSeq2SeqPreprocessor(keras_hub.models.Seq2SeqLMPreprocessor):
    """Sources and targets to rows of token ids, for `ElectraSeq2Seq`.

    Called, it does as KerasHub's: it returns (x, y, sample_weight), padded to the
    longest that is allowed.

    Args:
        tokenizer: ours.
        encoder_sequence_length: most tokens of a source, [CLS] and [SEP] included.
        decoder_sequence_length: most tokens of a target, and of an answer, likewise.
    """

    settings = lengths = SETTINGS
    tokenizer_cls = tokenizers.ElectraTokenizer
    backbone_cls = backbones.ElectraBackbone

    def __init__(
        self,
        tokenizer: tokenizers.ElectraTokenizer,
        encoder_sequence_length: int = SEQUENCE_LENGTH,
        decoder_sequence_length: int = SEQUENCE_LENGTH,
        **kwargs: Any,
    ) -> None:
        errors.refuse_arguments(
            self, kwargs, "name", "trainable", "dtype", "config_file"
        )
        super().__init__(
            tokenizer, encoder_sequence_length, decoder_sequence_length, **kwargs
        )
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
        usual = dict.fromkeys(SETTINGS, min(SEQUENCE_LENGTH, *tables))
        words = tokenizers.ElectraTokenizer.from_source(source)
        return cls(words, **{**usual, **kwargs})

    def change(self, **settings: Any) -> None:
        """Sets arguments of the constructor, by name.

        Raises:
            UserError: a value makes no sense.
        """
        for name, value in settings.items():
            setattr(self, name, value)
        for name in SETTINGS:
            if getattr(self, name) < SHORTEST:
                raise errors.UserError(
                    f"{name}={getattr(self, name)}: want at least {SHORTEST}, [CLS], a "
                    "token and [SEP]"
                )

    # To token ids.

    def sources(self, texts: Sequence[str]) -> list[inputs.Ids]:
        """Turns texts into `[CLS] text [SEP]`; warns of those that lose their end."""
        return self._framed(texts, "encoder_sequence_length", "sources")

    def targets(self, texts: Sequence[str]) -> list[inputs.Ids]:
        """Does the same to what shall become of them."""
        return self._framed(texts, "decoder_sequence_length", "targets")

    def _framed(self, texts: Sequence[str], name: str, what: str) -> list[inputs.Ids]:
        length = getattr(self, name)
        framed, num_cut = self.frame([*map(self.tokenizer.encode, texts)], length)
        pairs.warn_of_cut(num_cut, len(texts), length, name, what)
        return framed

    def frame(
        self, texts: Sequence[inputs.Ids], length: int
    ) -> tuple[list[inputs.Ids], int]:
        """Puts [CLS] and [SEP] around texts of token ids: see `pairs.frame`."""
        words = self.tokenizer
        return pairs.frame(texts, words.cls_token_id, words.sep_token_id, length)

    # Back to text.

    def generate_postprocess(self, x: Any) -> Any:
        """Turns answers into text.

        Args:
            x: dict of `decoder_token_ids`, int [B, L], and `decoder_padding_mask`.

        Returns:
            A list of strings.
        """
        ids = np.asarray(x["decoder_token_ids"])
        real = np.asarray(x["decoder_padding_mask"]).astype(bool)
        write = self.tokenizer.write
        return [write(row[mask].tolist()) for row, mask in zip(ids, real, strict=True)]

    def save_to_preset(self, preset_dir: Any, *args: Any, **kwargs: Any) -> None:
        """Saves as KerasHub does, with checksums."""
        with checksums.renewed(preset_dir):
            super().save_to_preset(preset_dir, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same preprocessor."""
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in SETTINGS},
        }
