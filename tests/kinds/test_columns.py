import pytest

from electra_tf.datasets import tables
from electra_tf.kinds import columns


def test_a_column_has_the_name_that_the_options_give_it_or_its_own():
    named = columns.Columns({"text_column": "review", "choices_column": "a,b"})
    assert named.text({"review": "x", "text": "y"}, "text") == "x"
    assert named.text({"text": "y"}, "text") == "y"  # It is called so all the same.
    assert named.name("choices", {"a": "1", "b": "2"}, several=True) == "a,b"
    assert named.name("choices", {"choices": "[]"}, several=True) == "choices"
    assert named.is_given("text")
    assert not named.is_given("text_pair")


def test_a_row_without_the_column_says_what_it_has():
    named = columns.Columns({"text_column": "review"})
    with pytest.raises(
        tables.BadCellError, match="no column 'review'; it has 'body': re"
    ):
        named.text({"body": "x"}, "text")
