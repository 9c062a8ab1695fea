"""Times the training step against a composite of Hugging Face's two models in PyTorch.

    python scripts/bench_step.py --config=configs/small.yaml --set train.batch_size=32 \
        --peer_python=<python of an environment with torch and transformers>

The composite: ElectraForMaskedLM and ElectraForPreTraining with one embedding block,
MLM logits at the hidden positions only, scaled-dot-product attention, fused AdamW,
dropout on. Both sides stay alive and run in turn, A B A B; the medians and the median
of the ratios pair by pair are printed. Both train on random ids: no padding, every
position counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Runs both sides in turn, or is one of them."""
    arguments = parse()
    if arguments.side:
        serve({"ours": ours, "exported": exported}.get(arguments.side, composite)())
        return
    if arguments.exported:
        shape = json.loads((Path(arguments.exported) / "step.json").read_text())
        shape["folder"] = arguments.exported
    else:
        from electra_tf import config

        settings = config.load(config.PretrainConfig, arguments.config, arguments.set)
        shape = shape_of(settings)
    sides = {
        "ours": Side(
            sys.executable, "exported" if arguments.exported else "ours", shape
        ),
        "composite": Side(arguments.peer_python, "composite", shape),
    }
    tokens = shape["rows"] * shape["length"]
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.turns):
        for name, side in sides.items():
            times[name].append(side.seconds_a_step(arguments.steps))
        shown = "  ".join(f"{n} {tokens / t[-1]:,.0f}" for n, t in times.items())
        print(f"turn {turn + 1}: tokens/s {shown}", flush=True)
    ratios = [b / a for a, b in zip(times["ours"], times["composite"], strict=True)]
    for name, seconds in times.items():
        print(f"{name}: median {tokens / statistics.median(seconds):,.0f} tokens/s")
    print(
        f"ratio ours/composite: median {statistics.median(ratios):.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f}"
    )


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/small.yaml"))
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in a turn")
    parser.add_argument("--exported", help="our side is this step of export_step.py")
    parser.add_argument(
        "--side", choices=("ours", "exported", "composite"), help=argparse.SUPPRESS
    )
    return parser.parse_args()


def shape_of(settings: Any) -> dict[str, Any]:
    """Returns what both sides must agree on, as JSON values."""
    return {
        "model": settings.model.model_dump(),
        "generator": settings.generator.resolve(settings.model).model_dump(),
        "rows": settings.train.batch_size,
        "micro_batches": settings.train.accumulation_steps,
        "length": settings.data.row_tokens,
        "predictions": settings.data.max_predictions,
        "settings": settings.model_dump(),
    }


class Side:
    """A process that trains when asked to."""

    def __init__(self, python: str, name: str, shape: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [python, __file__, f"--side={name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(json.dumps(shape))

    def seconds_a_step(self, steps: int) -> float:
        """Returns the mean over so many steps."""
        return float(self._ask(str(steps))) / steps

    def _ask(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("one side ended; its error stands above")
        return answer


def serve(side: Iterator[Callable[[], None] | None]) -> None:
    """Answers on standard output how long so many steps took."""
    answers, sys.stdout = sys.stdout, sys.stderr
    next(side)
    step = side.send(json.loads(sys.stdin.readline()))
    step()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - began, file=answers, flush=True)


def random_rows(shape: dict[str, Any]) -> dict[str, Any]:
    """Makes a batch in which every position is real."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows, length, places = shape["rows"], shape["length"], shape["predictions"]
    ids = rng.integers(5, shape["model"]["vocab_size"], (rows, length), np.int32)
    where = np.sort(np.argsort(rng.random((rows, length)), axis=1)[:, :places], axis=1)
    return {
        "token_ids": ids,
        "segment_ids": np.tile(np.arange(length) > length // 2, (rows, 1)).astype("i4"),
        "example_ids": np.ones((rows, length), np.int32),
        "position_ids": np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
        "mask_positions": where.astype(np.int32),
        "mask_ids": np.take_along_axis(ids, where, axis=1),
        "mask_weights": np.ones((rows, places), np.float32),
        "sampling_noise": rng.random((rows, places), np.float32),
    }


def ours() -> Iterator[Any]:
    """Yields our step, given the shape."""
    shape = yield None
    import tensorflow as tf

    from electra_tf import config, distribution, pretrainer

    settings = config.PretrainConfig.model_validate(shape["settings"])
    strategy = distribution.strategy()
    distribution.set_precision(settings.train.precision)
    with strategy.scope():
        model = pretrainer.build(
            settings,
            compile_step=distribution.compile_step(strategy, settings.train.xla),
        )
    batch = {name: tf.constant(value) for name, value in random_rows(shape).items()}
    update = tf.function(lambda rows: strategy.run(model.update, (rows,))["finite"])

    def step() -> None:
        float(update(batch))

    yield step


def exported() -> Iterator[Any]:
    """Yields our exported step, run by JAX (run_step.py), given the shape."""
    shape = yield None
    import run_step

    run = run_step.time_step(run_step.Step(shape["folder"]), repeats=1)
    yield lambda: float(run())


def _electra_config(sizes: dict[str, Any]) -> Any:
    import transformers

    return transformers.ElectraConfig(
        vocab_size=sizes["vocab_size"],
        embedding_size=sizes["embedding_size"],
        hidden_size=sizes["hidden_size"],
        num_hidden_layers=sizes["num_layers"],
        num_attention_heads=sizes["num_heads"],
        intermediate_size=sizes["intermediate_size"],
        attn_implementation="sdpa",
    )


def composite() -> Iterator[Any]:
    """Yields the PyTorch composite's step, given the shape."""
    shape = yield None
    import torch
    import transformers

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = transformers.ElectraForMaskedLM(_electra_config(shape["generator"]))
    discriminator = transformers.ElectraForPreTraining(_electra_config(shape["model"]))
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = (
        discriminator.electra.embeddings.word_embeddings.weight
    )
    both = torch.nn.ModuleList([generator, discriminator]).train().to(device)
    learner = torch.optim.AdamW(
        both.parameters(), lr=5e-4, weight_decay=0.01, fused=True
    )
    rows = {k: torch.from_numpy(v).to(device) for k, v in random_rows(shape).items()}
    ids, where = rows["token_ids"].long(), rows["mask_positions"].long()
    masked = ids.scatter(1, where, 103)
    segments, targets = rows["segment_ids"].long(), rows["mask_ids"].long()

    def losses(part: slice) -> torch.Tensor:
        at = torch.arange(len(ids[part]), device=device)[:, None], where[part]
        hidden = generator.electra(masked[part], token_type_ids=segments[part])[0][at]
        logits = generator.generator_lm_head(generator.generator_predictions(hidden))
        mlm = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets[part].flatten()
        )
        with torch.no_grad():
            gumbel = -torch.log(-torch.log(torch.rand_like(logits) + 1e-9) + 1e-9)
            drawn = (logits + gumbel).argmax(-1)
            corrupted = ids[part].scatter(1, where[part], drawn)
        verdicts = discriminator(corrupted, token_type_ids=segments[part]).logits
        replaced = (corrupted != ids[part]).float()
        rtd = torch.nn.functional.binary_cross_entropy_with_logits(verdicts, replaced)
        return mlm + 50.0 * rtd

    yield _torch_step(both, learner, losses, shape)


def _torch_step(
    model: Any, learner: Any, losses: Callable[[slice], Any], shape: dict[str, Any]
) -> Callable[[], None]:
    """Returns the composite's update; on a GPU as its users run it."""
    import torch

    micro, size = shape["micro_batches"], shape["rows"] // shape["micro_batches"]
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        losses = torch.compile(losses)

    def step() -> None:
        for index in range(micro):
            with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
                loss = losses(slice(index * size, (index + 1) * size)) / micro
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learner.step()
        learner.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
