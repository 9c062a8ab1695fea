"""Loads a SavedModel as TensorFlow Serving does: into a session, its nearest kin.

And serves it by gRPC and REST, as far as a client of Predict can tell.
"""

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # Registers its operations.
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Served:
    """A loaded model; `Served(folder)("serving_default", text=[...])` asks it."""

    def __init__(self, folder: str) -> None:
        graph = tf.Graph()
        with graph.as_default():
            v1 = tf.compat.v1  # noqa: TID251
            self._session = v1.Session()
            self.meta_graph = v1.saved_model.load(self._session, ["serve"], folder)

    def __call__(self, signature: str, **inputs: Any) -> dict[str, Any]:
        """Returns the outputs of a signature by name; strings are bytes."""
        found = self.meta_graph.signature_def[signature]
        fetches = {name: tensor.name for name, tensor in found.outputs.items()}
        assert inputs.keys() == set(found.inputs)
        feeds = {
            found.inputs[name].name: np.asarray(
                value, object if found.inputs[name].dtype == tf.string else None
            )
            for name, value in inputs.items()
        }
        return self._session.run(fetches, feeds)

    def nodes(self) -> list[Any]:
        """Returns the nodes of the graph and its functions."""
        graph = self.meta_graph.graph_def
        return [*graph.node, *(n for f in graph.library.function for n in f.node_def)]

    def operations(self) -> set[str]:
        """Returns the kinds of operations that there are."""
        return {node.op for node in self.nodes()}


class Addresses(NamedTuple):
    """Where models are served."""

    grpc: str  # "localhost:1234"
    rest: str  # "http://localhost:1235"


@contextlib.contextmanager
def serve(models: Mapping[str, Served]) -> Iterator[Addresses]:
    """Answers Predict and GetModelMetadata for models by name, by gRPC and REST."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Grpc(models), server
    )
    port = server.add_insecure_port("localhost:0")
    rest = http.server.ThreadingHTTPServer(("localhost", 0), _Rest)
    rest.models = models
    server.start()
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    try:
        yield Addresses(f"localhost:{port}", f"http://localhost:{rest.server_port}")
    finally:
        server.stop(None).wait()
        rest.shutdown()
        rest.server_close()


class _Grpc(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, models: Mapping[str, Served]) -> None:
        self._models = models

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        model = self._model(request, context)
        inputs = {name: tf.make_ndarray(one) for name, one in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        for name, value in model(request.model_spec.signature_name, **inputs).items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = get_model_metadata_pb2.SignatureDefMap()
        meta_graph = self._model(request, context).meta_graph
        for name, one in meta_graph.signature_def.items():
            found.signature_def[name].CopyFrom(one)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.metadata["signature_def"].Pack(found)
        return answer

    def _model(self, request: Any, context: Any) -> Served:
        name = request.model_spec.name
        if name not in self._models:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Latest({name})",
            )
        return self._models[name]


class _Rest(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self._model(r"/v1/models/([^/:]+)/metadata")
        if found:
            signatures = {
                name: json_format.MessageToDict(one, preserving_proto_field_name=True)
                for name, one in found.meta_graph.signature_def.items()
            }
            self._say(
                200, {"metadata": {"signature_def": {"signature_def": signatures}}}
            )

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self._model(r"/v1/models/([^/:]+):predict")
        if found:
            try:
                outputs = found(asked["signature_name"], **asked["inputs"])
            except Exception as error:
                self._say(400, {"error": str(error)})
            else:
                self._say(200, {"outputs": {k: _plain(v) for k, v in outputs.items()}})

    def _model(self, path: str) -> Served | None:
        name = re.fullmatch(path, self.path)[1]
        if name not in self.server.models:
            self._say(404, {"error": f"Servable not found for request: Latest({name})"})
        return self.server.models.get(name)

    def _say(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def _plain(value: np.ndarray) -> Any:
    """Returns strings where there are bytes."""
    if value.dtype == object:
        value = np.vectorize(bytes.decode, otypes=[object])(value)
    return value.tolist()
