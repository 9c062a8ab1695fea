"""A task trains: well by default, and in all else as Keras does.

In:   what `keras.Model.compile` and `fit` take.
Out:  trained weights, those of the best epoch; Keras' history.

It asks the task for its loss, metrics and rates: `default_loss`, `usual_recipe` and the
like; of `batching` the batches.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from electra_tf import errors
from electra_tf.tasks import predicting, streams
from electra_tf.tasks import recipe as recipes
from electra_tf.training import half, optimizer

# Callbacks that set the optimizer's rate.
_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Fitting(_OtherHalf):
    """The part of a task that trains."""

    # Parts of a batch that training computes side by side: see `system.cores`.
    streams: int = 1

    @errors.named_arguments
    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        loss_weights: Any = "auto",
        metrics: Any = "auto",
        weighted_metrics: Any = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = False,
        auto_scale_loss: bool = True,
        *,
        learning_rate: float | None = None,
        layer_decay: float | None = None,
        weight_decay: float | None = None,
    ) -> None:
        """Sets how `fit` trains; arguments in the order of `keras.Model.compile`.

        Args:
            optimizer: "auto" is AdamW with the paper's schedule over the steps of
                `fit`; or any of Keras'.
            loss: "auto" is the task's.
            loss_weights: of several losses; "auto" are the task's, if the loss is.
            metrics: "auto" are the task's.
            weighted_metrics: "auto" are the task's.
            run_eagerly: Keras'.
            steps_per_execution: Keras'.
            jit_compile: off, as XLA would compile anew for every length of rows.
            auto_scale_loss: whether to scale the loss in "mixed_float16".
            learning_rate: peak, with "auto"; None = the paper's for the width: 3e-4,
                1e-4, 5e-5 for small, base, large.
            layer_decay: of the rates from block to block, with "auto"; None = 0.8, for
                large 0.9 (paper).
            weight_decay: with "auto"; None = 0 (paper; 2020 code: 0.01).

        Raises:
            UserError: an argument would have no effect, or makes no sense. As after
                each error, all is as it was before.
        """
        self._set_up(
            {
                "optimizer": optimizer,
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
            },
            learning_rate=learning_rate,
            layer_decay=layer_decay,
            weight_decay=weight_decay,
        )

    def _set_up(self, given: dict[str, Any], **stated: float | None) -> None:
        """Does what `compile` says, with what was given to Keras and rates by name."""
        optimizer = given.pop("optimizer")
        rates = recipes.rates(optimizer, self.usual_recipe(), **stated)
        is_auto, weights = recipes.is_auto, None
        if is_auto(given["loss"]):
            given["loss"] = self.default_loss()
            weights = self.default_loss_weights()
        if is_auto(given["loss_weights"]):
            given["loss_weights"] = weights
        if is_auto(given["metrics"]):
            given["metrics"] = self.default_metrics()
        given["metrics"] = given["metrics"] or []  # Of None, Keras would keep others.
        if is_auto(given["weighted_metrics"]):
            given["weighted_metrics"] = self.default_weighted_metrics()
        recipe = recipes.Recipe(given, recipes.is_automatic(optimizer), rates)
        if recipe.automatic:
            optimizer = self._optimizer(recipe, steps=1)
        with self._unchanged_by_errors():
            super().compile(**recipes.arguments(self, optimizer, given))
        self._recipe = recipe

    @contextlib.contextmanager
    def _unchanged_by_errors(self) -> Iterator[None]:
        """Leaves all as it was where Keras refuses what it was given half-way."""
        before = dict(self.__dict__)
        try:
            yield
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`, for a .keras file or a clone."""
        recipe = self._recipe
        config: dict[str, Any] = super().get_compile_config()
        config["auto_scale_loss"] = recipe.compiled["auto_scale_loss"]
        if recipe.automatic:
            config["optimizer"] = keras.saving.serialize_keras_object(
                recipes.AutoAdamW(name="adamw", **recipe.rates)
            )
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as it was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        assert self.optimizer is not None
        self.optimizer.build(self.trainable_variables)

    @errors.named_arguments
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = recipes.EPOCHS,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        patience: int | None = None,
        restore_best: bool = True,
        seed: int = 0,
    ) -> keras.callbacks.History:
        """Trains; afterwards the weights are those of the best epoch.

        The arguments are in the order of `keras.Model.fit`, and what is not described
        here is Keras'.

        Args:
            x: inputs as Python values, or a tf.data.Dataset of batches of strings.
            y: labels, one per input.
            batch_size: inputs a step; None = 32.
            epochs: passes over the data.
            verbose: Keras'.
            callbacks: Keras', one or several.
            validation_split: share of the data to validate on, its end.
            validation_data: (x, y), or a tf.data.Dataset.
            shuffle: whether each epoch has an order of its own; else the inputs stay
                in theirs. A tf.data.Dataset has its own: see `streams`.
            class_weight: {class: weight} of the loss, by names or numbers; 1 where
                nothing is said.
            sample_weight: of the loss, one per input.
            initial_epoch: Keras'.
            steps_per_epoch: Keras'.
            validation_steps: Keras'.
            validation_batch_size: inputs a step of validation; None = `batch_size`.
            validation_freq: Keras'.
            patience: epochs without better validation to stop after; None = none.
            restore_best: whether to go back to the epoch with the best validation. An
                EarlyStopping among the callbacks says so instead of these two.
            seed: of the order of the examples.
        """
        self._assert_compile_called("fit")
        watchers = predicting.listed(callbacks)
        self._check_watchers(watchers, patience)
        self._refuse_idle(x, batch_size)
        num_epochs = _num_epochs(epochs, initial_epoch)
        if validation_data is None and validation_split:
            x, y, sample_weight, validation_data = self._split(
                x, y, sample_weight, validation_split
            )
        elif validation_data is None:
            _refuse_unvalidated(
                patience=patience,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
            )
        size = batch_size or recipes.BATCH_SIZE
        made = self._batches(
            x, y, sample_weight, size, seed if shuffle else None, in_order=not shuffle
        )
        train = self._weighed(made, class_weight)
        held_out = self._held_out(validation_data, validation_batch_size, size)
        self._prepare((steps_per_epoch or int(train.cardinality())) * num_epochs)
        self.make_variables(train.element_spec)
        if isinstance(self.optimizer, half.LossScaling):
            watchers.append(half.Watch())
        if held_out is not None:
            watchers += _best_epoch(watchers, epochs, patience, restore_best)
        history = keras.Model.fit(
            self,
            train,
            epochs=epochs,
            verbose=verbose,
            callbacks=watchers,
            validation_data=held_out,
            shuffle=False,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
        )
        for data in (made, held_out):
            streams.warn_of_truncation(data, self._length(), self.way_out)
        return history

    def _held_out(
        self, validation_data: Any, batch_size: int | None, usual: int
    ) -> tf.data.Dataset | None:
        """Makes batches of what `fit` validates on, if it does."""
        if validation_data is None:
            return None
        x, y, sample_weight = self.held_out(validation_data)
        self._refuse_idle(x, batch_size)
        return self._batches(x, y, sample_weight, batch_size or usual)

    def _check_watchers(self, watchers: list[Any], patience: int | None) -> None:
        """Refuses callbacks that could not do what they are for."""
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        schedule = keras.optimizers.schedules.LearningRateSchedule
        is_fixed = isinstance(getattr(inner, "_learning_rate", None), schedule)
        for one in watchers:
            name = type(one).__name__
            if is_fixed and isinstance(one, _SETTERS):
                raise errors.UserError(
                    f"{name} sets the learning rate, and here a schedule does; compile "
                    "with an optimizer whose rate is a number, such as "
                    "optimizer=keras.optimizers.AdamW(1e-4)"
                )
            if patience is not None and isinstance(one, keras.callbacks.EarlyStopping):
                raise errors.UserError(
                    f"patience={patience} and {name} both say when to stop; give one"
                )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Computes the outputs of a batch; in training, of its parts side by side."""
        parts = self.streams
        if not training or parts == 1 or not all(map(tf.is_tensor, inputs.values())):
            return super().call(inputs, training=training, mask=mask)
        rows = tf.shape(next(iter(inputs.values())))[0]
        cuts = [rows * index // parts for index in range(parts + 1)]
        outputs = [
            super(Fitting, self).call(
                {name: field[low:high] for name, field in inputs.items()},
                training=training,
                mask=mask,
            )
            for low, high in itertools.pairwise(cuts)
        ]
        return tf.nest.map_structure(lambda *some: tf.concat(some, 0), *outputs)

    def make_variables(self, spec: Any) -> None:
        """Makes the variables of optimizer, loss and metrics, before a step is traced.

        A step that has to make them is traced twice, and each slot gets a graph that
        initializes it. From a batch of zeros: reading a real one begins an epoch.

        Args:
            spec: of the batches, as `tf.data.Dataset.element_spec`.
        """
        zeros = tf.nest.map_structure(
            lambda field: tf.zeros([size or 1 for size in field.shape], field.dtype),
            spec,
        )
        x, y, weight = keras.utils.unpack_x_y_sample_weight(zeros)
        with self.distribute_strategy.scope():
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            outputs = self(x, training=False)
            self.compute_loss(x, y, outputs, weight)
            self.compute_metrics(x, y, outputs, weight)
            self.reset_metrics()

    def compute_loss(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Returns the loss; each replica's gradient counts by its share of the rows.

        Keras takes the mean over the replicas, which would have rows of a smaller last
        batch count more on one replica than on another.
        """
        loss = super().compute_loss(*args, **kwargs)
        replica = tf.distribute.get_replica_context()
        if not replica or replica.num_replicas_in_sync == 1:
            return loss
        x = kwargs["x"] if "x" in kwargs else args[0]
        rows = tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], loss.dtype)
        mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, rows)
        return loss + (rows / mean - 1.0) * (loss - tf.stop_gradient(loss))

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        """Builds from one replica's part of the first batch.

        Keras takes the mean over the replicas, which fails where the parts differ in
        size: an odd number of rows on two replicas.
        """
        strategy = self._distribute_strategy
        if iterator is not None and strategy is not None:
            data_batch = tf.nest.map_structure(
                lambda part: strategy.experimental_local_results(part)[0],
                next(next(iter(iterator))[-1]),
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def _prepare(self, steps: int) -> None:
        """Compiles again, with a schedule over so many steps."""
        if not self._recipe.automatic:
            return
        if steps < 0:
            raise errors.UserError(
                "the number of batches is unknown, and the schedule needs it: give "
                "steps_per_epoch, or compile with an optimizer of your own"
            )
        with self.distribute_strategy.scope():
            made, compiled = self._optimizer(self._recipe, steps), self._recipe.compiled
            super().compile(**recipes.arguments(self, made, compiled))

    def _optimizer(self, recipe: recipes.Recipe, steps: int) -> optimizer.AdamW:
        grouping = self.grouping(recipe.rates)
        scaled = recipes.is_scaled(self, recipe.compiled)
        return recipes.build_optimizer(recipe.rates, steps, grouping, scaled=scaled)


def _refuse_unvalidated(**given: Any) -> None:
    """Refuses arguments of `fit` that are about validation, where there is none."""
    for name, value in given.items():
        if value is not None:
            raise errors.UserError(
                f"{name}={value} has no effect without validation_data or "
                "validation_split"
            )


def _num_epochs(epochs: int, initial_epoch: int) -> int:
    """Returns how many epochs are trained."""
    if 0 < epochs <= initial_epoch:
        raise errors.UserError(
            f"initial_epoch={initial_epoch} leaves none of epochs={epochs} to train; "
            "epochs counts those before, too"
        )
    return epochs - initial_epoch


def _best_epoch(
    watchers: list[Any], epochs: int, patience: int | None, restore_best: bool
) -> list[Any]:
    """Returns what stops early, or goes back to the best epoch; nothing for neither.

    Nor where a callback of the user's says so.
    """
    is_watched = any(isinstance(one, keras.callbacks.EarlyStopping) for one in watchers)
    if is_watched or (patience is None and not restore_best):
        return []
    return [
        _BestEpoch(
            "val_loss",
            patience=epochs if patience is None else patience,
            restore_best_weights=restore_best,
        )
    ]


class _BestEpoch(keras.callbacks.EarlyStopping):
    """Counts validations, which may come every second epoch; Keras would warn."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.monitor in (logs or {}):
            super().on_epoch_end(epoch, logs)
