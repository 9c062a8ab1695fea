"""Texts become summaries: some of their sentences, in the order of the text.

In:   texts, or lists of sentences.
Out:  of each the sentences that tell most of it, and what each group of like sentences
      is about.

The sentences come from rules (`sentences`), their vectors from an encoder
(`sentence_vectors`), the groups from k-means (`clusters`), as in Miller 2019
(arXiv:1906.04165); or, of a preset that learned it, each sentence has a score.
"""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from electra_tf import errors
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    catalog,
    clusters,
    columns,
    inputs,
    keras_hub_presets,
    preprocessor,
    sentence_classifier,
    sentence_vectors,
    text_embedder,
)
from electra_tf.text import sentences
from electra_tf.weights import preset as presets

NUM_SENTENCES = 3  # of a summary, where nothing is said


class Chosen(NamedTuple):
    """A sentence of a summary; it is `document[start:end]`."""

    text: str
    number: int  # among the sentences of the document, from 0
    start: int
    end: int


class Cluster(NamedTuple):
    """Sentences that are alike, and what they are about."""

    number: int  # of the sentence that stands for them
    sentences: list[int]  # all of them
    words: list[clusters.Word]  # that matter, the most important first


class Summary(NamedTuple):
    """What is told of a document."""

    sentences: list[Chosen]
    clusters: list[Cluster]  # none where nothing was left out
    num_sentences: int  # of the document

    @property
    def text(self) -> str:
        """The sentences in one line."""
        return sentences.joined(one.text for one in self.sentences)


class _Document(NamedTuple):
    """Sentences, and where in the text they are."""

    sentences: list[sentences.Sentence]
    wanted: int  # how many the summary has


class ElectraSummarizer:
    """Tells a text by some of its sentences.

    Args:
        model: a task, whose encoder and preprocessor are used; or an
            `ElectraSentenceClassifier`, whose scores are: of the arguments below it
            heeds `min_tokens` alone.
        pooling: see `sentence_vectors.SentenceVectors`.
        layer: see there.
        context: see there.
        keep_first: whether the first sentence is in every summary, and in no group.
        min_tokens: shorter sentences, such as headings, are chosen last; 0 = none is.
        num_words: that are told of each group.
        seed: of k-means.

    Raises:
        UserError: an argument makes no sense.
    """

    def __init__(
        self,
        model: Any,
        *,
        pooling: str = "max",
        layer: int | None = None,
        context: bool = False,
        keep_first: bool = True,
        min_tokens: int = 10,
        num_words: int = 10,
        seed: int = 42,
    ) -> None:
        self.model = model
        self.keep_first, self.min_tokens = keep_first, min_tokens
        self.num_words, self.seed = num_words, seed
        self._encode = model.preprocessor.tokenizer.encode
        self._blank = np.array([model.preprocessor.tokenizer.unk_token_id], np.int32)
        self._vectors = None
        if not isinstance(model, sentence_classifier.ElectraSentenceClassifier):
            self._vectors = sentence_vectors.SentenceVectors(
                model.backbone, model.preprocessor.frame, layer, pooling, context
            )

    @classmethod
    def from_preset(
        cls,
        preset: str,
        network: str | None = None,
        sequence_length: int | None = None,
        **kwargs: Any,
    ) -> Self:
        """Builds the summarizer of weights on disk.

        Args:
            preset: what a task's `from_preset` takes: any encoder, or a sentence
                classifier, fine-tuned.
            network: whose encoder, where a preset has several: discriminator, encoder
                or generator; None = the first of these that is there.
            sequence_length: most tokens of a row; None = 512, or the position table
                where that is shorter.
            **kwargs: arguments of the constructor.

        Raises:
            UserError: nothing is there that can be opened, or not that network.
        """
        errors.refuse_unknown(f"{cls.__name__}.from_preset", kwargs, _arguments(cls))
        rows: dict[str, Any]
        rows = {} if sequence_length is None else {"sequence_length": sequence_length}
        if network is None:
            learned = sentence_classifier.ElectraSentenceClassifier
            is_learned = catalog.class_of(preset) is learned
            kind: Any = learned if is_learned else text_embedder.ElectraTextEmbedder
            return cls(kind.from_preset(preset, **rows), **kwargs)
        source = keras_hub_presets.open_any(catalog.locate(preset))
        name = presets.choose(source, (network,))
        if name is None:
            raise errors.UserError(
                f"{preset} has no {network}; it has {', '.join(source.networks)}"
            )
        encoder = backbones.ElectraBackbone.from_model_config(source.networks[name])
        backbones.take_weights(encoder, encoder, source, name)
        before = preprocessor.ElectraTextPreprocessor.from_preset(preset, **rows)
        return cls(text_embedder.ElectraTextEmbedder(encoder, before), **kwargs)

    def summarize(
        self, x: Any, num_sentences: int | None = None, ratio: float | None = None
    ) -> Any:
        """Returns a summary of each text.

        Args:
            x: a text; or several, as a list or a column, each a string, or a list of
                its sentences.
            num_sentences: of a summary; None = 3, or what a sentence classifier says,
                unless there is a ratio. A text that has no more comes back whole.
            ratio: of the sentences of a text, rounded down, but at least one.

        Returns:
            A `Summary`; of several texts, a list of them.

        Raises:
            UserError: there are both numbers, or one makes no sense; something is no
                text.
        """
        check_length(num_sentences, ratio)
        texts = [x] if isinstance(x, str | bytes) else columns.values(x, "inputs")
        usual: int = getattr(self.model, "num_sentences", NUM_SENTENCES)
        usual = num_sentences or usual
        documents = [
            _document(text, number, usual, ratio) for number, text in enumerate(texts)
        ]
        found = [_whole(document) for document in documents]
        long = [
            place
            for place, document in enumerate(documents)
            if len(document.sentences) > document.wanted
        ]
        shortened = self._shortened([documents[place] for place in long])
        for place, summary in zip(long, shortened, strict=True):
            found[place] = summary
        return found[0] if isinstance(x, str | bytes) else found

    def _shortened(self, documents: list[_Document]) -> list[Summary]:
        """Summarizes documents of which something is left out."""
        if not documents:
            return []
        texts = [[one.text for one in document.sentences] for document in documents]
        ids = [[self._ids(text) for text in sentences] for sentences in texts]
        longs = [
            _candidates(*both, self.min_tokens) for both in zip(texts, ids, strict=True)
        ]
        if self._vectors is None:
            scores = self.model.predict(texts)
            return [
                _summary(document, _best(document.wanted, score, long), [])
                for document, score, long in zip(documents, scores, longs, strict=True)
            ]
        return [
            self._grouped(document, vectors, long)
            for document, vectors, long in zip(
                documents, self._vectors(ids), longs, strict=True
            )
        ]

    def _ids(self, text: str) -> inputs.Ids:
        ids = self._encode(text)
        return ids if len(ids) else self._blank

    def _grouped(
        self, document: _Document, vectors: sentence_vectors.Vectors, long: list[int]
    ) -> Summary:
        kept = long[: int(self.keep_first)]
        rest = long[len(kept) :]
        count = min(document.wanted - len(kept), len(rest))
        groups = []
        if count > 0:
            for one in clusters.group(vectors[rest], count, self.seed):
                members = [rest[row] for row in one.members]
                groups.append(clusters.Group(rest[one.chosen], members, one.nearness))
        chosen = [*kept, *(one.chosen for one in groups)]
        others = [place for place in long if place not in chosen]
        others += [place for place in range(len(vectors)) if place not in long]
        chosen += others[: document.wanted - len(chosen)]
        texts = [one.text for one in document.sentences]
        words = clusters.words(texts, groups, self.num_words)
        told = [
            Cluster(one.chosen, one.members, said)
            for one, said in zip(groups, words, strict=True)
        ]
        return _summary(document, chosen, told)


def check_length(num_sentences: int | None, ratio: float | None) -> None:
    """Refuses lengths of summaries that make no sense.

    Raises:
        UserError: they do not.
    """
    if num_sentences is not None and ratio is not None:
        raise errors.UserError(
            f"num_sentences={num_sentences} and ratio={ratio}: say one of them"
        )
    if num_sentences is not None and num_sentences < 1:
        raise errors.UserError(f"num_sentences={num_sentences}: want 1 or more")
    if ratio is not None and not 0 < ratio <= 1:
        raise errors.UserError(f"ratio={ratio}: want a share, above 0 and up to 1")


def _document(text: Any, number: int, count: int, ratio: float | None) -> _Document:
    """Cuts a text into sentences, and says how many of them to take."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    if isinstance(text, str):
        found = sentences.split(text)
    elif isinstance(text, list | tuple) and all(isinstance(one, str) for one in text):
        found = _given(text)
    else:
        raise errors.UserError(
            f"input {number} is {text!r:.60}, a {type(text).__name__}; want a text, or "
            "a list of its sentences"
        )
    if ratio is not None:
        count = max(1, int(len(found) * ratio + 1e-9))  # 0.29 * 100 is below 29.
    return _Document(found, count)


def _given(texts: Sequence[str]) -> list[sentences.Sentence]:
    """Places sentences in the text that they make with a blank between them."""
    found, start = [], 0
    for text in texts:
        if text.strip():
            end = start + len(text)
            found.append(sentences.Sentence(" ".join(text.split()), start, end))
        start += len(text) + 1
    return found


def _candidates(texts: list[str], ids: list[inputs.Ids], least: int) -> list[int]:
    """Returns which sentences are long enough, of equal ones the first."""
    first: dict[str, int] = {}
    for place, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
        if len(tokens) >= least:
            first.setdefault(text.casefold(), place)
    return list(first.values())


def _best(count: int, scores: Any, long: list[int]) -> list[int]:
    """Returns the sentences with the highest scores; short ones after others."""
    is_short = np.ones(len(scores), bool)
    is_short[long] = False
    found: list[int] = np.lexsort((-np.asarray(scores), is_short))[:count].tolist()
    return found


def _summary(document: _Document, chosen: list[int], told: list[Cluster]) -> Summary:
    places = sorted(chosen)
    found = [
        Chosen(one.text, place, one.start, one.end)
        for place, one in ((place, document.sentences[place]) for place in places)
    ]
    return Summary(found, told, len(document.sentences))


def _whole(document: _Document) -> Summary:
    return _summary(document, [*range(len(document.sentences))], [])


def _arguments(cls: type[ElectraSummarizer]) -> list[str]:
    return [*inspect.signature(cls.__init__).parameters][2:]
