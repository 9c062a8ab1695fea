"""Which task model is for what: a kind of data set, a head on disk.

In:   a kind of `datasets.dataset`; a folder.
Out:  a class of this package; a model.
"""

import os
from typing import Any

import keras

from electra_tf import errors, hugging_face, keras_hub_presets, preset, pretrained
from electra_tf.tasks import (
    masked_lm,
    multiple_choice,
    question_answerer,
    replaced_token_detector,
    task,
    text_classifier,
    text_embedder,
    text_regressor,
    token_classifier,
)

# The task that learns a kind of data set.
OF_KIND: dict[str, type[task.ElectraTask]] = {
    "classification": text_classifier.ElectraTextClassifier,
    "multi_label": text_classifier.ElectraTextClassifier,
    "regression": text_regressor.ElectraTextRegressor,
    "tagging": token_classifier.ElectraTokenClassifier,
    "question_answering": question_answerer.ElectraQuestionAnswerer,
    "multiple_choice": multiple_choice.ElectraMultipleChoice,
}

# The task that holds a network of pre-training, with its head.
OF_NETWORK: dict[str, type[task.ElectraTask]] = {
    "discriminator": replaced_token_detector.ElectraReplacedTokenDetector,
    "generator": masked_lm.ElectraMaskedLM,
}

# What a network becomes; the encoder alone gives vectors.
NETWORKS: dict[str, type[task.ElectraTask]] = {
    "encoder": text_embedder.ElectraTextEmbedder,
    **OF_NETWORK,
}

# The tasks that take a head of Hugging Face's.
OF_HUGGING_FACE: tuple[type[task.ElectraTask], ...] = (
    text_classifier.ElectraTextClassifier,
    text_regressor.ElectraTextRegressor,
    token_classifier.ElectraTokenClassifier,
    question_answerer.ElectraQuestionAnswerer,
    multiple_choice.ElectraMultipleChoice,
)

# All tasks, by the name that Keras keeps.
REGISTERED: dict[str, type[task.ElectraTask]] = {
    keras.saving.get_registered_name(kind): kind
    for kind in (
        *OF_KIND.values(),
        *OF_NETWORK.values(),
        text_embedder.ElectraTextEmbedder,
    )
}


def locate(path: str, task: str | None = None) -> str:
    """Returns the preset of a fine-tuning workdir; any other path as it is.

    Args:
        path: of it.
        task: the one that is wanted, where a workdir has learned several.

    Raises:
        UserError: it has learned several, and which is wanted is not said.
    """
    below = os.path.join(path, "preset")
    if keras_hub_presets.is_preset(below):
        return below
    inner = path if os.path.basename(os.path.normpath(path)) == "preset" else below
    several = {name: os.path.join(inner, name) for name in _presets_in(inner)}
    if several and task not in several:
        raise errors.UserError(
            f"{path} has learned several tasks; name the preset of one: "
            f"{', '.join(several.values())}"
        )
    return several.get(str(task), path)


def _presets_in(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return sorted(
        name
        for name in os.listdir(folder)
        if keras_hub_presets.is_preset(os.path.join(folder, name))
    )


def learned(path: str) -> tuple[str | None, dict[str, Any]]:
    """Returns the task that a fine-tuned preset learned, and the options of its data.

    Of a preset that does not say so, as those of others, none.
    """
    folder = locate(path)
    if not keras_hub_presets.is_preset(folder):
        return None, {}
    origin = keras_hub_presets.origin_of(folder)
    task, options = origin.get("task"), origin.get("options")
    return (
        task if isinstance(task, str) else None,
        dict(options) if isinstance(options, dict) else {},
    )


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
        return REGISTERED.get(keras_hub_presets.task_name(path) or "")
    return class_of_source(pretrained.open_pretrained(path))


def class_of_source(source: preset.Pretrained) -> type[task.ElectraTask] | None:
    """Does the same to what was opened already."""
    if isinstance(source, keras_hub_presets.KerasHubPreset):
        return REGISTERED.get(source.origin["task"] or "")
    for kind in OF_HUGGING_FACE:
        if kind.fits_head(source):
            return kind
    if getattr(source, "head", None):
        return None
    networks = (kind for name, kind in OF_NETWORK.items() if name in source.networks)
    return next(networks, None)


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
        return NETWORKS[network].from_preset(locate(path), **kwargs)
    kind = class_of(path)
    if kind is None and hugging_face.has_weights(path):
        head = hugging_face.open_directory(path).head
        if head:
            raise errors.UserError(
                f"{path} has a head of several numbers, and no task here has; its "
                f"encoder can be fine-tuned anew: python -m electra_tf.finetune "
                f"--preset={path} --task=..."
            )
    if kind is None:
        raise errors.UserError(
            f"{path} has no head for a task; fine-tune it: python -m "
            f"electra_tf.finetune --preset={path} --task=..."
        )
    return kind.from_preset(locate(path), **kwargs)
