"""Which task holds what is on disk: a head, a network of pre-training.

In:   a folder.
Out:  a class of this package; a model.
"""

from typing import Any, NamedTuple

import keras

import electra_tf
from electra_tf import errors
from electra_tf.tasks import keras_hub_presets, task
from electra_tf.weights import opening, preset

# The task that holds a network of pre-training, with its head.
OF_NETWORK = {
    "discriminator": "ElectraReplacedTokenDetector",
    "generator": "ElectraMaskedLM",
    "energy": "ElectraScorer",
}

# What a network becomes; the encoder alone gives vectors, and whichever can scores.
NETWORKS = {
    "encoder": "ElectraTextEmbedder",
    **OF_NETWORK,
    "scorer": "ElectraScorer",
}


def classes() -> list[Any]:
    """Returns all tasks; loads them."""
    found = [getattr(electra_tf, name) for name in electra_tf.CLASSES]
    return [one for one in found if issubclass(one, task.ElectraTask)]


def of_network(name: str) -> Any:
    """Returns the task of a key of NETWORKS."""
    return getattr(electra_tf, NETWORKS[name])


locate = keras_hub_presets.locate


class Learned(NamedTuple):
    """What a fine-tuned preset says of its data; nothing, if others wrote it."""

    task: str | None
    options: dict[str, Any]  # of the task's reader
    columns: dict[str, Any]  # of texts, as options of `predictor`


def learned(path: str) -> Learned:
    """Returns the task that a fine-tuned preset learned, and how its data were read."""
    folder = locate(path)
    origin: dict[str, Any] = {}
    if keras_hub_presets.is_preset(folder):
        origin = keras_hub_presets.origin_of(folder)
    task, *mappings = (origin.get(name) for name in Learned._fields)
    options, columns = (one if isinstance(one, dict) else {} for one in mappings)
    return Learned(task if isinstance(task, str) else None, options, columns)


def class_of(path: str) -> type[task.ElectraTask] | None:
    """Returns the task that a preset was saved as; None where it has no head for one.

    The networks of pre-training with their heads are such, the discriminator first.

    Raises:
        UserError: nothing is there that can be opened.
    """
    path = locate(path)
    if "://" in path:
        return None
    if keras_hub_presets.is_preset(path):
        return _registered(keras_hub_presets.task_name(path))
    return class_of_source(opening.open_pretrained(path))


def class_of_source(source: preset.Pretrained) -> type[task.ElectraTask] | None:
    """Does the same to what was opened already."""
    if isinstance(source, keras_hub_presets.KerasHubPreset):
        return _registered(source.origin["task"])
    if getattr(source, "head", None):
        found = (one for one in classes() if one.fits_head(source))
        return next(found, None)
    if getattr(source, "vectors", None):
        found_here: type[task.ElectraTask] = of_network("encoder")
        return found_here
    there = (of_network(role) for role in OF_NETWORK if preset.find(source, role))
    return next(there, None)


def _registered(name: Any) -> type[task.ElectraTask] | None:
    """Returns the task that Keras keeps under a name; None where that is another."""
    found = keras.saving.get_registered_object(str(name))
    is_task = isinstance(found, type) and issubclass(found, task.ElectraTask)
    return found if is_task else None


def load(path: str, network: str | None = None, **kwargs: Any) -> task.ElectraTask:
    """Opens a model with its head, as the task that it was saved as.

    Args:
        path: a fine-tuned preset or its workdir; a Hugging Face directory with a head;
            or what pre-training left, which becomes a replaced-token detector, and a
            masked language model where there is a generator alone.
        network: a key of NETWORKS, to open one of its networks instead.
        **kwargs: of the task's `from_preset`.

    Raises:
        UserError: nothing is there, or no head, or no such network.
    """
    if network is not None:
        if network not in NETWORKS:
            raise errors.UserError(
                f"network={network!r}: want one of {', '.join(NETWORKS)}, or none for "
                "the model as it was saved"
            )
        model: task.ElectraTask
        model = of_network(network).from_preset(locate(path), **kwargs)
        return model
    kind = class_of(path)
    if kind is None:
        raise errors.UserError(
            f"{path} {_lack(locate(path))}: python -m electra_tf.finetune "
            f"--preset={path} --task=..."
        )
    return kind.from_preset(locate(path), **kwargs)


def _lack(folder: str) -> str:
    """Says what keeps weights from being a task, and what can be done with them."""
    is_known = "://" in folder or keras_hub_presets.is_preset(folder)
    if not is_known and getattr(opening.open_pretrained(folder), "head", None):
        return (
            "has a head of several numbers, and no task here has; its encoder can be "
            "fine-tuned anew"
        )
    return "has no head for a task; fine-tune it"
