"""Times the training step beside Hugging Face's two models in PyTorch, and others.

    python scripts/bench_step.py --config=configs/small.yaml --set train.batch_size=32 \
        --peer_python=<python of an environment with torch and transformers> \
        [--peers gathered plain products google loop empty <another checkout of ours>] \
        [--google_code=<checkout of github.com/google-research/electra>]

gathered: ElectraForMaskedLM and ElectraForPreTraining with one embedding block, MLM
logits at the hidden positions only, scaled-dot-product attention, fused AdamW, dropout.
plain: the same, as it comes: MLM logits at all positions, PyTorch's default AdamW.
products: the matrix products of our step and nothing else, one after the other.
google: the step of the 2020 code in a TF1 graph and session, on our TensorFlow.
loop: our step as the command runs it, in its loop, fed by tf.data.
empty: that loop around a model that does nothing: what it adds to a step.

All sides stay alive and run in turn, A B A B; the medians, the median of the ratios
pair by pair and each process' peak memory are printed. They train on random ids: no
padding, every position counts.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sides

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PYTORCH = ("gathered", "plain")


def main() -> None:
    """Runs all sides in turn, or is one of them."""
    arguments = parse()
    if arguments.side:
        sides.serve(SIDES.get(arguments.side, ours))
        return
    shape, first = shape_of_run(arguments)
    if arguments.google_code:
        shape["google_code"] = os.path.abspath(arguments.google_code)
    asked = {
        name: sides.Side(
            arguments.peer_python if name in PYTORCH else sys.executable,
            __file__,
            name,
            shape | {"root": str(ROOT) if name in SIDES else os.path.abspath(name)},
        )
        for name in [first, *arguments.peers]
    }
    tokens = shape["rows"] * shape["length"]
    times: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(arguments.turns):
        for name, side in asked.items():
            times[name].append(side.ask(arguments.steps) / arguments.steps)
        shown = "  ".join(f"{n} {tokens / t[-1]:,.0f}" for n, t in times.items())
        print(f"turn {turn + 1}: tokens/s {shown}", flush=True)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        line = f"{name}: median {tokens / median:,.0f} tokens/s, {median * 1e3:,.2f} ms"
        if name != first:
            line += f", its time over ours {sides.ratios(seconds, times[first])}"
        print(f"{line}; peak memory {asked[name].ask('memory'):.2f} GiB")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/small.yaml"))
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--peers", nargs="+", default=["gathered"])
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--google_code", help="the 2020 code, for the peer google")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="in a turn")
    parser.add_argument("--exported", help="our side is this step of export_step.py")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if "google" in arguments.peers and not arguments.google_code:
        parser.error("the peer google needs --google_code=<its checkout>")
    return arguments


def shape_of_run(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Returns the shape that is asked for, and which side is ours."""
    if arguments.exported:
        shape = json.loads((Path(arguments.exported) / "step.json").read_text())
        return shape | {"folder": arguments.exported}, "exported"
    sys.path.insert(0, str(ROOT))
    from electra_tf import config

    settings = config.load(config.PretrainConfig, arguments.config, arguments.set)
    return shape_of(settings), "ours"


def shape_of(settings: Any) -> dict[str, Any]:
    """Returns what all sides must agree on, as JSON values."""
    return {
        "model": settings.model.model_dump(),
        "generator": settings.generator.resolve(settings.model).model_dump(),
        "rows": settings.train.batch_size,
        "micro_batches": settings.train.accumulation_steps,
        "length": settings.data.row_tokens,
        "predictions": settings.data.max_predictions,
        "settings": settings.model_dump(exclude_defaults=True),  # Older checkouts
    }


def answer(
    asker: sides.Asker,
    step: Callable[[], object],
    several: Callable[[int], object] | None = None,
) -> None:
    """Answers how long so many steps took, and how much memory it all took."""
    step()
    asker.answer("ready")
    for question in asker:
        if question == "memory":
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            asker.answer(used / 2**20)  # Linux counts KiB.
            continue
        began = time.perf_counter()
        if several:
            several(question)
        else:
            for _ in range(question):
                step()
        asker.answer(time.perf_counter() - began)


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


def build(shape: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Returns settings, strategy and model, ours or that of another checkout."""
    sys.path.insert(0, shape["root"])
    from electra_tf import config
    from electra_tf.training import distribution, train_step

    settings = config.PretrainConfig.model_validate(shape["settings"])
    more: dict[str, Any] = {}
    if hasattr(distribution, "share_cores"):  # An older checkout.
        distribution.share_cores()
        more["streams"] = distribution.streams()
    elif hasattr(settings, "with_streams"):
        from electra_tf.system import cores

        settings = settings.with_streams(cores.share_out())
    strategy = distribution.strategy()
    distribution.set_precision(settings.train.precision)
    with strategy.scope():
        model = train_step.build(
            settings,
            compile_step=distribution.compile_step(strategy, settings.train.xla),
            **more,
        )
    return settings, strategy, model


def ours(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs our step, or that of another checkout, called one by one."""
    _, strategy, model = build(shape)
    import tensorflow as tf

    batch = {name: tf.constant(value) for name, value in random_rows(shape).items()}
    update = tf.function(lambda rows: strategy.run(model.update, (rows,))["finite"])
    answer(asker, lambda: float(update(batch)))


def our_loop(shape: dict[str, Any], asker: sides.Asker, empty: bool = False) -> None:
    """Runs it in the loop of the command, as many steps a call as are asked for."""
    settings, strategy, model = build(shape)
    import numpy as np
    import tensorflow as tf

    from electra_tf.training import loop

    rows = random_rows(shape)
    place = np.zeros((shape["rows"], loop.POSITION), np.int64)
    batches = tf.data.Dataset.from_tensors(rows | {"data_position": place}).repeat()
    if empty:
        model.update = lambda batch: model.zero_sums() | {"finite": tf.ones([])}
    data = loop.Data(lambda *_: batches, [], lambda: None)
    run = loop.Loop(model, strategy, data, settings.train)
    run.start(None)
    answer(asker, lambda: run.run(1, False), lambda steps: run.run(steps, False))


def empty(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs that loop around a model that does nothing."""
    our_loop(shape, asker, empty=True)


def products(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs the matrix products of our step, forward and backward, one by one."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    made: dict[tuple[int, ...], tf.Tensor] = {}

    def array(*sizes: int) -> tf.Tensor:
        if sizes not in made:
            made[sizes] = tf.constant(rng.normal(size=sizes), tf.float32)
        return made[sizes]

    def forward_and_back(*sizes: int) -> None:
        *outer, n, k, m = sizes
        x, w, dy = array(*outer, n, k), array(*outer, k, m), array(*outer, n, m)
        tf.matmul(x, w)
        tf.matmul(dy, w, transpose_b=True)
        tf.matmul(x, dy, transpose_a=True)

    micro, length = shape["micro_batches"], shape["length"]
    rows = shape["rows"] // micro
    tokens, places = rows * length, rows * shape["predictions"]

    def encoder(model: dict[str, Any]) -> None:
        width, wide = model["hidden_size"], model["intermediate_size"]
        heads = model["num_heads"]
        if model["embedding_size"] != width:
            forward_and_back(tokens, model["embedding_size"], width)
        for _ in range(model["num_layers"]):
            for _ in range(4):  # query, key, value, output
                forward_and_back(tokens, width, width)
            forward_and_back(rows, heads, length, width // heads, length)
            forward_and_back(rows, heads, length, length, width // heads)
            forward_and_back(tokens, width, wide)
            forward_and_back(tokens, wide, width)

    def step() -> None:
        for _ in range(micro):
            encoder(shape["generator"])
            encoder(shape["model"])
            table = shape["model"]["vocab_size"], shape["generator"]["embedding_size"]
            forward_and_back(places, shape["generator"]["hidden_size"], table[1])
            forward_and_back(places, table[1], table[0])
            forward_and_back(tokens, *2 * [shape["model"]["hidden_size"]])
            forward_and_back(tokens, shape["model"]["hidden_size"], 1)

    answer(asker, step)


def exported(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs our exported step by JAX (run_step.py)."""
    import run_step

    run = run_step.time_step(run_step.Step(shape["folder"]), repeats=1)
    answer(asker, run)


def google(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs the step of the 2020 code (google_step.py)."""
    import google_step

    answer(asker, google_step.build(shape, random_rows(shape)))


def gathered(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs the PyTorch composite's step."""
    composite(shape, asker, plain=False)


def plain(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Runs it with MLM logits at all positions and the default AdamW."""
    composite(shape, asker, plain=True)


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


def electra_pair(shape: dict[str, Any]) -> tuple[Any, Any]:
    """Returns generator and discriminator, which share the embedding block."""
    import torch
    import transformers

    torch.manual_seed(0)
    generator = transformers.ElectraForMaskedLM(_electra_config(shape["generator"]))
    discriminator = transformers.ElectraForPreTraining(_electra_config(shape["model"]))
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = (
        discriminator.electra.embeddings.word_embeddings.weight
    )
    return generator, discriminator


def composite(shape: dict[str, Any], asker: sides.Asker, plain: bool) -> None:
    """Runs both models of transformers in PyTorch."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator, discriminator = electra_pair(shape)
    both = torch.nn.ModuleList([generator, discriminator]).train().to(device)
    learner = torch.optim.AdamW(
        both.parameters(), lr=5e-4, weight_decay=0.01, fused=not plain
    )
    rows = {k: torch.from_numpy(v).to(device) for k, v in random_rows(shape).items()}
    ids, where = rows["token_ids"].long(), rows["mask_positions"].long()
    masked = ids.scatter(1, where, 103)
    segments, targets = rows["segment_ids"].long(), rows["mask_ids"].long()

    def losses(part: slice) -> torch.Tensor:
        at = torch.arange(len(ids[part]), device=device)[:, None], where[part]
        hidden = generator.electra(masked[part], token_type_ids=segments[part])[0]
        hidden = hidden if plain else hidden[at]
        logits = generator.generator_lm_head(generator.generator_predictions(hidden))
        logits = logits[at] if plain else logits
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

    answer(asker, _torch_step(both, learner, losses, shape))


def _torch_step(
    model: Any, learner: Any, losses: Callable[[slice], Any], shape: dict[str, Any]
) -> Callable[[], None]:
    """Returns the composite's update; on a GPU as its users run it."""
    import torch

    micro, size = shape["micro_batches"], shape["rows"] // shape["micro_batches"]
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    train = shape["settings"].get("train", {})  # Without what is as by default.
    in_bfloat16 = train.get("precision") == "mixed_bfloat16"
    if on_gpu:
        losses = torch.compile(losses)

    def step() -> None:
        for index in range(micro):
            with torch.autocast(device, torch.bfloat16, enabled=in_bfloat16):
                loss = losses(slice(index * size, (index + 1) * size)) / micro
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learner.step()
        learner.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.synchronize()

    return step


SIDES = {
    "ours": ours,
    "exported": exported,
    "gathered": gathered,
    "plain": plain,
    "products": products,
    "google": google,
    "loop": our_loop,
    "empty": empty,
}

if __name__ == "__main__":
    main()
