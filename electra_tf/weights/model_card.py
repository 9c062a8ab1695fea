"""A model card: what is known of a model becomes a README.md beside its weights.

In:   architectures, tokenizer, and the origin that preset and importers record.
Out:  README.md with YAML front matter, as the Hugging Face Hub reads it.

Values come from other people's files, so none is trusted to be harmless Markdown.
"""

import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import yaml

from electra_tf import config, errors
from electra_tf.system import durable

FILE = "README.md"

Layout = Literal["preset", "hugging_face", "keras_hub"]

# transformers' class for a network, or for an encoder with a head.
CLASSES = {
    "encoder": "ElectraModel",
    "discriminator": "ElectraForPreTraining",
    "generator": "ElectraForMaskedLM",
    "sequence_classification": "ElectraForSequenceClassification",
    "token_classification": "ElectraForTokenClassification",
    "question_answering": "ElectraForQuestionAnswering",
    "multiple_choice": "ElectraForMultipleChoice",
}

Family = Literal["electra", "bert"]

# Its class for an encoder alone.
ENCODERS: dict[Family, str] = {"electra": CLASSES["encoder"], "bert": "BertModel"}

# And of ours.
_OURS = {
    "encoder": "ElectraBackbone",
    "discriminator": "ElectraReplacedTokenDetector",
    "generator": "ElectraMaskedLM",
}

# The Hub's names for what a model does; the Hub has none for a discriminator.
PIPELINES = {
    "encoder": "feature-extraction",
    "generator": "fill-mask",
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "question_answering": "question-answering",
    "multiple_choice": "multiple-choice",
    "encoder_decoder": "text2text-generation",
}

LIBRARIES = {
    "preset": "electra-tf",
    "hugging_face": "transformers",
    "keras_hub": "keras-hub",
}

_WHAT = {
    "encoder": "turns each token of a text into a vector that knows its context",
    "discriminator": "tells of each token whether it was replaced",
    "generator": "guesses hidden tokens",
    "sequence_classification": "sorts texts, or rates them",
    "single_label_classification": "sorts texts into classes",
    "multi_label_classification": "tells which classes a text has, several or none",
    "regression": "rates texts by a number",
    "token_classification": "labels the words of a text",
    "question_answering": "finds the answer to a question in a text",
    "multiple_choice": "picks one of several continuations",
    "encoder_decoder": "reads a text and writes another",
}

_OTHER = "has a head of its own kind, which is not loaded with its encoder"

_LISTED = 50  # classes

# A card that was edited by hand has another hash, and is no longer ours to replace.
_MARK = "<!-- made by electra_tf.model_card: {} -->\n"
_FIND_MARK = re.compile(_MARK.format("([0-9a-f]{64})"))

# Settings that may name a path of the machine that trained; the last part is enough.
_PATHS = {"records", "vocab", "init_from", "path"}


class Facts(NamedTuple):
    """What no file says and the author may."""

    language: str | None = None  # a code such as "en"
    license: str | None = None  # of the weights, such as "apache-2.0"
    base_model: str | None = None  # the model on the Hub that this one started from


NO_FACTS = Facts()


class Card(NamedTuple):
    """What there is to say."""

    layout: Layout
    networks: dict[str, config.ModelConfig]  # architectures by name
    tokenizer: config.TokenizerConfig
    origin: dict[str, Any]  # how it came to be: JSON values
    # A task's, on the encoder: a key of CLASSES; or a decoder, "encoder_decoder".
    head: str | None = None
    facts: Facts = NO_FACTS
    problem_type: str | None = None  # what a head of texts learned: a key of _WHAT
    labels: Sequence[str] = ()  # of the head, in order
    roles: Mapping[str, str] = {}  # of networks whose names do not say it
    family: Family = "electra"  # what an encoder was written as
    makes_vectors: bool = False  # whether sentence-transformers opens it


def write(folder: str, card: Card) -> bool:
    """Writes README.md, unless there is one that this function did not write.

    Returns:
        Whether it was written.

    Raises:
        UserError: the folder cannot be written.
    """
    path = os.path.join(folder, FILE)
    if os.path.lexists(path) and not is_ours(path):
        return False
    durable.write_text(path, render(card))
    return True


def keep_edited(folder: str, building: str) -> None:
    """Copies a card that was edited by hand to the folder that replaces its own."""
    path = os.path.join(folder, FILE)
    if os.path.exists(path) and not is_ours(path):
        shutil.copy2(path, building)


def is_ours(path: str) -> bool:
    """Tells whether `write` made the file and nobody has edited it since."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return False
    mark = _FIND_MARK.search(text)
    return mark is not None and mark[1] == _hash(text.replace(mark[0], "", 1))


def render(card: Card) -> str:
    """Returns the card's text."""
    front = _yaml(_front_matter(card))
    sections = {
        "Architecture": _architecture(card),
        "Data": _data(card),
        "Training": _training(card),
        "Metrics": _metrics(card),
        "Versions": _versions(card),
        "How to load": _loading(card),
    }
    body = f"# {_title(card)}\n\n{_introduction(card)}\n"
    for title, text in sections.items():
        body += f"\n## {title}\n\n{text}\n"
    front = f"---\n{front}---\n"
    return f"{front}{_MARK.format(_hash(front + body))}{body}"


def count_parameters(role: str, model: config.ModelConfig) -> int:
    """Returns how many weights a network has, tied ones once.

    Of a role that is not one of ours, those of its encoder.
    """
    e, d, f = model.embedding_size, model.hidden_size, model.intermediate_size
    rows = model.vocab_size + model.max_positions + model.num_segments
    count = e * (rows + 2)
    if e != d:
        count += d * (e + 1)
    count += model.num_layers * (4 * d * (d + 1) + f * (d + 1) + d * (f + 1) + 4 * d)
    if role == "generator":
        count += e * (d + 1) + 2 * e + model.vocab_size
    if role == "discriminator":
        count += d * (d + 1) + d + 1
    return count


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _front_matter(card: Card) -> dict[str, Any]:
    kinds = _kinds(card)
    several = (
        ["multi-label-classification"] if "multi" in str(card.problem_type) else []
    )
    pipeline = PIPELINES.get(_role(card, kinds[0])) if len(kinds) == 1 else None
    values: dict[str, Any] = {
        "language": card.facts.language,
        "license": card.facts.license,
        "library_name": "sentence-transformers"
        if card.makes_vectors
        else LIBRARIES[card.layout],
        "tags": ["electra", *(kind.replace("_", "-") for kind in kinds), *several],
        "pipeline_tag": "sentence-similarity" if card.makes_vectors else pipeline,
        "base_model": card.facts.base_model,
    }
    # Of one line each: "---" on a line of its own would end the front matter.
    return {
        name: errors.one_line(value) if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }


def _kinds(card: Card) -> list[str]:
    return [card.head] if card.head else sorted(card.networks)


def _role(card: Card, name: str) -> str:
    return card.roles.get(name, name)


def _roles(card: Card) -> set[str]:
    return {_role(card, name) for name in card.networks}


def _title(card: Card) -> str:
    if card.head:
        return f"ELECTRA for {card.head.replace('_', ' ')}"
    return f"ELECTRA {' and '.join(_kinds(card))}"


def _introduction(card: Card) -> str:
    if not card.head:
        what = {name: _WHAT.get(_role(card, name), _OTHER) for name in _kinds(card)}
        return " ".join(f"The {_escape(name)} {told}." for name, told in what.items())
    text = f"The model {_WHAT[card.problem_type or card.head]}."
    if card.labels:
        more = " ..." if len(card.labels) > _LISTED else ""
        text += f" Classes: {', '.join(map(_escape, card.labels[:_LISTED]))}{more}."
    return text


def _architecture(card: Card) -> str:
    names = sorted(card.networks)
    rows = [
        [field, *(getattr(card.networks[name], field) for name in names)]
        for field in config.ModelConfig.model_fields
    ]
    counts = (
        f"{count_parameters(_role(card, name), card.networks[name]):,}"
        for name in names
    )
    without = ""
    if card.head or not _OURS.keys() >= _roles(card):
        without = (
            " (without the task's head)" if card.head else " (without other heads)"
        )
    return _table(["", *names], [*rows, [f"parameters{without}", *counts]])


def _data(card: Card) -> str:
    rules = card.tokenizer
    lines = [
        f"{next(iter(card.networks.values())).vocab_size:,} WordPiece tokens. "
        f"Text is {'lower-cased' if rules.lowercase else 'cased'}, accents are "
        f"{'dropped' if rules.strip_accents else 'kept'}, CJK ideographs "
        f"{'are words of their own' if rules.split_cjk else 'are not split'}."
    ]
    data = _settings(card).get("data")
    if isinstance(data, dict):
        lines.append(_table(["setting", "value"], _short(data).items()))
    else:
        lines.append("What it was trained on is not recorded.")
    return "\n\n".join(lines)


def _training(card: Card) -> str:
    lines = []
    steps = card.origin.get("steps")
    if isinstance(steps, int):
        lines.append(f"{steps:,} steps.")
    settings = {
        section: _short(values)
        for section, values in _settings(card).items()
        if section != "data" and isinstance(values, dict)
    }
    if settings:
        lines.append(_block("yaml", _yaml(settings)))
    told = {"settings", "steps", "metrics", "versions", "commit"}
    other = _short({k: v for k, v in card.origin.items() if k not in told})
    if other:
        lines.append(f"Where the weights came from:\n\n{_block('yaml', _yaml(other))}")
    return "\n\n".join(lines) or "How it was trained is not recorded."


def _metrics(card: Card) -> str:
    metrics = card.origin.get("metrics")
    if not isinstance(metrics, dict) or not metrics:
        return "None are recorded."
    rows = (
        [name, f"{value:.6g}" if isinstance(value, float) else value]
        for name, value in metrics.items()
    )
    return f"On held-out text:\n\n{_table(['metric', 'value'], rows)}"


def _versions(card: Card) -> str:
    versions = card.origin.get("versions")
    rows = dict(versions) if isinstance(versions, dict) else {}
    if commit := card.origin.get("commit"):
        rows["commit of electra_tf"] = commit
    return _table(["", "version"], rows.items()) if rows else "None are recorded."


def _loading(card: Card) -> str:
    shown: dict[Layout, list[Callable[[Card], str]]] = {
        "preset": [_ours],
        "hugging_face": [_ours, _transformers],
        "keras_hub": [lambda _: _KERAS_HUB],
    }
    return "\n\n".join(_block("python", make(card)) for make in shown[card.layout])


_KERAS_HUB = """\
import keras_hub
import electra_tf  # Then KerasHub finds our classes; its own need it not.

backbone = keras_hub.models.Backbone.from_preset("this_folder")"""


def _ours(card: Card) -> str:
    lines = ["import electra_tf", ""]
    kinds = {_OURS[role]: role for role in _OURS if role in _roles(card)}
    for kind, role in (kinds or {_OURS["encoder"]: "encoder"}).items():
        lines.append(f'{role} = electra_tf.{kind}.from_preset("this_folder")')
    return "\n".join(lines)


def _transformers(card: Card) -> str:
    if card.makes_vectors:
        return (
            "import sentence_transformers\n\n"
            'model = sentence_transformers.SentenceTransformer("this_folder")'
        )
    kinds = _kinds(card)
    lines = ["import transformers", ""]
    for kind in kinds:
        place = f'"this_folder", subfolder="{kind}"'
        if len(kinds) == 1:
            place = '"this_folder"'
        lines.append(f"model = transformers.{_class_of(kind)}.from_pretrained({place})")
    lines.append(f"tokenizer = transformers.AutoTokenizer.from_pretrained({place})")
    return "\n".join(lines)


def _class_of(kind: str) -> str:
    return CLASSES.get(kind, "EncoderDecoderModel")


def _settings(card: Card) -> dict[str, Any]:
    settings = card.origin.get("settings")
    return settings if isinstance(settings, dict) else {}


def _short(values: dict[str, Any]) -> dict[str, Any]:
    """Leaves of paths their last part."""
    return {
        name: os.path.basename(os.path.normpath(value))
        if name in _PATHS and isinstance(value, str) and value
        else value
        for name, value in values.items()
    }


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=math.inf)


def _table(head: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    cells = [list(head), *(list(row) for row in rows)]
    lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in cells]
    lines.insert(1, "|" + "---|" * len(cells[0]))
    return "\n".join(lines)


def _escape(value: Any) -> str:
    """Returns a value as plain text of one line, cut where nobody would read on."""
    text = errors.one_line(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    if len(text) > 200:
        text = f"{text[:200]} ..."
    return re.sub(r"([\\`*_{}\[\]<>()#|~!&])", r"\\\1", text)


def _block(language: str, text: str) -> str:
    """Fences a text with more backticks than it has in a row."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
