"""Task models for the jobs of a run, from weights of any kind.

In:   jobs, a preset of any kind, settings.
Out:  a model a job, all on one encoder.
"""

import inspect
import statistics
from collections.abc import Mapping
from typing import Any

from electra_tf import errors
from electra_tf.finetuning import task_config, task_data
from electra_tf.tasks import catalog, preprocessor

# Kinds of data that have classes.
_OF_CLASSES = ("classification", "multi_label", "tagging")

# Arguments of a task that are not for the user to give.
_CLASSES = {"num_classes", "class_names", "multi_label"}
_OURS = {"self", "backbone", "preprocessor", "kwargs"} | _CLASSES


def check(
    jobs: Mapping[str, task_data.Job], settings: task_config.FinetuneModelConfig
) -> None:
    """Refuses options that the tasks do not have.

    Raises:
        UserError: there is one.
    """
    for name, job in jobs.items():
        kind = catalog.OF_KIND[job.data.kind]
        known = [
            argument
            for argument in inspect.signature(kind.__init__).parameters
            if argument not in _OURS
        ]
        options = task_data.options_of(
            settings.options, "model.options", name, list(jobs)
        )
        errors.refuse_unknown(f"model.options: {kind.__name__}", options, known)


def build(
    jobs: Mapping[str, task_data.Job], origin: str, settings: task_config.FinetuneConfig
) -> dict[str, Any]:
    """Builds a model for each job; the first one's head may be that of the preset.

    A head is kept where the preset is of the same task, with the same classes, or with
    numbers of the same range.

    Raises:
        UserError: the preset cannot be opened, or rows are longer than its positions.
    """
    models: dict[str, Any] = {}
    for name, job in jobs.items():
        kind: Any = catalog.OF_KIND[job.data.kind]
        options = task_data.options_of(
            settings.model.options, "model.options", name, list(jobs)
        )
        options = _classes(job) | options
        if models:
            first = next(iter(models.values()))
            rows = kind.preprocessor_cls(first.preprocessor.tokenizer)
            models[name] = kind(first.backbone, preprocessor=rows, **options)
        else:
            models[name] = _open(job, origin, settings.train.precision, options)
        _set_rows(models[name], settings.model)
        streams = settings.train.streams
        models[name].streams = 1 if streams == "auto" else streams
    return models


def set_stated_rows(model: Any, settings: task_config.FinetuneModelConfig) -> None:
    """Sets how texts become rows, as far as the settings state it.

    Raises:
        UserError: rows are longer than the position table.
    """
    for name in preprocessor.SETTINGS:
        if name in settings.model_fields_set and getattr(settings, name):
            setattr(model.preprocessor, name, getattr(settings, name))
    model.check_length()


def _open(
    job: task_data.Job, origin: str, precision: str, options: dict[str, Any]
) -> Any:
    """Builds the model of a job from a preset."""
    kind: Any = catalog.OF_KIND[job.data.kind]
    folder, found = catalog.locate(origin), catalog.class_of(origin)
    if found is None or found is not kind:
        return kind.from_preset(folder, dtype=precision, **options)
    others = {name: options[name] for name in options.keys() - _CLASSES}
    model: Any = kind.from_preset(folder, dtype=precision, **others)
    if _agrees(model, job):
        return model
    return kind(model.backbone, preprocessor=model.preprocessor, **options)


def _classes(job: task_data.Job) -> dict[str, Any]:
    """Returns what the data say of the head."""
    if job.data.kind == "question_answering":
        return {"null_threshold": None}  # That of a preset is of other data.
    if job.data.kind not in _OF_CLASSES:
        return {}
    names = list(job.data.labels)
    found: dict[str, Any] = {"num_classes": len(names), "class_names": names}
    return found | ({"multi_label": True} if job.data.kind == "multi_label" else {})


def _agrees(model: Any, job: task_data.Job) -> bool:
    """Tells whether the head that a model has is for such labels."""
    if job.data.kind in _OF_CLASSES:
        several = getattr(model, "multi_label", False)
        same = set(model.class_names or []) == set(job.data.labels)
        return same and several == (job.data.kind == "multi_label")
    if job.data.kind == "regression":
        if model.offset is None or model.scale is None:
            return False
        apart = abs(statistics.fmean(job.train.labels) - model.offset)
        spread = statistics.pstdev(job.train.labels)
        return bool(apart <= model.scale and 0.5 <= spread / model.scale <= 2.0)
    return True


def _set_rows(model: Any, settings: task_config.FinetuneModelConfig) -> None:
    """Sets how texts become rows, whatever the preset says of it."""
    rows = model.preprocessor
    table = model.backbone.model_config.max_positions
    usual = min(preprocessor.SEQUENCE_LENGTH, table)
    rows.sequence_length = settings.sequence_length or usual
    rows.truncate, rows.stride = settings.truncate, settings.stride
    rows.long_texts = settings.long_texts
    model.check_length()
