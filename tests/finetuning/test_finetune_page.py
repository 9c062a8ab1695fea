import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from electra_tf import errors
from electra_tf.finetuning import finetune_page, trials

VOID = {"meta", "br", "circle", "path", "rect"}


class _Reader(html.parser.HTMLParser):
    """Checks that tags nest; keeps the text and the tags."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.texts = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID and tag not in ("li",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in ("li",):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(page):
    reader = _Reader()
    reader.feed(Path(page).read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture
def workdir(tmp_path):
    """The workdir of two trials of a made-up task with hostile names."""

    def make(kind, labels, rows, failures=()):
        folder = tmp_path / "run<b>"
        (folder / "predictions").mkdir(parents=True)
        for number in (1, 2):
            scores = {"mine": {"dev": {"accuracy": 0.25 * number}}}
            records = [
                {"step": 3, "split": "train", "loss": 0.7},
                {"step": 6, "split": "train", "loss": 0.6 / number},
                {"step": 6, "split": "validation", "accuracy": 0.25 * number},
            ]
            failed = list(failures) if number == 1 else []
            trial = trials.Trial(number, 40 + number, scores, records, 2.0, failed)
            trials.write(str(folder), trial)
        about = {
            "task": "mine",
            "kind": kind,
            "metric": "accuracy",
            "labels": labels,
            "train_examples": 1234,
            "splits": {"dev": len(rows), "test": 1},
            "guessing": 0.125,
        }
        told = trials.summarize(trials.read(str(folder)), {"mine": ("dev", "accuracy")})
        values = {"preset": "p<i>", "tasks": {"mine": about}, **told}
        (folder / "metrics.json").write_text(json.dumps(values))
        lines = "".join(
            json.dumps({"id": n, **row}) + "\n" for n, row in enumerate(rows)
        )
        (folder / "predictions" / "dev.jsonl").write_text(lines)
        (folder / "predictions" / "test.jsonl").write_text('{"id": 0, "text": "x"}\n')
        output = folder / "report.html"
        finetune_page.write_report(str(folder), str(output), 2)
        return read(output), "".join(read(output).texts)

    return make


def class_row(gold, label, score, text):
    return {"text": text, "gold": gold, "label": label, "score": score}


CLASS_ROWS = [
    class_row("a", "a", 0.9, "right"),
    class_row("a", "<b>", 0.6, "less sure"),
    class_row("<b>", "a", 0.8, "surest <script>alert(1)</script>"),
    class_row("a", "<b>", 0.7, "second"),
]


def test_a_run_shows_numbers_curves_matrix_mistakes_and_settings(tiny_tuned):
    text = (tiny_tuned[0] / "report.html").read_text(encoding="utf-8")
    page = read(tiny_tuned[0] / "report.html")
    shown = "".join(page.texts)
    for part in (
        "24 train, 9 dev, 5 test",
        "trial 2, seed 43",
        "train.epochs",
        "1.0000",
    ):
        assert part in shown
    assert text.count("<figure") == 4  # The loss and three metrics.
    assert "Confusion on dev" in shown
    assert "Hardest mistakes" not in shown  # There are none.
    assert not re.search(r"(src|href)=", text)  # No other file, no network.


def test_metrics_and_trials_that_failed_are_told(workdir):
    _, shown = workdir("classification", ["a", "<b>"], CLASS_ROWS, ["all are 'a' <b>"])
    for part in ("best (trial 2)", "0.3750", "0.5000", "always the same answer0.1250"):
        assert part in shown.replace("\n", "")
    assert "Trial 1, seed 41: all are 'a' <b>" in shown


def test_mistakes_are_the_surest_first_and_escaped(workdir):
    page, shown = workdir("classification", ["a", "<b>"], CLASS_ROWS)
    assert "3 of 4 are wrong; the 2 that the model was surest of" in shown
    assert shown.index("surest <script>alert(1)") < shown.index("second")
    assert "less sure" not in shown
    assert "a (0.800), right: <b>" in shown
    scripts = [tag for tag, _ in page.seen if tag == "script"]
    assert len(scripts) == 1


def test_several_classes_have_a_table_and_the_surest_errors(workdir):
    rows = [
        {
            "text": "one",
            "gold": ["a"],
            "labels": ["a", "<b>"],
            "scores": {"a": 0.9, "<b>": 0.8},
        },
        {"text": "two", "gold": ["a"], "labels": [], "scores": {"a": 0.1, "<b>": 0.2}},
        {"text": "three", "gold": [], "labels": [], "scores": {"a": 0.1, "<b>": 0.2}},
    ]
    _, shown = workdir("multi_label", ["a", "<b>"], rows)
    assert "Classes on dev" in shown
    assert "2 of 3 are wrong" in shown
    assert shown.index("also a (0.100)") < shown.index("not <b> (0.800)")
    assert "Confusion" not in shown


def test_the_matrix_counts_right_against_predicted(workdir):
    page, shown = workdir("classification", ["a", "<b>"], CLASS_ROWS)
    assert "a taken for <b>: 2, 66.7% of 3" in shown
    assert "<b> taken for a: 1, 100.0% of 1" in shown
    assert len([tag for tag, _ in page.seen if tag == "rect"]) == 4


def test_the_shade_is_the_share_of_the_row():
    drawn = finetune_page.draw_matrix(["x", "longer name"], np.array([[3, 1], [0, 0]]))
    assert re.findall(r"--p:([\d.]+)", drawn) == ["0.750", "0.250", "0.000", "0.000"]
    assert "rotate(90)" in drawn
    assert "rotate" not in finetune_page.draw_matrix(["x", "y"], np.eye(2, dtype=int))


def test_numbers_that_are_farthest_off_come_first(workdir):
    rows = [
        {"text": "a", "text_pair": "b", "gold": 1.0, "value": 1.0},
        {"text": "near", "text_pair": "c", "gold": 1.0, "value": 1.5},
        {"text": "far", "text_pair": "d", "gold": 5.0, "value": -1.0},
    ]
    _, shown = workdir("regression", [], rows)
    assert "-1.000, right: 5" in shown
    assert shown.index("far") < shown.index("near")
    assert "Confusion" not in shown


def test_wrong_tags_stand_beside_their_words(workdir):
    rows = [
        {
            "words": ["Ann", "ran"],
            "gold": ["B-X", "O"],
            "tags": ["O", "O"],
            "scores": [0.9, 0.8],
        },
        {"words": ["x"], "gold": ["O"], "tags": ["O"], "scores": [0.5]},
    ]
    _, shown = workdir("tagging", ["O", "B-X"], rows)
    assert "Ann [B-X, not O] ran" in shown
    assert "1 of 2 tags are wrong" in shown
    assert "B-X taken for O: 1" in shown


def test_answers_are_judged_as_scores_are(workdir):
    row = {"question": "q", "context": "c", "score": 0.5}
    rows = [
        {**row, "gold": ["the cat"], "answer": "Cat."},
        {**row, "gold": [], "answer": ""},
        {**row, "gold": ["dog", "a dog"], "answer": "", "context": "lost"},
        {**row, "gold": [], "answer": "dog", "context": "made up"},
    ]
    _, shown = workdir("question_answering", [], rows)
    assert "2 of 4 are wrong" in shown
    assert "no answer (0.500), right: dog / a dog" in shown
    assert "dog (0.500), right: no answer" in shown


def test_choices_show_what_was_right(workdir):
    row = {"prompt": "p", "choices": ["x", "y"], "score": 0.5}
    rows = [{**row, "gold": 1, "index": 0, "choice": "x"}]
    _, shown = workdir("multiple_choice", [], rows)
    assert "x (0.500), right: y" in shown


def test_too_many_classes_are_no_picture(workdir):
    labels = [f"c{n}" for n in range(finetune_page.MAX_CLASSES + 1)]
    rows = [class_row(label, label, 0.5, "t") for label in labels]
    _, shown = workdir("classification", labels, rows)
    assert "Confusion" not in shown


def test_a_workdir_without_metrics_is_named(tiny_tuned, tmp_path):
    shutil.copytree(tiny_tuned[0] / "trials", tmp_path / "trials")
    with pytest.raises(errors.UserError, match=r"cannot read .*metrics\.json"):
        finetune_page.write_report(str(tmp_path), str(tmp_path / "report.html"), 3)
