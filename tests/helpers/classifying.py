"""Texts to classify, and what tests of a task's parts want of a classifier."""

import keras

from electra_tf.tasks import (
    inputs,
)

# Of 2 to 10 tokens, special ones included, not in the order of their lengths.
TEXTS = [
    "the cat sat on the mat .",
    "",
    "a dog ran",
    "the bird flew over the tree on",
    "ran",
    "the cat ran under a tree",
    "the dog sat",
    "a",
    "the bird sat on a roof",
    "over the roof ,",
    "a cat",
]
LABELS = [i % 3 for i in range(11)]


def arrays_of(classifier, texts):
    """Token ids as a model takes them, all rows equally wide."""
    rows = classifier.preprocessor.rows(texts)
    batches = inputs.batches(rows, None, len(texts))
    ((x,),) = batches
    return {name: field.numpy() for name, field in x.items()}


class Rates(keras.callbacks.Callback):
    """Notes the learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
