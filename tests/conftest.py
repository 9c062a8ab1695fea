"""What tests share: two CPUs that TensorFlow sees, fixed seeds, tiny inputs."""

import gc
import os
import random
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Commands note how long they took there.
os.environ["XDG_CACHE_HOME"] = os.path.join(tempfile.gettempdir(), "electra_tf_tests")

import keras
import pytest
import tensorflow as tf
import yaml
from tensorflow.python.data.ops import iterator_ops

from electra_tf import config
from electra_tf.finetuning import task_config
from electra_tf.network import tracing

# Before anything starts TensorFlow: a machine's first CPU becomes two devices, so that
# every machine can train on two replicas. Side by side (pytest -n), one thread each.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
if "PYTEST_XDIST_WORKER" in os.environ:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

# An iterator that is freed waits for its tuner, which may sleep for a minute: no test
# needs one.
_create_iterator = iterator_ops.OwnedIterator._create_iterator


def _create_untuned(iterator, dataset):
    options = tf.data.Options()
    options.autotune.enabled = False
    _create_iterator(iterator, dataset.with_options(options))


iterator_ops.OwnedIterator._create_iterator = _create_untuned

tf.config.list_logical_devices()  # Starts it: commands called here change no thread.

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the cat dog bird sat ran flew on under over mat tree roof . ,".split()
PIECES = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghilnorstuy")]


def _make_document(chance):
    """Draws two to seven sentences of three to eleven words."""
    lengths = [chance.randint(3, 11) for _ in range(chance.randint(2, 7))]
    return [" ".join(chance.choices(WORDS, k=length)) for length in lengths]


DOCUMENTS = [_make_document(random.Random(seed)) for seed in range(40)]


# The modules that take longest: they begin first, so that two workers, to whom modules
# are dealt one by one, end together.
LONGEST = [
    "test_pages.py",
    "test_serving.py",
    "training/test_run.py",
    "training/test_train_step.py",
    "test_resume.py",
    "training/test_distribution.py",
    "tasks/test_question_answerer.py",
    "test_end_to_end.py",
]


def pytest_collection_modifyitems(items):
    """Puts the modules that take longest first."""
    place = {Path(__file__).parent / name: i for i, name in enumerate(LONGEST)}
    assert all(file.exists() for file in place)
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish():
    """Spares what was imported, half a million objects, from every collection.

    And puts off full collections to the end of a module: each of them walks over all
    that a test is at work on, and waits for the tuners of the iterators that it frees
    (docs/decisions, D21).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 1_000_000)


@pytest.fixture(autouse=True, scope="module")
def _nothing_outlives_its_module():
    """Frees models and graphs, those too that blocks share."""
    yield
    tracing.shared.cache_clear()
    gc.collect()


def pytest_addoption(parser):
    parser.addoption(
        "--draws",
        type=int,
        default=1,
        help="run each test marked `learns` from so many different weights",
    )


def pytest_generate_tests(metafunc):
    draws = metafunc.config.getoption("draws")
    if draws > 1 and metafunc.definition.get_closest_marker("learns"):
        metafunc.parametrize("draw", range(draws))


@pytest.fixture
def draw():
    """Which weights a test starts from; others than 0 with --draws alone."""
    return 0


@pytest.fixture(autouse=True)
def _same_start_for_every_test(request, draw):
    keras.utils.set_random_seed(17 + draw)
    yield
    keras.config.set_dtype_policy("float32")
    if "two_replicas" in request.fixturenames:
        gc.collect()  # The iterators of the replicas are tuned, and still young.


@pytest.fixture(scope="session")
def two_replicas():
    """Shares the work out to two CPUs; a second such strategy would collide with it."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


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
def vocab(tiny_vocab):
    """The tokens of tiny_vocab, in their order."""
    from electra_tf.text import vocabularies

    return vocabularies.read(tiny_vocab)


@pytest.fixture
def tiny_backbone(tiny_model_config, draw):
    """An encoder for tasks to stand on; drops nothing."""
    from electra_tf.tasks import backbone  # Not above: few tests need KerasHub.

    keras.utils.set_random_seed(17 + draw)  # Whatever was drawn for other fixtures.

    changed = {
        "hidden_dropout_rate": 0.0,
        "attention_dropout_rate": 0.0,
        # So narrow an encoder of small weights learns next to nothing.
        "initializer_range": 0.3,
    }
    return backbone.ElectraBackbone.from_model_config(
        tiny_model_config.model_copy(update=changed)
    )


@pytest.fixture
def tiny_preprocessor(tiny_vocab):
    """Makes rows of 24 tokens at most."""
    from electra_tf.tasks import preprocessor, tokenizer

    words = tokenizer.ElectraTokenizer(str(tiny_vocab))
    return preprocessor.ElectraTextPreprocessor(words, sequence_length=24)


@pytest.fixture
def build_task(tiny_backbone, tiny_preprocessor):
    """Makes a task of a kind; on tiny_backbone, with tiny_preprocessor."""

    def make(kind, *args, preprocessor=tiny_preprocessor, **kwargs):
        return kind(tiny_backbone, *args, preprocessor=preprocessor, **kwargs)

    return make


@pytest.fixture
def build_classifier(build_task):
    """Builds classifiers of three classes, without dropout, on tiny_backbone."""
    from electra_tf.tasks import text_classifier

    def build(num_classes=3, **kwargs):
        settings = {"dropout": 0.0, **kwargs}
        return build_task(
            text_classifier.ElectraTextClassifier, num_classes, **settings
        )

    return build


@pytest.fixture
def build_quick_task(tiny_model_config, vocab):
    """Makes a task of a kind, of one block without dropout: it learns in no time."""
    from electra_tf.tasks import backbone, preprocessor, tokenizer

    def make(kind, model=None, rows=None, dtype=None, **kwargs):
        changed = {
            "num_layers": 1,
            "hidden_dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            **(model or {}),
        }
        return kind(
            backbone=backbone.ElectraBackbone.from_model_config(
                tiny_model_config.model_copy(update=changed), dtype=dtype
            ),
            preprocessor=preprocessor.ElectraTextPreprocessor(
                tokenizer.ElectraTokenizer(vocab),
                **{"sequence_length": 24, **(rows or {})},
            ),
            **kwargs,
        )

    return make


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory):
    """A folder with two .txt files that hold DOCUMENTS, 13 and 27 of them."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, documents in (("a", DOCUMENTS[:13]), ("b", DOCUMENTS[13:])):
        text = "\n\n".join("\n".join(document) for document in documents)
        (folder / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory, tiny_corpus, tiny_vocab):
    """A data folder built from tiny_corpus: 3 training shards and 1 for validation."""
    from electra_tf.text import data_builder  # Not above: few tests need it.

    folder = tmp_path_factory.mktemp("data") / "tiny"
    settings = config.BuildDataConfig(min_shards=3, validation_rate=0.2, processes=1)
    data_builder.build([str(tiny_corpus)], str(folder), str(tiny_vocab), settings)
    return folder


@pytest.fixture
def own_data(tiny_data, tmp_path):
    """A copy of tiny_data, to be changed."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, tiny_data):
    """A config file: 20 steps on tiny_data, about two epochs, dropout and all."""
    file = tmp_path_factory.mktemp("config") / "tiny_run.yaml"
    settings = {
        "model": {
            "embedding_size": 10,
            "hidden_size": 12,
            "num_layers": 1,
            "num_heads": 3,
            "intermediate_size": 20,
            "max_positions": 32,
        },
        "generator": {"width_scale": 0.5},
        "data": {
            "records": str(tiny_data),
            "example_tokens": 16,
            "row_tokens": 24,
            "shuffle_shards": 2,
            "block_rows": 16,
        },
        "train": {
            "steps": 20,
            "batch_size": 6,
            "warmup_steps": 4,
            "learning_rate": 1e-3,
            "steps_per_loop": 3,
        },
        "run": {
            "log_every_steps": 5,
            "evaluate_every_steps": 10,
            "evaluate_rows": 15,
            "save_every_steps": 5,
            "keep": 2,
        },
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory, tiny_model_config, tiny_vocab):
    """A preset of pre-training, with weights as they were drawn, that drops nothing."""
    from electra_tf.network import models
    from electra_tf.text import vocabularies
    from electra_tf.weights import preset_writer

    keras.utils.set_random_seed(5)
    changed = {
        "hidden_dropout_rate": 0.0,
        "attention_dropout_rate": 0.0,
        "initializer_range": 0.3,
    }
    model = tiny_model_config.model_copy(update=changed)
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    preset_writer.save(
        str(folder),
        {
            "discriminator": models.build_discriminator(model),
            "generator": models.build_generator(model),
        },
        {"discriminator": model, "generator": model},
        vocabularies.read(str(tiny_vocab)),
        config.TokenizerConfig(),
        {},
    )
    return str(folder)


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory):
    """A folder for text_classification: 24 train rows, of them 9 for dev, 5 for test.

    The label says whether there is a cat; test.tsv has none.
    """
    folder = tmp_path_factory.mktemp("task")
    chance = random.Random(3)
    others = [word for word in WORDS if word not in ("cat", "dog")]
    rows = []
    for number in range(24):
        words = chance.choices(others, k=chance.randint(2, 7))
        words.insert(chance.randint(0, len(words)), ("cat", "dog")[number % 2])
        rows.append((" ".join(words), ("yes", "no")[number % 2]))
    tables = {
        "train": [("text", "label"), *rows],
        "dev": [("text", "label"), *rows[:9]],
        "test": [("text",), *((text,) for text, _ in rows[:5])],
    }
    for split, cells in tables.items():
        text = "".join("\t".join(row) + "\n" for row in cells)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="session")
def tiny_tuned(tmp_path_factory, tiny_preset, tiny_task):
    """The workdir of a run that learned tiny_task in two trials; what it said."""
    from electra_tf.finetuning import finetuner

    settings = task_config.FinetuneConfig(
        model={"sequence_length": 13},
        train={"epochs": 12, "batch_size": 8, "learning_rate": 1e-2, "trials": 2},
        run={"log_points": 5},
    )
    folder = tmp_path_factory.mktemp("tuned") / "cats"
    said = []
    finetuner.run(
        settings,
        tiny_preset,
        ["text_classification"],
        [tiny_task],
        str(folder),
        said.append,
    )
    return folder, said
