"""Lines of text become scores: how odd a network finds each.

In:   documents, lists of lines.
Out:  of each line the number of its tokens, and its scores.

An energy network and a discriminator score all tokens in one pass. A masked language
model would need a pass a token (`ElectraScorer`); here every `passes`-th token is
hidden at a time, so that each is guessed once, from a row with as many gaps as those
of pre-training.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from electra_tf import errors
from electra_tf.cleaning import clean_config
from electra_tf.tasks import inputs, keras_hub_presets, scorer
from electra_tf.weights import preset

# Who scores, as the settings name them -> the way of `ElectraScorer`; in the order in
# which they are looked for.
_WAYS = {"energy": "energy", "discriminator": "replaced", "generator": "masking"}

_SEQUENCE_LENGTH = 128


class Line(NamedTuple):
    """The scores of a line."""

    num_tokens: int
    surprise: float  # nats a token, on average; 0 of a line without any
    replaced: float | None  # share of the tokens; None if nobody tells


Floats = npt.NDArray[np.float64]


class Judge:
    """Scores documents."""

    def __init__(self, origin: str, settings: clean_config.ScoreConfig) -> None:
        """Opens the network.

        Raises:
            UserError: the preset has none that can score.
        """
        source = keras_hub_presets.open_any(keras_hub_presets.locate(origin))
        self.network = _choose(source, settings.network)
        length = _length(source, settings)
        self._scorer = scorer.ElectraScorer.from_pretrained(
            source,
            way=_WAYS[self.network],
            long_texts="windows",
            sequence_length=length,
        )
        self._settings = settings

    def fingerprint(self) -> str:
        """Returns what tells these weights from others, SHA-256 in hex."""
        digest = hashlib.sha256()
        for variable in self._scorer.weights:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()

    def judge(self, documents: Sequence[Sequence[str]]) -> list[list[Line]]:
        """Scores each line of some documents."""
        if not self._settings.context:
            lines = [line for document in documents for line in document]
            found = iter(self._of_texts(lines))
            return [[self._line(next(found)[1]) for _ in one] for one in documents]
        scored = self._of_texts(["\n".join(document) for document in documents])
        return [
            [self._line(part) for part in _by_line(document, starts, values)]
            for document, (starts, values) in zip(documents, scored, strict=True)
        ]

    def _of_texts(self, texts: Sequence[str]) -> list[tuple[Floats, Floats]]:
        """Returns of each text where its tokens start, and their scores, nats."""
        task, size = self._scorer, self._settings.batch_size
        rows = task.rows(texts)
        if task.way == "masking":
            outputs = self._guessed(rows)
        else:
            outputs = task.outputs_of(rows, size)
        starts = [
            np.array([start for start, _ in places], np.float64)
            for _, places in rows.notes
        ]
        scores = [
            np.asarray(one, np.float64).reshape(-1)
            for one in inputs.gather(rows, outputs)
        ]
        return list(zip(starts, scores, strict=True))

    def _guessed(self, rows: inputs.Rows) -> list[npt.NDArray[np.float32]]:
        """Returns how likely a masked language model finds each token of each row."""
        mask = self._scorer.preprocessor.tokenizer.mask_token_id
        scores = [np.zeros(len(ids), np.float32) for ids in rows.token_ids]
        for first in range(1, self._settings.passes + 1):
            places = [
                np.arange(first, len(ids) - 1, self._settings.passes, dtype=np.int32)
                for ids in rows.token_ids
            ]
            chosen = [row for row, at in enumerate(places) if at.size]
            if not chosen:
                continue
            hidden = []
            for row in chosen:
                ids = rows.token_ids[row].copy()
                ids[places[row]] = mask
                hidden.append(ids)
            found = self._scorer.outputs_of(
                rows._replace(
                    token_ids=hidden,
                    segment_ids=[rows.segment_ids[row] for row in chosen],
                ),
                self._settings.batch_size,
                {
                    "mask_positions": [places[row] for row in chosen],
                    "mask_ids": [rows.token_ids[row][places[row]] for row in chosen],
                },
            )
            for row, one in zip(chosen, found, strict=True):
                scores[row][places[row]] = one[: places[row].size]
        return scores

    @property
    def tells_replaced(self) -> bool:
        """Whether lines have the share of tokens that are taken for replaced."""
        return self.network == "discriminator"

    def _line(self, values: Floats) -> Line:
        """Returns the scores of a line that this network tells, by its tokens'."""
        replaced = float(np.mean(values < math.log(0.5))) if values.size else 0.0
        surprise = float(-values.mean()) if values.size else 0.0
        return Line(values.size, surprise, replaced if self.tells_replaced else None)


def _choose(source: preset.Pretrained, wanted: str) -> str:
    roles = {"energy": "energy", "discriminator": "discriminator"}
    there = [
        name for name in _WAYS if preset.find(source, roles.get(name, "generator"))
    ]
    if wanted == "auto" and there:
        return there[0]
    if wanted in there:
        return wanted
    has = ", ".join(source.networks)
    if not there:
        raise errors.UserError(
            f"{source.folder} has no network that can tell odd text; it has {has}: "
            "take what pre-training leaves, or a masked language model of others"
        )
    raise errors.UserError(
        f"score.network={wanted}: {source.folder} has {has}; take "
        f"{' or '.join(there)}, or auto"
    )


def _length(source: preset.Pretrained, settings: clean_config.ScoreConfig) -> int:
    most = min(model.max_positions for model in source.networks.values())
    if settings.sequence_length is None:
        return min(_SEQUENCE_LENGTH, most)
    if settings.sequence_length > most:
        raise errors.UserError(
            f"score.sequence_length={settings.sequence_length}: the position table of "
            f"{source.folder} has {most} rows; set {most} or less"
        )
    return settings.sequence_length


def _by_line(document: Sequence[str], starts: Floats, values: Floats) -> list[Floats]:
    """Deals the tokens of a document to its lines, by where they start."""
    ends = np.cumsum([len(line) + 1 for line in document])
    cuts = np.searchsorted(starts, ends)
    return np.split(values, cuts[:-1])
