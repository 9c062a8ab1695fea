"""A decoder takes one token after the other, and keeps what attention sees of each.

In:   embeddings [B, J, D] of tokens that stand at one place; the source's states.
Out:  states [B * J, D] of these tokens; keys and values of them and those before.

B rows, J tokens that are written side by side, T places that are written to, S tokens
of the source, D hidden, H heads, K = D / H.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from electra_tf import config
from electra_tf.network import block, decoder, kernels

NOTHING = block.Seeds(None, None, None)


class KeptTokens(NamedTuple):
    """What a block keeps of the tokens that were written: all in their places.

    Matrices, so that one token more is written into them where they are.
    """

    keys: tf.Tensor  # [B * H * T, J * K]
    values: tf.Tensor


class Memory(NamedTuple):
    """The source as each block sees it, made once."""

    blocks: list[block.KeysValues]  # each [B, H, S, K]
    bias: tf.Tensor  # [B, 1, 1, S]


class Steps(NamedTuple):
    """Blocks of a decoder as tensors, to be called for one token after the other."""

    model: config.ModelConfig
    parts: list[decoder.Parts]

    def remember(self, states: tf.Tensor, bias: tf.Tensor) -> Memory:
        """Makes of a source's states [B, S, D] what all blocks see of it."""
        rows = block.flatten(states)
        seen = [
            block.keys_and_values(self.model, parts.cross, rows, training=False)
            for parts in self.parts
        ]
        return Memory(seen, bias)

    def start(self, width: int, dtype: Any) -> list[KeptTokens]:
        """Returns room for no token yet, for `width` tokens side by side."""
        size = width * self.model.hidden_size // self.model.num_heads
        nothing = tf.zeros([0, size], dtype)
        return [KeptTokens(nothing, nothing) for _ in self.parts]

    def grow(
        self, kept: list[KeptTokens], batch: Any, places: tf.Tensor, more: int
    ) -> list[KeptTokens]:
        """Makes room for more places than there are."""

        def wider(x: tf.Tensor) -> tf.Tensor:
            size = x.shape[-1]
            x = tf.reshape(x, [batch * self.model.num_heads, places, size])
            return tf.reshape(tf.pad(x, [[0, 0], [0, more], [0, 0]]), [-1, size])

        return [KeptTokens(wider(one.keys), wider(one.values)) for one in kept]

    def run(
        self,
        x: tf.Tensor,
        kept: list[KeptTokens],
        place: tf.Tensor,
        places: tf.Tensor,
        bias: tf.Tensor,
        memory: Memory,
    ) -> tuple[tf.Tensor, list[KeptTokens]]:
        """Runs one token of each row, or J side by side, through all blocks.

        Args:
            x: [B, J, D], their embeddings.
            kept: of the tokens before.
            place: where these stand, a scalar.
            places: for how many there is room, T.
            bias: [B, 1, J, T * J], which of those that are kept each of them sees.
            memory: the source.

        Returns:
            States [B * J, D]; what is kept with these tokens.
        """
        model, size = self.model, self.model.hidden_size // self.model.num_heads
        batch, width, _ = kernels.sizes(x)
        at = tf.range(batch * model.num_heads)[:, None] * places + place  # [B * H, 1]
        now = []
        for parts, before, source in zip(self.parts, kept, memory.blocks, strict=True):
            rows = block.flatten(x)
            new = block.keys_and_values(model, parts.attention, rows, training=False)
            written = KeptTokens(
                *(
                    tf.tensor_scatter_nd_update(
                        matrix, at, tf.reshape(one, [-1, width * size])
                    )
                    for matrix, one in zip(before, new, strict=True)
                )
            )
            now.append(written)
            seen = block.KeysValues(
                *(
                    tf.reshape(one, [batch, model.num_heads, -1, size])
                    for one in written
                )
            )  # [B, H, T * J, K]
            x = decoder.run(
                model,
                parts,
                rows,
                seen,
                bias,
                source,
                memory.bias,
                decoder.Seeds(NOTHING, NOTHING),
                training=False,
            )
        return tf.reshape(x, [batch * width, model.hidden_size]), now
