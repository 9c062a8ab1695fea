"""Opens weights to start from, whoever wrote them.

In:   a pre-training workdir, a preset, a Hugging Face directory, or a checkpoint of
      the 2020 code.
Out:  a `preset.Pretrained`.
"""

import os
import typing
from typing import Any, NamedTuple

from electra_tf import config, errors
from electra_tf.text import tokenizer, vocabularies
from electra_tf.weights import preset, preset_writer, weight_map


class Stated(NamedTuple):
    """What the user says of weights that do not say it themselves; None = nothing."""

    vocab_file: str | None = None
    num_heads: int | None = None  # of the discriminator, or of the only network
    generator_num_heads: int | None = None


NOTHING_STATED = Stated()


def open_pretrained(path: str, stated: Stated = NOTHING_STATED) -> preset.Pretrained:
    """Opens what is at a path, without reading its weights.

    Args:
        path: a folder, or the prefix of a checkpoint.
        stated: what is known of it.

    Raises:
        UserError: nothing is there, or nothing that this code reads; what is stated
            is not so.
    """
    for folder in (path, os.path.join(path, "preset")):
        if preset_writer.is_preset(folder) or _has_weights_of_ours(folder):
            return with_stated(preset.load(folder), stated)
    if found := _open_others(path, stated):
        return found
    there = "nothing is there" if not os.path.exists(path) else "none of these"
    raise errors.UserError(
        f"{path}: {there}; want a workdir or preset of pre-training, a Hugging Face "
        "directory (config.json, model.safetensors), or a checkpoint of the 2020 code "
        "(model.ckpt-*.index)"
    )


def _open_others(path: str, stated: Stated) -> preset.Pretrained | None:
    """Opens what other people wrote; loads the reader for what is there, and no other.

    A folder with `model.safetensors` is Hugging Face's. A config.json beside a
    checkpoint of the 2020 code is of the checkpoint; alone, it is of a Hugging Face
    directory whose weights are missing or in a form that is not read, and its reader
    says so.
    """
    from electra_tf.weights import hugging_face

    if not hugging_face.has_weights(path):
        from electra_tf.weights import google_checkpoint

        if google_checkpoint.is_checkpoint(path):
            return google_checkpoint.open_checkpoint(path, *stated)
        if not hugging_face.is_directory(path):
            return None
    from electra_tf.weights import hugging_face_reader

    return with_stated(hugging_face_reader.open_directory(path), stated)


def with_stated(source: Any, stated: Stated) -> preset.Pretrained:
    """Returns a source with the vocabulary that it lacks; heads it says itself.

    Args:
        source: a `preset.Pretrained`, a named tuple; no checkpoint of the 2020 code.
        stated: see `open_pretrained`.

    Raises:
        UserError: the source says something else.
    """
    main = next((name for name in source.networks if name != "generator"), "generator")
    for setting, name, count in (
        ("num_heads", main, stated.num_heads),
        ("generator_num_heads", "generator", stated.generator_num_heads),
    ):
        there = source.networks[name].num_heads if name in source.networks else "none"
        if count not in (None, there):
            raise errors.UserError(
                f"{setting}={count}: {source.folder} says itself how many heads its "
                f"{name} has, {there}; leave --{setting} out"
            )
    if stated.vocab_file is None:
        return typing.cast(preset.Pretrained, source)
    vocab = vocabularies.read(stated.vocab_file)
    if source.vocab not in (None, vocab):
        raise errors.UserError(
            f"{source.folder} has a vocabulary of its own, which is not that of "
            f"{stated.vocab_file}; leave --vocab out, or move that of the folder away"
        )
    weight_map.check_vocab(vocab, stated.vocab_file, source.networks, source.folder)
    casing = source.tokenizer
    if source.vocab is None and casing == config.TokenizerConfig():
        casing = tokenizer.guess_casing(vocab)  # Nothing states another.
    changed = source._replace(vocab=vocab, tokenizer=casing)
    return typing.cast(preset.Pretrained, changed)


def _has_weights_of_ours(folder: str) -> bool:
    """Tells whether a folder was a preset before its config.json was damaged."""
    theirs = {"model.weights.h5", "task.weights.h5"}  # KerasHub's.
    names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    return any(name.endswith(".weights.h5") for name in names - theirs)
