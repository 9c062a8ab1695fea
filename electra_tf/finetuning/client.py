"""A TensorFlow Serving answers examples, as `answers` has a model answer in Python.

In:   where it is: host:port/model speaks gRPC, http://host:port/model REST; examples as
      `datasets.dataset.Split` has them.
Out:  one object per example, of JSON values.

REST needs no TensorFlow; the messages of gRPC load it.
"""

import http.client
import json
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from electra_tf import errors
from electra_tf.kinds import kind, registry

DEFAULT, PAIRS = "serving_default", "pairs"

# The server's own name for a model that was given none (--model_name).
UNNAMED = "default"

TIMEOUT = 120  # seconds

# What docs/serving.md shows, to the letter.


def ask_grpc(
    server: str, model: str, signature: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Asks by gRPC, with the package tensorflow-serving-api.

    Args:
        server: "localhost:8500".
        model: its name.
        signature: "serving_default", say.
        inputs: strings, or equally long lists of them, by name.

    Returns:
        Numbers and bytes, nested lists of them, by name.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string))
    options = [("grpc.max_receive_message_length", -1)]  # Else 4 MB.
    with grpc.insecure_channel(server, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=TIMEOUT)
    return {name: tf.make_ndarray(one).tolist() for name, one in answer.outputs.items()}


def ask_rest(
    server: str, model: str, signature: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Asks by REST, with nothing but Python's own library.

    Args:
        server: "http://localhost:8501".
        model: its name.
        signature: "serving_default", say.
        inputs: strings, or equally long lists of them, by name.

    Returns:
        Numbers and strings, nested lists of them, by name.
    """
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    url = f"{server}/v1/models/{model}:predict"
    with urllib.request.urlopen(url, body, timeout=TIMEOUT) as answer:
        return dict(json.load(answer)["outputs"])


# What a server says of itself.


class _Signature(NamedTuple):
    inputs: set[str]
    outputs: set[str]


def _signatures_by_grpc(server: str, model: str) -> dict[str, _Signature]:
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        prediction_service_pb2_grpc,
    )

    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = model
    request.metadata_field.append("signature_def")
    with grpc.insecure_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.GetModelMetadata(request, timeout=TIMEOUT)
    found = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(found)
    return {
        name: _Signature({*one.inputs}, {*one.outputs})
        for name, one in found.signature_def.items()
    }


def _signatures_by_rest(server: str, model: str) -> dict[str, _Signature]:
    url = f"{server}/v1/models/{model}/metadata"
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        found = json.load(answer)["metadata"]["signature_def"]["signature_def"]
    return {
        name: _Signature({*one.get("inputs", {})}, {*one.get("outputs", {})})
        for name, one in found.items()
    }


class Model:
    """A model that a server has; `kind` says what of."""

    def __init__(self, where: str) -> None:
        """Asks the server what the model is.

        Args:
            where: see above; without /model, the model is `UNNAMED`.

        Raises:
            UserError: the address is none, nobody answers, there is no such model, or
                it is none that `export` writes.
        """
        scheme, found, rest = where.rpartition("://")
        server, _, model = rest.rstrip("/").rpartition("/")
        self._server, self._model = scheme + found + (server or model), model
        if not server:
            self._model = UNNAMED
        if scheme not in ("", "http", "https") or not rest.strip("/"):
            raise errors.UserError(
                f"--server={where}: want host:port/model for gRPC, or "
                "http://host:port/model for REST"
            )
        self._ask, describe = (
            (ask_rest, _signatures_by_rest)
            if scheme
            else (ask_grpc, _signatures_by_grpc)
        )
        with self._said_errors():
            self._signatures = describe(self._server, self._model)
        default = self._signatures.get(DEFAULT, _Signature(set(), set()))
        for one in registry.KINDS.values():
            wanted = one.signature
            if wanted is None or wanted.inputs != default.inputs:
                continue
            if wanted.outputs <= default.outputs:
                self.kind = one
                return
        raise errors.UserError(
            f"model {self._model!r} at {self._server}: its {DEFAULT} takes "
            f"{_names(default.inputs)} and returns {_names(default.outputs)}, which is "
            "none that electra_tf.export writes; serve one of those (docs/serving.md)"
        )

    def find(self, examples: Sequence[Any]) -> list[kind.Answer]:
        """Answers examples, one object each, in their order.

        Raises:
            UserError: the server is gone or refuses, or an example is one that cannot
                be asked of it.
        """
        forms = [self.kind.request(one) for one in examples]
        if len({tuple(form) for form in forms}) > 1:
            raise errors.UserError(
                "texts and pairs of texts, both at once; put them into two files"
            )
        names = forms[0] if forms else {}
        inputs = {name: _filled_up([form[name] for form in forms]) for name in names}
        outputs = _decoded(self._ask_for(inputs)) if forms else {}
        rows = [
            {name: values[place] for name, values in outputs.items()}
            for place in range(len(forms))
        ]
        if num_truncated := sum(row.get("truncated", False) for row in rows):
            warnings.warn(
                f"{num_truncated:,} of {len(rows):,} texts are longer than the model "
                "takes and lost their end",
                stacklevel=2,
            )
        return [self.kind.response(*pair) for pair in zip(rows, examples, strict=True)]

    def _ask_for(self, inputs: dict[str, Any]) -> dict[str, Any]:
        name = PAIRS if "text_pair" in inputs else DEFAULT
        known = self._signatures.get(name, _Signature(set(), set())).inputs
        if known != inputs.keys():
            raise errors.UserError(
                f"model {self._model!r} at {self._server} has no signature {name!r} "
                f"that takes {_names(inputs)}; it takes {_names(known)} there"
            )
        with self._said_errors():
            return self._ask(self._server, self._model, name, inputs)

    @contextmanager
    def _said_errors(self) -> Iterator[None]:
        """Makes one line of what goes wrong between here and there."""
        try:
            yield
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")
            raise self._refused(error.code == 404, reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._absent(str(getattr(error, "reason", error))) from None
        except (ValueError, KeyError, TypeError) as error:
            if self._ask is not ask_rest:
                raise
            raise self._absent(
                f"its answer is not what one says ({error!r:.80})"
            ) from None
        except Exception as error:
            if self._ask is not ask_grpc:
                raise
            import grpc

            if not isinstance(error, grpc.RpcError):
                raise
            code, reason = error.code(), str(error.details())
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED):
                raise self._absent(reason) from None
            raise self._refused(code == grpc.StatusCode.NOT_FOUND, reason) from None

    def _absent(self, reason: str) -> errors.UserError:
        reason = errors.one_line(reason, 200)
        return errors.UserError(
            f"no TensorFlow Serving answers at {self._server}: {reason}; "
            "start it, or name its port: gRPC is host:8500, REST http://host:8501"
        )

    def _refused(self, is_missing: bool, reason: str) -> errors.UserError:
        reason = errors.one_line(reason, 200)
        if is_missing:
            return errors.UserError(
                f"{self._server} has no model {self._model!r}: {reason}; "
                f"name it, as in --server={self._server}/sentiment"
            )
        return errors.UserError(
            f"model {self._model!r} at {self._server} refuses: {reason}; "
            "fewer texts at once: --set train.batch_size=1"
        )


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _filled_up(values: list[Any]) -> list[Any]:
    """Makes lists equally long; "" is none."""
    if not isinstance(values[0], list):
        return values
    most = max(map(len, values))
    return [one + [""] * (most - len(one)) for one in values]


def _decoded(values: Any) -> Any:
    """Returns strings where there are bytes, in dictionaries and nested lists."""
    if isinstance(values, dict):
        return {name: _decoded(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return values.decode(errors="replace") if isinstance(values, bytes) else values
