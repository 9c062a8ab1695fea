"""A task starts from weights of any kind, and is saved as KerasHub saves.

In:   a preset of any kind: ours, KerasHub's, Hugging Face's, the 2020 code's.
Out:  a task with its encoder's weights, and its head's where the preset has one; a
      preset with checksums.

It asks the task for `networks`, `hugging_face_head`, `found_in` and others.
"""

import contextlib
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import keras

from electra_tf import errors
from electra_tf.system import checksums
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import keras_hub_presets, preprocessor
from electra_tf.tasks import tokenizer as tokenizers
from electra_tf.weights import preset

# What KerasHub raises for a preset that is damaged.
_DAMAGES = (OSError, LookupError, AttributeError, RecursionError, ValueError, TypeError)

# Arguments of a task's constructor that are KerasHub's and Keras'.
INHERITED = ("name", "trainable", "compile")

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Starting(_OtherHalf):
    """The part of a task that reads and writes presets."""

    @classmethod
    def from_preset(cls, preset: str, load_weights: bool = True, **kwargs: Any) -> Self:
        """Builds the task from weights on disk.

        Args:
            preset: a workdir, of pre-training or fine-tuning, or its preset; a Hugging
                Face directory, a checkpoint of the 2020 code; or what KerasHub takes: a
                preset it wrote, or a handle (`kaggle://`, `hf://`).
            load_weights: False draws all weights.
            **kwargs: arguments of the constructor; `dtype` of the backbone, by default
                Keras' global policy, whatever the weights were trained in; and the
                preprocessor's `sequence_length`, `truncate`, `long_texts`, `stride`.
        """
        cls._refuse_unknown(kwargs)
        folder = keras_hub_presets.locate(os.fspath(preset))
        if "://" not in folder and not cls._is_saved_in(folder):
            source = keras_hub_presets.open_any(folder)
            return cls.from_pretrained(source, load_weights, **kwargs)
        checksums.verify(folder)
        settings = cls.preprocessor_cls.settings
        stated = {name: kwargs.pop(name) for name in settings if name in kwargs}
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
        known = [*own, *INHERITED, *cls.preprocessor_cls.settings, "dtype"]
        for method in (cls.compile, cls.fit):
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
        name = cls.network_of(source, kwargs)
        backbone = backbones.ElectraBackbone.from_model_config(
            source.networks[name], dtype=kwargs.pop("dtype", None)
        )
        room = min(preprocessor.SEQUENCE_LENGTH, source.networks[name].max_positions)
        settings = cls.preprocessor_cls.settings
        stated = {name: kwargs.pop(name) for name in settings if name in kwargs}
        if "preprocessor" not in kwargs:
            usual = dict.fromkeys(cls.preprocessor_cls.lengths, room)
            usual |= cls.settings_of(source, name)
            kwargs["preprocessor"] = cls._preprocessor_of(source, usual | stated)
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
        made: preprocessor.ElectraTextPreprocessor
        made = cls.preprocessor_cls(words, **settings)
        return made

    @classmethod
    def settings_of(cls, source: preset.Pretrained, name: str) -> dict[str, Any]:
        """Returns settings of the preprocessor that a source has for this task.

        Args:
            source: the weights.
            name: of its network that is started from.
        """
        return {}

    @classmethod
    def network_of(cls, source: preset.Pretrained, arguments: Mapping[str, Any]) -> str:
        """Chooses the network to start from.

        Args:
            source: the weights.
            arguments: of the constructor, as far as they are stated.
        """
        if name := preset.choose(source, cls.networks):
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
