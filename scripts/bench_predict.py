"""Measures the exported text classifier beside PyTorch and ONNX Runtime.

python scripts/bench_predict.py --vocab=VOCAB.txt --corpus=TEXTS.txt \
    --peer=.venv-peers/bin/python --onnx=.venv-onnx/bin/python

One set of weights of ELECTRA-small's shape, drawn at random: exported as electra_tf
does and loaded as a SavedModel; in transformers; and from there through torch.onnx,
fused by ONNX Runtime's optimizer. Strings in, probabilities out, on every side; the
others' tokenizer is `tokenizers`, in Rust. The sides are processes that take turns,
A B C A B C; ratios are of their seconds to ours, the median over the turns and the
range. --onnx has the packages of --peer, onnx and onnxruntime.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sides

BATCHES = (1, 8, 32)
KINDS = {"short": 12, "long": 120}  # words that are left of a text

Ask = Callable[[list[str]], Any]  # texts to probabilities [N, 2]


def main() -> None:
    """Prints one line per batch size and length of texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocab", help="a vocab.txt")
    parser.add_argument("--corpus", help="one text per line")
    parser.add_argument("--peer", help="Python that has torch and transformers")
    parser.add_argument("--onnx", help="Python that has onnxruntime too")
    parser.add_argument("--length", type=int, default=128, help="most tokens in a row")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of our turn")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--side", help="for this script's own use")
    arguments = parser.parse_args()
    if arguments.side:
        sides.serve(SIDES[arguments.side])
        return
    with tempfile.TemporaryDirectory() as folder:
        setting = {
            "folder": folder,
            "vocab": arguments.vocab,
            "length": arguments.length,
        }
        pythons = {"ours": sys.executable}
        pythons |= {"PyTorch": arguments.peer} if arguments.peer else {}
        pythons |= {"ONNX Runtime": arguments.onnx} if arguments.onnx else {}
        # One after the other: ours writes what the others read.
        asked = {
            name: sides.Side(python, __file__, name, setting)
            for name, python in pythons.items()
        }
        for name, side in asked.items():
            print(f"{name}: {side.ready}", flush=True)
        lines = Path(arguments.corpus).read_text(encoding="utf-8").splitlines()
        for kind in arguments.kinds.split(","):
            texts = [" ".join(line.split()[: KINDS[kind]]) for line in lines if line]
            for size in map(int, arguments.batches.split(",")):
                compare(asked, texts, f"{kind}, batch {size}", size, arguments)


def compare(
    asked: dict[str, sides.Side],
    texts: list[str],
    title: str,
    size: int,
    arguments: argparse.Namespace,
) -> None:
    """Prints milliseconds a batch on our side, and the others' ratios to it."""
    chance = random.Random(size)
    pilot = [chance.sample(texts, size) for _ in range(4)]
    found = {name: side.ask(pilot) for name, side in asked.items()}  # Warms up, too.
    for name, (_, scores) in found.items():
        worst = max(
            abs(a - b)
            for row, ours in zip(scores, found["ours"][1], strict=True)
            for a, b in zip(row, ours, strict=True)
        )
        assert worst < 1e-4, f"{name} says something else: {worst}"
    pilot_seconds = asked["ours"].ask(pilot)[0] / len(pilot)
    calls = max(4, round(arguments.seconds / pilot_seconds))
    batches = [chance.sample(texts, size) for _ in range(calls)]
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(arguments.turns):
        for name, side in asked.items():
            seconds[name].append(side.ask(batches)[0] / calls)
    ours = statistics.median(seconds["ours"])
    shown = [f"ours {1e3 * ours:.2f} ms, {size / ours:.0f} texts/s"]
    shown += [
        f"{name} {sides.ratios(values, seconds['ours'])}"
        for name, values in seconds.items()
        if name != "ours"
    ]
    print(f"{title}: {'; '.join(shown)}", flush=True)


def answer(asker: sides.Asker, ask: Ask) -> None:
    """Answers lists of batches: seconds, and what the last one came to."""
    for batches in asker:
        start = time.perf_counter()
        for batch in batches:
            scores = ask(batch)
        asker.answer([time.perf_counter() - start, scores])


def ours(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Makes the weights for all sides, and serves their export."""
    import tensorflow as tf

    from electra_tf import config
    from electra_tf.release import converter
    from electra_tf.tasks import backbone, preprocessor, text_classifier, tokenizer

    # As the command that export prints.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    words = tokenizer.ElectraTokenizer(setting["vocab"])
    body = config.ModelConfig(vocab_size=len(words.get_vocabulary()))
    model = text_classifier.ElectraTextClassifier(
        backbone.ElectraBackbone.from_model_config(body),
        2,
        preprocessor.ElectraTextPreprocessor(words, sequence_length=setting["length"]),
    )
    folder = setting["folder"]
    model.save_to_preset(f"{folder}/preset")
    converter.convert(
        f"{folder}/preset", f"{folder}/hf", "hugging_face", say=lambda _: None
    )
    exported = model.export_for_serving(f"{folder}/model", batch_sizes=[1])
    loaded = tf.saved_model.load(exported.folder)
    function = loaded.signatures["serving_default"]
    asker.answer(f"TensorFlow {tf.__version__}, {os.cpu_count()} cores")

    def ask(texts: list[str]) -> Any:
        return function(text=tf.constant(texts))["scores"].numpy().tolist()

    answer(asker, ask)


def pytorch(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Answers with transformers."""
    import torch

    tokenize, model = _transformers(setting)
    asker.answer(f"torch {torch.__version__}, {torch.get_num_threads()} threads")

    @torch.inference_mode()
    def ask(texts: list[str]) -> Any:
        rows = tokenize(texts, "pt")
        return model(**rows).logits.softmax(-1).tolist()

    answer(asker, ask)


def onnx_runtime(setting: dict[str, Any], asker: sides.Asker) -> None:
    """Answers with ONNX Runtime, from PyTorch's weights."""
    import numpy as np
    import onnxruntime
    import torch
    from onnxruntime.transformers import optimizer

    # The exporter and the attention whose graph the optimizer knows how to fuse.
    tokenize, model = _transformers(setting, attn_implementation="eager")
    file = f"{setting['folder']}/model.onnx"
    example = tokenize(["one text", "two"], "pt")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        model,
        tuple(example[name] for name in names),
        file,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "rows", 1: "length"} for name in names},
        opset_version=17,
        dynamo=False,
    )
    fused = optimizer.optimize_model(file, "bert", num_heads=4, hidden_size=256)
    fused.save_model_to_file(f"{file}.fused")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(f"{file}.fused", options)
    counts = {k: n for k, n in fused.get_fused_operator_statistics().items() if n}
    asker.answer(f"onnxruntime {onnxruntime.__version__}, fused {counts}")

    def ask(texts: list[str]) -> Any:
        (logits,) = session.run(["logits"], dict(tokenize(texts, "np")))
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        return (shares / shares.sum(-1, keepdims=True)).tolist()

    answer(asker, ask)


def _transformers(
    setting: dict[str, Any], **kwargs: Any
) -> tuple[Callable[..., Any], Any]:
    """Returns what makes tensors of texts, and the model."""
    import transformers

    transformers.logging.set_verbosity_error()
    folder = f"{setting['folder']}/hf"
    words = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, **kwargs
    )

    def tokenize(texts: list[str], kind: str) -> Any:
        return words(
            texts,
            padding=True,
            truncation=True,
            max_length=setting["length"],
            return_tensors=kind,
        )

    return tokenize, model.eval()


SIDES = {"ours": ours, "PyTorch": pytorch, "ONNX Runtime": onnx_runtime}


if __name__ == "__main__":
    main()
