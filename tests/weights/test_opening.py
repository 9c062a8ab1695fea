import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.weights import (
    google_checkpoint,
    hugging_face_reader,
    hugging_face_writer,
    opening,
    preset_writer,
    weight_map,
)

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
MODEL = config.ModelConfig(
    vocab_size=len(VOCAB),
    embedding_size=5,
    hidden_size=4,
    num_layers=1,
    num_heads=2,
    intermediate_size=7,
    max_positions=9,
)


@pytest.fixture
def save(tmp_path):
    def save(name):
        preset_writer.save(
            str(tmp_path / name),
            {"encoder": models.build_encoder(MODEL)},
            {"encoder": MODEL},
            VOCAB,
            config.TokenizerConfig(),
            {"steps": 3},
        )
        return str(tmp_path / name)

    return save


def test_a_preset_is_opened_by_its_folder_or_by_its_workdir(save, tmp_path):
    folder = save("run/preset")
    for path in (folder, str(tmp_path / "run")):
        found = opening.open_pretrained(path)
        assert (found.folder, found.origin) == (folder, {"steps": 3})


def test_a_preset_with_a_damaged_config_is_still_one_whatever_its_networks(
    save, tmp_path
):
    folder = save("run/preset")
    os.rename(f"{folder}/encoder.weights.h5", f"{folder}/judge.weights.h5")
    os.remove(f"{folder}/SHA256SUMS")
    (tmp_path / "run/preset/config.json").write_text("{")
    with pytest.raises(errors.UserError, match=r"config\.json is not JSON"):
        opening.open_pretrained(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "gone: nothing is there; want a workdir or preset"),
        ("empty", "empty: none of these; want a workdir or preset"),
        ("other", "other.*roberta"),
        ("half", "half/preset/config.json is not JSON"),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(
        json.dumps({"model_type": "roberta"})
    )
    (tmp_path / "half" / "preset").mkdir(parents=True)
    (tmp_path / "half" / "preset" / "config.json").write_text("{")
    (tmp_path / "half" / "preset" / "encoder.weights.h5").write_text("")
    with pytest.raises(errors.UserError, match=message) as error:
        opening.open_pretrained(str(tmp_path / name))
    assert "\n" not in str(error.value)


# What the user states.


@pytest.fixture
def bare(tmp_path):
    """A Hugging Face directory without a vocabulary."""
    network = models.build_encoder(MODEL)
    hugging_face_writer.save_networks(
        str(tmp_path / "bare"),
        {"encoder": network},
        {"encoder": MODEL},
        None,
        config.TokenizerConfig(),
        {},
    )
    return str(tmp_path / "bare")


def words(folder, *tokens):
    file = folder / "words.txt"
    file.write_text("".join(f"{token}\n" for token in [*VOCAB[:-1], *tokens]))
    return str(file)


@pytest.mark.parametrize(("token", "lowercase"), [("a", True), ("A", False)])
def test_a_vocabulary_that_is_named_is_taken_where_there_is_none(
    bare, tmp_path, token, lowercase
):
    stated = opening.Stated(words(tmp_path, token))
    found = opening.open_pretrained(bare, stated)
    assert found.vocab == [*VOCAB[:-1], token]
    assert found.tokenizer.lowercase == lowercase


def test_what_the_source_says_itself_may_be_repeated(save, tmp_path):
    stated = opening.Stated(words(tmp_path, "a"), num_heads=2)
    assert opening.open_pretrained(save("own"), stated).vocab == VOCAB


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"num_heads": 1}, "num_heads=1: .*own says itself .*, 2; leave --num_heads"),
        ({"generator_num_heads": 1}, "its generator has, none; leave --generator_num"),
        ({"vocab_file": "b"}, "own has a vocabulary of its own, which is not that of"),
    ],
)
def test_what_contradicts_the_source_is_refused(save, tmp_path, stated, message):
    if "vocab_file" in stated:
        stated = {"vocab_file": words(tmp_path, stated["vocab_file"])}
    with pytest.raises(errors.UserError, match=message):
        opening.open_pretrained(save("own"), opening.Stated(**stated))


def test_a_vocabulary_of_another_length_is_refused(bare, tmp_path):
    stated = opening.Stated(words(tmp_path, "a", "b"))
    with pytest.raises(errors.UserError, match=r"the encoder's .*6 rows; give the"):
        opening.open_pretrained(bare, stated)


def test_a_configuration_beside_a_checkpoint_does_not_hide_it(tmp_path, bare):
    arrays = {
        row.tf1.format(**weight_map.SCOPES._asdict()): variable.numpy()
        for row, variable in zip(
            weight_map.rows("encoder", MODEL),
            models.build_encoder(MODEL).weights,
            strict=True,
        )
    }
    tf.raw_ops.SaveV2(
        prefix=f"{bare}/model.ckpt-5",
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    assert isinstance(
        opening.open_pretrained(bare), hugging_face_reader.HuggingFaceDirectory
    )
    os.remove(f"{bare}/model.safetensors")
    found = opening.open_pretrained(bare)
    assert isinstance(found, google_checkpoint.GoogleCheckpoint)
    assert found.networks == {"encoder": MODEL}


# What is loaded for it.

LOADED = """
import sys
from electra_tf.weights import opening
for path in sys.argv[1:]:
    opening.open_pretrained(path)
    print(*[name for name in sys.modules if name.startswith("electra_tf.weights.")])
"""


def test_other_peoples_readers_are_loaded_where_their_weights_are(save, bare):
    process = subprocess.run(
        [sys.executable, "-c", LOADED, save("ours"), bare],
        capture_output=True,
        text=True,
        check=True,
    )
    ours, theirs = process.stdout.splitlines()
    assert "weights.preset" in ours
    assert "hugging_face" not in ours
    assert "weights.hugging_face_reader" in theirs
    assert "hugging_face_writer" not in theirs
    assert "google" not in ours + theirs
