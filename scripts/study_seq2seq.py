"""Learns texts from texts from a pre-trained encoder and from drawn weights.

    python scripts/study_seq2seq.py --preset=runs/en_de --train=en_de/train.tsv \
        --dev=en_de/dev.tsv --epochs=10 --seeds=3 --output=runs/en_de_study.jsonl

Pairs are `source<TAB>target` with a header. Each seed is learned from every start with
the same pairs in the same order, for as many steps; then all of dev is answered.
A line of JSON each: start, seed, perplexity, chrF and BLEU (sacrebleu), seconds. What
the file has is not done again, so that a study goes on where it was stopped. At the end
the medians, and the differences seed by seed.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STARTS = ("pretrained", "random")
METRICS = ("perplexity", "chrf", "bleu")


def main() -> None:
    """Learns what is not there yet, and compares."""
    from electra_tf.system import cores

    arguments = parse()
    file = Path(arguments.output)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    done = {(one["start"], one["seed"]) for one in found}
    streams = cores.share_out()
    for seed in range(arguments.seeds):
        for start in arguments.starts:
            if (start, seed) in done:
                continue
            found.append(learn(arguments, start, seed, streams))
            with file.open("a", encoding="utf-8") as out:
                print(json.dumps(found[-1], ensure_ascii=False), file=out)
    compare(found, arguments.starts)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--preset", required=True, help="what from_preset takes")
    parser.add_argument("--train", required=True, help="TSV of source and target")
    parser.add_argument("--dev", required=True, help="the same")
    parser.add_argument("--output", required=True, help="JSON lines, a run each")
    parser.add_argument("--num_pairs", type=int, help="of train; all")
    parser.add_argument("--length", type=int, default=128, help="most tokens of a text")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, help="of the encoder")
    parser.add_argument("--decoder_learning_rate", type=float)
    parser.add_argument("--decoder_layers", type=int)
    parser.add_argument("--shares", default="embeddings")
    parser.add_argument("--num_beams", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS)
    return parser.parse_args()


def read(file: str, count: int | None = None) -> tuple[list[str], list[str]]:
    """Reads sources and targets."""
    with open(file, encoding="utf-8", newline="") as lines:
        rows = [*csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    return [row[0] for row in rows[:count]], [row[1] for row in rows[:count]]


def learn(
    arguments: argparse.Namespace, start: str, seed: int, streams: int
) -> dict[str, Any]:
    """Trains from one start, answers dev, and judges the answers."""
    import keras
    import sacrebleu

    import electra_tf.tasks.seq2seq as tasks

    keras.utils.set_random_seed(seed)
    model = tasks.ElectraSeq2Seq.from_preset(
        arguments.preset,
        load_weights=start == "pretrained",
        encoder_sequence_length=arguments.length,
        decoder_sequence_length=arguments.length,
        decoder_layers=arguments.decoder_layers,
        shares=arguments.shares,
    )
    model.streams = streams
    model.compile(
        learning_rate=arguments.learning_rate,
        decoder_learning_rate=arguments.decoder_learning_rate,
    )
    sources, targets = read(arguments.dev)
    began = time.perf_counter()
    model.fit(
        *read(arguments.train, arguments.num_pairs),
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        seed=seed,
        verbose=2,
    )
    seconds = time.perf_counter() - began
    perplexity = model.evaluate(sources, targets, verbose=0, return_dict=True)
    answers = model.generate(sources, num_beams=arguments.num_beams)
    # What an uncased vocabulary writes is judged beside small letters.
    lower = model.preprocessor.tokenizer.tokenizer_config.lowercase
    if lower:
        targets = [target.lower() for target in targets]
    return {
        "start": start,
        "seed": seed,
        "perplexity": perplexity["perplexity"],
        "chrf": sacrebleu.corpus_chrf(answers, [targets]).score,
        "bleu": sacrebleu.corpus_bleu(answers, [targets]).score,
        "lowercase": lower,
        "train_seconds": seconds,
        "samples": [*zip(sources[:5], targets[:5], answers[:5], strict=True)],
    }


def compare(found: list[dict[str, Any]], starts: list[str]) -> None:
    """Prints medians, and how much better the first start is, seed by seed."""
    for metric in METRICS:
        values = {
            start: {one["seed"]: one[metric] for one in found if one["start"] == start}
            for start in starts
        }
        for start, seeds in values.items():
            if seeds:
                print(
                    f"{metric}, {start}: median {statistics.median(seeds.values()):.2f}"
                )
        first, *others = values
        for other in others:
            both = sorted(values[first].keys() & values[other].keys())
            gains = [values[first][seed] - values[other][seed] for seed in both]
            if gains:
                told = ", ".join(f"{gain:+.2f}" for gain in gains)
                print(f"{metric}, {first} over {other}, seed by seed: {told}")


if __name__ == "__main__":
    main()
