"""KerasHub's own ELECTRA: what it shares with ours, and what is said of the rest."""

import os
import re
import shutil

import hub
import keras_hub
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.tasks import (
    keras_hub_electra,
    keras_hub_presets,
    keras_hub_writer,
)
from electra_tf.text import tokenizer
from electra_tf.weights import preset


def test_what_is_lost_is_said(source, approximate, tmp_path):
    folder = str(tmp_path / "preset")
    model = source.networks["discriminator"]
    rates = model.model_copy(update={"attention_dropout_rate": 0.3})
    lossy = source._replace(networks={"discriminator": rates})
    notes = keras_hub_writer.save_keras_hub_electra(folder, lossy, "discriminator")
    said = (
        r"GELU is its tanh",
        r"pooled_dense, .* is the identity",
        r"folds case",
        r"the head is left out",
        r"dropout is 0.1 everywhere; on attention it was 0.3",
        r"forgets split_on_cjk",
    )
    for note, words in zip(notes, said, strict=True):
        assert re.search(words, note), note
    (moved,) = [float(note.split()[-1]) for note in notes if "GELU" in note]
    assert 1e-5 < moved < 0.1
    notes = keras_hub_writer.save_keras_hub_electra(
        folder, approximate, "discriminator"
    )
    assert not any("GELU" in note or "dropout" in note for note in notes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation": "relu"}, "activation=relu, which KerasHub's ELECTRA cannot"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon=1e-05, which"),
    ],
)
def test_what_kerashubs_electra_cannot_be_is_refused(
    source, tmp_path, changed, message
):
    model = source.networks["discriminator"].model_copy(update=changed)
    other = source._replace(networks={"discriminator": model})
    folder = tmp_path / "preset"
    with pytest.raises(errors.UserError, match=message):
        keras_hub_writer.save_keras_hub_electra(str(folder), other, "discriminator")
    assert os.listdir(tmp_path) == []


def test_a_kerashub_electra_opens_as_ours_with_its_activation(tmp_path, vocab):
    theirs = keras_hub.models.ElectraBackbone(
        vocab_size=len(vocab),
        num_layers=2,
        num_heads=3,
        hidden_dim=12,
        embedding_dim=12,
        intermediate_dim=20,
        dropout=0.2,
        max_sequence_length=16,
        num_segments=3,
    )
    theirs.save_to_preset(str(tmp_path))
    words = keras_hub.tokenizers.ElectraTokenizer(vocab, lowercase=True)
    words.save_to_preset(str(tmp_path))
    found = keras_hub_presets.open_preset(str(tmp_path))
    (model,) = found.networks.values()
    assert (model.activation, model.layer_norm_epsilon) == ("gelu_approximate", 1e-12)
    assert (model.hidden_dropout_rate, model.attention_dropout_rate) == (0.2, 0.2)
    assert (model.max_positions, model.num_segments) == (16, 3)
    assert found.tokenizer == config.TokenizerConfig(strip_accents=False)
    assert found.notes == found.origin["notes"]
    for word in ("GELU", "pooled_dense", "KerasHub's tokenizer", "keeps accents"):
        assert sum(word in note for note in found.notes) >= 1, word
    network = preset.build(found, "encoder")
    rows = {
        "token_ids": hub.INPUTS["token_ids"],
        "segment_ids": hub.INPUTS["segment_ids"],
        "example_ids": hub.INPUTS["padding_mask"],
        "position_ids": np.tile(np.arange(7), (2, 1)),
    }
    np.testing.assert_allclose(
        np.asarray(network(rows))[hub.REAL],
        np.asarray(theirs(hub.INPUTS)["sequence_output"])[hub.REAL],
        atol=2e-5,
    )


def test_special_tokens_that_kerashub_finds_in_a_text_are_found(saved_theirs, tmp_path):
    folder = tmp_path / "preset"
    shutil.copytree(saved_theirs, folder)
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] <e> a b e < >".split()
    theirs = keras_hub.tokenizers.ElectraTokenizer(
        vocabulary=words, special_tokens=["<e>"], special_tokens_in_strings=True
    )
    theirs.save_to_preset(str(folder))
    (folder / "SHA256SUMS").unlink()
    settings, vocab, notes = keras_hub_presets._open_tokenizer(str(folder))
    ours = tokenizer.Encoder(vocab, settings)
    for text in ("a<e>b", "<e> e < e", "<e><e>a"):
        assert list(ours.encode(text)) == np.asarray(theirs(text)).tolist(), text
    assert keras_hub_electra.SPECIAL_TOKENS_CUT in notes
    for name, value in {"split": False, "suffix_indicator": "@@"}.items():
        hub.change_config("tokenizer.json", **{name: value})(folder)
        with pytest.raises(errors.UserError, match=f"{name}={value!r} is not support"):
            keras_hub_presets.open_preset(str(folder))
        hub.change_config("tokenizer.json", split=True)(folder)
