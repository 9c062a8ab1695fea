"""Tests of errors: a reason in few words, whoever was refused."""

import pytest

from electra_tf import errors


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "many\nwords of HDF5"), "No space left on device"),
        (
            RuntimeError("Can't decrement id ref count (error message = 'No space left "
                         "on device', buf = 0x1)"),
            "No space left on device",
        ),
        (PermissionError(13, "Permission denied", "x"), "Permission denied"),
        (RuntimeError("two\n  lines " + "x" * 200), "two lines " + "x" * 150),
    ],
)  # fmt: skip
def test_the_reason_of_a_refusal_is_the_systems_if_it_is_there(error, reason):
    assert errors.reason(error) == reason


def test_a_message_becomes_one_line_of_some_length():
    assert errors.one_line(ValueError(" a\n\tb  c")) == "a b c"
    assert errors.one_line("ab\ncd", 4) == "ab c"


def test_a_list_stays_on_one_line_and_says_how_many_it_leaves_out():
    assert errors.listed(["a", "b"]) == "a, b"
    assert errors.listed("abcd", limit=3, separator="; ") == "a; b; c and 1 more"
    assert errors.listed(["a\nb", "\x1b[31m", "\u00fc"]) == "a\\nb, \\x1b[31m, \u00fc"
    assert errors.listed(["x" * 999]) == "x" * 120
    assert errors.listed(iter(range(20))).endswith("6, 7 and 12 more")


def test_what_is_not_known_is_named_with_the_nearest_that_is():
    errors.refuse_unknown("bird", ["wing"], ["wing", "beak"])
    with pytest.raises(errors.UserError, match="bird has no 'Wings'; did you mean wi"):
        errors.refuse_unknown("bird", ["wing", "Wings"], ["wing", "beak"])
    with pytest.raises(errors.UserError, match="bird has no 'sail'; it has wing, beak"):
        errors.refuse_unknown("bird", ["sail"], ["wing", "beak"])
