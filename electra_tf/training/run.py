"""A whole run: where the data and the model meet.

In:   settings and a workdir.
Out:  the workdir, with metrics, checkpoints, samples, report and preset.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from electra_tf import config, errors
from electra_tf.batches import pipeline
from electra_tf.objectives import objective, registry
from electra_tf.reports import progress, report_page, sample_rows
from electra_tf.system import console
from electra_tf.training import (
    checkpoint,
    distribution,
    duration,
    initialization,
    loop,
    train_step,
    workdir,
)
from electra_tf.weights import preset_writer


def run(settings: config.PretrainConfig, folder: str, tpu: str | None = None) -> None:
    """Trains to the end of the schedule, or until a signal; resumes what is there.

    Raises:
        UserError: for all that docs/pretraining.md lists.
    """
    with console.doing("opening the data"):
        source = pipeline.open_source(settings.data)
    _check_row_length(source, settings)
    settings = _with_vocab_size(settings, source.vocab.size)
    settings = workdir.with_streams(settings, folder, usual=1)
    settings, origins = _origins(settings, folder, source)
    strategy = distribution.strategy(tpu)
    is_chief = distribution.is_chief(strategy)
    facts = source.identity | {
        "objective": settings.objective.name,
        "replicas": strategy.num_replicas_in_sync,  # Each draws dropout of its own.
    }
    devices = list(strategy.extended.worker_devices)
    with workdir.opened(
        folder,
        settings,
        facts,
        is_chief=is_chief,
        devices=devices,
        values={name: one._asdict() for name, one in _shown(settings).items()},
    ):
        _train(settings, folder, source, origins, strategy)


def _train(
    settings: config.PretrainConfig,
    folder: str,
    source: pipeline.Source,
    origins: initialization.Sources,
    strategy: tf.distribute.Strategy,
) -> None:
    vocab, is_chief = source.vocab.tokens, distribution.is_chief(strategy)
    warnings: list[str] = []
    weights: dict[str, initialization.Weights] = {}
    if origins:
        declared = registry.declare(settings)
        weights = initialization.read_weights(
            settings, declared, origins, vocab, warnings.append
        )
    distribution.set_precision(settings.train.precision)
    model = _build(settings, strategy)
    with console.doing("reading the held-out rows"):
        data = _data(source, settings, strategy)
    running = loop.Loop(model, strategy, data, settings.train)
    checkpoints = checkpoint.Checkpoints(folder, model, settings.run.keep)
    if is_chief:
        checkpoints.clear()
    with console.doing("looking for a checkpoint"), strategy.scope():
        found = checkpoints.restore(warnings.append)
        if found is None:
            initialization.assign(model.objective, weights, vocab)
    step, positions = found or (0, None)
    with distribution.explained_loss("before the first step"):
        distribution.refuse_different(strategy, step, int(settings.train.streams))
    running.start(positions)
    with _listener(is_chief, folder, settings, step) as listener:
        for warning in warnings:
            listener.say(warning)
        _say_what_runs(listener, settings, strategy, model, step)
        outcome = loop.run(
            running,
            model,
            checkpoints if is_chief else None,
            settings.train,
            settings.run,
            listener,
            step,
        )
        if not outcome.finished:
            return
        # On all workers; empty where this session had no step left to make.
        metrics = outcome.validation or loop.evaluate(running, model, outcome.step)
    if is_chief:
        with console.doing("writing preset, samples and report"):
            _finish(folder, settings, model, source, data, metrics, listener)


def _build(
    settings: config.PretrainConfig, strategy: tf.distribute.Strategy
) -> train_step.Pretrainer:
    alone = distribution.explained_loss("before the first step")
    with console.doing("building the networks"), alone, strategy.scope():
        return train_step.build(
            settings,
            compile_step=distribution.compile_step(strategy, settings.train.xla),
        )


def _check_row_length(source: pipeline.Source, settings: config.PretrainConfig) -> None:
    """Refuses records of the 2020 code whose rows the model cannot take."""
    length = source.legacy_row_tokens or 0
    if length > settings.model.max_positions:
        raise errors.UserError(
            f"model.max_positions={settings.model.max_positions}: rows in "
            f"{settings.data.records} are {length} tokens long; raise it"
        )


def _with_vocab_size(
    settings: config.PretrainConfig, size: int
) -> config.PretrainConfig:
    """Takes the vocabulary's size from the data; one that is stated must agree."""
    stated = "vocab_size" in settings.model.model_fields_set
    if stated and settings.model.vocab_size != size:
        raise errors.UserError(
            f"model.vocab_size={settings.model.vocab_size}, but the vocabulary of "
            f"{settings.data.records} has {size} tokens; drop the setting, or use "
            "other data"
        )
    model = settings.model.model_copy(update={"vocab_size": size})
    return settings.model_copy(update={"model": model})


def _data(
    source: pipeline.Source,
    settings: config.PretrainConfig,
    strategy: tf.distribute.Strategy,
) -> loop.Data:
    train, data = settings.train, settings.data

    def batches(
        position: Sequence[int], worker: int, num_workers: int, rows: int
    ) -> tf.data.Dataset:
        return pipeline.train_batches(
            source,
            data,
            seed=train.seed,
            batch_rows=rows,
            position=tuple(position),
            worker=worker,
            num_workers=num_workers,
        )

    def name_damaged() -> str | None:
        return pipeline.name_damaged(source)

    validation: list[objective.Batch] = []
    if source.has_validation:
        parts = strategy.num_replicas_in_sync * train.accumulation_steps
        held_out = pipeline.validation_batches(
            source,
            data,
            seed=train.seed,
            batch_rows=max(1, train.batch_size // parts),
            max_rows=settings.run.evaluate_rows,
        )
        with loop.explained_damage(name_damaged, "in the validation shards"):
            validation = [
                {name: batch[name] for name in batch if name != "data_position"}
                for batch in held_out
            ]
    return loop.Data(batches, validation, name_damaged)


def _origins(
    settings: config.PretrainConfig, folder: str, source: pipeline.Source
) -> tuple[config.PretrainConfig, initialization.Sources]:
    """Opens what the run starts from, if anything; takes over its architecture."""
    declared = registry.declare(settings)
    if not initialization.paths(declared, settings.train):
        return settings, {}
    if workdir.is_started(folder):
        return _with_stored_architecture(settings, folder), {}
    origins = initialization.open_sources(declared, settings.train)
    initialization.check_vocab(
        origins, settings.train, source.vocab.tokens, source.tokenizer
    )
    changed = initialization.with_architecture(settings, declared, origins)
    return changed, origins


def _with_stored_architecture(
    settings: config.PretrainConfig, folder: str
) -> config.PretrainConfig:
    """Takes the architecture that init_from had when the run was started."""
    before = workdir.read_settings(folder)
    stated = {
        name: getattr(settings.model, name) for name in settings.model.model_fields_set
    }
    return settings.model_copy(
        update={
            "model": before.model.model_copy(update=stated),
            "generator": settings.generator.model_copy(
                update={"architecture": before.generator.architecture}
            ),
        }
    )


def _listener(
    is_chief: bool, folder: str, settings: config.PretrainConfig, step: int
) -> contextlib.AbstractContextManager[Any]:
    if not is_chief:
        return contextlib.nullcontext(loop.Silence())
    return progress.Reporter(
        folder, settings.train.steps, _shown(settings), resumed_step=step
    )


def _shown(settings: config.PretrainConfig) -> dict[str, objective.Shown]:
    """Returns how all values of the run are shown."""
    declared = registry.declare(settings)
    metrics = train_step.run_metrics(declared)
    common = {name: metric.shown for name, metric in metrics.items()}
    return objective.shown(declared, loop.SPEEDS | common)


def _say_what_runs(
    listener: loop.Listener,
    settings: config.PretrainConfig,
    strategy: tf.distribute.Strategy,
    model: train_step.Pretrainer,
    step: int,
) -> None:
    changed = config.differences(config.PretrainConfig(), settings)
    stated = " ".join(f"{name}={new!r}" for name, (_, new) in changed.items())
    listener.say(f"settings: {stated or 'the defaults'}")
    sizes = ", ".join(
        f"{name} {network.count_params():,}"
        for name, network in model.objective.networks.items()
    )
    listener.say(
        f"parameters: {sizes}; replicas: {strategy.num_replicas_in_sync}; "
        f"starting at step {step:,} of {settings.train.steps:,}"
    )
    with console.doing("timing this machine"):
        seconds = _seconds_left(settings, strategy, model, step)
    if seconds:
        listener.say(duration.said(seconds))


def _seconds_left(
    settings: config.PretrainConfig,
    strategy: tf.distribute.Strategy,
    model: train_step.Pretrainer,
    step: int,
) -> float:
    """Estimates how long this machine will take for the steps that are left."""
    train, data = settings.train, settings.data
    if step >= train.steps:
        return 0.0
    learned = model.objective
    predictions = train.batch_size * data.max_predictions
    architectures = [
        (
            learned.declared.networks[name].config,
            predictions * ("mask_positions" in network.input),
        )
        for name, network in learned.networks.items()
    ]
    return (train.steps - step) * duration.seconds_a_step(
        strategy,
        architectures,
        train.batch_size * data.row_tokens,
        data.row_tokens,
        streams=int(train.streams),
        precision=train.precision,
    )


def _finish(
    folder: str,
    settings: config.PretrainConfig,
    model: train_step.Pretrainer,
    source: pipeline.Source,
    data: loop.Data,
    metrics: dict[str, float],
    listener: loop.Listener,
) -> None:
    """Writes preset, samples and report, and shows what was learned."""
    learned, steps = model.objective, settings.train.steps
    vocab = source.vocab.tokens
    kept = {n: one for n, one in learned.declared.networks.items() if one.saved_as}
    preset_writer.save(
        os.path.join(folder, "preset"),
        {one.saved_as: one.kept(learned.networks[name]) for name, one in kept.items()},
        {one.saved_as: one.config for one in kept.values()},
        vocab,
        source.tokenizer,
        {
            "settings": settings.model_dump(),
            "steps": steps,
            "metrics": metrics,
            "versions": workdir.versions(),
            "commit": workdir.commit(),
        },
        roles={one.saved_as: one.role for one in kept.values()},
    )
    if data.validation:
        samples = sample_rows.Samples(
            step=steps,
            **learned.declared.rows._asdict(),
            rows=sample_rows.rows_of(
                _arrays(data.validation[0]),
                _arrays(learned.verdicts(data.validation[0])),
                vocab,
            ),
        )
        sample_rows.write(os.path.join(folder, "samples.json"), samples)
        listener.say("\nheld-out rows, as the model sees them:\n")
        few = samples.model_copy(update={"rows": samples.rows[:3]})
        for line in sample_rows.lines(few):
            listener.say(line)
    report = os.path.join(folder, "report.html")
    report_page.write_report([folder], report)
    shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    listener.say(f"\nfinished at step {steps:,}. held-out: {shown or 'no data'}")
    listener.say(f"preset:  {folder}/preset\nreport:  {report}")
    listener.say(f"metrics: {folder}/metrics.jsonl")


def _arrays(tensors: objective.Batch) -> dict[str, Any]:
    return {name: value.numpy() for name, value in tensors.items()}
