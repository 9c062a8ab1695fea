"""An encoder and a decoder, written for transformers and read again."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import seq2seq
import tensorflow as tf

import electra_tf
from electra_tf import errors
from electra_tf.release import converter
from electra_tf.weights import hugging_face, hugging_face_pairs

SHARES = ("embeddings", "nothing", "everything")
IDS = np.array([[2, 5, 6, 7, 8, 3, 0, 0], [2, 9, 3, 0, 0, 0, 0, 0]], np.int32)
TARGETS = np.array([[2, 7, 9, 10], [2, 11, 12, 13]], np.int32)
FIELDS = {
    "encoder_token_ids": IDS,
    "encoder_padding_mask": (IDS > 0).astype(np.int32),
    "decoder_token_ids": TARGETS,
    "decoder_padding_mask": np.ones_like(TARGETS),
}


@pytest.fixture(scope="module", params=SHARES)
def written(request, tmp_path_factory):
    """Returns a model and the directory that it was written to."""
    folder = tmp_path_factory.mktemp("pair") / "model"
    model = seq2seq.build(shares=request.param, decoder_layers=2)
    converter.write_hugging_face(model, str(folder), {"steps": 7})
    return model, folder


def test_a_decoder_comes_back_with_its_encoder(written):
    model, folder = written
    found = electra_tf.ElectraSeq2Seq.from_preset(
        folder, encoder_sequence_length=20, decoder_sequence_length=14
    )
    assert (found.shares, found.decoder_layers) == (model.shares, 2)
    np.testing.assert_array_equal(found(FIELDS), model(FIELDS))
    tokens = found.preprocessor.tokenizer
    assert tokens.get_vocabulary() == seq2seq.VOCAB
    assert not tokens.tokenizer_config.lowercase


def test_every_array_has_its_place(written):
    model, folder = written
    rows = model.decoder_rows()
    names = [row.hugging_face for row in rows]
    assert len(names) == len({*names})
    encoder = {variable.path for variable in model.backbone.weights}
    assert {row.ours for row in rows} | encoder == {v.path for v in model.weights}
    said = json.loads((folder / "config.json").read_text())
    assert said["architectures"] == ["EncoderDecoderModel"]
    assert said["decoder"]["add_cross_attention"]
    assert said["decoder"]["num_hidden_layers"] == 2
    assert said["encoder"]["num_hidden_layers"] == 3
    assert said["decoder_start_token_id"] == 2
    assert said["eos_token_id"] == 3
    card = (folder / "README.md").read_text()
    assert 'EncoderDecoderModel.from_pretrained("this_folder")' in card
    assert "reads a text and writes another" in card


def test_another_task_starts_from_the_encoder_alone(written):
    model, folder = written
    vectors = electra_tf.ElectraTextEmbedder.from_preset(folder)
    for ours, theirs in zip(
        vectors.backbone.weights, model.backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def copied(written, tmp_path):
    model, folder = written
    if model.shares != "embeddings":
        pytest.skip("once is enough")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "SHA256SUMS").unlink()
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("decoder", "hidden_size", 16, "hidden_size is 12 of the encoder and 16 of"),
        ("decoder", "model_type", "gpt2", "'gpt2' of the decoder"),
        (None, "encoder", None, "want the settings of an encoder and of a decoder"),
    ],
)
def test_a_decoder_of_another_kind_is_refused(copied, part, name, value, said):
    path = copied / "config.json"
    values = json.loads(path.read_text())
    (values[part] if part else values)[name] = value
    path.write_text(json.dumps(values))
    with pytest.raises(errors.UserError, match=said):
        electra_tf.ElectraSeq2Seq.from_preset(copied)


def test_arrays_that_are_left_over_are_named(copied):
    path = copied / hugging_face.WEIGHTS
    arrays = safetensors.numpy.load_file(path)
    arrays["decoder.enc_to_dec.weight"] = np.zeros((2, 2), np.float32)
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(errors.UserError, match=r"1 arrays .*enc_to_dec"):
        electra_tf.ElectraSeq2Seq.from_preset(copied)


def test_names_of_a_pair_are_those_of_two_electras():
    names = ["encoder.encoder.layer.0.output.dense.bias", "decoder.x"]
    assert [*hugging_face_pairs.as_electra(names).values()] == [
        "electra.encoder.layer.0.output.dense.bias",
        "decoder.x",
    ]
    start = "decoder.electra.encoder.layer."
    several = [f"{start}{n}.output.dense.bias" for n in (0, 1, 11)]
    assert hugging_face_pairs.count_blocks(several) == 3


_PEER = """
import sys, numpy as np, torch, transformers
folder, fields = sys.argv[1], np.load(sys.argv[2])
auto = transformers.EncoderDecoderModel
model, told = auto.from_pretrained(folder, output_loading_info=True)
assert not any(told.values()), told
model.eval()
words = transformers.AutoTokenizer.from_pretrained(folder)
def ids(name):
    return torch.tensor(fields[name]).long()
with torch.no_grad():
    logits = model(
        input_ids=ids("encoder_token_ids"),
        attention_mask=ids("encoder_padding_mask"),
        decoder_input_ids=ids("decoder_token_ids"),
    ).logits.numpy()
    made = [
        model.generate(
            input_ids=ids("encoder_token_ids"),
            attention_mask=ids("encoder_padding_mask"),
            max_length=14,
            do_sample=False,
            num_beams=beams,
        ).numpy()
        for beams in (1, 3)
    ]
model.save_pretrained(sys.argv[3])
words.save_pretrained(sys.argv[3])
np.savez(sys.argv[4], logits=logits, greedy=made[0], beams=made[1])
"""


@pytest.mark.parity
def test_transformers_computes_and_writes_the_same_and_back(written, tmp_path):
    model, folder = written
    np.savez(tmp_path / "fields.npz", **FIELDS)
    places = [str(tmp_path / name) for name in ("fields.npz", "theirs", "said.npz")]
    python = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [python, "-c", _PEER, str(folder), *places], check=True, env=environment
    )
    with np.load(places[2]) as said:
        said = dict(said)
    ours = np.asarray(model(FIELDS))
    scale = np.abs(said["logits"]).max()
    assert np.abs(ours - said["logits"]).max() < 1e-5 * scale
    # Token by token, with what both remember of those before.
    begin = {**FIELDS, "decoder_token_ids": np.pad(TARGETS[:, :1], [[0, 0], [0, 13]])}
    begin["decoder_padding_mask"] = (begin["decoder_token_ids"] > 0).astype(np.int32)
    for beams, want in ((1, said["greedy"]), (3, said["beams"])):
        found = model.write(
            {name: tf.constant(field) for name, field in begin.items()},
            tf.constant(14),
            model.search(num_beams=beams),
        )
        real = tf.sequence_mask(found.lengths, tf.shape(found.token_ids)[2])
        ids = np.where(real, found.token_ids, 0)[:, 0]
        np.testing.assert_array_equal(ids[:, : want.shape[1]], want)
    back = electra_tf.ElectraSeq2Seq.from_preset(places[1])
    np.testing.assert_array_equal(back(FIELDS), ours)
