"""Questions become spans of their contexts, found in windows, or no answer."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import question_answerer
from electra_tf.weights import hugging_face_reader

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"

HEADS = ("joint", "plain")
THINGS = "cat dog bird tree mat roof".split()

# Each answer is two words; the third question has none; the last context is long.
CAT = "The cat sat on the Mat , the dog ran under the tree ."
LONG = f"{'the bird flew over the roof . ' * 4}The dog ran under a tree ."
QUESTIONS = [
    ("the cat sat", CAT),
    ("the dog ran", CAT),
    ("the bird flew", CAT),
    ("the dog ran under", LONG),
]
ANSWERS = [("the Mat", 15), ("the tree", 43), None, ("a tree", len(LONG) - 8)]


@pytest.fixture
def build(build_quick_task):
    def make(head="joint", length=24, stride=None, dtype=None, **kwargs):
        return build_quick_task(
            question_answerer.ElectraQuestionAnswerer,
            {"hidden_size": 24},
            {"sequence_length": length, "stride": stride},
            dtype,
            head=head,
            **kwargs,
        )

    return make


def make_examples(count):
    """Draws questions after the letter behind a thing; a third is unanswerable."""
    chance = random.Random(5)
    x, y = [], []
    for number in range(count):
        order = chance.sample(THINGS, 5)
        words = [w for thing in order[:4] for w in (thing, chance.choice("abcdefg"))]
        if number % 8 == 4:  # More than a window.
            words += ["on the"] * 9
        context = " ".join(words)
        asked = order[4] if number % 3 == 0 else order[number % 4]
        x.append((f"where {asked}", context))
        start = context.find(asked) + len(asked) + 1
        y.append(None if number % 3 == 0 else (context[start], start))
    return x, y


@pytest.mark.learns
@pytest.mark.parametrize("head", HEADS)
def test_it_learns_examples_by_heart(build, head):
    x, y = make_examples(16)
    task = build(head, null_threshold=0.0)
    task.compile(learning_rate=0.003, layer_decay=1.0)
    history = task.fit(x * 50, y * 50, batch_size=16, epochs=5, verbose=0).history
    assert history["start_accuracy"][-1] == history["end_accuracy"][-1] == 1
    found = [(answer.text, answer.start) for answer in task.predict(x)]
    assert found == [("", 0) if answer is None else answer for answer in y]


@pytest.mark.parametrize("head", HEADS)
def test_answers_are_in_the_order_of_the_questions(build, head):
    task = build(head, stride=5)
    found = task.predict(QUESTIONS, batch_size=3)
    for (question, context), answer in zip(QUESTIONS, found, strict=True):
        assert context[answer.start : answer.end] == answer.text
        assert 0 < answer.score < 1
        (alone,) = task.predict((question, context))
        assert (alone.text, alone.start) == (answer.text, answer.start)
        np.testing.assert_allclose(alone.null_score, answer.null_score, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_a_null_score_above_the_threshold_is_no_answer(build, head):
    task = build(head)
    (answer,) = task.predict(QUESTIONS[0])
    task.null_threshold = answer.null_score + 1e-3
    (still,) = task.predict(QUESTIONS[0])
    assert still.text == answer.text
    task.null_threshold = answer.null_score - 1e-3
    (none,) = task.predict(QUESTIONS[0])
    assert (none.text, none.start, none.end) == ("", 0, 0)
    assert 0 < none.score < 1
    assert none.n_best[0].text == answer.text


def test_the_span_that_trains_reads_as_the_answer(build):
    contexts = [
        "The CAT,\tsat (on)the mat.",
        "a Caf\u00e9\u0301  na\u00efve\u200b\u4e2d\u6587 x\u00ad\u00a0y",
        "\u0130stanbul \ufb01sh \U0001f600 stra\u00dfe - 3,5 %",
    ]
    chance = random.Random(3)
    task = build(length=32, stride=4)
    num_spans = 0
    for context in contexts:
        words = task.preprocessor.tokenizer.encode_with_offsets(context)[1]
        for _ in range(20):
            first, last = sorted(chance.choices(range(len(words)), k=2))
            start, end = words[first][0], words[last][1]
            answer = (context[start:end], start)
            rows = task.rows([("who", context)])
            targets = task.targets([answer], rows)
            for window, low, high in zip(
                rows.notes.windows, targets["start"], targets["end"], strict=True
            ):
                if low:
                    shift = window.start - window.at
                    read = context[words[low + shift][0] : words[high + shift][1]]
                    assert read == answer[0]
                    num_spans += 1
    assert num_spans > 40


@pytest.mark.parametrize("head", HEADS)
def test_a_window_without_the_whole_answer_trains_on_no_answer(build, head):
    # [CLS] who [SEP] and five words: windows start at words 0, 2, 4 and 5.
    context = "the cat dog bird sat ran flew on under over"
    task = build(head, length=9, stride=2)
    rows = task.rows([("cat", context)])
    assert [window.start for window in rows.notes.windows] == [0, 2, 4, 5]
    targets = task.targets([("sat ran", context.index("sat"))], rows)
    # Words 4 and 5: cut off, whole at 3 + 2, whole at 3 + 0, cut off.
    np.testing.assert_array_equal(targets["start"], [0, 5, 3, 0])
    np.testing.assert_array_equal(targets["end"], [0, 6, 4, 0])
    if head == "joint":
        np.testing.assert_array_equal(targets["null"], [[1], [0], [0], [1]])
    for row, start in zip(rows.token_ids, targets["start"], strict=True):
        ids = task.preprocessor.tokenizer.encode("sat ran")
        if start:
            np.testing.assert_array_equal(row[start : start + 2], ids)


def test_where_an_answer_is_in_its_row_is_the_target(build):
    task = build(length=32)
    rows = task.rows(QUESTIONS[:1] * 3)
    targets = task.targets([("the Mat", 15), ("The cat", 0), None], rows)
    # [CLS] the cat sat [SEP] The cat sat on the Mat
    assert targets["start"].tolist() == [9, 5, 0]
    assert targets["end"].tolist() == [10, 6, 0]
    assert targets["null"].tolist() == [[0], [0], [1]]


def test_the_beam_scores_ends_as_training_does(build):
    task = build(beam_size=4, max_answer_tokens=3)
    (x,) = next(iter(task.dataset(QUESTIONS[:3], ANSWERS[:3]).map(lambda x, y: (x,))))
    x = {name: x[name] for name in task.input}
    beam = task(x)
    assert beam["beam"].shape == (len(x["token_ids"]), 4)
    for number in range(4):
        starts = beam["beam"][:, number]
        given = task({**x, "start_positions": starts})
        np.testing.assert_allclose(
            tf.gather(tf.nn.log_softmax(given["start"]), starts, batch_dims=1),
            beam["start"][:, number],
            rtol=1e-5,
        )
        ends = np.pad(
            tf.nn.log_softmax(given["end"]), [(0, 0), (0, 3)], constant_values=-1000
        )
        for row, start in enumerate(starts):
            np.testing.assert_allclose(
                ends[row, start : start + 3], beam["end"][row, number], rtol=1e-4
            )


def test_only_the_context_and_no_answer_have_a_chance(build):
    task = build("plain")
    (x,) = next(iter(task.dataset(QUESTIONS[:2], [None] * 2).map(lambda x, y: (x,))))
    outputs = task(x)
    for name in ("start", "end"):
        likely = outputs[name].numpy() > -100
        for row, ids, segments in zip(
            likely, x["token_ids"].numpy(), x["segment_ids"].numpy(), strict=True
        ):
            allowed = (segments == 1) & (
                ids != task.preprocessor.tokenizer.sep_token_id
            )
            allowed[0] = True
            np.testing.assert_array_equal(row, allowed)


def test_a_token_counts_in_the_window_that_shows_most_around_it(build):
    # Windows of words 0-4, 3-7 and 5-9; word 4 is seen best by the second.
    context = "the cat dog bird sat ran flew on under over"
    task = build("plain", length=9, stride=3, n_best=2)
    rows = task.rows([("cat", context)])
    assert [window.start for window in rows.notes.windows] == [0, 3, 5]
    outputs = [
        {name: np.full(16, -9.0, np.float32) for name in ("start", "end")}
        for _ in range(3)
    ]
    for name in ("start", "end"):
        outputs[0][name][3 + 4] = 9.0  # "sat", at the end of the first
        outputs[1][name][3 + 1] = 1.0  # "sat", within the second
        outputs[2][name][3 + 2] = 1.5  # "on"
    (answer,) = task.answers(None, rows, outputs)
    assert [span.text for span in answer.n_best] == ["on", "sat"]
    # All of the other 15 places have exp(-9).
    share = np.exp(1.5) / (np.exp(1.5) + 15 * np.exp(-9))
    np.testing.assert_allclose(answer.score, share**2, rtol=1e-5)
    # The least chance that a window gives to no answer, over that of the best answer.
    null = np.exp(-9) / (np.exp(9) + 15 * np.exp(-9))
    np.testing.assert_allclose(
        answer.null_score, 2 * np.log(null) - 2 * np.log(share), rtol=1e-5
    )


def test_answers_have_no_more_tokens_than_allowed(build):
    task = build(max_answer_tokens=2, n_best=7)
    for answer in task.predict(QUESTIONS):
        assert len(answer.n_best) == 7
        assert all(1 <= len(span.text.split()) <= 2 for span in answer.n_best)
        assert len({span.text for span in answer.n_best}) == 7
        scores = [span.score for span in answer.n_best]
        assert scores == sorted(scores, reverse=True)


def test_losses_add_up_as_in_the_2020_code(build):
    found = build().evaluate(QUESTIONS, ANSWERS, return_dict=True, verbose=0)
    total = (found["start_loss"] + found["end_loss"] + found["null_loss"]) / 2
    np.testing.assert_allclose(found["loss"], total, rtol=1e-5)


def test_weights_of_questions_are_those_of_their_windows(build):
    task = build("plain", stride=5)
    rows = task.rows(QUESTIONS)
    batch = task.dataset(QUESTIONS, ANSWERS, [0, 1, 2, 3], batch_size=len(rows.source))
    (_, _, weights) = next(iter(batch))
    np.testing.assert_array_equal(np.sort(weights), np.sort(rows.source))
    # Of the first question alone: of the four, others weigh nothing.
    alone = task.evaluate(QUESTIONS[:1], ANSWERS[:1], return_dict=True, verbose=0)
    found = task.evaluate(
        QUESTIONS,
        ANSWERS,
        sample_weight=[len(rows.source), 0, 0, 0],
        return_dict=True,
        verbose=0,
    )
    np.testing.assert_allclose(found["loss"], alone["loss"], rtol=1e-4)


def test_an_answer_that_the_context_lacks_is_left_out(build):
    task = build("plain", length=32)
    answers = [("a zebra", 3), *ANSWERS[1:3]]
    with pytest.warns(UserWarning, match="1 of 3 questions are left out"):
        batches = task.dataset(QUESTIONS[:3], answers)
    (_, targets) = next(iter(batches))
    assert len(targets["start"]) == 2
    with (
        pytest.warns(UserWarning, match="1 of 1 questions"),
        pytest.raises(errors.UserError, match="nothing to train on"),
    ):
        task.dataset(QUESTIONS[:1], answers[:1])


def test_a_long_question_loses_its_end_and_says_so(build):
    task = build(max_query_tokens=3)
    with pytest.warns(UserWarning, match="1 of 2 questions are longer than 3 tokens"):
        rows = task.rows([("cat dog bird tree", CAT), ("cat", CAT)])
    words = task.preprocessor.tokenizer
    np.testing.assert_array_equal(rows.token_ids[0][1:4], words.encode("cat dog bird"))
    assert rows.token_ids[0][4] == words.sep_token_id


@pytest.mark.parametrize("head", HEADS)
def test_texts_of_any_length_have_an_answer(build, head):
    task = build(head, length=8)
    found = task.predict([("", ""), ("cat", ""), ("", "cat"), ("cat", "dog " * 300)])
    assert [answer.text for answer in found[:3]] == ["", "", "cat"]
    assert found[0].n_best == []
    assert found[3].text.startswith("dog")
    assert task.predict([]) == []
    assert len(task.predict(("cat", "dog"))) == 1


@pytest.mark.parametrize("head", HEADS)
def test_a_saved_task_gives_the_same_answers(build, head, tmp_path):
    task = build(head, stride=7, max_answer_tokens=4, n_best=3, null_threshold=0.5)
    task.beam_size = 5
    task.save_to_preset(str(tmp_path / "saved"))
    loaded = question_answerer.ElectraQuestionAnswerer.from_preset(tmp_path / "saved")
    assert loaded.get_config().keys() == task.get_config().keys()
    assert (loaded.head, loaded.n_best, loaded.beam_size) == (head, 3, 5)
    assert loaded.preprocessor.stride == 7
    if head == "plain":
        assert loaded.predict(QUESTIONS) == task.predict(QUESTIONS)
    x, y = next(iter(task.dataset(QUESTIONS[:3], ANSWERS[:3])))
    for name, output in loaded(x).items():
        np.testing.assert_array_equal(output, task(x)[name])
        assert len(output) == len(y["start"])
    changed = question_answerer.ElectraQuestionAnswerer.from_preset(
        tmp_path / "saved", null_threshold=None, stride=3
    )
    assert (changed.null_threshold, changed.preprocessor.stride) == (None, 3)


def test_a_head_of_hugging_face_gives_the_same_logits(tmp_path):
    folder = shutil.copytree(GOLDEN / "question_answering", tmp_path / "model")
    shutil.copy(GOLDEN / "vocab.txt", folder)
    task = question_answerer.ElectraQuestionAnswerer.from_preset(folder)
    assert task.head == "plain"
    assert task.fits_hugging_face()
    golden = np.load(GOLDEN / "outputs.npz")
    outputs = task(
        {
            "token_ids": golden["input_ids"],
            "segment_ids": golden["token_type_ids"],
            "padding_mask": golden["attention_mask"],
        }
    )
    allowed = golden["token_type_ids"] == 1
    allowed &= np.roll(golden["attention_mask"], -1, axis=1) * np.arange(11) < 10
    allowed &= np.pad(golden["attention_mask"], [(0, 0), (0, 1)])[:, 1:] == 1
    allowed[:, 0] = True
    for number, name in enumerate(("start", "end")):
        expected = golden["question_answering/logits"][..., number]
        np.testing.assert_allclose(
            outputs[name].numpy()[allowed], expected[allowed], atol=2e-5
        )
    assert allowed.sum() > 10


def test_a_joint_head_on_a_directory_of_hugging_face_is_new(tmp_path):
    folder = shutil.copytree(GOLDEN / "question_answering", tmp_path / "model")
    shutil.copy(GOLDEN / "vocab.txt", folder)
    task = question_answerer.ElectraQuestionAnswerer.from_preset(folder, head="joint")
    assert task.head == "joint"
    assert not task.fits_hugging_face()
    assert not hugging_face_reader.open_directory(str(folder)).read_head().keys() & {
        weight.path for weight in task.weights
    }


@pytest.mark.slow
def test_it_trains_on_two_replicas(build, two_replicas):
    with two_replicas.scope():
        task = build()
        task.compile(learning_rate=0.005, layer_decay=1.0)
    x, y = make_examples(12)
    losses = task.fit(x * 10, y * 10, batch_size=24, epochs=3, verbose=0).history[
        "loss"
    ]
    assert losses[-1] < 0.8 * losses[0]
    assert len(task.predict(x)) == 12


@pytest.mark.slow
def test_it_trains_with_lora_in_bfloat16_on_batches_of_token_ids(build):
    task = build(dtype="mixed_bfloat16")
    task.backbone.enable_lora(2)
    task.compile(learning_rate=0.005)
    before = task.backbone.get_layer("embeddings").weights[0].numpy()
    x, y = make_examples(12)
    batches = task.dataset(x * 10, y * 10, batch_size=24)
    losses = task.fit(batches, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = task.backbone.get_layer("embeddings").weights[0]
    np.testing.assert_array_equal(after, before)
    assert task.predict(QUESTIONS)[0].text


class Table:
    """A table as libraries have it."""

    columns = ("question", "context")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (["who"], [None], "want .question, context."),
        ([{"question": "who"}], [None], "want a string"),
        ([("who", 3)], [None], "want a string"),
        ([("who", "cat")], [None] * 2, "2 labels for 1 inputs"),
        ([("who", "cat")], [7], "label 0 is 7; want None"),
        ([("who", "cat")], [{"start": 3}], "label 0 is"),
        ([], [], "x is empty"),
        (Table(), [None], "the inputs are a Table with columns question, context"),
    ],
)
def test_wrong_input_is_one_clear_line(build, x, y, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        build().fit(x, y)
    assert "\n" not in str(caught.value)


def test_wrong_settings_are_one_clear_line(build):
    with pytest.raises(errors.UserError, match="head='both'"):
        build("both")
    with pytest.raises(errors.UserError, match="beam_size=0"):
        build(beam_size=0)
    with pytest.raises(errors.UserError, match="no room for a context"):
        build(length=3).predict(QUESTIONS)
    strings = tf.data.Dataset.from_tensor_slices(["cat", "dog"]).batch(2)
    with pytest.raises(errors.UserError, match="takes Python values"):
        build().fit(strings)
