import json

import commands
import pytest

from electra_tf.finetuning import predictor, task_config


def start(folder, *flags):
    return commands.Started(folder, commands.run_command, "score", *flags)


def test_it_scores_lines_a_sentence_and_a_token(tiny_preset, tmp_path):
    (tmp_path / "in.txt").write_text("the cat sat\n\na dog\n")
    flags = [f"--preset={tiny_preset}", f"--input={tmp_path}/in.txt"]
    process = start(tmp_path, *flags)
    assert process.wait() == 0, process.stderr()
    found = [json.loads(line) for line in process.stdout().splitlines()]
    assert [one["text"] for one in found] == ["the cat sat", "", "a dog"]
    assert [one["num_tokens"] for one in found] == [3, 0, 2]
    for one in found:
        scores = [token["score"] for token in one["tokens"]]
        assert sum(scores) == pytest.approx(one["score"], abs=1e-4)
        assert all(score < 0 for score in scores)


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    commands.assert_ends_in_one_line(
        start(tmp_path, "--text=a"), "--preset is missing: name the model"
    )


def test_settings_reach_the_scorer_and_tokens_can_be_left_out(
    tiny_preset, tmp_path, capsys
):
    settings = task_config.ScoreConfig(
        data={"options": {"text_column": "review"}},
        score={"way": "replaced", "tokens": False, "sequence_length": 9, "stride": 3},
    )
    wanted = settings.of_prediction()
    assert wanted.model.options == {"way": "replaced", "hide": "token"}
    assert (wanted.model.sequence_length, wanted.model.stride) == (9, 3)
    (tmp_path / "in.tsv").write_text("id\treview\nx\tthe cat sat on\n")
    predictor.predict(
        tiny_preset,
        wanted,
        network=predictor.SCORER,
        source=str(tmp_path / "in.tsv"),
        left_out=["tokens"],
    )
    (found,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert found.keys() == {"id", "text", "score", "num_tokens"}
    assert found["score"] < 0
