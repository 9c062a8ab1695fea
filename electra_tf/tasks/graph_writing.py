"""A task with a decoder writes texts inside a TensorFlow graph: for serving.

In:   a task, and how it is to write.
Out:  a signature: text in, texts out, the best first.

B texts, N answers to each, T tokens of an answer.
"""

from typing import Any

import tensorflow as tf

from electra_tf.serving import saved_model
from electra_tf.tasks import graph, graph_detokenizer, preprocessor

EXAMPLE = "The quick brown fox jumps over the lazy dog."


def signatures(
    model: Any, search: Any, sampler: Any, limit: int
) -> dict[str, saved_model.Signature]:
    """Returns the way in which a server asks a model for texts.

    Args:
        model: an `ElectraSeq2Seq`.
        search: a `searching.Search`.
        sampler: of tokens; None = the likeliest.
        limit: tokens of an answer at most.
    """
    before, words = model.preprocessor, model.preprocessor.tokenizer
    read = graph.Preprocessor(
        preprocessor.ElectraTextPreprocessor(
            words, sequence_length=before.encoder_sequence_length
        )
    )
    detokenize = graph_detokenizer.GraphDetokenizer(
        words.get_vocabulary(), words.tokenizer_config
    )

    def write(text: tf.Tensor) -> saved_model.Tensors:
        rows = read.rows(text)
        begin = tf.fill([tf.size(text), 1], words.cls_token_id)
        given = {
            "encoder_token_ids": rows.token_ids,
            "encoder_padding_mask": rows.padding_mask,
            "decoder_token_ids": begin,
            "decoder_padding_mask": tf.ones_like(begin),
        }
        found = model.write(given, tf.constant(limit), search, sampler)
        ids = found.token_ids  # [B, N, T]
        shape = tf.shape(ids)
        real = tf.sequence_mask(found.lengths, shape[2])
        # Of nothing, nothing comes.
        real &= (rows.num_tokens > 0)[:, None, None]
        ids = tf.where(real, ids, words.pad_token_id)
        texts = tf.reshape(
            detokenize(tf.reshape(ids, [-1, shape[2]])), [shape[0], search.num_best]
        )
        scores = tf.where((rows.num_tokens > 0)[:, None], found.scores, 0.0)
        return {
            "generated": texts[:, 0],
            "n_best": texts,
            "scores": scores,
            "truncated": rows.truncated,
        }

    return {saved_model.DEFAULT: graph.of_text(write, EXAMPLE)}
