"""What tests share: two CPUs that TensorFlow sees, fixed seeds, tiny inputs."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

from electra_tf import config

# Before anything starts TensorFlow: a machine's first CPU becomes two devices, so that
# every machine can train on two replicas. Side by side (pytest -n), one thread each.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
if "PYTEST_XDIST_WORKER" in os.environ:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the cat dog bird sat ran flew on under over mat tree roof . ,".split()
PIECES = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghilnorstuy")]

# Two documents in one file, one in another: 3, 2 and 4 sentences, all different.
DOCUMENTS = [
    ["The cat sat on the mat.", "A dog ran.", "The bird flew over the roof."],
    ["The dog sat under a tree, on a mat.", "A bird sat on the cat."],
    ["A cat ran.", "The cat ran over a roof.", "The bird ran.", "A tree flew, a tree."],
]


@pytest.fixture(autouse=True)
def _same_start_for_every_test():
    keras.utils.set_random_seed(17)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def tiny_model_config():
    """An encoder whose sizes all differ: E=10, D=12, H=3, V as in tiny_vocab."""
    return config.ModelConfig(
        vocab_size=len(SPECIAL_TOKENS + WORDS + PIECES),
        embedding_size=10,
        hidden_size=12,
        num_layers=2,
        num_heads=3,
        intermediate_size=20,
        max_positions=32,
    )


@pytest.fixture(scope="session")
def tiny_vocab(tmp_path_factory):
    """A vocab.txt with the words of tiny_corpus, and letters for other words."""
    file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    lines = [*SPECIAL_TOKENS, *WORDS, *PIECES]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """A folder with two .txt files that hold DOCUMENTS."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = ["\n".join(document) for document in DOCUMENTS]
    (folder / "first.txt").write_text("\n\n".join(texts[:2]) + "\n", encoding="utf-8")
    (folder / "second.txt").write_text(texts[2] + "\n", encoding="utf-8")
    return folder
