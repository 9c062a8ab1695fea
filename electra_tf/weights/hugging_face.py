"""Hugging Face directories: read into our networks, and written from them.

In:   config.json, model.safetensors (or shards), vocab.txt and/or tokenizer.json.
Out:  the same, which transformers' AutoModel and AutoTokenizer load.

A directory holds one network: a discriminator, a generator, or an encoder, alone or
with a task's head. A folder with `discriminator/` and `generator/` in it is read, and
written, as both.
"""

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import struct
import tempfile
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pydantic
import safetensors
import tokenizers
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from electra_tf import config, errors
from electra_tf.system import checksums, durable
from electra_tf.text import tokenizer
from electra_tf.weights import model_card, preset, weight_map

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
VOCAB = "vocab.txt"
FAST_TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
ADDED_TOKENS = "added_tokens.json"
SPECIAL_TOKENS = "special_tokens_map.json"

# Folders of a directory that holds two networks.
PARTS = ("discriminator", "generator")

# How transformers names an activation, and how we do.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_approximate",
    "gelu_pytorch_tanh": "gelu_approximate",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

# What each head consists of: D hidden, N labels.
HEADS: dict[str, dict[str, tuple[int | str, ...]]] = {
    "sequence_classification": {
        "classifier.dense.weight": ("D", "D"),
        "classifier.dense.bias": ("D",),
        "classifier.out_proj.weight": ("N", "D"),
        "classifier.out_proj.bias": ("N",),
    },
    "token_classification": {
        "classifier.weight": ("N", "D"),
        "classifier.bias": ("N",),
    },
    "question_answering": {"qa_outputs.weight": (2, "D"), "qa_outputs.bias": (2,)},
    "multiple_choice": {
        "sequence_summary.summary.weight": ("D", "D"),
        "sequence_summary.summary.bias": ("D",),
        "classifier.weight": (1, "D"),
        "classifier.bias": (1,),
    },
}
CLASSIFIERS = ("sequence_classification", "token_classification")  # have labels

# What a head of sequence_classification learned.
ProblemType = Literal[
    "regression", "single_label_classification", "multi_label_classification"
]
_HEAD_PREFIXES = ("classifier.", "qa_outputs.", "sequence_summary.")

# Buffers that old versions saved; they hold 0, 1, 2 ...
_BUFFERS = {"electra.embeddings.position_ids", "electra.embeddings.token_type_ids"}
_WORDS = "electra.embeddings.word_embeddings.weight"
_TIED = "generator_lm_head.weight"

# Weights in a form that only other libraries read, and what transformers calls it.
_FOREIGN_WEIGHTS = {
    "pytorch_model": "",
    "tf_model": ", from_tf=True",
    "flax_model": ", from_flax=True",
}
_TOKENIZERS = re.compile("(Bert|Electra)Tokenizer(Fast)?")
_GENERAL_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
_LISTED = 8  # names that an error lists


class _Config(config.Settings):
    """What we act on of a config.json, with transformers' defaults."""

    model_config = pydantic.ConfigDict(extra="ignore")

    vocab_size: PositiveInt = 30522
    embedding_size: PositiveInt = 128
    hidden_size: PositiveInt = 256
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 4
    intermediate_size: PositiveInt = 1024
    hidden_act: str = "gelu"
    hidden_dropout_prob: config.Rate = 0.1
    attention_probs_dropout_prob: config.Rate = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    initializer_range: PositiveFloat = 0.02
    layer_norm_eps: PositiveFloat = 1e-12
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    add_cross_attention: bool = False
    classifier_dropout: config.Rate | None = None
    problem_type: ProblemType | None = None
    summary_last_dropout: config.Rate = 0.1
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = "gelu"
    architectures: list[str] | None = None
    id2label: dict[NonNegativeInt, str] | None = None


class _WordPiece(config.Settings):
    model_config = pydantic.ConfigDict(extra="ignore")

    type: Literal["WordPiece"] = "WordPiece"  # Early files leave it out.
    unk_token: Literal["[UNK]"] = "[UNK]"
    continuing_subword_prefix: Literal["##"] = "##"
    max_input_chars_per_word: NonNegativeInt = tokenizer.MAX_WORD_CHARACTERS
    vocab: dict[str, NonNegativeInt]


class _Normalizer(config.Settings):
    type: Literal["BertNormalizer"]
    clean_text: Literal[True] = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True


class _PreTokenizer(config.Settings):
    type: Literal["BertPreTokenizer"]


class _AddedToken(config.Settings):
    """What is written of one, wherever; many leave most of it out."""

    model_config = pydantic.ConfigDict(extra="ignore")

    content: str
    id: NonNegativeInt | None = None
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False


_Named = str | _AddedToken | None


class _SpecialTokens(config.Settings):
    """What tokenizer_config.json and special_tokens_map.json may both have."""

    model_config = pydantic.ConfigDict(extra="ignore")

    pad_token: _Named = None
    unk_token: _Named = None
    cls_token: _Named = None
    sep_token: _Named = None
    mask_token: _Named = None
    bos_token: _Named = None
    eos_token: _Named = None
    additional_special_tokens: list[_Named] | None = None
    extra_special_tokens: list[_Named] | dict[str, _Named] | None = None


class _Ids(config.Settings):
    """What added_tokens.json holds."""

    ids: dict[str, NonNegativeInt]


class _FastTokenizer(config.Settings):
    """What a tokenizer.json must hold for us to read words the same way."""

    model_config = pydantic.ConfigDict(extra="ignore")

    normalizer: _Normalizer
    pre_tokenizer: _PreTokenizer
    model: _WordPiece
    added_tokens: tuple[_AddedToken, ...] = ()


class _TokenizerSettings(_SpecialTokens):
    """What we act on of a tokenizer_config.json."""

    added_tokens_decoder: dict[NonNegativeInt, _AddedToken] = pydantic.Field({})
    tokenizer_class: str | None = None
    do_basic_tokenize: Literal[True] = True
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True


class HuggingFaceDirectory(NamedTuple):
    """A directory, or two of them, opened: a `preset.Pretrained`."""

    folder: str
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
    head: str | None  # of a task, on the encoder: a key of HEADS
    label_names: list[str] | None  # of a classification head, by their numbers
    problem_type: ProblemType | None  # of sequence_classification
    dropout: float  # of a head
    thresholds: Any  # of labels, several of which may fit; None = nothing says
    tensors: "dict[str, _Tensors]"  # by network

    def load_weights(self, name: str, network: keras.Model) -> None:
        """Loads the weights of its network `name` into a network of that shape."""
        tensors = self.tensors[name]
        weight_map.fill(
            weight_map.variables(network),
            weight_map.rows(name, self.networks[name]),
            tensors,
            "hugging_face",
            tensors.folder,
        )
        if _TIED in tensors.shapes and not np.array_equal(
            tensors.read(_TIED), tensors.read(_WORDS)
        ):
            raise errors.UserError(
                f"{tensors.folder}: {_TIED} is not {_WORDS}; an ELECTRA generator "
                "guesses with its word embeddings, and weights that are not tied do "
                "not fit"
            )

    def read_head(self) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the head's arrays by their names there, kernels [out, in]."""
        if self.head is None:
            return {}
        return {name: self.tensors["encoder"].read(name) for name in HEADS[self.head]}


def has_weights(path: str) -> bool:
    """Tells whether a folder, or a part of it, has weights in the form that is read."""
    return any(
        os.path.isfile(os.path.join(path, part, file))
        for part in ("", *PARTS)
        for file in (WEIGHTS, INDEX)
    )


def is_directory(path: str) -> bool:
    """Tells whether a folder was written by transformers, of whatever model type."""
    return _looks_like_one(path) or any(
        _looks_like_one(os.path.join(path, part)) for part in PARTS
    )


def open_directory(path: str) -> HuggingFaceDirectory:
    """Reads what a directory says of itself, and the names and shapes of its weights.

    Raises:
        UserError: it is no ELECTRA, is damaged, contradicts itself, or has what our
            networks have not.
    """
    parts = [part for part in PARTS if _looks_like_one(os.path.join(path, part))]
    if _looks_like_one(path) or not parts:
        return _open_one(path)
    opened = {part: _open_one(os.path.join(path, part)) for part in parts}
    first = opened[parts[0]]
    for part, found in opened.items():
        if part not in found.networks:
            raise errors.UserError(
                f"{found.folder} holds not a {part} but a {'/'.join(found.networks)}; "
                "name the folder itself"
            )
        if (found.vocab, found.tokenizer) != (first.vocab, first.tokenizer):
            raise errors.UserError(
                f"{first.folder} and {found.folder} do not have the same vocabulary "
                "and casing; open one of them"
            )
    return first._replace(
        folder=path,
        networks={part: found.networks[part] for part, found in opened.items()},
        tensors={part: found.tensors[part] for part, found in opened.items()},
    )


def write_directory(
    folder: str,
    name: str,
    model: config.ModelConfig,
    tensors: Iterable[tuple[str, npt.NDArray[np.float32]]],
    vocab: Sequence[str] | None,
    tokenizer_config: config.TokenizerConfig,
    extra: dict[str, Any],
    *,
    label_names: Sequence[str] | None = None,
    problem_type: str | None = None,
    dropout: float | None = None,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes a directory beside the old one, if any, and then puts it in its place.

    Args:
        folder: a directory of ours that is there is replaced, but for a README.md
            that was edited.
        name: the network, or the head on an encoder: a key of `model_card.CLASSES`.
        model: its architecture.
        tensors: arrays by Hugging Face's names (`weight_map.extract`), taken one at
            a time.
        vocab: tokens in the order of their ids; None writes no tokenizer.
        tokenizer_config: casing, accents, CJK.
        extra: our own facts, kept under "electra_tf"; "origin" is how the weights
            came to be.
        label_names: of a classification head, by their numbers.
        problem_type: of a head of sequence_classification.
        dropout: of a head; None is the encoder's.
        facts: for the model card.

    Raises:
        UserError: the folder holds something else or cannot be written.
    """
    # transformers counts a classifier's labels by their names.
    assert (label_names is not None) == (name in CLASSIFIERS), name
    values = _config_values(name, model, extra)
    if dropout is not None and name == "multiple_choice":
        values["summary_last_dropout"] = dropout
    elif name in CLASSIFIERS and dropout != model.hidden_dropout_rate:
        values["classifier_dropout"] = dropout  # null is the encoder's; 0.0 is not.
    if problem_type is not None:
        values["problem_type"] = problem_type
    if label_names is not None:
        values["id2label"] = {str(i): label for i, label in enumerate(label_names)}
        values["label2id"] = {label: i for i, label in enumerate(label_names)}
    with durable.replacing_folder(folder, _is_ours) as building:
        _keep_cards(folder, building)
        _write_model(building, values, tensors, vocab, tokenizer_config)
        card = _card({name: model}, tokenizer_config, extra, facts)
        labels = label_names if problem_type != "regression" else None
        card = card._replace(problem_type=problem_type, labels=labels or ())
        model_card.write(building, card)


def save_networks(
    folder: str,
    networks: dict[str, keras.Model],
    configs: dict[str, config.ModelConfig],
    vocab: Sequence[str] | None,
    tokenizer_config: config.TokenizerConfig,
    origin: dict[str, Any],
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes networks of ours: one into the folder, two into a folder each in it.

    Args:
        folder: as in `write_directory`.
        networks: "discriminator", "generator" or both; or "encoder".
        configs: their architectures.
        vocab: tokens in the order of their ids, or None.
        tokenizer_config: casing, accents, CJK.
        origin: how they came to be: JSON values.
        facts: for the model cards.

    Raises:
        UserError: the folder holds something else or cannot be written.
    """
    extra = {"origin": origin}
    # Refused before anything is written.
    values = {name: _config_values(name, configs[name], extra) for name in networks}
    with durable.replacing_folder(folder, _is_ours) as building:
        _keep_cards(folder, building)
        for name, network in networks.items():
            place = building
            if len(networks) > 1:
                place = os.path.join(building, name)
                os.makedirs(place, exist_ok=True)
            tensors = weight_map.extract(
                weight_map.variables(network),
                weight_map.rows(name, configs[name]),
                "hugging_face",
            )
            _write_model(place, values[name], tensors, vocab, tokenizer_config)
            card = _card({name: configs[name]}, tokenizer_config, extra, facts)
            model_card.write(place, card)
        if len(networks) > 1:
            shown = {name: configs[name] for name in networks}
            card = _card(shown, tokenizer_config, extra, facts)
            model_card.write(building, card)


# Reading.


class _Tensors:
    """A directory's arrays by today's names, read one at a time: a weight_map.Source.

    A file is opened anew for each array, so that no more of it stays in memory.
    """

    def __init__(self, folder: str, architecture: str) -> None:
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, tuple[str, str]] = {}  # file and name in it
        for file, named in _weight_files(folder, architecture).items():
            with _opened(file) as tensors:
                # Names in an index that its file has not are the file's damage.
                for name in tensors.keys() if named is None else named:
                    self._add(file, name, tensors.get_slice(name))
        if not any(name.startswith("electra.") for name in self.shapes):
            self._name_as_part_of_a_model()

    def _add(self, file: str, stored: str, entry: Any) -> None:
        """Enters an array under today's name; the first versions had TF1's."""
        name = re.sub(r"(LayerNorm)\.gamma$", r"\1.weight", stored)
        name = re.sub(r"(LayerNorm)\.beta$", r"\1.bias", name)
        if name in _BUFFERS or f"electra.{name}" in _BUFFERS:
            return
        if entry.get_dtype() not in ("F64", "F32", "F16", "BF16"):
            raise errors.UserError(
                f"{file}: {stored} is stored as {entry.get_dtype()}; want float "
                "weights, so save the model in float32"
            )
        if name in self.shapes:
            raise errors.UserError(
                f"{self.folder}: {name} stands twice, under its old and new name or "
                "in two shards; keep one"
            )
        self.shapes[name] = tuple(entry.get_shape())
        self._places[name] = file, stored

    def _name_as_part_of_a_model(self) -> None:
        """A bare ElectraModel is saved without the prefix that all others have."""
        inner = ("embeddings.", "embeddings_project.", "encoder.")
        for name in [name for name in self.shapes if name.startswith(inner)]:
            self.shapes[f"electra.{name}"] = self.shapes.pop(name)
            self._places[f"electra.{name}"] = self._places.pop(name)

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one array, float32."""
        file, stored = self._places[name]
        with _opened(file) as tensors:
            return np.asarray(tensors.get_tensor(stored), np.float32)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[Any]:
    try:
        # Half-precision arrays have ml_dtypes' type, which TensorFlow registers.
        with safetensors.safe_open(file, framework="numpy") as tensors:
            yield tensors
    except (OSError, safetensors.SafetensorError) as error:
        raise errors.UserError(
            f"cannot read {file}: {errors.reason(error)}; copy or download it again"
        ) from None


def _weight_files(folder: str, architecture: str) -> dict[str, list[str] | None]:
    """Returns the files with weights, and of shards which names they hold."""
    path = os.path.join(folder, WEIGHTS)
    if os.path.isfile(path):
        return {path: None}
    if os.path.isfile(os.path.join(folder, INDEX)):
        return _shards(folder)
    for file in sorted(os.listdir(folder)):
        for start, argument in _FOREIGN_WEIGHTS.items():
            if file.startswith(start):
                code = (
                    "import transformers as t; "
                    f"t.{architecture}.from_pretrained({folder!r}{argument})"
                    f".save_pretrained({folder!r})"
                )
                raise errors.UserError(
                    f"{os.path.join(folder, file)}: only {WEIGHTS} is read; write it "
                    f"where transformers is installed: python -c {shlex.quote(code)}"
                )
    raise errors.UserError(
        f"{folder} has no {WEIGHTS}; download or copy it beside {CONFIG}"
    )


def _shards(folder: str) -> dict[str, list[str] | None]:
    path = os.path.join(folder, INDEX)
    places = preset.read_json(path).get("weight_map")
    files: dict[str, list[str] | None] = {}
    for name, file in places.items() if isinstance(places, dict) else ():
        if not isinstance(file, str) or file != os.path.basename(file) or not file:
            raise errors.UserError(
                f"{path}: weight_map puts {name!r} into {file!r}; want the name of a "
                "file beside it"
            )
        names = files.setdefault(os.path.join(folder, file), [])
        assert names is not None
        names.append(name)
    if not files:
        raise errors.UserError(
            f"{path} names no weights; copy or download the directory again"
        )
    return files


def _looks_like_one(folder: str) -> bool:
    if any(os.path.isfile(os.path.join(folder, file)) for file in (WEIGHTS, INDEX)):
        return True
    try:
        files = os.listdir(folder)
        if any(file.startswith(tuple(_FOREIGN_WEIGHTS)) for file in files):
            return True
        return "model_type" in preset.read_json(os.path.join(folder, CONFIG))
    except (OSError, errors.UserError):
        return False


def _open_one(folder: str) -> HuggingFaceDirectory:
    checksums.verify(folder)
    path = os.path.join(folder, CONFIG)
    values = preset.read_json(path)
    if values.get("model_type") != "electra":
        raise errors.UserError(
            f"{path}: model_type is {values.get('model_type')!r:.60}; want 'electra', "
            "for the weights of other models do not fit"
        )
    stated = config.check(_Config, values, path)
    named = next(iter(stated.architectures or []), "").removeprefix("TF")
    known = named if named in model_card.CLASSES.values() else "ElectraForPreTraining"
    tensors = _Tensors(folder, known)
    network = _network(tensors)
    model = _architecture(stated, tensors, network, path)
    head = _head(stated, tensors, network, path)
    _refuse_leftovers(tensors, network, model)
    vocab, rules = _read_tokenizer(folder)
    if vocab is not None and len(vocab) != model.vocab_size:
        raise errors.UserError(
            f"{folder}: its vocabulary has {len(vocab)} tokens, but vocab_size in "
            f"{CONFIG} is {model.vocab_size}; each row of the embeddings needs its "
            "token, so put the right vocabulary beside the weights"
        )
    return HuggingFaceDirectory(
        folder,
        {network: model},
        rules,
        vocab,
        _origin(folder, values),
        head,
        _label_names(stated, tensors, head, path),
        _problem_type(stated, tensors, head),
        _head_dropout(stated, head),
        _ours(values).get("thresholds"),
        {network: tensors},
    )


def _network(tensors: _Tensors) -> str:
    """Tells the network by its head."""
    names = tuple(tensors.shapes)
    if any(name.startswith("discriminator_predictions.") for name in names):
        return "discriminator"
    if any(
        name.startswith(("generator_predictions.", "generator_lm_head."))
        for name in names
    ):
        return "generator"
    return "encoder"


def _architecture(
    stated: _Config, tensors: _Tensors, network: str, path: str
) -> config.ModelConfig:
    """Translates config.json, which the weights must not contradict."""
    _refuse_unsupported(stated, network, path)
    _refuse_contradictions(stated, tensors, path)
    values = {
        "vocab_size": stated.vocab_size,
        "embedding_size": stated.embedding_size,
        "hidden_size": stated.hidden_size,
        "num_layers": stated.num_hidden_layers,
        "num_heads": stated.num_attention_heads,
        "intermediate_size": stated.intermediate_size,
        "max_positions": stated.max_position_embeddings,
        "num_segments": stated.type_vocab_size,
        "activation": ACTIVATIONS[stated.hidden_act],
        "hidden_dropout_rate": stated.hidden_dropout_prob,
        "attention_dropout_rate": stated.attention_probs_dropout_prob,
        "layer_norm_epsilon": stated.layer_norm_eps,
        "initializer_range": stated.initializer_range,
    }
    return config.check(config.ModelConfig, values, path)


def _refuse_unsupported(stated: _Config, network: str, path: str) -> None:
    wanted: dict[str, tuple[Any, ...]] = {
        "hidden_act": tuple(ACTIVATIONS),
        "position_embedding_type": ("absolute", None),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    }
    if network == "generator":
        # transformers' masked-token head has a GELU whatever hidden_act says.
        wanted["hidden_act"] = ("gelu",)
    for name, allowed in wanted.items():
        value = getattr(stated, name)
        if value not in allowed:
            listed = " or ".join(repr(choice) for choice in allowed)
            raise errors.UserError(
                f"{path}: {name}={value!r:.60} is not supported"
                f"{' for a generator' if network == 'generator' else ''}; want {listed}"
            )


def _refuse_contradictions(stated: _Config, tensors: _Tensors, path: str) -> None:
    """Compares sizes before a network of those sizes is built."""
    width = stated.embedding_size
    for name, want in {
        _WORDS: (stated.vocab_size, width),
        "electra.embeddings.position_embeddings.weight": (
            stated.max_position_embeddings,
            width,
        ),
        "electra.embeddings.token_type_embeddings.weight": (
            stated.type_vocab_size,
            width,
        ),
        "electra.encoder.layer.0.intermediate.dense.weight": (
            stated.intermediate_size,
            stated.hidden_size,
        ),
    }.items():
        found = tensors.shapes.get(name)
        if found != want:
            raise errors.UserError(
                f"{tensors.folder}: {name} is {list(found) if found else 'missing'}, "
                f"but {path} says {list(want)}; they must be of the same model"
            )
    blocks = {
        int(match[1])
        for name in tensors.shapes
        if (match := re.match(r"electra\.encoder\.layer\.(\d{1,6})\.", name))
    }
    if blocks != set(range(min(stated.num_hidden_layers, len(blocks) + 1))):
        raise errors.UserError(
            f"{path}: num_hidden_layers is {stated.num_hidden_layers}, but the weights "
            f"have {len(blocks)} blocks; they must be of the same model"
        )


def _head(stated: _Config, tensors: _Tensors, network: str, path: str) -> str | None:
    """Tells the task's head, if any, by the names and shapes of its arrays."""
    found = {
        name: shape
        for name, shape in tensors.shapes.items()
        if name.startswith(_HEAD_PREFIXES)
    }
    if not found or network != "encoder":
        return None  # Beside another head they are left over.
    kind = next(
        (kind for kind, want in HEADS.items() if want.keys() == found.keys()), None
    )
    architectures = {model_card.CLASSES[kind] for kind in HEADS}
    named = architectures & set(stated.architectures or [])
    if kind is None or (named and model_card.CLASSES[kind] not in named):
        raise errors.UserError(
            f"{path}: architectures is {stated.architectures!r:.80}, and the head's "
            f"arrays are {_listed(found)}; want those of transformers' own heads"
        )
    sizes = {"D": stated.hidden_size, "N": _num_labels(found, kind)}
    for name, letters in HEADS[kind].items():
        want = [sizes[n] if isinstance(n, str) else n for n in letters]
        if list(found[name]) != want:
            raise errors.UserError(
                f"{tensors.folder}: {name} is {list(found[name])}, want {want}"
            )
    summary = stated.summary_type, stated.summary_use_proj, stated.summary_activation
    if kind == "multiple_choice" and summary != ("first", True, "gelu"):
        raise errors.UserError(
            f"{path}: summary_type, summary_use_proj, summary_activation are {summary}"
            "; want ('first', True, 'gelu')"
        )
    return kind


def _num_labels(shapes: dict[str, tuple[int, ...]], kind: str) -> int:
    """Returns the length of the last bias; the other shapes must agree with it."""
    last = list(HEADS[kind])[-1]
    return shapes[last][0] if shapes[last] else 0


def _label_names(
    stated: _Config, tensors: _Tensors, head: str | None, path: str
) -> list[str] | None:
    if head not in CLASSIFIERS:
        return None
    count = _num_labels(tensors.shapes, head)
    if stated.id2label is None:
        return [f"LABEL_{number}" for number in range(count)]  # As transformers does.
    if sorted(stated.id2label) != list(range(count)):
        raise errors.UserError(
            f"{path}: id2label has the numbers {sorted(stated.id2label)!r:.60}, but "
            f"the head has {count} labels; number them from 0"
        )
    return [stated.id2label[number] for number in range(count)]


def _problem_type(
    stated: _Config, tensors: _Tensors, head: str | None
) -> ProblemType | None:
    """Returns what the head learned; unstated, as transformers infers it."""
    if head != "sequence_classification":
        return None
    if stated.problem_type is not None:
        return stated.problem_type
    is_one = _num_labels(tensors.shapes, head) == 1
    return "regression" if is_one else "single_label_classification"


def _head_dropout(stated: _Config, head: str | None) -> float:
    """Returns the dropout of the head, for which transformers has three settings."""
    if head == "multiple_choice":
        return stated.summary_last_dropout
    if stated.classifier_dropout is None:
        return stated.hidden_dropout_prob
    return stated.classifier_dropout


def _refuse_leftovers(
    tensors: _Tensors, network: str, model: config.ModelConfig
) -> None:
    """What no variable takes up would be lost in silence."""
    known = {row.hugging_face for row in weight_map.rows(network, model)}
    left = tensors.shapes.keys() - known
    if network == "generator":
        left -= {_TIED}
    if network == "encoder":
        left = {name for name in left if not name.startswith(_HEAD_PREFIXES)}
    if left:
        raise errors.UserError(
            f"{tensors.folder}: no place for {len(left)} of its arrays: "
            f"{_listed(left)}; want an ELECTRA {network} as transformers saves it"
        )


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(name[:80] for name in found[:_LISTED]) + more


def _ours(values: dict[str, Any]) -> dict[str, Any]:
    """Returns our own facts of a config.json, if it has some."""
    ours = values.get("electra_tf")
    return ours if isinstance(ours, dict) else {}


def _origin(folder: str, values: dict[str, Any]) -> dict[str, Any]:
    """Returns what we recorded, or else where the weights were found."""
    origin = _ours(values).get("origin")
    if isinstance(origin, dict):
        return dict(origin)
    origin = {"format": "Hugging Face directory", "path": folder}
    if isinstance(name := values.get("_name_or_path"), str) and name:
        origin["name"] = name
    return origin


def _read_tokenizer(folder: str) -> tuple[list[str] | None, config.TokenizerConfig]:
    """Reads vocabulary and rules as transformers 4 and 5 do.

    BERT's classes, which stand for none named too, ask tokenizer_config.json alone,
    whose defaults lower-case; the general classes ask tokenizer.json alone.
    """
    path = os.path.join(folder, TOKENIZER_CONFIG)
    settings = _TokenizerSettings()
    if os.path.exists(path):
        settings = config.check(_TokenizerSettings, preset.read_json(path), path)
    name = settings.tokenizer_class or "BertTokenizer"
    if not (_TOKENIZERS.fullmatch(name) or name in _GENERAL_TOKENIZERS):
        raise errors.UserError(
            f"{path}: tokenizer_class is {settings.tokenizer_class!r:.60}; only BERT's "
            "WordPiece is known: to have the weights alone, move the tokenizer's files "
            "away"
        )
    fast = _read_fast_tokenizer(os.path.join(folder, FAST_TOKENIZER))
    rules: dict[str, Any] = {
        "lowercase": settings.do_lower_case,
        "strip_accents": settings.strip_accents,
        "split_cjk": settings.tokenize_chinese_chars,
    }
    if fast is not None and settings.tokenizer_class in _GENERAL_TOKENIZERS:
        _refuse_word_limit(fast, os.path.join(folder, FAST_TOKENIZER))
        rules = {
            "lowercase": fast.normalizer.lowercase,
            "strip_accents": fast.normalizer.strip_accents,
            "split_cjk": fast.normalizer.handle_chinese_chars,
        }
    added = _read_added_tokens(folder, settings, fast)
    vocab, words = _read_vocab(folder, fast, added)
    if vocab is not None:
        rules["added_tokens"] = _found_in(vocab, words, added, folder)
    return vocab, config.TokenizerConfig(**rules)


def _read_added_tokens(
    folder: str, settings: _TokenizerSettings, fast: _FastTokenizer | None
) -> dict[str, _AddedToken]:
    """Returns the tokens that were added, by their contents, wherever they stand.

    What tokenizer_config.json says goes first, as in transformers.
    """
    stated: list[_SpecialTokens] = [settings]
    path = os.path.join(folder, SPECIAL_TOKENS)
    if os.path.exists(path):
        values = preset.read_json(path)
        stated.insert(0, config.check(_SpecialTokens, values, path))
    named = [token for some in stated for token in _special(some, folder)]
    found = {token.content: token for token in named}
    special = set(found)
    path = os.path.join(folder, ADDED_TOKENS)
    if os.path.exists(path):
        listed = config.check(_Ids, {"ids": preset.read_json(path)}, path).ids
        for content, number in listed.items():
            known = found.get(content, _AddedToken(content=content))
            found[content] = known.model_copy(update={"id": number})
    for token in fast.added_tokens if fast else ():
        found[token.content] = token
    for number, token in settings.added_tokens_decoder.items():
        found[token.content] = token.model_copy(update={"id": number})
    return {
        content: token.model_copy(
            update={"special": token.special or content in special}
        )
        for content, token in found.items()
    }


def _special(stated: _SpecialTokens, folder: str) -> list[_AddedToken]:
    """Returns the special tokens that a file names; the five must be BERT's."""
    tokens = []
    for name in _SpecialTokens.model_fields:
        value = getattr(stated, name)
        some = list(value.values()) if isinstance(value, dict) else value
        for token in some if isinstance(some, list) else [some]:
            if token is None:
                continue
            found = _AddedToken(content=token) if isinstance(token, str) else token
            want = f"[{name.removesuffix('_token').upper()}]"
            if found.content != want and want in tokenizer.SPECIAL_TOKENS:
                raise errors.UserError(
                    f"{folder}: {name} is {found.content!r:.60}; only BERT's {want} is "
                    "known"
                )
            tokens.append(found.model_copy(update={"special": True}))
    return tokens


def _found_in(
    vocab: list[str], words: Container[str], added: dict[str, _AddedToken], folder: str
) -> list[config.AddedToken]:
    """Returns them as our settings have them, but for BERT's five.

    Raises:
        UserError: one has no id.
    """
    ids = tokenizer.token_ids(vocab)
    found = []
    for content, token in added.items():
        if content in tokenizer.SPECIAL_TOKENS:
            continue
        if content not in ids:
            raise errors.UserError(
                f"{folder}: {content!r:.60} is a token that was added, but neither "
                "vocabulary nor file has an id for it; leave it out of them"
            )
        normalized = not token.special if token.normalized is None else token.normalized
        found.append(
            config.AddedToken(
                content=content,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=normalized,
                special=token.special,
                is_word=content in words,
            )
        )
    return sorted(found, key=lambda token: ids[token.content])


def _refuse_word_limit(fast: _FastTokenizer, path: str) -> None:
    """Refuses longer words; BERT's classes have one limit, whatever the file says."""
    found = fast.model.max_input_chars_per_word
    if found != tokenizer.MAX_WORD_CHARACTERS:
        raise errors.UserError(
            f"{path}: max_input_chars_per_word is {found}; only BERT's "
            f"{tokenizer.MAX_WORD_CHARACTERS} is known: write that if longer words may "
            f"be {tokenizer.UNK}"
        )


def _read_fast_tokenizer(path: str) -> _FastTokenizer | None:
    if not os.path.exists(path):
        return None
    try:
        return config.check(_FastTokenizer, preset.read_json(path), path)
    except errors.UserError as error:
        raise errors.UserError(
            f"{error}; only BERT's WordPiece is known: to have the weights alone, move "
            "the tokenizer's files away"
        ) from None


def _read_vocab(
    folder: str, fast: _FastTokenizer | None, added: dict[str, _AddedToken]
) -> tuple[list[str] | None, Container[str]]:
    """Returns the tokens, added ones too, and which of them WordPiece knows."""
    path = os.path.join(folder, VOCAB)
    vocab = tokenizer.read_vocab(path) if os.path.exists(path) else None
    if fast is not None:
        path, words = os.path.join(folder, FAST_TOKENIZER), fast.model.vocab
    elif vocab is not None:
        words = tokenizer.token_ids(vocab)
    else:
        return None, ()
    ids = dict(words)
    for content, token in added.items():
        if tokenizer.writable(content) != content:
            raise errors.UserError(
                f"{path}: {content!r:.80}, a token that was added, is one that "
                f"no line of a {VOCAB} can hold; rename it"
            )
        if token.id is not None:
            ids[content] = token.id
    size = max(ids.values(), default=-1) + 1
    apart = {**ids, **words} == ids and len(set(ids.values())) == len(ids)
    if not apart or size > 2 * len(ids):
        raise errors.UserError(
            f"{path}: its {len(ids)} tokens are not numbered from 0 to {len(ids) - 1}; "
            "each row of the embeddings needs its token"
        )
    # Blank lines of a vocab.txt, and all but the last of lines that are alike, are in
    # no tokenizer.json; that may have tokens that were added later.
    tokens = vocab or []
    tokens = tokens + [""] * (size - len(tokens))
    ids = {content: n for content, n in ids.items() if content.strip()}
    for content, number in ids.items():
        tokens[number] = tokens[number] or tokenizer.writable(content)
    if vocab is not None and tokenizer.token_ids(tokens) != ids:
        raise errors.UserError(
            f"{folder}: {VOCAB} and {FAST_TOKENIZER} do not hold the same tokens; "
            "remove the wrong one"
        )
    tokenizer.check_vocab(tokens, path)
    return tokens, words


# Writing.


def _is_ours(folder: str) -> bool:
    """Tells whether all there is was written here, apart from a README.md."""
    ours = {CONFIG, WEIGHTS, VOCAB, FAST_TOKENIZER, TOKENIZER_CONFIG, checksums.FILE}
    parts = [os.path.join(folder, part) for part in PARTS]
    try:
        for place in (folder, *filter(os.path.isdir, parts)):
            files = set(os.listdir(place)) - {model_card.FILE}
            if place == folder:
                files -= set(PARTS)
            about = preset.read_json(os.path.join(place, CONFIG)) if files else {}
            if files and (files - ours or "electra_tf" not in about):
                return False
    except (OSError, errors.UserError):
        return False
    return True


def _keep_cards(folder: str, building: str) -> None:
    """Takes along the cards that were edited by hand, the parts' too."""
    model_card.keep_edited(folder, building)
    for part in PARTS:
        old, new = os.path.join(folder, part), os.path.join(building, part)
        card = os.path.join(old, model_card.FILE)
        if os.path.exists(card) and not model_card.is_ours(card):
            os.makedirs(new)
            model_card.keep_edited(old, new)


def _config_values(
    name: str, model: config.ModelConfig, extra: dict[str, Any]
) -> dict[str, Any]:
    """Returns config.json for a network, with all that transformers would write."""
    if name == "generator" and model.activation != "gelu":
        raise errors.UserError(
            f"a generator with activation={model.activation} has no equal in "
            "transformers, whose masked-token head always has gelu; leave it out"
        )
    activations = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "architectures": [model_card.CLASSES[name]],
        "model_type": "electra",
        "vocab_size": model.vocab_size,
        "embedding_size": model.embedding_size,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "intermediate_size": model.intermediate_size,
        "hidden_act": activations[model.activation],
        "hidden_dropout_prob": model.hidden_dropout_rate,
        "attention_probs_dropout_prob": model.attention_dropout_rate,
        "max_position_embeddings": model.max_positions,
        "type_vocab_size": model.num_segments,
        "initializer_range": model.initializer_range,
        "layer_norm_eps": model.layer_norm_epsilon,
        "position_embedding_type": "absolute",
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": model.hidden_dropout_rate,
        "classifier_dropout": None,
        "pad_token_id": 0,
        "is_decoder": False,
        "add_cross_attention": False,
        "use_cache": True,
        "tie_word_embeddings": True,
        "electra_tf": extra,
    }


def _write_model(
    folder: str,
    values: dict[str, Any],
    tensors: Iterable[tuple[str, npt.NDArray[np.float32]]],
    vocab: Sequence[str] | None,
    tokenizer_config: config.TokenizerConfig,
) -> None:
    _write_json(os.path.join(folder, CONFIG), values)
    if values["architectures"] == [model_card.CLASSES["encoder"]]:
        tensors = ((name.removeprefix("electra."), array) for name, array in tensors)
    _write_tensors(os.path.join(folder, WEIGHTS), tensors)
    if vocab is not None:
        max_tokens = values["max_position_embeddings"]
        _write_tokenizer(folder, vocab, tokenizer_config, max_tokens)
    checksums.write(folder)


def _card(
    models: dict[str, config.ModelConfig],
    tokenizer_config: config.TokenizerConfig,
    extra: dict[str, Any],
    facts: model_card.Facts,
) -> model_card.Card:
    head = next((name for name in models if name in HEADS), None)
    networks = {"encoder": models[head]} if head else models
    origin = extra.get("origin", {})
    return model_card.Card(
        "hugging_face", networks, tokenizer_config, origin, head, facts
    )


def _write_tensors(
    path: str, tensors: Iterable[tuple[str, npt.NDArray[np.float32]]]
) -> None:
    """Writes a safetensors file with one array in memory at a time.

    The library wants all of them at once. The format is the length of a JSON header,
    the header, and the arrays; and the header must know where each array ends.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    with (
        open(path, "wb") as file,
        tempfile.TemporaryFile(dir=os.path.dirname(path)) as arrays,
    ):
        for name, array in tensors:
            start = arrays.tell()
            arrays.write(np.ascontiguousarray(array, "<f4").data)
            header[name] = {
                "dtype": "F32",
                "shape": list(array.shape),
                "data_offsets": [start, arrays.tell()],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # Arrays start at a multiple of 8 bytes.
        file.write(struct.pack("<Q", len(text)) + text)
        arrays.seek(0)
        shutil.copyfileobj(arrays, file, 1 << 20)


def _write_tokenizer(
    folder: str,
    vocab: Sequence[str],
    rules: config.TokenizerConfig,
    max_tokens: int,
) -> None:
    """Writes the tokenizer three times: words, rules, and both."""
    tokenizer.write_vocab(os.path.join(folder, VOCAB), vocab)
    values = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": rules.lowercase,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.split_cjk,
        "model_max_length": max_tokens,
        "pad_token": tokenizer.PAD,
        "unk_token": tokenizer.UNK,
        "cls_token": tokenizer.CLS,
        "sep_token": tokenizer.SEP,
        "mask_token": tokenizer.MASK,
    }
    if special := [token.content for token in rules.added_tokens if token.special]:
        values["additional_special_tokens"] = special
    _write_json(os.path.join(folder, TOKENIZER_CONFIG), values)
    ids = tokenizer.token_ids(vocab)
    added = _at_the_end(vocab, rules.added_tokens) if len(ids) == len(vocab) else ()
    fast = tokenizers.Tokenizer(
        models.WordPiece(
            {token: i for token, i in ids.items() if token not in added},
            unk_token=tokenizer.UNK,
            max_input_chars_per_word=tokenizer.MAX_WORD_CHARACTERS,
        )
    )
    fast.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=rules.split_cjk,
        strip_accents=rules.strip_accents,
        lowercase=rules.lowercase,
    )
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast.decoder = decoders.WordPiece(prefix="##")
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    fast.add_special_tokens(list(tokenizer.SPECIAL_TOKENS))
    for token in sorted(rules.added_tokens, key=lambda token: ids[token.content]):
        fast.add_tokens([tokenizer.library_token(token)])
    path = os.path.join(folder, FAST_TOKENIZER)
    with open(path, "w", encoding="utf-8") as file:
        file.write(fast.to_str(pretty=True))


def _at_the_end(vocab: Sequence[str], added: Sequence[config.AddedToken]) -> set[str]:
    """Returns the tokens that stand behind all words, as the library numbers them."""
    apart = {token.content for token in added if not token.is_word}
    behind = itertools.takewhile(apart.__contains__, reversed(vocab))
    return set(behind)


def _write_json(path: str, values: dict[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
