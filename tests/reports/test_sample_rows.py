"""Held-out rows, in a file and as text."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from electra_tf import errors
from electra_tf.reports import sample_rows

CHINESE = ["\u9019", "\u90e8", "\u96fb", "\u5f71", "\u3002"]
ROW = sample_rows.Row(
    tokens=["[CLS]", "an", "un", "##able", "film", "(", "fun", ")", "!", "[SEP]"],
    hidden=[
        sample_rows.Hidden(position=3, original="##able", sampled="##fit"),
        sample_rows.Hidden(position=6, original="fun", sampled="fun"),
    ],
    probability=[0.0, 0.51, 0.1, 0.93, 0.5, 0.2, 0.04, 0.3, 0.1, 0.0],
)


def samples_of(*rows, step=7, **told):
    words = {"filled_by": "the generator", "judged_by": "the judge", "judged": "odd"}
    return sample_rows.Samples(step=step, rows=list(rows), **{**words, **told})


def test_samples_come_back_as_they_were_written(tmp_path):
    path = str(tmp_path / "samples.json")
    other = sample_rows.Row(tokens=CHINESE, hidden=[], probability=None)
    sample_rows.write(path, samples_of(ROW, other))
    assert sample_rows.read(path) == samples_of(ROW, other)
    plain = json.loads(Path(path).read_text(encoding="utf-8"))
    assert plain["rows"][0]["hidden"][0] == {
        "position": 3,
        "original": "##able",
        "sampled": "##fit",
    }


def test_held_out_rows_are_made_of_what_was_hidden_drawn_and_judged():
    vocab = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
    batch = {
        "token_ids": [[1, 3, 5, 3, 2, 0], [0] * 6, [1, 4, 2, 0, 0, 0]],
        "example_ids": [[1, 1, 1, 1, 1, 0], [0] * 6, [1, 1, 1, 0, 0, 0]],
        "mask_positions": [[1, 3], [0, 0], [1, 0]],
        "mask_ids": [[4, 6], [0, 0], [4, 0]],
        "mask_weights": [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]],
    }
    batch = {name: np.array(value) for name, value in batch.items()}
    sampled = np.array([[5, 6], [0, 0], [6, 0]])
    judged = np.full([3, 6], 0.25)
    found = sample_rows.rows_of(
        batch, {"sampled": sampled, "probability": judged}, vocab
    )
    first, second = found  # Between them, one without tokens.
    assert first.tokens == ["[CLS]", "a", "b", "c", "[SEP]"]
    hidden = [(one.position, one.original, one.sampled) for one in first.hidden]
    assert hidden == [(1, "a", "b"), (3, "c", "c")]
    assert first.probability == [0.25] * 5
    assert second.tokens == ["[CLS]", "a", "[SEP]"]
    (row, _) = sample_rows.rows_of(batch, {"sampled": sampled}, vocab)
    assert row.probability is None


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"step": 1, "rows": [{"tokens": ["a"], "hidden": []}]}', "\xff"],
)
def test_a_file_without_samples_is_named(tmp_path, text):
    path = tmp_path / "samples.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(
        errors.UserError, match=r"samples\.json holds no samples"
    ) as info:
        sample_rows.read(str(path))
    assert "\n" not in str(info.value)


def test_verdicts_and_hidden_positions_must_fit_the_tokens():
    with pytest.raises(ValueError, match="2 verdicts for 3 tokens"):
        sample_rows.Row(tokens=["a", "b", "c"], hidden=[], probability=[0, 1])
    beyond = sample_rows.Hidden(position=3, original="a", sampled="b")
    with pytest.raises(ValueError, match="exceeds the 3 tokens"):
        sample_rows.Row(tokens=["a", "b", "c"], hidden=[beyond], probability=None)


def running_text(tokens):
    row = sample_rows.Row(tokens=tokens, hidden=[], probability=None)
    return "".join(
        span.gap + (span.token[2:] if sample_rows.is_piece(span.token) else span.token)
        for span in sample_rows.spans(row)
    )


def test_running_text_joins_pieces_and_punctuation_and_breaks_at_examples():
    tokens = ["[CLS]", "un", "##able", "(", "so", ",", "no", ")", "[SEP]"]
    text = "[CLS] unable (so, no) [SEP]"
    assert running_text(tokens * 2) == f"{text}\n{text}"


def test_running_text_has_spaces_between_words_only_of_scripts_that_have_them():
    korean = ["\ud55c\uad6d", "\uc601\ud654"]
    assert running_text(CHINESE) == "".join(CHINESE)
    assert running_text(korean) == " ".join(korean)
    assert running_text(["", "##", "[UNK]"]) == "## [UNK]"


def test_a_row_as_text_shows_fills_lucky_guesses_and_flagged_tokens():
    assert sample_rows.lines(samples_of(ROW)) == [
        "{was->put p}: hidden, and what the generator put; {was= p}: a lucky guess;",
        "p: how probably it is odd, says the judge; !: above 0.5.",
        "",
        "row 1:",
        "[CLS] an{0.51!} un{##able->##fit 0.93!} film ({fun= 0.04})! [SEP]",
    ]


def test_a_row_without_verdicts_shows_the_fills_alone():
    row = ROW.model_copy(update={"probability": None})
    lines = sample_rows.lines(samples_of(row, judged_by=""))
    assert not [line for line in lines if line.startswith("p:")]
    text = "[CLS] an un{##able->##fit} film ({fun=})! [SEP]"
    assert sample_rows.lines(samples_of(row))[-1] == text


def test_long_rows_are_wrapped_between_words_of_any_width():
    words = [*["word", "##s"] * 40, *CHINESE * 12]
    row = sample_rows.Row(tokens=words, hidden=[], probability=None)
    lines = sample_rows.lines(samples_of(row, row), width=30)
    body = lines[lines.index("row 2:") + 1 :]
    assert "".join(body).replace(" ", "") == "words" * 40 + "".join(CHINESE * 12)
    widths = [sum(1 if char.isascii() else 2 for char in line) for line in body]
    assert max(widths) <= 30 + len("s")  # A piece stays with its word.
    assert all(first != "" for first, _ in itertools.pairwise(body))
