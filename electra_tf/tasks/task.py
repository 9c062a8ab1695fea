"""What all task models do alike: start from weights, train well by default, predict.

In:   a preset of any kind, or a backbone; Python strings, or a tf.data.Dataset.
Out:  a KerasHub task.

A task says how its inputs become rows, its labels targets, and its outputs answers;
this module does the rest.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import layers
from electra_tf.serving import saved_model, stored_weights
from electra_tf.system import checksums
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    columns,
    inputs,
    keras_hub_presets,
    labels,
    preprocessor,
    streams,
)
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.training import distribution, optimizer
from electra_tf.weights import preset

# Width up to which, peak learning rate and layer-wise decay (paper, Table 7).
RATES = ((256, 3e-4, 0.8), (768, 1e-4, 0.8), (10**9, 5e-5, 0.9))
WARMUP_RATE = 0.1  # of the steps (paper)
CLIP_NORM = 1.0  # 2020 code
EPOCHS = 3  # paper; 10 for RTE and STS-B, 2 for SQuAD
BATCH_SIZE = 32  # paper

# What KerasHub raises for a preset that is damaged.
_DAMAGES = (OSError, LookupError, AttributeError, RecursionError, ValueError, TypeError)

# Arguments of a task's constructor that are KerasHub's and Keras'.
INHERITED = ("name", "trainable", "compile")

# Arguments of `from_preset` that are the preprocessor's.
PREPROCESSING = ("sequence_length", "truncate", "long_texts", "stride")


# Callbacks that set the optimizer's rate.
_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """How `compile` was called. No dict: Keras would count the metrics in it twice."""

    compiled: dict[str, Any]
    automatic: bool  # whether the optimizer is ours, made anew by each `fit`
    learning_rate: float
    layer_decay: float
    weight_decay: float


if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class ElectraTask(_OtherHalf):
    """Half of a KerasHub task on ELECTRA's encoder: to be named before the other half.

    `class X(ElectraTask, keras_hub.models.Task)`, or one of its subclasses for Task.
    This half has no base, as Keras' functional models cannot inherit it twice over.

    With its defaults, `compile` and `fit` train as the paper does: AdamW without bias
    correction, warm-up over 10 % of the steps, linear decay to 0, layer-wise rates,
    gradients clipped to norm 1 after they are summed over the replicas.
    """

    backbone_cls = backbones.ElectraBackbone
    preprocessor_cls = preprocessor.ElectraTextPreprocessor
    # Whose encoder it starts from: the first that is there.
    networks: ClassVar[tuple[str, ...]] = backbones.NETWORKS
    # Hugging Face's head of this task: our path to (its name, whether transposed).
    hugging_face_head: ClassVar[dict[str, tuple[str, bool]]] = {}
    hugging_face_class: str | None = None
    hugging_face_kind: str | None = None  # as `hugging_face` tells heads
    way_out = 'see long_texts="windows"'  # what to do about truncated texts
    # Why a tf.data.Dataset of strings does not do, where it does not.
    of_lists: str | None = None
    has_labels = True  # Whether it learns from labels.
    # Batches of a dataset that are sorted by length together.
    pool_batches = inputs.POOL_BATCHES
    # What labels may be, where they are classes.
    classes: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        errors.refuse_arguments(self, kwargs.keys() - {"inputs", "outputs"}, *INHERITED)
        super().__init__(*args, **kwargs)

    # What a task says.

    def examples(self, x: Any) -> list[Any]:
        """Returns inputs of any form as a list, one each: what `rows` takes too."""
        firsts, seconds = preprocessor.split_pairs(x)
        return firsts if seconds is None else list(zip(firsts, seconds, strict=True))

    def rows(self, x: Any) -> inputs.Rows:
        """Turns inputs into rows of token ids."""
        found: inputs.Rows = self.preprocessor.rows(x)
        return found

    def targets(self, y: Any, rows: inputs.Rows) -> Any:
        """Turns labels, one an input, into targets: see `inputs.batches`."""
        raise NotImplementedError

    def graph_targets(self, y: tf.Tensor) -> tf.Tensor:
        """Does the same to a batch of labels in a tf.data pipeline; learns nothing."""
        return y

    def answers(self, x: Any, rows: inputs.Rows, outputs: list[Any]) -> Any:
        """Turns the outputs of all rows into what `predict` returns.

        By default, the mean over each input's windows.
        """
        if not outputs:
            return np.zeros((0, *self.output_shape[1:]), np.float32)
        return mean_over_windows(outputs, rows)

    def row_weights(
        self, rows: inputs.Rows, sample_weight: Any
    ) -> npt.NDArray[np.float32] | None:
        """Turns weights, one an input, into the rows': shared out among its windows."""
        return _weights(rows, sample_weight)

    def default_loss(self) -> Any:
        """Returns the loss of `compile`."""
        raise NotImplementedError

    def default_loss_weights(self) -> Any:
        """Returns the weights of that loss, where it is several."""
        return None

    def default_metrics(self) -> list[Any]:
        """Returns the metrics of `compile`."""
        return []

    def default_weighted_metrics(self) -> Any:
        """Returns the metrics that heed the weights of samples."""
        return None

    def usual_rates(self) -> tuple[float, float]:
        """Returns the peak rate and the layer-wise decay of `compile`."""
        return usual_rates(self.backbone.model_config)

    def usual_recipe(self) -> dict[str, float]:
        """Returns the rates of `compile` by name."""
        rate, decay = self.usual_rates()
        return {"learning_rate": rate, "layer_decay": decay, "weight_decay": 0.0}

    def held_out(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns inputs, labels and weights of what `fit` validates on."""
        found: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(
            validation_data
        )
        return found

    # Starting.

    @classmethod
    def from_preset(cls, preset: str, load_weights: bool = True, **kwargs: Any) -> Self:
        """Builds the task from weights on disk.

        Args:
            preset: a workdir, of pre-training or fine-tuning, or its preset; a Hugging
                Face directory, a checkpoint of the 2020 code; or what KerasHub takes: a
                preset it wrote, or a handle (`kaggle://`, `hf://`).
            load_weights: False draws all weights.
            **kwargs: of the constructor; `dtype` of the backbone, by default Keras'
                global policy, whatever the weights were trained in; and the
                preprocessor's: see PREPROCESSING.
        """
        cls._refuse_unknown(kwargs)
        folder = keras_hub_presets.locate(os.fspath(preset))
        if "://" not in folder and not cls._is_saved_in(folder):
            source = keras_hub_presets.open_any(folder)
            return cls.from_pretrained(source, load_weights, **kwargs)
        checksums.verify(folder)
        stated = {name: kwargs.pop(name) for name in PREPROCESSING if name in kwargs}
        if kwargs.get("dtype") is None and keras_hub_presets.is_mixed(folder):
            kwargs["dtype"] = keras.config.dtype_policy()
        with _told_damage(folder, has_arguments=bool(kwargs)):
            keras_hub_presets.check_task(folder)
            task: Self = super().from_preset(folder, load_weights, **kwargs)
        if stated:
            task.preprocessor.change(**stated)
        task.check_length()
        return task

    @classmethod
    def _refuse_unknown(cls, options: Iterable[str]) -> None:
        """Refuses arguments that `from_preset` would lose."""
        own = [*inspect.signature(cls.__init__).parameters][1:-1]
        known = [*own, *INHERITED, *PREPROCESSING, "dtype"]
        for method in (ElectraTask.compile, ElectraTask.fit):
            for name in inspect.signature(method).parameters.keys() & {*options}:
                if name not in known:
                    raise errors.UserError(
                        f"{cls.__name__}.from_preset has no {name!r}; say it to "
                        f"{method.__name__}({name}=...)"
                    )
        errors.refuse_unknown(f"{cls.__name__}.from_preset", options, known)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the task from what `get_config` said.

        `keras_hub.models.TextClassifier.from_preset(ours, num_classes=3)` changes the
        number alone: names of other classes are not those of the new head.
        """
        names = config.get("class_names")
        if names and config.get("num_classes") not in (None, len(names)):
            config = {**config, "class_names": None}
        found: Self = super().from_config(config)
        return found

    @classmethod
    def _is_saved_in(cls, folder: str) -> bool:
        """Tells whether a folder is a preset of KerasHub with this very task."""
        if not keras_hub_presets.is_preset(folder):
            return False
        name = keras_hub_presets.task_name(folder)
        return bool(name == keras.saving.get_registered_name(cls))

    @classmethod
    def from_pretrained(
        cls, source: preset.Pretrained, load_weights: bool = True, **kwargs: Any
    ) -> Self:
        """Builds the task from weights that were opened already."""
        name = cls.network_of(source)
        backbone = backbones.ElectraBackbone.from_model_config(
            source.networks[name], dtype=kwargs.pop("dtype", None)
        )
        room = min(preprocessor.SEQUENCE_LENGTH, source.networks[name].max_positions)
        stated = {name: kwargs.pop(name) for name in PREPROCESSING if name in kwargs}
        if "preprocessor" not in kwargs:
            settings = {"sequence_length": room, **stated}
            kwargs["preprocessor"] = cls._preprocessor_of(source, settings)
        has_head = cls.fits_head(source)
        if has_head and not {"num_classes", "class_names"} & kwargs.keys():
            kwargs = {**cls.found_in(source), **kwargs}
        elif has_head and "num_classes" in cls.found_in(source):
            has_head = False  # As in KerasHub: who states its size starts a new one.
        task = cls(backbone=backbone, **kwargs)
        if load_weights:
            task.take_weights(source, name)
            if has_head:
                task.take_head(source)
        task.check_length()
        return task

    @classmethod
    def _preprocessor_of(
        cls, source: preset.Pretrained, settings: dict[str, Any]
    ) -> preprocessor.ElectraTextPreprocessor:
        words = tokenizers.ElectraTokenizer.from_source(source)
        return cls.preprocessor_cls(words, **settings)

    @classmethod
    def network_of(cls, source: preset.Pretrained) -> str:
        """Chooses the network to start from."""
        for name in cls.networks:
            if name in source.networks:
                return name
        raise errors.UserError(
            f"{source.folder} has no {' or '.join(cls.networks)}; it has "
            f"{', '.join(source.networks)}"
        )

    @classmethod
    def fits_head(cls, source: preset.Pretrained) -> bool:
        """Tells whether the source, a Hugging Face directory, has this task's head."""
        head = getattr(source, "head", None)
        return head is not None and head == cls.hugging_face_kind

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns constructor arguments of a head that the source has for this task."""
        return {}

    def take_weights(self, source: preset.Pretrained, name: str) -> None:
        """Copies what has the same path: the encoder, and a head that both have."""
        backbones.take_weights(self, self.backbone, source, name)

    def take_head(self, source: preset.Pretrained) -> None:
        """Copies the head of a Hugging Face directory."""
        arrays = source.read_head()  # type: ignore[attr-defined]
        ours = {variable.path: variable for variable in self.weights}
        for path, (name, transposed) in self.hugging_face_head.items():
            array = arrays[name].T if transposed else arrays[name]
            ours[path].assign(array)

    def fits_hugging_face(self) -> bool:
        """Tells whether the head is one that Hugging Face has."""
        paths = {variable.path for variable in self.weights}
        return bool(self.hugging_face_head) and self.hugging_face_head.keys() <= paths

    def label_names(self) -> list[str] | None:
        """Returns the names of the classes, for Hugging Face's config."""
        if not hasattr(self, "num_classes"):
            return None
        names = getattr(self, "class_names", None)
        return [*map(str, names or [f"LABEL_{i}" for i in range(self.num_classes)])]

    def problem_type(self) -> str | None:
        """Returns transformers' word for what a head of texts learned."""
        return None

    def class_labels(self) -> list[str] | None:
        """Returns the names of the classes; numbers, where they have none."""
        if not hasattr(self, "num_classes"):
            return None
        names = getattr(self, "class_names", None)
        return [str(name) for name in names or range(self.num_classes)]

    def exported(
        self, path: str, array: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Returns an array of the head as Hugging Face's head should have it."""
        return array

    def check_length(self) -> None:
        """Refuses rows longer than the position table."""
        # Whoever has another preprocessor, or none, sees to it.
        wanted = getattr(self.preprocessor, "sequence_length", 0)
        table = self.backbone.model_config.max_positions
        if wanted > table:
            raise errors.UserError(
                f"sequence_length={wanted} exceeds the position table of {table}; "
                f'take {table} or less, and long_texts="windows" for longer texts'
            )

    def save_to_preset(self, preset_dir: Any, *args: Any, **kwargs: Any) -> None:
        """Saves as KerasHub does, with checksums."""
        with checksums.renewed(preset_dir):
            super().save_to_preset(preset_dir, *args, **kwargs)

    def save_task_weights(self, filepath: Any) -> None:
        """Saves the head; not, as KerasHub does, the optimizer with it."""
        with self._without_optimizer():
            super().save_task_weights(filepath)

    def load_task_weights(self, filepath: Any) -> None:
        """Loads the head, all of it; Keras would warn that there is no optimizer.

        Raises:
            UserError: the file is damaged, or of another head.
        """
        path = os.fspath(filepath)
        checksums.verify_file(path)  # KerasHub's own classes do not.
        with self._without_optimizer():
            preset.load_file(super().load_task_weights, path)
        encoder = {id(variable) for variable in self.backbone.weights}
        head = [variable for variable in self.weights if id(variable) not in encoder]
        backbones.refuse_leftovers(path, head)

    @contextlib.contextmanager
    def _without_optimizer(self) -> Iterator[None]:
        optimizer = getattr(self, "optimizer", None)  # None was compiled yet.
        self.optimizer = None
        try:
            yield
        finally:
            self.optimizer = optimizer

    # Serving.

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the ways in which a server can ask the model: see `graph`."""
        raise NotImplementedError

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
        about = self.described(origin)
        stored = stored_weights.store(self.weights, weights)
        self.preprocessor.fixed_length = fixed_length
        # What was traced reads other variables.
        self._traced: tuple[Any, Any] = (None, None)
        # An accelerator shares out operations by itself.
        parts = contextlib.nullcontext() if fixed_length else layers.split_rows()
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
        inputs.frame_texts([], [], before.frame)  # Refuses what has no room for pairs.
        several: Any = self if getattr(self, "multi_label", False) else None
        return {
            "task": type(self).__name__,
            "origin": origin,
            "labels": self.class_labels(),
            **({"thresholds": several.thresholds} if several else {}),
            "rows": {name: getattr(before, name) for name in PREPROCESSING},
            "tokenizer": before.tokenizer.tokenizer_config.model_dump(),
            "encoder": self.backbone.model_config.model_dump(),
        }

    # Training.

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
            auto_scale_loss: Keras'.
            learning_rate: peak, with "auto"; None = the paper's for the width: 3e-4,
                1e-4, 5e-5 for small, base, large.
            layer_decay: of the rates from block to block, with "auto"; None = 0.8, for
                large 0.9 (paper).
            weight_decay: with "auto"; None = 0 (paper; 2020 code: 0.01).

        Raises:
            UserError: an argument would have no effect, or makes no sense. As after
                each error, all is as it was before.
        """
        given = {
            "learning_rate": learning_rate,
            "layer_decay": layer_decay,
            "weight_decay": weight_decay,
        }
        is_ours = isinstance(optimizer, AutoAdamW)
        automatic = is_ours or (isinstance(optimizer, str) and optimizer == "auto")
        rates = {name: rate for name, rate in given.items() if rate is not None}
        _check_rates(rates, optimizer, automatic)
        usual = optimizer.rates_given() if is_ours else self.usual_recipe()
        if isinstance(loss_weights, str) and loss_weights == "auto":
            own = isinstance(loss, str) and loss == "auto"
            loss_weights = self.default_loss_weights() if own else None
        if isinstance(weighted_metrics, str) and weighted_metrics == "auto":
            weighted_metrics = self.default_weighted_metrics()
        if isinstance(metrics, str) and metrics == "auto":
            metrics = self.default_metrics()
        recipe = _Recipe(
            {
                "loss": self.default_loss() if loss == "auto" else loss,
                "loss_weights": loss_weights,
                # Of None, Keras would keep those of the compile before.
                "metrics": metrics or [],
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
            },
            automatic,
            **{**usual, **rates},
        )
        if automatic:
            optimizer = self._optimizer(recipe, steps=1)
        before = dict(self.__dict__)
        try:
            super().compile(optimizer=optimizer, **recipe.compiled)
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        self._recipe = recipe

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`, for a .keras file or a clone."""
        recipe = self._recipe
        config: dict[str, Any] = super().get_compile_config()
        if recipe.automatic:
            config["optimizer"] = keras.saving.serialize_keras_object(
                AutoAdamW(recipe.learning_rate, recipe.layer_decay, recipe.weight_decay)
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
        epochs: int = EPOCHS,
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
            y: labels, one an input.
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
            sample_weight: of the loss, one an input.
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
        size = batch_size or BATCH_SIZE
        watchers = _listed(callbacks)
        self._check_watchers(watchers, patience)
        self._refuse_idle(x, batch_size)
        num_epochs = _num_epochs(epochs, initial_epoch)
        if validation_data is None and not validation_split:
            _refuse_unvalidated(
                patience=patience,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
            )
        if validation_split and validation_data is None:
            x, y, sample_weight, validation_data = self._split(
                x, y, sample_weight, validation_split
            )
        made = train = self._batches(
            x, y, sample_weight, size, seed if shuffle else None, in_order=not shuffle
        )
        if class_weight is not None:
            train = self._weighed(train, class_weight)
        if validation_data is not None:
            held_out = self.held_out(validation_data)
            self._refuse_idle(held_out[0], validation_batch_size)
            validation_data = self._batches(*held_out, validation_batch_size or size)
        steps = steps_per_epoch or int(train.cardinality())
        self._prepare(steps * num_epochs)
        self.make_variables(train.element_spec)
        is_watched = any(
            isinstance(one, keras.callbacks.EarlyStopping) for one in watchers
        )
        if validation_data is not None and not is_watched:
            watchers += _best_epoch(epochs, patience, restore_best)
        history = keras.Model.fit(
            self,
            train,
            epochs=epochs,
            verbose=verbose,
            callbacks=watchers,
            validation_data=validation_data,
            shuffle=False,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
        )
        for data in (made, validation_data):
            streams.warn_of_truncation(data, self._length(), self.way_out)
        return history

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

    def _length(self) -> int:
        return int(getattr(self.preprocessor, "sequence_length", 0))

    def _refuse_idle(self, x: Any, batch_size: int | None = None) -> None:
        """Refuses what has no effect on a dataset, and a dataset without labels."""
        if not isinstance(x, tf.data.Dataset):
            return
        if self.of_lists and not self._is_prepared(streams.inputs_of(x)):
            raise errors.UserError(self.of_lists)
        if batch_size is not None:
            raise errors.UserError(
                f"batch_size={batch_size} has no effect on a tf.data.Dataset, whose "
                "batches stay as they are; see its rebatch"
            )
        if self.has_labels and not isinstance(x.element_spec, tuple):
            raise errors.UserError(
                "the dataset has no labels; want batches of (inputs, labels)"
            )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Computes the outputs of a batch; where it trains, of its parts side by side.

        See `distribution.share_cores`.
        """
        parts = distribution.streams()
        if not training or parts == 1 or not all(map(tf.is_tensor, inputs.values())):
            return super().call(inputs, training=training, mask=mask)
        rows = tf.shape(next(iter(inputs.values())))[0]
        cuts = [rows * index // parts for index in range(parts + 1)]
        outputs = [
            super(ElectraTask, self).call(
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

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Makes batches for the model, from what `fit` takes.

        Args:
            x: inputs.
            y: labels.
            sample_weight: of the loss.
            batch_size: inputs a batch.
            shuffle_seed: see `inputs.batches`.
            in_order: whether what is not shuffled stays as it is; else the longest come
                first, which takes less time.
        """
        if isinstance(x, tf.data.Dataset):
            pool = 1 if in_order else self.pool_batches
            return self._of_dataset(x, shuffle_seed, pool)
        rows, targets = self.labelled_rows(x, y)
        return inputs.batches(
            rows,
            targets,
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=self.row_weights(rows, sample_weight),
            order=None if in_order else inputs.by_length(rows),
        )

    def _of_dataset(
        self, data: tf.data.Dataset, shuffle_seed: int | None, pool: int
    ) -> tf.data.Dataset:
        """Makes batches of those of a dataset, of strings or of token ids."""
        self.check_length()
        if self._is_prepared(streams.inputs_of(data)):
            return data.map(self._with_targets, tf.data.AUTOTUNE).prefetch(2)
        if self.of_lists:
            raise errors.UserError(self.of_lists)
        return streams.batches(
            data,
            self.preprocessor,
            self.graph_targets,
            shuffle_seed=shuffle_seed,
            pool=pool,
        )

    @tf.autograph.experimental.do_not_convert  # Whose errors are pages long.
    def _with_targets(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Turns labels of a batch of token ids into targets."""
        y = None if y is None else self.graph_targets(y)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def _weighed(self, data: tf.data.Dataset, class_weight: Any) -> tf.data.Dataset:
        """Gives each label of batches the weight of its class.

        Raises:
            UserError: there are no classes, or several an input.
        """
        if self.classes is None:
            raise errors.UserError(
                f"class_weight: {type(self).__name__} has no classes to weigh; give "
                "sample_weight, a weight an input"
            )
        table = self.classes.weights(class_weight)
        is_vector = data.element_spec[1].dtype.is_floating
        if is_vector and "categorical" not in loss_name(self.loss):
            raise errors.UserError(
                "class_weight: the labels may have several classes each, and the loss "
                "is one for all; give sample_weight, a weight an input"
            )

        @tf.autograph.experimental.do_not_convert
        def weigh(x: Any, y: tf.Tensor, sample_weight: Any = 1.0) -> Any:
            if is_vector:
                weights = tf.linalg.matvec(y, table)
            else:  # -1 stands where there is no label.
                weights = tf.gather(table, tf.maximum(y, 0))
            return x, y, weights * tf.cast(sample_weight, tf.float32)

        return data.map(weigh)

    def strings(self, x: Any, steps: int | None = None) -> tuple[Any, int | None]:
        """Returns inputs, those of a dataset of strings as a list, and what is left.

        Args:
            x: inputs.
            steps: batches of the dataset to take; None = all.

        Returns:
            The inputs; and steps, None where they were taken.

        Raises:
            UserError: they have no end.
        """
        if not isinstance(x, tf.data.Dataset) or self._is_prepared(
            streams.inputs_of(x)
        ):
            return x, steps
        if steps is None and int(x.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise errors.UserError(
                "the dataset has no end; give steps=..., or .take(...)"
            )
        return streams.texts(x if steps is None else x.take(steps)), None

    def labelled_rows(self, x: Any, y: Any) -> tuple[inputs.Rows, Any]:
        """Turns inputs into rows and labels into targets; says what was cut."""
        self.check_length()
        columns.refuse_streams(x, "inputs")
        rows = self.rows(x)
        if not rows.token_ids:
            raise errors.UserError("no inputs to train or evaluate on: x is empty")
        targets = self.targets(y, rows)
        inputs.warn_of_truncation(rows, self.preprocessor.sequence_length, self.way_out)
        return rows, targets

    def _batches(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Does as `dataset`, and takes arrays of token ids too."""
        if isinstance(x, tf.data.Dataset):
            if y is not None or sample_weight is not None:
                raise errors.UserError(
                    "labels and weights come with a tf.data.Dataset: make it one of "
                    "(inputs, labels, weights)"
                )
            made = self.dataset(x, shuffle_seed=shuffle_seed, in_order=in_order)
            return streams.counted(made) if int(x.cardinality()) >= 0 else made
        if not self._is_prepared(x):
            return self.dataset(x, y, sample_weight, batch_size, shuffle_seed, in_order)
        given = ((y, "labels"), (sample_weight, "sample weights"))
        y, sample_weight = (_arrays(one, what) for one, what in given)
        fields = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        data = tf.data.Dataset.from_tensor_slices(fields)
        if shuffle_seed is not None:
            data = data.shuffle(int(data.cardinality()), shuffle_seed)
        return data.batch(batch_size).map(self._with_targets).prefetch(2)

    def preprocess_samples(
        self, x: Any, y: Any = None, sample_weight: Any = None
    ) -> Any:
        """Turns inputs into one batch, for `train_on_batch` and `test_on_batch`."""
        (batch,) = self._batches(x, y, sample_weight, 10**9)
        return batch

    @errors.named_arguments
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        _use_cached_eval_dataset: bool = False,
    ) -> Any:
        """Returns loss and metrics, as `keras.Model.evaluate` does."""
        self._assert_compile_called("evaluate")
        if not _use_cached_eval_dataset:
            self._refuse_idle(x, batch_size)
            x = self._batches(x, y, sample_weight, batch_size or BATCH_SIZE)
            y = sample_weight = batch_size = None
        found = keras.Model.evaluate(
            self,
            x,
            y,
            batch_size=batch_size,
            verbose=verbose,
            sample_weight=sample_weight,
            steps=steps,
            callbacks=callbacks,
            return_dict=return_dict,
            _use_cached_eval_dataset=_use_cached_eval_dataset,
        )
        streams.warn_of_truncation(x, self._length(), self.way_out)
        return found

    def predict_on_batch(self, x: Any) -> Any:
        """Does as `predict`."""
        return self.predict(x)

    @errors.named_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Returns the task's answers, in the order of the inputs.

        The arguments are Keras'. Of Python values, which come a batch of like length
        after the other, none is left out (`steps`), and "auto" shows no progress.
        """
        x, steps = self.strings(x, steps)
        if isinstance(x, tf.data.Dataset) or self._is_prepared(x):
            data = self._batches(x, None, None, batch_size or BATCH_SIZE)
            return keras.Model.predict(
                self, data, verbose=verbose, steps=steps, callbacks=callbacks
            )
        self.check_length()
        rows, size = self.rows(x), batch_size or BATCH_SIZE
        inputs.warn_of_truncation(rows, self.preprocessor.sequence_length, self.way_out)
        with self.watched(len(rows.token_ids), size, verbose, steps, callbacks) as told:
            return self.answers(x, rows, self.outputs_of(rows, size, watchers=told))

    @contextlib.contextmanager
    def watched(
        self, count: int, batch_size: int, verbose: Any, steps: Any, callbacks: Any
    ) -> Iterator[keras.callbacks.CallbackList]:
        """Yields who is to be told of each batch of a prediction of Python values.

        Raises:
            UserError: `steps` would leave some out.
        """
        if steps is not None:
            raise errors.UserError(
                f"steps={steps} is for a tf.data.Dataset; give fewer inputs"
            )
        shown = 0 if verbose == "auto" else int(verbose)
        watchers = keras.callbacks.CallbackList(
            _listed(callbacks),
            add_progbar=shown != 0,
            verbose=shown,
            epochs=1,
            steps=-(-count // batch_size),
            model=self,
        )
        watchers.on_predict_begin()
        yield watchers
        watchers.on_predict_end()

    def outputs_of(
        self,
        rows: inputs.Rows,
        batch_size: int,
        fields: dict[str, list[inputs.Ids]] | None = None,
        reduce: Callable[[Any], Any] | None = None,
        watchers: keras.callbacks.CallbackList | None = None,
    ) -> list[Any]:
        """Runs the model over rows, long ones first; returns each row's outputs.

        Args:
            rows: what to run it over.
            batch_size: rows at once.
            fields: more inputs of the model by name, an array a row, padded with 0.
            reduce: makes less of a batch's outputs, where they are large.
            watchers: are told of each batch when it is there.

        Returns:
            A list, a row each: what the model returns, without the batch axis, numpy.
            Outputs a token keep the padding of their batch.
        """
        order = inputs.by_length(rows)
        longest = max(map(len, rows.token_ids), default=0)
        found: list[Any] = [None] * len(order)
        done = 0
        forward = self.forward()

        def run(places: inputs.Ids) -> Any:
            batch = inputs.padded(rows, places, longest, fields or {})
            out = forward(tf.nest.map_structure(tf.constant, batch))
            return tf.nest.map_structure(np.asarray, reduce(out) if reduce else out)

        starts = range(0, len(order), batch_size)
        batches = (order[start : start + batch_size] for start in starts)
        for number, out in enumerate(_side_by_side(run, batches)):
            if watchers:
                watchers.on_predict_batch_begin(number)
                watchers.on_predict_batch_end(number, {"outputs": out})
            size = len(tf.nest.flatten(out)[0])
            for place, index in enumerate(order[done : done + size]):
                found[index] = tf.nest.map_structure(lambda a, p=place: a[p], out)
            done += size
        return found

    def forward(self) -> Any:
        """Returns the forward pass, a tf.function, anew when the variables are others.

        It takes the model's inputs by name, int32, and drops nothing.
        """
        weights = tuple(id(variable) for variable in self.weights)
        key = layers.are_blocks_inlined(), weights
        if getattr(self, "_traced", (None, None))[0] != key:
            signature = {
                name: tf.TensorSpec(field.shape, tf.int32)
                for name, field in self.input.items()
            }
            function = tf.function(
                lambda x: self(x, training=False),
                input_signature=[signature],
                autograph=False,
            )
            function.get_concrete_function()  # Now: `outputs_of` calls it in threads.
            self._traced = (key, function)
        return self._traced[1]

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

    def _split(self, x: Any, y: Any, weight: Any, rate: float) -> tuple[Any, ...]:
        """Holds out the end: x, y and weights of what is left; and those held out."""
        if isinstance(x, tf.data.Dataset):
            raise errors.UserError(
                "validation_split cannot cut a tf.data.Dataset; give validation_data"
            )
        columns.refuse_streams(x, "inputs")
        x = {**x} if self._is_prepared(x) else self.examples(x)
        count = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
        held_out = round(rate * count)
        if not 0 < held_out < count:
            raise errors.UserError(
                f"validation_split={rate} of {count:,} inputs leaves "
                f"{count - held_out:,} to train on and {held_out:,} to validate on; "
                "take another share, or give validation_data"
            )

        def part(cut: slice) -> tuple[Any, ...]:
            fields = (
                {name: field[cut] for name, field in x.items()}
                if isinstance(x, dict)
                else x[cut]
            )
            return (fields, *(None if one is None else one[cut] for one in others))

        others = [
            None if one is None else columns.values(one, what)
            for one, what in ((y, "labels"), (weight, "sample weights"))
        ]
        return (*part(slice(count - held_out)), part(slice(count - held_out, None)))

    def _is_prepared(self, x: Any) -> bool:
        """Tells whether inputs are token ids already."""
        return self.preprocessor is None or (isinstance(x, dict) and "token_ids" in x)

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
            optimizer = self._optimizer(self._recipe, steps)
            super().compile(optimizer=optimizer, **self._recipe.compiled)

    def _optimizer(self, recipe: _Recipe, steps: int) -> optimizer.AdamW:
        return build_optimizer(
            self.backbone.model_config,
            self.trainable_variables,
            steps,
            learning_rate=recipe.learning_rate,
            layer_decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
        )


def _check_rates(rates: dict[str, Any], optimizer: Any, automatic: bool) -> None:
    """Refuses rates that another optimizer would not heed, or that are no numbers."""
    for name, rate in rates.items():
        if not automatic:
            is_name = isinstance(optimizer, str)
            called = optimizer if is_name else type(optimizer).__name__
            raise errors.UserError(
                f"{name}={rate!r:.60} has no effect on optimizer {called}; leave "
                "optimizer out, or give the rate to it, as in "
                "optimizer=keras.optimizers.AdamW(learning_rate=1e-4)"
            )
        is_number = isinstance(rate, int | float | np.number)
        if not is_number or not 0 <= rate < np.inf:
            raise errors.UserError(
                f"{name}={rate!r:.60}: want a number, 0 or more; a schedule of your "
                "own goes into an optimizer of your own"
            )


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


def _best_epoch(epochs: int, patience: int | None, restore_best: bool) -> list[Any]:
    """Returns what stops early, or goes back to the best epoch; nothing for neither."""
    if patience is None and not restore_best:
        return []
    patience = epochs if patience is None else patience
    return [
        _BestEpoch("val_loss", patience=patience, restore_best_weights=restore_best)
    ]


class _BestEpoch(keras.callbacks.EarlyStopping):
    """Counts validations, which may come every second epoch; Keras would warn."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.monitor in (logs or {}):
            super().on_epoch_end(epoch, logs)


def _arrays(given: Any, what: str) -> Any:
    """Returns labels or weights as arrays; by name, where the outputs are several."""
    if given is None:
        return None
    if isinstance(given, dict):
        return {name: _arrays(part, what) for name, part in given.items()}
    return np.array(columns.values(given, what))


def _listed(callbacks: Any) -> list[Any]:
    """Returns callbacks, one or several, as a list of one's own."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    return keras.tree.flatten(callbacks) if callbacks else []


@contextlib.contextmanager
def _told_damage(folder: str, has_arguments: bool) -> Iterator[None]:
    """Makes one line of what KerasHub raises for a preset that is damaged."""
    try:
        yield
    except errors.UserError:
        raise
    except _DAMAGES as error:
        if has_arguments and isinstance(error, ValueError | TypeError):
            raise  # They may be of an argument.
        reason = errors.one_line(error, 200)
        raise errors.UserError(
            f"cannot open {folder}: {reason}; copy or write it again"
        ) from None


def usual_rates(model: config.ModelConfig) -> tuple[float, float]:
    """Returns the paper's peak rate and layer-wise decay for an encoder's width."""
    return next(found[1:] for found in RATES if model.hidden_size <= found[0])


@keras.saving.register_keras_serializable(package="electra_tf")
class AutoAdamW(optimizer.AdamW):
    """What `compile` of a task takes for its "auto", on its way through a file.

    In a model that is no task, a clone or another one with such layers, it is AdamW at
    a fixed rate, the same for all layers.
    """

    def __init__(
        self,
        learning_rate: float,
        layer_decay: float,
        weight_decay: float = 0.0,
        name: str = "adamw",
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            clip_norm=CLIP_NORM,
            reduce=True,
            name=name,
        )
        self.layer_decay = layer_decay

    def rates_given(self) -> dict[str, float]:
        """Returns the rates by name."""
        return {
            "learning_rate": float(self.learning_rate),
            "layer_decay": self.layer_decay,
            "weight_decay": self.decoupled_decay,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same optimizer."""
        return {**self.rates_given(), "name": self.name}


def build_optimizer(
    model: config.ModelConfig,
    variables: Iterable[keras.Variable],
    steps: int,
    *,
    learning_rate: float,
    layer_decay: float,
    weight_decay: float,
    warmup_rate: float = WARMUP_RATE,
) -> optimizer.AdamW:
    """Builds the optimizer of fine-tuning, which reduces and clips by itself.

    Args:
        model: the encoder.
        variables: to train, the encoder's and the heads'.
        steps: of the schedule.
        learning_rate: its peak.
        layer_decay: of the rates from block to block.
        weight_decay: not of biases and LayerNorms.
        warmup_rate: share of the steps.
    """
    paths = [variable.path for variable in variables]
    return optimizer.AdamW(
        optimizer.WarmupDecay(
            learning_rate, steps, warmup_steps=round(warmup_rate * steps)
        ),
        weight_decay=weight_decay,
        rates=optimizer.layer_rates(paths, model.num_layers, layer_decay),
        clip_norm=CLIP_NORM,
        reduce=True,
    )


def _side_by_side(
    function: Callable[[Any], Any], values: Iterable[Any]
) -> Iterator[Any]:
    """Yields the function of each value in order, while those to come are made.

    Two at once: a core that has nothing to do in one batch works at the other (D23).
    """
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
        for value in values:
            made.append(pool.submit(function, value))
            if len(made) > 2:
                yield made.popleft().result()
        while made:
            yield made.popleft().result()


def mean_over_windows(outputs: list[Any], rows: inputs.Rows) -> npt.NDArray[Any]:
    """Averages arrays over the rows of each input: [inputs, ...]."""
    stacked = np.stack(outputs)
    sums = np.zeros((rows.num_inputs, *stacked.shape[1:]), np.float32)
    np.add.at(sums, rows.source, stacked)
    counts = np.bincount(rows.source, minlength=rows.num_inputs)
    counts = np.maximum(counts, 1).reshape(-1, *[1] * (sums.ndim - 1))
    return sums / counts.astype(np.float32)


def _weights(rows: inputs.Rows, sample_weight: Any) -> npt.NDArray[np.float32] | None:
    """Shares each input's weight out among its windows."""
    counts = np.bincount(rows.source, minlength=rows.num_inputs)
    if sample_weight is None and counts.max(initial=0) <= 1:
        return None
    if sample_weight is None:
        given = np.ones(rows.num_inputs, np.float32)
    else:
        given = labels.weights(sample_weight, rows.num_inputs)
    shares = given / np.maximum(counts, 1)
    return shares[rows.source].astype(np.float32)


def is_sparse(loss: Any) -> bool:
    """Tells whether a loss takes class numbers; None is the task's, which does."""
    return loss is None or "sparse" in loss_name(loss)


def loss_name(loss: Any) -> str:
    """Returns how Keras calls a loss, or the name of a function."""
    return loss if isinstance(loss, str) else str(getattr(loss, "name", loss))
