"""Weights of one kind become weights of another.

In:   a workdir, preset, Hugging Face directory, KerasHub preset, or checkpoint of the
      2020 code.
Out:  a preset; Hugging Face directories; KerasHub presets, of our classes or its own.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.tasks import (
    backbone,
    catalog,
    keras_hub_presets,
    keras_hub_writer,
    task,
)
from electra_tf.text import tokenizer
from electra_tf.weights import (
    model_card,
    opening,
    preset,
    preset_writer,
    weight_map,
)

FORMATS = {
    "preset": "ours, to pre-train and fine-tune from",
    "hugging_face": "for transformers' AutoModel",
    "hugging_face_bert": "a BertModel, for transformers and what serves vectors",
    "keras_hub": "for keras_hub's from_preset, with electra_tf's classes",
    "keras_hub_electra": "for keras_hub.models.ElectraBackbone, which differs",
}


def convert(
    origin: str,
    folder: str,
    format: str = "preset",
    *,
    stated: opening.Stated = opening.NOTHING_STATED,
    facts: model_card.Facts = model_card.NO_FACTS,
    say: Callable[[str], None] = print,
) -> None:
    """Converts weights on disk.

    Args:
        origin: what to convert: see this module's `In`.
        folder: to write; one that this function wrote before is replaced.
        format: a key of FORMATS.
        stated: what the weights do not say themselves.
        facts: for the model card.
        say: is told what was written, and what was lost or changed.

    Raises:
        UserError: weights are missing, left over or of other shapes; the format cannot
            hold them; the folder holds something else.
    """
    if format not in FORMATS:
        raise errors.UserError(f"format={format!r}: want one of {', '.join(FORMATS)}")
    if os.path.abspath(origin) == os.path.abspath(folder):
        raise errors.UserError(f"{folder} is what to convert; name another folder")
    source = open_source(origin, stated)
    for note in getattr(source, "notes", []):
        say(f"note: {note}")
    if doubt := tokenizer.doubt_casing(source.vocab, source.tokenizer):
        say(f"note: {origin}: {doubt}")
    what = ", ".join(_by_role(source))
    tuned = _fine_tuned(source)
    if tuned:
        _convert_tuned(source, tuned, folder, format, facts)
        what = tuned.__name__
    else:
        for head in _left_out(source):
            say(f"note: the head of {head} is left out")
        _WRITERS[format](source, folder, facts, say)
        what = "encoder" if format == "hugging_face_bert" else what
    say(f"wrote {folder}: {what}, {FORMATS[format]}")


def open_source(
    origin: str, stated: opening.Stated = opening.NOTHING_STATED
) -> preset.Pretrained:
    """Opens weights of any kind, KerasHub's and a fine-tuning's workdir too."""
    origin = catalog.locate(origin)
    if keras_hub_presets.is_preset(origin):
        source = keras_hub_presets.open_preset(origin)
        if stated.vocab_file and keras_hub_presets.NO_TOKENIZER in source.notes:
            source.notes.remove(keras_hub_presets.NO_TOKENIZER)
        return opening.with_stated(source, stated)
    return opening.open_pretrained(origin, stated)


def _fine_tuned(source: preset.Pretrained) -> type[task.ElectraTask] | None:
    """Returns the class of a model with a head that Hugging Face has, too."""
    kind = catalog.class_of_source(source)
    return kind if kind and kind.hugging_face_kind else None


def _makes_vectors(source: preset.Pretrained) -> bool:
    """Tells whether a source says how its vectors are made."""
    return catalog.class_of_source(source) is catalog.of_network("encoder")


def _embedder(source: preset.Pretrained, **kwargs: Any) -> Any:
    """Opens what makes vectors."""
    kind = catalog.of_network("encoder")
    if keras_hub_presets.is_preset(source.folder):
        return kind.from_preset(source.folder, **kwargs)
    return kind.from_pretrained(source, **kwargs)


def _recipe(source: preset.Pretrained) -> Any:
    """Returns how vectors are made, for sentence-transformers; None where not said."""
    if not _makes_vectors(source):
        return None
    from electra_tf.weights import hugging_face_vectors

    model = _embedder(source, load_weights=False)
    length = model.preprocessor.sequence_length
    return hugging_face_vectors.Recipe(model.pooling, model.normalize, length)


def _left_out(source: preset.Pretrained) -> list[str]:
    """Names the heads that are lost where a source's networks are taken, if any."""
    kept = {
        name
        for role, name in _by_role(source).items()
        if preset.role_of(source, name) == role
    }
    heads = [name for name in source.networks if name not in kept]
    head = getattr(source, "head", None)
    if isinstance(source, keras_hub_presets.KerasHubPreset):
        head = source.origin["task"]
    if _makes_vectors(source):
        head = None
    return [*heads, str(head)] if head and "encoder" in source.networks else heads


def _convert_tuned(
    source: preset.Pretrained,
    kind: type[task.ElectraTask],
    folder: str,
    format: str,
    facts: model_card.Facts,
) -> None:
    if format not in ("hugging_face", "keras_hub"):
        raise errors.UserError(
            f"{source.folder} is fine-tuned, {kind.__name__}; --format={format} has no "
            "place for its head: take hugging_face or keras_hub"
        )
    model = (
        kind.from_preset(source.folder)
        if keras_hub_presets.is_preset(source.folder)
        else kind.from_pretrained(source)
    )
    if format == "keras_hub":
        keras_hub_writer.save_task(folder, model, source, facts)
    else:
        write_hugging_face(model, folder, source.origin, facts)


def write_hugging_face(
    model: task.ElectraTask,
    folder: str,
    origin: dict[str, object],
    facts: model_card.Facts = model_card.NO_FACTS,
) -> None:
    """Writes a fine-tuned model for transformers.

    Raises:
        UserError: transformers has no such head.
    """
    if model.hugging_face_kind is None or not model.fits_hugging_face():
        raise errors.UserError(
            f"transformers has no head like that of this {type(model).__name__}"
        )
    from electra_tf.weights import hugging_face_writer  # Loaded where it writes.

    words = model.preprocessor.tokenizer
    if model.has_decoder:
        pair: Any = model
        hugging_face_writer.write_pair(
            folder,
            model.backbone.model_config,
            len(pair.decoder_blocks),
            _pair_tensors(pair),
            words.get_vocabulary(),
            words.tokenizer_config,
            {"origin": origin, **model.settled()},
            max_length=pair.preprocessor.decoder_sequence_length,
            facts=facts,
        )
        return
    hugging_face_writer.write_directory(
        folder,
        model.hugging_face_kind,
        model.backbone.model_config,
        _tensors(model),
        words.get_vocabulary(),
        words.tokenizer_config,
        # transformers has no place for thresholds.
        {"origin": origin, **model.settled()},
        label_names=model.label_names(),
        problem_type=model.problem_type(),
        dropout=getattr(model, "dropout", None),
        facts=facts,
    )


def _tensors(
    model: task.ElectraTask,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    variables = weight_map.variables(model)
    head = {path: variables.pop(path) for path in model.hugging_face_head}
    rows = weight_map.encoder_rows(model.backbone.model_config)
    yield from weight_map.extract(variables, rows, "hugging_face")
    for path, (name, transposed) in model.hugging_face_head.items():
        array = model.exported(path, np.asarray(head[path], np.float32))
        yield name, np.ascontiguousarray(array.T) if transposed else array


def _pair_tensors(model: Any) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yields the arrays of an encoder, then of its decoder, shared ones twice."""
    from electra_tf.weights import hugging_face_pairs

    variables = weight_map.variables(model)
    for row in weight_map.encoder_rows(model.backbone.model_config):
        name = hugging_face_pairs.encoder_name(row.hugging_face)
        yield name, _stored(variables[row.ours], row)
    for row in model.decoder_rows():
        yield row.hugging_face, _stored(variables[row.ours], row)


def _stored(variable: keras.Variable, row: weight_map.Row) -> npt.NDArray[np.float32]:
    array = np.asarray(variable, np.float32)
    return np.ascontiguousarray(array.T) if row.transpose else array


def _write_preset(
    source: preset.Pretrained,
    folder: str,
    facts: model_card.Facts,
    say: Callable[[str], None],
) -> None:
    if source.vocab is None:
        raise errors.UserError(
            f"{source.folder} has no vocabulary, which a preset needs; name it with "
            "--vocab"
        )
    if _makes_vectors(source):
        say("note: how vectors are made of states is left out; keras_hub keeps it")
    networks, configs = _built(source)
    words = source.vocab, source.tokenizer
    preset_writer.save(folder, networks, configs, *words, source.origin, facts)


def _write_hugging_face(
    source: preset.Pretrained,
    folder: str,
    facts: model_card.Facts,
    say: Callable[[str], None],
) -> None:
    from electra_tf.weights import hugging_face_writer  # Loaded where it writes.

    networks, configs = _built(source)
    about = source.vocab, source.tokenizer, source.origin, facts
    if recipe := _recipe(source):
        encoder = weight_map.variables(networks["encoder"])
        hugging_face_writer.save_encoder(
            folder, encoder, configs["encoder"], *about, recipe=recipe
        )
        return
    hugging_face_writer.save_networks(folder, networks, configs, *about)


def _write_hugging_face_bert(
    source: preset.Pretrained,
    folder: str,
    facts: model_card.Facts,
    say: Callable[[str], None],
) -> None:
    from electra_tf.weights import hugging_face_vectors, hugging_face_writer

    name = preset.choose(source, backbone.NETWORKS)
    assert name, source.networks  # Whatever it is, it has an encoder.
    network = preset.build(source, name)
    hugging_face_writer.save_encoder(
        folder,
        weight_map.variables(network),
        source.networks[name],
        source.vocab,
        source.tokenizer,
        source.origin,
        facts,
        family="bert",
        recipe=_recipe(source) or hugging_face_vectors.Recipe("mean", True, None),
    )
    for other in source.networks:
        if other != name:
            say(f"note: the {other} is left out")
        elif other != "encoder":
            say(f"note: the head of the {other} is left out")
    say(
        "note: a BertModel has a pooler, and this one has none: transformers draws one "
        "at random, so take last_hidden_state, not pooler_output"
    )


def _write_keras_hub(
    source: preset.Pretrained,
    folder: str,
    facts: model_card.Facts,
    say: Callable[[str], None],
) -> None:
    if _makes_vectors(source):
        keras_hub_writer.save_task(folder, _embedder(source), source, facts)
        return
    for role, name, place in _places(source, folder):
        if role in catalog.OF_NETWORK:
            model = catalog.of_network(role).from_pretrained(source)
            keras_hub_writer.save_task(place, model, source, facts)
        else:
            keras_hub_writer.save_backbone(place, source, name, facts)


def _write_keras_hub_electra(
    source: preset.Pretrained,
    folder: str,
    facts: model_card.Facts,
    say: Callable[[str], None],
) -> None:
    for _, name, place in _places(source, folder):
        for note in keras_hub_writer.save_keras_hub_electra(place, source, name, facts):
            say(f"warning: {name}: {note}")


def _built(
    source: preset.Pretrained,
) -> tuple[dict[str, keras.Model], dict[str, config.ModelConfig]]:
    """Builds the networks to write, with their weights; and their architectures."""
    chosen = _by_role(source)
    built = {role: preset.build(source, name) for role, name in chosen.items()}
    return built, {role: source.networks[name] for role, name in chosen.items()}


def _by_role(source: preset.Pretrained) -> dict[str, str]:
    """Returns the networks to write, by their roles: one of each that all know.

    Where there is none, an encoder, without the head of a kind of its own.
    """
    known = {
        role: name
        for name in source.networks
        if (role := preset.role_of(source, name)) in preset.BUILDERS
        and preset.find(source, role) == name
    }
    return known or {"encoder": next(iter(source.networks))}


def _places(source: preset.Pretrained, folder: str) -> Iterator[tuple[str, str, str]]:
    """Yields role, name and folder of each network: two of them get a folder each."""
    chosen = _by_role(source)
    for role, name in chosen.items():
        yield role, name, folder if len(chosen) == 1 else os.path.join(folder, role)


_WRITERS = {
    "preset": _write_preset,
    "hugging_face": _write_hugging_face,
    "hugging_face_bert": _write_hugging_face_bert,
    "keras_hub": _write_keras_hub,
    "keras_hub_electra": _write_keras_hub_electra,
}
