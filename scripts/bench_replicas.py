"""Times a step that several replicas share, on two cores of this machine.

    python scripts/bench_replicas.py --config=configs/small.yaml \
        --set train.batch_size=32

one: one replica on one core, with half the rows.
streams: one replica on two cores, as commands run it on a CPU.
mirrored: two replicas in one process, MirroredStrategy over two logical CPUs.
workers: two processes on a core each, MultiWorkerMirroredStrategy (TF_CONFIG).

All stay alive and run in turn. "efficiency" is the tokens per second over twice those
of `one`: 1 would be replicas that cost each other nothing.
"""

import argparse
import json
import os
import socket
import statistics
import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import bench_step
import sides

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("one", "streams", "mirrored", "workers")


def main() -> None:
    """Runs all sides in turn, or is one of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", default=str(ROOT / "configs/small.yaml"))
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="in a turn")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        sides.serve(train)
        return
    sys.path.insert(0, str(ROOT))
    from electra_tf import config

    settings = config.load(config.PretrainConfig, arguments.config, arguments.set)
    shape = bench_step.shape_of(settings)
    asked = {kind: Team(kind, shape) for kind in KINDS}
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(arguments.turns):
        for kind, team in asked.items():
            seconds = team.ask(arguments.steps)
            tokens = team.rows * shape["length"] * arguments.steps
            rates[kind].append(tokens / seconds)
        shown = "  ".join(f"{kind} {each[-1]:,.0f}" for kind, each in rates.items())
        print(f"turn {turn + 1}: tokens/s {shown}", flush=True)
    twice = [2 * rate for rate in rates["one"]]
    for kind, found in rates.items():
        line = f"{kind}: median {statistics.median(found):,.0f} tokens/s"
        if kind != "one":
            line += f", efficiency {sides.ratios(found, twice)}"
        print(line)


class Team:
    """The processes of one kind, asked at the same time."""

    def __init__(self, kind: str, shape: dict[str, Any]) -> None:
        """Starts them and waits until all are ready."""
        self.rows = shape["rows"] // 2 if kind == "one" else shape["rows"]
        members = [shape | {"kind": kind, "of_replica": shape["rows"] // 2}]
        if kind == "workers":
            addresses = [f"localhost:{_free_port()}" for _ in range(2)]
            members = [
                members[0] | {"worker": index, "addresses": addresses}
                for index in range(2)
            ]
        self._pool = futures.ThreadPoolExecutor(len(members))
        self._sides = list(self._pool.map(self._start, members))

    def ask(self, steps: int) -> float:
        """Returns the seconds that the slowest took for so many steps."""
        return max(self._pool.map(lambda side: float(side.ask(steps)), self._sides))

    @staticmethod
    def _start(member: dict[str, Any]) -> sides.Side:
        return sides.Side(sys.executable, __file__, member["kind"], member)


def _free_port() -> int:
    with socket.create_server(("localhost", 0)) as server:
        return int(server.getsockname()[1])


def train(shape: dict[str, Any], asker: sides.Asker) -> None:
    """Makes updates as one replica, or as the replicas of one process."""
    kind, cores = shape["kind"], sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    if kind in ("one", "workers"):
        os.sched_setaffinity(0, {cores[shape.get("worker", 0)]})
    if kind == "workers":
        task = {"type": "worker", "index": shape["worker"]}
        cluster = {"worker": shape["addresses"]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    sys.path.insert(0, str(ROOT))
    import tensorflow as tf

    from electra_tf import config
    from electra_tf.system import cores
    from electra_tf.training import distribution, train_step

    streams = cores.share_out() if kind == "streams" else 1
    if kind == "mirrored":
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * 2,
        )
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = distribution.strategy()
    settings = config.PretrainConfig.model_validate(shape["settings"])
    settings = settings.with_streams(streams)
    with strategy.scope():
        model = train_step.build(settings)
    rows = shape["rows"] if kind == "streams" else shape["of_replica"]
    made = bench_step.random_rows(shape | {"rows": rows})
    batch = strategy.experimental_distribute_values_from_function(
        lambda context: {name: tf.constant(value) for name, value in made.items()}
    )

    @tf.function(autograph=False)
    def update(batch: Any) -> tf.Tensor:
        finite = strategy.run(model.update, (batch,))["finite"]
        return strategy.experimental_local_results(finite)[0]

    bench_step.answer(asker, lambda: float(update(batch)))


if __name__ == "__main__":
    main()
