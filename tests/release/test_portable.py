"""Files for other runtimes say what Python says of the same ids."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import errors
from electra_tf.finetuning import task_config
from electra_tf.release import exporter
from electra_tf.tasks import catalog

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def wanted(tiny_tuned):
    """Token ids of TEXT, int32 [1, L], and the scores of its classes."""
    model = catalog.load(str(tiny_tuned[0]))
    (found,) = model.predict_classes([TEXT])
    ids = np.array(model.rows([TEXT]).token_ids, np.int32)
    return ids, list(found["scores"].values())


def export(tiny_tuned, base, **output):
    said = []
    settings = task_config.ExportConfig(export=output)
    exporter.export(str(tiny_tuned[0]), str(base), settings, say=said.append)
    (line,) = said
    assert line.startswith(f"wrote {base}/1: model.")
    return base / "1"


@pytest.mark.parametrize(
    ("output", "close"),
    [
        ({"weights": "float32"}, 1e-5),
        ({"weights": "float16", "fixed_length": True}, 1e-2),
        ({"weights": "int8"}, 5e-2),
    ],
)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tensorflow_lite_answers_with_its_own_operations(
    output, close, tiny_tuned, wanted, tmp_path
):
    folder = export(tiny_tuned, tmp_path / "lite", format="tflite", **output)
    ids, want = wanted
    if "fixed_length" in output:
        ids = np.pad(ids, ((0, 0), (0, 13 - ids.shape[1])))
    interpreter = tf.lite.Interpreter(str(folder / "model.tflite"))
    ask = interpreter.get_signature_runner()
    found = ask(token_ids=ids, segment_ids=0 * ids)
    assert found.keys() == {"score", "scores"}
    np.testing.assert_allclose(found["scores"][0], want, rtol=0, atol=close)
    names = {one["op_name"] for one in interpreter._get_ops_details()}
    assert not [name for name in names if name.startswith("Flex")]
    about = json.loads((folder / "model.json").read_text())
    assert about["labels"] == ["no", "yes"]
    length = 13 if "fixed_length" in output else None
    assert about["inputs"]["token_ids"] == f"int32 [1, {length}]"
    assert about["outputs"].keys() == found.keys()
    assert (folder / "vocab.txt").read_text().startswith("[PAD]\n")


def test_onnx_runtime_answers(tiny_tuned, wanted, tmp_path):
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = export(tiny_tuned, tmp_path / "onnx", format="onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    ids, want = wanted
    ids = np.pad(np.repeat(ids, 3, axis=0), ((0, 0), (0, 2)))
    found = session.run(["scores"], {"token_ids": ids, "segment_ids": 0 * ids})
    np.testing.assert_allclose(found[0], [want] * 3, rtol=0, atol=1e-5)


def test_onnx_without_its_converter_is_one_line(tiny_tuned, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(errors.UserError, match="needs tf2onnx; pip install"):
        export(tiny_tuned, tmp_path / "onnx", format="onnx")
    assert not (tmp_path / "onnx").exists()


def test_what_a_format_cannot_hold_is_refused(tiny_tuned, tiny_preset, tmp_path):
    for output, said in (
        ({"format": "tflite", "weights": "bfloat16"}, "tflite takes float32, float16"),
        ({"format": "onnx", "weights": "int8"}, "onnx takes float32"),
    ):
        with pytest.raises(errors.UserError, match=said):
            export(tiny_tuned, tmp_path / "model", **output)
    settings = task_config.ExportConfig(export={"format": "tflite"})
    with pytest.raises(errors.UserError, match="ElectraMaskedLM has no signature that"):
        exporter.export(
            tiny_preset, str(tmp_path / "model"), settings, network="generator"
        )
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "saved_model.pb").touch()
    with pytest.raises(errors.UserError, match="no version of a served model with a"):
        export(tiny_tuned, tmp_path / "model", format="tflite")
