"""Makes pairs of sentences from papers: near each other, or of two papers.

    python scripts/make_vector_pairs.py aclsum pairs

Reads train.jsonl and dev.jsonl of aclsum. Writes train.tsv and dev.tsv of each:
`similarity/`, columns text, text_pair, label (2 neighbours, 1 of the same paper, 0 of
two), and `retrieval/`, columns text, text_pair (a sentence and the one after it).
"""

import itertools
import json
import pathlib
import random
import sys

PAIRS = {"train": 6000, "dev": 2000}  # of each kind of label together
WORDS = 6  # A sentence has as many or more.


def main(source: pathlib.Path, output: pathlib.Path) -> None:
    """Writes both folders."""
    for split, count in PAIRS.items():
        chance = random.Random(7)
        lines = (source / f"{split}.jsonl").read_text("utf-8").splitlines()
        papers = [read_sentences(json.loads(line)) for line in lines]
        papers = [paper for paper in papers if len(paper) > 3]
        near = [pair for paper in papers for pair in itertools.pairwise(paper)]
        write(output / "retrieval" / f"{split}.tsv", [(a, b) for a, b in near])
        rows = []
        for number in range(count):
            one, other = chance.sample(papers, 2)
            label = number % 3
            if label == 2:
                pair = chance.choice(near)
            elif label == 1:
                pair = tuple(chance.sample(one, 2))
            else:
                pair = chance.choice(one), chance.choice(other)
            rows.append((*pair, str(label)))
        write(output / "similarity" / f"{split}.tsv", rows)


def read_sentences(paper: dict) -> list[str]:
    """Returns the sentences of a paper that are no headings or scraps."""
    parts = paper["sentences"]
    texts = [text for part in parts.values() for text in part]
    texts = [" ".join(text.split()) for text in texts]
    return [text for text in texts if len(text.split()) >= WORDS]


def write(path: pathlib.Path, rows: list[tuple[str, ...]]) -> None:
    """Writes a table of two or three columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ("text", "text_pair", "label")[: len(rows[0])]
    text = "".join("\t".join(row) + "\n" for row in [header, *rows])
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]))
