import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.network import two_tower

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
    initializer_range=0.5,
)
ROWS = {
    "token_ids": [[2, 7, 8, 3, 2, 9, 3, 0]],
    "segment_ids": [[0] * 8],
    "example_ids": [[1, 1, 1, 1, 2, 2, 2, 0]],
    "position_ids": [[0, 1, 2, 3, 0, 1, 2, 0]],
    "mask_positions": [list(range(8))],
}


@pytest.fixture(scope="module")
def score():
    keras.utils.set_random_seed(4)
    network = two_tower.build(MODEL)

    def call(**changed):
        rows = {name: tf.constant(value) for name, value in {**ROWS, **changed}.items()}
        return np.asarray(network(rows))[0]

    call.network = network
    return call


def test_a_token_is_guessed_from_all_others_of_its_example_and_not_from_itself(score):
    before = score()
    for place in range(7):
        ids = [list(ROWS["token_ids"][0])]
        ids[0][place] = 10
        moved = np.abs(score(token_ids=ids) - before).max(axis=-1) > 1e-6
        example = np.asarray(ROWS["example_ids"][0])
        want = example == example[place]
        want[place] = False
        np.testing.assert_array_equal(moved, want)


def test_places_choose_among_the_same_scores(score):
    chosen = score(mask_positions=[[5, 1]])
    np.testing.assert_allclose(chosen, score()[[5, 1]], rtol=1e-5, atol=1e-6)


def test_each_variable_has_a_name_of_its_own(score):
    paths = [v.path for v in score.network.weights]
    assert len({*paths}) == len(paths)
    sides = {path.split("_")[0] for path in paths if "_layer_" in path}
    assert sides == {"left", "right"}


def test_a_table_that_is_shared_is_the_heads_too():
    from electra_tf.network import models

    shared = models.build_embeddings(MODEL)
    network = two_tower.build(MODEL, shared)
    assert sum(v.path.endswith("word_embeddings") for v in network.weights) == 1
    assert any(v is shared.word_embeddings for v in network.weights)
