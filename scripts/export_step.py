"""Writes the compiled training step of any config, to be run without TensorFlow.

    python scripts/export_step.py --config=configs/small.yaml --output=steps/small
    python scripts/export_step.py --config=CONFIG --output=STEP --rows --weights
    python scripts/export_step.py --config=CONFIG --state=OUT/state.npz --workdir=RUN

The first writes `step.hlo.gz`, the whole update as XLA compiles it (forward, backward,
clip, AdamW), and `step.json`, which names its arguments and results; `run_step.py` runs
it on TPU, GPU and CPU with JAX alone. `--rows` adds one epoch of packed rows of
`data.records`; the step then hides their tokens itself, afresh every time. `--weights`
adds the weights to start from. The last form takes trained weights back: it makes a
workdir with a checkpoint at their step, from which `electra_tf.pretrain` goes on.
"""

import argparse
import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.batches import masking, pipeline
from electra_tf.network import models, tracing
from electra_tf.objectives import corruption
from electra_tf.training import checkpoint, distribution, train_step, workdir

ROW_FIELDS = models.ROW_FIELDS


def main(arguments: argparse.Namespace) -> None:
    """Writes a step, or takes its weights back."""
    settings = config.load(config.PretrainConfig, arguments.config, arguments.set)
    source = None
    if arguments.rows or arguments.state:
        source = pipeline.open_source(settings.data)
        model = settings.model.model_copy(update={"vocab_size": source.vocab.size})
        settings = settings.model_copy(update={"model": model})
    if settings.train.recompute and arguments.output:
        sys.exit("train.recompute=true: an exported step cannot; drop the setting")
    distribution.set_precision(settings.train.precision)
    learner = train_step.build(settings)
    if arguments.state:
        take_back(learner, settings, source, arguments.state, arguments.workdir)
        return
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    write_step(learner, settings, source, output)
    if source:
        np.savez_compressed(output / "rows.npz", **read_rows(source, settings))
    if arguments.weights:
        weights = {
            name: variable.numpy()
            for name, variable in state_of(learner).items()
            if ":" not in name
        }
        np.savez_compressed(output / "state.npz", **weights)
    print(f"{output}: {', '.join(sorted(file.name for file in output.iterdir()))}")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--output", help="folder of the step")
    parser.add_argument("--rows", action="store_true", help="add an epoch of rows")
    parser.add_argument("--weights", action="store_true", help="add fresh weights")
    parser.add_argument("--state", help="trained weights to take back")
    parser.add_argument("--workdir", help="where to, with --state")
    arguments = parser.parse_args(argv)
    if bool(arguments.state) != bool(arguments.workdir):
        parser.error("--state and --workdir go together")
    if bool(arguments.state) == bool(arguments.output):
        parser.error("name either --output, or --state and --workdir")
    return arguments


def write_step(
    learner: train_step.Pretrainer,
    settings: config.PretrainConfig,
    source: pipeline.Source | None,
    output: Path,
) -> None:
    """Compiles the update and writes it with the names of what goes in and out."""
    batch = {
        name: tf.zeros(shape, dtype)
        for name, (shape, dtype) in batch_fields(settings).items()
    }
    step = learner.update
    if source is not None:
        step = masking_step(learner, settings, source)
        batch = {name: batch[name] for name in ROW_FIELDS}
        batch["seed"] = tf.zeros([2], tf.int32)
    compiled = tf.function(step, jit_compile=True, autograph=False)
    with tracing.inlined_blocks():  # JAX takes modules of one function.
        traced = compiled.get_concrete_function(batch)
    hlo = compiled.experimental_get_compiler_ir(batch)(stage="hlo_serialized")
    (output / "step.hlo.gz").write_bytes(gzip.compress(hlo))
    variables = state_of(learner)
    names = {id(variable.handle): name for name, variable in variables.items()}
    state = [names[id(handle)] for handle in traced.captured_inputs]
    description = {
        # The order of arguments and results: TensorFlow sorts a dict by its keys.
        "batch": [
            [n, batch[n].dtype.name, batch[n].shape.as_list()] for n in sorted(batch)
        ],
        "state": [
            [name, variables[name].dtype.name, variables[name].shape.as_list()]
            for name in state
        ],
        "sums": sorted(traced.structured_outputs),
        "steps": settings.train.steps,
        "log_every_steps": settings.run.log_every_steps,
        "seed": settings.train.seed,
        "rows": settings.train.batch_size,
        "micro_batches": settings.train.accumulation_steps,
        "length": settings.data.row_tokens,
        "predictions": settings.data.max_predictions,
        "model": settings.model.model_dump(),
        "generator": settings.generator.resolve(settings.model).model_dump(),
        "settings": settings.model_dump(),
        "versions": workdir.versions(),
        "commit": workdir.commit(),
    }
    (output / "step.json").write_text(json.dumps(description, indent=1) + "\n")


def batch_fields(
    settings: config.PretrainConfig,
) -> dict[str, tuple[list[int], tf.DType]]:
    """Returns shape and dtype of each field of a masked batch."""
    rows = [settings.train.batch_size, settings.data.row_tokens]
    hidden = [settings.train.batch_size, settings.data.max_predictions]
    return {
        **dict.fromkeys(ROW_FIELDS, (rows, tf.int32)),
        **dict.fromkeys(("mask_positions", "mask_ids"), (hidden, tf.int32)),
        **dict.fromkeys(("mask_weights", "sampling_noise"), (hidden, tf.float32)),
    }


def masking_step(
    learner: train_step.Pretrainer,
    settings: config.PretrainConfig,
    source: pipeline.Source,
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Returns a step that hides the tokens of plain rows by `seed`, int32 [2]."""
    data, vocab = settings.data, source.vocab
    if data.whole_word_masking:
        sys.exit("--rows: whole words are hidden by the input pipeline only")

    def step(rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch = {name: rows[name] for name in ROW_FIELDS}
        special = (vocab.cls_id, vocab.sep_id, vocab.mask_id)
        masked = masking.hide_tokens(
            batch["token_ids"],
            masking.find_candidates(batch["token_ids"], batch["example_ids"], special),
            rate=data.mask_rate,
            max_predictions=data.max_predictions,
            mask_token_rate=data.mask_token_rate,
            mask_id=vocab.mask_id,
            seed=rows["seed"],
        )
        noise = tf.random.stateless_uniform(
            tf.shape(masked.mask_ids), rows["seed"] + tf.constant([0, 1 << 30])
        )
        return learner.update(batch | masked._asdict() | {"sampling_noise": noise})

    return step


def state_of(learner: train_step.Pretrainer) -> dict[str, tf.Variable]:
    """Names all that an update changes: weights, moments (after a colon), updates.

    Which moments there are is the optimizer's to say.
    """
    named: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    for network, model in learner.objective.networks.items():
        for variable in model.weights:
            if id(variable) in seen:
                continue  # Shared with another network, and named there.
            seen.add(id(variable))
            name = f"{network}/{variable.path}"
            named[name] = variable.value
            for moment, slot in learner.learner.moments(variable).items():
                named[f"{name}:{moment}"] = slot.value
    return named | {n: v.value for n, v in learner.learner.counters().items()}


def read_rows(
    source: pipeline.Source, settings: config.PretrainConfig
) -> dict[str, np.ndarray]:
    """Reads one epoch of packed rows, with nothing hidden: [N, L] each."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ROW_FIELDS}
    for batch in pipeline.train_batches(
        source,
        settings.data,
        seed=settings.train.seed,
        batch_rows=settings.data.block_rows,
    ):
        if batch["data_position"][0, 0] > 0:  # The next epoch.
            break
        batch["token_ids"] = corruption.fill_in(
            batch["token_ids"],
            batch["mask_positions"],
            batch["mask_weights"],
            batch["mask_ids"],
        )
        for name, parts in found.items():
            small = np.uint16 if settings.model.vocab_size < 1 << 16 else np.int32
            parts.append(batch[name].numpy().astype(small))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def take_back(
    learner: train_step.Pretrainer,
    settings: config.PretrainConfig,
    source: pipeline.Source,
    file: str,
    folder: str,
) -> None:
    """Makes a workdir of trained weights: a checkpoint, and the metrics beside them.

    Moments that the file lacks start from 0.
    """
    found = np.load(file)
    state = state_of(learner)
    missing = [n for n in state if n not in found and ":" not in n]
    unknown = sorted(set(found) - set(state))
    if missing or unknown:
        sys.exit(
            f"{file} is not of this config: missing {missing[:3]}, unknown "
            f"{unknown[:3]}; name the config it was made with"
        )
    for name in found:
        state[name].assign(found[name])
    facts = source.identity | {"objective": settings.objective.name}
    workdir.open_workdir(
        folder, settings, facts, is_chief=True, devices=["an exported step's"]
    )
    metrics = Path(file).with_name("metrics.jsonl")
    if metrics.exists():
        shutil.copy(metrics, folder)
    step = int(found["updates"])
    checkpoint.Checkpoints(folder, learner).save(step, [(0, 0, 0, 0)])
    print(f"{folder}/checkpoints/ckpt-{step}: go on with electra_tf.pretrain")


if __name__ == "__main__":
    try:
        main(parse())
    except errors.UserError as error:
        sys.exit(f"error: {error}")
