"""Kinds by their names; and one more, made here, that all commands work with."""

import ast
import json
import statistics
import subprocess
import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np

from electra_tf.datasets import dataset, metrics
from electra_tf.finetuning import evaluator, finetuner, predictor, task_config
from electra_tf.kinds import kind, registry
from electra_tf.tasks import catalog, task, text_classifier

# A kind of one's own: how many times a letter stands in a text.


@keras.saving.register_keras_serializable(package="tests")
class Counter(task.ElectraTask, keras_hub.models.Task):
    kind = "counting"

    def __init__(self, backbone, preprocessor=None, letter="?", **kwargs):
        self.backbone, self.preprocessor, self.letter = backbone, preprocessor, letter
        head = keras.layers.Dense(1, name="count_head")
        super().__init__(
            inputs=backbone.input, outputs=head(backbone.first_state), **kwargs
        )

    def targets(self, y, rows):
        return np.array(y, np.float32)[rows.source, None]

    def default_loss(self):
        return keras.losses.MeanSquaredError()

    def get_config(self):
        return {**super().get_config(), "letter": self.letter}


def read_counts(folder, *, ending: str = "txt"):
    """Reads files of lines such as "3 banana"."""
    splits = {}
    for name in ("train", "dev"):
        file = Path(folder) / f"{name}.{ending}"
        rows = [line.split(" ", 1) for line in file.read_text().splitlines()]
        splits[name] = dataset.Split(
            ids=[str(number) for number in range(len(rows))],
            inputs=[text for _, text in rows],
            labels=[float(count) for count, _ in rows],
            source=str(file),
        )
    return dataset.Dataset(
        "counts", "counting", ("a",), splits, metric="pearson", score=score_counts
    )


def score_counts(predictions, split):
    return {"pearson": metrics.pearson(split.labels, predictions)}


class Counting(kind.Kind):
    name = "counting"
    task = Counter
    readers = {"count_letters": read_counts}  # noqa: RUF012
    fields = ("word",)

    def example(self, names, row):
        return names.text(row, "word")

    def show(self, example):
        return {"word": example}

    def answer(self, model, examples, batch_size):
        found = model.predict(examples, batch_size)
        return [{"count": float(one), "of": model.letter} for (one,) in found]

    def head(self, labels):
        return {"letter": labels[0]}

    def values(self, split, answers):
        return [one["count"] for one in answers]

    def guess(self, train, dev):
        return [statistics.fmean(train)] * len(dev.ids)

    def judge(self, row):
        apart = abs(row["count"] - row["gold"])
        return (
            (apart, f"{row['count']:.2f} of {row['gold']:g}") if apart > 0.5 else None
        )

    def page_tables(self, rows):
        return [kind.Table("Counts", ["", "right"], [[r["word"], "1"] for r in rows])]


def test_a_kind_of_ones_own_is_learned_evaluated_and_predicted(
    tiny_preset, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(registry.KINDS, "counting", Counting())
    data, workdir = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    texts = [" ".join(["a"] * (n % 4) + ["the"] * (n % 3)) + " cat" for n in range(24)]
    lines = "".join(f"{text.split().count('a')} {text}\n" for text in texts)
    for name in ("train", "dev"):
        (data / f"{name}.txt").write_text(lines)
    settings = task_config.FinetuneConfig(
        train={"epochs": 12, "batch_size": 6, "learning_rate": 1e-2}
    )
    finetuner.run(
        settings, tiny_preset, ["count_letters"], [str(data)], str(workdir), print
    )
    assert "Counts on dev" in (workdir / "report.html").read_text()
    (first, *_) = (workdir / "predictions/dev.jsonl").read_text().splitlines()
    assert json.loads(first).keys() == {"id", "word", "gold", "count", "of"}

    settings = task_config.FinetuneConfig()
    found = evaluator.evaluate(str(workdir), None, str(data), "dev", settings)
    assert found["pearson"] > 0.9

    source = tmp_path / "new.jsonl"
    source.write_text('{"word": "cat", "id": "x"}\n{"word": "a a a cat", "id": "y"}\n')
    capsys.readouterr()
    predictor.predict(str(workdir), settings, source=str(source))
    none, three = map(json.loads, capsys.readouterr().out.splitlines())
    assert none["of"] == three["of"] == "a"
    assert three["count"] - none["count"] > 1.5
    assert [none["id"], three["word"]] == ["x", "a a a cat"]


def test_every_task_has_a_kind_and_every_kind_its_task():
    classes = {one.model_class() for one in registry.KINDS.values()}
    assert classes == {*catalog.classes()}
    for one in classes - {text_classifier.ElectraTextClassifier}:
        assert registry.KINDS[one.kind].model_class() is one


def test_a_classifiers_kind_is_whether_it_says_one_class_or_several(tiny_backbone):
    for several, name in ((False, "classification"), (True, "multi_label")):
        model = text_classifier.ElectraTextClassifier(
            tiny_backbone, 2, multi_label=several
        )
        assert registry.of_model(model) is registry.KINDS[name]


def test_a_task_is_read_by_one_kind_alone():
    count = sum(len(one.readers) for one in registry.KINDS.values())
    assert count == len(registry.readers()) == 26
    assert registry.learned_options("squad") == {"null_threshold"}
    assert registry.learned_options("cola") == registry.learned_options(None) == set()


def test_kinds_are_known_without_what_takes_long_to_load():
    code = "import electra_tf.kinds.registry, sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {*found.stdout.split()}
    assert not {"tensorflow", "keras", "scipy", "sklearn"} & loaded


def test_commands_compare_no_names_of_kinds():
    package = Path(registry.__file__).parents[1]
    files = [*package.glob("[a-z]*.py"), *package.glob("finetuning/*.py")]
    files += package.glob("release/*.py")
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare | ast.Dict | ast.Subscript):
                said = {one.value for one in ast.walk(node) if is_text(one)}
                assert not said & registry.KINDS.keys(), (file.name, node.lineno)


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
