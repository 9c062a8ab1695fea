"""Loads a SavedModel as TensorFlow Serving does: into a session, its nearest kin."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # Registers its operations.


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
