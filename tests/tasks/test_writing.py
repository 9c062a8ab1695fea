"""Texts in, answers out: what `generate` takes, and what it gives back."""

import decoding
import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import generation, writing

TEXTS = ["over", "the cat dog bird flew on", "under under cat", ""]


@pytest.fixture(scope="module")
def model():
    made = decoding.build(length=12)
    made.compile()
    return made


def test_strings_of_any_length_are_answered_in_their_order(model):
    words = model.preprocessor.tokenizer
    wanted = []
    for text in TEXTS:
        source = [2, *words.encode(text).tolist(), 3]
        ids = decoding.write_plainly(model, source, 12)
        wanted.append(words.detokenize([one for one in ids if one > 4]))
    assert model.generate(TEXTS) == wanted
    assert model.generate(TEXTS, batch_size=2) == wanted
    assert model.generate(TEXTS[0]) == wanted[0]
    assert model.generate(np.array(TEXTS)) == wanted
    assert model.generate(tf.data.Dataset.from_tensor_slices(TEXTS).batch(3)) == wanted
    assert model.predict(TEXTS) == wanted
    assert model.generate([]) == []


def test_one_graph_writes_for_sources_of_all_lengths(model):
    search = model.search()
    function = model._function(search)
    model.generate(TEXTS[:1], max_length=5)
    model.generate(TEXTS, max_length=9)
    assert model._function(model.search()) is function
    assert function.experimental_get_tracing_count() == 1


def test_answers_go_on_from_what_they_begin_with(model):
    given = {"encoder_text": TEXTS[:2], "decoder_text": ["cat", "dog on sat"]}
    whole = model.generate(given, max_length=9)
    rest = model.generate(given, max_length=9, strip_prompt=True)
    for begin, answer, end in zip(given["decoder_text"], whole, rest, strict=True):
        assert answer.startswith(begin)
        assert f"{begin} {end}".strip() == answer


def test_several_answers_come_with_their_scores(model):
    found = model.generate(TEXTS, num_beams=3, num_best=2, max_length=8)
    assert [len(answers) for answers in found] == [2] * 4
    best = model.generate(TEXTS, num_beams=3, max_length=8)
    assert [answers[0].text for answers in found] == best
    assert all(first.score >= second.score for first, second in found)
    assert isinstance(found[0][0], writing.Answer)


@pytest.mark.slow
def test_samplers_of_keras_hub_serve(model):
    beams = keras_hub.samplers.BeamSampler(num_beams=3, return_all_beams=True)
    model.compile(sampler=beams)
    wanted = model.generate(TEXTS[:2], num_beams=3, num_best=3, max_length=6)
    assert model.generate(TEXTS[:2], max_length=6) == wanted
    drawn = []
    for _ in range(2):
        model.compile(sampler=keras_hub.samplers.TopKSampler(k=4, seed=3))
        drawn.append(model.generate(TEXTS, max_length=7))
    assert drawn[0] == drawn[1]
    assert len({*model.generate(TEXTS[:1] * 12, max_length=7)}) > 1
    model.compile()


def test_token_ids_are_answered_as_by_keras_hubs_models(model):
    rows = model.preprocessor.generate_preprocess(TEXTS, sequence_length=7)
    rows = {name: np.asarray(field) for name, field in rows.items()}
    found = model.generate(rows)
    assert found["decoder_token_ids"].shape == (4, 7)
    texts = model.preprocessor.generate_postprocess(found)
    assert texts == model.generate(TEXTS, max_length=7)
    step = model.generate_step(rows, stop_token_ids=[3])
    for name, field in found.items():
        np.testing.assert_array_equal(step[name], field)


def test_half_precision_keeps_nothing_else(model):
    half = decoding.build(length=12, dtype="mixed_bfloat16", model={"num_layers": 1})
    fields = half.preprocessor.sources(TEXTS)
    plain = [decoding.write_plainly(half, source.tolist(), 6) for source in fields]
    ids = [
        half.preprocessor.tokenizer.detokenize([t for t in one if t > 4])
        for one in plain
    ]
    same = [
        a == b for a, b in zip(half.generate(TEXTS, max_length=6), ids, strict=True)
    ]
    assert sum(same) >= 3, "of nearly equal tokens another one may be taken, once"
    assert generation.PLACES > 6


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.generate(TEXTS, max_length=1), "max_length=1: want 2 to 48"),
        (lambda m: m.generate(TEXTS, max_length=49), "max_length=49: want 2 to 48"),
        (lambda m: m.generate([3]), "input 0 is 3, a int"),
        (lambda m: m.generate(TEXTS, stop_token_ids="end"), "stop_token_ids='end'"),
        (lambda m: m.generate(TEXTS, num_beam=2), "did you mean num_beams"),
        (
            lambda m: m.generate({"encoder_token_ids": [[2, 3]]}),
            "the inputs have no encoder_padding_mask",
        ),
    ],
)
def test_what_cannot_be_answered_is_refused(act, message, model):
    with pytest.raises(errors.UserError, match=message) as refused:
        act(model)
    assert "\n" not in str(refused.value)


def test_a_source_that_is_cut_is_said(model):
    with pytest.warns(UserWarning, match="1 of 4 sources are longer than 12 tokens"):
        model.generate([*TEXTS[:3], "cat " * 30], max_length=4)


def test_watchers_are_told_as_many_batches_as_there_are(model):
    class Watcher(keras.callbacks.Callback):
        ends = 0

        def on_predict_batch_end(self, batch, logs=None):
            self.ends += 1

    for count in (1, 2, 5):
        watcher = Watcher()
        model.predict(["the cat sat"] * count, batch_size=4, callbacks=[watcher])
        assert watcher.ends == watcher.params["steps"]
