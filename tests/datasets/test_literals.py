"""What Python and numpy print of a list is that list again, or none."""

import numpy as np
import pytest

from electra_tf.datasets import literals

LISTS = [
    ["EU", "rejects"],
    ["it's", 'c "d"', "e'\"f", "tab\tx", "line\nx", "back\\slash"],
    ["x, y", "[z]", "(", "dtype=object", "x, dtype=object"],
    ["caf\u00e9", "\u5317\u4eac"],
    ["a word"] * 60,
    [1, -2],
    [1.5, 2.0],
    [True, False],
    [],
]

SPELLINGS = {
    "python": repr,
    "numpy": lambda items: str(np.array(items)),
    "numpy of objects": lambda items: str(np.array(items, object)),
    "array": lambda items: repr(np.array(items)),
    "array of objects": lambda items: repr(np.array(items, object)),
    "numpy's strings": lambda items: repr(list(np.array(items))),
}


@pytest.mark.parametrize("items", LISTS, ids=str)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_list_survives_being_printed(items, spelling):
    assert literals.parse(SPELLINGS[spelling](items)) == items


def test_lists_within_lists_and_mappings_survive():
    arrays = [np.array(["a"]), np.array(["b c", "d"])]
    assert literals.parse(repr(arrays)) == [["a"], ["b c", "d"]]
    answers = {"text": np.array(["Ada"], object), "answer_start": np.array([4])}
    assert literals.parse(repr(answers)) == {"text": ["Ada"], "answer_start": [4]}
    assert literals.parse("('a', 'b')") == ("a", "b")
    assert literals.parse('{"text": ["Ada"]}') == {"text": ["Ada"]}


@pytest.mark.parametrize(
    "text",
    [
        "[EU, rejects]",
        "[ The cat ]",
        "['a' 'b'",
        "['a', 'b']]",
        "['a', nan]",
        "['it's']",
        "[1](",
        "[" * 10_000,
        "[__import__('os').getcwd()]",
        "[open('x')]",
    ],
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ValueError, match="looks like a list and is none; write JSON"):
        literals.parse(text)


def test_a_list_that_numpy_cut_is_refused():
    with pytest.raises(ValueError, match="numpy left out the middle"):
        literals.parse(str(np.array(["a"] * 2000)))
