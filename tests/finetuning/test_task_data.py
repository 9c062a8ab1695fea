import json

import pytest

from electra_tf import errors
from electra_tf.finetuning import task_config, task_data

OWN = "text_classification"


def write_table(folder, **splits):
    """Writes <split>.tsv of (text, label) rows."""
    folder.mkdir(exist_ok=True)
    for split, rows in splits.items():
        lines = ["text\tlabel", *("\t".join(row) for row in rows)]
        (folder / f"{split}.tsv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


def rows(count, label=("even", "odd")):
    return [(f"text {n}", label[n % len(label)]) for n in range(count)]


def read(folder, task=OWN, say=lambda line: None, train=None, **data):
    settings = task_config.FinetuneConfig(data=data, train=train or {})
    tasks = task if isinstance(task, list) else [task]
    folders = folder if isinstance(folder, list) else [folder]
    return task_data.read(tasks, folders, settings, say)


def test_a_job_has_what_to_train_on_and_all_other_splits(tmp_path):
    folder = write_table(tmp_path / "a", train=rows(7), dev=rows(4), test=rows(3))
    job = read(folder)[OWN]
    assert job.train.inputs == [f"text {n}" for n in range(7)]
    assert job.train.labels == ["even", "odd"] * 3 + ["even"]
    assert {name: len(split.ids) for name, split in job.splits.items()} == {
        "dev": 4,
        "test": 3,
    }


def test_where_there_is_no_dev_split_train_examples_are_held_out(tmp_path):
    folder = write_table(tmp_path / "a", train=rows(40))
    said = []
    job = read(folder, say=said.append, dev_rate=0.25)[OWN]
    held_out = job.splits["dev"].inputs
    assert len(held_out) == 10
    assert sorted(held_out + job.train.inputs) == sorted(text for text, _ in rows(40))
    for text, label in zip(held_out, job.splits["dev"].labels, strict=True):
        assert (text, label) in rows(40)
    assert said == [
        f"note: {OWN} has no dev split; 10 of 40 train examples are held out, drawn by "
        "train.seed=42 (data.dev_rate=0.25)"
    ]
    assert read(folder, dev_rate=0.25)[OWN].splits["dev"].inputs == held_out
    other = read(folder, dev_rate=0.25, train={"seed": 5})[OWN]
    assert other.splits["dev"].inputs != held_out


@pytest.mark.parametrize("rate", [0.0, 1.0, 0.01])
def test_a_share_that_holds_out_nothing_or_all_is_refused(rate, tmp_path):
    folder = write_table(tmp_path / "a", train=rows(6))
    with pytest.raises(errors.UserError, match=r"no dev split, and data.dev_rate="):
        read(folder, dev_rate=rate)


def test_caps_draw_train_examples_and_keep_the_first_of_other_splits(tmp_path):
    folder = write_table(tmp_path / "a", train=rows(50), dev=rows(9))
    job = read(folder, max_train_examples=8, max_eval_examples=5)[OWN]
    assert len(set(job.train.inputs)) == 8
    assert job.train.inputs != [f"text {n}" for n in range(8)]
    for text, label in zip(*job.train, strict=True):
        assert (text, label) in rows(50)
    assert job.splits["dev"].inputs == [f"text {n}" for n in range(5)]
    assert len(read(folder, max_train_examples=99)[OWN].train.inputs) == 50


@pytest.fixture
def mrpc(tmp_path):
    head = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    lines = [head, "1\t1\t2\tone\ttwo", "0\t3\t4\tthree\tfour"]
    (tmp_path / "MRPC").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "MRPC" / f"{split}.tsv").write_text("\n".join(lines))
    return str(tmp_path)


def test_pairs_without_order_are_trained_on_both_ways_round(mrpc):
    job = read(mrpc, "mrpc")["mrpc"]
    pairs = [("one", "two"), ("three", "four")]
    assert job.train.inputs == [*pairs, ("two", "one"), ("four", "three")]
    assert job.train.labels == ["1", "0", "1", "0"]
    assert job.splits["dev"].inputs == pairs
    assert read(mrpc, "mrpc", double_unordered=False)["mrpc"].train.inputs == pairs


def test_questions_are_held_out_with_all_about_their_context(tmp_path):
    paragraphs = [
        {
            "context": f"a text {n}",
            "qas": [
                {
                    "id": f"{n} {i}",
                    "question": "q",
                    "answers": [{"text": "text", "answer_start": 2}],
                }
                for i in range(5)
            ],
        }
        for n in range(8)
    ]
    (tmp_path / "mine.json").write_text(
        json.dumps({"data": [{"paragraphs": paragraphs}]})
    )
    job = read(str(tmp_path / "mine.json"), "squad", dev_rate=0.25)["squad"]
    held, kept = (
        {question.context for question in inputs}
        for inputs in (job.splits["dev"].inputs, job.train.inputs)
    )
    assert (len(held), len(kept), held & kept) == (2, 6, set())


def test_several_tasks_have_names_and_options_of_their_own(tmp_path):
    a = write_table(tmp_path / "a", train=rows(4), dev=rows(4))
    b = write_table(tmp_path / "b", train=rows(6), dev=rows(4))
    jobs = read([a, b], [OWN, OWN])
    assert [len(job.train.inputs) for job in jobs.values()] == [4, 6]
    assert list(jobs) == [OWN, f"{OWN}-2"]
    options = {f"{OWN}-2": {"dev": "train.tsv"}}
    jobs = read([a, b], [OWN, OWN], options=options)
    assert len(jobs[f"{OWN}-2"].splits["dev"].ids) == 6
    assert len(jobs[OWN].splits["dev"].ids) == 4
    with pytest.raises(errors.UserError, match="options are by task, as in data"):
        read([a, b], [OWN, OWN], options={"dev": "train.tsv"})
    named = (tmp_path / "a").rename(tmp_path / "x,y")
    assert len(read(str(named).split(","), [OWN])[OWN].train.inputs) == 4
    with pytest.raises(errors.UserError, match="2 tasks and --data 1 folders"):
        read([a], [OWN, OWN])


def test_passes_over_the_data_are_the_papers(tmp_path, mrpc):
    folder = write_table(tmp_path / "a", train=rows(4), dev=rows(4))
    own, mrpc = read(folder), read(mrpc, "mrpc")
    assert task_data.epochs(own) == 3
    (job,) = own.values()
    for task, wanted in (("rte", 10), ("sts-b", 10), ("cola", 3)):
        renamed = task_data.Job(task, task, job.data, job.train, job.splits)
        assert task_data.epochs({task: renamed}) == wanted
    assert task_data.epochs({**own, **mrpc}) == 3


def test_the_fingerprint_is_of_texts_and_labels_in_all_splits(tmp_path):
    def hashed(folder):
        return task_data.fingerprint(read(folder))

    same = write_table(tmp_path / "a", train=rows(5), dev=rows(4))
    found = {
        hashed(same),
        hashed(write_table(tmp_path / "b", train=rows(5), dev=rows(4))),
    }
    assert len(found) == 1
    found.add(hashed(write_table(tmp_path / "c", train=rows(5), dev=rows(5))))
    changed = [*rows(4), ("text 4", "odd")]
    found.add(hashed(write_table(tmp_path / "d", train=changed, dev=rows(4))))
    assert len(found) == 3


# What is no better than guessing.


def test_guessing_takes_the_commonest_class_of_train(tmp_path):
    train = [("a", "x"), ("b", "y"), ("c", "y")]
    dev = [("d", "x"), ("e", "y"), ("f", "x"), ("g", "x")]
    job = read(write_table(tmp_path / "a", train=train, dev=dev))[OWN]
    assert task_data.guess_score(job) == 0.25
    assert task_data.failures(job, ["x", "y", "y", "x"], {"accuracy": 0.5}) == []
    (line,) = task_data.failures(job, ["y", "x", "y", "y"], {"accuracy": 0.25})
    assert f"{OWN}: dev accuracy 0.2500 is no better than guessing (0.2500)" in line
    (line,) = task_data.failures(job, ["x"] * 4, {"accuracy": 0.75})
    assert line == f"{OWN}: all predictions are 'x'"


def test_guessing_is_known_of_every_kind(tmp_path):
    numbers = [("a", "1"), ("b", "2"), ("c", "4")]
    job = read(
        write_table(tmp_path / "n", train=numbers, dev=numbers), "text_regression"
    )
    assert task_data.guess_score(job["text_regression"]) == 0.0
    (tmp_path / "t").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "t" / f"{split}.txt").write_text("a O\nb B-X\nc O\n\nd O\n")
    job = read(str(tmp_path / "t"), "conll")["conll"]
    assert task_data.guess_score(job) == 0.0
    assert task_data.failures(job, [["O", "B-X", "O"], ["O"]], {"f1": 1.0}) == []
    assert len(task_data.failures(job, [["O"] * 3, ["O"]], {"f1": 0.0})) == 2
    row = {"prompt": "p", "choices": ["a", "b"], "label": 1}
    (tmp_path / "c").mkdir()
    for split, labels in (("train", [1, 1, 0]), ("dev", [0, 1, 0])):
        text = "\n".join(json.dumps({**row, "label": n}) for n in labels)
        (tmp_path / "c" / f"{split}.jsonl").write_text(text)
    job = read(str(tmp_path / "c"), "multiple_choice")["multiple_choice"]
    assert task_data.guess_score(job) == pytest.approx(1 / 3)


def test_guessing_says_the_classes_of_the_best_f1_of_every_text(tmp_path):
    rows = [("a", "x|y"), ("b", "x"), ("c", "x|z"), ("d", "")]
    folder = write_table(tmp_path / "a", train=rows, dev=rows)
    options = {"label_column": "label"}
    name = "multi_label_classification"
    job = read(folder, name, options=options)[name]
    # x of all four: hits 3, said 4, right 5; with y and z it would be less.
    assert task_data.guess_score(job) == pytest.approx(6 / 9)
    (line, _) = task_data.failures(job, [[], [], [], []], {"micro_f1": 0.0})
    assert line.endswith("all predictions are 'no class'")


def test_guessing_that_no_question_has_an_answer_scores_those_without(tmp_path):
    qas = [
        {"id": "1", "question": "q", "answers": [], "is_impossible": True},
        {"id": "2", "question": "q", "answers": [{"text": "b", "answer_start": 2}]},
    ]
    data = {"data": [{"paragraphs": [{"context": "a b c", "qas": qas}]}]}
    for split in ("train", "dev"):
        (tmp_path / f"{split}.json").write_text(json.dumps(data))
    job = read(str(tmp_path), "squad")["squad"]
    assert task_data.guess_score(job) == 0.5
    assert task_data.epochs({"squad": job}) == 2
