"""A tiny model that writes, with weights that make it say something."""

import keras
import numpy as np

import electra_tf
from electra_tf import config
from electra_tf.tasks import backbone, seq2seq_preprocessor, tokenizer
from electra_tf.text import vocabularies

WORDS = [*'abcdefghijklmnop.,"-', "cat", "dog", "##s", "##ing", "\u732b"]
VOCAB = [*vocabularies.SPECIAL_TOKENS, *WORDS]
TEXTS = ["a b c", "cat dog, i j.", "", "p " * 60, "\u732b cats"]

MODEL = config.ModelConfig(
    vocab_size=len(VOCAB),
    embedding_size=8,
    hidden_size=12,
    num_layers=3,
    num_heads=2,
    intermediate_size=20,
    max_positions=24,
)


def build(seed: int = 3, **options):
    """Returns a model whose weights are drawn wide, so that its answers differ."""
    keras.utils.set_random_seed(seed)
    before = seq2seq_preprocessor.ElectraSeq2SeqPreprocessor(
        tokenizer.ElectraTokenizer(VOCAB, lowercase=False),
        encoder_sequence_length=20,
        decoder_sequence_length=14,
    )
    model = electra_tf.ElectraSeq2Seq(
        backbone.ElectraBackbone.from_model_config(MODEL),
        preprocessor=before,
        **options,
    )
    chance = np.random.default_rng(seed)
    for variable in model.weights:
        center = 1.0 if variable.path.endswith("gamma") else 0.0
        # What comes next goes by the place and the source more than by the word.
        by = any(part in variable.path for part in ("position", "cross_attention"))
        variable.assign(chance.normal(center, 1.5 if by else 0.3, variable.shape))
    return model
