"""Presets of KerasHub, which several files of tests write, open and damage."""

import shutil

import hub
import pytest

from electra_tf import config
from electra_tf.tasks import keras_hub_writer


@pytest.fixture(scope="module")
def source(tiny_model_config, vocab):
    return hub.make_source(tiny_model_config, vocab)


@pytest.fixture(scope="module")
def approximate(tiny_model_config, vocab):
    """What KerasHub's ELECTRA can be without loss."""
    same = {"activation": "gelu_approximate"}
    return hub.make_source(
        tiny_model_config.model_copy(update=same),
        vocab,
        tokenizer=config.TokenizerConfig(),
    )


@pytest.fixture(scope="module")
def saved_ours(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "preset"
    keras_hub_writer.save_backbone(str(folder), source, "discriminator")
    return folder


@pytest.fixture(scope="module")
def saved_theirs(approximate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs") / "preset"
    keras_hub_writer.save_keras_hub_electra(str(folder), approximate, "discriminator")
    return folder


@pytest.fixture(params=["saved_ours", "saved_theirs"])
def saved(request, tmp_path):
    """A copy of either, to damage; of a version before there were checksums."""
    folder = tmp_path / "preset"
    shutil.copytree(request.getfixturevalue(request.param), folder)
    (folder / "SHA256SUMS").unlink()
    return folder
