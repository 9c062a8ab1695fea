"""In a process that has imported the package and nothing else of it."""

import json
import os
import subprocess
import sys

import pytest

from electra_tf import registration


def run(code, *arguments, **environment):
    """Runs Python in a process of its own; returns its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, *arguments, *(["-c", code] if code else [])],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


LOAD = """
import sys
FIRST
assert not [name for name in sys.modules if "electra_tf.tasks." in name]
import pickle
import keras
import keras_hub
folder = FOLDER
one = keras_hub.models.TextClassifier.from_preset(folder)
two = keras.models.load_model(folder + "/model.keras")
with open(folder + "/model.pickle", "rb") as file:
    three = pickle.load(file)
for model in (one, two, three):
    assert type(model).__name__ == "ElectraTextClassifier"
keras_hub.models.Backbone.from_preset(folder)
keras_hub.tokenizers.Tokenizer.from_preset(folder)
keras_hub.models.TextClassifierPreprocessor.from_preset(folder)
print("all found")
"""


@pytest.mark.parametrize(
    "first",
    [
        "import electra_tf; assert not {'tensorflow', 'keras'} & sys.modules.keys()",
        pytest.param("import keras; import electra_tf", marks=pytest.mark.slow),
        pytest.param("import keras_hub; import electra_tf", marks=pytest.mark.slow),
    ],
    ids=["ours", "keras", "keras_hub"],
)
def test_what_we_saved_is_loaded_whoever_is_imported_first(
    first, tiny_backbone, tiny_preprocessor, tmp_path
):
    import pickle

    from electra_tf.tasks import text_classifier

    model = text_classifier.ElectraTextClassifier(
        tiny_backbone, 2, preprocessor=tiny_preprocessor
    )
    model.save_to_preset(str(tmp_path))
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = LOAD.replace("FIRST", first).replace("FOLDER", repr(str(tmp_path)))
    status, said = run(code)
    assert status == 0, said
    assert "all found" in said


def test_what_is_not_ours_is_looked_up_as_before():
    classes = registration._Classes({"a>B": 1})
    assert "a>B" in classes
    assert "electra_tf>NoSuchClass" not in classes
    assert [*classes.values()] == [1]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_refused_before_keras_is_loaded(backend):
    want = f"Keras' backend is {backend}, and electra_tf needs TensorFlow"
    code = "import electra_tf, electra_tf.config; electra_tf.ElectraBackbone"
    status, said = run(code, KERAS_BACKEND=backend)
    assert status == 1
    assert want in said.splitlines()[-1]


def test_a_command_refuses_another_backend_in_one_line(tmp_path):
    arguments = "-m", "electra_tf.pretrain", f"--workdir={tmp_path / 'run'}"
    status, said = run("", *arguments, KERAS_BACKEND="jax")
    assert status == 1
    assert said.splitlines()[-1].startswith("error: Keras' backend is jax")
    assert "Traceback" not in said


def test_the_backend_is_that_of_keras_own_file(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras.src.backend.config", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert registration.backend() == "tensorflow"
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax"}))
    assert registration.backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert registration.backend() == "torch"
