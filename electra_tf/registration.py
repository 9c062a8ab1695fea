"""Keras finds our classes by their names, without their being loaded before.

In:   `import electra_tf`, before Keras or after it.
Out:  `keras.models.load_model` and KerasHub's `from_preset` load what they ask for.

Also says, before Keras is loaded for one of our modules, that its backend must be
TensorFlow.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import electra_tf
from electra_tf import errors

PREFIX = "electra_tf>"  # of our classes in what Keras saves

# Who registers them, but for the tasks, which need KerasHub.
_MODULES = ("electra_tf.network.models", "electra_tf.training.optimizer")

_REGISTER = "keras.src.saving.object_registration"


class _Classes(dict[str, Any]):
    """Keras' register of classes, in which ours are when they are asked for."""

    def __contains__(self, name: object) -> bool:
        if isinstance(name, str) and name.startswith(PREFIX):
            for module in _MODULES:
                if super().__contains__(name):
                    break
                importlib.import_module(module)
            if not super().__contains__(name):
                _load_tasks()
        return super().__contains__(name)


def _load_tasks() -> None:
    """Loads all of them: KerasHub looks for a task among the classes that there are."""
    for module in electra_tf.CLASSES.values():
        importlib.import_module(f"electra_tf.tasks.{module}")


class _Finder(importlib.abc.MetaPathFinder):
    """Is asked for every module before it is loaded."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Extends Keras' register; refuses ours that need Keras under another backend.

        Raises:
            UserError: the backend is not TensorFlow.
        """
        if name != _REGISTER and not name.startswith("electra_tf."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        if name == _REGISTER:
            load: Any = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _extend(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        elif (found := backend()) != "tensorflow" and _needs_keras(spec):
            raise errors.UserError(
                f"Keras' backend is {found}, and electra_tf needs TensorFlow: set "
                "KERAS_BACKEND=tensorflow before Python starts"
            )
        return spec


def start() -> None:
    """Has our classes found; called once, when the package is imported."""
    sys.meta_path.insert(0, _Finder())
    if _REGISTER in sys.modules:
        _extend(sys.modules[_REGISTER])


def backend() -> str:
    """Returns the name of the backend that Keras has, or would have."""
    loaded = sys.modules.get("keras.src.backend.config")
    if loaded is not None and hasattr(loaded, "backend"):
        return str(loaded.backend())
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    folder = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        with open(os.path.join(folder, "keras.json"), encoding="utf-8") as file:
            return str(json.load(file).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


def _needs_keras(spec: importlib.machinery.ModuleSpec) -> bool:
    source = Path(spec.origin).read_text(encoding="utf-8") if spec.origin else ""
    return "\nimport keras\n" in source


def _extend(register: Any) -> None:
    register.GLOBAL_CUSTOM_OBJECTS = _Classes(register.GLOBAL_CUSTOM_OBJECTS)
