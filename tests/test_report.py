import json
import subprocess
import sys

import pytest


def run_report(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "electra_tf.report", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def workdirs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        record = {"step": 7, "split": "train", "mlm_loss": 5.5}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    return tmp_path


def test_the_command_overlays_workdirs_in_the_first_one(workdirs):
    done = run_report("--workdir=one", "--workdir=two", cwd=workdirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "one/report.html\n"
    assert "two, train" in (workdirs / "one" / "report.html").read_text()


def test_the_command_writes_where_it_is_told(workdirs):
    done = run_report("--workdir=two", "--output=new/page.html", cwd=workdirs)
    assert done.stdout == "new/page.html\n"
    assert "<h1>two</h1>" in (workdirs / "new" / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: --workdir is missing: name the workdir of a run"),
        (["--workdir=gone"], "error: no gone/metrics.jsonl: "),
        (["--workdir=one", "two"], "error: unexpected argument 'two'"),
    ],
)
def test_what_the_user_can_mend_ends_in_one_line(workdirs, arguments, message):
    done = run_report(*arguments, cwd=workdirs)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_report_needs_neither_tensorflow_nor_tensorboard():
    code = (
        "import sys; from electra_tf import report; "
        "heavy = {'tensorflow', 'tensorboard', 'keras', 'numpy'} & set(sys.modules); "
        "print(heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
