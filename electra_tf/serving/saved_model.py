"""A model becomes a folder that stock TensorFlow Serving loads.

In:   signatures, functions of named tensors, and the variables they use.
Out:  base/<version>/, a SavedModel with warm-up requests and what is known of it in
      assets.extra/; base/batching.config and base/models.config.

A server polls base/ and loads the highest version. So a version is written under
another name, at which no server looks, and then moved.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import electra_tf
from electra_tf import errors
from electra_tf.serving import stored_weights
from electra_tf.system import checksums, durable

DEFAULT = "serving_default"  # the signature of a request that names none
BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # inputs; a batch is filled up to one of these
BATCH_WAIT = 1000  # microseconds that an input waits for others
MAX_BATCHES = 1000  # that wait; more are turned away

BATCHING, MODELS = "batching.config", "models.config"
PROTO = "saved_model.pb"
ABOUT = "model.json"  # in assets.extra, as the next
WARMUP = "tf_serving_warmup_requests"  # the server's name for it

# Where the container of the server has its models.
_IN_CONTAINER = "/models"

Tensors = dict[str, tf.Tensor]


class Signature(NamedTuple):
    """One way to ask a model: named tensors in, named tensors out.

    All have the inputs of a batch along their first axis, or the server could not put
    several requests into one batch.
    """

    function: Callable[..., Tensors]  # takes tensors by the names of `inputs`
    inputs: dict[str, tf.TensorSpec]
    example: dict[str, Any]  # of one input, to warm up with; a tf.train.Example's text
    api: str = "predict"  # or "classify", "regress": the server's own, of tf.Examples
    # The same without a loop over rows, for formats that have none.
    whole: Callable[..., Tensors] | None = None


class Exported(NamedTuple):
    """What was written."""

    folder: str  # of the version
    command: str  # that serves it


def export(
    base: str,
    signatures: Mapping[str, Signature],
    tracked: Sequence[Any],
    about: Mapping[str, Any],
    *,
    tracing: stored_weights.Tracing = contextlib.nullcontext,
    version: int | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> Exported:
    """Writes a version of a model.

    Args:
        base: folder of all versions; its name is the model's.
        signatures: by name; DEFAULT among them.
        tracked: all variables and resources that the signatures use.
        about: JSON values that describe the model.
        tracing: see `stored_weights.Stored`.
        version: None = one more than the highest.
        batch_sizes: to which the server fills batches up, ascending.

    Raises:
        UserError: the version is there, the folder holds something else, a batch size
            makes no sense, or writing failed; the other versions are as they were.
    """
    base = os.path.normpath(base)
    _check_batch_sizes(batch_sizes)
    with new_version(base, version, PROTO) as (building, folder):
        with tracing():
            traced = {one.function: _trace(one) for one in signatures.values()}
        functions = {name: traced[one.function] for name, one in signatures.items()}
        module = tf.Module()
        module.weights = list(tracked)
        # A server only predicts, so the gradients of our functions stay out.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, building, functions, options)
        extra = os.path.join(building, "assets.extra")
        os.makedirs(extra)
        described = {
            **about,
            "signatures": {
                name: {
                    "inputs": describe(one.inputs),
                    "outputs": describe(functions[name].structured_outputs),
                }
                for name, one in signatures.items()
            },
            "batch_sizes": list(batch_sizes),
            "versions": package_versions(),
        }
        durable.write_json(os.path.join(extra, ABOUT), described)
        name = os.path.basename(base)
        with tf.io.TFRecordWriter(os.path.join(extra, WARMUP)) as writer:
            for request in warmup_requests(name, signatures, batch_sizes):
                writer.write(request.SerializeToString())
        # What somebody has tuned for earlier versions stays.
        for file, text in {
            BATCHING: _batching(signatures, batch_sizes),
            MODELS: _models(name),
        }.items():
            if not os.path.exists(os.path.join(base, file)):
                durable.write_text(os.path.join(base, file), text)
    return Exported(folder, _command(base))


def warmup_requests(
    model: str, signatures: Mapping[str, Signature], batch_sizes: Sequence[int]
) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Yields a request for each signature and batch size."""
    for name, one in signatures.items():
        for size in batch_sizes:
            log = prediction_log_pb2.PredictionLog()
            if one.api == "classify":
                request: Any = log.classify_log.request
            elif one.api == "regress":
                request = log.regress_log.request
            else:
                request = log.predict_log.request
            request.model_spec.name = model
            request.model_spec.signature_name = name
            if one.api == "predict":
                for key, value in one.example.items():
                    batch = np.stack([np.asarray(value)] * size)
                    dtype = one.inputs[key].dtype
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(batch, dtype))
            else:
                examples = [make_example(one.example)] * size
                request.input.example_list.examples.extend(examples)
            yield log


def make_example(texts: Mapping[str, str]) -> tf.train.Example:
    """Returns the tf.train.Example with these features of a string each."""
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[text.encode()])
                )
                for name, text in texts.items()
            }
        )
    )


def versions(base: str) -> list[int]:
    """Returns the versions that are there, ascending."""
    names = os.listdir(base) if os.path.isdir(base) else []
    return sorted(int(name) for name in names if _is_version(name))


@contextlib.contextmanager
def new_version(base: str, version: int | None, file: str) -> Iterator[tuple[str, str]]:
    """Yields a folder to make and write to, and the folder that it becomes in the end.

    Args:
        base: folder of all versions.
        version: None = one more than the highest.
        file: that each version has.

    Raises:
        UserError: another export writes there; see `export`.
    """
    _refuse_foreign(base, file)
    is_new = not os.path.isdir(base)
    lock = durable.locked(os.path.join(base, durable.LOCK), base)
    try:
        with durable.explained(base, tf.errors.OpError), lock:
            there = set(os.listdir(base))
            folder = os.path.join(base, str(_choose(base, version)))
            building = f"{folder}.building"
            for name in filter(_is_draft, there):  # Of exports that were killed.
                shutil.rmtree(os.path.join(base, name), ignore_errors=True)
            try:
                yield building, folder
                checksums.write(building)
                durable.sync_tree(building)
                os.rename(building, folder)
                durable.sync(base)
            except BaseException:
                for name in {BATCHING, MODELS} - there:
                    with contextlib.suppress(OSError):
                        os.remove(os.path.join(base, name))
                raise
            finally:
                shutil.rmtree(building, ignore_errors=True)
    finally:
        if is_new:  # Nothing became of it, unless it holds something, whosever.
            with contextlib.suppress(OSError):
                os.rmdir(base)


def _choose(base: str, version: int | None) -> int:
    """Returns the number of the next version."""
    there = versions(base)
    following = max(there, default=0) + 1
    if version is not None and version < 1:
        raise errors.UserError(f"version={version}: want 1 or more")
    if version in there:
        raise errors.UserError(
            f"{base} has a version {version}; name another, or none to get {following}"
        )
    return following if version is None else version


def _refuse_foreign(base: str, file: str) -> None:
    """Refuses a folder that holds what is neither a version nor beside them."""
    if os.path.lexists(base) and not os.path.isdir(base):
        raise errors.UserError(f"{base} is a file; name a folder")
    partial = [f".{name}.partial" for name in (BATCHING, MODELS)]
    beside = {BATCHING, MODELS, durable.LOCK, *partial}
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        is_model = os.path.isfile(os.path.join(base, name, file))
        is_ours = name in beside or _is_draft(name) or (_is_version(name) and is_model)
        if not is_ours:
            raise errors.UserError(
                f"{base} holds {name}, which is no version of a served model with a "
                f"{file}; name another folder"
            )


def _is_draft(name: str) -> bool:
    return name.endswith(".building") and _is_version(name.removesuffix(".building"))


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _check_batch_sizes(sizes: Sequence[int]) -> None:
    if not sizes or sizes[0] < 1 or sorted(set(sizes)) != list(sizes):
        raise errors.UserError(
            f"batch_sizes={','.join(map(str, sizes))}: want ascending numbers from 1"
        )


def _trace(one: Signature) -> Any:
    specs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name)
        for name, spec in one.inputs.items()
    }
    return tf.function(one.function, autograph=False).get_concrete_function(**specs)


def describe(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Returns dtypes and shapes, as in "float32 [None, 3]"; None is any size."""
    return {
        name: f"{one.dtype.name} {one.shape.as_list()}" for name, one in tensors.items()
    }


def package_versions() -> dict[str, str]:
    """Returns what a model was made with."""
    packages = "tensorflow tensorflow-text keras keras-hub".split()
    return {
        "electra_tf": electra_tf.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _batching(signatures: Mapping[str, Signature], sizes: Sequence[int]) -> str:
    """Returns the server's BatchingParameters.

    To make lengths equal, it repeats the first value of a tensor. Ids bear that
    (`tasks.graph.rows_of_ids`), lists of strings do not.
    """
    pads = all(
        spec.dtype != tf.string or spec.shape.rank < 2
        for one in signatures.values()
        for spec in one.inputs.values()
    )
    return "".join(
        [
            f"max_batch_size {{ value: {sizes[-1]} }}\n",
            f"batch_timeout_micros {{ value: {BATCH_WAIT} }}\n",
            f"max_enqueued_batches {{ value: {MAX_BATCHES} }}\n",
            *(f"allowed_batch_sizes: {size}\n" for size in sizes),
            f"pad_variable_length_inputs: {str(pads).lower()}\n",
        ]
    )


def _models(name: str) -> str:
    """Returns the server's ModelServerConfig."""
    return (
        "model_config_list {\n"
        "  config {\n"
        f"    name: {json.dumps(name)}\n"
        f"    base_path: {json.dumps(f'{_IN_CONTAINER}/{name}')}\n"
        '    model_platform: "tensorflow"\n'
        "    model_version_policy { latest { num_versions: 1 } }\n"
        "  }\n"
        "}\n"
    )


def _command(base: str) -> str:
    """Returns the line that serves the folder, by gRPC at 8500 and REST at 8501.

    Each operation gets one thread: the graph has several to run at a time (D25).
    """
    inside = f"{_IN_CONTAINER}/{os.path.basename(base)}"
    mount = shlex.quote(f"{os.path.abspath(base)}:{inside}")
    return (
        f"docker run --rm -p 8500:8500 -p 8501:8501 -v {mount} tensorflow/serving "
        f"--model_config_file={shlex.quote(f'{inside}/{MODELS}')} --enable_batching "
        f"--batching_parameters_file={shlex.quote(f'{inside}/{BATCHING}')} "
        "--tensorflow_intra_op_parallelism=1"
    )
