import numpy as np
import tiny

from electra_tf.network import embedding, heads


def test_the_masked_token_head_scores_the_hidden_positions_alone():
    embeddings = embedding.Embeddings(tiny.MODEL)
    embeddings.build()
    head = heads.MaskedTokenHead(tiny.MODEL, embeddings)
    head.build((None, None, 6))
    tiny.randomize(embeddings, 8)
    tiny.randomize(head, 9)
    hidden = np.random.default_rng(10).normal(0, 1, [2, 7, 6]).astype(np.float32)
    positions = np.int32([[0, 3, 6], [5, 0, 0]])
    logits = head(hidden, positions)  # [B, P, V]
    assert logits.shape == (2, 3, 11)
    other = np.full_like(hidden, 7.0)
    for row in range(2):
        other[row, positions[row]] = hidden[row, positions[row]]
    np.testing.assert_array_equal(head(other, positions), logits)
    swapped = np.asarray(head(hidden, positions[:, [2, 1, 0]]))
    np.testing.assert_allclose(swapped[:, ::-1], logits, atol=1e-6)
