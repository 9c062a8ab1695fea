"""Learns texts from texts: from a pre-trained encoder, from drawn weights, elsewhere.

    python scripts/study_seq2seq.py --preset=runs/en_de --train=en_de/train.tsv \
        --dev=en_de/dev.tsv --epochs=10 --seeds=3 --output=runs/en_de_study.jsonl \
        [--peer_python=<python of an environment with torch, transformers>]

Pairs are `source<TAB>target` with a header. Each seed is learned from every start with
the same pairs, as many in a batch, for as many epochs; then all of dev is answered.
A line of JSON each: start, seed, chrF and BLEU (sacrebleu), seconds, and ours have
perplexity. What the file has is not done again, so that a study goes on where it was
stopped. At the end the medians, and the differences seed by seed.

With --peer_python transformers' EncoderDecoderModel learns too: from the very weights
that our pre-trained start has, cross-attention included, by the same rates, warm-up,
smoothing and clipping, pairs of like length together. Its words become text by our
rules, so that what was learned is compared.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_seq2seq
import sides

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

STARTS = ("pretrained", "random")
PEER = "transformers"
WARMUP_RATE = 0.1
METRICS = ("perplexity", "chrf", "bleu")


def main() -> None:
    """Learns what is not there yet, and compares."""
    from electra_tf.system import cores

    arguments = parse()
    if arguments.side:
        sides.serve(peer)
        return
    file = Path(arguments.output)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines]
    done = {(one["start"], one["seed"]) for one in found}
    streams = cores.share_out()
    starts = [*arguments.starts, *([PEER] if arguments.peer_python else [])]
    for seed in range(arguments.seeds):
        for start in starts:
            if (start, seed) in done:
                continue
            found.append(learn(arguments, start, seed, streams))
            with file.open("a", encoding="utf-8") as out:
                print(json.dumps(found[-1], ensure_ascii=False), file=out)
    compare(found, starts)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--preset", help="what from_preset takes")
    parser.add_argument("--train", help="TSV of source and target")
    parser.add_argument("--dev", help="the same")
    parser.add_argument("--output", help="JSON lines, a run each")
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
    parser.add_argument("--peer_python", help="of torch and transformers")
    parser.add_argument("--side", choices=[PEER], help=argparse.SUPPRESS)
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
        load_weights=start != "random",
        encoder_sequence_length=arguments.length,
        decoder_sequence_length=arguments.length,
        decoder_layers=arguments.decoder_layers,
        shares=arguments.shares,
    )
    model.streams = streams
    model.compile(**stated_rates(arguments))
    sources, targets = read(arguments.dev)
    if start == PEER:
        answers, seconds = by_the_peer(model, arguments, seed, sources)
        perplexity = None
    else:
        began = time.perf_counter()
        model.fit(
            *read(arguments.train, arguments.num_pairs),
            batch_size=arguments.batch_size,
            epochs=arguments.epochs,
            seed=seed,
            verbose=2,
        )
        seconds = time.perf_counter() - began
        held_out = model.evaluate(sources, targets, verbose=0, return_dict=True)
        perplexity = held_out["perplexity"]
        answers = model.generate(sources, num_beams=arguments.num_beams)
    # What an uncased vocabulary writes is judged beside small letters.
    lower = model.preprocessor.tokenizer.tokenizer_config.lowercase
    if lower:
        targets = [target.lower() for target in targets]
    return {
        "start": start,
        "seed": seed,
        "perplexity": perplexity,
        "chrf": sacrebleu.corpus_chrf(answers, [targets]).score,
        "bleu": sacrebleu.corpus_bleu(answers, [targets]).score,
        "lowercase": lower,
        "train_seconds": seconds,
        "samples": [*zip(sources[:5], targets[:5], answers[:5], strict=True)],
    }


def stated_rates(arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the rates that were stated, by the names of `compile`."""
    names = "learning_rate", "decoder_learning_rate"
    return {
        name: rate for name in names if (rate := getattr(arguments, name)) is not None
    }


def by_the_peer(
    model: Any, arguments: argparse.Namespace, seed: int, sources: list[str]
) -> tuple[list[str], float]:
    """Lets transformers learn from these weights; returns answers and seconds."""
    from electra_tf.release import converter

    words = model.preprocessor
    pairs = read(arguments.train, arguments.num_pairs)
    ids = (words.sources(pairs[0]), words.targets(pairs[1]), words.sources(sources))
    train_sources, train_targets, asked = (
        [[int(one) for one in text] for text in texts] for texts in ids
    )
    with tempfile.TemporaryDirectory() as parent:
        folder = os.path.join(parent, "model")
        converter.write_hugging_face(model, folder, {})
        side = sides.Side(
            arguments.peer_python,
            __file__,
            PEER,
            {
                "folder": folder,
                "rates": model.usual_recipe() | stated_rates(arguments),
                "pairs": [*zip(train_sources, train_targets, strict=True)],
                "batch_size": arguments.batch_size,
                "epochs": arguments.epochs,
                "seed": seed,
                "length": arguments.length,
                "num_beams": arguments.num_beams,
                "grouped": True,
            },
        )
        seconds = side.ask("train")
        answers = side.ask(asked)
        side.close()
    return [words.tokenizer.detokenize(one) for one in answers], seconds


def peer(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Learns and answers with transformers."""
    import torch
    import transformers

    torch.manual_seed(setting["seed"])
    model = transformers.EncoderDecoderModel.from_pretrained(setting["folder"])
    words = transformers.AutoTokenizer.from_pretrained(setting["folder"])
    rates = setting["rates"]
    learner = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": rates["learning_rate"]},
            {
                "params": model.decoder.parameters(),
                "lr": rates["decoder_learning_rate"],
            },
        ],
        eps=bench_seq2seq.EPSILON,
        weight_decay=rates["weight_decay"],
        fused=True,
    )
    rows, size = setting["pairs"], setting["batch_size"]
    steps = setting["epochs"] * -(-len(rows) // size)
    rate = transformers.get_linear_schedule_with_warmup(
        learner, int(WARMUP_RATE * steps), steps
    )
    chance = torch.Generator().manual_seed(setting["seed"])

    def train() -> float:
        model.train()
        began = time.perf_counter()
        for _ in range(setting["epochs"]):
            for places in bench_seq2seq.batches(rows, setting, chance):
                pairs = [rows[place] for place in places]
                bench_seq2seq.loss(model, words, pairs).backward()
                torch.nn.utils.clip_grad_norm_(
                    model.parameters(), bench_seq2seq.CLIP_NORM
                )
                learner.step()
                rate.step()
                learner.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    def write(sources: list[list[int]]) -> list[list[int]]:
        model.eval()
        order = sorted(range(len(sources)), key=lambda at: -len(sources[at]))
        found: list[list[int]] = [[] for _ in sources]
        for start in range(0, len(order), size):
            places = order[start : start + size]
            with torch.inference_mode():
                made = model.generate(
                    **words.pad(
                        {"input_ids": [sources[place] for place in places]},
                        return_tensors="pt",
                    ),
                    max_length=setting["length"],
                    num_beams=setting["num_beams"],
                    do_sample=False,
                )
            for place, ids in zip(places, made.tolist(), strict=True):
                found[place] = [one for one in ids if one not in words.all_special_ids]
        return found

    asker.answer("ready")
    for question in asker:
        asker.answer(train() if question == "train" else write(question))


def compare(found: list[dict[str, Any]], starts: list[str]) -> None:
    """Prints medians, and how much better the first start is, seed by seed."""
    for metric in METRICS:
        values = {
            start: {
                one["seed"]: one[metric]
                for one in found
                if one["start"] == start and one[metric] is not None
            }
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
