"""Whole runs: trials, what they leave, and what happens to one that was stopped."""

import contextlib
import json
import shutil

import keras
import pytest

from electra_tf import errors
from electra_tf.finetuning import finetuner, task_config, task_trainer
from electra_tf.tasks import keras_hub_presets, text_classifier


def settings(**train):
    sections = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, **train}
    return task_config.FinetuneConfig(train=sections, run={"log_points": 3})


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def run(tiny_preset, tiny_task, tmp_path):
    """Runs on tiny_task; returns what was said."""

    def start(wanted, folder=tmp_path / "run", origin=tiny_preset, said=None):
        said = [] if said is None else said
        finetuner.run(
            wanted,
            str(origin),
            ["text_classification"],
            [tiny_task],
            str(folder),
            said.append,
        )
        return said

    return start


# What a run leaves.


def test_it_learns_and_says_so_in_a_line_an_epoch_and_a_table(tiny_tuned):
    _, said = tiny_tuned
    epochs = [line for line in said if line.startswith("  epoch")]
    assert len(epochs) == 24
    assert epochs[-1].startswith("  epoch 12/12  step 36/36  loss 0.")
    assert "dev: text_classification accuracy 1.0000" in epochs[-1]
    assert said[0] == "trial 1 of 2, seed 42"
    assert "trial 2 of 2, seed 43" in said
    (row,) = [line.split() for line in said if " dev  " in line and "accuracy" in line]
    assert row == ["text_classification", "dev", "accuracy"] + ["1.0000"] * 4 + [
        "0.0000"
    ]


def test_metrics_hold_all_trials_and_what_guessing_reaches(tiny_tuned):
    metrics = read_json(tiny_tuned[0] / "metrics.json")
    assert [trial["seed"] for trial in metrics["trials"]] == [42, 43]
    assert metrics["best_trial"] == 1
    assert metrics["failed"] == []
    about = metrics["tasks"]["text_classification"]
    assert about["guessing"] == pytest.approx(5 / 9)  # "yes", the first of 12 and 12
    assert about["splits"] == {"dev": 9, "test": 5}
    summary = metrics["summary"]["text_classification"]
    assert summary.keys() == {"dev"}  # test has no labels
    assert summary["dev"]["accuracy"]["median"] == 1.0


def test_predictions_are_there_for_every_split(tiny_tuned, tiny_task):
    folder, _ = tiny_tuned
    dev = read_lines(folder / "predictions" / "dev.jsonl")
    assert [row["label"] for row in dev] == [row["gold"] for row in dev]
    assert {row["text"] for row in dev if row["gold"] == "yes"} == {
        row["text"] for row in dev if "cat" in row["text"].split()
    }
    test = read_lines(folder / "predictions" / "test.jsonl")
    assert [row["label"] for row in test] == ["yes", "no", "yes", "no", "yes"]
    assert "gold" not in test[0]


def test_the_preset_is_the_best_trials_with_its_record(tiny_tuned):
    folder, _ = tiny_tuned
    model = text_classifier.ElectraTextClassifier.from_preset(str(folder / "preset"))
    assert model.class_names == ["no", "yes"]
    assert model.preprocessor.sequence_length == 13
    row = read_lines(folder / "predictions" / "dev.jsonl")[0]
    assert model.predict_classes([row["text"]])[0]["score"] == row["score"]
    origin = keras_hub_presets.open_preset(str(folder / "preset")).origin
    assert origin["metrics"]["dev accuracy"] == 1.0
    assert origin["settings"]["train"]["epochs"] == 12
    assert (origin["trial"], origin["seed"]) == (1, 42)
    assert "dev accuracy" in (folder / "preset" / "README.md").read_text()


# Trials.


@pytest.fixture(scope="module")
def short(tiny_preset, tiny_task, tmp_path_factory):
    """The workdir of two short trials; what was said."""
    folder, said = tmp_path_factory.mktemp("short") / "run", []
    where = ["text_classification"], [tiny_task], str(folder)
    finetuner.run(settings(trials=2), tiny_preset, *where, said.append)
    return folder, said


def records(folder):
    """Returns what the trials of a workdir came to, but for the time they took."""
    found = [read_json(path) for path in sorted((folder / "trials").iterdir())]
    for trial in found:
        del trial["seconds"]
    return found


@pytest.mark.slow
def test_stopped_and_taken_up_again_it_comes_to_the_same_numbers(
    run, short, tmp_path, monkeypatch
):
    build, started = task_trainer.Trainer, []

    def stop_in_the_second(*args, **kwargs):
        started.append(kwargs["seed"])
        if len(started) == 2:
            raise KeyboardInterrupt
        return build(*args, **kwargs)

    monkeypatch.setattr(task_trainer, "Trainer", stop_in_the_second)
    said = run(settings(trials=2))
    assert said[-1].startswith("stopped: 1 of 2 trials have ended; run the same")
    assert (tmp_path / "run" / "preset" / "task.json").exists()
    said = run(settings(trials=2))
    assert started == [42, 43, 43]
    assert said[0] == "trial 1 of 2, seed 42: kept"
    first, second = records(tmp_path / "run")
    assert [first, second] == records(short[0])
    assert first["records"] != second["records"]
    lines = [
        (folder / "predictions" / "dev.jsonl").read_text()
        for folder in (tmp_path / "run", short[0])
    ]
    assert lines[0] == lines[1]


def test_a_finished_run_trains_nothing_and_says_the_same_table(run, short, tmp_path):
    folder, before = short
    shutil.copytree(folder, tmp_path / "run")
    said = run(settings(trials=2))
    assert said[:2] == [f"trial {n} of 2, seed {41 + n}: kept" for n in (1, 2)]
    table = [line for line in before if "text_classification  dev" in line]
    assert [line for line in said if "text_classification  dev" in line] == table


def test_more_trials_may_be_added(run, short, tmp_path):
    shutil.copytree(short[0], tmp_path / "run")
    said = run(settings(trials=3))
    assert said[1:3] == ["trial 2 of 3, seed 43: kept", "trial 3 of 3, seed 44"]
    assert len(records(tmp_path / "run")) == 3


def test_other_settings_presets_or_data_are_refused(
    run, short, tiny_preset, tiny_task, tmp_path
):
    shutil.copytree(short[0], tmp_path / "run")
    with pytest.raises(errors.UserError, match=r"train.seed was 42, now 7; put them"):
        run(settings(seed=7))
    data = shutil.copytree(tiny_task, tmp_path / "data")
    with (data / "train.tsv").open("a") as file:
        file.write("the cat\tyes\n")
    for folder, origin, part in (
        (data, tiny_preset, "data was "),
        (tiny_task, shutil.copytree(tiny_preset, tmp_path / "p"), "preset was "),
    ):
        where = ["text_classification"], [str(folder)], str(tmp_path / "run")
        with pytest.raises(errors.UserError, match=part):
            finetuner.run(settings(trials=2), str(origin), *where, [].append)


def test_a_trial_that_learns_nothing_is_named_with_a_hint_and_patience_ends_it(
    run, tmp_path
):
    said = []
    wanted = settings(learning_rate=1e-12, keep_epoch="best", patience=2, epochs=9)
    with pytest.raises(
        errors.UserError, match="all 1 trials failed: text_classification: "
    ):
        run(wanted, said=said)
    epochs = [line for line in said if line.startswith("  epoch")]
    assert len(epochs) == 3  # The first is the best.
    failed = [line for line in said if "seed 42 failed: " in line]
    assert failed
    assert all("failed: text_classification: " in line for line in failed)
    assert "failed: 1 of 1 trials (1)" in said
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert [one["trial"] for one in metrics["failed"]] == [1]
    assert (tmp_path / "run" / "preset" / "task.json").exists()


def test_a_loss_that_is_not_finite_ends_the_run_if_all_trials_do_so(run, tmp_path):
    wanted = settings(learning_rate=1e35, warmup_rate=0.0)
    with pytest.raises(
        errors.UserError, match=r"all 1 trials failed: the loss is (nan|inf) at step "
    ) as caught:
        run(wanted)
    assert str(caught.value).endswith("lower train.learning_rate (1e+35)")
    assert not (tmp_path / "run" / "preset").exists()
    # In one step, of which the loss still was good.
    wanted = settings(learning_rate=1e35, warmup_rate=0.0, batch_size=24, epochs=1)
    with pytest.raises(errors.UserError, match="answers to dev are not finite after"):
        run(wanted, tmp_path / "other")


def test_weights_go_back_to_the_best_epoch():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    keeper = finetuner._Keeper({"a": model}, settings(keep_epoch="best").train)
    best = [weight + 1.0 for weight in model.get_weights()]
    for score, values in ((0.3, 5.0), (0.9, 1.0), (0.5, 7.0)):
        model.set_weights([weight * 0 + values for weight in best])
        assert not keeper.has_enough(score, {"a": score})
    assert keeper.restore() == {"a": 0.9}
    assert all((weight == 1.0).all() for weight in model.get_weights())


# Where runs start from.


def test_a_fine_tuned_preset_goes_on_with_its_head(run, tiny_tuned, tmp_path):
    folder, _ = tiny_tuned
    said = run(settings(learning_rate=1e-9, epochs=1), origin=folder)
    assert "dev: text_classification accuracy 1.0000" in said[1]


@pytest.fixture
def cola(tmp_path):
    """CoLA's folder, with a test split as GLUE has it."""
    folder = tmp_path / "CoLA"
    folder.mkdir()
    rows = "".join(f"x\t{n % 2}\t\tthe {'cat dog'.split()[n % 2]}\n" for n in range(8))
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text(rows)
    (folder / "test.tsv").write_text("index\tsentence\n0\tthe cat\n1\ta dog\n")
    return str(folder)


@pytest.fixture
def rates(tmp_path):
    """A folder for text_regression."""
    folder = tmp_path / "rates"
    folder.mkdir()
    rows = ["text\tlabel", "the cat\t3.5", "a dog\t1.5", "cat on\t3.0", "dog\t2.0"]
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join(rows))
    return str(folder)


@pytest.mark.slow
def test_several_tasks_share_an_encoder(cola, rates, tiny_preset, tmp_path):
    said = []
    run = tmp_path / "run"
    where = ["cola", "text_regression"], [cola, rates], str(run)
    with contextlib.suppress(errors.UserError):  # It need not learn much.
        finetuner.run(settings(epochs=3), tiny_preset, *where, said.append)
    assert "  epoch 1/3  step 2/6  " in said[1]
    shown = " ".join(said[1:4])
    for part in ("cola/loss 0.", "text_regression/loss ", "dev: cola matthews"):
        assert part in shown
    metrics = read_json(run / "metrics.json")
    assert metrics["summary"].keys() == {"cola", "text_regression"}
    encoders = [
        text_classifier.ElectraTextClassifier.from_preset(
            str(run / "preset" / name), num_classes=2
        ).backbone.get_weights()
        for name in ("cola", "text_regression")
    ]
    for a, b in zip(*encoders, strict=True):
        assert (a == b).all()
    assert len(read_lines(run / "predictions" / "text_regression" / "dev.jsonl")) == 4
    test = read_lines(run / "predictions" / "cola" / "test.jsonl")
    lines = (run / "submissions" / "CoLA.tsv").read_text().splitlines()
    assert lines == [
        "index\tprediction",
        *(f"{row['id']}\t{row['label']}" for row in test),
    ]


# Questions.


@pytest.fixture
def questions(tmp_path):
    """SQuAD 2.0: who sat, of eight contexts; two have no answer."""
    folder = tmp_path / "squad"
    folder.mkdir()
    paragraphs = []
    for number, who in enumerate("cat dog bird cat dog bird cat dog".split()):
        context = f"the {who} sat on the mat . a tree ran over"
        answers = [{"text": who, "answer_start": 4}] if number < 6 else []
        qa = {
            "id": f"q{number}",
            "question": "the sat" if answers else "roof flew",
            "answers": answers,
            "is_impossible": not answers,
        }
        paragraphs.append({"context": context, "qas": [qa]})
    text = json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]})
    for split in ("train", "dev"):
        (folder / f"{split}.json").write_text(text)
    return str(folder)


@pytest.mark.slow
def test_questions_get_a_threshold_and_the_official_files(
    questions, tiny_preset, tmp_path
):
    finetuner.run(
        settings(epochs=20, learning_rate=1e-2),
        tiny_preset,
        ["squad"],
        [questions],
        str(tmp_path / "run"),
        [].append,
    )
    folder = tmp_path / "run" / "submissions"
    odds = read_json(folder / "dev_null_odds.json")
    texts = read_json(folder / "dev_predictions.json")
    n_best = read_json(folder / "dev_nbest.json")
    assert odds.keys() == texts.keys() == n_best.keys() == {f"q{n}" for n in range(8)}
    assert [texts[f"q{n}"] for n in range(6)] == "cat dog bird cat dog bird".split()
    assert texts["q7"] == n_best["q7"][0]["text"] != ""  # The script blanks it.
    task = read_json(tmp_path / "run" / "preset" / "task.json")
    threshold = task["config"]["null_threshold"]
    scores = read_json(tmp_path / "run" / "metrics.json")["summary"]["squad"]["dev"]
    assert scores["best_f1_thresh"]["best"] == threshold
    assert scores["best_f1"]["best"] == 1.0
    dev = read_lines(tmp_path / "run" / "predictions" / "dev.jsonl")
    assert [row["answer"] == "" for row in dev] == [False] * 6 + [True] * 2
    assert [odds[f"q{n}"] > threshold for n in range(8)] == [False] * 6 + [True] * 2


def test_a_cluster_is_refused(run, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(errors.UserError, match="TF_CONFIG is set, and fine-tuning"):
        run(settings())
