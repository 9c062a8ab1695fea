"""Task models for the jobs of a run, from weights of any kind.

In:   jobs, a preset of any kind, settings.
Out:  a model a job, all on one encoder.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from electra_tf import errors
from electra_tf.finetuning import task_config, task_data
from electra_tf.kinds import kind as kinds
from electra_tf.tasks import catalog, preprocessor
from electra_tf.training import half

# Arguments of a task that are not for the user to give.
_OURS = {"self", "backbone", "preprocessor", "kwargs"} | kinds.OF_DATA

TARGET_LENGTH = 128  # tokens (Rothe et al. 2020)

# How a model with a decoder calls the settings of its rows.
_PAIRS = {
    "sequence_length": "encoder_sequence_length",
    "target_length": "decoder_sequence_length",
}


def check(
    jobs: Mapping[str, task_data.Job], settings: task_config.FinetuneModelConfig
) -> None:
    """Refuses options that the tasks do not have.

    Raises:
        UserError: there is one.
    """
    for name, job in jobs.items():
        kind = job.kind.model_class()
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
        kind = job.kind.model_class()
        options = task_data.options_of(
            settings.model.options, "model.options", name, list(jobs)
        )
        options = job.kind.head(job.data.labels) | options
        if models:
            first = next(iter(models.values()))
            rows = kind.preprocessor_cls(first.preprocessor.tokenizer)
            models[name] = kind(first.backbone, preprocessor=rows, **options)
        else:
            models[name] = _open(job, origin, settings.train.precision, options)
        _set_rows(models[name], settings.model)
        set_generation(models[name], settings.generate)
        streams = settings.train.streams
        models[name].streams = 1 if streams == "auto" else streams
    return models


def in_precision(precision: str) -> dict[str, Any]:
    """Returns how `from_preset` is told what a model that only answers computes in.

    Raises:
        UserError: a device has no such numbers.
    """
    return {} if precision == "float32" else {"dtype": half.checked(precision)}


def set_stated_rows(model: Any, settings: task_config.FinetuneModelConfig) -> None:
    """Sets how texts become rows, as far as the settings state it.

    Raises:
        UserError: rows are longer than the position table.
    """
    if model.has_decoder:
        _refuse_rows(model, settings)
    for name, ours in _rows_of(model).items():
        if name in settings.model_fields_set and getattr(settings, name):
            setattr(model.preprocessor, ours, getattr(settings, name))
    model.check_length()


def set_generation(model: Any, settings: task_config.GenerateConfig) -> None:
    """Sets how a model writes texts.

    Raises:
        UserError: it writes none, and settings say how.
    """
    if model.has_decoder:
        model.generation = settings
    elif stated := sorted(settings.model_fields_set):
        raise errors.UserError(
            f"generate.{stated[0]}: {type(model).__name__} writes no texts; leave it "
            "out"
        )


def _rows_of(model: Any) -> dict[str, str]:
    """Returns settings that say how texts become rows, and a preprocessor's names."""
    if model.has_decoder:
        return _PAIRS
    return {name: name for name in preprocessor.SETTINGS}


def _refuse_rows(model: Any, settings: task_config.FinetuneModelConfig) -> None:
    """Refuses settings that say nothing to pairs of a source and a target."""
    others = settings.model_fields_set & {*preprocessor.SETTINGS} - _PAIRS.keys()
    if others:
        raise errors.UserError(
            f"model.{min(others)}: {type(model).__name__} cuts long texts off; leave "
            "it out, or raise model.sequence_length"
        )


def _open(
    job: task_data.Job, origin: str, precision: str, options: dict[str, Any]
) -> Any:
    """Builds the model of a job from a preset."""
    kind, dtype = job.kind.model_class(), half.checked(precision)
    folder, found = catalog.locate(origin), catalog.class_of(origin)
    if found is None or found is not kind:
        return kind.from_preset(folder, dtype=dtype, **options)
    others = {name: options[name] for name in options.keys() - kinds.OF_DATA}
    model: Any = kind.from_preset(folder, dtype=dtype, **others)
    if job.kind.keeps_head(model, job.data.labels, job.train.labels):
        return model
    return kind(model.backbone, preprocessor=model.preprocessor, **options)


def _set_rows(model: Any, settings: task_config.FinetuneModelConfig) -> None:
    """Sets how texts become rows, whatever the preset says of it."""
    rows = model.preprocessor
    table = model.backbone.model_config.max_positions
    usual = min(preprocessor.SEQUENCE_LENGTH, table)
    if model.has_decoder:
        _refuse_rows(model, settings)
        rows.encoder_sequence_length = settings.sequence_length or usual
        target = settings.target_length or min(TARGET_LENGTH, table)
        rows.decoder_sequence_length = target
        model.check_length()
        return
    rows.sequence_length = settings.sequence_length or usual
    rows.truncate, rows.stride = settings.truncate, settings.stride
    rows.long_texts = settings.long_texts
    model.check_length()
