"""A decoder writes token after token: greedily, by chance, or with beams.

In:   sources that were encoded; the beginnings of the answers.
Out:  answers as token ids, with their lengths and scores.

B rows, J answers that are written side by side for each row, L places of an answer, V
vocabulary, H heads. All in one graph: what attention sees of a token is kept (D59).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from electra_tf.network import block, embedding, kernels, stepping
from electra_tf.tasks import searching

# Places that are made at once for what is kept of tokens.
PLACES = 32

# Turns probabilities float32 [N, V] into tokens, int [N].
Sampler = Callable[[tf.Tensor], tf.Tensor]


class Writer(NamedTuple):
    """A decoder's weights as tensors, and the sources that it reads."""

    words: tf.Tensor  # [V, E]
    places: tf.Tensor  # [positions, E], with the one segment that there is
    norm: kernels.Norm
    project: Callable[[tf.Tensor], tf.Tensor]  # [tokens, E] -> [tokens, D]
    steps: stepping.Steps
    score: Callable[[tf.Tensor], tf.Tensor]  # [tokens, D] -> float32 [tokens, V]
    memory: stepping.Memory

    def embed(self, token_ids: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        """Embeds tokens [B, J] that stand at one place: [B, J, D]."""
        x = tf.gather(self.words, token_ids) + self.places[place]
        x = kernels.layer_norm(x, self.norm, self.steps.model.layer_norm_epsilon)
        batch, width, size = kernels.sizes(x)
        x = self.project(tf.reshape(x, [-1, size]))
        return tf.reshape(x, [batch, width, self.steps.model.hidden_size])


def embedding_tensors(
    layer: embedding.Embeddings,
) -> tuple[tf.Tensor, tf.Tensor, kernels.Norm]:
    """Returns words, places and LayerNorm of a `Writer`."""
    words, places, segments = (
        tf.cast(tf.convert_to_tensor(table), layer.compute_dtype)
        for table in (
            layer.word_embeddings,
            layer.position_embeddings,
            layer.segment_embeddings,
        )
    )
    return words, places + segments[0], layer.norm.tensors()


# Chooses the tokens of the next place: (logits [B * J, V], place, state) -> state.
_Choose = Callable[[tf.Tensor, tf.Tensor, searching.State], searching.State]


def write(
    writer: Writer,
    prompts: tf.Tensor,
    prompt_lengths: tf.Tensor,
    limit: tf.Tensor,
    search: searching.Search,
    sampler: Sampler | None = None,
) -> searching.Found:
    """Writes answers.

    Args:
        writer: the decoder, and its sources.
        prompts: int32 [B, P], how answers begin, at least with [CLS].
        prompt_lengths: int32 [B], tokens of each.
        limit: tokens of an answer at most, its beginning included; a scalar.
        search: how to look for them.
        sampler: draws tokens; None takes the likeliest. Not with beams.
    """
    width = search.num_beams if search.num_beams > 1 else search.num_best
    state = _start(prompts, prompt_lengths, limit, width, search)
    prompt = prompts, prompt_lengths

    def choose(
        logits: tf.Tensor, place: tf.Tensor, state: searching.State
    ) -> searching.State:
        banned = searching.ban(logits, place, state.tokens, search)
        if search.num_beams > 1:
            return searching.by_beams(
                logits, banned, place, state, prompt, limit, search
            )
        return _one_by_one(banned, place, state, prompt, search, sampler)

    state = _run(writer, choose, state, limit)
    if search.num_beams == 1:
        return searching.Found(state.tokens, state.lengths, state.scores)
    return searching.Found(*(part[:, : search.num_best] for part in state.whole))


def _start(
    prompts: tf.Tensor,
    lengths: tf.Tensor,
    limit: tf.Tensor,
    width: int,
    search: searching.Search,
) -> searching.State:
    batch = tf.shape(prompts)[0]
    prompts = prompts[:, :limit]
    padding = limit - tf.shape(prompts)[1]
    tokens = tf.pad(
        prompts, [[0, 0], [0, padding]], constant_values=search.pad_id
    )  # [B, L]
    is_real = tf.range(limit) < lengths[:, None]
    tokens = tf.where(is_real, tokens, search.pad_id)
    tokens = tf.tile(tokens[:, None], [1, width, 1])  # [B, J, L]
    slots = tf.broadcast_to(tf.range(width)[:, None], tf.shape(tokens))
    # Of equal beginnings only the first goes on, or all beams would be the same.
    scores = tf.zeros([batch, width])
    if search.num_beams > 1:
        scores += tf.constant([0.0] + [searching.NEVER] * (width - 1))
    lengths = tf.tile(lengths[:, None], [1, width])
    is_open = tf.fill([batch, width], True)
    whole = searching.Found(tokens, lengths, tf.fill([batch, width], searching.NEVER))
    return searching.State(tokens, lengths, scores, slots, is_open, whole)


def _run(
    writer: Writer, choose: _Choose, state: searching.State, limit: tf.Tensor
) -> searching.State:
    """Writes until all answers have ended.

    The room for what is kept grows by some places at a time, in the outer loop: a token
    costs what those before it cost, however long an answer may become.
    """
    batch, width = tf.shape(state.tokens)[0], state.tokens.shape[1]
    steps = writer.steps

    def goes_on(place: tf.Tensor, state: searching.State) -> tf.Tensor:
        return tf.logical_and(place + 1 < limit, tf.reduce_any(state.is_open))

    def grow(place: tf.Tensor, kept: Any, state: searching.State) -> Any:
        more = tf.minimum(PLACES, limit - place)
        kept, places = steps.grow(kept, batch, place, more), place + more

        def advance(place: tf.Tensor, kept: Any, state: searching.State) -> Any:
            now = writer.embed(state.tokens[:, :, place], place)
            bias = _seen(state.slots, place, places, now.dtype)
            hidden, kept = steps.run(now, kept, place, places, bias, writer.memory)
            chosen = choose(writer.score(hidden), place, state)
            return place + 1, kept, _as_before(chosen, state)

        return tf.while_loop(
            lambda place, kept, state: goes_on(place, state) & (place < places),
            advance,
            [place, kept, state],
            parallel_iterations=1,
        )

    kept = steps.start(width, writer.words.dtype)
    found = tf.while_loop(
        lambda place, kept, state: goes_on(place, state),
        grow,
        [tf.constant(0), kept, state],
        shape_invariants=[
            tf.TensorShape([]),
            tf.nest.map_structure(lambda x: tf.TensorShape([None, x.shape[1]]), kept),
            tf.nest.map_structure(lambda x: x.shape, state),
        ],
        parallel_iterations=1,
    )
    written: searching.State = found[2]
    return written


def _as_before(state: searching.State, before: searching.State) -> searching.State:
    """Tells a loop that shapes are what they were."""
    made: searching.State = tf.nest.map_structure(
        lambda x, old: tf.ensure_shape(x, old.shape), state, before
    )
    return made


def _seen(
    slots: tf.Tensor, place: tf.Tensor, places: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """Lets each answer see its own tokens alone: [B or 1, 1, J, places * J].

    What is kept of J tokens of a place stands side by side, whichever answer took them
    over; so nothing of it is moved when a beam goes on from another one (D59).
    """
    width = slots.shape[1]
    is_past = tf.range(places) <= place  # [T]
    if width == 1:
        apart = tf.logical_not(is_past)[None, None, None]
        return tf.cast(apart, dtype) * block.NO_ATTENTION
    mine = tf.equal(slots[:, :, :places, None], tf.range(width))  # [B, J, T, J]
    apart = tf.logical_not(mine & is_past[:, None])
    shape = tf.shape(apart)
    apart = tf.reshape(apart, [shape[0], 1, width, places * width])
    return tf.cast(apart, dtype) * block.NO_ATTENTION


def _one_by_one(
    logits: tf.Tensor,
    place: tf.Tensor,
    state: searching.State,
    prompt: tuple[tf.Tensor, tf.Tensor],
    search: searching.Search,
    sampler: Sampler | None,
) -> searching.State:
    """Takes the likeliest token of each answer, or what a sampler draws."""
    if sampler is None:
        drawn = tf.argmax(logits, axis=-1, output_type=tf.int32)
    else:
        drawn = tf.cast(sampler(logits), tf.int32)
    drawn = tf.reshape(drawn, tf.shape(state.is_open))  # [B, J]
    is_given = (place + 1 < prompt[1])[:, None]
    token = tf.where(state.is_open, drawn, search.pad_id)
    token = tf.where(is_given, state.tokens[:, :, place + 1], token)
    is_written = state.is_open & ~is_given
    is_open = state.is_open & (is_given | ~searching.stops(token, search))
    return state._replace(
        tokens=searching.put(state.tokens, place + 1, token),
        lengths=state.lengths + tf.cast(is_written, tf.int32),
        is_open=is_open,
    )
