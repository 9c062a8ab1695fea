import functools

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import catalog, contrast, preprocessor, text_embedder
from electra_tf.weights import (
    hugging_face_vectors,
    hugging_face_writer,
    opening,
    weight_map,
)

TEXTS = [
    "the cat sat on the mat .",
    "",
    "a dog",
    "a cat sat under a tree on the roof",
]


@pytest.fixture
def build(build_task):
    return functools.partial(build_task, text_embedder.ElectraTextEmbedder)


def states(embedder, text):
    """The encoder's states of one text, without padding: [L, D]."""
    (ids,), (segments,) = embedder.preprocessor.rows(text)[:2]
    return embedder.backbone(
        {
            "token_ids": ids[None],
            "segment_ids": segments[None],
            "padding_mask": np.ones_like(ids)[None],
        }
    )["sequence_output"][0].numpy()


def test_the_mean_is_over_real_tokens_only(build):
    embedder = build(normalize=False)
    found = embedder.predict(TEXTS)
    assert found.shape == (4, 12)
    assert found.dtype == np.float32
    want = [states(embedder, text).mean(axis=0) for text in TEXTS]
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_cls_is_the_first_state(build):
    embedder = build(pooling="cls", normalize=False)
    want = [states(embedder, text)[0] for text in TEXTS]
    np.testing.assert_allclose(embedder.predict(TEXTS), want, atol=1e-5)


def test_normalized_vectors_have_length_one(build):
    plain, normal = build(normalize=False), build()
    want = plain.predict(TEXTS)
    want /= np.linalg.norm(want, axis=1, keepdims=True)
    np.testing.assert_allclose(normal.predict(TEXTS), want, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_of_several_windows_it_is_the_mean(normalize, build, tiny_preprocessor):
    windows = preprocessor.ElectraTextPreprocessor(
        tiny_preprocessor.tokenizer, 6, long_texts="windows", stride=2
    )
    embedder = build(preprocessor=windows, normalize=normalize)
    long = "the cat sat on the mat ."  # 7 tokens, windows of 4 at 0, 2, 3
    pieces = ["the cat sat on", "sat on the mat", "on the mat ."]
    want = embedder.predict(pieces).mean(axis=0)
    if normalize:
        want /= np.linalg.norm(want)
    np.testing.assert_allclose(embedder.predict([long, "a"])[0], want, atol=1e-5)


def test_saved_and_loaded_it_predicts_the_same(build, tmp_path):
    embedder = build(pooling="cls", normalize=False)
    embedder.save_to_preset(str(tmp_path))
    again = text_embedder.ElectraTextEmbedder.from_preset(str(tmp_path))
    assert again.get_config() == embedder.get_config()
    np.testing.assert_allclose(again.predict(TEXTS), embedder.predict(TEXTS), atol=1e-6)


def test_a_directory_of_sentence_transformers_says_how_vectors_are_made(
    build, tmp_path
):
    told = text_embedder.ElectraTextEmbedder
    encoder = build().backbone
    about = encoder.model_config, build().preprocessor.tokenizer
    recipe = hugging_face_vectors.Recipe("cls", False, 7)
    hugging_face_writer.save_encoder(
        str(tmp_path / "st"),
        weight_map.variables(encoder),
        about[0],
        about[1].get_vocabulary(),
        about[1].tokenizer_config,
        {},
        recipe=recipe,
    )
    path = str(tmp_path / "st")
    found = told.from_preset(path)
    assert (found.pooling, found.normalize) == ("cls", False)
    assert found.preprocessor.sequence_length == 7
    np.testing.assert_allclose(
        found.predict(TEXTS[1:3]),
        told(encoder, found.preprocessor, "cls", normalize=False).predict(TEXTS[1:3]),
        atol=1e-5,
    )
    assert catalog.class_of(path) is told
    stated = told.from_preset(path, pooling="mean", sequence_length=9)
    assert (stated.pooling, stated.preprocessor.sequence_length) == ("mean", 9)
    source = opening.open_pretrained(path)
    longer = source._replace(vectors=recipe._replace(max_tokens=10**6))
    table = about[0].max_positions
    assert told.from_pretrained(longer).preprocessor.sequence_length == table
    other = recipe._replace(pooling="max", others=("Dense",))
    with pytest.raises(
        errors.UserError, match=r"come of Pooling \(max\), Dense, which"
    ):
        told.from_pretrained(source._replace(vectors=other))


PAIRS = [
    ("the cat sat .", "a cat sat on the mat"),
    ("a dog ran", "the dog ran under the tree"),
    ("the bird flew", "a bird flew over the roof", "the bird sat"),
    ("the roof", "on the roof"),
]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (PAIRS, None),
        pytest.param(
            [one[0] for one in PAIRS],
            [one[1] for one in PAIRS],
            marks=pytest.mark.slow,
        ),
        pytest.param([one[:2] for one in PAIRS], [1, 5, 0, 3], marks=pytest.mark.slow),
        ([one[0] for one in PAIRS], None),
    ],
)
def test_it_learns_what_belongs_together(build, x, y):
    embedder = build()
    embedder.compile(learning_rate=1e-2)
    history = embedder.fit(x, y, batch_size=4, epochs=8, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    embedder.evaluate(x, y, verbose=0)
    if x is PAIRS:
        vectors = [embedder.predict([one[side] for one in PAIRS]) for side in (0, 1)]
        assert (vectors[0] @ vectors[1].T).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_what_is_held_out_is_what_it_learns_from(build):
    embedder = build()
    embedder.compile(learning_rate=1e-3)
    for held in (PAIRS[:2], (["a cat", "a dog"], ["the cat", "the dog"])):
        history = embedder.fit(
            PAIRS, validation_data=held, batch_size=2, epochs=1, verbose=0
        )
        assert np.isfinite(history.history["val_loss"]).all()
    embedder.fit(PAIRS, validation_split=0.5, batch_size=2, epochs=1, verbose=0)
    batches = embedder.dataset(PAIRS, batch_size=4)
    ((x, y),) = batches
    assert x["token_ids"].shape[:2] == (4, 3)
    assert y.numpy().min() == contrast.NO_TEXT
    vectors = embedder(x)
    assert vectors.shape == (4, 3, 12)
    embedder.fit(batches, epochs=1, verbose=0)
    strings = tf.data.Dataset.from_tensor_slices(["a", "b"]).batch(2)
    with pytest.raises(errors.UserError, match=r"make them with .dataset\(x, y\)"):
        embedder.fit(tf.data.Dataset.zip(strings, strings), epochs=1, verbose=0)
    with pytest.raises(errors.UserError, match="x is empty"):
        embedder.fit([], verbose=0)


def test_it_trains_with_a_loss_of_yours(build):
    embedder = build(normalize=False)
    embedder.compile(loss="mse", learning_rate=1e-2)
    target = np.random.default_rng(2).normal(0, 1, [4, 12])
    history = embedder.fit(TEXTS, target, batch_size=2, epochs=6, verbose=0)
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]


def test_no_texts_have_no_vectors_and_one_text_has_one(build):
    assert build().predict([]).shape == (0, 12)
    assert build().predict("the cat").shape == (1, 12)


def test_another_pooling_is_refused(build):
    with pytest.raises(errors.UserError, match='pooling=\'max\': want "mean" or "cls"'):
        build(pooling="max")
