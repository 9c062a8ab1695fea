"""What the tests of decoders share: a tiny one of drawn weights, and a plain loop."""

import numpy as np
import tensorflow as tf

from electra_tf import config
from electra_tf.tasks import backbone, seq2seq, seq2seq_preprocessor, tokenizer

VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"the cat dog bird sat ran flew on under over".split(),
]
CLS, SEP = 2, 3


def build(seed=5, vocab=VOCAB, model=None, length=40, dtype=None, stop=1.2, **kwargs):
    """Builds a decoder whose answers depend on all that they may; None: as drawn."""
    architecture = config.ModelConfig(
        **{
            "vocab_size": len(vocab),
            "embedding_size": 10,
            "hidden_size": 12,
            "num_layers": 2,
            "num_heads": 3,
            "intermediate_size": 20,
            "max_positions": 48,
            "hidden_dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            **(model or {}),
        }
    )
    made = seq2seq.ElectraSeq2Seq(
        backbone.ElectraBackbone.from_model_config(architecture, dtype=dtype),
        seq2seq_preprocessor.ElectraSeq2SeqPreprocessor(
            tokenizer.ElectraTokenizer(vocab), length, length
        ),
        **kwargs,
    )
    if seed is None:
        return made
    chance = np.random.default_rng(seed)
    for weight in made.weights:
        weight.assign(_is_norm(weight) + chance.normal(0, _size(weight), weight.shape))
    bias = made.get_layer("masked_token_head").output_bias
    bias.assign(np.eye(len(vocab))[SEP] * stop)
    return made


def _is_norm(weight):
    return float(weight.path.endswith("gamma"))


def _size(weight):
    """Returns how widely a weight is drawn, so that answers are not the same token."""
    if "embeddings/" in weight.path and len(weight.shape) == 2:
        return 1.75 if "position" in weight.path else 0.7
    is_source = "cross_attention/" in weight.path
    return (0.2 if len(weight.shape) == 2 else 0.1) * (2 if is_source else 1)


def logits(model, source, target):
    """Returns the logits of all tokens of a target, without a cache: [T, V]."""
    found = model.forward()(
        {
            "encoder_token_ids": tf.constant([source]),
            "encoder_padding_mask": tf.ones((1, len(source)), tf.int32),
            "decoder_token_ids": tf.constant([target]),
            "decoder_padding_mask": tf.ones((1, len(target)), tf.int32),
        }
    )
    return np.asarray(found)[0]


def log_shares(model, source, target):
    """Returns the logarithms of the shares of what comes next, float64 [V]."""
    last = np.float64(logits(model, source, target)[-1])
    return last - np.log(np.exp(last - last.max()).sum()) - last.max()


def write_plainly(model, source, limit, begin=(CLS,)):
    """Takes the likeliest token, again and again, from the beginning each time."""
    target = [*begin]
    while len(target) < limit and (target == [*begin] or target[-1] != SEP):
        target.append(int(np.argmax(logits(model, source, target)[-1])))
    return target


def search_plainly(model, source, limit, num_beams, penalty=1.0):
    """Keeps the best beams, from the beginning each time.

    Returns:
        Whole answers and their scores, the best first.
    """
    running, whole = [(0.0, [CLS])], []
    for length in range(1, limit):
        found = [
            (score + more, [*target, token])
            for score, target in running
            for token, more in enumerate(log_shares(model, source, target))
        ]
        found = sorted(found, key=lambda one: -one[0])[: 2 * num_beams]
        ends = [one[-1] == SEP or length + 1 == limit for _, one in found]
        whole += [
            (score / length**penalty, target)
            for (score, target), ended in zip(found[:num_beams], ends, strict=False)
            if ended
        ]
        whole = sorted(whole, key=lambda one: -one[0])[:num_beams]
        running = [one for one, ended in zip(found, ends, strict=True) if not ended][
            :num_beams
        ]
        if not running or (
            len(whole) == num_beams and running[0][0] / length**penalty <= whole[-1][0]
        ):
            break
    return whole
