"""Measures how long exported models take, however their rows are padded.

python scripts/bench_serving.py --preset=PRESET --corpus=TEXTS.txt

Each setting is exported and loaded as a server does, one thread an operation; the
settings take turns, A B A B.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from electra_tf.tasks import catalog, graph, text_classifier

BATCHES = (1, 8, 32)


def main() -> None:
    """Prints one line per batch size and kind of texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", required=True, help="of pre-training")
    parser.add_argument("--corpus", required=True, help="one text per line")
    parser.add_argument(
        "--settings",
        default="256,1024,4096",
        help="tokens of a turn",
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--calls", type=int, default=8, help="of a turn")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    model = text_classifier.ElectraTextClassifier.from_preset(
        catalog.locate(arguments.preset), num_classes=2
    )
    asks = {one: serve(model, one) for one in arguments.settings.split(",")}
    lines = Path(arguments.corpus).read_text(encoding="utf-8").splitlines()
    for kind, texts in {"whole": lines, "first 12 words": shorten(lines, 12)}.items():
        for size in BATCHES:
            measure(asks, texts, size, kind, arguments.turns, arguments.calls)


def shorten(texts: list[str], words: int) -> list[str]:
    """Keeps the beginning of each text."""
    return [" ".join(text.split()[:words]) for text in texts]


def serve(model: text_classifier.ElectraTextClassifier, setting: str) -> Callable:
    """Exports the model with such rows, and loads it."""
    graph.TOKENS_A_TURN = int(setting)
    with tempfile.TemporaryDirectory() as folder:
        exported = model.export_for_serving(f"{folder}/model", batch_sizes=[1])
        loaded = tf.saved_model.load(exported.folder)
        ask = loaded.signatures["serving_default"]
        ask(text=tf.constant(["a"]))  # Reads the weights while they are there.
        ask.owner = loaded  # Else it goes, and its variables with it.
        return ask


def measure(
    asks: dict[str, Callable],
    texts: list[str],
    size: int,
    kind: str,
    turns: int,
    calls: int,
) -> None:
    """Times batches of texts drawn at random, the same for each setting."""
    chance = random.Random(size)
    batches = [tf.constant(chance.sample(texts, size)) for _ in range(calls)]
    seconds: dict[str, list[float]] = {one: [] for one in asks}
    for turn in range(turns + 1):
        for one, ask in asks.items():
            start = time.perf_counter()
            for batch in batches:
                ask(text=batch)
            if turn:  # The first one warms up.
                seconds[one].append((time.perf_counter() - start) / calls)
    first = next(iter(asks))
    shown = []
    for one, values in seconds.items():
        ratio = statistics.median(np.divide(values, seconds[first]).tolist())
        shown.append(f"{one}: {1e3 * statistics.median(values):.1f} ms ({ratio:.2f})")
    print(f"{kind}, batch {size}, {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
