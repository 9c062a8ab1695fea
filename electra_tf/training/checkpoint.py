"""A run is saved, kept and taken up again: weights, optimizer, step, place in the data.

In:   the pretrainer and the data position of every input worker.
Out:  workdir/checkpoints/ckpt-<step>, newest wins; a damaged one falls back to the
      one before.

Precedence at start-up: the workdir's own checkpoint, then train.init_from, then
random weights.
"""

import contextlib
import glob
import json
import os
import re
import shutil
from collections.abc import Callable

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.system import durable
from electra_tf.training import groups, train_step

# Where each input worker reads on: (epoch, group, block, row).
Positions = list[tuple[int, ...]]


class _PlainState(tf.train.experimental.PythonState):
    """The data positions, as JSON inside the checkpoint: all or nothing is read."""

    def __init__(self) -> None:
        self.positions: Positions = []

    def serialize(self) -> str:
        return json.dumps(self.positions)

    def deserialize(self, string_value: str | bytes) -> None:
        self.positions = [tuple(position) for position in json.loads(string_value)]


class Checkpoints:
    """The checkpoints of one workdir."""

    def __init__(
        self, workdir: str, model: train_step.Pretrainer, keep: int | None = None
    ) -> None:
        """Looks only; makes nothing.

        Args:
            workdir: of the run.
            model: whose weights and optimizer are saved.
            keep: newest so many; None keeps all.

        Raises:
            UserError: TensorFlow could not read what it would write there.
        """
        if re.search(r"[\[\\]", os.path.abspath(workdir)):
            raise errors.UserError(
                f"--workdir={workdir}: TensorFlow opens no checkpoint in a path with [ "
                "or \\ in it; name another folder"
            )
        self.folder = os.path.join(workdir, "checkpoints")
        self._draft = os.path.join(self.folder, "saving")
        self._keep, self._state = keep, _PlainState()
        self._unreadable: set[int] = set()  # steps that `restore` passed over
        self._checkpoint = tf.train.Checkpoint(
            networks={
                name: _weights_and_moments(network, model.learner)
                for name, network in model.objective.networks.items()
            },
            data=self._state,
            **{name: v.value for name, v in model.learner.counters().items()},
        )

    def steps(self) -> list[int]:
        """Returns the steps there are checkpoints of, oldest first."""
        files = glob.glob(os.path.join(glob.escape(self.folder), "ckpt-*.index"))
        found = [re.fullmatch(r"ckpt-(\d+)\.index", os.path.basename(f)) for f in files]
        return sorted(int(match[1]) for match in found if match)

    def save(self, step: int, positions: Positions) -> None:
        """Writes a checkpoint and reads it back, then removes those beyond `keep`.

        Those that `restore` could not read go first: they are no reason to remove one
        that can be read.

        Raises:
            UserError: a full disk or a folder that cannot be written. The checkpoints
                that were there stay as they were.
        """
        self._state.positions = positions
        self.clear()
        # TensorFlow fills an index in place: one that a kill cuts short would count.
        try:
            durable.make_folder(self._draft)
            draft = os.path.join(self._draft, f"ckpt-{step}")
            self._checkpoint.write(draft)
            durable.sync_tree(self._draft)
            _read_back(draft)
            for file in sorted(os.listdir(self._draft)):  # Data, then the index.
                source = os.path.join(self._draft, file)
                os.replace(source, os.path.join(self.folder, file))
                durable.sync(self.folder)
        except (tf.errors.OpError, OSError) as error:
            self._remove(step)
            raise errors.UserError(
                f"cannot save {self._prefix(step)}: {errors.reason(error)}; free some "
                "space and run the same command again: it goes on from step "
                f"{max(self.steps(), default=0)}"
            ) from None
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)
        if self._keep:
            good = [one for one in self.steps() if one not in self._unreadable - {step}]
            for old in set(self.steps()) - set(good[-self._keep :]):
                self._remove(old)
        self._unreadable.clear()

    def clear(self) -> None:
        """Removes what a kill left: a draft, and data whose index is gone."""
        shutil.rmtree(self._draft, ignore_errors=True)
        kept = {f"ckpt-{step}" for step in self.steps()}
        for file in glob.glob(os.path.join(glob.escape(self.folder), "ckpt-*.data-*")):
            if os.path.basename(file).split(".")[0] not in kept:
                with contextlib.suppress(OSError):
                    os.remove(file)

    def restore(self, say: Callable[[str], None]) -> tuple[int, Positions] | None:
        """Restores the newest checkpoint that can be read, in the strategy's scope.

        Args:
            say: takes a warning for each one that cannot.

        Returns:
            Its step and data positions, or None if there is none.

        Raises:
            UserError: if there are checkpoints, and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                status = self._checkpoint.read(self._prefix(step))
                status.assert_consumed()
            except Exception as error:  # TensorFlow's readers raise what they please.
                say(
                    f"warning: {self._prefix(step)} is damaged "
                    f"({errors.reason(error)}); trying the one before"
                )
                self._unreadable.add(step)
                continue
            return step, self._state.positions
        if steps:
            raise errors.UserError(
                f"{self.folder}: none of {len(steps)} checkpoints can be read; start "
                "in a new --workdir"
            )
        return None

    def _prefix(self, step: int) -> str:
        return os.path.join(self.folder, f"ckpt-{step}")

    def _remove(self, step: int) -> None:
        """Removes a checkpoint's files, the index first: without it there is none."""
        files = glob.glob(f"{glob.escape(self._prefix(step))}.*")
        for file in sorted(files, reverse=True):
            with contextlib.suppress(OSError):
                os.remove(file)


def _weights_and_moments(
    network: keras.Model, learner: groups.GroupedOptimizer
) -> dict[str, tf.Variable]:
    """Names a network's variables and their moments by path, each exactly once.

    What two networks share stands under both names and is stored once.
    """
    named = {}
    for variable in network.weights:
        # A path is unique within one network only.
        path = variable.path.replace("/", ".")
        assert path not in named, f"two variables of path {path}"
        named[path] = variable.value
        for moment, slot in learner.moments(variable).items():
            named[f"{path}.{moment}"] = slot.value
    return named


def _read_back(prefix: str) -> None:
    """Reads a checkpoint from the disk against the checksums that it holds."""
    for file in glob.glob(f"{glob.escape(prefix)}.*"):
        opened = os.open(file, os.O_RDONLY)
        try:  # What was just written would come from memory. Linux alone can forget it.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(opened)
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
