import types

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.kinds import kind


class Plain(kind.Kind):
    name = "plain"
    fields = ("text", "text_pair")

    def values(self, split, answers):
        return [one["value"] for one in answers]


SPLIT = dataset.Split(["1"], ["a"], ["x"], "mine.tsv")


def test_what_a_kind_does_not_say_is_nothing():
    plain, answers = Plain(), [{"value": 1}]
    assert plain.head(["a"]) == {}
    assert plain.keeps_head(None, [], [])
    assert plain.group("a") is None
    assert plain.fit(None, None, SPLIT) is SPLIT
    assert plain.settle(None, {}, answers) is answers
    assert plain.classes(["x"]) == set()
    assert plain.by_class([], []) == {}
    assert plain.confused([]) is None
    assert plain.page_tables([]) == []
    assert plain.show_label(["a"]) == ["a"]
    row = {"text_pair": "b", "text": "a", "gold": "c"}
    assert list(plain.page_texts(row)) == ["a", "b"]


def test_what_is_handed_in_is_of_splits_without_labels():
    written = []
    data = types.SimpleNamespace(write_submission=lambda *said: written.append(said))
    hidden = dataset.Split(["1"], ["a"], None, "mine.tsv")
    for split in (SPLIT, hidden):
        Plain().hand_in("here", data, "test", split, [{"value": 7}])
    assert written == [("here", "test", hidden, [7])]
    data.write_submission = None
    Plain().hand_in("here", data, "test", hidden, [{"value": 7}])


def test_labels_that_a_model_does_not_know_are_refused():
    kind.refuse_unknown(SPLIT, {"x"}, ["x", "y"])
    with pytest.raises(errors.UserError, match=r"mine\.tsv: label 'b' is none .* x, y"):
        kind.refuse_unknown(SPLIT, {"x", "c", "b"}, ["x", "y"])


def test_what_is_sent_is_utf_8_and_lists_become_objects():
    assert kind.sendable("a\ud83d") == "a?"
    said = {"tokens": ["a", "b", ""], "starts": [0, 2, 0]}
    assert kind.objects(said, 2, {"token": "tokens", "start": "starts"}) == [
        {"token": "a", "start": 0},
        {"token": "b", "start": 2},
    ]
