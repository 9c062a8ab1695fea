"""How a sentence-transformers directory makes a vector of a text's states.

In:   modules.json, which lists its steps, and what stands in the folder of each.
Out:  pooling, normalizing, the longest row; or the same files.
"""

import json
import os
from typing import Any, NamedTuple

import pydantic
from pydantic import PositiveInt

from electra_tf import config, errors
from electra_tf.system import durable, reading

MODULES = "modules.json"
SETTINGS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
POOLING = "1_Pooling"
NORMALIZE = "2_Normalize"
FILES = (MODULES, SETTINGS, PROMPTS, POOLING, NORMALIZE)

# How versions before 5 named what is pooled, and how we and later ones do.
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

# Steps that change no vector once a model is trained.
_IDLE = {"Dropout"}


class Recipe(NamedTuple):
    """What makes a vector of the states of a text's tokens."""

    pooling: str  # "mean", "cls", or what only others have; "+" between several
    normalize: bool  # whether vectors have length 1
    max_tokens: int | None  # of a row; None = nothing says
    others: tuple[str, ...] = ()  # steps that we have not, such as "Dense"
    lowercase: bool = False  # whether texts are lower-cased before they are cut
    prompt: str | None = None  # what is put before every text


class _Module(config.Settings):
    model_config = pydantic.ConfigDict(extra="ignore")

    path: str
    type: str


class _Modules(config.Settings):
    modules: list[_Module]


class _Transformer(config.Settings):
    model_config = pydantic.ConfigDict(extra="ignore")

    max_seq_length: PositiveInt | None = None
    do_lower_case: bool = False


class _Prompts(config.Settings):
    model_config = pydantic.ConfigDict(extra="ignore")

    prompts: dict[str, str] = pydantic.Field({})
    default_prompt_name: str | None = None


# Reading.


def network_folder(path: str) -> str:
    """Returns where in a directory the network is; the path itself, if nothing says."""
    try:
        steps = _steps(path)
    except errors.UserError:
        return path
    place = next((place for name, place in steps if name == "Transformer"), "")
    return os.path.join(path, place) if place else path


def read(path: str) -> Recipe | None:
    """Reads how vectors are made; None where nothing says.

    Raises:
        UserError: a file is damaged.
    """
    if not os.path.exists(os.path.join(path, MODULES)):
        return None
    pooling, normalize, others, place = "mean", False, [], ""
    for name, folder in _steps(path):
        if name == "Transformer":
            place = folder
        elif name == "Pooling":
            pooling = _pooling(os.path.join(path, folder, "config.json"))
        elif name == "Normalize":
            normalize = True
        elif name not in _IDLE:
            others.append(name)
    network = os.path.join(path, place)
    stated = _optional(_Transformer, os.path.join(network, SETTINGS))
    told = _optional(_Prompts, os.path.join(path, PROMPTS))
    return Recipe(
        pooling,
        normalize,
        stated.max_seq_length or _longest(network),
        tuple(others),
        stated.do_lower_case,
        told.prompts.get(told.default_prompt_name or "") or None,
    )


def notes(recipe: Recipe | None) -> list[str]:
    """Says what of a recipe is not followed, a sentence each."""
    if recipe is None or not recipe.prompt:
        return []
    return [f"its prompt {recipe.prompt!r:.80} is left out: put it before each text"]


def _steps(path: str) -> list[tuple[str, str]]:
    """Returns the class and the folder of each step."""
    file = os.path.join(path, MODULES)
    reading.refuse_pipes(file)
    with reading.explained(file), open(file, "rb") as opened:
        data = opened.read()
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise errors.UserError(
            f"{file} is not JSON: {errors.one_line(error, 160)}"
        ) from None
    steps = []
    for module in config.check(_Modules, {"modules": values}, file).modules:
        if module.path != os.path.basename(module.path) or module.path == "..":
            raise errors.UserError(
                f"{file}: path is {module.path!r:.60}; want the name of a folder in it"
            )
        steps.append((module.type.rpartition(".")[2], module.path))
    return steps


def _pooling(file: str) -> str:
    values = reading.read_json(file)
    found = values.get("pooling_mode")
    if found is None:
        found = [ours for name, ours in _MODES.items() if values.get(name) is True]
    modes = [found] if isinstance(found, str) else found
    if not isinstance(modes, list) or not all(isinstance(one, str) for one in modes):
        raise errors.UserError(f"{file}: pooling_mode is {found!r:.60}; want a name")
    return "+".join(modes) or "mean"


def _optional(kind: type[config.AnySettings], file: str) -> config.AnySettings:
    values = reading.read_json(file) if os.path.exists(file) else {}
    return config.check(kind, values, file)


def _longest(folder: str) -> int | None:
    """Returns the tokenizer's limit, which stands for the one that is not stated."""
    file = os.path.join(folder, "tokenizer_config.json")
    limit = (
        reading.read_json(file).get("model_max_length") if os.path.exists(file) else 0
    )
    known = isinstance(limit, int) and not isinstance(limit, bool) and 0 < limit < 10**6
    return limit if known else None  # For "no limit" it writes 10 ** 30.


# Writing.


def write(folder: str, recipe: Recipe, width: int) -> None:
    """Writes what makes a model's directory one of sentence-transformers.

    Args:
        folder: of the model.
        recipe: how vectors are made.
        width: of a vector.
    """
    kinds = {"": "Transformer", POOLING: "Pooling"}
    if recipe.normalize:
        kinds[NORMALIZE] = "Normalize"
    modules: list[dict[str, Any]] = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(kinds.items())
    ]
    text = json.dumps(modules, indent=2)
    durable.write_text(os.path.join(folder, MODULES), f"{text}\n")
    pooling: dict[str, Any] = {"word_embedding_dimension": width}
    pooling |= {name: mode == recipe.pooling for name, mode in _MODES.items()}
    os.makedirs(os.path.join(folder, POOLING), exist_ok=True)
    durable.write_json(os.path.join(folder, POOLING, "config.json"), pooling)
    values = {"max_seq_length": recipe.max_tokens, "do_lower_case": False}
    durable.write_json(os.path.join(folder, SETTINGS), values)
