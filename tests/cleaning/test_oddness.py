"""Lines have the scores that the networks give their tokens."""

import math

import numpy as np
import pytest

from electra_tf.cleaning import clean_config, oddness
from electra_tf.tasks import scorer

DOCUMENTS = [
    ["cats sat", "the dogs saw trees and cats", "a"],
    ["saw"],
    ["and trees sat the cat", "\u6f22 cats dog and the", "\u0301", "cats " * 30],
]


@pytest.mark.parametrize("role", ["discriminator", "energy"])
def test_scores_are_the_scorers_dealt_to_the_lines(presets, role):
    found = oddness.Judge(presets[role], clean_config.ScoreConfig()).judge(DOCUMENTS)
    way = {"discriminator": "replaced", "energy": "energy"}[role]
    asked = scorer.ElectraScorer.from_preset(presets[role], way=way)
    for document, lines in zip(DOCUMENTS, found, strict=True):
        (whole,) = asked.score(["\n".join(document)])
        assert sum(line.num_tokens for line in lines) == whole.num_tokens
        start = 0
        for text, line in zip(document, lines, strict=True):
            end = start + len(text)
            mine = [t.score for t in whole.tokens if start <= t.start < end]
            assert line.num_tokens == len(mine)
            assert line.surprise == pytest.approx(-np.mean(mine) if mine else 0, 1e-4)
            below = [one < math.log(0.5) for one in mine]
            if role == "energy":  # It does not tell.
                assert line.replaced is None
            else:
                assert line.replaced == pytest.approx(np.mean(below) if mine else 0)
            start = end + 1


def test_without_context_a_line_is_read_alone(presets):
    settings = clean_config.ScoreConfig(context=False)
    found = oddness.Judge(presets["discriminator"], settings).judge(DOCUMENTS)
    alone = [[line] for document in DOCUMENTS for line in document]
    together = oddness.Judge(presets["discriminator"], clean_config.ScoreConfig())
    for line, (other,) in zip(
        [line for lines in found for line in lines], together.judge(alone), strict=True
    ):
        assert line.num_tokens == other.num_tokens
        assert line.surprise == pytest.approx(other.surprise, 1e-4)


def test_a_masked_language_model_guesses_each_token_once_in_a_few_passes(presets):
    judge = oddness.Judge(presets["generator"], clean_config.ScoreConfig(passes=3))
    text = "the dogs saw trees and cats"
    ((line,),) = judge.judge([[text]])
    task = scorer.ElectraScorer.from_preset(presets["generator"], way="masking")
    ids = task.preprocessor.tokenizer.encode_with_offsets(text)[0]
    frame = task.preprocessor.frame
    row = np.array([frame.cls_id, *ids, frame.sep_id], np.int32)
    want = []
    for first in range(1, 4):
        places = np.arange(first, len(row) - 1, 3)
        hidden = row.copy()
        hidden[places] = task.preprocessor.tokenizer.mask_token_id
        out = task(
            {
                "token_ids": hidden[None],
                "segment_ids": 0 * row[None],
                "padding_mask": 0 * row[None] + 1,
                "mask_positions": places[None],
                "mask_ids": row[places][None],
            }
        )
        want += np.array(out).ravel().tolist()
    assert line.num_tokens == len(ids) == len(want)
    assert line.surprise == pytest.approx(-np.mean(want), 1e-4)
