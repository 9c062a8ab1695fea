"""Words become tags: every word has one, and the first piece of a word carries it."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import (
    replaced_token_detector,
    token_classifier,
)
from electra_tf.weights import hugging_face

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"

TEXTS = [
    ["the", "cat", "sat", "."],
    ["a", "dog", "ran", "under", "the", "tree"],
    "the bird flew over the roof .",
    ["zebra"],
    [],
] * 4
TAGS = [
    ["O", "B", "V", "O"],
    ["O", "B", "V", "O", "O", "B"],
    "O B V O O B O",
    ["B"],
    [],
] * 4


@pytest.fixture
def build(build_quick_task):
    def make(num_classes=3, length=24, long_texts="truncate", **kwargs):
        return build_quick_task(
            token_classifier.ElectraTokenClassifier,
            rows={"sequence_length": length, "long_texts": long_texts},
            num_classes=num_classes,
            dropout=0.0,
            **kwargs,
        )

    return make


@pytest.mark.slow
@pytest.mark.learns
def test_it_learns_texts_by_heart_and_is_the_same_when_loaded_again(build, tmp_path):
    model = build()
    model.compile(learning_rate=0.015)
    model.fit(TEXTS * 5, TAGS * 5, batch_size=7, epochs=8, verbose=0)
    assert model.class_names == ["B", "O", "V"]
    tags = [text.split() if isinstance(text, str) else text for text in TAGS]
    assert model.predict(TEXTS) == tags
    loss, accuracy = model.evaluate(TEXTS, TAGS, batch_size=3, verbose=0)
    assert accuracy == 1.0
    assert loss < 0.2

    model.save_to_preset(str(tmp_path / "saved"))
    loaded = token_classifier.ElectraTokenClassifier.from_preset(
        str(tmp_path / "saved")
    )
    assert loaded.class_names == model.class_names
    assert loaded.predict_words(TEXTS) == model.predict_words(TEXTS)
    renewed = token_classifier.ElectraTokenClassifier.from_preset(
        str(tmp_path / "saved"), num_classes=5
    )
    assert renewed.class_names is None
    assert renewed.token_classification_head.units == 5


def test_loss_and_accuracy_are_the_means_over_the_words(build):
    model = build(class_names=["B", "O", "V"])
    found = model.predict_words(TEXTS)
    names = np.array(model.class_names)
    rows = model.rows(TEXTS)
    logits = model.outputs_of(rows, batch_size=2)
    losses, hits = [], []
    for text, tags, row, starts in zip(found, TAGS, logits, rows.notes, strict=True):
        tags = tags.split() if isinstance(tags, str) else tags
        for word, tag, start in zip(text, tags, starts, strict=True):
            shares = np.exp(row[start + 1]) / np.exp(row[start + 1]).sum()
            np.testing.assert_allclose(word["score"], shares.max(), rtol=1e-5)
            assert word["tag"] == names[np.argmax(shares)]
            losses.append(-np.log(shares[list(names).index(tag)]))
            hits.append(word["tag"] == tag)
    assert len(losses) == 4 * 18
    loss, accuracy = model.evaluate(TEXTS, TAGS, batch_size=20, verbose=0)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(hits), rtol=1e-6)


def test_the_first_piece_of_a_word_carries_its_tag(build):
    model = build(num_classes=7)
    rows = model.rows([["cat", "zoo", "\x00", "."], "dog"])
    words = model.preprocessor.tokenizer
    assert [words.id_to_token(i) for i in rows.token_ids[0]] == [
        *("[CLS]", "cat", "z", "##o", "##o", "[UNK]", ".", "[SEP]")
    ]
    targets = model.targets([[6, 4, 0, 2], [5]], rows)
    np.testing.assert_array_equal(targets[0], [-1, 6, 4, -1, -1, 0, 2, -1])
    np.testing.assert_array_equal(targets[1], [-1, 5, -1])


@pytest.mark.parametrize("long_texts", ["truncate", "windows"])
@pytest.mark.filterwarnings("ignore:.*lost their end")
def test_every_word_has_a_tag_whatever_it_is(build, long_texts):
    model = build(length=9, long_texts=long_texts)
    texts = [
        [],
        "",
        ["", "\x00", "\u200d", " "],
        ["x" * 300, "\u6f22\u5b57", "caf\u00e9", "\U0001f600", "\ud800"],
        ["[MASK]", "[SEP]", "[CLS]"],
        "the " * 50,
        np.array(["the", "cat"]),
        (b"the", b"\xff"),
    ]
    lengths = [0, 0, 4, 5, 3, 50, 2, 2]
    assert [len(tags) for tags in model.predict(texts, batch_size=3)] == lengths
    assert [len(words) for words in model.predict_words(texts)] == lengths
    assert model.predict([]) == []
    assert len(model.predict("the cat")[0]) == 2


def test_words_that_were_cut_off_are_outside_and_a_warning_says_so(build):
    model = build(length=6, class_names=["B", "O", "V"])
    with pytest.warns(UserWarning, match=r"1 of 2 texts are longer than 6 tokens"):
        found = model.predict_words(["cat sat on the mat .", "cat"])
    assert [word["tag"] for word in found[0][4:]] == ["O", "O"]
    assert [word["score"] > 0 for word in found[0]] == [True] * 4 + [False] * 2
    with pytest.warns(UserWarning, match="long_texts"):
        assert build(length=6).predict("cat sat on the mat .")[0][4:] == [0, 0]


def test_a_word_of_a_long_text_is_read_where_it_has_most_context(build):
    model = build(num_classes=40, length=24, long_texts="windows")
    letters = list("abcdefghijklmnopqrstuvwxyz" * 2)[:40]
    rows = model.rows([["the"], letters])
    # 22 words a window, half of that from one to the next; the last ends the text.
    np.testing.assert_array_equal(rows.source, [0, 1, 1, 1])
    np.testing.assert_array_equal(rows.starts, [0, 0, 11, 18])
    targets = model.targets([[39], list(range(40))], rows)
    # Between two windows, words go to the one whose edge is further away.
    for row, start, words in zip(
        targets[1:], (0, 11, 18), (range(17), range(17, 26), range(26, 40)), strict=True
    ):
        np.testing.assert_array_equal(
            np.flatnonzero(row >= 0), np.array(words) - start + 1
        )
        np.testing.assert_array_equal(row[row >= 0], words)

    found = model.predict_words([letters])[0]
    alone = model.predict_words([letters[11:33]])[0]
    for index in range(17, 26):
        assert found[index]["tag"] == alone[index - 11]["tag"]
        np.testing.assert_allclose(
            found[index]["score"], alone[index - 11]["score"], rtol=1e-4
        )


@pytest.mark.parametrize("head", ["tags", "replaced"])
def test_class_weight_weighs_each_token_by_its_class(
    head, build, tiny_backbone, tiny_preprocessor
):
    texts = [["the", "cat"], ["the", "dog", "ran", "over"]]
    tags = [[0, 1], [0, 1, 1, 1]]
    if head == "tags":
        model, x = build(2, class_names=["O", "B"]), texts
        weights = {"B": 9.0}
    else:
        model = replaced_token_detector.ElectraReplacedTokenDetector(
            tiny_backbone, tiny_preprocessor
        )
        x, weights = [*map(" ".join, texts)], {1: 9.0}
    model.compile(optimizer=keras.optimizers.SGD(0.0))

    def loss(y, **kwargs):
        fit = model.fit(x, y, epochs=1, batch_size=2, verbose=0, **kwargs)
        return fit.history["loss"][0]

    # Of 6 tokens, 4 of class 1: theirs is what the others' does not account for.
    of_ones = loss(tags, class_weight={0: 0.0})
    of_zeros = loss(tags, class_weight={0: 1.0, 1: 0.0})
    assert of_ones + of_zeros == pytest.approx(loss(tags), rel=1e-4)
    weighed = loss(tags, class_weight=weights)
    assert weighed == pytest.approx(9.0 * of_ones + of_zeros, rel=1e-4)
    weighed = loss(tags, class_weight=weights, sample_weight=[2.0, 2.0])
    assert weighed == pytest.approx(2 * (9.0 * of_ones + of_zeros), rel=1e-4)


def test_a_weight_of_0_silences_a_text(build):
    model = build(num_classes=3)
    texts, tags = ["the cat", "the dog ran ."], [[0, 1], [2, 2, 2, 2]]
    silenced = model.evaluate(texts, tags, sample_weight=[1.0, 0.0], verbose=0)[0]
    alone = model.evaluate(texts[:1], tags[:1], verbose=0)[0]
    np.testing.assert_allclose(silenced, alone * 2 / 6, rtol=1e-5)


@pytest.mark.slow
def test_two_replicas_learn_what_one_does(build, two_replicas):
    # As many words a text, so that both replicas' means count alike; and one batch an
    # epoch, for its order is another on two replicas.
    texts = ["the cat sat", "a dog ran", "roof on tree", "bird flew ."] * 4
    tags = [[0, 1, 2], [0, 1, 2], [1, 0, 1], [1, 2, 0]] * 4

    def train():
        keras.utils.set_random_seed(3)
        model = build()
        start = [np.array(weight) for weight in model.weights]
        model.compile(keras.optimizers.SGD(0.5))
        model.fit(texts, tags, batch_size=16, epochs=3, verbose=0)
        # Two rows for one replica, one for the other.
        accuracy = model.evaluate(texts[:3], tags[:3], verbose=0)[1]
        return start, [np.array(weight) for weight in model.weights], accuracy

    start, alone, accuracy = train()
    with two_replicas.scope():
        _, both, shared = train()
    for ours, theirs in zip(alone, both, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert shared == pytest.approx(accuracy)
    moved = [np.abs(now - old).max() for now, old in zip(alone, start, strict=True)]
    assert max(moved) > 0.1


@pytest.fixture
def golden(tmp_path):
    """The golden classifier of transformers, with the vocabulary beside it."""
    folder = Path(shutil.copytree(GOLDEN / "token_classification", tmp_path / "hf"))
    shutil.copy(GOLDEN / "vocab.txt", folder)
    return str(folder)


def test_a_classifier_of_hugging_face_gives_its_logits_and_names(golden):
    model = token_classifier.ElectraTokenClassifier.from_preset(golden)
    assert model.class_names == ["PER", "LOC", "ORG", "MISC", "O"]
    with np.load(GOLDEN / "outputs.npz") as outputs:
        real = outputs["attention_mask"] == 1
        logits = model(
            {
                "token_ids": outputs["input_ids"],
                "segment_ids": outputs["token_type_ids"],
                "padding_mask": outputs["attention_mask"],
            }
        )
        np.testing.assert_allclose(
            np.array(logits)[real],
            outputs["token_classification/logits"][real],
            atol=2e-5,
        )
    assert len(model.predict(["the cat sat"])[0]) == 3


def test_every_array_of_hugging_faces_head_has_its_place(golden):
    model = token_classifier.ElectraTokenClassifier.from_preset(golden, num_classes=2)
    assert model.class_names is None
    head = model.hugging_face_head
    assert {name for name, _ in head.values()} == set(
        hugging_face.HEADS[model.hugging_face_kind]
    )
    paths = {variable.path for variable in model.token_classification_head.weights}
    assert paths == set(head)


@pytest.mark.parametrize(
    ("texts", "tags", "message"),
    [
        (["the cat"], [["B"]], "text 0 has 2 words and 1 tags"),
        (["the", "cat"], [["B"]], "1 labels for 2 inputs"),
        (["the"], None, "the labels are None"),
        (["the"], [5], "labels of text 0 are 5"),
        (["the"], [["X"]], "label 'X' is none of the classes: 'B', 'O', 'V'"),
        (["the"], [[3]], "label 3 is none of the classes 0 to 2"),
        (["the"], [[-1]], "label -1 is none"),
        (["the"], [[0.5]], "label 0.5 is none"),
        (["the"], [[None]], "label None is none"),
        (["the"], [[["B"]]], "is none of the classes"),
        ([["the", 7]], [["B", "O"]], "input 0 has 7, a int"),
        (["the", 7], [["B"], ["O"]], "input 1 has 7, a int"),
        ([], [], "x is empty"),
        ({"words": [["the"]]}, [["B"]], "the inputs are a dict with columns words"),
        (["the"], {"tags": [["B"]]}, "the labels are a dict with columns tags"),
    ],
)
def test_wrong_words_or_tags_are_refused_in_a_line(build, texts, tags, message):
    model = build(class_names=["B", "O", "V"])
    with pytest.raises(errors.UserError, match=message) as caught:
        model.fit(texts, tags, verbose=0)
    assert "\n" not in str(caught.value)


def test_tags_must_be_as_many_as_classes(build):
    with pytest.raises(errors.UserError, match="2 class_names for num_classes=3"):
        build(class_names=["B", "O"])
    with pytest.raises(errors.UserError, match=r"2 values.*num_classes=3"):
        build().fit(["the cat"], [["B", "O"]], verbose=0)
