"""Opens Hugging Face directories: their networks become ours.

In:   a directory: config.json, the weights, a tokenizer's files if any.
Out:  a `preset.Pretrained`, with the head of a task where there is one.
"""

import os
import re
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from electra_tf import config, errors
from electra_tf.system import checksums, reading
from electra_tf.weights import (
    hugging_face,
    hugging_face_arrays,
    hugging_face_tokenizer,
    model_card,
    weight_map,
)

_HEAD_PREFIXES = ("classifier.", "qa_outputs.", "sequence_summary.")
_WORDS = "electra.embeddings.word_embeddings.weight"
_TIED = "generator_lm_head.weight"


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
    problem_type: hugging_face.ProblemType | None = None
    summary_last_dropout: config.Rate = 0.1
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = "gelu"
    architectures: list[str] | None = None
    id2label: dict[NonNegativeInt, str] | None = None


class HuggingFaceDirectory(NamedTuple):
    """A directory, or two of them, opened: a `preset.Pretrained`."""

    folder: str
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
    head: str | None  # of a task, on the encoder: a key of hugging_face.HEADS
    label_names: list[str] | None  # of a classification head, by their numbers
    problem_type: hugging_face.ProblemType | None  # of sequence_classification
    dropout: float  # of a head
    thresholds: Any  # of labels, several of which may fit; None = nothing says
    tensors: "dict[str, hugging_face_arrays.Tensors]"  # by network

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
        return {
            name: self.tensors["encoder"].read(name)
            for name in hugging_face.HEADS[self.head]
        }


def open_directory(path: str) -> HuggingFaceDirectory:
    """Reads what a directory says of itself, and the names and shapes of its weights.

    Raises:
        UserError: it is no ELECTRA, is damaged, contradicts itself, or has what our
            networks have not.
    """
    parts = [
        part
        for part in hugging_face.PARTS
        if hugging_face.looks_like_one(os.path.join(path, part))
    ]
    if hugging_face.looks_like_one(path) or not parts:
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


def _open_one(folder: str) -> HuggingFaceDirectory:
    checksums.verify(folder)
    path = os.path.join(folder, hugging_face.CONFIG)
    values = reading.read_json(path)
    if values.get("model_type") != "electra":
        raise errors.UserError(
            f"{path}: model_type is {values.get('model_type')!r:.60}; want 'electra', "
            "for the weights of other models do not fit"
        )
    stated = config.check(_Config, values, path)
    named = next(iter(stated.architectures or []), "").removeprefix("TF")
    known = named if named in model_card.CLASSES.values() else "ElectraForPreTraining"
    tensors = hugging_face_arrays.Tensors(folder, known)
    network = _network(tensors)
    model = _architecture(stated, tensors, network, path)
    head = _head(stated, tensors, network, path)
    _refuse_leftovers(tensors, network, model)
    vocab, rules = hugging_face_tokenizer.read(folder)
    if vocab is not None and len(vocab) != model.vocab_size:
        raise errors.UserError(
            f"{folder}: its vocabulary has {len(vocab)} tokens, but vocab_size in "
            f"{hugging_face.CONFIG} is {model.vocab_size}; each row of the "
            "embeddings needs its token, so put the right vocabulary beside the weights"
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


def _network(tensors: hugging_face_arrays.Tensors) -> str:
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
    stated: _Config, tensors: hugging_face_arrays.Tensors, network: str, path: str
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
        "activation": hugging_face.ACTIVATIONS[stated.hidden_act],
        "hidden_dropout_rate": stated.hidden_dropout_prob,
        "attention_dropout_rate": stated.attention_probs_dropout_prob,
        "layer_norm_epsilon": stated.layer_norm_eps,
        "initializer_range": stated.initializer_range,
    }
    return config.check(config.ModelConfig, values, path)


def _refuse_unsupported(stated: _Config, network: str, path: str) -> None:
    wanted: dict[str, tuple[Any, ...]] = {
        "hidden_act": tuple(hugging_face.ACTIVATIONS),
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


def _refuse_contradictions(
    stated: _Config, tensors: hugging_face_arrays.Tensors, path: str
) -> None:
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


def _head(
    stated: _Config, tensors: hugging_face_arrays.Tensors, network: str, path: str
) -> str | None:
    """Tells the task's head, if any, by the names and shapes of its arrays."""
    found = {
        name: shape
        for name, shape in tensors.shapes.items()
        if name.startswith(_HEAD_PREFIXES)
    }
    if not found or network != "encoder":
        return None  # Beside another head they are left over.
    kind = next(
        (
            kind
            for kind, want in hugging_face.HEADS.items()
            if want.keys() == found.keys()
        ),
        None,
    )
    architectures = {model_card.CLASSES[kind] for kind in hugging_face.HEADS}
    named = architectures & set(stated.architectures or [])
    if kind is None or (named and model_card.CLASSES[kind] not in named):
        raise errors.UserError(
            f"{path}: architectures is {stated.architectures!r:.80}, and the head's "
            f"arrays are {errors.listed(found)}; want those of transformers' own heads"
        )
    sizes = {"D": stated.hidden_size, "N": _num_labels(found, kind)}
    for name, letters in hugging_face.HEADS[kind].items():
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
    last = list(hugging_face.HEADS[kind])[-1]
    return shapes[last][0] if shapes[last] else 0


def _label_names(
    stated: _Config, tensors: hugging_face_arrays.Tensors, head: str | None, path: str
) -> list[str] | None:
    if head not in hugging_face.CLASSIFIERS:
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
    stated: _Config, tensors: hugging_face_arrays.Tensors, head: str | None
) -> hugging_face.ProblemType | None:
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
    tensors: hugging_face_arrays.Tensors, network: str, model: config.ModelConfig
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
            f"{errors.listed(left)}; want an ELECTRA {network} as transformers saves it"
        )


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
