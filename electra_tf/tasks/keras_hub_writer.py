"""Writes networks and tasks as presets of KerasHub: of our classes, or of its own.

In:   weights that were opened, or a task.
Out:  a directory that `from_preset` of KerasHub loads, with its model card.
"""

import os
from typing import Any

import keras
import numpy as np

from electra_tf import config, errors
from electra_tf.system import checksums, durable, reading
from electra_tf.tasks import backbone, keras_hub_electra, keras_hub_presets
from electra_tf.tasks import tokenizer as task_tokenizer
from electra_tf.weights import model_card, preset, preset_writer, weight_map


def save_backbone(
    folder: str,
    source: preset.Pretrained,
    name: str,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes the encoder of a network as a KerasHub preset of our own backbone.

    `keras_hub.models.Backbone.from_preset` and `keras_hub.tokenizers.Tokenizer` load
    it once `electra_tf.tasks.tokenizer` has been imported, which registers both.

    Args:
        folder: to write; one that we wrote before is replaced.
        source: where the network is.
        name: of the network: "discriminator", "generator" or "encoder".
        facts: for the model card.
    """
    words = task_tokenizer.ElectraTokenizer.from_tokenizer_config(
        _vocab(source), source.tokenizer
    )
    _, encoder = _encoder(source, name)
    ours = backbone.ElectraBackbone.from_model_config(source.networks[name])
    weight_map.copy(encoder, weight_map.variables(ours))
    _save(folder, [ours, words], name, _card(source, source.networks[name], facts))


def save_task(
    folder: str,
    model: Any,
    source: preset.Pretrained,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes a task of ours as a KerasHub preset, with its head and preprocessor.

    `from_preset` of the task's class loads it, and of the KerasHub class above it.

    Args:
        folder: to write; one that we wrote before is replaced.
        model: a task on our backbone.
        source: where it comes from, for the record.
        facts: for the model card.
    """
    name = keras_hub_presets.TASKS.get(
        keras.saving.get_registered_name(type(model)), "encoder"
    )
    card = _card(source, model.backbone.model_config, facts)._replace(
        networks={name: model.backbone.model_config},
        head=getattr(model, "hugging_face_kind", None),
        problem_type=model.problem_type(),
        labels=model.class_labels() or (),
    )
    _save(folder, [model], name, card)


def save_keras_hub_electra(
    folder: str,
    source: preset.Pretrained,
    name: str,
    facts: model_card.Facts = model_card.NO_FACTS,
) -> list[str]:
    """Writes the encoder of a network as a preset of KerasHub's own ELECTRA.

    Args:
        folder: to write; one that we wrote before is replaced.
        source: where the network is.
        name: of the network: "discriminator", "generator" or "encoder".
        facts: for the model card.

    Returns:
        What is lost or changed, a sentence each.

    Raises:
        UserError: KerasHub's ELECTRA cannot be this network.
    """
    network, encoder = _encoder(source, name)
    model = source.networks[name]
    keras_hub_electra.refuse_unlike(model, source.folder)
    words = keras_hub_electra.build_tokenizer(_vocab(source), source.tokenizer)
    theirs = keras_hub_electra.build_backbone(model)
    targets = weight_map.variables(theirs)
    rows = weight_map.encoder_rows(model)
    for path, array in weight_map.extract(encoder, rows, "keras_hub"):
        targets[path].assign(array.reshape(targets[path].shape))
    targets["pooled_dense/kernel"].assign(np.eye(model.hidden_size))
    targets["pooled_dense/bias"].assign(np.zeros(model.hidden_size))
    notes = keras_hub_electra.notes(model, source.tokenizer, name)
    if model.activation == "gelu":
        apart = keras_hub_electra.difference(network, theirs, model)
        said = keras_hub_electra.APPROXIMATE
        notes.insert(0, f"{said}: hidden states move by up to {apart:.1e}")
    _save(folder, [theirs, words], name, _card(source, model, facts))
    return notes


def _encoder(
    source: preset.Pretrained, name: str
) -> tuple[keras.Model, dict[str, keras.Variable]]:
    """Builds a network, and picks its encoder and the weights of it."""
    network = preset.build(source, name)
    found = weight_map.variables(network)
    rows = weight_map.encoder_rows(source.networks[name])
    encoder = network if name == "encoder" else network.get_layer("encoder")
    return encoder, {row.ours: found[row.ours] for row in rows}


def _vocab(source: preset.Pretrained) -> list[str]:
    if source.vocab is None:
        raise errors.UserError(
            f"{source.folder} has no vocabulary; name its vocab.txt with --vocab"
        )
    return source.vocab


def _save(
    folder: str,
    parts: list[Any],
    network: str,
    card: model_card.Card,
) -> None:
    """Writes what has `save_to_preset`, and where it comes from."""
    with durable.replacing_folder(
        folder, keras_hub_presets.is_ours, *preset_writer.REFUSALS
    ) as building:
        model_card.keep_edited(folder, building)
        # A task has a file for its backbone, and one for itself with it.
        models = [part for part in parts if isinstance(part, keras.Model)]
        preset_writer.reserve(building, *models, *models)
        for part in parts:
            part.save_to_preset(building)
        metadata = os.path.join(building, keras_hub_presets.METADATA)
        about = {"network": network, "origin": card.origin}
        values = {**reading.read_json(metadata), keras_hub_presets.MARK: about}
        durable.write_json(metadata, values)
        model_card.write(building, card)
        checksums.write(building)


def _card(
    source: preset.Pretrained, model: config.ModelConfig, facts: model_card.Facts
) -> model_card.Card:
    return model_card.Card(
        "keras_hub", {"encoder": model}, source.tokenizer, source.origin, facts=facts
    )
