"""A task becomes a model that TensorFlow Serving runs: text in, answers out.

In:   a task with a preprocessor.
Out:  a version of a SavedModel, with what it says of itself.

It asks the task for its `signatures`, and `predicting` for the forward pass.
"""

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from electra_tf import errors
from electra_tf.network import tracing
from electra_tf.serving import saved_model, stored_weights
from electra_tf.tasks import inputs

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Exporting(_OtherHalf):
    """The part of a task that is exported."""

    @errors.named_arguments
    def export_for_serving(
        self,
        path: str,
        version: int | None = None,
        batch_sizes: Sequence[int] = saved_model.BATCH_SIZES,
        origin: str | None = None,
        *,
        weights: str = "float32",
        fixed_length: bool = False,
    ) -> saved_model.Exported:
        """Writes a version of the model for TensorFlow Serving: text in, answers out.

        Args:
            path: folder of all versions; its name is the model's.
            version: None = one more than the highest there.
            batch_sizes: see `saved_model.export`.
            origin: what it was made of, for those who find it.
            weights: how they are stored: see `stored_weights.store`.
            fixed_length: whether rows are the longest always, for accelerators that
                compile for each shape.

        Raises:
            UserError: see `saved_model.export` and `described`.
        """
        if self.has_decoder and fixed_length:
            raise errors.UserError(
                "fixed_length=True: answers that are written have no fixed length; "
                "leave it out"
            )
        about = self.described(origin)
        stored = stored_weights.store(self.weights, weights)
        self.preprocessor.fixed_length = fixed_length
        # What was traced reads other variables.
        self._traced: tuple[Any, Any] = (None, None)
        # An accelerator shares out operations by itself.
        parts = contextlib.nullcontext() if fixed_length else tracing.split_rows()
        try:
            with parts:
                return saved_model.export(
                    os.fspath(path),
                    self.signatures(),
                    stored.tracked,
                    {**about, "weights": weights, "fixed_length": fixed_length},
                    tracing=stored.tracing,
                    version=version,
                    batch_sizes=batch_sizes,
                )
        finally:
            self.preprocessor.fixed_length = False
            self._traced = (None, None)

    def described(self, origin: str | None) -> dict[str, Any]:
        """Returns what an export says of the model, JSON values.

        Args:
            origin: what it was made of.

        Raises:
            UserError: there is no preprocessor, or its rows are too short.
        """
        before = self.preprocessor
        if before is None:
            raise errors.UserError(
                "the model has no preprocessor, and a server is given texts; build it "
                "with one"
            )
        self.check_length()
        if not self.has_decoder:
            # Refuses what has no room for pairs.
            inputs.frame_texts([], [], before.frame)
        return {
            "task": type(self).__name__,
            "origin": origin,
            "labels": self.class_labels(),
            **self.settled(),
            "rows": {name: getattr(before, name) for name in before.settings},
            "tokenizer": before.tokenizer.tokenizer_config.model_dump(),
            "encoder": self.backbone.model_config.model_dump(),
        }
