"""Writes networks and tasks of ours as Hugging Face directories.

In:   networks, or a task's arrays; their architecture, vocabulary and settings.
Out:  directories that transformers' AutoModel and AutoTokenizer load; of an encoder,
      those of a BERT and of sentence-transformers, too.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import safetensors.numpy

from electra_tf import config, errors
from electra_tf.system import checksums, durable, reading
from electra_tf.text import vocabularies
from electra_tf.weights import (
    hugging_face,
    hugging_face_bert,
    hugging_face_pairs,
    hugging_face_tokenizer,
    hugging_face_vectors,
    model_card,
    weight_map,
)

# What transformers' `generate` reads.
_GENERATION = "generation_config.json"

_REFUSALS = (safetensors.SafetensorError,)  # What it raises for a full disk.


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
    assert (label_names is not None) == (name in hugging_face.CLASSIFIERS), name
    values = _config_values(name, model, extra)
    if dropout is not None and name == "multiple_choice":
        values["summary_last_dropout"] = dropout
    elif name in hugging_face.CLASSIFIERS and dropout != model.hidden_dropout_rate:
        values["classifier_dropout"] = dropout  # null is the encoder's; 0.0 is not.
    if problem_type is not None:
        values["problem_type"] = problem_type
    if label_names is not None:
        values["id2label"] = {str(i): label for i, label in enumerate(label_names)}
        values["label2id"] = {label: i for i, label in enumerate(label_names)}
    with durable.replacing_folder(folder, _is_ours, *_REFUSALS) as building:
        _keep_cards(folder, building)
        _write_model(building, values, tensors, vocab, tokenizer_config)
        card = _card({name: model}, tokenizer_config, extra, facts)
        labels = label_names if problem_type != "regression" else None
        card = card._replace(problem_type=problem_type, labels=labels or ())
        model_card.write(building, card)


def write_pair(
    folder: str,
    model: config.ModelConfig,
    num_blocks: int,
    tensors: Iterable[tuple[str, npt.NDArray[np.float32]]],
    vocab: Sequence[str],
    tokenizer_config: config.TokenizerConfig,
    extra: dict[str, Any],
    *,
    max_length: int,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes an encoder and a decoder, as `write_directory` does one network.

    Args:
        folder: see there.
        model: the encoder's architecture.
        num_blocks: of the decoder, which is like it otherwise.
        tensors: arrays by the names of an EncoderDecoderModel.
        vocab: tokens in the order of their ids.
        tokenizer_config: casing, accents, CJK.
        extra: our own facts.
        max_length: tokens of an answer.
        facts: for the model card.

    Raises:
        UserError: see there; or transformers has no such decoder.
    """
    decoder = model.model_copy(update={"num_layers": num_blocks})
    special = {
        "cls": vocabularies.CLS,
        "sep": vocabularies.SEP,
        "pad": vocabularies.PAD,
    }
    values = hugging_face_pairs.config_values(
        _config_values("encoder", model, {}),
        _config_values("generator", decoder, {}),
        ids := {name: vocab.index(token) for name, token in special.items()},
        extra,
    )
    with durable.replacing_folder(folder, _is_ours, *_REFUSALS) as building:
        _keep_cards(folder, building)
        generation = hugging_face_pairs.generation_values(ids)
        durable.write_json(
            os.path.join(building, _GENERATION),
            {**generation, "max_length": max_length},
        )
        size = model.max_positions
        _write_model(building, values, tensors, vocab, tokenizer_config, size)
        card = model_card.Card(
            "hugging_face",
            {"encoder": model},
            tokenizer_config,
            extra.get("origin", {}),
            hugging_face.PAIR,
            facts,
        )
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
    with durable.replacing_folder(folder, _is_ours, *_REFUSALS) as building:
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


def save_encoder(
    folder: str,
    variables: Mapping[str, keras.Variable],
    model: config.ModelConfig,
    vocab: Sequence[str] | None,
    tokenizer_config: config.TokenizerConfig,
    origin: dict[str, Any],
    facts: model_card.Facts = model_card.NO_FACTS,
    *,
    family: model_card.Family = "electra",
    recipe: hugging_face_vectors.Recipe | None = None,
) -> None:
    """Writes an encoder alone, as an ELECTRA or as a BERT, with how it makes vectors.

    Args:
        folder: as in `write_directory`.
        variables: the encoder's weights by path; there may be more.
        model: its architecture.
        vocab: tokens in the order of their ids, or None.
        tokenizer_config: casing, accents, CJK.
        origin: how it came to be: JSON values.
        facts: for the model card.
        family: the model_type of transformers.
        recipe: for sentence-transformers; None writes nothing for it.

    Raises:
        UserError: it is no BERT; the folder holds something else or cannot be written.
    """
    extra = {"origin": origin}
    values = _config_values("encoder", model, extra)
    rows = weight_map.encoder_rows(model)
    chosen = {row.ours: variables[row.ours] for row in rows}
    tensors = weight_map.extract(chosen, rows, "hugging_face")
    if family == "bert":
        values = _as_bert(values, model)
        tensors = ((hugging_face_bert.as_bert(name), array) for name, array in tensors)
    with durable.replacing_folder(folder, _is_ours, *_REFUSALS) as building:
        model_card.keep_edited(folder, building)
        if recipe:
            hugging_face_vectors.write(building, recipe, model.hidden_size)
        _write_model(building, values, tensors, vocab, tokenizer_config)
        card = _card({"encoder": model}, tokenizer_config, extra, facts)
        card = card._replace(family=family, makes_vectors=recipe is not None)
        model_card.write(building, card)


def _as_bert(values: dict[str, Any], model: config.ModelConfig) -> dict[str, Any]:
    """Returns the config.json of the BERT that an encoder is.

    Raises:
        UserError: its embeddings are not as wide as its hidden layers.
    """
    if model.embedding_size != model.hidden_size:
        raise errors.UserError(
            f"its embeddings are {model.embedding_size} wide and its hidden layers "
            f"{model.hidden_size}, and a BERT has no projection between them; take "
            "--format=hugging_face, which transformers and sentence-transformers load"
        )
    dropped = ("embedding_size", "summary_")
    kept = {n: value for n, value in values.items() if not n.startswith(dropped)}
    architecture = model_card.ENCODERS["bert"]
    return {**kept, "architectures": [architecture], "model_type": "bert"}


def _is_ours(folder: str) -> bool:
    """Tells whether all there is was written here, apart from a README.md."""
    ours = {
        hugging_face.CONFIG,
        hugging_face.WEIGHTS,
        _GENERATION,
        hugging_face_tokenizer.VOCAB,
        hugging_face_tokenizer.FAST_TOKENIZER,
        hugging_face_tokenizer.TOKENIZER_CONFIG,
        checksums.FILE,
        *hugging_face_vectors.FILES,
    }
    parts = [os.path.join(folder, part) for part in hugging_face.PARTS]
    try:
        for place in (folder, *filter(os.path.isdir, parts)):
            files = set(os.listdir(place)) - {model_card.FILE}
            if place == folder:
                files -= set(hugging_face.PARTS)
            about = (
                reading.read_json(os.path.join(place, hugging_face.CONFIG))
                if files
                else {}
            )
            if files and (files - ours or "electra_tf" not in about):
                return False
    except (OSError, errors.UserError):
        return False
    return True


def _keep_cards(folder: str, building: str) -> None:
    """Takes along the cards that were edited by hand, the parts' too."""
    model_card.keep_edited(folder, building)
    for part in hugging_face.PARTS:
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
    activations = {
        ours: theirs for theirs, ours in reversed(hugging_face.ACTIVATIONS.items())
    }
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
    max_tokens: int | None = None,
) -> None:
    durable.write_json(os.path.join(folder, hugging_face.CONFIG), values)
    if values["architectures"][0] in model_card.ENCODERS.values():
        start = f"{values['model_type']}."  # which all but a bare encoder's names have
        tensors = ((name.removeprefix(start), array) for name, array in tensors)
    weights = os.path.join(folder, hugging_face.WEIGHTS)
    _write_tensors(weights, tensors)
    # The library lets its owner alone read the file: whoever reads the others may.
    shutil.copymode(os.path.join(folder, hugging_face.CONFIG), weights)
    if vocab is not None:
        max_tokens = max_tokens or values["max_position_embeddings"]
        hugging_face_tokenizer.write(folder, vocab, tokenizer_config, max_tokens)
    checksums.write(folder)


def _card(
    models: dict[str, config.ModelConfig],
    tokenizer_config: config.TokenizerConfig,
    extra: dict[str, Any],
    facts: model_card.Facts,
) -> model_card.Card:
    head = next((name for name in models if name in hugging_face.HEADS), None)
    networks = {"encoder": models[head]} if head else models
    origin = extra.get("origin", {})
    return model_card.Card(
        "hugging_face", networks, tokenizer_config, origin, head, facts
    )


def _write_tensors(
    path: str, tensors: Iterable[tuple[str, npt.NDArray[np.float32]]]
) -> None:
    """Writes a safetensors file; for that, all arrays are in memory at once."""
    found = {name: np.ascontiguousarray(array, "<f4") for name, array in tensors}
    safetensors.numpy.save_file(found, path, {"format": "pt"})
