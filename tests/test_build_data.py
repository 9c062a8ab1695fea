"""The command: its flags, its exit codes, what it prints."""

import itertools
import os
import signal
import subprocess
import sys

import commands
import pytest

from electra_tf.text import record_reader, records, vocabularies


def run(*flags: str) -> tuple[int, str, str]:
    process = subprocess.run(
        [sys.executable, "-m", "electra_tf.build_data", *map(str, flags)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        check=False,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a good film\n\nno good film\n\n" * 50)
    return folder


def test_text_becomes_data_and_the_same_command_again_finds_them(texts):
    data = texts.parent / "data"
    (texts.parent / "more.jsonl").write_text('{"text": "another film"}\n')
    flags = [f"--corpus={texts},{texts.parent}/*.jsonl", f"--corpus={texts}/a.txt"]
    flags += [f"--output={data}", "--vocab_size=101", "--set", "seed=7"]
    code, out, err = run(*flags)
    assert code == 0, err
    assert "201 documents, " in out
    manifest = record_reader.read_manifest(str(data))
    assert manifest.settings.vocab_size == 101
    assert manifest.settings.seed == 7
    assert [source.files for source in manifest.sources] == [1, 1, 1]
    code, out, _ = run(*flags)
    assert code == 0
    assert "already built" in out


def build_until_a_shard(number, *flags):
    """Builds, and is killed when this many shards are written."""
    write, written = records.write, itertools.count(1)

    def write_or_die(*arguments):
        found = write(*arguments)
        if next(written) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    records.write = write_or_die
    commands.run_command("build_data", *flags)


def test_a_killed_build_is_no_data_and_the_next_one_finishes_it(texts):
    data = texts.parent / "data"
    vocab = texts.parent / "vocab.txt"
    vocabularies.write(vocab, [*vocabularies.SPECIAL_TOKENS, "film"])
    flags = [f"--corpus={texts}", f"--output={data}", f"--vocab={vocab}"]
    process = commands.Started(texts.parent, build_until_a_shard, 3, *flags)
    assert process.wait() == -signal.SIGKILL
    assert len(list(data.glob("*/*"))) == 3
    assert not (data / "manifest.json").exists()
    code, out, err = run(*flags)
    assert code == 0, err
    assert "interrupted build; starting clean" in out
    assert record_reader.read_manifest(str(data)).num_documents == 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=data"], "error: --corpus is missing"),
        (["--corpus=texts"], "error: --output is missing"),
        (
            ["--corpus=none", "--output=data"],
            "error: --corpus=none: no such file or folder",
        ),
        (
            ["--corpus=x", "--output=data", "--vocab=v.txt", "--vocab_size=100"],
            "error: --vocab=v.txt and --vocab_size=100 contradict each other",
        ),
        (
            ["--corpus=x", "--output=data", "--set", "min_shard=3"],
            "no setting min_shard; did you mean min_shards?",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_1(flags, message, tmp_path):
    process = commands.Started(tmp_path, commands.run_command, "build_data", *flags)
    commands.assert_ends_in_one_line(process, message)
