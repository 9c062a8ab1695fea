import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from electra_tf import config, errors

import study  # isort: skip
import study_misses
import study_page
import study_plan
import study_results
import study_work

PLAN = {
    "work": {"run": "rtd", "positions": 1000},
    "runs": {
        "mlm": {"config": "a.yaml", "changes": {"objective.name": "mlm"}},
        "rtd": {"config": "a.yaml"},
        "two": {
            "config": "b.yaml",
            "starts_from": {
                "run": "mlm",
                "share": 0.25,
                "settings": ["objective.generator", "train.init_from"],
            },
        },
    },
    "tasks": {
        "words": {"task": "cola", "data": "glue/CoLA"},
        "tags": {"task": "conll2000", "data": "conll", "split": "test"},
    },
    "seeds": 2,
    "shares": [0.5],
}
COSTS = {"mlm": 3.0, "rtd": 6.0, "two": 4.5}  # a step
SIZE = 8  # positions a step


def plan(folder, **changes):
    settings = config.check(study_plan.StudyConfig, {**PLAN, **changes}, "plan")
    return study_plan.Study(settings, str(folder))


@pytest.fixture
def counted(tmp_path):
    """A study whose steps are counted, and nothing else."""
    this = plan(tmp_path)
    for name, flops in COSTS.items():
        path = this.work_file(name)
        path.parent.mkdir(exist_ok=True)
        values = {"flops": flops, "positions": SIZE, "settings": this.overrides(name)}
        path.write_text(json.dumps(values))
    return this


# The plan.


def test_all_runs_do_the_work_of_the_anchor(counted):
    # 1000 positions are 125 steps, and 140 can be had in twentieths.
    assert counted.steps("rtd") == 140
    assert counted.total_work() == 140 * 6.0
    assert counted.steps("mlm") == 280
    # A quarter of the work was done before it starts: (840 - 210) / 4.5.
    assert counted.work_before("two") == 210.0
    assert counted.steps("two") == 140
    assert counted.work_at("two", 1.0) == 840.0
    assert counted.work_at("two", 0.5) == 210.0 + 315.0


def test_a_command_states_what_the_study_changes(counted):
    command = counted.pretrain_command("two")
    preset = counted.folder / "presets/mlm-025"
    for stated in (
        f'objective.generator="{preset}"',
        f'train.init_from="{preset}"',
        "train.steps=140",
        "run.save_every_steps=7",
        "run.keep=null",
    ):
        assert f"--set={stated}" in command
    tuning = counted.finetune_command("mlm", 0.5, "tags")
    assert f"--preset={counted.folder / 'presets/mlm-050'}" in tuning
    assert "--set=train.trials=1" in tuning
    assert "--set=train.trials=2" in counted.finetune_command("mlm", 1.0, "tags")


def test_the_places_of_the_data_are_those_of_the_study(tmp_path):
    this = plan(tmp_path, records="r", task_data="t")
    assert 'data.records="r"' in this.overrides("mlm")
    assert "--data=t/glue/CoLA" in this.finetune_command("mlm", 0.5, "words")


def test_other_settings_are_counted_again(counted, tmp_path):
    assert counted.is_counted("mlm")
    assert not plan(tmp_path, changes={"train.batch_size": 7}).is_counted("mlm")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"work": {"run": "rdt", "positions": 9}}, ["work.run=rdt", "mlm, rtd, two"]),
        ({"baseline": "bert"}, ["baseline=bert"]),
        ({"shares": [0.33]}, ["shares=0.33", "multiple of 0.05"]),
        ({"runs": {"a/b": {"config": "a.yaml"}}, "baseline": "a/b",
          "work": {"run": "a/b", "positions": 1}}, ["'a/b'", "letters"]),
    ],
)  # fmt: skip
def test_a_plan_that_does_not_do_is_refused_in_a_line(tmp_path, changes, parts):
    with pytest.raises(errors.UserError) as refused:
        plan(tmp_path, **changes)
    for part in parts:
        assert part in str(refused.value)


def test_a_run_starts_from_one_that_stands_before_it(tmp_path):
    runs = dict(reversed(PLAN["runs"].items()))
    with pytest.raises(errors.UserError, match=r"starts_from.run=mlm: want a run that"):
        plan(tmp_path, runs=runs)


def test_the_study_that_comes_with_the_code_is_one():
    path = study_plan.ROOT / "scripts/study.yaml"
    settings = config.load(study_plan.StudyConfig, str(path))
    this = study_plan.Study(settings, "runs/none")
    for name in settings.runs:
        file = this.config_file(name)
        run = config.load(config.PretrainConfig, file, this.overrides(name))
        assert run.model.num_layers == 4
        assert run.data.row_tokens == 128


# The count.


MODULE = """HloModule step

%body.1 (arg.1: (s32[], f32[2,3], f32[3,5])) -> (s32[], f32[2,3], f32[3,5]) {
  %arg.1 = (s32[], f32[2,3]{1,0}, f32[3,5]{1,0}) parameter(0)
  %a.1 = f32[2,3]{1,0} get-tuple-element((s32[], f32[2,3], f32[3,5]) %arg.1), index=1
  %b.1 = f32[3,5]{1,0} get-tuple-element((s32[], f32[2,3], f32[3,5]) %arg.1), index=2
  %c.1 = f32[2,5]{1,0} dot(f32[2,3]{1,0} %a.1, f32[3,5]{1,0} %b.1), LHS={1}, RHS={0}
  ROOT %t.1 = (s32[], f32[2,3]{1,0}, f32[3,5]{1,0}) tuple(s32[] %i, %a.1, %b.1)
}

ENTRY %main.2 (x.1: f32[7,2,3], y.1: f32[7,3,4]) -> f32[7,2,4] {
  %x.1 = f32[7,2,3]{2,1,0} parameter(0)
  %y.1 = f32[7,3,4]{2,1,0} parameter(1)
  %w.1 = (s32[], f32[2,3], f32[3,5]) while(%s), condition=%less.1, body=%body.1
  ROOT %z.1 = f32[7,2,4]{2,1,0} dot(%x.1, %y.1), lhs_batch_dims={0}, LHS={2}
}
""".replace("LHS", "lhs_contracting_dims")


def test_products_are_counted_as_often_as_they_are_made():
    in_loop, outside = 2 * 2 * 5 * 3, 2 * 7 * 2 * 4 * 3
    assert study_work.matrix_flops(MODULE) == in_loop + outside
    assert study_work.matrix_flops(MODULE, 6) == 6 * in_loop + outside


def test_the_compiled_step_of_a_masked_language_model_has_its_products(tiny_run, vocab):
    """Counted by hand from the architecture: forward once, backward twice."""
    settings = config.load(
        config.PretrainConfig,
        str(tiny_run),
        ["objective={name: mlm}", "model.num_layers=2", "train.accumulation_steps=2"],
    )
    found = study_work.count(settings)
    rows, length, width, narrow, inner = 6, 24, 12, 10, 20
    tokens, hidden = rows * length, rows * settings.data.max_predictions
    block = 4 * width**2 + 2 * width * inner + 2 * length * width
    forward = 2 * tokens * (2 * block + narrow * width)
    forward += 2 * hidden * (width * narrow + narrow * len(vocab))
    assert found == {"flops": 3.0 * forward, "positions": tokens}


# The results.


def write_run(this, name, steps, loss):
    folder = this.run_folder(name)
    folder.mkdir(parents=True)
    records = [
        {"step": step, "split": "validation", "mlm_loss": loss + 9.0 / step}
        for step in (steps // 2, steps)
    ]
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines)
    values = {"mlm_loss": {"title": "MLM loss", "is_compared": True}}
    (folder / "run.json").write_text(json.dumps({"values": values}))
    (folder / "report.html").touch()


def write_task(this, name, task, scores, share=1.0, failures=()):
    folder = this.task_folder(name, share, task)
    (folder / "trials").mkdir(parents=True)
    about = {"tasks": {"job": {"metric": "f1"}}}
    (folder / "metrics.json").write_text(json.dumps(about))
    split = this.settings.tasks[task].split
    for number, score in enumerate(scores, start=1):
        trial = {
            "number": number,
            "seed": 41 + number,
            "scores": {"job": {split: {"f1": score}}},
            "records": [],
            "seconds": 1.0,
            "failures": list(failures),
        }
        (folder / f"trials/{number}.json").write_text(json.dumps(trial))


@pytest.fixture
def ended(counted):
    """A study in which rtd is ahead by 2 and 1 points, two by 3 and -1."""
    for name, words, tags in (
        ("mlm", [0.50, 0.52], [0.90, 0.90]),
        ("rtd", [0.55, 0.54], [0.89, 0.90]),
        ("two", [0.56, 0.50], [0.90, 0.90]),
    ):
        write_run(counted, name, counted.steps(name), len(name))
        write_task(counted, name, "words", words)
        write_task(counted, name, "tags", tags)
        write_task(counted, name, "words", [0.3], 0.5)
        write_task(counted, name, "tags", [0.7], 0.5)
    return counted


def test_a_run_that_is_ahead_with_every_seed_wins(ended):
    results = study_results.read(ended)
    *lines, last = study_results.verdict(ended, results)
    assert lines == [
        "rtd - mlm: +1.50 points (+1.00 to +2.00, 2 seeds)",
        "two - mlm: +1.00 points (-1.00 to +3.00, 2 seeds)",
    ]
    assert last.endswith("with every seed? yes, rtd.")
    assert study_results.missing(ended, results) == []


def test_a_mean_that_one_seed_makes_does_not_win(ended, tmp_path):
    stricter = plan(tmp_path, aim=1.1)
    *_, last = study_results.verdict(stricter, study_results.read(stricter))
    assert last.endswith("with every seed? no.")


def test_what_is_missing_is_said_and_leaves_the_verdict_open(counted):
    write_run(counted, "mlm", 280, 2.0)
    write_run(counted, "rtd", 140, 2.0)
    write_task(counted, "mlm", "words", [0.5, 0.5])
    write_task(counted, "rtd", "words", [0.7], failures=["all of one class"])
    results = study_results.read(counted)
    line, last = study_results.verdict(counted, results)
    assert "so far, on words" in line
    assert "open" in last
    said = study_results.missing(counted, results)
    assert "rtd, words: 1 of 2 seeds" in said
    assert "mlm, tags: 0 of 2 seeds" in said
    assert "two: 0 of 140 steps" in said
    table = study_page.tasks_table(counted, results)
    assert table[2][:2] == ["rtd", "70.0 (one seed), 1 failed"]


def test_a_run_of_another_length_is_named(ended):
    folder = ended.run_folder("rtd")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/ckpt-3.index").touch()
    values = {"train": {"steps": 100, "warmup_steps": 9}, "run": {}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    assert ended.steps("rtd") == 100
    (note,) = ended.work_notes()
    assert note == "rtd does 0.714 of the work of the study"


def test_the_page_and_the_plot_show_every_run(ended):
    path = ended.misses_file("rtd")
    path.parent.mkdir()
    groups = {"all": {"discriminator": 0.75, "judge": 0.9}}
    path.write_text(json.dumps({"groups": groups}))
    lines = study_page.write(ended)
    assert "| rtd | 54.5 +- 0.7 | 89.5 +- 0.7 | 72.0 +- 0.0 | +2.00, +1.00 |" in lines
    assert "| all | 0.750 | 0.900 |" in lines
    assert "| two | 0.0 | 840 | 210 | 3.064 |" in lines
    page = (ended.folder / "study.html").read_text()
    assert "yes, rtd" in page
    assert "words (points)" in page
    svg = (ended.folder / "study.svg").read_text()
    assert svg in page
    assert all(f">{name}</text>" in svg for name in COSTS)
    assert svg.count("<circle") == 3 * 2 + 3 * 2  # Seeds; points over work.


def test_a_page_of_nothing_says_that_all_is_missing(tmp_path):
    lines = study_page.write(plan(tmp_path))
    assert any(line.startswith("missing: rtd: 0 of ? steps") for line in lines)
    assert not (tmp_path / "study.svg").exists()


# The queue.


def job(folder, name, ready=lambda: True, code=0):
    file = folder / name
    text = f"import pathlib; pathlib.Path({str(file)!r}).touch(); print('oh')"
    run = text if code == 0 else "raise SystemExit('broken')"
    return study.Job(name, file.exists, ready, lambda: [sys.executable, "-c", run])


def test_a_job_waits_for_what_it_needs_and_is_done_once(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "LOOK_SECONDS", 0.01)
    first = job(tmp_path, "first")
    second = job(tmp_path, "second", first.is_done)
    never = job(tmp_path, "never", lambda: False)
    queue = study.Queue(tmp_path, 2)
    assert queue.run([second, never, first]) == [never]
    assert second.is_done()
    assert queue.failed == []
    log = tmp_path / "logs/first.log"
    queue.run([second, first])
    assert log.read_text() == "oh\n"


def test_a_job_that_fails_holds_up_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "LOOK_SECONDS", 0.01)
    bad, good = job(tmp_path, "bad", code=1), job(tmp_path, "good")
    queue = study.Queue(tmp_path, 1)
    assert queue.run([bad, good]) == [bad]
    assert queue.failed == ["bad"]
    assert "bad.log: broken" in capsys.readouterr().out


def test_a_stop_ends_what_runs_and_starts_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "LOOK_SECONDS", 0.01)
    wait = [sys.executable, "-c", "import time; time.sleep(600)"]
    queue = study.Queue(tmp_path, 1)

    def command():
        queue.stop()  # While it starts.
        return wait

    slow = study.Job("slow", lambda: False, lambda: True, command)
    began = time.monotonic()
    assert queue.run([slow, job(tmp_path, "later")])[0] is slow
    assert not (tmp_path / "later").exists()
    assert queue.failed == []
    assert time.monotonic() - began < 300


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for it")
def test_what_runs_ends_with_a_study_that_is_killed(tmp_path):
    wait = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    code = (
        "import sys, pathlib, study\n"
        f"wait = [sys.executable, '-c', {wait!r}]\n"
        "job = study.Job('one', lambda: False, lambda: True, lambda: wait)\n"
        f"study.Queue(pathlib.Path({str(tmp_path)!r}), 1).run([job])\n"
    )
    scripts = str(study_plan.ROOT / "scripts")
    running = subprocess.Popen([sys.executable, "-c", code], cwd=scripts)
    log = tmp_path / "logs/one.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        assert running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    about = Path(f"/proc/{log.read_text().strip()}/stat")

    def lives():
        return about.exists() and ") Z" not in about.read_text()

    deadline = time.monotonic() + 60
    while lives() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not lives()


def test_a_name_that_the_study_has_not_is_refused(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    given = [f"--study={path}", f"--workdir={tmp_path}"]
    with pytest.raises(errors.UserError, match=r"--runs has no 'mml'; did you mean"):
        study.main([*given, "--runs=mml"])
    with pytest.raises(errors.UserError, match="--parts has no 'tune'"):
        study.main([*given, "--parts=tune"])


# What is missed.


def test_groups_are_told_apart_and_small_ones_not_at_all():
    rng = np.random.default_rng(3)
    count = 400
    is_sample = np.arange(count) % 2 == 0
    token = np.where(np.arange(count) < 100, 2, np.where(np.arange(count) < 390, 0, 1))
    noise = rng.normal(size=count)
    seen = study_misses.Seen(
        is_sample,
        token.astype(np.int32),
        np.where(token == 0, 0.5, 1e-5),
        np.arange(count) % 50,
        # In pieces nothing is seen, in words all; the judge knows the other way round.
        np.where(token == 2, noise, is_sample * 9.0 + noise),
        np.where(token == 2, is_sample * 9.0, noise),
        np.zeros(count),
        np.where(np.arange(count) < 40, -1.0, 1.0),
    )
    told = study_misses.tell(seen, ["the", ",", "##ing"])
    words = told["groups"]["whole words, first pieces"]
    pieces = told["groups"]["pieces within words"]
    assert words["discriminator"] == pieces["judge"] == 1.0
    assert abs(pieces["discriminator"] - 0.5) < 0.15
    assert (pieces["samples"], pieces["texts"]) == (50, 50)
    assert told["groups"]["punctuation"]["discriminator"] is None
    assert told["likelier_than_the_text"] == 20 / 200
    for name in ("frequency", "place", "generator's probability"):
        parts = [one for key, one in told["groups"].items() if key.startswith(name)]
        assert sum(one["samples"] for one in parts) == 200


def test_a_run_without_a_discriminator_misses_nothing(tiny_run, tiny_preset, tmp_path):
    none = SimpleNamespace(objective=SimpleNamespace())
    from electra_tf.network import models
    from electra_tf.weights import preset, preset_writer

    source = preset.load(tiny_preset)
    model = source.networks["generator"]
    folder = str(tmp_path / "mlm")
    preset_writer.save(
        folder,
        {"generator": models.build_generator(model)},
        {"generator": model},
        source.vocab,
        source.tokenizer,
        {},
    )
    assert study_misses.find_networks(none, folder, tiny_preset) is None
    assert study_misses.find_networks(none, tiny_preset, folder) is not None


# All of it.


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(tiny_run, tiny_task, tmp_path, capsys):
    values = {
        "work": {"run": "electra", "positions": 2000},
        "changes": {"run.log_every_steps": 2, "train.streams": 1},
        "runs": {
            "mlm": {
                "config": str(tiny_run),
                "changes": {"objective": {"name": "mlm"}},
            },
            "electra": {"config": str(tiny_run)},
            "two_stage": {
                "config": str(tiny_run),
                "changes": {"objective.name": "frozen_generator",
                            "generator": {}},
                "starts_from": {
                    "run": "mlm",
                    "share": 0.5,
                    "settings": ["objective.generator", "train.init_from"],
                },
            },
        },
        "tasks": {
            "cats": {
                "task": "text_classification",
                "data": tiny_task,
                "changes": {"train.epochs": 2, "model.sequence_length": 13},
            }
        },
        "seeds": 2,
    }  # fmt: skip
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(values))
    folder = tmp_path / "study"
    given = [f"--study={path}", f"--workdir={folder}", "--processes=2"]
    assert study.main([*given, "--runs=mlm,electra", "--parts=pretrain"]) == 0
    before = (folder / "runs/mlm/metrics.jsonl").read_bytes()
    assert study.main(given) == 0
    said = capsys.readouterr().out.split("page:")[1]
    assert (folder / "runs/mlm/metrics.jsonl").read_bytes() == before
    assert "seeds\n" not in said.partition("missing: ")[2]
    assert "not done" not in said
    misses = json.loads((folder / "misses/electra.json").read_text())
    assert misses["groups"]["all"]["samples"] > 0
    rows = [line for line in said.splitlines() if line.startswith("| two_stage |")]
    assert len(rows) == 2  # In both tables, with the work of its first stage.
    assert float(rows[1].split("|")[4]) > 0
    study.main([*given, "--parts=page"])
    assert "tune" not in capsys.readouterr().out
