import types

import pytest

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.kinds import classification

KIND = classification.KIND


def split(labels):
    texts = [str(number) for number in range(len(labels))]
    return dataset.Split(texts, texts, labels, "mine.tsv")


def test_the_commonest_class_is_guessed():
    assert KIND.guess(["a", "b", "b"], split(["a", "a"])) == ["b", "b"]


def test_whole_numbers_are_spelled_as_the_models_classes():
    model = types.SimpleNamespace(
        kind="classification", class_labels=lambda: ["0", "1"]
    )
    data = types.SimpleNamespace(kind="classification", name="mine")
    assert KIND.fit(model, data, split(["1.0", "0.0"])).labels == ["1", "0"]
    with pytest.raises(errors.UserError, match="label '2' is none of the classes"):
        KIND.fit(model, data, split(["2"]))
    model.kind = "multi_label"
    with pytest.raises(errors.UserError, match=r"several .*--task=multi_label_class"):
        KIND.fit(model, data, split(["1"]))


def test_a_wrong_class_is_as_bad_as_it_was_sure():
    row = {"gold": "a", "label": "b", "score": 0.75}
    assert KIND.judge(row) == (0.75, "b (0.750), right: a")
    assert KIND.judge({**row, "gold": "b"}) is None
    assert KIND.confused([row]) == (["a"], ["b"])


def test_a_servers_answer_is_that_of_python():
    said = {"label": "a", "score": 0.75, "classes": ["a", "b"], "scores": [0.75, 0.25]}
    assert KIND.response(said, "text") == {
        "label": "a",
        "score": 0.75,
        "scores": {"a": 0.75, "b": 0.25},
    }
