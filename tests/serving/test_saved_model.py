"""The folder that a server polls: versions, whole or not at all; and what is beside."""

import errno
import json
import os
import resource
import signal
from pathlib import Path

import disk
import pytest
import servers
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
)
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.system import checksums

STRINGS = tf.TensorSpec([None], tf.string)


def build(weight=2.0):
    """Makes signatures of every api over one variable."""
    variable = tf.Variable([weight] * 999)  # Larger than all else that is written.

    def scale(x):
        return {"y": variable[0] * x}

    def count(inputs):
        lengths = tf.cast(tf.strings.length(inputs), tf.float32)
        return {"outputs": variable[0] * lengths}

    def classes(inputs):
        names = tf.fill([tf.size(inputs), 1], "yes")
        return {"classes": names, "scores": tf.ones_like(count(inputs)["outputs"])}

    spec = tf.TensorSpec([None, 3], tf.float32)
    text = {"inputs": STRINGS}
    scaled = saved_model.Signature(scale, {"x": spec}, {"x": [1.0, 2.0, 3.0]})
    return {
        saved_model.DEFAULT: scaled,
        "again": scaled,
        "measure": saved_model.Signature(count, text, {"text": "abc"}, "regress"),
        "sort": saved_model.Signature(classes, text, {"text": "abc"}, "classify"),
    }, [variable]


def export(base, weight=2.0, **kwargs):
    signatures, variables = build(weight)
    return saved_model.export(str(base), signatures, variables, {"a": 1}, **kwargs)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model with a version 1."""
    folder = tmp_path_factory.mktemp("models") / "double"
    export(folder, batch_sizes=(1, 3))
    return folder


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_versions_count_up_and_each_answers_for_itself(tmp_path):
    base = tmp_path / "models" / "double"
    found = [
        export(base, 2.0).folder,
        export(base, 3.0).folder,
        export(base, 4.0, version=7).folder,
        export(base, 5.0).folder,
    ]
    assert [os.path.basename(folder) for folder in found] == ["1", "2", "7", "8"]
    assert saved_model.versions(str(base)) == [1, 2, 7, 8]
    assert servers.Served(found[1])("again", x=[[1, 2, 3]])["y"].tolist() == [[3, 6, 9]]
    left = {"1", "2", "7", "8", "batching.config", "models.config"}
    assert set(os.listdir(base)) == left


def test_a_server_that_looks_meanwhile_sees_no_version(tmp_path):
    seen = []

    def look(x):
        seen.extend(os.listdir(tmp_path))
        return {"y": x}

    spec = tf.TensorSpec([None], tf.float32)
    one = saved_model.Signature(look, {"x": spec}, {"x": 1.0})
    (tmp_path / "1.building").mkdir()  # Of an export that was killed.
    (tmp_path / "1.building" / "half").touch()
    saved_model.export(str(tmp_path), {saved_model.DEFAULT: one}, [], {})
    assert not {name for name in seen if name.isdigit()}
    assert set(os.listdir(tmp_path)) == {"1", "batching.config", "models.config"}
    assert not (tmp_path / "1" / "half").exists()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"version": 1}, "has a version 1; name another, or none to get 2"),
        ({"version": 0}, "version=0: want 1 or more"),
        ({"batch_sizes": ()}, "batch_sizes=: want ascending numbers from 1"),
        ({"batch_sizes": (0, 2)}, "batch_sizes=0,2: want ascending"),
        ({"batch_sizes": (4, 2)}, "batch_sizes=4,2: want ascending"),
        ({"batch_sizes": (2, 2)}, "batch_sizes=2,2: want ascending"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(base, kwargs, message):
    before = contents(base)
    with pytest.raises(errors.UserError, match=message):
        export(base, **kwargs)
    assert contents(base) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda base: (base / "notes.txt").write_text("mine"),
        lambda base: (base / "12").mkdir(),  # No model in it.
        lambda base: (base / "preset").mkdir(),
    ],
)
def test_a_folder_that_holds_something_else_is_refused(make, tmp_path):
    make(tmp_path)
    names = os.listdir(tmp_path)
    with pytest.raises(
        errors.UserError, match=f"holds {names[0]}, which is no version"
    ):
        export(tmp_path)
    assert os.listdir(tmp_path) == names


def test_a_file_of_that_name_is_refused(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(errors.UserError, match="is a file; name a folder"):
        export(tmp_path / "model")


@pytest.fixture
def small_files():
    """Lets no file of this process grow beyond a kilobyte, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(
    base, tmp_path, small_files
):
    before = contents(base)
    for folder in (base, tmp_path / "new"):
        with pytest.raises(
            errors.UserError, match=r"cannot write .*free some space"
        ) as e:
            export(folder)
        assert "\n" not in str(e.value)
    assert contents(base) == before
    assert not (tmp_path / "new").exists()


def test_a_rename_that_fails_is_said_too(base, monkeypatch):
    before = contents(base)

    def fail(*_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(errors.UserError, match="Permission denied; free some space"):
        export(base)
    assert contents(base) == before


def test_whatever_interrupts_leaves_the_versions_as_they_were(base):
    before = contents(base)

    def interrupt(x):
        raise KeyboardInterrupt

    one = saved_model.Signature(interrupt, {"x": STRINGS}, {"x": "a"})
    with pytest.raises(KeyboardInterrupt):
        saved_model.export(str(base), {saved_model.DEFAULT: one}, [], {})
    assert contents(base) == before


def read_warmup(folder):
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]


def test_warm_up_asks_every_signature_in_every_batch_size(base):
    logs = read_warmup(base / "1")
    served = servers.Served(str(base / "1"))
    found = []
    for log in logs:
        request = getattr(log, log.WhichOneof("log_type")).request
        name = request.model_spec.signature_name
        assert request.model_spec.name == "double"
        if log.WhichOneof("log_type") == "predict_log":
            feeds = {key: tf.make_ndarray(x) for key, x in request.inputs.items()}
        else:
            examples = request.input.example_list.examples
            feeds = {"inputs": [one.SerializeToString() for one in examples]}
            assert examples[0].features.feature["text"].bytes_list.value == [b"abc"]
        outputs = served(name, **feeds)
        sizes = {len(x) for x in [*feeds.values(), *outputs.values()]}
        found.append((log.WhichOneof("log_type"), name, *sizes))
    kinds = {
        "serving_default": "predict_log",
        "again": "predict_log",
        "measure": "regress_log",
        "sort": "classify_log",
    }
    assert found == [
        (kind, name, size) for name, kind in kinds.items() for size in (1, 3)
    ]


def test_what_is_known_of_the_model_lies_beside_it(base):
    found = json.loads((base / "1" / "assets.extra" / "model.json").read_text())
    assert found["a"] == 1
    assert found["batch_sizes"] == [1, 3]
    assert found["versions"]["tensorflow"] == tf.__version__
    assert found["signatures"]["again"] == {
        "inputs": {"x": "float32 [None, 3]"},
        "outputs": {"y": "float32 [None, 3]"},
    }


def batching_parameters():
    """Returns the server's message, which its Python package leaves out."""
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="test", syntax="proto3"
    )
    value = file.message_type.add(name="Int64Value")
    value.field.add(name="value", number=1, type=3, label=1)
    found = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(
        ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches"], 1
    ):
        found.field.add(
            name=name, number=number, type=11, label=1, type_name=".test.Int64Value"
        )
    found.field.add(name="allowed_batch_sizes", number=6, type=3, label=3)
    found.field.add(name="pad_variable_length_inputs", number=7, type=8, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("test.BatchingParameters")
    )()


def test_the_configs_are_what_the_server_parses(base):
    batching = text_format.Parse(
        (base / "batching.config").read_text(), batching_parameters()
    )
    assert list(batching.allowed_batch_sizes) == [1, 3]
    assert batching.max_batch_size.value == 3  # The server wants the last one.
    assert batching.pad_variable_length_inputs
    models = text_format.Parse(
        (base / "models.config").read_text(),
        model_server_config_pb2.ModelServerConfig(),
    )
    (one,) = models.model_config_list.config
    assert (one.name, one.base_path) == ("double", "/models/double")
    assert one.model_platform == "tensorflow"


def test_lists_of_strings_are_not_filled_up_by_the_server(tmp_path):
    spec = tf.TensorSpec([None, None], tf.string)
    one = saved_model.Signature(lambda x: {"y": x}, {"x": spec}, {"x": ["a", "b"]})
    saved_model.export(str(tmp_path), {saved_model.DEFAULT: one}, [], {})
    text = (tmp_path / "batching.config").read_text()
    assert not text_format.Parse(text, batching_parameters()).pad_variable_length_inputs


def test_configs_that_somebody_tuned_stay(tmp_path):
    export(tmp_path)
    (tmp_path / "batching.config").write_text("max_batch_size { value: 7 }\n")
    export(tmp_path)
    tuned = (tmp_path / "batching.config").read_text()
    assert tuned == "max_batch_size { value: 7 }\n"


def test_the_command_mounts_the_folder_and_names_its_configs(tmp_path):
    found = export(tmp_path / "it's mine")
    assert f"-v '{tmp_path}/it'\"'\"'s mine:/models/it'\"'\"'s mine'" in found.command
    assert "-p 8500:8500 -p 8501:8501" in found.command
    plain = export(tmp_path / "mine").command
    assert "--model_config_file=/models/mine/models.config --enable_batching" in plain
    assert "--batching_parameters_file=/models/mine/batching.config" in plain


def test_it_is_on_the_disk_when_it_is_there_and_vouched_for(tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    found = export(tmp_path / "models/mine")
    watched.assert_holds(tmp_path / "models")
    checksums.verify(found.folder)
    assert (
        "variables/variables.index" in (Path(found.folder) / "SHA256SUMS").read_text()
    )


def test_of_two_exports_the_second_is_refused_and_removes_nothing(tmp_path):
    base = tmp_path / "new"
    with saved_model.new_version(str(base), None, "model") as (building, folder):
        (Path(building) / "deep").mkdir(parents=True)
        (Path(building) / "model").touch()
        with pytest.raises(errors.UserError, match=f"written by pid {os.getpid()}"):
            export(base)
        assert sorted(os.listdir(building)) == ["deep", "model"]
    assert os.listdir(base) == ["1"]
    assert sorted(os.listdir(folder)) == ["SHA256SUMS", "deep", "model"]


def test_one_that_fails_in_a_new_folder_removes_what_it_wrote_and_no_more(tmp_path):
    def fail(*mine):
        with saved_model.new_version(str(tmp_path / "new"), None, "model") as (
            draft,
            _,
        ):
            for file in (os.path.join(draft, "model"), *mine):
                Path(file).parent.mkdir(exist_ok=True)
                Path(file).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "new/of_somebody_else")
    assert os.listdir(tmp_path / "new") == ["of_somebody_else"]
