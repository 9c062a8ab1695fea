import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from electra_tf import __main__

# A command like any other, but for what it does: nothing, or what its flag says.
COMMAND = """
    import os
    from absl import flags, logging
    from electra_tf import cli, config, errors

    LOG_LEVEL = os.environ["TF_CPP_MIN_LOG_LEVEL"]
    PLACE = flags.DEFINE_string("place", None, "Where.")
    TROUBLE = flags.DEFINE_string("trouble", "", "What goes wrong.")
    flags.adopt_module_key_flags(cli)

    def main():
        settings = cli.load(config.PretrainConfig)
        logging.info("chatter")
        if TROUBLE.value == "user":
            raise errors.UserError("no corpus at x: name a folder")
        if TROUBLE.value == "file":
            open("/dev/null/data")
        if TROUBLE.value == "bug":
            raise ZeroDivisionError("ours")
        place = cli.require("place", "say where")
        print("steps", settings.train.steps, "at", place, "level", LOG_LEVEL)

    if __name__ == "__main__":
        cli.run(main)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the command with some flags; returns what the process left."""
    script = tmp_path_factory.mktemp("command") / "command.py"
    script.write_text(textwrap.dedent(COMMAND), encoding="utf-8")

    def start(*arguments):
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            env={"PYTHONPATH": "."},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    start.script = script
    return start


def assert_ends_in_one_line(process, line):
    assert process.returncode == 1
    assert process.stderr == f"error: {line}\n"
    assert process.stdout == ""


def test_a_command_runs_with_its_settings(run):
    process = run("--place=here", "--config=configs/debug.yaml", "--set=train.steps=70")
    assert (process.stdout, process.stderr) == ("steps 70 at here level 2\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--trouble=user"], "no corpus at x: name a folder"),
        (["--trouble=file"], "/dev/null/data: Not a directory"),
        ([], "--place is missing: say where"),
        (["here"], "unexpected argument 'here': every argument is a --flag"),
        (
            ["--set=train.stepps=7"],
            "--set: no setting train.stepps; did you mean train.steps?",
        ),
        (
            ["--config=none.yaml"],
            "cannot read settings none.yaml: No such file or directory",
        ),
        (
            ["--config=\x1b[2J\u202e.yaml"],
            r"cannot read settings \u001b[2J\u202e.yaml: No such file or directory",
        ),
    ],
)
def test_what_the_user_can_mend_ends_in_one_line_and_code_1(arguments, line, run):
    assert_ends_in_one_line(run(*arguments), line)


def test_the_chatter_of_libraries_is_heard_only_on_request(run):
    assert run("--place=here").stderr == ""
    assert "chatter" in run("--place=here", "--verbosity=0").stderr


def test_our_own_bugs_show_where_they_are(run):
    process = run("--trouble=bug")
    assert process.returncode == 1
    assert "Traceback" in process.stderr
    assert "ZeroDivisionError: ours" in process.stderr


def test_an_unknown_flag_is_refused_with_the_nearest(run):
    process = run("--pleace=here")
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "Unknown command line flag 'pleace'. Did you mean: place ?" in process.stderr


@pytest.mark.parametrize(("flag", "code"), [("--print_config", 0), ("--help", 1)])
def test_a_reader_that_has_seen_enough_is_no_error(flag, code, run):
    command = f"'{sys.executable}' '{run.script}' {flag} | true"
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.stdout, process.stderr) == ("", "")
    assert process.returncode == code  # absl ends in 1 after --help.


def test_print_config_prints_every_setting_and_stops(run):
    process = run("--print_config", "--set=train.steps=1e5", "--trouble=bug")
    assert (process.returncode, process.stderr) == (0, "")
    assert "\n  steps: 100000  # Optimizer updates.\n" in process.stdout


def electra_tf(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "electra_tf", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_are_listed_with_a_line_each():
    process = electra_tf()
    assert (process.returncode, process.stderr) == (0, "")
    for name in __main__.COMMANDS:
        assert re.search(rf"^  {name} +[A-Z].*\.$", process.stdout, re.M), name
    assert {*__main__.COMMANDS} == {
        file.stem
        for file in Path(__main__.__file__).parent.glob("*.py")
        if "\n    cli.run(main)" in file.read_text(encoding="utf-8")
    }


def test_a_command_is_run_by_its_name_with_settings_by_theirs():
    process = electra_tf("pretrain", "--config=debug", "--print_config")
    assert (process.returncode, process.stderr) == (0, "")
    assert "records: data/builtin  #" in process.stdout


def test_a_command_that_there_is_not_is_refused_with_the_nearest():
    process = electra_tf("pretain")
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith(
        "error: no command 'pretain'; did you mean pretrain? There are build_data, pre"
    )


def test_the_command_of_an_installation_is_the_same():
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"electra-tf": "electra_tf.__main__:main"}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"configs": "electra_tf/configs"}


def test_help_shows_the_shared_flags_beside_the_commands_own(run):
    process = run("--help")
    for flag in ("--config:", "--set:", "--[no]print_config:", "--place:"):
        assert flag in process.stdout
