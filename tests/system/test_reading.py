"""Files of others: an object of JSON, or one line that says why there is none."""

import os

import pytest

from electra_tf import errors
from electra_tf.system import reading


def test_an_object_is_read_as_it_stands(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, null], "b": "\u00fc"}', "utf-8")
    assert reading.read_json(str(tmp_path / "a.json")) == {
        "a": [1, None],
        "b": "\u00fc",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cannot read .*a.json: No such file or directory"),
        (b"{", "a.json is not JSON: Expecting property name"),
        (b"[" * 10**5, "a.json is not JSON: "),
        (b"\xff", "a.json is not JSON: .*utf-8"),
        (b"[3]", r"a.json: want a JSON object, got \[3\]"),
        (b'"' + b"x" * 999 + b'"', "got 'x{59}$"),
    ],
)
def test_what_is_no_object_of_json_is_refused_in_one_line(tmp_path, data, message):
    path = tmp_path / "a.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(errors.UserError, match=message) as error:
        reading.read_json(str(path))
    assert "\n" not in str(error.value)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    for read in (reading.read_json, reading.refuse_pipes):
        with pytest.raises(
            errors.UserError, match=r"a.json is a pipe or a device; put"
        ):
            read(str(tmp_path / "a.json"))
    reading.refuse_pipes(str(tmp_path))
    reading.refuse_pipes(str(tmp_path / "nothing"))


def test_what_the_system_refuses_is_said_of_what_is_read(tmp_path):
    with (
        pytest.raises(errors.UserError, match=r"^cannot read the page .*: Is a direct"),
        reading.explained(f"the page {tmp_path}"),
    ):
        tmp_path.read_bytes()
