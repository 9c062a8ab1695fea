import json

import commands


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "summarize", *flags)


def test_a_document_becomes_some_of_its_sentences(tiny_tuned, tmp_path):
    file = tmp_path / "article.txt"
    file.write_text("The cat sat. A dog ran under a tree. The bird saw it. A cat sat.")
    process = start(
        tmp_path,
        f"--preset={tiny_tuned[0]}",
        f"--input={file}",
        "--num_sentences=2",
        "--set=summary.min_tokens=1",
    )
    assert process.wait() == 0, process.stderr()
    (found,) = [json.loads(line) for line in process.stdout().splitlines()]
    assert found["sentences"][0]["number"] == 0
    assert len(found["sentences"]) == 2
    assert found["num_sentences"] == 4


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    commands.assert_ends_in_one_line(
        start(tmp_path, "--text=a"), "--preset is missing: name the model"
    )
