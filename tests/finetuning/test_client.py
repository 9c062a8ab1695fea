"""What a server says goes into answers; what goes wrong is said in one line."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import servers

from electra_tf import errors
from electra_tf.finetuning import client, predictor, task_config
from electra_tf.release import exporter

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = task_config.FinetuneConfig(train={"batch_size": 2})


class Stub:
    """A model with one signature, which no task of ours has."""

    def __init__(self, inputs, outputs):
        self.meta_graph = servers.tf.compat.v1.MetaGraphDef()
        for name in inputs:
            self.meta_graph.signature_def["serving_default"].inputs[name].dtype = 7
        for name in outputs:
            self.meta_graph.signature_def["serving_default"].outputs[name].dtype = 1

    def __call__(self, *_, **__):
        raise RuntimeError("out of memory")


@pytest.fixture(scope="module")
def served(tiny_tuned, tmp_path_factory):
    """A server with the classifier of tiny_tuned and two other models."""
    base = tmp_path_factory.mktemp("served") / "cats"
    exporter.export(
        str(tiny_tuned[0]),
        str(base),
        task_config.ExportConfig(),
        batch_sizes=[1],
        say=lambda _: None,
    )
    models = {
        "cats": servers.Served(str(base / "1")),
        "numbers": Stub(["token_ids"], ["logits"]),
        "several": Stub(["text"], ["labels", "num_labels", "classes", "scores"]),
        "single": Stub(["text"], ["label", "classes"]),
    }
    with servers.serve(models) as addresses:
        yield addresses


TEXTS = ["the cat sat", "", "a dog", "caf\u00e9 \u2028 cat", "the dog " * 9]


def test_the_kind_of_a_model_is_told_by_what_it_takes_and_returns(served):
    for name, kind in (("several", "multi_label"), ("single", "classification")):
        assert client.Model(f"{served.rest}/{name}").kind.name == kind


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_predict_says_the_same_by_a_server_as_with_a_preset(
    way, served, tiny_tuned, tmp_path, capsys
):
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = []
    where = f"{getattr(served, way)}/cats"
    for origin, server in ((str(tiny_tuned[0]), None), (None, where)):
        predictor.predict(origin, SETTINGS, server=server, source=str(source))
        out, said = capsys.readouterr()
        found.append([json.loads(line) for line in out.splitlines()])
        assert said.count("lost their end") == 1
    assert len(found[0]) == len(TEXTS)
    for want, row in zip(*found, strict=True):
        assert list(row) == list(want)
        assert row.pop("scores") == pytest.approx(want.pop("scores"), abs=1e-5)
        assert row.pop("score") == pytest.approx(want.pop("score"), abs=1e-5)
        assert row == want


def test_the_command_asks_a_server_without_tensorflow(served):
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "sys.argv = ['predict', *sys.argv[1:]]\n"
        "import runpy; runpy.run_module('electra_tf.predict', run_name='__main__')"
    )
    flags = [f"--server={served.rest}/cats", "--text=a cat", "--text=a dog"]
    process = subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    labels = [json.loads(line)["label"] for line in process.stdout.splitlines()]
    assert labels == ["yes", "no"]


def test_the_documentation_shows_the_code_that_asks():
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    for function in (client.ask_grpc, client.ask_rest):
        assert inspect.getsource(function) in page


@pytest.mark.parametrize("way", ["grpc", "rest"])
@pytest.mark.parametrize(
    ("name", "example", "said"),
    [
        ("/dogs", "a", "has no model 'dogs': "),
        ("", "a", "has no model 'default': "),
        ("/numbers", "a", "serving_default takes token_ids and returns logits, which"),
        ("/single", ("a", "b"), "no signature 'pairs' that takes text, text_pair; it"),
        ("/single", "a", "model 'single' at "),
    ],
)
def test_what_a_server_does_not_have_is_said(way, name, example, said, served):
    with pytest.raises(errors.UserError) as caught:
        client.Model(f"{getattr(served, way)}{name}").find([example])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_said_in_one_line(served, tmp_path):
    (port,) = commands.free_ports(1)
    rest = served.rest.removeprefix("http://")
    for where in (
        f"localhost:{port}/cats",
        f"http://localhost:{port}/cats",
        f"http://{served.grpc}/cats",
        f"{rest}/cats",
    ):
        with pytest.raises(errors.UserError, match="no TensorFlow Serving answers at"):
            client.Model(where)
    process = commands.Started(
        tmp_path,
        commands.run_command,
        "predict",
        f"--server=localhost:{port}",
        "--text=a",
    )
    commands.assert_ends_in_one_line(
        process, "no TensorFlow Serving answers at", "8500"
    )


def test_what_cannot_be_asked_of_a_server_is_refused(served):
    with pytest.raises(errors.UserError, match="pairs of texts, both at once"):
        client.Model(f"{served.rest}/cats").find(["a", ("a", "b")])
    for where in ("ftp://localhost/cats", "", "http://"):
        with pytest.raises(errors.UserError, match="want host:port/model for gRPC"):
            client.Model(where)
    settings = task_config.FinetuneConfig(model={"sequence_length": 8})
    with pytest.raises(
        errors.UserError, match=r"model\.sequence_length: a server answers"
    ):
        predictor.predict(None, settings, server="localhost:1/cats", texts=["a"])
