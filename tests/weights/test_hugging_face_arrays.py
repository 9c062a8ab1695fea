"""Weights in every form, and the damages that are refused."""

import json
import os

import damaging
import golden
import ml_dtypes
import numpy as np
import pytest

from electra_tf.weights import hugging_face, weight_map

WEIGHTS = "model.safetensors"


def half(dtype):
    def change(folder):
        def cast(tensors):
            for name in tensors:
                tensors[name] = tensors[name].astype(dtype)

        golden.change_tensors(folder, cast)

    return change


def old_names(folder):
    def rename(tensors):
        for name in [name for name in tensors if "LayerNorm" in name]:
            new = name.replace("m.weight", "m.gamma").replace("m.bias", "m.beta")
            tensors[new] = tensors.pop(name)
        tensors["electra.embeddings.position_ids"] = np.arange(16)[None]

    golden.change_tensors(folder, rename)


def tied(folder):
    def tie(tensors):
        words = tensors["electra.embeddings.word_embeddings.weight"]
        tensors["generator_lm_head.weight"] = words.copy()

    golden.change_tensors(folder, tie)


@pytest.mark.parametrize(
    ("form", "tolerance"),
    [
        (half(np.float64), 0),
        (half(np.float16), 1e-3),
        (half(ml_dtypes.bfloat16), 1e-2),
        (golden.shards, 0),
        (old_names, 0),
        (tied, 0),
    ],
)
def test_weights_in_another_form_are_the_same_weights(copy, form, tolerance):
    folder = copy("generator")
    want = weight_map.variables(golden.network_in(folder)[2])
    form(folder)
    _, _, network = golden.network_in(folder)
    for path, value in weight_map.variables(network).items():
        np.testing.assert_allclose(value, want[path], rtol=tolerance, atol=tolerance)
        assert (np.array(value) != np.array(want[path])).any() or tolerance < 1e-2


def cut_short(folder):
    damaging.cut_short(folder / "model.safetensors")


def only(file):
    def change(folder):
        os.rename(folder / "model.safetensors", folder / file)

    return change


def index(**places):
    def change(folder):
        os.remove(folder / "model.safetensors")
        golden.change_json(folder, "model.safetensors.index.json", weight_map=places)

    return change


def names_too_much(folder):
    golden.shards(folder)
    path = folder / "model.safetensors.index.json"
    values = json.loads(path.read_text())
    values["weight_map"]["more"] = "part-0.safetensors"
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (golden.removes(WEIGHTS), "has no model.safetensors"),
        (cut_short, "cannot read .*model.safetensors: "),
        (golden.writes(WEIGHTS, ""), "cannot read .*model.safetensors: "),
        (only("pytorch_model.bin"), r"ElectraForMaskedLM.from_pretrained\("),
        (only("tf_model.h5"), "only model.safetensors is read; .*from_tf=True"),
        (only("flax_model.msgpack"), "only model.safetensors is read; .*from_flax"),
        (index(), "names no weights"),
        (index(a="../b.safetensors"), r"puts 'a' into '../b.safetensors'"),
        (index(a="b.safetensors"), "cannot read .*b.safetensors: No such file"),
        (names_too_much, "cannot read .*part-0.safetensors: .* tensor more"),
        (
            golden.sets(golden.QUERY, np.ones([8, 8], np.int8)),
            "is stored as I8; want float",
        ),
        (
            golden.sets("electra.embeddings.LayerNorm.gamma", np.ones(10, np.float32)),
            "LayerNorm.weight stands twice",
        ),
    ],
)
def test_weights_that_cannot_be_read_are_refused_in_one_line(copy, damage, message):
    folder = copy("generator")
    damage(folder)
    golden.assert_refused(folder, message)
    assert hugging_face.is_directory(str(folder)) or message.startswith("has no model")
