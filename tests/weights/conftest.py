"""What the tests of Hugging Face directories share."""

import shutil
from pathlib import Path

import golden
import numpy as np
import pytest

from electra_tf.weights import hugging_face_writer


@pytest.fixture(scope="module")
def outputs():
    with np.load(golden.GOLDEN / "outputs.npz") as file:
        return dict(file)


@pytest.fixture
def copy(tmp_path):
    """Copies a golden directory, to be changed."""

    def make(name, to="copy"):
        return Path(shutil.copytree(golden.GOLDEN / name, tmp_path / to))

    return make


@pytest.fixture(scope="module")
def networks(vocab):
    assert len(vocab) == golden.CONFIG.vocab_size
    return {name: golden.draw(name, golden.CONFIGS[name]) for name in golden.CONFIGS}


@pytest.fixture
def save(networks, vocab):
    def write(folder, *names, **changed):
        values = {
            "vocab": vocab,
            "tokenizer_config": golden.RULES,
            "origin": golden.ORIGIN,
        }
        chosen = {name: networks[name] for name in names or networks}
        hugging_face_writer.save_networks(
            str(folder), chosen, golden.CONFIGS, **values | changed
        )
        return folder

    return write
