"""A preset becomes a folder that TensorFlow Serving loads.

In:   a fine-tuned preset, or what pre-training left; which of its networks.
Out:  base/<version>/, and what to do with it, said.
"""

import os
from collections.abc import Callable, Sequence

from electra_tf import errors
from electra_tf.finetuning import task_builder, task_config
from electra_tf.release import portable
from electra_tf.serving import saved_model
from electra_tf.tasks import catalog


def export(
    origin: str,
    base: str,
    settings: task_config.ExportConfig,
    *,
    network: str | None = None,
    version: int | None = None,
    batch_sizes: Sequence[int] = saved_model.BATCH_SIZES,
    say: Callable[[str], None] = print,
) -> None:
    """Writes the next version of a model for serving.

    Args:
        origin: what `catalog.load` takes.
        base: folder of all versions; its name is the model's.
        settings: what to write; and how texts become rows, where they say other than
            the preset.
        network: see `catalog.load`; None = the model with its head, as it was saved.
        version: None = one more than the highest there.
        batch_sizes: see `saved_model.export`.
        say: is told what was written, and how to serve it.

    Raises:
        UserError: the preset has no such network or head; see `saved_model.export`.
    """
    out = settings.export
    half = {} if out.precision == "float32" else {"dtype": out.precision}
    model = catalog.load(origin, network, **settings.model.options, **half)
    task_builder.set_stated_rows(model, settings.model)
    task_builder.set_generation(model, settings.generate)
    name = os.path.basename(os.path.normpath(origin))
    if out.format != "saved_model":
        if model.has_decoder:
            raise errors.UserError(
                f"export.format={out.format}: a {type(model).__name__} writes in a "
                "loop, which that has not; take saved_model"
            )
        folder = portable.export(
            model,
            base,
            out.format,
            weights=out.weights,
            fixed_length=out.fixed_length,
            version=version,
            about=model.described(name),
        )
        say(f"wrote {folder}: {portable.FILES[out.format]}, {type(model).__name__}")
        return
    found = model.export_for_serving(
        base,
        version,
        batch_sizes,
        name,
        weights=out.weights,
        fixed_length=out.fixed_length,
    )
    say(f"wrote {found.folder}: {type(model).__name__}")
    say(f"serve it: {found.command}")
