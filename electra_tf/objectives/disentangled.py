"""Gradient-disentangled embedding sharing (GDES): one loss does not pull at the other.

In:   the generator's embedding block.
Out:  the discriminator's: stop_gradient(generator's table) + a table of its own, for
      words and for positions. The discriminator's loss changes its own tables alone,
      which start at zero; kept are the sums.

As in DeBERTaV3 (He et al. 2021, arXiv 2111.09543, section 3.3). Segments, LayerNorm and
what follows are the discriminator's own.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from electra_tf import config
from electra_tf.network import embedding, kernels, models

_SHARED = ("word_embeddings", "position_embeddings")


class DisentangledEmbeddings(embedding.Embeddings):
    """Embeddings that stand on another block's, through which no gradient passes."""

    def __init__(
        self,
        config: kernels.Architecture,
        other: embedding.Embeddings | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(config, **kwargs)
        self.architecture = self._config
        # A function, so that Keras does not count the tables as this layer's too.
        self._other: Callable[[str], keras.Variable] = lambda name: getattr(other, name)

    def build(self, *shapes: Any) -> None:
        """Makes the tables; those that stand on others start at zero."""
        super().build(*shapes)
        for name in _SHARED:
            table = getattr(self, name)
            table.assign(tf.zeros_like(table.value))

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Adds the rows of the other block's table to those of this one."""
        rows = super().look_up(name, ids)
        if name not in _SHARED:
            return rows
        other = tf.gather(tf.convert_to_tensor(self._other(name)), ids)
        return rows + tf.stop_gradient(tf.cast(other, self.compute_dtype))

    def whole(self) -> dict[str, np.ndarray[Any, Any]]:
        """Returns the sums of both blocks' tables, by name."""
        return {
            name: np.asarray(getattr(self, name)) + np.asarray(self._other(name))
            for name in _SHARED
        }

    def take(self, tables: dict[str, np.ndarray[Any, Any]]) -> None:
        """Makes of sums, by name, what is left beside the other block's tables."""
        for name, table in tables.items():
            getattr(self, name).assign(table - np.asarray(self._other(name)))


def build_discriminator(
    model: config.ModelConfig, shared: embedding.Embeddings | None
) -> keras.Model:
    """Builds a discriminator whose embeddings stand on a generator's."""
    assert shared is not None
    own = DisentangledEmbeddings(model, shared, name="embeddings")
    own.build()
    return models.build_discriminator(model, own)


@contextlib.contextmanager
def whole_tables(network: keras.Model) -> Iterator[None]:
    """Within it, the tables are what a preset holds: both, added up.

    Numbers change by their rounding; so this is for a network that has not learned.
    """
    own = _block(network)
    for name, table in own.whole().items():
        getattr(own, name).assign(table)
    yield
    own.take({name: np.asarray(getattr(own, name)) for name in _SHARED})


def fold(network: keras.Model) -> keras.Model:
    """Returns a plain discriminator that gives the same verdicts."""
    own = _block(network)
    arrays = {v.path: np.asarray(v) for v in network.weights}
    arrays |= {f"embeddings/{name}": table for name, table in own.whole().items()}
    plain = models.build_discriminator(own.architecture)
    for variable in plain.weights:
        variable.assign(arrays[variable.path])
    return plain


def _block(network: keras.Model) -> DisentangledEmbeddings:
    block = network.get_layer("encoder").get_layer("embeddings")
    assert isinstance(block, DisentangledEmbeddings)
    return block
