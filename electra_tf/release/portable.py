"""A task's network becomes one file for other runtimes: TensorFlow Lite or ONNX.

In:   a task with a signature `tokens`: ids in.
Out:  base/<version>/model.tflite or model.onnx, model.json and vocab.txt: token_ids and
      segment_ids, int32 [R, L], to the numbers that `tokens` returns.

Neither runtime has the operations that cut texts, so the tokenizer is the caller's:
`transformers.BertTokenizer` on vocab.txt makes the same ids.
"""

import os
from typing import Any

import tensorflow as tf

from electra_tf import errors
from electra_tf.network import tracing
from electra_tf.serving import saved_model
from electra_tf.system import durable
from electra_tf.text import vocabularies

FILES = {"tflite": "model.tflite", "onnx": "model.onnx"}

# What each holds weights as; the converter's own words where they are not these.
WEIGHTS = {"tflite": ("float32", "float16", "int8"), "onnx": ("float32",)}

OPSET = 18  # of ONNX: what tf2onnx 1.17 writes at most


def export(
    model: Any,
    base: str,
    format: str,
    *,
    weights: str = "float32",
    fixed_length: bool = False,
    version: int | None = None,
    about: dict[str, Any],
) -> str:
    """Writes a version of a model; returns its folder.

    Args:
        model: a task.
        base: folder of all versions.
        format: "tflite", a row at a time; or "onnx".
        weights: see `WEIGHTS`. int8 of TensorFlow Lite is its dynamic-range
            quantization: the arithmetic is integer, too.
        fixed_length: whether rows are the longest always.
        version: None = one more than the highest there.
        about: JSON values that describe the model.

    Raises:
        UserError: the format has no such weights, or the task no such signature; see
            `saved_model.new_version`.
    """
    if weights not in WEIGHTS[format]:
        raise errors.UserError(
            f"export.weights={weights}: {format} takes {', '.join(WEIGHTS[format])}"
        )
    one = model.signatures().get("tokens")
    if one is None or one.whole is None:
        raise errors.UserError(
            f"export.format={format}: {type(model).__name__} has no signature that "
            "takes token ids alone; take saved_model"
        )
    length = model.preprocessor.sequence_length if fixed_length else None
    rows = 1 if format == "tflite" else None

    def network(**ids: tf.Tensor) -> saved_model.Tensors:
        found = one.whole(**ids)
        return {name: x for name, x in found.items() if x.dtype != tf.string}

    specs = {
        name: tf.TensorSpec([rows, length], spec.dtype, name)
        for name, spec in one.inputs.items()
    }
    with saved_model.new_version(base, version, FILES[format]) as (building, folder):
        os.makedirs(building)
        write = _write_tflite if format == "tflite" else _write_onnx
        file = os.path.join(building, FILES[format])
        with tracing.inlined_blocks():
            described = write(model, network, specs, file, weights)
        vocab = model.preprocessor.tokenizer.get_vocabulary()
        vocabularies.write(os.path.join(building, "vocab.txt"), vocab)
        values = {**about, "weights": weights, **described}
        durable.write_json(os.path.join(building, saved_model.ABOUT), values)
    return folder


def _write_tflite(
    model: Any, network: Any, specs: dict[str, Any], file: str, weights: str
) -> dict[str, Any]:
    module = tf.Module()
    module.weights = [variable.value for variable in model.weights]
    traced = tf.function(network, autograph=False).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], module)
    if weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with open(file, "wb") as stream:
        stream.write(converter.convert())
    return _described(specs, traced.structured_outputs)


def _write_onnx(
    model: Any, network: Any, specs: dict[str, Any], file: str, weights: str
) -> dict[str, Any]:
    try:
        import tf2onnx
    except ImportError:
        raise errors.UserError(
            "export.format=onnx needs tf2onnx; pip install 'electra_tf[onnx]'"
        ) from None
    names = list(specs)
    traced = tf.function(
        lambda *ids: network(**dict(zip(names, ids, strict=True))), autograph=False
    )
    found = traced.get_concrete_function(*specs.values()).structured_outputs
    tf2onnx.convert.from_function(
        traced, input_signature=[*specs.values()], opset=OPSET, output_path=file
    )
    return _described(specs, found)


def _described(specs: dict[str, Any], outputs: Any) -> dict[str, Any]:
    return {
        "inputs": saved_model.describe(specs),
        "outputs": saved_model.describe(outputs),
        "versions": saved_model.package_versions(),
    }
