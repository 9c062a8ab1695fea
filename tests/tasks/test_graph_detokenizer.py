"""The graph writes the texts that Python does."""

import random
import string

import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.tasks import graph_detokenizer
from electra_tf.text import detokenizer, vocabularies

WORDS = [
    *string.punctuation,
    *"abxyzABXYZ0159",
    *("s t und or www com https ftp 1999 100 words Case USA ##ing ##2 ## ##- L qu of"),
    *"\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026\xab\xbb\xbf\xb0\xd7\xdf\xfc",
    *"\u4e2d\u56fd\u8305\u3002\uff0c\uff08\uff09\u300a\u300b\u30fb\u30bf\u3005\uff21",
    *("\U0002000b", "\U0001f600", "\u0634", "\u060c", "\u0915\u0940", "\u0964"),
    *("\u1112\u1161\u11ab", "\u1100\u1173\u11af", "e\u0301", "\x01", "\x02", "\xa0"),
]


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("split_cjk", [False, True])
def test_any_tokens_become_the_same_text_in_the_graph_and_in_python(
    lowercase, split_cjk
):
    settings = config.TokenizerConfig(lowercase=lowercase, split_cjk=split_cjk)
    vocab = [*vocabularies.SPECIAL_TOKENS, *dict.fromkeys(WORDS)]
    chance = random.Random(3)
    rows = []
    for _ in range(1500):
        # Of few different tokens, so that the rules have something to do.
        few = chance.sample(range(len(vocab)), 8)
        rows.append(chance.choices(few, k=chance.randrange(1, 24)))
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, found in zip(ids, rows, strict=True):
        row[: len(found)] = found
    offline = detokenizer.Detokenizer(vocab, settings)
    served = tf.function(graph_detokenizer.GraphDetokenizer(vocab, settings))
    texts = [text.decode() for text in served(tf.constant(ids)).numpy()]
    assert texts == [offline(row) for row in rows]
    assert len({*texts}) > 1000


def test_no_texts_and_texts_without_tokens_are_none_and_empty():
    settings = config.TokenizerConfig()
    vocab = [*vocabularies.SPECIAL_TOKENS, "a"]
    served = graph_detokenizer.GraphDetokenizer(vocab, settings)
    assert served(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]
    assert served(tf.zeros([0, 3], tf.int32)).numpy().tolist() == []
