import math

import numpy as np
import pytest
import tiny

from electra_tf.network import embedding


def test_embeddings_add_word_position_and_segment_and_normalize():
    embeddings = embedding.Embeddings(tiny.MODEL)
    embeddings.build()
    tiny.randomize(embeddings, 3)
    ids = {
        "token_ids": np.int32([[10, 3, 3, 0], [1, 7, 10, 2]]),
        "segment_ids": np.int32([[0, 0, 1, 0], [0, 1, 1, 1]]),
        "position_ids": np.int32([[0, 1, 2, 0], [8, 7, 6, 5]]),
    }
    x = (
        embeddings.word_embeddings.numpy()[ids["token_ids"]]
        + embeddings.position_embeddings.numpy()[ids["position_ids"]]
        + embeddings.segment_embeddings.numpy()[ids["segment_ids"]]
    )
    want = (
        tiny.normalize(x) * embeddings.norm.gamma.numpy() + embeddings.norm.beta.numpy()
    )
    np.testing.assert_allclose(embeddings(**ids), want, atol=1e-5)


def test_a_position_table_may_start_as_waves():
    waves = {"position_initializer": "sinusoidal", "initializer_range": 0.1}
    embeddings = embedding.Embeddings(tiny.MODEL.model_copy(update=waves))
    embeddings.build()
    found = embeddings.position_embeddings.numpy()
    # Width 5: three pairs, the last without its cosine.
    rates = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    for position in range(9):
        angles = [position * rate for rate in rates]
        want = [
            0.1 * math.sqrt(2) * wave(angle)
            for angle in angles
            for wave in (math.sin, math.cos)
        ][:5]
        np.testing.assert_allclose(found[position], want, atol=1e-6)
    # Whole pairs have the root mean square that was asked for.
    pairs = found[:, :4]
    assert np.sqrt(np.mean(pairs**2)) == pytest.approx(0.1, rel=1e-5)
    assert np.max(np.abs(embeddings.word_embeddings)) <= 0.2
    usual = embedding.Embeddings(tiny.MODEL)
    usual.build()
    assert np.max(np.abs(usual.position_embeddings)) <= 0.04
