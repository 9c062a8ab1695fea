import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import inputs, sentence_vectors

FRAME = inputs.Frame(2, 3, 9)  # Seven tokens of text.
IDS = [np.array(ids, np.int32) for ids in ([7, 8, 9], [10, 11], [12] * 5, [13])]


def states(backbone, ids, layer):
    """The states of a block, without the padding: [L, D]."""
    rows = {
        "token_ids": np.array([ids], np.int32),
        "segment_ids": np.zeros((1, len(ids)), np.int32),
        "padding_mask": np.ones((1, len(ids)), np.int32),
    }
    outputs = [backbone.get_layer("layer_0").input[0]]
    outputs += [backbone.get_layer(f"layer_{i}").output for i in range(2)]
    import keras

    return keras.Model(backbone.input, outputs[layer])(rows)[0].numpy()


@pytest.mark.parametrize("layer", [0, 1, -1])
@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_alone_a_sentence_is_told_by_its_own_tokens(tiny_backbone, layer, pooling):
    encode = sentence_vectors.SentenceVectors(
        tiny_backbone, FRAME, layer, pooling, context=False
    )
    found = encode([IDS[:3], [], IDS[3:]])
    assert [len(one) for one in found] == [3, 0, 1]
    for vector, ids in zip(np.concatenate(found), IDS, strict=True):
        alone = states(tiny_backbone, [2, *ids, 3], layer)
        wanted = {
            "mean": alone[1:-1].mean(axis=0),
            "max": alone[1:-1].max(axis=0),
            "cls": alone[0],
        }
        np.testing.assert_allclose(vector, wanted[pooling], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_with_context_those_that_fit_into_a_row_see_each_other(tiny_backbone, pooling):
    encode = sentence_vectors.SentenceVectors(
        tiny_backbone, FRAME, -1, pooling, context=True
    )
    found = encode([IDS, IDS[1:2]])
    pool = getattr(np, pooling)
    first = states(tiny_backbone, [2, 7, 8, 9, 10, 11, 3], -1)
    second = states(tiny_backbone, [2, *[12] * 5, 13, 3], -1)
    wanted = [first[1:4], first[4:6], second[1:6], second[6:7]]
    wanted = [pool(one, axis=0) for one in wanted]
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    # Nothing is seen of another document.
    alone = states(tiny_backbone, [2, 10, 11, 3], -1)
    np.testing.assert_allclose(found[1][0], pool(alone[1:3], axis=0), atol=1e-5)


def test_batches_change_nothing_and_long_sentences_are_cut(tiny_backbone, monkeypatch):
    encode = sentence_vectors.SentenceVectors(tiny_backbone, FRAME, -2, "max", False)
    chance = np.random.default_rng(4)
    sentences = [chance.integers(5, 20, 1 + n % 11, np.int32) for n in range(40)]
    (whole,) = encode([sentences])
    monkeypatch.setattr(sentence_vectors, "TOKENS_AT_ONCE", 30)
    (pieces,) = encode([sentences])
    np.testing.assert_allclose(whole, pieces, atol=1e-5)
    (cut,) = encode([[one[:7] for one in sentences]])
    np.testing.assert_allclose(whole, cut, atol=1e-5)
    assert encode([]) == []


def test_layers_above_are_not_computed(tiny_backbone):
    kept = sentence_vectors._states(tiny_backbone, 1)
    assert kept is sentence_vectors._states(tiny_backbone, -2)
    assert kept is tiny_backbone.get_layer("layer_0").output
    above = sentence_vectors._states(tiny_backbone, None)  # Two of two, four of six.
    assert above is tiny_backbone.get_layer("layer_1").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, "mean", False), "layer=3: the encoder has 2 blocks; want 0 to 2"),
        ((-4, "mean", False), "or -1 to -3 from the end"),
        ((-1, "median", False), "pooling='median': want one of mean, max, cls"),
        ((-1, "cls", True), "take context=False"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message, tiny_backbone):
    with pytest.raises(errors.UserError, match=message):
        sentence_vectors.SentenceVectors(tiny_backbone, FRAME, *arguments)
