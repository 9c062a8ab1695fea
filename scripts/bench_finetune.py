"""Times fine-tuning and prediction beside transformers and PyTorch.

    python scripts/bench_finetune.py --preset=<weights> --train=train.tsv \
        --dev=dev.tsv --peer_python=<python of an environment with torch, transformers>

All start from the same weights (`electra_tf.convert`) and train a classifier, each side
by a recipe that works for it: ours by its defaults, the peer by the plain one of its
users, AdamW with bias correction at one rate for all layers. With --recipe=ours or
--recipe=theirs both go by one. Warm-up, linear decay, clipped gradients and dropout are
the same always. A side that does not learn is named: its times say nothing.

The peer pads to the longest row of a batch, attends by scaled_dot_product_attention and
updates by fused AdamW: "padded" draws its rows at random, "grouped" takes rows of like
length together. They run in turn, an epoch each, then predict the dev set, in turn
again. "all": from strings to a trained model; "epoch": those after the first, which
also compiles.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sides

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIDES = ("ours", "padded", "grouped")
POOL_BATCHES = 50  # whose rows are sorted by length together, as in transformers
CLIP_NORM, WARMUP_RATE, EPSILON = 1.0, 0.1, 1e-6


def main() -> None:
    """Runs all sides in turn, or is one of them."""
    arguments = parse()
    if arguments.side:
        sides.serve(ours if arguments.side == "ours" else peer)
        return
    with tempfile.TemporaryDirectory() as folder:
        setting = prepare(arguments, folder)
        compare(arguments, setting)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--preset", help="preset or workdir of pre-training")
    parser.add_argument("--train", help="TSV with a header")
    parser.add_argument("--dev", help="the same")
    parser.add_argument("--text_column", default="sentence")
    parser.add_argument("--label_column", default="label")
    parser.add_argument("--length", type=int, default=128, help="most tokens in a row")
    parser.add_argument("--rows", type=int, help="of the training set; all")
    parser.add_argument("--dev_rows", type=int, help="of the dev set; all")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--predictions", type=int, default=7, help="turns a seed")
    parser.add_argument(
        "--learning_rate", type=float, help="of our recipe; by the width of the encoder"
    )
    parser.add_argument("--layer_decay", type=float, default=0.8, help="the same")
    parser.add_argument("--peer_learning_rate", type=float, default=1e-4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument(
        "--recipe",
        choices=("own", "ours", "theirs"),
        default="own",
        help="own: each side by its own; or both by one of them",
    )
    parser.add_argument("--bfloat16", action="store_true", help="all sides compute so")
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Writes the weights in both forms, with dropout, and reads the texts."""
    ours, theirs = f"{folder}/ours", f"{folder}/theirs"
    for origin, to, form in (
        (arguments.preset, ours, "preset"),
        (arguments.preset, theirs, "hugging_face"),
    ):
        command = ["-m", "electra_tf.convert", f"--from={origin}", f"--to={to}"]
        subprocess.run(
            [sys.executable, *command, f"--format={form}"],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
    theirs = str(next(Path(theirs).glob("**/discriminator"), Path(theirs)))
    rates = {"hidden_dropout_rate": arguments.dropout}
    rates["attention_dropout_rate"] = arguments.dropout
    about = json.loads(Path(ours, "config.json").read_text(encoding="utf-8"))
    for network in about["networks"].values():
        network |= rates
    Path(ours, "config.json").write_text(json.dumps(about), encoding="utf-8")
    Path(ours, "SHA256SUMS").unlink()  # It has the file as it was.
    return {
        **vars(arguments),
        "learning_rate": arguments.learning_rate or usual_rate(about),
        "ours": ours,
        "theirs": theirs,
        "train": read(arguments, arguments.train, arguments.rows),
        "dev": read(arguments, arguments.dev, arguments.dev_rows),
    }


def usual_rate(about: dict[str, Any]) -> float:
    """Returns the peak rate of our defaults for an encoder's width."""
    from electra_tf import config
    from electra_tf.tasks import recipe

    network = next(iter(about["networks"].values()))
    return recipe.usual_rates(config.ModelConfig(**network))[0]


def read(arguments: argparse.Namespace, file: str, rows: int | None) -> dict[str, Any]:
    """Reads texts and labels of a TSV; labels are numbered."""
    with open(file, encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        pairs = [(r[arguments.text_column], r[arguments.label_column]) for r in table]
    names = sorted({label for _, label in pairs})
    pairs = pairs[:rows]
    return {
        "texts": [text for text, _ in pairs],
        "labels": [names.index(label) for _, label in pairs],
        "classes": len(names),
    }


def compare(arguments: argparse.Namespace, setting: dict[str, Any]) -> None:
    """Trains each seed on all sides and prints what it took."""
    asked = {
        name: sides.Side(
            sys.executable if name == "ours" else arguments.peer_python,
            __file__,
            name,
            {
                **setting,
                "grouped": name == "grouped",
                "recipe": recipe_of(name, arguments.recipe),
            },
        )
        for name in arguments.only
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
    for seed in range(arguments.seeds):
        for name, values in run_seed(asked, seed, arguments).items():
            found[name].append(values)
            line = "  ".join(f"{kind} {value:.3f}" for kind, value in values.items())
            print(f"seed {seed}, {name}: {line}", flush=True)
    say_who_did_not_learn(found, setting["dev"]["labels"])
    for kind in found[arguments.only[0]][0]:
        for name, seeds in found.items():
            values = [each[kind] for each in seeds]
            line = f"{kind}, {name}: median {statistics.median(values):.3f}"
            if name != "ours" and "ours" in found and kind != "accuracy":
                ours = [each[kind] for each in found["ours"]]
                line += f", over ours {sides.ratios(values, ours)}"
            print(line)


def say_who_did_not_learn(
    found: dict[str, list[dict[str, float]]], labels: list[int]
) -> None:
    """Names each side with a seed that is no better than the commonest class."""
    commonest = statistics.mode(labels)
    chance = statistics.fmean(label == commonest for label in labels)
    for name, seeds in found.items():
        worst = min(each["accuracy"] for each in seeds)
        if worst <= chance + 0.02:
            print(
                f"WARNING: {name} did not learn (accuracy {worst:.3f}, the commonest "
                f"class {chance:.3f}): nothing is compared by this recipe"
            )


def recipe_of(side: str, asked: str) -> str:
    """Returns by whose recipe a side trains: ours, or theirs."""
    if asked != "own":
        return asked
    return "ours" if side == "ours" else "theirs"


def run_seed(
    asked: dict[str, sides.Side], seed: int, arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Trains a model on each side, an epoch in turn; then they predict in turn."""
    seconds = {name: [side.ask({"seed": seed})] for name, side in asked.items()}
    for _ in range(arguments.epochs):
        for name, side in asked.items():
            seconds[name].append(side.ask("epoch"))
    for side in asked.values():
        side.ask("predict")  # The first time also compiles.
    predicted: dict[str, list[dict[str, float]]] = {name: [] for name in asked}
    for _ in range(arguments.predictions):
        for name, side in asked.items():
            predicted[name].append(side.ask("predict"))
    return {
        name: {
            "all": sum(spent),
            "epoch": statistics.median(spent[2:] or spent[1:]),
            "predict": statistics.median(p["seconds"] for p in predicted[name]),
            "accuracy": predicted[name][0]["accuracy"],
        }
        for name, spent in seconds.items()
    }


def ours(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Trains and predicts with `fit` and `predict`."""
    import keras
    import numpy as np

    import electra_tf.tasks.text_classifier as classifiers
    from electra_tf.system import cores

    streams = cores.share_out()

    class Turns(keras.callbacks.Callback):
        """Lets an epoch begin when it is asked for, after it said what came before."""

        def __init__(self) -> None:
            super().__init__()
            self.since = time.perf_counter()

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            asker.answer(time.perf_counter() - self.since)
            asker.hear()
            self.since = time.perf_counter()

    train, dev = setting["train"], setting["dev"]
    asker.answer("ready")
    model: Any = None
    for question in asker:
        if question == "predict":
            began = time.perf_counter()
            logits = model.predict(dev["texts"], setting["batch_size"])
            asker.answer(judged(np.argmax(logits, axis=-1), dev, began))
            continue
        keras.utils.set_random_seed(question["seed"])
        model = classifiers.ElectraTextClassifier.from_preset(
            setting["ours"],
            num_classes=train["classes"],
            sequence_length=setting["length"],
            dtype="mixed_bfloat16" if setting["bfloat16"] else "float32",
        )
        model.streams = streams
        if setting["recipe"] == "theirs":
            model.compile(optimizer=plain_optimizer(setting))
        else:
            model.compile(
                learning_rate=setting["learning_rate"],
                layer_decay=setting["layer_decay"],
            )
        turns = Turns()
        model.fit(
            train["texts"],
            train["labels"],
            batch_size=setting["batch_size"],
            epochs=setting["epochs"],
            seed=question["seed"],
            callbacks=[turns],
            verbose=0,
        )
        asker.answer(time.perf_counter() - turns.since)


def plain_optimizer(setting: dict[str, Any]) -> Any:
    """Builds our AdamW as transformers' users have theirs."""
    from electra_tf.training import optimizer as optimizers

    steps = num_steps(setting, len(setting["train"]["texts"]))
    schedule = optimizers.WarmupDecay(
        setting["peer_learning_rate"], steps, warmup_steps=round(WARMUP_RATE * steps)
    )
    return optimizers.AdamW(
        schedule,
        weight_decay=0.0,
        bias_correction=True,
        clip_norm=CLIP_NORM,
    )


def num_steps(setting: dict[str, Any], num_rows: int) -> int:
    """Counts the updates of all epochs."""
    return int(-(-num_rows // setting["batch_size"]) * setting["epochs"])


def judged(classes: Any, dev: dict[str, Any], began: float) -> dict[str, float]:
    """Returns the time since `began` and the share of classes that are right."""
    seconds = time.perf_counter() - began
    hits = [int(a) == b for a, b in zip(classes, dev["labels"], strict=True)]
    return {"seconds": seconds, "accuracy": statistics.fmean(hits)}


def peer(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Trains and predicts with transformers and PyTorch."""
    trainer = Peer(setting)
    asker.answer("ready")
    for question in asker:
        began = time.perf_counter()
        if question == "predict":
            asker.answer(judged(trainer.predict(), setting["dev"], began))
            continue
        trainer.start(question["seed"])
        began = time.perf_counter()  # Both sides' weights are read untimed.
        trainer.read()
        for epoch in range(setting["epochs"]):
            asker.answer(time.perf_counter() - began)
            asker.hear()
            began = time.perf_counter()
            trainer.train(question["seed"] * 1000 + epoch)
        asker.answer(time.perf_counter() - began)


Row = dict[str, Any]


class Peer:
    """A classifier of transformers, trained as its users do."""

    def __init__(self, setting: dict[str, Any]) -> None:
        import transformers

        self.setting = setting
        self.words = transformers.AutoTokenizer.from_pretrained(setting["theirs"])
        self.pad = transformers.DataCollatorWithPadding(self.words)

    def start(self, seed: int) -> None:
        """Loads the weights."""
        import torch
        import transformers

        torch.manual_seed(seed)
        self.model = transformers.ElectraForSequenceClassification.from_pretrained(
            self.setting["theirs"],
            num_labels=self.setting["train"]["classes"],
            attn_implementation="sdpa",
            hidden_dropout_prob=self.setting["dropout"],
            attention_probs_dropout_prob=self.setting["dropout"],
        )
        if self.setting["recipe"] == "ours":
            for weight in self.model.classifier.parameters():
                draw = torch.nn.init
                draw.xavier_uniform_(weight) if weight.ndim > 1 else draw.zeros_(weight)

    def precision(self) -> Any:
        """Returns the context that computes in bfloat16, where asked."""
        import torch

        return torch.autocast("cpu", torch.bfloat16, enabled=self.setting["bfloat16"])

    def rows(self, texts: list[str]) -> list[Row]:
        """Tokenizes texts."""
        length = self.setting["length"]
        fields = self.words(texts, truncation=True, max_length=length)
        return [
            {name: values[index] for name, values in fields.items()}
            for index in range(len(texts))
        ]

    def read(self) -> None:
        """Makes rows of the training set, and the optimizer."""
        data = self.setting["train"]
        self.train_rows = [
            row | {"labels": label}
            for row, label in zip(self.rows(data["texts"]), data["labels"], strict=True)
        ]
        self.learner, self.schedule = optimizer(
            self.model, self.setting, len(self.train_rows)
        )

    def train(self, seed: int) -> None:
        """Trains for an epoch."""
        import torch

        self.model.train()
        chance = torch.Generator().manual_seed(seed)
        size, grouped = self.setting["batch_size"], self.setting["grouped"]
        for places in batches(self.train_rows, size, grouped, chance):
            rows = self.pad([self.train_rows[place] for place in places])
            with self.precision():
                loss = self.model(**rows).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
            self.learner.step()
            self.schedule.step()
            self.learner.zero_grad(set_to_none=True)

    def predict(self) -> list[int]:
        """Returns the classes of the dev set."""
        import torch

        rows, size = self.rows(self.setting["dev"]["texts"]), self.setting["batch_size"]
        order = list(range(len(rows)))
        if self.setting["grouped"]:
            order.sort(key=lambda index: -len(rows[index]["input_ids"]))
        classes = [0] * len(rows)
        self.model.eval()
        with torch.inference_mode(), self.precision():
            for start in range(0, len(order), size):
                places = order[start : start + size]
                logits = self.model(**self.pad([rows[place] for place in places]))[0]
                for place, guess in zip(places, logits.argmax(-1), strict=True):
                    classes[place] = int(guess)
        return classes


def optimizer(model: Any, setting: dict[str, Any], num_rows: int) -> tuple[Any, Any]:
    """Builds fused AdamW, warm-up and linear decay; layer-wise rates by our recipe."""
    import torch

    num_layers = model.config.num_hidden_layers
    groups: dict[int, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        above = 0 if parts[0] == "classifier" else num_layers + 1
        if "layer" in parts:
            above = num_layers - int(parts[parts.index("layer") + 1])
        groups.setdefault(above, []).append(parameter)
    peak, decay = setting["peer_learning_rate"], 1.0
    if setting["recipe"] == "ours":
        peak, decay = setting["learning_rate"], setting["layer_decay"]
    learner = torch.optim.AdamW(
        [{"params": g, "lr": peak * decay**above} for above, g in groups.items()],
        weight_decay=0.0,
        eps=EPSILON,
        fused=True,
    )
    steps = num_steps(setting, num_rows)
    warmup = round(WARMUP_RATE * steps)

    def rate(step: int) -> float:
        decayed = (1.0 - step / steps) * min(1.0, step / max(1, warmup))
        if setting["recipe"] == "theirs":
            return decayed
        # Undoes the bias correction of the update that comes.
        first, second = (beta ** (step + 1) for beta in (0.9, 0.999))
        return decayed * (1.0 - first) / (1.0 - second) ** 0.5

    return learner, torch.optim.lr_scheduler.LambdaLR(learner, rate)


def batches(
    rows: list[Row], size: int, grouped: bool, chance: Any
) -> Iterator[list[int]]:
    """Yields the places of each batch's rows, in random order."""
    import torch

    places = torch.randperm(len(rows), generator=chance).tolist()
    pool = size * POOL_BATCHES if grouped else size
    cut = []
    for start in range(0, len(places), pool):
        part = places[start : start + pool]
        if grouped:
            part.sort(key=lambda place: len(rows[place]["input_ids"]))
        cut += [part[first : first + size] for first in range(0, len(part), size)]
    for index in torch.randperm(len(cut), generator=chance).tolist():
        yield cut[index]


if __name__ == "__main__":
    main()
