"""What a decoder writes, beside plain loops that keep nothing of a token."""

import itertools

import decoding
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.tasks import generation, searching

SEP = decoding.SEP
SOURCES = [[2, 9, 3], [2, 5, 6, 7, 8, 11, 12, 3], [2, 14, 14, 6, 3], [2, 3]]


@pytest.fixture(scope="module")
def model():
    return decoding.build()


def write(model, sources, limit, begins=None, sampler=None, **options):
    """Writes eagerly, a step after the other: a graph would take longer to trace."""
    begins = begins or [[decoding.CLS]] * len(sources)
    options = {"stop_ids": (SEP,), **options}
    rows = {}
    for side, texts in (("encoder", sources), ("decoder", begins)):
        ids = tf.ragged.constant(texts, dtype=tf.int32)
        rows[f"{side}_token_ids"] = ids.to_tensor(0)
        rows[f"{side}_padding_mask"] = tf.ones_like(ids).to_tensor(0)
    search = searching.Search(**options)
    found = model.write(rows, tf.constant(limit), search, sampler)
    return [
        [
            (ids[:length].tolist(), score)
            for ids, length, score in zip(*(np.asarray(p) for p in row), strict=True)
        ]
        for row in zip(*found, strict=True)
    ]


def test_what_is_kept_of_tokens_changes_nothing(model):
    # 40 places: the room for what is kept grows once.
    assert generation.PLACES < 40
    found = write(model, SOURCES, 40)
    plain = [decoding.write_plainly(model, source, 40) for source in SOURCES]
    assert [one[0][0] for one in found] == plain
    assert {len(target) for target in plain} & set(range(3, 40)), "none ended itself"
    assert 40 in map(len, plain), "none was as long as it may be"


@pytest.mark.parametrize(("num_beams", "penalty"), [(2, 1.0), (4, 2.0)])
def test_beams_are_those_of_a_plain_search(model, num_beams, penalty):
    found = write(
        model,
        SOURCES,
        8,
        num_beams=num_beams,
        num_best=num_beams,
        length_penalty=penalty,
    )
    for source, ours in zip(SOURCES, found, strict=True):
        plain = decoding.search_plainly(model, source, 8, num_beams, penalty)
        assert [one for one, _ in ours] == [one for _, one in plain]
        np.testing.assert_allclose(
            [score for _, score in ours], [score for score, _ in plain], rtol=1e-4
        )


@pytest.mark.slow
def test_beams_enough_for_all_find_the_best_of_all():
    model = decoding.build(vocab=decoding.VOCAB[:7], model={"num_layers": 1})
    source, limit, penalty = [2, 5, 6, 3], 4, 0.7
    every = []
    for length in range(1, limit):
        for tail in itertools.product(range(7), repeat=length):
            target = [2, *tail]
            stopped = SEP in tail[:-1]
            if not stopped and (tail[-1] == SEP or length == limit - 1):
                every.append(target)
    scores = []
    for target in every:
        shares = [
            decoding.log_shares(model, source, target[:place])[token]
            for place, token in enumerate(target[1:], 1)
        ]
        scores.append(sum(shares) / len(shares) ** penalty)
    best = np.argsort(scores)[::-1][:5]
    ((*found,),) = write(
        model, [source], limit, num_beams=100, num_best=5, length_penalty=penalty
    )
    assert [one for one, _ in found] == [every[place] for place in best]
    np.testing.assert_allclose(
        [score for _, score in found], [scores[place] for place in best], rtol=1e-4
    )


@pytest.mark.parametrize("num_beams", [1, 3])
def test_answers_go_on_from_beginnings_of_any_length(model, num_beams):
    begins = [[2], [2, 6, 7, 8], [2, 9], [2, 5, 5]]
    found = write(model, SOURCES, 7, begins, num_beams=num_beams)
    for source, begin, ours in zip(SOURCES, begins, found, strict=True):
        (alone,) = write(model, [source], 7, [begin], num_beams=num_beams)
        assert ours[0][0] == alone[0][0]
        assert ours[0][0][: len(begin)] == begin
        if num_beams == 1:
            assert ours[0][0] == decoding.write_plainly(model, source, 7, begin)


@pytest.mark.parametrize(("size", "num_beams"), [(1, 3), (2, 1)])
def test_no_run_of_tokens_comes_twice(model, size, num_beams):
    (answer,) = write(
        model,
        SOURCES[:1],
        9,
        num_beams=num_beams,
        no_repeat_ngram_size=size,
        stop_ids=(),
    )
    tokens = answer[0][0]
    runs = [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]
    assert len(runs) == len(set(runs))
    (free,) = write(model, SOURCES[:1], 9, num_beams=num_beams, stop_ids=())
    runs = [tuple(free[0][0][at : at + size]) for at in range(9 - size + 1)]
    assert len(runs) > len(set(runs)), "it would not have repeated itself anyway"


def test_nothing_stops_before_its_least_length(model):
    short = write(model, SOURCES, 8, num_beams=2)
    assert min(len(one[0][0]) for one in short) < 6, "all are long anyway"
    long = write(model, SOURCES, 8, num_beams=2, min_length=6)
    assert all(len(one[0][0]) >= 6 for one in long)


def test_draws_are_as_frequent_as_they_are_likely(model):
    chance = tf.random.Generator.from_seed(5)

    def draw(logits):
        numbers = chance.uniform(tf.shape(logits), 1e-9, 1.0)
        return tf.argmax(logits - tf.math.log(-tf.math.log(numbers)), axis=-1)

    ((*found,),) = write(model, SOURCES[:1], 2, sampler=draw, num_best=4000)
    drawn = np.bincount([ids[1] for ids, _ in found], minlength=15) / 4000
    shares = np.exp(decoding.log_shares(model, SOURCES[0], [2]))
    # Five standard errors of the likeliest.
    np.testing.assert_allclose(drawn, shares, atol=5 * np.sqrt(0.25 / 4000))
