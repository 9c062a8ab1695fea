"""A directory that holds a trained model: what later work starts from.

In:   networks by name, their architectures, the vocabulary and its settings.
Out:  config.json, vocab.txt, <network>.weights.h5.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from electra_tf import config, errors, models, tokenizer

FORMAT = 1
ABOUT = "config.json"

BUILDERS: dict[str, Callable[[config.ModelConfig], keras.Model]] = {
    "generator": models.build_generator,
    "discriminator": models.build_discriminator,
}


class _About(config.Settings):
    """What config.json holds."""

    format: int
    networks: dict[str, config.ModelConfig]
    tokenizer: config.TokenizerConfig
    vocab_hash: str
    origin: dict[str, Any]


class Preset(NamedTuple):
    """What a preset says of itself; its weights are loaded with `load_weights`."""

    folder: str
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    vocab: list[str]
    origin: dict[str, Any]  # how it was trained


def save(
    folder: str,
    networks: dict[str, keras.Model],
    configs: dict[str, config.ModelConfig],
    vocab: list[str],
    tokenizer_config: config.TokenizerConfig,
    origin: dict[str, Any],
) -> None:
    """Writes a preset beside the old one, if any, and then puts it in its place.

    Args:
        folder: of the preset; a preset that is there is replaced.
        networks: "generator" and "discriminator", or one of them.
        configs: their architectures.
        vocab: tokens in the order of their ids.
        tokenizer_config: casing, accents, CJK.
        origin: how it was trained: settings, steps, metrics, versions; JSON values.
    """
    building, old = f"{folder}.building", f"{folder}.old"
    try:
        _recover(folder)
        _refuse_foreign(folder)
        for leftover in (building, old):
            shutil.rmtree(leftover, ignore_errors=True)
        os.makedirs(building)
        tokenizer.write_vocab(os.path.join(building, "vocab.txt"), vocab)
        for name, network in networks.items():
            network.save_weights(os.path.join(building, f"{name}.weights.h5"))
        about = _About(
            format=FORMAT,
            networks={name: configs[name] for name in networks},
            tokenizer=tokenizer_config,
            vocab_hash=tokenizer.vocab_hash(vocab),
            origin=origin,
        )
        with open(os.path.join(building, ABOUT), "w", encoding="utf-8") as file:
            json.dump(about.model_dump(), file, indent=2)
            file.write("\n")
        if os.path.exists(folder):
            os.replace(folder, old)
        os.replace(building, folder)
    except (OSError, RuntimeError) as error:  # HDF5 raises both for a full disk.
        shutil.rmtree(building, ignore_errors=True)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise errors.UserError(
            f"cannot write preset {folder}: {reason}; free some space or give "
            "permission, then run the same command again"
        ) from None
    shutil.rmtree(old, ignore_errors=True)


def load(folder: str) -> Preset:
    """Reads what a preset says of itself, without the weights.

    Raises:
        UserError: if it is missing, malformed or of another format.
    """
    path = os.path.join(folder, ABOUT)
    try:
        _recover(folder)
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except OSError as error:
        raise errors.UserError(
            f"no preset at {folder}: {path}: {error.strerror}"
        ) from None
    except ValueError as error:
        raise errors.UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise errors.UserError(
            f"{path}: not a preset of this version (format {FORMAT}); "
            "pre-training writes one into workdir/preset"
        )
    about = config.check(_About, values, path)
    vocab = tokenizer.read_vocab(os.path.join(folder, "vocab.txt"))
    if tokenizer.vocab_hash(vocab) != about.vocab_hash:
        raise errors.UserError(
            f"{folder}/vocab.txt is not the vocabulary this preset was trained with; "
            "put the right one back"
        )
    return Preset(folder, about.networks, about.tokenizer, vocab, about.origin)


def build(preset: Preset, name: str) -> keras.Model:
    """Builds one of its networks, "generator" or "discriminator", with its weights."""
    if name not in preset.networks:
        raise errors.UserError(
            f"preset {preset.folder} has no {name}; it has {', '.join(preset.networks)}"
        )
    network = BUILDERS[name](preset.networks[name])
    load_weights(preset, name, network)
    return network


def load_weights(preset: Preset, name: str, network: keras.Model) -> None:
    """Loads the weights of the preset's network `name` into a network of its shape."""
    path = os.path.join(preset.folder, f"{name}.weights.h5")
    try:
        with warnings.catch_warnings():
            # Keras warns where it leaves weights as they were drawn.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise errors.UserError(f"cannot load {path}: {reason}") from None


def _recover(folder: str) -> None:
    """Puts the old preset back if a save was killed between its last two steps."""
    if not os.path.exists(folder) and os.path.isdir(f"{folder}.old"):
        os.replace(f"{folder}.old", folder)


def _refuse_foreign(folder: str) -> None:
    """A preset is replaced; anything else that stands in its place is not ours."""
    if os.path.isfile(os.path.join(folder, ABOUT)):
        return
    if os.path.isfile(folder) or (os.path.isdir(folder) and os.listdir(folder)):
        raise errors.UserError(
            f"{folder} is there and no preset; move it away, or name another folder"
        )
