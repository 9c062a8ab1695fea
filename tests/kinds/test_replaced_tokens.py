import warnings

import pytest

from electra_tf.kinds import replaced_tokens

KIND = replaced_tokens.KIND


def test_a_blank_is_told_to_be_for_the_generator():
    with pytest.warns(UserWarning, match=r"\[MASK\] in a text is judged as any other"):
        KIND.remark(["a", "the [MASK] ."])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KIND.remark(["a", "b"])


def test_a_servers_answer_is_that_of_python():
    said = {
        "tokens": ["a", "b", ""],
        "starts": [0, 2, 0],
        "ends": [1, 3, 0],
        "probabilities": [0.25, 0.5, 0.0],
        "num_tokens": 2,
    }
    assert KIND.response(said, "a b")["tokens"] == [
        {"token": "a", "start": 0, "end": 1, "probability": 0.25},
        {"token": "b", "start": 2, "end": 3, "probability": 0.5},
    ]
