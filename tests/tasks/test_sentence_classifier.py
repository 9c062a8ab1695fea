import functools

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import sentence_classifier, summarizer

KIND = sentence_classifier.ElectraSentenceClassifier
CLS, SEP = "[CLS]", "[SEP]"
SHORT = ["the cat sat", "a dog", "\x00"]
LONG = [
    f"the cat sat on the {what} under a tree" if n % 3 else f"a {what}"
    for n, what in enumerate(["mat", "roof", "dog", "bird"] * 3)
]


@pytest.fixture
def build(build_task):
    return functools.partial(build_task, KIND)


def tokens(model, ids):
    return [model.preprocessor.tokenizer.id_to_token(one) for one in ids.tolist()]


def test_each_sentence_has_its_cls_and_segments_alternate(build):
    model = build(max_sentence_tokens=2)
    rows = model.rows([SHORT, []])
    assert tokens(model, rows.token_ids[0]) == [
        *[CLS, CLS, "the", "cat", SEP, CLS, "a", "dog", SEP, CLS, SEP, SEP]
    ]
    assert rows.segment_ids[0].tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert rows.notes[0].tolist() == [0, 4, 8]
    assert tokens(model, rows.token_ids[1]) == [CLS, SEP]
    (target, empty) = model.targets([[1, 0, 1], []], rows)
    assert target.tolist() == [-1, 1, -1, -1, -1, 0, -1, -1, -1, 1, -1, -1]
    assert set(empty.tolist()) == {-1}
    # A summary beside the marks is not learned.
    (same, _) = model.targets([([1, 0, 1], "the cat"), ([], "")], rows)
    assert same.tolist() == target.tolist()


def test_a_sentence_is_judged_where_it_has_most_context(build):
    model = build()
    rows = model.rows([LONG])
    assert len(rows.token_ids) > 3
    targets = model.targets([[0, 1] * 6], rows)
    assert (
        sorted(np.concatenate(targets)[np.concatenate(targets) >= 0])
        == [0] * 6 + [1] * 6
    )
    found = model.predict([LONG, SHORT, [], LONG[:1]])
    assert [len(one) for one in found] == [12, 3, 0, 1]
    assert all(0 < share < 1 for one in found for share in one)
    np.testing.assert_allclose(found[1], model.predict([SHORT])[0], atol=1e-6)
    text = model.predict("The cat sat. A dog.")[0]
    np.testing.assert_allclose(text, model.predict([["The cat sat.", "A dog."]])[0])


def test_a_served_model_says_the_same(build):
    model = build(num_sentences=2)
    ask = model.signatures()[saved_model.DEFAULT].function
    documents = [LONG, SHORT, LONG[:1], []]
    padded = [[*(one or " " for one in d), *[""] * (12 - len(d))] for d in documents]
    said = ask(tf.constant(padded))
    for number, scores in enumerate(model.predict(documents)):
        np.testing.assert_allclose(
            said["scores"][number, : len(scores)], scores, atol=1e-5
        )
        best = sorted(np.argsort(-scores, kind="stable")[:2].tolist())
        assert said["chosen"][number].numpy().tolist() == best + [-1] * (2 - len(best))
    assert not np.any(said["scores"][1, 3:])


def test_a_summary_has_the_sentences_with_the_highest_scores(build):
    model, lines = build(num_sentences=2), list(dict.fromkeys(LONG))
    (scores,) = model.predict([lines])
    found = summarizer.ElectraSummarizer(model, min_tokens=0).summarize([lines])[0]
    best = sorted(np.argsort(-scores, kind="stable")[:2].tolist())
    assert [one.number for one in found.sentences] == best
    assert found.clusters == []
    # Short ones come after all others.
    longer = summarizer.ElectraSummarizer(model, min_tokens=5).summarize([lines], 4)
    wanted = [n for n, text in enumerate(lines) if len(text.split()) > 2]
    assert [one.number for one in longer[0].sentences] == wanted
    assert len(wanted) == 4


@pytest.mark.slow
@pytest.mark.learns
def test_it_learns_by_heart_and_summarizes_when_it_was_saved(build, tmp_path):
    model = build(dropout=0.0, num_sentences=1)
    model.compile(learning_rate=0.015)
    chance = np.random.default_rng(5)
    lines = ["the bird", "a tree", "the mat", "a dog"]
    orders = [chance.permutation(4) for _ in range(12)]
    documents = [[lines[place] for place in order] for order in orders]
    marks = [[int(place == 3) for place in order] for order in orders]
    model.fit(documents, marks, epochs=40, batch_size=4, verbose=0)
    for mark, scores in zip(marks, model.predict(documents), strict=True):
        assert int(np.argmax(scores)) == mark.index(1)
    assert model.evaluate(documents, marks, verbose=0)[1] > 0.9

    model.save_to_preset(str(tmp_path / "preset"))
    learned = summarizer.ElectraSummarizer.from_preset(
        str(tmp_path / "preset"), min_tokens=0
    )
    assert isinstance(learned.model, KIND)
    found = learned.summarize([documents[0], documents[1][:1]])
    assert found[0].text == "a dog"  # One sentence, as was learned.
    assert found[0].clusters == []
    assert learned.summarize([documents[0]], ratio=0.5)[0].num_sentences == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.fit([SHORT], [[1, 0]]), "labels of document 0 are .*want 0 or 1"),
        (lambda m: m.fit([SHORT], [[1, 0, 2]]), "for each of its 3 sentences"),
        (lambda m: m.predict([SHORT, 7]), "input 1 is 7, a int; want a list of sent"),
        (
            lambda m: m.fit(tf.data.Dataset.from_tensors((["a"], [[1]]))),
            "no label per token",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message, build):
    with pytest.raises(errors.UserError, match=message):
        call(build())
    with pytest.raises(errors.UserError, match="num_sentences=0: want 1 or more"):
        build(num_sentences=0)
