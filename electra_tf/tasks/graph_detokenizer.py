"""Token ids become text in a TensorFlow graph, as `detokenizer.Detokenizer` does it.

In:   token ids, int32 [B, L], padding too; a vocabulary, a `config.TokenizerConfig`.
Out:  texts, string [B].
"""

from collections.abc import Sequence

import tensorflow as tf

from electra_tf import config as configs
from electra_tf.text import detokenizer


class GraphDetokenizer:
    """Turns token ids into text inside a graph, for serving.

    Equal to `detokenizer.Detokenizer`; uses ops that TensorFlow Serving links.
    """

    def __init__(self, vocab: Sequence[str], config: configs.TokenizerConfig) -> None:
        self._pieces = detokenizer.pieces(vocab)
        self._rules = detokenizer.rules(config)
        self._composes = config.strip_accents

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns string [B] of int32 ids [B, L]; special tokens add nothing."""
        pieces = tf.gather(tf.constant(self._pieces), ids)
        texts = tf.strings.regex_replace(
            tf.strings.reduce_join(pieces, axis=-1), "^ +", ""
        )
        if self._composes:
            import tensorflow_text as tf_text  # Not above: training does without it.

            texts = tf_text.normalize_utf8(texts, "NFC")
        count = _count(texts, detokenizer.ONLY_IDEOGRAPHS)
        is_cjk = detokenizer.is_cjk(count, _count(texts, detokenizer.ONLY_BLANKS) + 1)
        texts = tf.where(
            is_cjk, _apply(self._rules.cjk, texts), _apply(self._rules.other, texts)
        )
        texts = _apply(self._rules.rest, texts)
        return tf.strings.regex_replace(texts, "^ +| +$", "")


def _count(texts: tf.Tensor, others: str) -> tf.Tensor:
    """Returns how many characters are left without those of a pattern."""
    kept = tf.strings.regex_replace(texts, others, "")
    return tf.strings.length(kept, "UTF8_CHAR")


def _apply(rules: Sequence[detokenizer.Rule], texts: tf.Tensor) -> tf.Tensor:
    for pattern, replacement, times in rules:
        for _ in range(times):
            texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts
