"""Starts a run from weights that somebody trained before.

In:   the settings, the data's vocabulary, weights of any kind (`pretrained`).
Out:  settings with the architecture found; networks with those weights.
"""

import json
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.weights import preset

# Of a network, when it starts from another one's weights. The data decide the
# vocabulary's size.
MAY_DIFFER = {
    "vocab_size",
    "hidden_dropout_rate",
    "attention_dropout_rate",
    "initializer_range",
    "position_initializer",
}

_BY_TOKEN = ("embeddings/word_embeddings", "masked_token_head/output_bias")
_EMBEDDINGS = "embeddings/"


class Weights(NamedTuple):
    """What the networks of a run start from."""

    networks: dict[str, dict[str, npt.NDArray[np.float32]]]  # by path
    vocab: list[str] | None  # whose rows the tables have; None = the data's


def check_vocab(
    source: preset.Pretrained,
    train: config.TrainConfig,
    vocab: list[str],
    words: config.TokenizerConfig,
) -> None:
    """Refuses weights whose tokens or casing are not those of the data.

    Args:
        source: the weights.
        train: whether tokens may be others.
        vocab: of the data.
        words: how the data's words were cut.
    """
    where = f"train.init_from={source.folder}"
    if source.vocab is None:
        size = next(iter(source.networks.values())).vocab_size
        if size != len(vocab) or train.init_vocab != "same":
            raise errors.UserError(
                f"{where} has no vocabulary ({size} tokens); put its vocab.txt there"
            )
        return
    now = words.model_dump(mode="json")
    for name, was in source.tokenizer.model_dump(mode="json").items():
        if was != now[name]:
            stated = shlex.quote(f"tokenizer.{name}={json.dumps(was)}")
            raise errors.UserError(
                f"{where}: {name} of its tokenizer is {was}, that of the data "
                f"{now[name]}; build the data with --set {stated}"
            )
    if train.init_vocab == "same" and source.vocab != vocab:
        raise errors.UserError(
            f"{where}: its vocabulary ({len(source.vocab)} tokens) is not that of the "
            f"data ({len(vocab)} tokens); build the data with its vocab.txt, or keep "
            "what both have: train.init_vocab=shared_tokens"
        )


def with_architecture(
    settings: config.PretrainConfig, source: preset.Pretrained
) -> config.PretrainConfig:
    """Returns settings with the source's architecture; what is stated must agree."""
    where = f"train.init_from={source.folder}"
    main, generator = _chosen(settings, source)
    found = source.networks[main]
    _refuse_others(where, main, found, settings.model, "model")
    model = found.model_copy(update=_own(settings.model))
    changes: dict[str, Any] = {"model": model}
    if generator:
        wanted = settings.generator
        small = source.networks[generator]
        if wanted.model_fields_set & {"width_scale", "depth_scale", "architecture"}:
            stated = wanted.resolve(model)
            _refuse_unequal(where, generator, small, stated)
        small = small.model_copy(update=_own(settings.model))
        changes["generator"] = wanted.model_copy(update={"architecture": small})
    return config.check(
        config.PretrainConfig,
        {**settings.model_dump(), **_dumped(changes)},
        where,
    )


def read_weights(
    settings: config.PretrainConfig,
    source: preset.Pretrained,
    vocab: list[str],
    say: Callable[[str], None],
) -> Weights:
    """Reads what the networks of the run start from.

    What the source does not have is left out, and said.
    """
    where = f"train.init_from={source.folder}"
    for note in getattr(source, "notes", []):
        say(f"note: {where}: {note}")
    main, generator = _chosen(settings, source)
    plan = {_name_of_main(settings): main}
    if settings.objective.name == "electra":
        if generator:
            plan = {"generator": generator, **plan}
        else:
            say(f"warning: {where} has no generator: it starts at random")
    found = {}
    for name, origin in plan.items():
        network = preset.build(source, origin)
        found[name] = {v.path: np.asarray(v) for v in network.weights}
        if origin == "encoder":
            say(f"warning: {where} has no head of a {name}: it starts at random")
    if len(found) == 2 and settings.generator.shares == "embeddings":
        _refuse_two_embeddings(where, *found.values())
    if source.vocab is not None and source.vocab != vocab:
        kept = len(set(source.vocab) & set(vocab))
        say(
            f"{where}: {kept:,} of {len(vocab):,} tokens were in its vocabulary; the "
            "others start at random"
        )
    return Weights(found, source.vocab)


def assign(
    networks: dict[str, keras.Model], weights: Weights, vocab: list[str]
) -> None:
    """Gives networks their weights; rows of tokens go where the token is now."""
    same = weights.vocab is None or weights.vocab == vocab
    rows = {token: i for i, token in enumerate(weights.vocab or vocab)}
    new = np.array([i for i, token in enumerate(vocab) if token in rows], np.int64)
    old = np.array([rows[vocab[i]] for i in new], np.int64)
    for name, found in weights.networks.items():
        for variable in networks[name].weights:
            if variable.path not in found:
                continue
            array = found[variable.path]
            if variable.path in _BY_TOKEN and not same:
                table = np.array(variable)
                table[new] = array[old]
                array = table
            variable.assign(array)


def _name_of_main(settings: config.PretrainConfig) -> str:
    return "generator" if settings.objective.name == "mlm" else "discriminator"


def _chosen(
    settings: config.PretrainConfig, source: preset.Pretrained
) -> tuple[str, str | None]:
    """Chooses the source's networks for the run's main one and for its generator."""
    wanted = _name_of_main(settings)
    for main in (wanted, "encoder"):
        if main in source.networks:
            small = wanted == "discriminator" and settings.objective.name == "electra"
            there = small and "generator" in source.networks
            return main, "generator" if there else None
    raise errors.UserError(
        f"train.init_from={source.folder} has no {wanted}; it has "
        f"{', '.join(source.networks)}"
    )


def _own(model: config.ModelConfig) -> dict[str, Any]:
    """Returns what a run decides for itself."""
    return {name: getattr(model, name) for name in MAY_DIFFER}


def _dumped(sections: dict[str, Any]) -> dict[str, Any]:
    return {name: section.model_dump() for name, section in sections.items()}


def _refuse_others(
    where: str,
    network: str,
    found: config.ModelConfig,
    stated: config.ModelConfig,
    section: str,
) -> None:
    for name in stated.model_fields_set - MAY_DIFFER:
        was, now = getattr(found, name), getattr(stated, name)
        if was != now:
            raise errors.UserError(
                f"{where}: {name} of its {network} is {was!r}, but {section}.{name} is "
                f"{now!r}; drop the setting, or start from other weights"
            )


def _refuse_unequal(
    where: str, network: str, found: config.ModelConfig, stated: config.ModelConfig
) -> None:
    for name, (was, now) in config.differences(found, stated).items():
        if name not in MAY_DIFFER:
            raise errors.UserError(
                f"{where}: {name} of its {network} is {was!r}, by the scales of this "
                f"run it is {now!r}; drop generator.width_scale and depth_scale"
            )


def _refuse_two_embeddings(
    where: str,
    generator: dict[str, npt.NDArray[np.float32]],
    discriminator: dict[str, npt.NDArray[np.float32]],
) -> None:
    for path, array in generator.items():
        if not path.startswith(_EMBEDDINGS):
            continue
        other = discriminator[path]
        if array.shape != other.shape or not np.array_equal(array, other):
            raise errors.UserError(
                f"{where}: its generator and discriminator have embeddings of their "
                "own; set generator.shares=nothing"
            )
