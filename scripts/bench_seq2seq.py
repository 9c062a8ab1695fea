"""Times learning and writing texts beside transformers' EncoderDecoderModel.

    python scripts/bench_seq2seq.py --data=train.tsv --vocab=vocab.txt \
        --peer_python=<python of an environment with torch, transformers>

Both sides have encoders and decoders of one shape with drawn weights, the same pairs
(`source<TAB>target`, the first line is a header), batches of as many pairs, AdamW and
dropout. The peer pads to the longest of a batch, attends by
scaled_dot_product_attention and updates by fused AdamW: "padded" draws its pairs at
random, "grouped" takes those of like length together. Tokens are those of texts, not of
padding. In generation all answers have the same number of tokens on both sides, so that
drawn weights do. All take turns; the first of each, which compiles, is not counted.
"""

import argparse
import csv
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sides

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIDES = ("ours", "padded", "grouped")
WORK = ("train", "greedy", "beams")
POOL_BATCHES = 50  # whose pairs are sorted by length together, as in transformers
RATE, CLIP_NORM, SMOOTHING, EPSILON = 3e-4, 1.0, 0.1, 1e-6
SHAPES = {
    "small": (12, 256, 4, 1024, 128),
    "base": (12, 768, 12, 3072, 768),
    "tiny": (2, 64, 2, 128, 32),
}


def main() -> None:
    """Runs all sides in turn, or is one of them."""
    arguments = parse()
    if arguments.side:
        sides.serve(ours if arguments.side == "ours" else peer)
        return
    setting = {**vars(arguments), "pairs": read(arguments.data, arguments.num_pairs)}
    asked = {
        name: sides.Side(
            sys.executable if name == "ours" else arguments.peer_python,
            __file__,
            name,
            {**setting, "grouped": name == "grouped"},
        )
        for name in arguments.only
    }
    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in asked} for kind in arguments.work
    }
    for turn in range(arguments.turns + 1):
        for kind in arguments.work:
            for name, side in asked.items():
                value = side.ask(kind)
                if turn:
                    found[kind][name].append(value)
    for kind, values in found.items():
        for name, speeds in values.items():
            line = f"{kind}, {name}: {statistics.median(speeds):,.0f} tokens/s"
            if name != "ours" and "ours" in values:
                line += f"; ours over it {sides.ratios(values['ours'], speeds)}"
            print(line, flush=True)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", help="TSV of source and target, with a header")
    parser.add_argument("--vocab", help="a token a line")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--length", type=int, default=128, help="most tokens of a text")
    parser.add_argument("--num_pairs", type=int, default=512, help="of a turn")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--sources", type=int, default=64, help="that are answered")
    parser.add_argument("--answer", type=int, default=48, help="tokens of an answer")
    parser.add_argument("--num_beams", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def read(file: str, count: int) -> list[list[str]]:
    """Reads pairs of a TSV."""
    with open(file, encoding="utf-8", newline="") as lines:
        rows = [*csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
    return [row[:2] for row in rows[:count]]


def answer(
    setting: dict[str, Any], asker: sides.Asker, work: dict[str, Callable[[], int]]
) -> None:
    """Does what is asked, and answers with tokens a second."""
    asker.answer("ready")
    for question in asker:
        began = time.perf_counter()
        count = work[question]()
        asker.answer(count / (time.perf_counter() - began))


def ours(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Learns by `fit`, and writes by `generate`."""
    import keras

    from electra_tf import config
    from electra_tf.system import cores
    from electra_tf.tasks import backbone, seq2seq, seq2seq_preprocessor, tokenizer

    streams = cores.share_out()
    layers, hidden, num_heads, intermediate, embedding = SHAPES[setting["shape"]]
    words = tokenizer.ElectraTokenizer(setting["vocab"])
    model = seq2seq.ElectraSeq2Seq(
        backbone.ElectraBackbone.from_model_config(
            config.ModelConfig(
                vocab_size=words.vocabulary_size(),
                num_layers=layers,
                hidden_size=hidden,
                num_heads=num_heads,
                intermediate_size=intermediate,
                embedding_size=embedding,
            )
        ),
        seq2seq_preprocessor.ElectraSeq2SeqPreprocessor(
            words, setting["length"], setting["length"]
        ),
    )
    model.streams = streams
    model.compile(learning_rate=RATE, label_smoothing=SMOOTHING)
    sources, targets = (list(texts) for texts in zip(*setting["pairs"], strict=True))
    texts = model.preprocessor.sources(sources) + model.preprocessor.targets(targets)
    data = model.dataset(sources, targets, None, setting["batch_size"], 1)
    some = sources[: setting["sources"]]
    longest = setting["answer"] + 1  # [CLS] is given.

    def train() -> int:
        keras.Model.fit(model, data, epochs=1, verbose=0)
        return sum(map(len, texts))

    def write(num_beams: int) -> int:
        model.generate(
            some,
            longest,
            num_beams=num_beams,
            min_length=longest,
            batch_size=setting["batch_size"],
        )
        return len(some) * setting["answer"]

    work = {
        "train": train,
        "greedy": lambda: write(1),
        "beams": lambda: write(setting["num_beams"]),
    }
    answer(setting, asker, work)


def peer(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Does the same with transformers and PyTorch."""
    import torch
    import transformers

    layers, hidden, num_heads, intermediate, embedding = SHAPES[setting["shape"]]
    words = transformers.ElectraTokenizerFast(setting["vocab"])
    shape = {
        "vocab_size": len(words),
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": num_heads,
        "intermediate_size": intermediate,
        "embedding_size": embedding,
    }
    configuration = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ElectraConfig(**shape), transformers.ElectraConfig(**shape)
    )
    configuration.decoder_start_token_id = words.cls_token_id
    configuration.pad_token_id = words.pad_token_id
    model = transformers.EncoderDecoderModel(configuration)
    learner = torch.optim.AdamW(model.parameters(), RATE, eps=EPSILON, fused=True)
    length = {"truncation": True, "max_length": setting["length"]}
    rows = [
        (words(source, **length)["input_ids"], words(target, **length)["input_ids"])
        for source, target in setting["pairs"]
    ]
    chance = torch.Generator().manual_seed(1)

    def train() -> int:
        model.train()
        for places in batches(rows, setting, chance):
            loss(model, words, [rows[place] for place in places]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            learner.step()
            learner.zero_grad(set_to_none=True)
        return sum(len(source) + len(target) for source, target in rows)

    def write(num_beams: int) -> int:
        model.eval()
        order = sorted(range(setting["sources"]), key=lambda at: -len(rows[at][0]))
        size = setting["batch_size"]
        for start in range(0, len(order), size):
            chosen = [rows[place][0] for place in order[start : start + size]]
            with torch.inference_mode():
                model.generate(
                    **words.pad({"input_ids": chosen}, return_tensors="pt"),
                    max_new_tokens=setting["answer"],
                    min_new_tokens=setting["answer"],
                    num_beams=num_beams,
                    do_sample=False,
                    eos_token_id=words.sep_token_id,
                )
        return len(order) * setting["answer"]

    work = {
        "train": train,
        "greedy": lambda: write(1),
        "beams": lambda: write(setting["num_beams"]),
    }
    answer(setting, asker, work)


def loss(model: Any, words: Any, pairs: list[Any]) -> Any:
    """Returns the loss of a batch of pairs of ids by transformers, smoothed."""
    import torch

    source, target = (
        words.pad({"input_ids": [pair[side] for pair in pairs]}, return_tensors="pt")
        for side in (0, 1)
    )
    ids, mask = target["input_ids"], target["attention_mask"]
    logits = model(
        **source, decoder_input_ids=ids[:, :-1], decoder_attention_mask=mask[:, :-1]
    ).logits
    labels = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    return loss_of(logits.flatten(0, 1), labels.flatten())


def batches(rows: list[Any], setting: dict[str, Any], chance: Any) -> list[list[int]]:
    """Returns the places of each batch's pairs, in random order."""
    import torch

    size, grouped = setting["batch_size"], setting["grouped"]
    places = torch.randperm(len(rows), generator=chance).tolist()
    pool = size * POOL_BATCHES if grouped else size
    cut = []
    for start in range(0, len(places), pool):
        part = places[start : start + pool]
        if grouped:
            part.sort(key=lambda place: len(rows[place][1]))
        cut += [part[first : first + size] for first in range(0, len(part), size)]
    return [cut[at] for at in torch.randperm(len(cut), generator=chance).tolist()]


if __name__ == "__main__":
    main()
