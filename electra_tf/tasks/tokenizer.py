"""Our WordPiece as a KerasHub tokenizer: text becomes what the backbone reads.

In:   strings, as Python values, arrays or tensors of any rank.
Out:  token ids, or the tokens themselves: lists where rows differ in length, ragged
      tensors inside a TensorFlow graph, an array or a tensor for one string.

Importing this registers it: `keras_hub.tokenizers.Tokenizer.from_preset` then knows it.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.system import checksums
from electra_tf.tasks import backbone, graph_tokenizer
from electra_tf.text import detokenizer, tokenizer, vocabularies
from electra_tf.weights import preset

VOCABULARY = "vocabulary.txt"

# A piece that goes on with the word before it. Python and RE2 read it alike.
_CONTINUED = " ##([^ ])"

# Half a character: JSON can hold one, UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraTokenizer(keras_hub.tokenizers.Tokenizer):
    """Cuts text as Hugging Face's BERT tokenizer does, in Python and in a graph.

    Unlike `keras_hub.tokenizers.ElectraTokenizer` it drops accents and control
    characters as the released models are used to, and keeps all its settings when it
    is saved. Special tokens in the text are text.

    Args:
        vocabulary: tokens in the order of their ids, or a file with one token per line;
            None where assets are loaded later.
        lowercase: see `config.TokenizerConfig`, as for all three.
        strip_accents: None does as `lowercase`.
        split_cjk: whether each CJK ideograph is a word of its own.
        added_tokens: found in the text before it is cut: `config.AddedToken`, or its
            fields as a dict.
        dtype: of the output: an integer type, or "string" for tokens.
    """

    backbone_cls = backbone.ElectraBackbone

    def __init__(
        self,
        vocabulary: Sequence[str] | str | Path | None = None,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        added_tokens: Sequence[config.AddedToken | dict[str, Any]] = (),
        dtype: Any = "int32",
        **kwargs: Any,
    ) -> None:
        public = {name for name in kwargs if not name.startswith("_")}  # KerasHub's.
        errors.refuse_arguments(self, public, "name", "trainable", "config_file")
        super().__init__(dtype=dtype, **kwargs)
        if self.compute_dtype not in ("int32", "int64", "string"):
            raise errors.UserError(
                f"ElectraTokenizer: dtype={self.compute_dtype}: want int32, int64 or "
                "string"
            )
        self.tokenizer_config = config.check(
            config.TokenizerConfig,
            {
                "lowercase": lowercase,
                "strip_accents": strip_accents,
                "split_cjk": split_cjk,
                "added_tokens": added_tokens,
            },
            "ElectraTokenizer",
        )
        for name in ("cls", "sep", "pad", "mask", "unk"):
            self._add_special_token(f"[{name.upper()}]", f"{name}_token")
        # KerasHub's packers ask for these.
        self._add_special_token(vocabularies.CLS, "start_token")
        self._add_special_token(vocabularies.SEP, "end_token")
        self.file_assets = [VOCABULARY]
        self.set_vocabulary(vocabulary)

    @classmethod
    def from_tokenizer_config(
        cls, vocabulary: Sequence[str], settings: config.TokenizerConfig
    ) -> Self:
        """Builds the tokenizer that a preset describes."""
        return cls(vocabulary, **settings.model_dump())

    @classmethod
    def from_source(cls, source: preset.Pretrained, **kwargs: Any) -> Self:
        """Builds the tokenizer of weights that were opened.

        Raises:
            UserError: they have no vocabulary.
        """
        if source.vocab is None:
            raise errors.UserError(
                f"{source.folder} has no vocabulary; convert it with its own: python "
                f"-m electra_tf.convert --from={source.folder} --vocab=<vocab.txt> "
                "--to=<a new folder>"
            )
        return cls(source.vocab, **{**source.tokenizer.model_dump(), **kwargs})

    @classmethod
    def from_preset(cls, preset: str, *args: Any, **kwargs: Any) -> Self:
        """Builds the tokenizer of whatever a task's `from_preset` takes.

        Args:
            preset: as in `ElectraTask.from_preset`.
            *args: arguments of KerasHub's `from_preset`.
            **kwargs: arguments of the constructor.
        """
        folder, source = backbone.presets().open_unless_ours(os.fspath(preset))
        if source is not None:
            return cls.from_source(source, **kwargs)
        found: Self = super().from_preset(folder, *args, **kwargs)
        return found

    @classmethod
    def from_config(cls, settings: dict[str, Any]) -> Self:
        """Builds it without a vocabulary, which comes from the assets.

        A path in a file that somebody else wrote is not followed.
        """
        return cls(**{**settings, "vocabulary": None})

    def save_to_preset(self, preset_dir: Any, *args: Any, **kwargs: Any) -> None:
        """Saves as KerasHub does, with checksums."""
        with checksums.renewed(preset_dir):
            super().save_to_preset(preset_dir, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same tokenizer, but the vocabulary."""
        settings = self.tokenizer_config.model_dump(mode="json")
        return {**super().get_config(), **settings}

    # The vocabulary.

    def set_vocabulary(self, vocabulary: Sequence[str] | str | Path | None) -> None:
        """Takes tokens, or a file of them.

        Raises:
            UserError: `vocabularies.check` refuses them.
        """
        self._vocabulary: tuple[str, ...] = ()
        self._graph: Any = None
        if vocabulary is None:
            return
        if isinstance(vocabulary, str | Path):
            vocabulary = vocabularies.read(vocabulary)
        else:
            vocabularies.check(vocabulary, "of ElectraTokenizer")
        self._vocabulary = tuple(vocabulary)
        self._ids = vocabularies.token_ids(vocabulary)
        self._encoder = tokenizer.Encoder(vocabulary, self.tokenizer_config)
        self._writer = detokenizer.Detokenizer(vocabulary, self.tokenizer_config)
        self._update_special_token_ids()

    def save_assets(self, folder: str) -> None:
        """Writes the vocabulary."""
        vocabularies.write(os.path.join(folder, VOCABULARY), self._tokens())

    def load_assets(self, folder: str) -> None:
        """Reads the vocabulary."""
        self.set_vocabulary(os.path.join(folder, VOCABULARY))

    def get_vocabulary(self) -> list[str]:
        """Returns the tokens in the order of their ids."""
        return list(self._tokens())

    def vocabulary_size(self) -> int:
        """Returns how many tokens there are."""
        return len(self._tokens())

    def id_to_token(self, id: int) -> str:
        """Returns the token of an id."""
        tokens = self._tokens()
        if not 0 <= id < len(tokens):
            raise errors.UserError(f"token id {id}: want 0 to {len(tokens) - 1}")
        return tokens[id]

    def token_to_id(self, token: str) -> int:
        """Returns the id of a token."""
        self._tokens()
        if token not in self._ids:
            raise errors.UserError(f"token {token!r} is not in the vocabulary")
        return self._ids[token]

    def _tokens(self) -> tuple[str, ...]:
        if not self._vocabulary:
            raise errors.UserError("ElectraTokenizer has no vocabulary; give it one")
        return self._vocabulary

    # From text.

    def encode(self, text: str | bytes) -> npt.NDArray[np.int32]:
        """Returns the token ids of one text, without [CLS] and [SEP]."""
        self._tokens()
        return self._encoder.encode(_text(text)).astype(np.int32)

    def encode_with_offsets(
        self, text: str
    ) -> tuple[npt.NDArray[np.int32], list[tuple[int, int]]]:
        """Returns a text's token ids, and where in the text each has its characters.

        Returns:
            The ids, and (start, end) of each: the token covers `text[start:end]`.
        """
        self._tokens()
        ids, offsets = self._encoder.encode_with_offsets(_text(text))
        return ids.astype(np.int32), offsets

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Does as `tokenize`."""
        return self.tokenize(inputs)

    def tokenize(self, inputs: Any) -> Any:
        """Turns strings into token ids, or tokens: see this module's `Out`."""
        self._tokens()
        if not self._use_tf_workflow():
            return self._tokenize_values(_values(inputs))
        with tf.device("cpu"):
            if not tf.is_tensor(inputs):
                inputs = tf.ragged.constant(_values(inputs), dtype=tf.string)
            outputs = self._tokenize_tensor(inputs)
        return _outputs(outputs)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the shape with the tokens of each string as the last dimension."""
        return keras.KerasTensor((*inputs.shape, None), dtype=self.compute_dtype)

    def _tokenize_values(self, values: Any) -> Any:
        if isinstance(values, list):
            return [self._tokenize_list(value) for value in values]
        if self.compute_dtype == "string":
            return self._tokenize_list(values)
        return self.encode(values).astype(self.compute_dtype)

    def _tokenize_list(self, values: Any) -> list[Any]:
        if isinstance(values, list):
            return [self._tokenize_list(value) for value in values]
        ids: list[int] = self.encode(values).tolist()
        if self.compute_dtype == "string":
            return [self._vocabulary[i] for i in ids]
        return ids

    def _tokenize_tensor(self, strings: Any) -> Any:
        """Turns a string tensor, dense or ragged, into one with a dimension more."""
        if self._graph is None:
            with tf.init_scope():  # Not inside the graph of one tf.data pipeline.
                # Traced once, for all of them.
                self._graph = tf.function(
                    graph_tokenizer.GraphTokenizer(
                        self._vocabulary, self.tokenizer_config
                    ).__call__,
                    input_signature=[tf.TensorSpec([None], tf.string)],
                    autograph=False,
                )
        rank = strings.shape.rank
        if rank > 1 and isinstance(strings, tf.Tensor):
            strings = tf.RaggedTensor.from_tensor(strings, ragged_rank=rank - 1)
        if rank == 0:
            ids = self._graph(strings[None])[0]
        else:
            ids = tf.ragged.map_flat_values(self._graph, strings)
        if self.compute_dtype == "string":
            return tf.gather(tf.constant(self._vocabulary), ids)
        return tf.cast(ids, self.compute_dtype)

    # Back to text.

    def write(self, ids: Iterable[int]) -> str:
        """Turns token ids into text as people write it: see `detokenizer`."""
        self._tokens()
        return self._writer(ids)

    def detokenize(self, inputs: Any) -> Any:
        """Turns token ids into text as KerasHub does: a space between words.

        Args:
            inputs: ids of one text, or of several.
        """
        self._tokens()
        if not self._use_tf_workflow():
            return self._detokenize_values(_values(inputs))
        with tf.device("cpu"):
            if not tf.is_tensor(inputs):
                inputs = tf.ragged.constant(_values(inputs), dtype=tf.int32)
            if inputs.shape.rank == 0:
                inputs = inputs[None]
            tokens = tf.gather(tf.constant(self._vocabulary), inputs)
            texts = tf.strings.reduce_join(tokens, axis=-1, separator=" ")
            texts = tf.strings.regex_replace(texts, _CONTINUED, r"\1")
        return _outputs(texts)

    def _detokenize_values(self, ids: Any) -> Any:
        if isinstance(ids, int):
            ids = [ids]
        if ids and isinstance(ids[0], list):
            return [self._detokenize_values(row) for row in ids]
        return re.sub(_CONTINUED, r"\1", " ".join(map(self.id_to_token, ids)))


def _values(inputs: Any) -> Any:
    """Turns arrays, tensors and tuples into Python values: one, or nested lists."""
    if isinstance(inputs, tf.RaggedTensor):
        inputs = inputs.to_list()
    elif hasattr(inputs, "__array__"):
        inputs = np.asarray(inputs).tolist()
    if isinstance(inputs, list | tuple):
        return [_values(value) for value in inputs]
    return _text(inputs) if isinstance(inputs, bytes | str) else inputs


def _outputs(tensors: Any) -> Any:
    """Outside a graph, turns strings and rows of several lengths into Python values."""
    numbers = isinstance(tensors, tf.Tensor) and tensors.dtype != tf.string
    return _values(tensors) if tf.executing_eagerly() and not numbers else tensors


def _text(value: Any) -> str:
    """Returns a string that UTF-8 can hold, of as many characters.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    raise errors.UserError(
        f"cannot tokenize {value!r:.60}, a {type(value).__name__}; want a string"
    )
