"""What a Hugging Face directory consists of: the names of its files, and its heads.

A directory holds one network: a discriminator, a generator, or an encoder, alone or
with a task's head. A folder with `discriminator/` and `generator/` in it is read, and
written, as both.

In:   a folder.
Out:  whether it looks like one.
"""

import os
from typing import Literal

from electra_tf import errors
from electra_tf.system import reading

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"

# Folders of a directory that holds two networks.
PARTS = ("discriminator", "generator")

# Where early versions of sentence-transformers kept the network.
OLD_FOLDERS = ("0_Transformer", "0_BERT")

# How transformers names an activation, and how we do.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_approximate",
    "gelu_pytorch_tanh": "gelu_approximate",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

# What each head consists of: D hidden, N labels.
HEADS: dict[str, dict[str, tuple[int | str, ...]]] = {
    "sequence_classification": {
        "classifier.dense.weight": ("D", "D"),
        "classifier.dense.bias": ("D",),
        "classifier.out_proj.weight": ("N", "D"),
        "classifier.out_proj.bias": ("N",),
    },
    "token_classification": {
        "classifier.weight": ("N", "D"),
        "classifier.bias": ("N",),
    },
    "question_answering": {"qa_outputs.weight": (2, "D"), "qa_outputs.bias": (2,)},
    "multiple_choice": {
        "sequence_summary.summary.weight": ("D", "D"),
        "sequence_summary.summary.bias": ("D",),
        "classifier.weight": (1, "D"),
        "classifier.bias": (1,),
    },
}
PAIR = "encoder_decoder"  # a head that is a decoder: see `hugging_face_pairs`
CLASSIFIERS = ("sequence_classification", "token_classification")  # have labels

# What a head of sequence_classification learned.
ProblemType = Literal[
    "regression", "single_label_classification", "multi_label_classification"
]

# Weights in a form that only other libraries read, and what transformers calls it.
FOREIGN_WEIGHTS = {
    "pytorch_model": "",
    "tf_model": ", from_tf=True",
    "flax_model": ", from_flax=True",
}


def has_weights(path: str) -> bool:
    """Tells whether a folder, or a part of it, has weights in the form that is read."""
    return any(
        os.path.isfile(os.path.join(path, part, file))
        for part in ("", *PARTS, *OLD_FOLDERS)
        for file in (WEIGHTS, INDEX)
    )


def is_directory(path: str) -> bool:
    """Tells whether a folder was written by transformers, of whatever model type."""
    return looks_like_one(path) or any(
        looks_like_one(os.path.join(path, part)) for part in (*PARTS, *OLD_FOLDERS)
    )


def looks_like_one(folder: str) -> bool:
    """Tells whether a folder itself, whatever its parts are, was written by it."""
    if any(os.path.isfile(os.path.join(folder, file)) for file in (WEIGHTS, INDEX)):
        return True
    try:
        files = os.listdir(folder)
        if any(file.startswith(tuple(FOREIGN_WEIGHTS)) for file in files):
            return True
        return "model_type" in reading.read_json(os.path.join(folder, CONFIG))
    except (OSError, errors.UserError):
        return False
