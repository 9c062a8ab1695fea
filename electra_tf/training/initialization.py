"""Starts a run from weights that somebody trained before.

In:   the settings, what the objective says of its networks, the data's vocabulary,
      weights of any kind (`opening`).
Out:  settings with the architecture found; networks with those weights.
"""

import contextlib
import json
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors
from electra_tf.objectives import objective
from electra_tf.weights import opening, preset

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


Sources = dict[str, preset.Pretrained]  # by the path that the settings name


class Weights(NamedTuple):
    """What a network of a run starts from."""

    arrays: dict[str, npt.NDArray[np.float32]]  # by path
    vocab: list[str] | None  # whose rows the tables have; None = the data's


def open_sources(declared: objective.Declaration, train: config.TrainConfig) -> Sources:
    """Opens all that networks are to start from; empty if all start at random.

    Raises:
        UserError: see `opening.open_pretrained`.
    """
    return {path: opening.open_pretrained(path) for path in paths(declared, train)}


def paths(declared: objective.Declaration, train: config.TrainConfig) -> list[str]:
    """Returns where the weights are that networks are to start from."""
    named = (train.init_from, *(one.origin for one in declared.networks.values()))
    return list(dict.fromkeys(path for path in named if path))


class _Start(NamedTuple):
    """Where a network starts from."""

    source: preset.Pretrained
    name: str  # of the source's network
    where: str  # for messages

    @property
    def model(self) -> config.ModelConfig:
        return self.source.networks[self.name]


def check_vocab(
    sources: Sources,
    train: config.TrainConfig,
    vocab: list[str],
    words: config.TokenizerConfig,
) -> None:
    """Refuses weights whose tokens or casing are not those of the data.

    Args:
        sources: the weights.
        train: whether tokens may be others.
        vocab: of the data.
        words: how the data's words were cut.
    """
    for path, source in sources.items():
        _check_vocab(_where(train, path, source), source, train, vocab, words)


def _check_vocab(
    where: str,
    source: preset.Pretrained,
    train: config.TrainConfig,
    vocab: list[str],
    words: config.TokenizerConfig,
) -> None:
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
    settings: config.PretrainConfig, declared: objective.Declaration, sources: Sources
) -> config.PretrainConfig:
    """Returns settings with the sources' architectures; what is stated must agree."""
    changes: dict[str, Any] = {}
    model = settings.model
    starts = _starts(settings.train, declared, sources, _ignore)
    for name, start in starts.items():
        if declared.networks[name].section == "model":
            _refuse_others(start, settings.model)
            model = start.model.model_copy(update=_own(settings.model))
            changes["model"] = model
    wanted = settings.generator
    for name, start in starts.items():
        network = declared.networks[name]
        if network.section == "generator":
            if wanted.model_fields_set & {"width_scale", "depth_scale", "architecture"}:
                way_out = "drop generator.width_scale and depth_scale"
                _refuse_unequal(start, wanted.resolve(model), way_out)
            small = start.model.model_copy(update=_own(settings.model))
            changes["generator"] = wanted.model_copy(update={"architecture": small})
        elif not network.section:
            _refuse_unequal(start, network.config, "start from other weights")
    return config.check(
        config.PretrainConfig,
        {**settings.model_dump(), **_dumped(changes)},
        " and ".join(dict.fromkeys(start.where for start in starts.values())),
    )


def read_weights(
    settings: config.PretrainConfig,
    declared: objective.Declaration,
    sources: Sources,
    vocab: list[str],
    say: Callable[[str], None],
) -> dict[str, Weights]:
    """Reads what the networks of the run start from.

    What the sources do not have is left out, and said.
    """
    for path, source in sources.items():
        where = _where(settings.train, path, source)
        for note in getattr(source, "notes", []):
            say(f"note: {where}: {note}")
    found: dict[str, Weights] = {}
    for name, start in _starts(settings.train, declared, sources, say).items():
        found[name], has_head = _read(start, declared.networks[name])
        if not has_head:
            say(f"warning: {start.where} has no head of a {name}: it starts at random")
    if settings.generator.shares == "embeddings":
        _refuse_two_embeddings(settings.train, declared, found)
    for path, source in sources.items():
        if source.vocab is not None and source.vocab != vocab:
            kept = len(set(source.vocab) & set(vocab))
            say(
                f"{_where(settings.train, path, source)}: {kept:,} of {len(vocab):,} "
                "tokens were in its vocabulary; the others start at random"
            )
    return found


def assign(
    learned: objective.Objective, weights: dict[str, Weights], vocab: list[str]
) -> None:
    """Gives networks their weights; rows of tokens go where the token is now.

    Raises:
        UserError: two are given for what networks of the run share.
    """
    _refuse_two_for_one(learned, weights)
    for name, found in weights.items():
        network = learned.networks[name]
        unfolded = learned.declared.networks[name].unfolded or contextlib.nullcontext
        with unfolded(network):
            _assign(network, found, vocab)


def _refuse_two_for_one(
    learned: objective.Objective, weights: dict[str, Weights]
) -> None:
    given: dict[int, tuple[str, npt.NDArray[np.float32]]] = {}
    for name, found in weights.items():
        for variable in learned.networks[name].weights:
            if variable.path not in found.arrays:
                continue
            array = found.arrays[variable.path]
            other, first = given.setdefault(id(variable), (name, array))
            if not np.array_equal(first, array):
                raise errors.UserError(
                    f"train.init_from: its {other} and its {name} differ in "
                    f"{variable.path}, which is one and the same in this run; share "
                    "less, as with objective.shared_layers=0, or start from other "
                    "weights"
                )


def _assign(network: keras.Model, found: Weights, vocab: list[str]) -> None:
    same = found.vocab is None or found.vocab == vocab
    rows = {token: i for i, token in enumerate(found.vocab or vocab)}
    new = np.array([i for i, token in enumerate(vocab) if token in rows], np.int64)
    old = np.array([rows[vocab[i]] for i in new], np.int64)
    for variable in network.weights:
        if variable.path not in found.arrays:
            continue
        array = found.arrays[variable.path]
        if variable.path in _BY_TOKEN and not same:
            table = np.array(variable)
            table[new] = array[old]
            array = table
        variable.assign(array)


def _read(start: _Start, network: objective.Network) -> tuple[Weights, bool]:
    """Reads what a network starts from; tells whether its head is there, too."""
    role = preset.role_of(start.source, start.name)
    has_head = role == network.role
    make = None
    if role not in preset.BUILDERS:  # The objective alone can build what has this head.
        same = start.model.vocab_size == network.config.vocab_size
        has_head = has_head and same and network.fold is None
        make = network.build if has_head else None
    made = preset.build(start.source, start.name, make)
    arrays = {v.path: np.asarray(v) for v in made.weights}
    return Weights(arrays, start.source.vocab), has_head


def _ignore(_: str) -> None:
    pass


def _where(train: config.TrainConfig, path: str, source: preset.Pretrained) -> str:
    return f"train.init_from={source.folder}" if path == train.init_from else path


def _starts(
    train: config.TrainConfig,
    declared: objective.Declaration,
    sources: Sources,
    say: Callable[[str], None],
) -> dict[str, _Start]:
    """Chooses what each network of the run starts from; says which start at random.

    Raises:
        UserError: there is nothing for a network that must start from something.
    """
    starts = {}
    for name, network in declared.networks.items():
        path = network.origin or train.init_from
        if not path:
            continue
        source = sources[path]
        where = _where(train, path, source)
        if found := preset.choose(source, network.starts_from):
            starts[name] = _Start(source, found, where)
        elif network.origin or network.section == "model":
            wanted = " or ".join(network.starts_from[:1]) or f"start for a {name}"
            raise errors.UserError(
                f"{where} has no {wanted}; it has {', '.join(source.networks)}"
            )
        elif network.starts_from:
            say(
                f"warning: {where} has no {network.starts_from[0]}: it starts at random"
            )
    return starts


def _own(model: config.ModelConfig) -> dict[str, Any]:
    """Returns what a run decides for itself."""
    return {name: getattr(model, name) for name in MAY_DIFFER}


def _dumped(sections: dict[str, Any]) -> dict[str, Any]:
    return {name: section.model_dump() for name, section in sections.items()}


def _refuse_others(start: _Start, stated: config.ModelConfig) -> None:
    for name in stated.model_fields_set - MAY_DIFFER:
        was, now = getattr(start.model, name), getattr(stated, name)
        if was != now:
            raise errors.UserError(
                f"{start.where}: {name} of its {start.name} is {was!r}, but model."
                f"{name} is {now!r}; drop the setting, or start from other weights"
            )


def _refuse_unequal(start: _Start, stated: config.ModelConfig, way_out: str) -> None:
    for name, (was, now) in config.differences(start.model, stated).items():
        if name not in MAY_DIFFER:
            raise errors.UserError(
                f"{start.where}: {name} of its {start.name} is {was!r}, by the "
                f"settings of this run it is {now!r}; {way_out}"
            )


def _refuse_two_embeddings(
    train: config.TrainConfig,
    declared: objective.Declaration,
    found: dict[str, Weights],
) -> None:
    """Refuses two tables of embeddings where the run has one for both networks."""
    networks = declared.networks
    sections = {
        networks[name].section: name for name in found if not networks[name].origin
    }
    if not {"model", "generator"} <= sections.keys():
        return
    main, small = (found[sections[section]] for section in ("model", "generator"))
    for path, array in small.arrays.items():
        if not path.startswith(_EMBEDDINGS):
            continue
        other = main.arrays[path]
        if array.shape != other.shape or not np.array_equal(array, other):
            raise errors.UserError(
                f"train.init_from={train.init_from}: its {sections['generator']} and "
                f"{sections['model']} have embeddings of their own; set "
                "generator.shares=nothing"
            )
