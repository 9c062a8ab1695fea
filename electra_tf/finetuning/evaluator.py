"""A fine-tuned model meets labelled data: how good is it?

In:   a preset with a head, its data; the task and the columns are those that it
      learned, where nothing else is said.
Out:  the task's metrics.
"""

import inspect
import os
from collections.abc import Callable
from typing import Any

from electra_tf import errors
from electra_tf.datasets import dataset
from electra_tf.finetuning import answers, task_builder, task_config, task_data
from electra_tf.kinds import registry
from electra_tf.reports import progress
from electra_tf.system import durable
from electra_tf.tasks import catalog

# Options of readers that name files.
_FILES = ("train", "dev", "test")


def evaluate(
    origin: str,
    task: str | None,
    folder: str,
    split_name: str,
    settings: task_config.FinetuneConfig,
    output: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Scores a preset, by the rules of `datasets`.

    Args:
        origin: a fine-tuned preset, its workdir, or a Hugging Face directory.
        task: a name of `kinds.registry.readers`; None = what the preset learned.
        folder: of its data; or a file, which is the split.
        split_name: a labelled split.
        settings: data.options, over those that the preset learned with,
            data.max_eval_examples, train.batch_size, train.precision count; and how
            texts become rows, where they say other than the preset.
        output: a JSON file to write; None = none.
        say: is told the metrics.

    Raises:
        UserError: the preset and the data do not fit each other, or cannot be read.
    """
    with progress.said_warnings(say):
        preset = catalog.locate(origin, task)
        task, options = _task_and_options(preset, task, folder, settings)
        precision = task_builder.in_precision(settings.train.precision)
        model: Any = catalog.load(preset, registry.network_of(task), **precision)
        task_builder.set_stated_rows(model, settings.model)
        task_builder.set_generation(model, settings.generate)
        data = _read(model, task, folder, split_name, options)
        if os.path.isfile(folder) and len(data.splits) == 1:
            (split_name,) = data.splits
        split = data.split(split_name)
        if split.remark:
            say(f"note: {split.remark}")
        split = answers.fit(model, data, split)
        if count := settings.data.max_eval_examples:
            split = task_data.pick(split, range(len(split.ids))[:count])
        found = answers.predict(model, data, split, settings.train.batch_size)
    scores = data.score(found.values, split)
    for name, value in scores.items():
        say(f"{name:20} {value:.4f}")
    this = registry.KINDS[data.kind]
    by_class = this.by_class(split.labels or (), found.values)
    signatures = this.signatures(split, found.values)
    for name, told in signatures.items():
        say(f"{name:20} {told}")
    for name, one in by_class.items():
        say(f"f1 of {name:14} {one['f1']:.4f}  ({one['count']:,.0f} examples)")
    if output:
        values = {
            "preset": origin,
            "task": task,
            "split": split_name,
            "examples": len(split.ids),
            "metrics": scores,
            **answers.count_rules(split),
            **({"classes": by_class} if by_class else {}),
            **({"signatures": signatures} if signatures else {}),
        }
        durable.write_json(output, values)
    return scores


def _task_and_options(
    origin: str, task: str | None, folder: str, settings: task_config.FinetuneConfig
) -> tuple[str, dict[str, Any]]:
    """Returns the task and how its data are read: as said, else as was learned."""
    learned, options, _ = catalog.learned(origin)
    given = settings.data.options
    if task is None and learned is None:
        raise errors.UserError(
            f"--task is missing, and {origin} does not say what it learned: name it, "
            "such as text_classification"
        )
    if task in (None, learned):
        # Files of the same names, if they are there; a file is all there is.
        # What its model has learned, it knows better.
        gone = {
            name
            for name in _FILES
            if not os.path.isfile(os.path.join(folder, str(options.get(name))))
        } | registry.learned_options(learned)
        given = {k: v for k, v in options.items() if k not in gone} | given
    return str(task or learned), given


def _read(
    model: Any, task: str, folder: str, split_name: str, options: dict[str, Any]
) -> dataset.Dataset:
    """Reads the data; with the options that the model learned, where it takes them."""
    reader = registry.readers().get(task)
    known = inspect.signature(reader).parameters if reader else ()
    for name in registry.of_model(model).learned:
        value = getattr(model, name)
        if value is not None and name in known:
            options = {name: value, **options}
    # Of a file that is no split of train, dev, test, GLUE's names say so.
    file_is = split_name if split_name in _FILES else "dev"
    return registry.read(task, folder, file_is, **options)
