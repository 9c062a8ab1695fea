"""BERT's arrays have ELECTRA's names, and the other way round.

In:   the names of a Hugging Face directory of BERT's making.
Out:  the names that the same arrays have in one of ELECTRA's.

The body is the same, with embeddings as wide as the hidden layers. BERT's head for
masked tokens is a generator's. BERT has a dense layer on the state of [CLS] besides,
the pooler, and heads that stand on it: ELECTRA has none of these.
"""

import re
from collections.abc import Collection

# How names begin: BERT's, and ELECTRA's of the same array.
BEGINNINGS = {
    "bert.": "electra.",
    "cls.predictions.transform.": "generator_predictions.",
    "cls.predictions.bias": "generator_lm_head.bias",
    "cls.predictions.decoder.": "generator_lm_head.",
}

# The bias of the output layer, where a file has it twice.
SECOND_BIAS = "generator_lm_head.second_bias"

# What is left out, and what is said of it.
_POOLER = "bert.pooler."
_NEXT_SENTENCE = "cls.seq_relationship."
_HEAD = "classifier."
_NOTES = {
    _POOLER: "its pooler is left out: ELECTRA reads the state of [CLS] as it is",
    _NEXT_SENTENCE: "its head for next sentences is left out",
    _HEAD: "its head is left out, for it stands on the pooler; fine-tune a new one",
}

# Classes of transformers whose classifier reads the pooler.
_ON_POOLER = re.compile("Bert(ForSequenceClassification|ForMultipleChoice)")


def as_electra(names: Collection[str], architecture: str = "") -> dict[str, str]:
    """Returns ELECTRA's names, by BERT's; those that are left out have none.

    Args:
        names: of a file. A bare BertModel saves them without the prefix "bert.".
        architecture: the class of transformers that saved them, where it is known.
    """
    bare = not any(name.startswith("bert.") for name in names)
    inner = ("embeddings.", "encoder.", "pooler.")
    full = {n: f"bert.{n}" if bare and n.startswith(inner) else n for n in names}
    left_out = [_POOLER, _NEXT_SENTENCE]
    has_pooler = any(name.startswith(_POOLER) for name in full.values())
    if _ON_POOLER.fullmatch(architecture) or (
        has_pooler and architecture != "BertForTokenClassification"
    ):
        left_out.append(_HEAD)
    found = {
        name: _renamed(other)
        for name, other in full.items()
        if not other.startswith(tuple(left_out))
    }
    second = "cls.predictions.decoder.bias"
    if "cls.predictions.bias" in found and second in found:
        found[second] = SECOND_BIAS
    return found


def _renamed(name: str) -> str:
    for theirs, ours in BEGINNINGS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def as_bert(name: str) -> str:
    """Returns BERT's name for an array of ELECTRA's."""
    for theirs, ours in BEGINNINGS.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(f"hugging_face_bert: BERT has no {name}")


def notes(left_out: Collection[str]) -> list[str]:
    """Says what was left out, a sentence each."""
    full = [f"bert.{n}" if n.startswith("pooler.") else n for n in left_out]
    return [
        note
        for start, note in _NOTES.items()
        if any(name.startswith(start) for name in full)
    ]
