import json

import commands


def test_the_nearest_texts_are_found(tiny_preset, tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("the cat sat\na dog ran\nthe bird flew\n")
    process = commands.Started(
        tmp_path,
        commands.run_command,
        "search",
        f"--preset={tiny_preset}",
        f"--corpus={file}",
        "--text=a dog ran",
        "--top_k=2",
    )
    assert process.wait() == 0, process.stderr()
    (line,) = process.stdout().splitlines()
    found = json.loads(line)["found"]
    assert [len(found), found[0]["text"], found[0]["number"]] == [2, "a dog ran", 2]


def test_what_is_missing_is_said_in_one_line(tmp_path):
    process = commands.Started(tmp_path, commands.run_command, "search", "--preset=a")
    commands.assert_ends_in_one_line(process, "--corpus is missing: name the file")
