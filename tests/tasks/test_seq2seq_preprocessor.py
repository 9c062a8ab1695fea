"""Sources and targets to token ids, as KerasHub's preprocessors do it, and back."""

import decoding
import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import seq2seq_preprocessor, tokenizer

Preprocessor = seq2seq_preprocessor.ElectraSeq2SeqPreprocessor


@pytest.fixture(scope="module")
def before():
    words = tokenizer.ElectraTokenizer(decoding.VOCAB)
    return Preprocessor(words, encoder_sequence_length=6, decoder_sequence_length=5)


def test_it_does_as_keras_hubs(before):
    x, y, weight = before(
        {
            "encoder_text": ["the cat", "the cat dog bird sat"],
            "decoder_text": ["cat", ""],
        }
    )
    assert np.array(x["encoder_token_ids"]).tolist() == [
        [2, 5, 6, 3, 0, 0],
        [2, 5, 6, 7, 8, 3],
    ]
    assert np.array(x["decoder_token_ids"]).tolist() == [
        [2, 6, 3, 0, 0],
        [2, 3, 0, 0, 0],
    ]
    assert np.array(y).tolist() == [[6, 3, 0, 0, 0], [3, 0, 0, 0, 0]]
    assert np.array(weight).tolist() == [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    begun = before.generate_preprocess(
        {"encoder_text": "the", "decoder_text": "cat dog"}
    )
    assert np.array(begun["decoder_token_ids"]).tolist() == [2, 6, 7, 0, 0]


def test_answers_are_text_without_special_tokens(before):
    ids = np.array([[2, 5, 6, 3, 0], [2, 3, 0, 0, 0], [2, 7, 8, 9, 9]])
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    given = {"decoder_token_ids": ids, "decoder_padding_mask": mask}
    assert before.generate_postprocess(given) == ["the cat", "", "dog"]


def test_it_keeps_its_lengths(before):
    found = Preprocessor.from_config(before.get_config())
    assert found.encoder_sequence_length == 6
    assert found.decoder_sequence_length == 5


def test_rows_without_room_are_refused(before):
    with pytest.raises(errors.UserError, match="decoder_sequence_length=2: want at"):
        Preprocessor(before.tokenizer, decoder_sequence_length=2)
    with pytest.raises(errors.UserError, match="did you mean encoder_sequence_length"):
        Preprocessor(before.tokenizer, encoder_length=2)
