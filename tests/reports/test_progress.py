import io
import json
import os
import pty
import re
import sys
import warnings

import disk
import pytest
from tensorboard.backend.event_processing import event_accumulator

from electra_tf import errors
from electra_tf.objectives import objective
from electra_tf.reports import progress

SHOWN = {
    "loss": objective.Shown("Total loss"),
    "mlm_loss": objective.Shown("MLM loss", "mlm loss {:.4f}"),
    "rtd_loss": objective.Shown("RTD loss", "rtd loss {:.4f}"),
    "mlm_accuracy": objective.Shown("MLM accuracy", "mlm acc {:.3f}"),
    "rtd_auc": objective.Shown("RTD AUC", "rtd auc {:.3f}"),
    "tokens_per_second": objective.Shown("Tokens", "{:,.0f} tokens/s"),
    "learning_rate": objective.Shown("Learning rate", "lr {:.2e}"),
    "row_fill": objective.Shown("Row fill", "fill {:.3f}"),
}
VALUES = {
    "loss": 23.665,
    "mlm_loss": 5.7066,
    "rtd_loss": 0.3591,
    "mlm_accuracy": 0.1778,
    "rtd_auc": 0.8188,
    "learning_rate": 5.6e-4,
    "tokens_per_second": 12345.6,
    "row_fill": 0.9869,
}


class Terminal(io.StringIO):
    """A terminal as far as the reporter can tell."""

    def isatty(self):
        return True


def report(workdir, steps, resumed_step=0, stream=None, values=VALUES):
    stream = stream or io.StringIO()
    with progress.Reporter(
        str(workdir), 20, SHOWN, resumed_step=resumed_step, stream=stream
    ) as reporter:
        for step in steps:
            reporter.train(step, values)
    return stream


def records(workdir):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    text = (workdir / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def steps_on_disk(workdir):
    return [record["step"] for record in records(workdir)]


def test_each_record_is_a_line_with_step_split_seconds_and_values(tmp_path):
    with progress.Reporter(str(tmp_path), 20, SHOWN, stream=io.StringIO()) as reporter:
        reporter.train(3, {"mlm_loss": 5.5, "rtd_auc": 0.75})
        reporter.evaluation(4, {"mlm_loss": 6.5})
    first, second = records(tmp_path)
    assert 0 <= first.pop("seconds") <= second.pop("seconds") < 60
    assert first == {"step": 3, "split": "train", "mlm_loss": 5.5, "rtd_auc": 0.75}
    assert second == {"step": 4, "split": "validation", "mlm_loss": 6.5}


def test_not_a_number_and_infinity_become_null(tmp_path):
    values = {"mlm_loss": float("nan"), "rtd_loss": float("-inf"), "rtd_auc": 0.5}
    report(tmp_path, [3], values=values)
    (record,) = records(tmp_path)
    assert (record["mlm_loss"], record["rtd_loss"]) == (None, None)
    assert record["rtd_auc"] == 0.5


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path):
    report(tmp_path, [3, 6, 9])
    report(tmp_path, [9, 12], resumed_step=7)
    assert steps_on_disk(tmp_path) == [3, 6, 9, 12]
    report(tmp_path, [2])
    assert steps_on_disk(tmp_path) == [2]


@pytest.mark.parametrize("torn", ['{"step": 7, "spl', '{"step": 7}', "\n\nnull\n"])
def test_a_half_written_last_line_is_repaired(tmp_path, torn):
    report(tmp_path, [3, 6])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    report(tmp_path, [9], resumed_step=8)
    kept = [3, 6, 7] if torn.endswith("}") else [3, 6]
    assert steps_on_disk(tmp_path) == [*kept, 9]


@pytest.mark.parametrize(
    ("steps", "until", "lost"),
    [
        ([20, 40, 60], None, []),
        ([20, 40, 60], 70, []),
        ([20, 40, 80, 100], None, ["no train record between steps 40 and 80, "]),
        ([60, 80, 100], None, ["no train record between steps 0 and 60, "]),
        ([20, 40, 60], 140, ["no train record between steps 60 and 140, "]),
        ([20, 40, 90, 140, 190], None, []),
        ([20, 40, 57, 60, 80], None, []),
        ([500], None, []),
        ([], 500, []),
    ],
)
def test_steps_that_were_lost_are_told(steps, until, lost):
    found = progress.lost_records([{"step": step} for step in steps], 0, until)
    assert len(found) == len(lost)
    for remark, wanted in zip(found, lost, strict=True):
        assert remark.startswith(wanted)


def test_a_run_that_resumes_says_what_was_lost(tmp_path):
    report(tmp_path, [3, 6, 9, 12, 15])
    file = tmp_path / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], lines[2][:20], *lines[3:]]) + "\n")
    stream = io.StringIO()
    report(tmp_path, [18], resumed_step=15, stream=stream)
    said = stream.getvalue().splitlines()
    assert said[0] == f"{file}: broken lines skipped: 1"
    assert said[1].startswith(f"{file}: no train record between steps 6 and 12, where")
    file.unlink()
    report(tmp_path, [18], resumed_step=15, stream=stream)
    assert f"{file}: is gone, with the records up to step 15\n" in stream.getvalue()


def test_seconds_go_on_from_the_checkpoint_and_not_from_what_was_dropped(tmp_path):
    lines = [{"step": 5, "seconds": 500.0}, {"step": 6, "seconds": 9000.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report(tmp_path, [6], resumed_step=5)
    assert 500 <= records(tmp_path)[-1]["seconds"] < 560


def test_tensorboard_shows_every_step_once_though_a_run_was_killed(tmp_path):
    report(tmp_path, [3, 6, 9], values={"mlm_loss": 1.5})
    report(tmp_path, [9, 12], resumed_step=8, values={"mlm_loss": 2.5})
    board = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "train"))
    points = [(event.step, event.value) for event in board.Reload().Scalars("mlm_loss")]
    assert points == [(3, 1.5), (6, 1.5), (9, 2.5), (12, 2.5)]


def test_tensorboard_keeps_the_splits_apart(tmp_path):
    with progress.Reporter(str(tmp_path), 20, SHOWN, stream=io.StringIO()) as reporter:
        reporter.train(3, {"mlm_loss": 1.5})
        reporter.evaluation(4, {"mlm_loss": 2.5})
    folder = str(tmp_path / "tensorboard" / "validation")
    board = event_accumulator.EventAccumulator(folder).Reload()
    assert [event.step for event in board.Scalars("mlm_loss")] == [4]


def test_without_tensorboard_the_run_says_so_once_and_goes_on(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = report(tmp_path, [3, 6]).getvalue()
    assert said.count("tensorboard is not installed") == 1
    assert steps_on_disk(tmp_path) == [3, 6]
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(
        errors.UserError, match=r"metrics\.jsonl: No space left"
    ) as info:
        report(tmp_path, [3])
    assert "\n" not in str(info.value)


def test_a_workdir_that_cannot_be_made_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(errors.UserError, match=r"cannot write .*file/run"),
        progress.Reporter(str(tmp_path / "file" / "run"), 20, SHOWN),
    ):
        pytest.fail("the run started")


def test_a_metrics_file_that_is_a_folder_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with (
        pytest.raises(errors.UserError, match=r"cannot write .*metrics\.jsonl"),
        progress.Reporter(str(tmp_path), 20, SHOWN),
    ):
        pytest.fail("the run started")


def test_a_line_shows_progress_losses_quality_and_speed(tmp_path, monkeypatch):
    seconds = iter([0.0, 0.0, 30.0, 30.0])  # Made, recorded, passed step 5.
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds, 30.0))
    line = report(tmp_path, [5]).getvalue()
    assert line == (
        "step 5/20  mlm loss 5.7066  rtd loss 0.3591  mlm acc 0.178  rtd auc 0.819  "
        "12,346 tokens/s  lr 5.60e-04  fill 0.987  ETA 0:01:30\n"
    )


def test_a_masked_language_model_shows_no_discriminator(tmp_path):
    line = report(tmp_path, [5], values={"mlm_loss": 5.5, "mlm_accuracy": 0.2})
    assert "mlm loss 5.5000  mlm acc 0.200  ETA" in line.getvalue()
    assert "rtd" not in line.getvalue()


def test_the_time_left_follows_recent_speed_and_not_the_compilation(
    tmp_path, monkeypatch
):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with progress.Reporter(str(tmp_path), 1000, SHOWN, stream=stream) as reporter:
        for step in range(10, 801, 10):
            now += 500.0 if step == 10 else 10.0 if step < 400 else 40.0
            reporter.train(step, {})
    eta = [line.rpartition("ETA ")[2] for line in stream.getvalue().splitlines()]
    assert eta[0] == "13:45:00"  # 500 seconds for 10 steps, compilation included.
    assert eta[2] == "0:16:10"  # 1 second a step, 970 to go.
    assert eta[-1] == "0:13:20"  # 4 seconds a step, 200 to go.


def test_an_evaluation_is_said_with_its_step(tmp_path):
    stream = io.StringIO()
    with progress.Reporter(str(tmp_path), 20, SHOWN, stream=stream) as reporter:
        reporter.evaluation(1234, {"mlm_loss": 5.25, "rtd_auc": 0.75})
    said = stream.getvalue()
    assert said == "validation at step 1,234: mlm loss 5.2500  rtd auc 0.750\n"


@pytest.mark.parametrize("columns", [12, 41, 80, 110, 300])
def test_on_a_terminal_the_bar_fits_whatever_its_width(tmp_path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    drawn = report(tmp_path, [5, 10], stream=Terminal()).getvalue()
    bars = [bar for bar in re.split(r"\r|\x1b\[K|\n", drawn) if bar]
    assert len(bars) == 2
    assert max(map(len, bars)) < columns
    assert "step 5/20" in bars[0]
    assert ("fill" in bars[1]) == (columns == 300)
    assert ("rtd loss" in bars[1]) == (columns >= 80)
    assert ("[===============               ]" in bars[1]) == (columns == 300)
    assert drawn.endswith("\n")
    assert "\n" not in drawn[:-1]


def test_on_a_terminal_the_bar_moves_between_records(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stream, moves in [(Terminal(), True), (io.StringIO(), False)]:
        with progress.Reporter(str(tmp_path), 20, SHOWN, stream=stream) as reporter:
            reporter.train(5, VALUES)
            reporter.advance(7)
        assert ("step 7/20" in stream.getvalue()) == moves
    assert steps_on_disk(tmp_path) == [5]


def test_on_a_terminal_a_line_stands_above_the_bar(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress.Reporter(str(tmp_path), 20, SHOWN, stream=stream) as reporter:
        reporter.train(5, {})
        reporter.say("saved ckpt-5")
    bar = re.escape("step 5/20")
    assert re.search(rf"{bar}.*\r\x1b\[Ksaved ckpt-5\n.*{bar}.*\n$", stream.getvalue())


def test_a_real_terminal_gets_a_bar(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    with open(follower, "w") as stream:
        report(tmp_path, [5], stream=stream)
        assert re.match(rb"\r.*step 5/20.*\x1b\[K", os.read(leader, 4096))
    os.close(leader)


def test_text_that_the_stream_cannot_hold_is_escaped(tmp_path):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with progress.Reporter(str(tmp_path), 20, SHOWN, stream=stream) as reporter:
        reporter.say("caf\u00e9")
    assert raw.getvalue() == b"caf\\xe9\n"


def test_warnings_are_said_in_one_line_and_once():
    said = []
    with progress.said_warnings(said.append):
        for _ in range(3):
            warnings.warn("2 texts\nare long", stacklevel=1)
        warnings.warn("another", stacklevel=1)
    assert said == ["warning: 2 texts are long", "warning: another"]


def test_what_it_says_is_on_the_disk(tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    with progress.Reporter(str(tmp_path / "run"), 20, SHOWN) as reporter:
        reporter.train(5, {"mlm_loss": 3.0})
        watched.assert_holds(tmp_path / "run")
