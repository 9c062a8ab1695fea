"""A fine-tuned model meets labelled data: how good is it?

In:   a preset with a head, a task and its data.
Out:  the task's metrics.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any

from electra_tf import answers, config, durable, reporting, task_builder, task_data
from electra_tf.datasets import dataset, registry
from electra_tf.tasks import catalog


def evaluate(
    origin: str,
    task: str,
    folder: str,
    split_name: str,
    settings: config.FinetuneConfig,
    output: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, float]:
    """Scores a preset, by the rules of `datasets`.

    Args:
        origin: a fine-tuned preset, its workdir, or a Hugging Face directory.
        task: a name of `datasets.registry`.
        folder: of its data.
        split_name: a labelled split.
        settings: data.options, data.max_eval_examples, train.batch_size count; and how
            texts become rows, where they say other than the preset.
        output: a JSON file to write; None = none.
        say: is told the metrics.

    Raises:
        UserError: the preset and the data do not fit each other, or cannot be read.
    """
    with reporting.said_warnings(say):
        model: Any = catalog.load(origin)
        task_builder.set_stated_rows(model, settings.model)
        data = _read(model, task, folder, settings.data.options)
        split = data.split(split_name)
        answers.check_fits(model, data, split)
        if count := settings.data.max_eval_examples:
            split = task_data.pick(split, range(len(split.ids))[:count])
        found = answers.predict(model, data, split, settings.train.batch_size)
    scores = data.score(found.values, split)
    for name, value in scores.items():
        say(f"{name:20} {value:.4f}")
    if output:
        values = {
            "preset": origin,
            "task": task,
            "split": split_name,
            "examples": len(split.ids),
            "metrics": scores,
        }
        durable.write_text(output, json.dumps(values, indent=2) + "\n")
    return scores


def _read(
    model: Any, task: str, folder: str, options: dict[str, Any]
) -> dataset.Dataset:
    """Reads the data; whether there is no answer is as the preset learned to tell."""
    threshold = getattr(model, "null_threshold", None)
    reader = registry.READERS.get(task)
    known = inspect.signature(reader).parameters if reader else ()
    if threshold is not None and "null_threshold" in known:
        options = {"null_threshold": threshold, **options}
    return registry.read(task, folder, **options)
