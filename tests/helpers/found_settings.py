"""What holds of settings that are found by name, wherever they stand."""

import subprocess
import sys


def read_elsewhere(setting, *overrides):
    """Returns what a new process says of a setting, and whether it has TensorFlow."""
    code = (
        "import sys; from electra_tf import config; "
        f"settings = config.load(config.PretrainConfig, None, {list(overrides)!r}); "
        f"print(settings.{setting}, 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def classes_of(module):
    """Returns the classes that a module makes itself."""
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
