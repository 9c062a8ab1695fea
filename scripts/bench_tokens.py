"""Times training on real text: words learnt from a second, from records to update.

    python scripts/bench_tokens.py --config=configs/small.yaml --records=data/reviews \
        --set train.batch_size=16 \
        --peer_python=<python of an environment with torch and transformers>

ours: packed and masked by our pipeline while the step runs.
lines: the PyTorch composite of bench_step.py, fed as by run_mlm.py --line_by_line: a
row a document, what exceeds L is cut; masked and padded by transformers' collator.
chunks: the same, fed as by run_mlm.py without it: documents end to end, cut every L
tokens, so that rows are full and tokens see those of other documents.

Counted are tokens of text: neither padding nor [CLS] and [SEP]. All sides read the same
documents and run in turn.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_step
import numpy as np
import sides

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Runs all sides in turn, or is one of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/small.yaml"))
    parser.add_argument("--records", help="folder that build_data wrote")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--peers", nargs="+", default=["lines", "chunks"])
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in a turn")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        sides.serve(ours if arguments.side == "ours" else composite)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, folder)


def compare(arguments: argparse.Namespace, folder: str) -> None:
    """Prints one line per turn, then medians and ratios."""
    sys.path.insert(0, str(ROOT))
    from electra_tf import config

    changes = [*arguments.set, f"data.records={Path(arguments.records).resolve()}"]
    settings = config.load(config.PretrainConfig, arguments.config, changes)
    write_documents(settings, folder)
    shape = bench_step.shape_of(settings) | {"folder": folder}
    asked = {
        name: sides.Side(
            sys.executable if name == "ours" else arguments.peer_python,
            __file__,
            name,
            shape | {"side": name},
        )
        for name in ["ours", *arguments.peers]
    }
    rates: dict[str, list[float]] = {name: [] for name in asked}
    counts = {name: np.zeros(2) for name in asked}
    for turn in range(arguments.turns):
        for name, side in asked.items():
            seconds, tokens, positions = side.ask(arguments.steps)
            rates[name].append(tokens / seconds)
            counts[name] += tokens, positions
        shown = "  ".join(f"{n} {each[-1]:,.0f}" for n, each in rates.items())
        print(f"turn {turn + 1}: tokens of text/s {shown}", flush=True)
    for name, found in rates.items():
        share = counts[name][0] / counts[name][1]
        line = f"{name}: median {statistics.median(found):,.0f} tokens of text/s"
        if name != "ours":
            line += f", ours over it {sides.ratios(rates['ours'], found)}"
        print(f"{line}; text in {share:.1%} of positions")


def write_documents(settings: Any, folder: str) -> None:
    """Writes what the peers read: the documents' ids, and the vocabulary."""
    import tensorflow as tf

    from electra_tf.batches import pipeline
    from electra_tf.text import record_reader

    source = pipeline.open_source(settings.data)
    shards = tf.data.TFRecordDataset(list(source.train))
    documents = [
        tokens.numpy()
        for batch in shards.batch(1000)
        for tokens in record_reader.parse(batch)[0]
    ]
    np.savez(
        f"{folder}/documents.npz",
        ids=np.concatenate(documents),
        lengths=[len(tokens) for tokens in documents],
        special=[source.vocab.cls_id, source.vocab.sep_id],
    )
    words = "".join(f"{token}\n" for token in source.vocab.tokens)
    Path(folder, "vocab.txt").write_text(words, encoding="utf-8")


def answer(asker: sides.Asker, steps: Iterator[tuple[int, int]]) -> None:
    """Answers seconds, tokens of text and positions of so many steps."""
    next(steps)
    asker.answer("ready")
    for count in asker:
        began = time.perf_counter()
        done = list(itertools.islice(steps, count))
        seconds = time.perf_counter() - began
        asker.answer((seconds, *(sum(column) for column in zip(*done, strict=True))))


def ours(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Trains from records."""
    sys.path.insert(0, str(ROOT))
    import tensorflow as tf

    from electra_tf import config
    from electra_tf.batches import pipeline
    from electra_tf.system import cores
    from electra_tf.training import distribution, train_step

    settings = config.PretrainConfig.model_validate(shape["settings"])
    settings = settings.with_streams(cores.share_out())
    strategy = distribution.strategy()
    with strategy.scope():
        model = train_step.build(settings)
    source = pipeline.open_source(settings.data)
    batches = pipeline.train_batches(
        source, settings.data, seed=1, batch_rows=settings.train.batch_size
    )
    update = tf.function(lambda rows: strategy.run(model.update, (rows,))["finite"])

    def steps() -> Iterator[tuple[int, int]]:
        for batch in batches:
            float(update(batch))
            ids = batch["token_ids"].numpy()
            special = np.isin(ids, [source.vocab.cls_id, source.vocab.sep_id])
            real = batch["example_ids"].numpy() > 0
            yield int(np.count_nonzero(real & ~special)), ids.size

    answer(asker, steps())


def composite(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Trains both models of transformers in PyTorch, fed by its collator."""
    import torch

    special, loader = collated(shape)
    generator, discriminator = bench_step.electra_pair(shape)
    both = torch.nn.ModuleList([generator, discriminator]).train()
    learner = torch.optim.AdamW(
        both.parameters(), lr=5e-4, weight_decay=0.01, fused=True
    )

    def loss(batch: Any) -> Any:
        masked, real = batch["input_ids"], batch["attention_mask"]
        at = batch["labels"] != -100  # [B, L]
        targets = batch["labels"][at]
        hidden = generator.electra(masked, attention_mask=real)[0][at]
        logits = generator.generator_lm_head(generator.generator_predictions(hidden))
        mlm = torch.nn.functional.cross_entropy(logits, targets)
        with torch.no_grad():
            gumbel = -torch.log(-torch.log(torch.rand_like(logits) + 1e-9) + 1e-9)
            corrupted = masked.clone()
            corrupted[at] = (logits + gumbel).argmax(-1)
            original = masked.clone()
            original[at] = targets
        verdicts = discriminator(corrupted, attention_mask=real).logits[real > 0]
        replaced = (corrupted != original).float()[real > 0]
        rtd = torch.nn.functional.binary_cross_entropy_with_logits(verdicts, replaced)
        return mlm + 50.0 * rtd

    def steps() -> Iterator[tuple[int, int]]:
        for batch in itertools.chain.from_iterable(itertools.repeat(loader)):
            loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(both.parameters(), 1.0)
            learner.step()
            learner.zero_grad(set_to_none=True)
            ids = torch.where(
                batch["labels"] == -100, batch["input_ids"], batch["labels"]
            )
            text = batch["attention_mask"].bool() & ~torch.isin(ids, special)
            yield int(text.sum()), ids.numel()

    answer(asker, steps())


def collated(shape: dict[str, Any]) -> tuple[Any, Any]:
    """Returns the ids of [CLS] and [SEP], and an epoch of masked batches."""
    import torch
    import transformers

    found = np.load(f"{shape['folder']}/documents.npz")
    cls_id, sep_id = found["special"]
    documents = np.split(found["ids"], np.cumsum(found["lengths"])[:-1])
    length = shape["length"]
    if shape["side"] == "lines":
        rows = [[cls_id, *tokens[: length - 2], sep_id] for tokens in documents]
    else:
        whole = np.concatenate([[cls_id, *tokens, sep_id] for tokens in documents])
        rows = whole[: len(whole) // length * length].reshape(-1, length)
    collator = transformers.DataCollatorForLanguageModeling(
        transformers.ElectraTokenizer(f"{shape['folder']}/vocab.txt"),
        mlm_probability=0.15,
    )
    return torch.tensor(found["special"]), torch.utils.data.DataLoader(
        [{"input_ids": [int(token) for token in row]} for row in rows],
        batch_size=shape["rows"],
        shuffle=True,
        collate_fn=collator,
        drop_last=True,
    )


if __name__ == "__main__":
    main()
