"""What a run's step costs, and its preset at a point on the way.

    python scripts/study_work.py --count=FILE --config=CONFIG --set section.field=value
    python scripts/study_work.py --preset=FOLDER --workdir=RUN --step=1000

The first writes FILE: the floating-point operations of the matrix products in the step
as XLA is given it (forward and backward pass and update of any objective, one's own
too). The second writes the preset of a checkpoint that the run has kept.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import export_step
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.batches import pipeline
from electra_tf.network import tracing
from electra_tf.objectives import registry
from electra_tf.system import durable
from electra_tf.training import checkpoint, initialization, train_step, workdir
from electra_tf.weights import preset_writer

# A computation opens with its name, an instruction with what it defines.
_HEAD = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\) -> .*\{$")
_LINE = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$")
_SHAPE = re.compile(r"\w+\[([\d,]*)\]")
_OPERAND = re.compile(r"(?:\w+\[([\d,]*)\]\S* )?%?([\w.-]+)")
_CALLED = re.compile(
    r"(?:to_apply|calls|body|true_computation|false_computation)=%?([\w.-]+)"
)


def count(settings: config.PretrainConfig) -> dict[str, Any]:
    """Returns the operations and the positions of a step.

    Raises:
        UserError: the data or what the run starts from are not there.
    """
    settings = resolved(settings)
    flops = matrix_flops(compiled(settings), settings.train.accumulation_steps)
    size = settings.train.batch_size * settings.data.row_tokens
    return {"flops": flops, "positions": size}


def resolved(settings: config.PretrainConfig) -> config.PretrainConfig:
    """Returns settings with the data's vocabulary and the sizes of what is there."""
    source = pipeline.open_source(settings.data)
    model = settings.model.model_copy(update={"vocab_size": source.vocab.size})
    settings = settings.model_copy(update={"model": model}).with_streams(1)
    declared = registry.declare(settings)
    origins = initialization.open_sources(declared, settings.train)
    if not origins:
        return settings
    return initialization.with_architecture(settings, declared, origins)


def compiled(settings: config.PretrainConfig) -> str:
    """Returns the update as XLA is given it, as text."""
    learner = train_step.build(settings)
    fields = export_step.batch_fields(settings)
    batch = {name: tf.zeros(shape, dtype) for name, (shape, dtype) in fields.items()}
    step = tf.function(learner.update, jit_compile=True, autograph=False)
    with tracing.inlined_blocks():
        step.get_concrete_function(batch)
        return str(step.experimental_get_compiler_ir(batch)(stage="hlo"))


def matrix_flops(text: str, micro_batches: int = 1) -> float:
    """Counts the floating-point operations of the matrix products of a module.

    Args:
        text: an HLO module.
        micro_batches: how often loops go round that have products in them: there is
            but one, over micro-batches.
    """
    own: dict[str, float] = {}
    called: dict[str, list[tuple[str, int]]] = {}
    entry = ""
    for name, is_entry, lines in computations(text):
        entry = name if is_entry else entry
        shapes: dict[str, list[int]] = {}
        own[name], called[name] = 0.0, []
        for defined, shape, operation, rest in lines:
            if found := _SHAPE.match(shape):
                shapes[defined] = numbers(found[1])
            if operation == "dot":
                own[name] += dot_flops(shapes[defined], rest, shapes)
            times = micro_batches if operation == "while" else 1
            called[name] += [(other, times) for other in _CALLED.findall(rest)]
            for several in re.findall(r"branch_computations=\{([^}]*)\}", rest):
                called[name] += [(n, 1) for n in re.findall(r"[\w.-]+", several)]

    def total(name: str) -> float:
        inner = sum(times * total(other) for other, times in called[name])
        return own[name] + inner

    return total(entry)


def computations(
    text: str,
) -> Iterator[tuple[str, bool, list[tuple[str, str, str, str]]]]:
    """Yields name, whether it is the entry, and instructions of each computation.

    An instruction is what it defines, its shape, its operation, its operands and more.
    """
    name, is_entry, lines = "", False, []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name, is_entry, lines = head[2], bool(head[1]), []
        elif line.startswith("}"):
            yield name, is_entry, lines
        elif found := _LINE.match(line):
            lines.append((found[1], found[2], found[3], found[4]))


def dot_flops(shape: list[int], rest: str, shapes: dict[str, list[int]]) -> float:
    """Counts a product's multiplications and additions."""
    left = _OPERAND.match(rest)
    summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    assert left, rest
    assert summed, rest
    sizes = shapes[left[2]] if left[1] is None else numbers(left[1])
    flops = 2.0
    for size in (*shape, *(sizes[axis] for axis in numbers(summed[1]))):
        flops *= size
    return flops


def numbers(text: str) -> list[int]:
    """Returns [3, 4] for "3,4"."""
    return [int(part) for part in text.split(",") if part]


def write_preset(folder: str, run: str, step: int) -> None:
    """Writes the preset of a run as it was at a step.

    Raises:
        UserError: the run has no checkpoint of it, or not its data.
    """
    settings = workdir.read_settings(run)
    source = pipeline.open_source(settings.data)
    files = sorted(Path(run, "checkpoints").glob(f"ckpt-{step}.*"))
    if not files:
        raise errors.UserError(
            f"{run} has no checkpoint of step {step}; keep all: --set run.keep=null"
        )
    model = train_step.build(settings)
    with tempfile.TemporaryDirectory() as scratch:  # With this checkpoint alone.
        (Path(scratch) / "checkpoints").mkdir()
        for file in files:
            (Path(scratch) / "checkpoints" / file.name).symlink_to(file.resolve())
        checkpoint.Checkpoints(scratch, model).restore(print)
    learned = model.objective
    kept = {n: one for n, one in learned.declared.networks.items() if one.saved_as}
    preset_writer.save(
        folder,
        {one.saved_as: one.kept(learned.networks[n]) for n, one in kept.items()},
        {one.saved_as: one.config for one in kept.values()},
        source.vocab.tokens,
        source.tokenizer,
        {
            "settings": settings.model_dump(),
            "steps": step,
            "versions": workdir.versions(),
            "commit": workdir.commit(),
        },
        roles={one.saved_as: one.role for one in kept.values()},
    )


def main() -> None:
    """Counts, or writes a preset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--count", help="file to write")
    what.add_argument("--preset", help="folder to write")
    parser.add_argument("--config", help="of the run that is counted")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--workdir", help="of the run whose preset is written")
    parser.add_argument("--step", type=int)
    arguments = parser.parse_args()
    if arguments.preset:
        write_preset(arguments.preset, arguments.workdir, arguments.step)
        return
    settings = config.load(config.PretrainConfig, arguments.config, arguments.set)
    durable.write_json(arguments.count, count(settings) | {"settings": arguments.set})


if __name__ == "__main__":
    try:
        main()
    except errors.UserError as error:
        sys.exit(f"error: {error}")
