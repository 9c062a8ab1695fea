"""Scores on disk survive a killed process."""

import os

import pytest

from electra_tf import errors
from electra_tf.cleaning import oddness, scores


def test_damaged_scores_are_named(tmp_path):
    path = str(tmp_path / "scores.jsonl")
    scores.append(path, [[oddness.Line(3, 0.5, 0.25)], []])
    assert scores.mend(path) == 2
    assert [*scores.read(path)] == [[oddness.Line(3, 0.5, 0.25)], []]
    with open(path, "ab") as file:
        file.write(b"[[1,\x00]]\n[[")
    assert scores.mend(path) == 3
    assert os.path.getsize(path) == len("[[3,0.5,0.25]]\n[]\n[[1,.]]\n")
    with pytest.raises(errors.UserError, match="line 3 is damaged"):
        list(scores.read(path))
