"""Reads a directory that holds a trained model: what later work starts from.

In:   what `preset_writer` wrote.
Out:  architectures, vocabulary, and how it was trained; networks with their weights.

`Pretrained` is what a preset has in common with other people's checkpoints.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import h5py
import keras

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.system import checksums, durable, reading
from electra_tf.text import vocabularies
from electra_tf.weights import model_card, preset_writer

BUILDERS: dict[str, Callable[[config.ModelConfig], keras.Model]] = {
    "encoder": models.build_encoder,
    "generator": models.build_generator,
    "discriminator": models.build_discriminator,
}


class Pretrained(Protocol):
    """Weights on disk, whoever wrote them, with what is known of them.

    Opening one reads no weights; `load_weights` does, a network at a time. A network's
    name is its role, which says what head it has (`role_of`).
    """

    @property
    def folder(self) -> str:
        """Where it is, for messages."""

    @property
    def networks(self) -> dict[str, config.ModelConfig]:
        """Architectures by name: "generator", "discriminator", or "encoder" alone."""

    @property
    def tokenizer(self) -> config.TokenizerConfig:
        """How its words are cut."""

    @property
    def vocab(self) -> list[str] | None:
        """Tokens in the order of their ids; None where nothing says."""

    @property
    def origin(self) -> dict[str, Any]:
        """How it came to be: JSON values, for the next one's record."""

    def load_weights(self, name: str, network: keras.Model) -> None:
        """Loads the weights of the network `name` into one of its shape."""


class Preset(NamedTuple):
    """What a preset says of itself."""

    folder: str
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    vocab: list[str]
    origin: dict[str, Any]  # how it was trained
    roles: Mapping[str, str] = MappingProxyType({})  # where they are not the names

    def load_weights(self, name: str, network: keras.Model) -> None:
        """Loads the weights of its network `name` into a network of that shape."""
        file = preset_writer.weights_file(name)
        checksums.verify(self.folder, file)
        load_file(network.load_weights, os.path.join(self.folder, file))


def role_of(source: Pretrained, name: str) -> str:
    """Returns the role of a network: a key of BUILDERS, or one of somebody's own."""
    roles: Mapping[str, str] = getattr(source, "roles", {})
    return roles.get(name, name)


def find(source: Pretrained, role: str) -> str | None:
    """Returns the name of the network that has a role; of several, its namesake."""
    names = [name for name in source.networks if role_of(source, name) == role]
    return role if role in names else next(iter(names), None)


def choose(source: Pretrained, roles: Iterable[str]) -> str | None:
    """Returns the name of the network to start from.

    Args:
        source: what there is.
        roles: the first that is there is taken. Where "encoder" is one of them, any
            network will do that has a role unknown here: it has an encoder, too.
    """
    roles = [*roles]
    there = (find(source, role) for role in roles)
    found = next(filter(None, there), None)
    if found or "encoder" not in roles:
        return found
    others = (name for name in source.networks if role_of(source, name) not in BUILDERS)
    return next(others, None)


def load(folder: str) -> Preset:
    """Reads what a preset says of itself, without the weights.

    Raises:
        UserError: if it is missing, malformed or of another format.
    """
    durable.recover(folder)
    checksums.verify(folder, preset_writer.ABOUT, "vocab.txt")
    path = os.path.join(folder, preset_writer.ABOUT)
    try:
        values = reading.read_json(path)
    except errors.UserError as error:
        raise errors.UserError(f"no preset at {folder}: {error}") from None
    if values.get("format") != preset_writer.FORMAT:
        raise errors.UserError(
            f"{path}: not a preset of this version (format {preset_writer.FORMAT}); "
            "pre-training writes one into workdir/preset"
        )
    about = config.check(preset_writer.About, values, path)
    vocab = vocabularies.read(os.path.join(folder, "vocab.txt"))
    if vocabularies.hash_of(vocab) != about.vocab_hash:
        raise errors.UserError(
            f"{folder}/vocab.txt is not the vocabulary this preset was trained with; "
            "put the right one back"
        )
    for name, model in about.networks.items():
        weights, role = (
            os.path.join(folder, preset_writer.weights_file(name)),
            about.roles.get(name, name),
        )
        if os.path.exists(weights) and role in BUILDERS:
            check_size([weights], model_card.count_parameters(role, model), path)
    return Preset(
        folder, about.networks, about.tokenizer, vocab, about.origin, about.roles
    )


# Keras' files of weights.


def load_file(load: Callable[[str], None], path: str) -> None:
    """Has Keras load a file of weights, all of a network's.

    Raises:
        UserError: it is damaged, lacks some, or has some of another shape.
    """
    reading.refuse_pipes(path)
    try:
        with warnings.catch_warnings():
            # Keras warns where it leaves weights as they were drawn.
            warnings.simplefilter("error", UserWarning)
            load(path)
    except errors.UserError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        raise _cannot_load(path, error) from None


def check_size(files: Iterable[str], count: int, path: str) -> None:
    """Refuses files of weights that are not of the network that a file describes.

    Keras takes what it finds and leaves the rest; and a network of absurd size would
    take all memory before it looked. Files that are damaged are named when they are
    loaded: another network may not need them.

    Args:
        files: the weights, in one or several.
        count: how many the network has.
        path: the file that describes it.

    Raises:
        UserError: there are more or fewer.
    """
    files = list(files)
    try:
        shapes = [shape for file in files for shape in stored_arrays(file).values()]
    except errors.UserError:
        return
    refuse_absurd(files, count, path)
    found = sum(map(math.prod, shapes))
    if found != count:
        raise errors.UserError(
            f"{files[0]} holds {found:,} weights, and the network that {path} "
            f"describes has {count:,}; they are not of the same model: put the "
            "file back that was written with the weights"
        )


def refuse_absurd(files: Iterable[str], count: int, path: str) -> None:
    """Refuses a file that describes more weights than a file of its size can hold.

    Args:
        files: the weights.
        count: as many as the network has, or more.
        path: the file that describes it.

    Raises:
        UserError: there is not even a bit for each.
    """
    size = sum(os.path.getsize(file) for file in files)
    if count > 8 * size:
        raise errors.UserError(
            f"{path} describes {count:,} weights, and their files have {size:,} bytes; "
            "they are not of the same model: put the file back that was written with "
            "the weights"
        )


def stored_arrays(path: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights in a file of Keras, by their names there.

    Raises:
        UserError: it is damaged.
    """
    shapes = {}

    def visit(name: str, entry: Any) -> None:
        is_weight = isinstance(entry, h5py.Dataset) and entry.dtype.kind not in "iub"
        if is_weight and not name.startswith("optimizer/"):  # Seeds are no weights.
            shapes[name] = tuple(entry.shape)

    reading.refuse_pipes(path)
    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _cannot_load(path, error) from None
    return shapes


def _cannot_load(path: str, error: Exception) -> errors.UserError:
    reason = errors.one_line(error, 200)
    return errors.UserError(f"cannot load {path}: {reason}; copy or write it again")


def build(
    source: Pretrained, name: str, make: Callable[[], keras.Model] | None = None
) -> keras.Model:
    """Builds one of its networks with its weights.

    Args:
        source: the weights.
        name: of the network.
        make: builds one of its shape; None does it by its role, and of one that is
            unknown here the encoder alone.
    """
    if name not in source.networks:
        raise errors.UserError(
            f"{source.folder} has no {name}; it has {', '.join(source.networks)}"
        )
    model, known = source.networks[name], BUILDERS.get(role_of(source, name))
    network = make() if make else (known or models.build_headless)(model)
    source.load_weights(name, network)
    return network if make or known else network.get_layer("encoder")
