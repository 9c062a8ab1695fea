"""How an answer is looked for, and what beams do at each place.

In:   logits of what may come next, float32 [B * J, V]; the answers so far.
Out:  the answers with one token more, the best of them; those that are whole.

B rows, J answers that are written side by side for each row, L places of an answer, V
vocabulary, C candidates of a row.
"""

from typing import NamedTuple

import tensorflow as tf

from electra_tf import errors

NEVER = -1e9  # The score of what must not be written.


class Search(NamedTuple):
    """How an answer is looked for.

    num_beams: answers that are kept in view for each row; 1 has none beside.
    num_best: answers that are returned for each row: the best of the beams, or so many
        draws of a sampler.
    length_penalty: the score of a whole answer is the sum of its tokens' logarithms,
        divided by its length to the power of this; above 0 prefers longer ones.
    no_repeat_ngram_size: no run of so many tokens comes twice; 0 = any may.
    min_length: tokens of an answer before one may stop it, [CLS] included.
    stop_ids: tokens that end an answer; none: it has all its places.
    pad_id: what stands after its end.
    """

    num_beams: int = 1
    num_best: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    min_length: int = 0
    stop_ids: tuple[int, ...] = ()
    pad_id: int = 0


def check(search: Search, draws: bool) -> None:
    """Refuses what makes no sense.

    Args:
        search: what was asked for.
        draws: whether tokens are drawn by chance.

    Raises:
        UserError: it makes none.
    """
    least = {
        "num_beams": 1,
        "num_best": 1,
        "no_repeat_ngram_size": 0,
        "min_length": 0,
    }
    for name, bound in least.items():
        value = getattr(search, name)
        if not isinstance(value, int) or value < bound:
            raise errors.UserError(f"{name}={value!r:.60}: want {bound} or more")
    if not isinstance(search.length_penalty, int | float):
        raise errors.UserError(
            f"length_penalty={search.length_penalty!r:.60}: want a number"
        )
    several = search.num_beams > 1
    if several and search.num_best > search.num_beams:
        raise errors.UserError(
            f"num_best={search.num_best} of num_beams={search.num_beams}; want as many "
            "beams, or more"
        )
    if not several and not draws and search.num_best > 1:
        raise errors.UserError(
            f"num_best={search.num_best}: the likeliest token is one; give num_beams, "
            'or compile with a sampler that draws, such as "top_p"'
        )


class Found(NamedTuple):
    """Answers, the best first."""

    token_ids: tf.Tensor  # int32 [B, J, L], with their beginnings; padded
    lengths: tf.Tensor  # int32 [B, J]
    scores: tf.Tensor  # float32 [B, J], in nats; 0 where none were asked for


class State(NamedTuple):
    """Where the writing stands: answers that go on, and with beams, whole ones."""

    tokens: tf.Tensor  # int32 [B, J, L]
    lengths: tf.Tensor  # int32 [B, J]
    scores: tf.Tensor  # float32 [B, J], sums of logarithms
    slots: tf.Tensor  # int32 [B, J, L], where what is kept of each token stands
    is_open: tf.Tensor  # bool [B, J]; with beams the same for all J
    whole: Found


def ban(
    logits: tf.Tensor, place: tf.Tensor, tokens: tf.Tensor, search: Search
) -> tf.Tensor:
    """Makes sure that what must not be written next is not: [B * J, V]."""
    vocab_size = logits.shape[-1]
    if search.min_length and search.stop_ids:
        stops = tf.reduce_sum(tf.one_hot(search.stop_ids, vocab_size), axis=0)
        logits += tf.where(place + 1 < search.min_length, NEVER, 0.0) * stops
    size = search.no_repeat_ngram_size
    if not size:
        return logits
    flat = tf.reshape(tokens, [-1, tf.shape(tokens)[2]])  # [N, L]
    written = place + 1
    count = tf.maximum(tf.shape(flat)[1] - size + 1, 0)  # of runs that may be there
    is_again = tf.logical_and(tf.range(count) + size - 1 < written, written >= size)[
        None
    ]  # [1, runs]
    for index in range(size - 1):
        last = flat[:, tf.maximum(written - size + 1 + index, 0)]
        is_again &= tf.equal(flat[:, index : index + count], last[:, None])
    ends = flat[:, size - 1 : size - 1 + count]  # [N, runs]
    is_again = tf.broadcast_to(is_again, tf.shape(ends))
    rows = tf.broadcast_to(tf.range(tf.shape(flat)[0])[:, None], tf.shape(ends))
    return tf.tensor_scatter_nd_add(
        logits, tf.stack([rows, ends], axis=-1), tf.where(is_again, NEVER, 0.0)
    )


def by_beams(
    logits: tf.Tensor,
    banned: tf.Tensor,
    place: tf.Tensor,
    state: State,
    prompt: tuple[tf.Tensor, tf.Tensor],
    limit: tf.Tensor,
    search: Search,
) -> State:
    """Goes on with the best answers of each row, and puts whole ones aside.

    As transformers does: of the best candidates, enough that all beams go on, even if
    each of them may stop; only the first J may become whole; a row is done when none
    that goes on is better, at its length, than the worst that is whole.
    """
    width, batch = search.num_beams, tf.shape(state.tokens)[0]
    best = _candidates(logits, banned, state.scores, search)
    beams = _Candidates(*(tf.reshape(part, [batch, -1]) for part in best))
    hits = stops(beams.tokens, search) | (place + 2 >= limit)  # [B, C]
    tokens = put(
        tf.gather(state.tokens, beams.of, batch_dims=1), place + 1, beams.tokens
    )
    lengths = tf.broadcast_to(place + 2, tf.shape(beams.tokens))
    is_row_open = state.is_open[:, :1]

    power = search.length_penalty
    written = tf.cast(place + 2 - prompt[1], tf.float32)[:, None]  # [B, 1]
    written = tf.maximum(written, 1.0)
    is_whole = hits & (tf.range(tf.shape(hits)[1]) < width) & is_row_open
    final = tf.where(is_whole, beams.scores / written**power, NEVER * 2)
    whole = _best_of(
        Found(
            tf.concat([state.whole.token_ids, tokens], axis=1),
            tf.concat([state.whole.lengths, lengths], axis=1),
            tf.concat([state.whole.scores, final], axis=1),
        ),
        width,
    )

    going = tf.where(hits, beams.scores + NEVER, beams.scores)
    scores, order = tf.math.top_k(going, width)
    came_from = tf.gather(beams.of, order, batch_dims=1)  # [B, J]
    # What is kept of the next token will stand in the answer's own slot.
    own = tf.broadcast_to(tf.range(width), tf.shape(came_from))
    slots = put(tf.gather(state.slots, came_from, batch_dims=1), place + 1, own)
    worst = tf.reduce_min(whole.scores, axis=1, keepdims=True)
    is_open = is_row_open & (scores[:, :1] / written**power > worst)
    chosen = State(
        tf.gather(tokens, order, batch_dims=1),
        tf.broadcast_to(place + 2, tf.shape(came_from)),
        scores,
        slots,
        tf.broadcast_to(is_open & (place + 2 < limit), tf.shape(state.is_open)),
        whole,
    )
    is_given = place + 1 < prompt[1]  # [B]: they have not begun to write.
    made: State = tf.nest.map_structure(
        lambda new, old: tf.where(
            tf.reshape(is_given, [-1] + [1] * (new.shape.rank - 1)), old, new
        ),
        chosen,
        state,
    )
    return made


class _Candidates(NamedTuple):
    """Tokens that may come next, the best first: each [B, C]."""

    scores: tf.Tensor  # with those of the answer before it
    tokens: tf.Tensor
    of: tf.Tensor  # which of the J answers it goes on from


def _candidates(
    logits: tf.Tensor, banned: tf.Tensor, scores: tf.Tensor, search: Search
) -> _Candidates:
    """Finds the best tokens over all beams of each row."""
    width, vocab_size = search.num_beams, logits.shape[-1]
    count = max(2, 1 + len(search.stop_ids)) * width
    each = min(count, vocab_size)
    batch = tf.shape(scores)[0]
    found, tokens = tf.math.top_k(banned, each)  # [B * J, each]
    # Logarithms of shares of the few, not of all of the vocabulary.
    found -= tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    found += tf.reshape(scores, [-1, 1])
    best, order = tf.math.top_k(
        tf.reshape(found, [batch, width * each]), min(count, width * each)
    )
    tokens = tf.gather(tf.reshape(tokens, [batch, width * each]), order, batch_dims=1)
    return _Candidates(best, tokens, order // each)


def _best_of(found: Found, count: int) -> Found:
    scores, order = tf.math.top_k(found.scores, count)
    return Found(
        tf.gather(found.token_ids, order, batch_dims=1),
        tf.gather(found.lengths, order, batch_dims=1),
        scores,
    )


def stops(tokens: tf.Tensor, search: Search) -> tf.Tensor:
    """Tells which tokens end an answer."""
    stops = tf.zeros_like(tokens, tf.bool)
    for number in search.stop_ids:
        stops |= tf.equal(tokens, number)
    return stops


def put(table: tf.Tensor, place: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Writes values [B, J] at one place of a table [B, J, L]."""
    is_there = tf.equal(tf.range(tf.shape(table)[2]), place)
    return tf.where(is_there, values[..., None], table)
