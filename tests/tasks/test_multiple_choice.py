"""The choices of a prompt are rows of one example, however many there are."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.tasks import multiple_choice

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"

# Two, three and one choices.
EXAMPLES = [
    ("the cat sat on", ["the mat", "the bird flew over the roof"]),
    ("who flew", ["a bird", "a dog", "the cat under the mat"]),
    ("where", ["tree"]),
]


@pytest.fixture
def build(build_quick_task):
    def make(dtype=None, **rows):
        kind = multiple_choice.ElectraMultipleChoice
        # Of smaller ones so narrow an encoder learns next to nothing.
        model = {"hidden_size": 24, "initializer_range": 0.3}
        return build_quick_task(kind, model, rows, dtype, dropout=0.0)

    return make


def make_examples(count):
    """Draws prompts, two to four choices, and a right one at random."""
    chance = random.Random(4)
    words = "the cat dog bird sat ran flew on under over mat tree roof".split()
    x, y = [], []
    for number in range(count):
        choices = [
            " ".join(chance.choices(words, k=chance.randint(1, 6)))
            for _ in range(2 + number % 3)
        ]
        x.append((" ".join(chance.choices(words, k=4)), choices))
        y.append(chance.randrange(len(choices)))
    return x, y


@pytest.mark.learns
def test_it_learns_examples_by_heart(build):
    x, y = make_examples(16)
    task = build()
    task.compile(learning_rate=0.005, layer_decay=1.0)
    history = task.fit(x * 100, y * 100, batch_size=16, epochs=5, verbose=0).history
    assert history["accuracy"][-1] == 1
    found = task.predict_choices(x)
    assert [answer["index"] for answer in found] == y
    for (_, choices), answer in zip(x, found, strict=True):
        assert answer["choice"] == choices[answer["index"]]
        assert answer["score"] == max(answer["scores"]) > 0.5
        np.testing.assert_allclose(sum(answer["scores"]), 1, rtol=1e-5)


def test_each_choice_has_a_logit_that_does_not_hang_on_the_others(build):
    task = build()
    logits = task.predict(EXAMPLES, batch_size=2)
    assert [row.shape for row in logits] == [(2,), (3,), (1,)]
    for (prompt, choices), row in zip(EXAMPLES, logits, strict=True):
        for choice, logit in zip(choices, row, strict=True):
            (alone,) = task.predict([(prompt, [choice])])
            np.testing.assert_allclose(alone, [logit], atol=1e-6)


def test_choices_that_are_not_there_have_no_chance(build):
    task = build()
    ((x, y),) = task.dataset(EXAMPLES, [1, 2, 0], batch_size=5)
    assert x["token_ids"].shape[:2] == (3, 3)
    np.testing.assert_array_equal(
        tf.reduce_any(x["padding_mask"] > 0, -1), [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    )
    logits = task(x)
    for row, expected in zip(logits.numpy(), task.predict(EXAMPLES), strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-6)
        np.testing.assert_array_equal(tf.nn.softmax(row)[len(expected) :], 0)
    loss = task.evaluate(EXAMPLES, [1, 2, 0], return_dict=True, verbose=0)["loss"]
    shares = [tf.nn.softmax(row).numpy() for row in task.predict(EXAMPLES)]
    expected = -np.mean(
        [np.log(row[label]) for row, label in zip(shares, y, strict=True)]
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_examples_are_shuffled_and_all_are_there(build):
    x, y = make_examples(23)
    task = build()
    batches = task.dataset(x, y, list(range(23)), batch_size=4, shuffle_seed=1)
    assert int(batches.cardinality()) == 6
    orders = [np.concatenate([w for _, _, w in batches]).tolist() for _ in range(2)]
    assert orders[0] != orders[1]
    for order in orders:
        assert sorted(order) == list(range(23))
    rows = task.rows(x).token_ids
    counts = [len(choices) for _, choices in x]
    starts = np.cumsum(counts) - counts
    for fields, labels, weights in batches:
        for ids, label, number in zip(
            fields["token_ids"], labels, weights, strict=True
        ):
            number = int(number)
            assert label == y[number]
            for choice in range(counts[number]):
                row = rows[starts[number] + choice]
                np.testing.assert_array_equal(ids[choice, : len(row)], row)
                assert not ids[choice, len(row) :].numpy().any()


def test_weights_are_of_prompts(build):
    task = build()
    x = [EXAMPLES[0], EXAMPLES[0]]
    alone = task.evaluate(x[:1], [0], return_dict=True, verbose=0)["loss"]
    both = task.evaluate(x, [0, 1], sample_weight=[2, 0], return_dict=True, verbose=0)
    np.testing.assert_allclose(both["loss"], alone, rtol=1e-5)
    with pytest.raises(errors.UserError, match="1 sample weights for 2 inputs"):
        task.fit(x, [0, 1], sample_weight=[1])


def test_examples_may_have_many_forms(build):
    task = build()
    prompt, choices = EXAMPLES[0]
    expected = task.rows([(prompt, choices)]).token_ids
    for x in (
        (prompt, choices),
        [[prompt, tuple(choices)]],
        {"prompt": prompt, "choices": choices},
        [{"prompt": prompt, "choices": np.array(choices)}],
        [dataset.Choice(prompt, tuple(choices))],
        dataset.Choice(prompt, tuple(choices)),
        ([prompt], np.array([choices])),
        ((prompt, choices),),
        [(prompt.encode(), [choice.encode() for choice in choices])],
    ):
        for row, wanted in zip(task.rows(x).token_ids, expected, strict=True):
            np.testing.assert_array_equal(row, wanted)
    assert task.predict([]) == []
    assert task.predict_choices([]) == []


def test_empty_and_very_long_texts_are_scored(build):
    task = build()
    assert task.predict([("", ["", "cat"])])[0].shape == (2,)
    with pytest.warns(UserWarning, match="lost their end; see sequence_length"):
        logits = task.predict([("dog " * 500, ["cat " * 500, "mat"])])
    assert np.isfinite(logits[0]).all()


def test_a_saved_task_gives_the_same_logits(build, tmp_path):
    task = build()
    task.save_to_preset(str(tmp_path / "saved"))
    loaded = multiple_choice.ElectraMultipleChoice.from_preset(tmp_path / "saved")
    assert loaded.get_config().keys() == task.get_config().keys()
    for row, expected in zip(
        loaded.predict(EXAMPLES), task.predict(EXAMPLES), strict=True
    ):
        np.testing.assert_array_equal(row, expected)


def test_a_head_of_hugging_face_gives_the_same_logits(tmp_path):
    folder = shutil.copytree(GOLDEN / "multiple_choice", tmp_path / "model")
    shutil.copy(GOLDEN / "vocab.txt", folder)
    task = multiple_choice.ElectraMultipleChoice.from_preset(folder)
    assert task.fits_hugging_face()
    golden = np.load(GOLDEN / "outputs.npz")
    names = {
        "token_ids": "input_ids",
        "segment_ids": "token_type_ids",
        "padding_mask": "attention_mask",
    }
    x = {ours: golden[name].reshape(2, 2, -1) for ours, name in names.items()}
    expected = golden["multiple_choice/logits"]
    np.testing.assert_allclose(task(x), expected, atol=2e-5)
    np.testing.assert_allclose(task.predict(x, verbose=0), expected, atol=2e-5)


@pytest.mark.slow
def test_it_trains_on_two_replicas(build, two_replicas):
    with two_replicas.scope():
        task = build()
        task.compile(learning_rate=0.005, layer_decay=1.0)
    x, y = make_examples(8)
    losses = task.fit(x * 10, y * 10, batch_size=16, epochs=3, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < 0.8 * losses[0]
    assert len(task.predict(x)) == 8


@pytest.mark.slow
def test_it_trains_with_lora_in_bfloat16_on_batches_of_token_ids(build):
    task = build(dtype="mixed_bfloat16")
    task.backbone.enable_lora(2)
    task.compile(learning_rate=0.005)
    before = task.backbone.get_layer("embeddings").weights[0].numpy()
    x, y = make_examples(8)
    batches = task.dataset(x * 10, y * 10, batch_size=16)
    losses = task.fit(batches, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = task.backbone.get_layer("embeddings").weights[0]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (["who"], [0], "input 0 is 'who'; want .prompt, .choices.."),
        ([("who", [])], [0], "at least one choice"),
        ([("who", "cat")], [0], "want .prompt"),
        ([("who", ["cat", 3])], [0], "all of them strings"),
        ([{"prompt": "who"}], [0], "want .prompt"),
        (EXAMPLES, [0, 3, 0], "label 1 is 3; want the index of one of its 3 choices"),
        (EXAMPLES, [-1, 0, 0], "label 0 is -1"),
        (EXAMPLES, ["a", 0, 0], "label 0 is 'a'"),
        (EXAMPLES, [0.5, 0, 0], "label 0 is 0.5"),
        (EXAMPLES, [0], "1 labels for 3 inputs"),
        (EXAMPLES, None, "want"),
        ([], [], "x is empty"),
    ],
)
def test_wrong_input_is_one_clear_line(build, x, y, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        build().fit(x, y)
    assert "\n" not in str(caught.value)


def test_windows_do_not_fit(build):
    with pytest.raises(errors.UserError, match="does not fit multiple choice"):
        build(long_texts="windows").predict(EXAMPLES)


def test_strings_in_a_dataset_are_refused(build):
    strings = tf.data.Dataset.from_tensor_slices(["cat", "dog"]).batch(2)
    with pytest.raises(errors.UserError, match="takes Python values"):
        build().fit(strings)
