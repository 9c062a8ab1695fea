"""Texts become other texts: translations, summaries, headlines.

In:   inputs str; labels tuples of str, all that would be right.
Out:  {"generated", "score"}, and with generate.num_best {"n_best"}, such objects. The
      score is that of a beam, 0 where the likeliest token was always taken.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from electra_tf.datasets import dataset, table_targets, tables, text_metrics
from electra_tf.kinds import classification, columns, kind
from electra_tf.system import durable

# Examples that a page shows beside their references.
SAMPLES = 12


class Seq2Seq(kind.Kind):
    """Writes texts."""

    name = "seq2seq"
    task = "ElectraSeq2Seq"
    readers: ClassVar = {"seq2seq": table_targets.read_seq2seq}
    fields = ("source",)
    signature = kind.Signature(
        frozenset({"text"}), frozenset({"generated", "n_best", "scores"})
    )
    epochs = 10
    hint = ": a decoder learns from many thousands of pairs, and over many epochs"
    hands_in_all = True
    hardest = "that have least of their references"

    def example(self, names: columns.Columns, row: tables.Row) -> Any:
        """Reads a source, of the column text where there is none."""
        found = names.name("source", row), names.name("text", row)
        name = found[1] if found[1] in row and found[0] not in row else found[0]
        names.check(row, name, "source_column")
        return table_targets.get_text(row, name)

    def show(self, example: Any) -> dict[str, Any]:
        """Returns the source."""
        return {"source": example}

    def answer(
        self, model: Any, examples: list[Any], batch_size: int
    ) -> list[kind.Answer]:
        """Returns the best text, and where several are wanted, those."""
        options = model.stated_generation()
        wanted = options.pop("num_best", None)
        count = wanted or 1
        encode = model.preprocessor.tokenizer.encode
        # Of nothing, nothing comes.
        places = [place for place, text in enumerate(examples) if len(encode(text))]
        found: list[list[tuple[str, float]]] = [[("", 0.0)] * count for _ in examples]
        if places:
            written = model.generate(
                [examples[place] for place in places],
                batch_size=batch_size,
                num_best=count,
                **options,
            )
            for place, one in zip(places, written, strict=True):
                found[place] = [(text, score) for text, score in one]
        return [_answer(one, wanted is not None) for one in found]

    def request(self, example: Any) -> dict[str, Any]:
        """Asks for the source."""
        return {"text": kind.sendable(example)}

    def response(self, said: kind.Answer, example: Any) -> kind.Answer:
        """Returns the same of a server's answer."""
        pairs = [*zip(said["n_best"], said["scores"], strict=True)]
        return _answer(pairs, len(pairs) > 1)

    def keeps_head(
        self, model: Any, labels: Sequence[str], train: Sequence[Any]
    ) -> bool:
        """Keeps the decoder, always: it goes on to learn."""
        return True

    def lessons(
        self, inputs: list[Any], labels: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """Returns a pair for each target."""
        pairs = [
            (source, target)
            for source, targets in zip(inputs, labels, strict=True)
            for target in targets
        ]
        return [source for source, _ in pairs], [target for _, target in pairs]

    def values(self, split: dataset.Split, answers: Sequence[kind.Answer]) -> Any:
        """Returns one text per example."""
        return [one["generated"] for one in answers]

    def guess(self, train: Sequence[Any], dev: dataset.Split) -> Any:
        """Says the commonest target."""
        return [classification.most_common(train)] * len(dev.ids)

    def signatures(self, split: dataset.Split, values: Any) -> dict[str, str]:
        """Returns what else decides on BLEU, chrF and ROUGE."""
        return text_metrics.measure(values, split.labels or []).signatures

    # Files and pages.

    def show_label(self, label: Any) -> Any:
        """Returns a text; several, as a list."""
        return label[0] if len(label) == 1 else list(label)

    def hand_in(
        self,
        folder: str,
        data: dataset.Dataset,
        name: str,
        split: dataset.Split,
        answers: Sequence[kind.Answer],
    ) -> None:
        """Writes what sacrebleu reads: a text a line, and the references'."""
        files = {f"{name}.hyp": self.values(split, answers)}
        if split.labels is not None:
            most = max(map(len, split.labels))
            files |= {
                f"{name}.ref{place or ''}": [
                    label[place] if place < len(label) else "" for label in split.labels
                ]
                for place in range(most)
            }
        for file, texts in files.items():
            lines = (f"{' '.join(text.split())}\n" for text in texts)
            durable.write_text(f"{folder}/{file}", "".join(lines))

    def judge(self, row: kind.Row) -> tuple[float, str] | None:
        """Tells by how little a text has of what was wanted."""
        right = references(row)
        if row["generated"] in right:
            return None
        near = text_metrics.chrf_of(row["generated"], right)
        said = f"{row['generated']} (chrF {near:.1f}), right: {' / '.join(right)}"
        return 100.0 - near, said

    def page_tables(self, rows: Sequence[kind.Row]) -> list[kind.Table]:
        """Returns texts beside their references, and the scores of copies."""
        right = [references(row) for row in rows]
        copies = text_metrics.measure([row["source"] for row in rows], right)
        written = text_metrics.measure([row["generated"] for row in rows], right)
        every = max(1, len(rows) // SAMPLES)
        return [
            kind.Table(
                "Samples",
                ["", "source", "reference", "written"],
                [
                    [
                        str(row["id"]),
                        row["source"],
                        " / ".join(right[place]),
                        row["generated"],
                    ]
                    for place, row in [*enumerate(rows)][::every][:SAMPLES]
                ],
                "texts",
            ),
            kind.Table(
                "Beside copies of the sources, from 0 to 100",
                ["", "written", "copied", "signature"],
                [
                    [
                        name,
                        f"{written.scores[name]:.2f}",
                        f"{copies.scores[name]:.2f}",
                        written.signatures["rouge" if "rouge" in name else name],
                    ]
                    for name in text_metrics.NAMES
                ],
            ),
        ]

    def page_texts(self, row: kind.Row) -> Iterator[str]:
        """Yields the source; what was written is said beside it."""
        yield row["source"]


def references(row: kind.Row) -> list[str]:
    """Returns all that would be right."""
    gold = row["gold"]
    return [gold] if isinstance(gold, str) else list(gold)


def _answer(pairs: Sequence[tuple[str, float]], several: bool) -> kind.Answer:
    """Makes an answer of texts and their scores, the best first."""
    found = [{"generated": text, "score": float(score)} for text, score in pairs]
    return {**found[0], **({"n_best": found} if several else {})}


KIND = Seq2Seq()
