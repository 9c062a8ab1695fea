import types

import numpy as np

from electra_tf.kinds import embedding


def test_vectors_are_lists_of_numbers():
    model = types.SimpleNamespace(predict=lambda *_: np.float32([[0.5, 0.25]]))
    assert embedding.KIND.answer(model, ["a"], 2) == [{"embedding": [0.5, 0.25]}]
    said = {"embedding": [0.5], "truncated": False}
    assert embedding.KIND.response(said, "a") == {"embedding": [0.5]}
