"""What a decoder is called elsewhere, and how a server asks it to write."""

import seq2seq

from electra_tf.finetuning import task_config
from electra_tf.weights import hugging_face


def test_how_it_is_to_write_is_what_a_command_stated():
    model = seq2seq.build(decoder_layers=1)
    assert model.settled() == model.stated_generation() == {}
    model.generation = task_config.GenerateConfig(num_beams=2, num_best=2)
    assert model.settled()["generation"]["num_best"] == 2
    assert model.signatures().keys() == {"serving_default"}


def test_a_decoder_has_transformers_names_whatever_it_shares():
    for shares, first in {"embeddings": "", "nothing": "decoder_"}.items():
        model = seq2seq.build(decoder_layers=1, shares=shares)
        assert model.fits_hugging_face()
        assert model.hugging_face_kind == hugging_face.PAIR
        row = model.decoder_rows()[0]
        assert row.ours == f"{first}embeddings/word_embeddings"
        assert row.hugging_face == "decoder.electra.embeddings.word_embeddings.weight"
