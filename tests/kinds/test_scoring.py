import warnings

import pytest

from electra_tf.kinds import registry, replaced_tokens, scoring


def test_a_servers_answer_is_that_of_python():
    said = {
        "score": -3.5,
        "num_tokens": 2,
        "tokens": ["a", "##b", ""],
        "starts": [0, 1, 0],
        "ends": [1, 2, 0],
        "token_scores": [-1.5, -2.0, 0.0],
    }
    assert scoring.KIND.response(said, "ab") == {
        "score": -3.5,
        "num_tokens": 2,
        "tokens": [
            {"token": "a", "start": 0, "end": 1, "score": -1.5},
            {"token": "##b", "start": 1, "end": 2, "score": -2.0},
        ],
    }


def test_a_server_with_a_scorer_is_not_taken_for_a_detector():
    """Its answers have all that a detector's have."""
    kinds = [*registry.KINDS.values()]
    assert kinds.index(scoring.KIND) < kinds.index(replaced_tokens.KIND)


def test_a_blank_is_told_where_it_is_filled_in():
    with pytest.warns(UserWarning, match="--network=generator fills it in"):
        scoring.KIND.remark(["a cat", "a [MASK]"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scoring.KIND.remark(["a cat"])
