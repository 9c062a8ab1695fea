"""Opens Hugging Face directories: their networks become ours.

In:   a directory: config.json, the weights, a tokenizer's files if any.
Out:  a `preset.Pretrained`, with the head of a task where there is one.
"""

import functools
import os
import re
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.system import checksums, reading
from electra_tf.weights import (
    hugging_face,
    hugging_face_arrays,
    hugging_face_bert,
    hugging_face_config,
    hugging_face_pairs,
    hugging_face_tokenizer,
    hugging_face_vectors,
    model_card,
    weight_map,
)

_HEAD_PREFIXES = ("classifier.", "qa_outputs.", "sequence_summary.")
_WORDS = "electra.embeddings.word_embeddings.weight"
# Arrays that some versions save twice, and as what.
_TIED = {
    "generator_lm_head.weight": _WORDS,
    hugging_face_bert.SECOND_BIAS: "generator_lm_head.bias",
}


class HuggingFaceDirectory(NamedTuple):
    """A directory, or two of them, opened: a `preset.Pretrained`."""

    folder: str
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    vocab: list[str] | None
    origin: dict[str, Any]
    # Of a task, on the encoder: a key of hugging_face.HEADS; or a decoder, PAIR.
    head: str | None
    label_names: list[str] | None  # of a classification head, by their numbers
    problem_type: hugging_face.ProblemType | None  # of sequence_classification
    dropout: float  # of a head
    thresholds: Any  # of labels, several of which may fit; None = nothing says
    tensors: "dict[str, hugging_face_arrays.Tensors]"  # by network
    notes: list[str]  # what is left out
    vectors: hugging_face_vectors.Recipe | None = None  # where it says how to make them

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
        for one, other in _TIED.items():
            if one in tensors.shapes and not np.array_equal(
                tensors.read(one), tensors.read(other)
            ):
                raise errors.UserError(
                    f"{tensors.folder}: {tensors.stored(one)} is not "
                    f"{tensors.stored(other)}; a generator guesses with its word "
                    "embeddings and a bias, and weights that are not tied do not fit"
                )

    def read_head(self) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the head's arrays by their names there, kernels [out, in]."""
        if self.head is None:
            return {}
        tensors = self.tensors["encoder"]
        names = hugging_face.HEADS.get(self.head) or [
            name for name in tensors.shapes if name.startswith("decoder.")
        ]
        return {name: tensors.read(name) for name in names}


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
        return _with_vectors(path)
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
        notes=[*dict.fromkeys(n for found in opened.values() for n in found.notes)],
    )


def _with_vectors(path: str) -> HuggingFaceDirectory:
    """Opens a network, and what sentence-transformers says of the vectors it makes."""
    found = _open_one(hugging_face_vectors.network_folder(path))
    recipe = hugging_face_vectors.read(path)
    if recipe is None:
        return found
    if recipe.lowercase and not found.tokenizer.lowercase:
        # Its accents stay, unlike where the tokenizer lower-cases.
        rules = {
            "lowercase": True,
            "strip_accents": bool(found.tokenizer.strip_accents),
        }
        tokenizer = found.tokenizer.model_copy(update=rules)
        found = found._replace(tokenizer=tokenizer)
    notes = [*found.notes, *hugging_face_vectors.notes(recipe)]
    return found._replace(folder=path, vectors=recipe, notes=notes)


def _open_one(folder: str) -> HuggingFaceDirectory:
    checksums.verify(folder)
    path = os.path.join(folder, hugging_face.CONFIG)
    values = reading.read_json(path)
    is_pair = values.get("model_type") == hugging_face_pairs.MODEL_TYPE
    if is_pair:
        values = hugging_face_pairs.encoder_values(values, path)
    stated = hugging_face_config.read(values, path)
    tensors = _tensors(folder, stated, is_pair)
    network = _network(tensors)
    hugging_face_config.refuse_unsupported(stated, network, path)
    _refuse_contradictions(stated, tensors, path)
    model = hugging_face_config.architecture(stated, path)
    head = hugging_face.PAIR if is_pair else _head(stated, tensors, network, path)
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
        hugging_face_bert.notes(tensors.left_out),
    )


def _tensors(
    folder: str, stated: hugging_face_config.Stated, is_pair: bool
) -> hugging_face_arrays.Tensors:
    if is_pair:
        return hugging_face_arrays.Tensors(
            folder, "EncoderDecoderModel", hugging_face_pairs.as_electra
        )
    named = next(iter(stated.architectures or []), "").removeprefix("TF")
    if stated.model_type == "bert":
        known = named if re.fullmatch(r"Bert\w+", named) else "BertModel"
        naming = functools.partial(hugging_face_bert.as_electra, architecture=named)
        return hugging_face_arrays.Tensors(folder, known, naming)
    known = named if named in model_card.CLASSES.values() else "ElectraForPreTraining"
    return hugging_face_arrays.Tensors(folder, known)


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


def _refuse_contradictions(
    stated: hugging_face_config.Stated, tensors: hugging_face_arrays.Tensors, path: str
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
    stated: hugging_face_config.Stated,
    tensors: hugging_face_arrays.Tensors,
    network: str,
    path: str,
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
    suffixes = {_suffix(model_card.CLASSES[kind]): kind for kind in hugging_face.HEADS}
    named = suffixes.keys() & {_suffix(name) for name in stated.architectures or []}
    if kind is None or (named and kind not in {suffixes[name] for name in named}):
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


def _suffix(architecture: str) -> str:
    """Returns what a class of transformers is called behind its model's name."""
    return re.sub("^(TF)?(Electra|Bert)", "", architecture)


def _num_labels(shapes: dict[str, tuple[int, ...]], kind: str) -> int:
    """Returns the length of the last bias; the other shapes must agree with it."""
    last = list(hugging_face.HEADS[kind])[-1]
    return shapes[last][0] if shapes[last] else 0


def _label_names(
    stated: hugging_face_config.Stated,
    tensors: hugging_face_arrays.Tensors,
    head: str | None,
    path: str,
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
    stated: hugging_face_config.Stated,
    tensors: hugging_face_arrays.Tensors,
    head: str | None,
) -> hugging_face.ProblemType | None:
    """Returns what the head learned; unstated, as transformers infers it."""
    if head != "sequence_classification":
        return None
    if stated.problem_type is not None:
        return stated.problem_type
    is_one = _num_labels(tensors.shapes, head) == 1
    return "regression" if is_one else "single_label_classification"


def _head_dropout(stated: hugging_face_config.Stated, head: str | None) -> float:
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
        left -= _TIED.keys()
    if network == "encoder":
        heads = (*_HEAD_PREFIXES, "decoder.")
        left = {name for name in left if not name.startswith(heads)}
    if left:
        raise errors.UserError(
            f"{tensors.folder}: no place for {len(left)} of its arrays: "
            f"{errors.listed(left)}; want a network as transformers saves it"
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
