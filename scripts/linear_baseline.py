r"""Scores a linear model on n-grams of characters: what a preset has to beat.

    python scripts/linear_baseline.py --task=text_classification --data=texts/ \
        --options='{"text_column": "sentence"}'
    python scripts/linear_baseline.py --task=conll --data=names/

Learns from train and prints the metrics of dev, by the same readers and metrics as
`finetune`. Texts: TF-IDF of all n-grams of 1 to `--longest` characters, logistic
regression. Tags: the n-grams around each word, each with its place, and the same
classifier for each word by itself. No part of it knows a language, and it takes no GPU.
"""

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from sklearn import feature_extraction, linear_model

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from electra_tf import errors  # noqa: E402
from electra_tf.kinds import registry  # noqa: E402

_AROUND = 2  # words on each side that a tag goes by
_BUCKETS = 1 << 20  # features of a word share these


def main() -> None:
    """Learns, and prints what it reached as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--task", required=True, help="as finetune's")
    parser.add_argument("--data", required=True, help="as finetune's")
    parser.add_argument("--longest", type=int, default=3, help="characters or words")
    parser.add_argument(
        "--options", type=json.loads, default={}, help="data.options, as JSON"
    )
    parser.add_argument("--max_train_examples", type=int, default=None)
    arguments = parser.parse_args()
    try:
        print(json.dumps(score(**vars(arguments))))
    except errors.UserError as error:
        sys.exit(f"error: {error}")


def score(
    task: str,
    data: str,
    longest: int = 3,
    options: dict[str, Any] | None = None,
    max_train_examples: int | None = None,
) -> dict[str, float]:
    """Returns the metrics of dev."""
    found = registry.read(task, data, **options or {})
    train, dev = found.splits["train"], found.splits["dev"]
    if train.labels is None or dev.labels is None:
        raise errors.UserError(f"{data}: want labels in train and in dev")
    inputs, labels = train.inputs, train.labels
    if max_train_examples is not None:
        inputs, labels = inputs[:max_train_examples], labels[:max_train_examples]
    learn = {"classification": of_texts, "tagging": of_words}.get(found.kind)
    if learn is None:
        raise errors.UserError(f"--task={task}: want one of texts' classes, or of tags")
    values = learn(inputs, labels, dev.inputs, longest)
    return dict(found.score(values, dev))


def of_texts(
    texts: Sequence[Any], labels: Sequence[str], asked: Sequence[Any], longest: int
) -> list[str]:
    """Returns a class for each text asked."""
    grams = feature_extraction.text.TfidfVectorizer(
        analyzer="char", ngram_range=(1, longest), min_df=2, sublinear_tf=True
    )
    known = grams.fit_transform(map(_joined, texts))
    model = linear_model.LogisticRegression(C=10.0, max_iter=1000)
    model.fit(known, labels)
    said: list[str] = model.predict(grams.transform(map(_joined, asked))).tolist()
    return said


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def of_words(
    sentences: Sequence[Sequence[str]],
    tags: Sequence[Sequence[str]],
    asked: Sequence[Sequence[str]],
    longest: int,
) -> list[list[str]]:
    """Returns a tag for each word of the sentences asked."""
    model = linear_model.SGDClassifier(
        loss="log_loss", alpha=1e-6, max_iter=8, tol=None, average=True, random_state=0
    )
    model.fit(_features(sentences, longest), [tag for line in tags for tag in line])
    said = iter(model.predict(_features(asked, longest)).tolist())
    return [[next(said) for _ in line] for line in asked]


def _features(sentences: Sequence[Sequence[str]], longest: int) -> Any:
    """Returns the n-grams around each word, a row each, by hash."""
    rows: list[np.ndarray] = []
    known: dict[str, int] = {}
    places = [
        (start, size)
        for size in range(1, longest + 1)
        for start in range(-_AROUND, _AROUND + 2 - size)
    ]
    for sentence in sentences:
        edge = ["<>"] * (_AROUND + longest)
        padded = [*edge, *sentence, *edge]
        found = np.empty((len(sentence), len(places)), np.int64)
        for column, (start, size) in enumerate(places):
            for row in range(len(sentence)):
                first = row + len(edge) + start
                gram = f"{start} " + " ".join(padded[first : first + size])
                if gram not in known:
                    known[gram] = zlib.crc32(gram.encode()) % _BUCKETS
                found[row, column] = known[gram]
        rows.append(found)
    columns = np.concatenate(rows)
    ends = np.arange(len(columns) + 1) * columns.shape[1]
    ones = np.ones(columns.size, np.float32)
    return scipy.sparse.csr_matrix(
        (ones, columns.ravel(), ends), shape=(len(columns), _BUCKETS)
    )


if __name__ == "__main__":
    main()
