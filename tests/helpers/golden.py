"""The golden Hugging Face directories, what changes a copy, and what opens it.

Made by scripts/make_hugging_face_golden.py.
"""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors import numpy as safetensors
from scipy import special

from electra_tf import config, errors
from electra_tf.weights import (
    hugging_face,
    hugging_face_reader,
    preset,
    weight_map,
)

# Made by scripts/make_hugging_face_golden.py.
GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"
# Sizes other than the golden ones, and all different.
CONFIG = config.ModelConfig(
    vocab_size=63,
    embedding_size=6,
    hidden_size=15,
    num_layers=3,
    num_heads=5,
    intermediate_size=22,
    max_positions=32,
    hidden_dropout_rate=0.25,
    layer_norm_epsilon=1e-9,
)
CONFIGS = {
    "discriminator": CONFIG,
    "generator": CONFIG.model_copy(
        update={"hidden_size": 8, "num_heads": 2, "intermediate_size": 32}
    ),
}
RULES = config.TokenizerConfig(lowercase=False, strip_accents=True, split_cjk=False)
TEXTS = [
    "the cat sat on the mat.",
    "The CAT, unbelievable! d\u00e9j\u00e0 vu \u4e2d\u6587 \U0001f600",
    "\u0130stanbul na\u00efve stra\u00dfe e\u0301\tq\u0000x 1,234.5 " + "a" * 101,
    "",
]
FOLDERS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
BERTS = [name for name in FOLDERS if name.startswith("bert")]
MODELS = [name for name in FOLDERS if name not in BERTS]
TOLERANCE = 2e-5
ORIGIN = {"steps": 7, "metrics": {"loss": 1.5}}
WORDS = "electra.embeddings.word_embeddings.weight"
QUERY = "electra.encoder.layer.1.attention.self.query.weight"


def draw(name, model, seed=5):
    """Builds a network whose weights are large, so that a wrong one shows."""
    network = preset.BUILDERS[name](model)
    chance = np.random.default_rng(seed)
    for path, weight in weight_map.variables(network).items():
        value = chance.normal(0, 0.2, weight.shape) + path.endswith("gamma")
        weight.assign(value.astype(np.float32))
    return network


def network_in(folder):
    found = hugging_face_reader.open_directory(str(folder))
    (name,) = found.networks
    return found, name, preset.build(found, name)


def head_arrays(head, hidden=CONFIG.hidden_size, labels=4, seed=6):
    chance = np.random.default_rng(seed)
    sizes = {"D": hidden, "N": labels}
    return {
        name: chance.normal(0, 0.2, [sizes.get(n, n) for n in shape]).astype(np.float32)
        for name, shape in hugging_face.HEADS[head].items()
    }


def inputs(fields):
    ids = fields["input_ids"]
    return {
        "token_ids": ids,
        "segment_ids": fields["token_type_ids"],
        "example_ids": fields["attention_mask"],
        "position_ids": np.broadcast_to(
            np.arange(ids.shape[1], dtype=np.int32), ids.shape
        ),
        "mask_positions": np.broadcast_to(
            np.arange(ids.shape[1], dtype=np.int32), ids.shape
        ),
    }


def run(name, network, fields):
    """Returns hidden states and logits (None of an encoder)."""
    heads = {"generator": "masked_token_head", "discriminator": "replaced_token_head"}
    fed = {key: value for key, value in inputs(fields).items() if key in network.input}
    if name == "encoder":
        return np.array(network(fed)), None
    inner = network.get_layer(heads[name]).input
    inner = inner[0] if isinstance(inner, list) else inner
    both = keras.Model(network.input, [inner, network.output])
    return tuple(np.array(value) for value in both(fed))


def apply_head(head, arrays, hidden):
    """Computes a head by numpy, as transformers does without dropout."""

    def dense(name, x):
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def gelu(x):
        return x * special.ndtr(x)

    if head == "sequence_classification":
        return dense(
            "classifier.out_proj", gelu(dense("classifier.dense", hidden[:, 0]))
        )
    if head == "multiple_choice":
        summary = gelu(dense("sequence_summary.summary", hidden[:, 0]))
        return dense("classifier", summary).reshape(-1, 2)
    name = "qa_outputs" if head == "question_answering" else "classifier"
    return dense(name, hidden)


def tensors_of(folder):
    return safetensors.load_file(Path(folder) / "model.safetensors")


def change_tensors(folder, change):
    tensors = tensors_of(folder)
    change(tensors)
    safetensors.save_file(tensors, folder / "model.safetensors")


def change_json(folder, file="config.json", **changed):
    path = folder / file
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | changed))


def shards(folder):
    tensors = tensors_of(folder)
    names = sorted(tensors)
    places = {name: f"part-{i % 3}.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        part = {name: tensors[name] for name in names if places[name] == file}
        safetensors.save_file(part, folder / file)
    os.remove(folder / "model.safetensors")
    change_json(folder, "model.safetensors.index.json", weight_map=places)


def states(**changed):
    return lambda folder: change_json(folder, **changed)


def writes(file, text):
    return lambda folder: (folder / file).write_text(text)


def removes(file):
    return lambda folder: os.remove(folder / file)


def sets(name, value):
    def change(tensors):
        tensors[name] = np.asarray(value)

    return lambda folder: change_tensors(folder, change)


def drops(name):
    return lambda folder: change_tensors(folder, lambda tensors: tensors.pop(name))


def assert_refused(folder, message):
    with pytest.raises(errors.UserError, match=message) as error:
        network_in(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert str(folder) in str(error.value)
