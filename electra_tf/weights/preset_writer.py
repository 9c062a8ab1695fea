"""Writes a trained model as a directory: a preset, which later work starts from.

In:   networks by name, their architectures, the vocabulary and its settings.
Out:  config.json, vocab.txt, <network>.weights.h5, a model card, checksums; or nothing.

`preset` reads it.
"""

import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras
from pydantic import Field

from electra_tf import config, errors
from electra_tf.system import checksums, durable, reading
from electra_tf.text import vocabularies
from electra_tf.weights import model_card

FORMAT = 1
ABOUT = "config.json"

REFUSALS = (RuntimeError,)  # What HDF5 raises, beside OSError, for a full disk.
_HDF5_BYTES = 8192  # A file has no more than these for an array, beside its numbers.


class About(config.Settings):
    """What config.json holds."""

    format: int
    networks: dict[str, config.ModelConfig]
    # Of networks whose name is not their role.
    roles: dict[str, str] = Field(default={})
    tokenizer: config.TokenizerConfig
    vocab_hash: str
    origin: dict[str, Any]


def save(
    folder: str,
    networks: dict[str, keras.Model],
    configs: dict[str, config.ModelConfig],
    vocab: list[str],
    tokenizer_config: config.TokenizerConfig,
    origin: dict[str, Any],
    facts: model_card.Facts = model_card.NO_FACTS,
    roles: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes a preset beside the old one, if any, and then puts it in its place.

    Args:
        folder: of the preset; a preset that is there is replaced.
        networks: by name; a name is the network's role, if `roles` say no other.
        configs: their architectures.
        vocab: tokens in the order of their ids.
        tokenizer_config: casing, accents, CJK.
        origin: how it was trained: settings, steps, metrics, versions; JSON values.
        facts: for the model card.
        roles: of networks whose names do not say it.
    """
    with durable.replacing_folder(folder, is_preset, *REFUSALS) as building:
        model_card.keep_edited(folder, building)
        vocabularies.write(os.path.join(building, "vocab.txt"), vocab)
        for name, network in networks.items():
            reserve(building, network)
            network.save_weights(os.path.join(building, weights_file(name)))
        about = About(
            format=FORMAT,
            networks={name: configs[name] for name in networks},
            roles={n: role for n, role in roles.items() if n in networks and n != role},
            tokenizer=tokenizer_config,
            vocab_hash=vocabularies.hash_of(vocab),
            origin=origin,
        )
        durable.write_json(os.path.join(building, ABOUT), about.model_dump())
        card = model_card.Card(
            "preset",
            about.networks,
            tokenizer_config,
            origin,
            facts=facts,
            roles=about.roles,
        )
        model_card.write(building, card)
        checksums.write(building)


def reserve(folder: str, *networks: keras.Model) -> None:
    """Raises OSError unless a folder has room for files of these networks' weights."""
    variables = [variable for network in networks for variable in network.weights]
    arrays = sum(math.prod(v.shape) * v.value.dtype.size for v in variables)
    durable.reserve(folder, arrays + _HDF5_BYTES * (len(variables) + 8))


def is_preset(folder: str) -> bool:
    """Says whether a folder is a preset of ours, of any version of the format."""
    durable.recover(folder)
    try:
        values = reading.read_json(os.path.join(folder, ABOUT))
    except errors.UserError:
        return False
    return {"format", "networks"} <= values.keys()


def weights_file(name: str) -> str:
    """Returns what the file of a network's weights is called."""
    return f"{name}.weights.h5"
