"""Asks which pre-training is worth more: fine-tunes presets to tell texts apart.

    python scripts/probe_presets.py --train=train.tsv --dev=dev.tsv \
        runs/electra/preset runs/mlm/preset random:runs/electra/preset

Files: a header, then `sentence<TAB>label`, label 0 or 1. Each preset's encoder, with
dropout and one dense layer on [CLS] (2020 code), is trained by the same budget from the
same seeds; `random:` takes the architecture and fresh weights. Accuracy on dev by seed.
"""

import argparse
import csv
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import tensorflow as tf

from electra_tf import models, optimizer, preset, tokenizer


def main() -> None:
    """Prints a line a preset and seed, then a line a preset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    arguments = parser.parse_args()
    for name in arguments.presets:
        found = preset.load(name.removeprefix("random:"))
        encoder = tokenizer.Encoder(found.vocab, found.tokenizer)
        train = read_rows(arguments.train, encoder, found.vocab, arguments.length)
        dev = read_rows(arguments.dev, encoder, found.vocab, arguments.length)
        scores = []
        for seed in range(arguments.seeds):
            model = build(found, arguments, seed, name.startswith("random:"))
            fit(model, train, arguments, seed)
            logits = model.predict(dev[0], batch_size=128, verbose=0)
            scores.append(float(np.mean(logits.argmax(-1) == dev[1])))
            print(f"{name} seed {seed}: accuracy {scores[-1]:.4f}", flush=True)
        spread = f"{min(scores):.4f} to {max(scores):.4f}"
        print(f"{name}: median {statistics.median(scores):.4f}, {spread}", flush=True)


def read_rows(
    file: str, encoder: tokenizer.Encoder, vocab: list[str], length: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reads texts into rows of one example each, cut to `length` tokens."""
    with Path(file).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    ids = np.zeros((len(rows), length), np.int32)
    for index, row in enumerate(rows):
        tokens = encoder.encode_document([row[0]]).token_ids[: length - 2]
        whole = [vocab.index(tokenizer.CLS), *tokens, vocab.index(tokenizer.SEP)]
        ids[index, : len(whole)] = whole
    fields = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "example_ids": (ids > 0).astype(np.int32),
        "position_ids": np.tile(np.arange(length, dtype=np.int32), (len(ids), 1)),
    }
    return fields, np.array([int(row[1]) for row in rows])


def build(
    found: preset.Preset, arguments: argparse.Namespace, seed: int, fresh: bool
) -> keras.Model:
    """Builds the preset's encoder with a classifying head."""
    keras.utils.set_random_seed(seed)
    name = "discriminator" if "discriminator" in found.networks else "generator"
    sizes = found.networks[name]
    if fresh:
        encoder = models.build_encoder(sizes)
    else:
        encoder = preset.build(found, name).get_layer("encoder")
    inputs = {k: keras.Input((None,), dtype="int32", name=k) for k in models.ROW_FIELDS}
    x = keras.layers.Dropout(sizes.hidden_dropout_rate)(encoder(inputs)[:, 0])
    model = keras.Model(inputs, keras.layers.Dense(2, name="class_head")(x))
    rates = optimizer.layer_rates(
        [v.path for v in encoder.trainable_variables], sizes.num_layers, 0.8
    )
    schedule = optimizer.WarmupDecay(
        arguments.learning_rate, arguments.steps, arguments.steps // 10
    )
    model.compile(
        optimizer=optimizer.AdamW(schedule, rates=rates),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def fit(
    model: keras.Model,
    train: tuple[dict[str, np.ndarray], np.ndarray],
    arguments: argparse.Namespace,
    seed: int,
) -> None:
    """Trains for the budget of steps."""
    data = (
        tf.data.Dataset.from_tensor_slices(train)
        .shuffle(len(train[1]), seed=seed)
        .repeat()
        .batch(arguments.batch_size)
        .prefetch(2)
    )
    model.fit(data, epochs=1, steps_per_epoch=arguments.steps, verbose=0, shuffle=False)


if __name__ == "__main__":
    main()
