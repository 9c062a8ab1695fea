import types

import pytest

from electra_tf import errors
from electra_tf.datasets import tables
from electra_tf.kinds import columns, tagging

KIND = tagging.KIND
NAMES = columns.Columns({})


def test_words_come_from_a_list_or_from_a_text():
    assert KIND.example(NAMES, {"words": ["a", "b"], "text": "c"}) == ["a", "b"]
    assert KIND.example(NAMES, {"text": "a b"}) == ["a", "b"]
    with pytest.raises(tables.BadCellError, match="no column 'words'"):
        KIND.example(NAMES, {"body": "a"})


def test_a_server_is_not_asked_of_words_that_it_would_split():
    assert KIND.request(["a", "b"]) == {"text": "a b"}
    for word in ("a b", ""):
        with pytest.raises(errors.UserError, match="a server splits texts at white"):
            KIND.request(["a", word])
    said = {"tags": ["O", "B", ""], "scores": [0.5, 0.75, 0.0], "num_words": 2}
    assert KIND.response(said, ["a", "b"]) == {
        "tags": ["O", "B"],
        "scores": [0.5, 0.75],
    }


def test_the_commonest_tag_of_all_words_is_guessed_of_each():
    dev = types.SimpleNamespace(inputs=[["a"], ["b", "c"]])
    assert KIND.guess([["O", "B"], ["O"]], dev) == [["O"], ["O", "O"]]


def test_wrong_tags_stand_beside_their_words():
    row = {
        "words": ["x", "y"],
        "gold": ["O", "B"],
        "tags": ["O", "O"],
        "scores": [1, 2],
    }
    assert list(KIND.page_texts(row)) == ["x y [B, not O]"]
    assert KIND.judge(row) == (2, "1 of 2 tags are wrong")
    assert KIND.judge({**row, "gold": ["O", "O"]}) is None
    assert KIND.confused([row, row]) == (["O", "B"] * 2, ["O", "O"] * 2)
