"""Runs the step of `export_step.py` through JAX alone: TPU, GPU or CPU, no TensorFlow.

    python scripts/run_step.py STEP --tpu=v5e:2x2   compiles for a TPU that is not there
    python scripts/run_step.py STEP --time          step time on the device at hand
    python scripts/run_step.py STEP --train=OUT     trains on STEP/rows.npz

The first needs the `libtpu` wheel and nothing else. It prints what the compiler says of
memory, and what the step is made of. The last writes OUT/metrics.jsonl and
OUT/state.npz, which `export_step.py --state` takes back. Tried with jax 0.10.2, 0.11.2.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib.mlir import ir
from jax._src.lib.mlir.dialects import func, hlo
from jax.extend.core import Primitive
from jaxlib import _jax

jax.config.update("jax_enable_x64", True)  # The number of updates is an int64.

# Dense bf16 matrix products a second, by the makers' data sheets.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "TPU v5 lite": 197e12}
DTYPES = {"f32": np.dtype("float32"), "i64": np.dtype("int64")}
OUTSIDE = ("infeed", "outfeed", "send", "recv", "custom_call")


class Step:
    """An exported step: `step(*state, *batch)` returns sums, then the new state."""

    def __init__(self, folder: str) -> None:
        """Reads it; compiles nothing."""
        self.folder = Path(folder)
        self.about = json.loads((self.folder / "step.json").read_text())
        proto = gzip.decompress((self.folder / "step.hlo.gz").read_bytes())
        self._module = _jax.mlir.hlo_to_stablehlo(proto)
        self.batch = {n: jax.ShapeDtypeStruct(s, d) for n, d, s in self.about["batch"]}
        self.state = {n: jax.ShapeDtypeStruct(s, d) for n, d, s in self.about["state"]}
        self._results = self._result_types()
        self._primitive = Primitive("exported_step")
        self._primitive.multiple_results = True
        self._primitive.def_abstract_eval(lambda *_: self._results)
        mlir.register_lowering(self._primitive, self._lower)

    def __call__(
        self, state: dict[str, Any], batch: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Makes an update; to be traced by `jax.jit`, the state donated."""
        arguments = [batch[name] for name in self.batch]
        arguments += [state[name] for name in self.state]
        results = self._primitive.bind(*arguments)
        names = self.about["sums"]
        return (
            dict(zip(self.state, results[len(names) :], strict=True)),
            dict(zip(names, results[: len(names)], strict=True)),
        )

    def parse(self, context: ir.Context) -> ir.Module:
        """Returns the module, without the copies that mark donated arguments."""
        module = ir.Module.parse(self._module, context)
        for op in operations(module):
            if op.operation.name == "mhlo.copy":
                op.result.replace_all_uses_with(op.operands[0])
                op.operation.erase()
        attributes = module.operation.attributes
        for name in [getattr(found, "name", found) for found in attributes]:
            if name.startswith("mhlo."):
                del attributes[name]
        return module

    def fresh_state(self) -> dict[str, np.ndarray]:
        """Returns the weights that were exported; else random ones of like size."""
        file, rng = self.folder / "state.npz", np.random.default_rng(0)
        found = dict(np.load(file)) if file.exists() else {}

        def make(name: str, kind: jax.ShapeDtypeStruct) -> np.ndarray:
            if name in found:
                return found[name]
            if name == "updates" or ":" in name or name.endswith(("bias", "beta")):
                return np.zeros(kind.shape, kind.dtype)
            if name.endswith("gamma"):
                return np.ones(kind.shape, kind.dtype)
            return (0.02 * rng.standard_normal(kind.shape)).astype(kind.dtype)

        return {name: make(name, kind) for name, kind in self.state.items()}

    def random_batch(self) -> dict[str, np.ndarray]:
        """Returns rows in which every position is real."""
        rng, about = np.random.default_rng(0), self.about
        rows, length, places = about["rows"], about["length"], about["predictions"]
        ids = rng.integers(5, about["model"]["vocab_size"], (rows, length), np.int32)
        where = np.argsort(rng.random((rows, length)), axis=1)[:, :places]
        where = np.sort(where, axis=1).astype(np.int32)
        fields = {
            "token_ids": ids,
            "segment_ids": np.tile(np.arange(length) > length // 2, (rows, 1)),
            "example_ids": np.ones((rows, length)),
            "position_ids": np.tile(np.arange(length), (rows, 1)),
            "mask_positions": where,
            "mask_ids": np.take_along_axis(ids, where, axis=1),
            "mask_weights": np.ones((rows, places)),
            "sampling_noise": rng.random((rows, places)),
            "seed": np.array([7, 7]),
        }
        return {n: fields[n].astype(kind.dtype) for n, kind in self.batch.items()}

    def matrix_flops(self) -> float:
        """Counts the floating-point operations of the matrix products."""
        total = 0.0
        module = self.parse(mlir.make_ir_context())
        for op in operations(module):
            kind = op.operation.name
            if kind not in ("stablehlo.dot", "stablehlo.dot_general"):
                continue
            left = ir.RankedTensorType(op.operands[0].type).shape
            out = ir.RankedTensorType(op.results[0].type).shape
            summed = [len(left) - 1]
            if kind == "stablehlo.dot_general":
                numbers = hlo.DotDimensionNumbers(
                    op.attributes["dot_dimension_numbers"]
                )
                summed = numbers.lhs_contracting_dimensions
            total += 2.0 * np.prod(out) * np.prod([left[axis] for axis in summed])
        return total * self.about["micro_batches"]  # They stand in a loop, once.

    def audit(self) -> dict[str, int]:
        """Counts operations: all, dynamic ones, those that leave the device."""
        module = self.parse(mlir.make_ir_context())
        found = {"operations": 0, "dynamic_shapes": 0, "host_calls": 0}
        for op in operations(module):
            found["operations"] += 1
            found["host_calls"] += op.operation.name.split(".")[-1] in OUTSIDE
            for result in op.results:
                kind = ir.RankedTensorType(result.type)
                found["dynamic_shapes"] += not kind.has_static_shape
        return found

    def _result_types(self) -> list[jax.core.ShapedArray]:
        module = self.parse(mlir.make_ir_context())  # Held while it is read.
        types = [ir.RankedTensorType(kind) for kind in main_of(module).type.results]
        return [
            jax.core.ShapedArray(tuple(kind.shape), DTYPES[str(kind.element_type)])
            for kind in types
        ]

    def _lower(self, context: Any, *operands: ir.Value) -> list[ir.Value]:
        outer = context.module_context
        module = self.parse(outer.context)
        kinds = list(main_of(module).type.results)
        name = mlir.merge_mlir_modules(
            outer.module, "step", module, dst_symtab=outer.symbol_table
        )
        call = func.CallOp(kinds, ir.FlatSymbolRefAttr.get(name), list(operands))
        return list(call.results)


def main_of(module: ir.Module) -> Any:
    """Returns the function that is the step."""
    return next(op for op in module.body.operations if op.name.value == "main")


def operations(module: ir.Module) -> list[Any]:
    """Lists all operations, those in regions too."""
    found = []

    def walk(op: Any) -> None:
        for region in op.regions:
            for block in region:
                for inner in block:
                    found.append(inner)
                    walk(inner)

    walk(module.operation)
    return found


def compile_for_tpu(step: Step, topology: str) -> None:
    """Compiles for one core of a TPU that need not be there, and says what came out."""
    from jax.experimental import topologies

    chips = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    place = jax.sharding.SingleDeviceSharding(chips.devices[0])

    def on_chip(kinds: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.ShapeDtypeStruct(kind.shape, kind.dtype, sharding=place)
            for name, kind in kinds.items()
        }

    began = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=0).lower(
        on_chip(step.state), on_chip(step.batch)
    )
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    print(
        json.dumps(
            {
                "topology": topology,
                "device": chips.devices[0].device_kind,
                "compile_seconds": round(time.perf_counter() - began, 1),
                "arguments_mb": round(memory.argument_size_in_bytes / 1e6),
                "temporary_mb": round(memory.temp_size_in_bytes / 1e6),
                "code_mb": round(memory.generated_code_size_in_bytes / 1e6),
                "matrix_gflops": round(step.matrix_flops() / 1e9, 1),
                **step.audit(),
            }
        )
    )


def time_step(step: Step, repeats: int) -> Callable[[], float]:
    """Compiles for the device at hand; returns what times so many steps, in seconds."""
    update = jax.jit(step, donate_argnums=0)
    batch = jax.device_put(step.random_batch())
    held = [jax.device_put(step.fresh_state())]

    def run() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            held[0], sums = update(held[0], batch)
        assert float(sums["finite"]) == 1.0, "a loss or gradient is not finite"
        return (time.perf_counter() - began) / repeats

    run()
    return run


def report_time(step: Step, repeats: int) -> None:
    """Prints the median step time and what share of the device's peak that is."""
    began = time.perf_counter()
    run = time_step(step, repeats)
    first = time.perf_counter() - began
    seconds = statistics.median(run() for _ in range(5))
    device = jax.devices()[0]
    flops, rows = step.matrix_flops(), step.about["rows"]
    peak = next((p for n, p in PEAKS.items() if n in device.device_kind), None)
    memory = device.memory_stats() or {}
    print(
        json.dumps(
            {
                "device": device.device_kind,
                "rows": rows,
                "length": step.about["length"],
                "milliseconds": round(1e3 * seconds, 2),
                "sequences_per_second": round(rows / seconds),
                "tokens_per_second": round(rows * step.about["length"] / seconds),
                "matrix_tflops_per_second": round(flops / seconds / 1e12, 1),
                "share_of_peak": peak and round(flops / seconds / peak, 3),
                "peak_memory_mb": round(memory.get("peak_bytes_in_use", 0) / 1e6),
                "first_seconds": round(first, 1),
            }
        ),
        flush=True,
    )


def train(
    step: Step, output: Path, file_of_rows: Path, steps: int, seconds: float
) -> None:
    """Trains on packed rows; writes metrics as it goes and the weights at the end."""
    output.mkdir(parents=True, exist_ok=True)
    about = step.about
    with np.load(file_of_rows) as file:
        rows = {n: jax.device_put(file[n].astype(np.int32)) for n in file.files}
    many, size = len(next(iter(rows.values()))), about["rows"]
    state = jax.device_put(step.fresh_state())
    every = about["log_every_steps"]

    def one(state: Any, place: tuple[Any, Any]) -> tuple[Any, Any]:
        chosen, number = place
        batch = {n: rows[n][chosen] for n in rows}
        seed = jax.numpy.stack([jax.numpy.int32(about["seed"]), number])
        return step(state, batch | {"seed": seed.astype(np.int32)})

    @jax.jit
    def some(state: Any, order: Any, first: Any) -> tuple[Any, Any]:
        numbers = first + jax.numpy.arange(len(order), dtype=np.int32)
        state, sums = jax.lax.scan(one, state, (order, numbers))
        return state, jax.tree.map(lambda x: x.sum(0), sums)

    rng, left = np.random.default_rng(about["seed"]), np.zeros(0, np.int64)
    done, began = int(state["updates"]), time.perf_counter()
    with (output / "metrics.jsonl").open("a") as metrics:
        while done < steps and time.perf_counter() - began < seconds:
            count = min(every, steps - done)
            while len(left) < count * size:
                left = np.concatenate([left, rng.permutation(many)])
            order, left = (
                left[: count * size].reshape(count, size),
                left[count * size :],
            )
            state, sums = some(state, order.astype(np.int32), np.int32(done))
            done += count
            sums = {n: np.asarray(v).tolist() for n, v in sums.items()}
            if sums["finite"] < count:
                sys.exit(f"step {done - count} to {done}: a loss is not finite")
            line = {
                "step": done,
                "split": "train",
                "seconds": round(time.perf_counter() - began, 2),
                **summary(sums),
            }
            metrics.write(json.dumps(line) + "\n")
            if (done // every) % 20 == 0:
                print(json.dumps(line), flush=True)
    kept = {n: np.asarray(v) for n, v in state.items() if ":" not in n}
    np.savez(output / "state.npz", **kept)
    speed = done * size * about["length"] / (time.perf_counter() - began)
    print(f"{done} steps, {speed:,.0f} positions a second: {output}/state.npz")


def summary(sums: dict[str, Any]) -> dict[str, float]:
    """Divides the sums that a look at the curve needs."""
    found = {
        f"{name}_loss": sums[f"{name}_loss"] / max(sums[f"{name}_count"], 1.0)
        for name in ("mlm", "rtd")
        if f"{name}_loss" in sums
    }
    found["mlm_accuracy"] = sums["mlm_correct"] / max(sums["mlm_count"], 1.0)
    if "rtd_histogram" in sums:
        originals, replaced = np.array(sums["rtd_histogram"])
        below = np.cumsum(originals) - originals / 2.0
        pairs = originals.sum() * replaced.sum()
        found["rtd_auc"] = float((replaced * below).sum() / max(pairs, 1.0))
        found["replaced_rate"] = sums["replaced"] / sums["rtd_count"]
    found["gradient_norm"] = sums["gradient_norm"] / sums["steps"]
    return found


def main() -> None:
    """Compiles, times or trains."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("step", nargs="+", help="folder that export_step.py wrote")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tpu", help="topology to compile for, as v5e:2x2")
    what.add_argument("--time", action="store_true")
    what.add_argument("--train", help="folder for metrics and weights")
    parser.add_argument("--repeats", type=int, default=20, help="steps to time at once")
    parser.add_argument("--rows", help="to train on; default: STEP/rows.npz")
    parser.add_argument(
        "--steps", type=int, help="where to stop; default: the config's"
    )
    parser.add_argument("--seconds", type=float, default=1e9, help="when to stop")
    arguments = parser.parse_args()
    for folder in arguments.step:
        step = Step(folder)
        if arguments.tpu:
            compile_for_tpu(step, arguments.tpu)
        elif arguments.time:
            report_time(step, arguments.repeats)
        else:
            steps = arguments.steps or step.about["steps"]
            rows = Path(arguments.rows or step.folder / "rows.npz")
            train(step, Path(arguments.train), rows, steps, arguments.seconds)


if __name__ == "__main__":
    main()
