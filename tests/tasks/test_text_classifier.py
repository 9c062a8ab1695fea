import functools

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.tasks import text_classifier

# Whether a cat is in it.
TEXTS = [
    f"the {who} {what} {where}"
    for who in ("cat", "dog")
    for what in ("sat", "ran")
    for where in ("on the mat", "under a tree", "over", "on a roof .")
]
NAMES = ["yes" if "cat" in text else "no" for text in TEXTS]


@pytest.fixture
def build(build_task):
    return functools.partial(build_task, text_classifier.ElectraTextClassifier)


@pytest.mark.learns
def test_it_learns_texts_by_heart(build):
    classifier = build(2)
    classifier.compile(learning_rate=3e-3)
    history = classifier.fit(TEXTS * 5, NAMES * 5, batch_size=8, epochs=4, verbose=0)
    assert history.history["accuracy"][-1] == 1.0
    assert classifier.class_names == ["no", "yes"]
    found = classifier.predict_classes([*TEXTS, "the cat sat"])
    assert [answer["label"] for answer in found] == [*NAMES, "yes"]
    assert all(answer["score"] > 0.6 for answer in found)
    loss, accuracy = classifier.evaluate(TEXTS, NAMES, verbose=0)
    assert accuracy == 1.0
    assert loss < 0.5


@pytest.mark.slow
@pytest.mark.learns
def test_it_tells_pairs_apart_by_their_second_text(build):
    firsts = [text for text in TEXTS[:4] for _ in range(2)]
    pairs = list(zip(firsts, ["a cat", "a dog"] * 4, strict=True))
    classifier = build(2)
    classifier.compile(learning_rate=3e-3)
    classifier.fit(pairs, [0, 1] * 4, batch_size=4, epochs=40, verbose=0)
    found = classifier.predict((firsts, ["a cat", "a dog"] * 4))
    assert np.argmax(found, axis=1).tolist() == [0, 1] * 4


@pytest.mark.parametrize("head", ["dense", "linear"])
def test_saved_and_loaded_it_predicts_the_same(head, build, tmp_path):
    classifier = build(
        class_names=["no", "so so", "yes"],
        head=head,
        dropout=0.3,
        activation="softmax",
    )
    classifier.save_to_preset(str(tmp_path / "saved"))
    for kind in (
        text_classifier.ElectraTextClassifier,
        keras_hub.models.TextClassifier,
    ):
        again = kind.from_preset(str(tmp_path / "saved"))
        assert type(again) is text_classifier.ElectraTextClassifier
        assert again.class_names == ["no", "so so", "yes"]
        assert again.get_config() == classifier.get_config()
        np.testing.assert_allclose(
            again.predict(TEXTS), classifier.predict(TEXTS), atol=1e-6
        )


@pytest.mark.slow
def test_a_keras_file_holds_it_too(build, tmp_path):
    classifier = build(2)
    classifier.fit(TEXTS[:4], ["a", "b", "a", "b"], epochs=1, verbose=0)
    classifier.save(tmp_path / "whole.keras")
    again = keras.saving.load_model(tmp_path / "whole.keras")
    assert again.class_names == ["a", "b"]
    np.testing.assert_allclose(
        again.predict(TEXTS), classifier.predict(TEXTS), atol=1e-6
    )


def test_whoever_states_num_classes_gets_a_new_head(build, tmp_path):
    classifier = build(class_names=["no", "yes"])
    classifier.save_to_preset(str(tmp_path))
    again = text_classifier.ElectraTextClassifier.from_preset(
        str(tmp_path), num_classes=3
    )
    assert again.class_names is None
    assert again.predict(["the cat"]).shape == (1, 3)
    x = {name: np.ones([1, 5], np.int32) for name in again.input}
    np.testing.assert_allclose(
        again.backbone(x)["pooled_output"],
        classifier.backbone(x)["pooled_output"],
        atol=1e-6,
    )
    same = text_classifier.ElectraTextClassifier.from_preset(
        str(tmp_path), num_classes=2
    )
    kernel = classifier.classification_head.logits.kernel
    assert np.any(same.classification_head.logits.kernel.numpy() != kernel.numpy())


def test_without_activation_the_outputs_are_logits_and_scores_are_probabilities(build):
    logits = build(3)
    shares = text_classifier.ElectraTextClassifier(
        logits.backbone, 3, preprocessor=logits.preprocessor, activation="softmax"
    )
    shares.set_weights(logits.get_weights())
    want = tf.nn.softmax(logits.predict(TEXTS))
    np.testing.assert_allclose(shares.predict(TEXTS), want, atol=1e-6)
    for task in (logits, shares):
        for answer, row in zip(task.predict_classes(TEXTS), want.numpy(), strict=True):
            assert answer["label"] == int(np.argmax(row))
            np.testing.assert_allclose(list(answer["scores"].values()), row, atol=1e-6)
            assert answer["score"] == max(answer["scores"].values())
            assert list(answer["scores"]) == [0, 1, 2]
    # And both have the same loss.
    labels = [i % 3 for i in range(len(TEXTS))]
    one, other = (
        task.evaluate(TEXTS, labels, verbose=0)[0] for task in (logits, shares)
    )
    assert one == pytest.approx(other, abs=1e-5)


def test_labels_in_a_dataset_are_names_or_numbers(build):
    classifier = build(class_names=["no", "yes"])
    want = classifier.evaluate(TEXTS, NAMES, verbose=0)
    numbers = [classifier.class_names.index(name) for name in NAMES]
    for labels in (NAMES, numbers):
        data = tf.data.Dataset.from_tensor_slices((TEXTS, labels)).batch(16)
        np.testing.assert_allclose(classifier.evaluate(data, verbose=0), want, 1e-5)
    with pytest.raises(errors.UserError, match="strings: say which there are, class_n"):
        build(2).evaluate(data.map(lambda x, y: (x, tf.as_string(y))))


@pytest.mark.learns
def test_a_label_that_was_trained_comes_back_where_names_are_numbers(build):
    classifier = build(class_names=np.array([1, 0]))
    classifier.compile(learning_rate=3e-3)
    numbers = [int(name == "yes") for name in NAMES]
    classifier.fit(TEXTS * 5, numbers * 5, batch_size=8, epochs=4, verbose=0)
    found = classifier.predict_classes(TEXTS)
    assert [answer["label"] for answer in found] == numbers
    assert classifier.get_config()["class_names"] == [1, 0]
    data = tf.data.Dataset.from_tensor_slices((TEXTS, numbers)).batch(16)
    assert classifier.evaluate(data, verbose=0)[1] == 1.0


def test_one_hot_labels_are_numbers_for_the_tasks_loss_and_vectors_for_yours(build):
    classifier = build(2)
    numbers = [int(name == "yes") for name in NAMES]
    hot = np.eye(2)[numbers]
    data = tf.data.Dataset.from_tensor_slices((TEXTS, hot)).batch(16)
    want = classifier.evaluate(TEXTS, numbers, verbose=0)
    for x, y in ((TEXTS, hot), (TEXTS, hot.tolist()), (data, None)):
        np.testing.assert_allclose(classifier.evaluate(x, y, verbose=0), want, 1e-5)
    for kind in (
        keras.losses.CategoricalCrossentropy,
        keras.losses.BinaryCrossentropy,
    ):
        classifier.compile(loss=kind(from_logits=True))
        logits = classifier.predict(TEXTS)
        want = float(kind(from_logits=True)(hot, logits))
        for x, y in ((TEXTS, hot), (data, None)):
            loss, accuracy = classifier.evaluate(x, y, verbose=0)
            assert loss == pytest.approx(want, abs=1e-5)
            assert accuracy == np.mean(np.argmax(logits, axis=1) == numbers)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "num_classes=None: say how many"),
        ({"num_classes": 3, "class_names": ["a", "b"]}, "2 class_names for num_class"),
        ({"num_classes": 2, "head": "big"}, "head='big'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(kwargs, message, build):
    with pytest.raises(errors.UserError, match=message):
        build(**kwargs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["yes", "no", "maybe"], r"3 values \(maybe, no, yes\), num_classes=2"),
        (["yes", "yes", "yes"], r"1 values \(yes\), num_classes=2"),
        ([0, 1, 2], "label 2 is none of the classes 0 to 1"),
        ([0, 1, 0.5], "label 0.5 is none"),
        ([0, 1, None], "label None is none"),
        ([0, "yes", "no"], "label 0 is a int, others are strings"),
        ([[0, 1], [1, 1], [0, 1]], r"label 1 is \[1.0, 1.0\], and the loss takes one"),
        ([[0, 1], 0, 1], "label 1 is 0, others are vectors; want 2 numbers"),
        ([0, 1], "2 labels for 3 inputs"),
        (None, "the labels are None; want a list"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message, build):
    with pytest.raises(errors.UserError, match=message) as told:
        build(2).fit(["the cat", "a dog", "ran"], labels, verbose=0)
    assert "\n" not in str(told.value)


def test_a_label_that_training_did_not_have_is_refused(build):
    classifier = build(class_names=["no", "yes"])
    with pytest.raises(errors.UserError, match="label 'perhaps' is none of"):
        classifier.evaluate(["the cat"], ["perhaps"])


def test_it_computes_in_bfloat16_where_asked(tiny_model_config, tiny_preprocessor):
    from electra_tf.tasks import backbone

    small = backbone.ElectraBackbone.from_model_config(
        config.ModelConfig(**tiny_model_config.model_dump()), dtype="mixed_bfloat16"
    )
    classifier = text_classifier.ElectraTextClassifier(
        small, 2, preprocessor=tiny_preprocessor
    )
    classifier.fit(TEXTS, NAMES, batch_size=8, epochs=2, verbose=0)
    assert classifier.classification_head.dense.compute_dtype == "bfloat16"
    assert classifier.predict(TEXTS).dtype == np.float32
    assert all(v.dtype == "float32" for v in classifier.trainable_variables)


# Several classes of one text.

LABELS = [
    [name for name, word in (("c", "cat"), ("s", "sat")) if word in text]
    for text in TEXTS
]


@pytest.mark.slow
@pytest.mark.learns
def test_it_learns_texts_with_several_classes_or_none(build, tmp_path):
    classifier = build(2, multi_label=True, thresholds=[0.5, 0.4])
    classifier.compile(learning_rate=1e-2)
    history = classifier.fit(TEXTS, LABELS, batch_size=8, epochs=30, verbose=0)
    assert history.history["micro_f1"][-1] > 0.9
    assert classifier.class_names == ["c", "s"]
    found = classifier.predict_classes(TEXTS)
    assert [answer["labels"] for answer in found] == LABELS
    assert [] in LABELS
    shares = [list(answer["scores"].values()) for answer in found]
    np.testing.assert_allclose(shares, tf.sigmoid(classifier.predict(TEXTS)), rtol=1e-5)
    hot = np.array([[c in some for c in "cs"] for some in LABELS])
    assert classifier.evaluate(TEXTS, hot, verbose=0)[1] > 0.95
    classifier.save_to_preset(str(tmp_path / "saved"))
    again = text_classifier.ElectraTextClassifier.from_preset(str(tmp_path / "saved"))
    assert (again.multi_label, again.thresholds) == (True, [0.5, 0.4])
    assert again.predict_classes(TEXTS[:2]) == [
        {**one, "scores": pytest.approx(one["scores"], abs=1e-6)} for one in found[:2]
    ]
    other = text_classifier.ElectraTextClassifier.from_preset(
        str(tmp_path / "saved"), num_classes=3
    )
    assert (other.num_classes, other.thresholds) == (3, 0.5)


def test_a_server_gives_the_classes_above_the_threshold(build):
    classifier = build(
        class_names=["c", "m", "t"], multi_label=True, thresholds=[0.5, 0.4, 0.6]
    )
    wanted = classifier.predict_classes(TEXTS[:3])
    assert sum(len(one["labels"]) for one in wanted) not in (0, 9)
    found = classifier.signatures()["serving_default"].function(tf.constant(TEXTS[:3]))
    for place, one in enumerate(wanted):
        count = int(found["num_labels"][place])
        labels = [label.decode() for label in found["labels"][place].numpy()]
        assert labels == one["labels"] + [""] * (3 - count)
        np.testing.assert_allclose(
            found["scores"][place], list(one["scores"].values()), atol=1e-5
        )


def test_labels_of_several_classes_may_come_in_a_dataset(build):
    classifier = build(class_names=["c", "s"], multi_label=True)
    for labels in (
        np.array([[c in some for c in "cs"] for some in LABELS], np.float32),
        tf.ragged.constant(LABELS, dtype=tf.string),
    ):
        data = tf.data.Dataset.from_tensor_slices((TEXTS, labels)).batch(8)
        _, y = next(iter(classifier.dataset(data, in_order=True)))[:2]
        np.testing.assert_array_equal(
            y[:4], [[c in some for c in "cs"] for some in LABELS[:4]]
        )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"activation": "softmax"},
            "softmax.* is for one class per text; of multi_label",
        ),
        ({"thresholds": [0.5, 0.5]}, "want a number between 0 and 1, or 3 of them"),
    ],
)
def test_what_does_not_go_with_several_classes_is_refused(kwargs, message, build):
    with pytest.raises(errors.UserError, match=message):
        build(3, multi_label=True, **kwargs)
    classifier = build(3, multi_label=True)
    with pytest.raises(errors.UserError, match="may have several classes each"):
        classifier.fit(TEXTS, np.ones([len(TEXTS), 3]), class_weight={0: 2.0})
    with pytest.raises(errors.UserError, match="label 3 is none of the classes 0 to 2"):
        classifier.targets([[3]] * 2, classifier.rows(TEXTS[:2]))
