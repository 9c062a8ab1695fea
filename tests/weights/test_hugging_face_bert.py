"""BERT's names become ELECTRA's and back."""

import pytest

from electra_tf import config
from electra_tf.weights import hugging_face_bert, weight_map

MODEL = config.ModelConfig(embedding_size=256)


@pytest.mark.parametrize("network", ["encoder", "generator"])
def test_every_array_of_ours_has_a_name_in_bert_and_comes_back(network):
    ours = [row.hugging_face for row in weight_map.rows(network, MODEL)]
    theirs = [hugging_face_bert.as_bert(name) for name in ours]
    assert not any(name.startswith(("electra", "generator")) for name in theirs)
    assert hugging_face_bert.as_electra(theirs) == dict(zip(theirs, ours, strict=True))
    bare = [name.removeprefix("bert.") for name in theirs]
    assert [*hugging_face_bert.as_electra(bare).values()] == ours


def test_what_bert_has_not_has_no_name_there():
    with pytest.raises(AssertionError, match="BERT has no discriminator_predictions"):
        hugging_face_bert.as_bert("discriminator_predictions.dense.bias")
