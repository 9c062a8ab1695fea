"""The encoder as a KerasHub backbone: what the task models stand on.

Importing this registers it: `keras_hub.models.Backbone.from_preset` then knows it.

In:   token_ids, segment_ids, padding_mask, int32 or bool [B, L].
Out:  sequence_output [B, L, D]; pooled_output [B, D], the state of [CLS].

The layers, and so the names of the weights, are those of `models.build_encoder`.
"""

import functools
import importlib
import os
from collections.abc import Callable, Collection
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.system import checksums
from electra_tf.weights import preset

# KerasHub's word where it differs from that of `config.ModelConfig`.
_THEIR_NAMES = {
    "hidden_size": "hidden_dim",
    "embedding_size": "embedding_dim",
    "intermediate_size": "intermediate_dim",
    "hidden_dropout_rate": "dropout",
    "attention_dropout_rate": "attention_dropout",
    "max_positions": "max_sequence_length",
}
_OUR_NAMES = {theirs: ours for ours, theirs in _THEIR_NAMES.items()}

# Whose encoder is taken: the first that is there. One that is kept beside a
# discriminator is kept for this (objective teams). A masked language model that was
# pre-trained alone (objective mlm) is a generator.
NETWORKS = ("encoder", "discriminator", "generator")

MIXED = "mixed_"  # the start of a policy's name that computes in another dtype


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraBackbone(keras_hub.models.Backbone):
    """ELECTRA's encoder, with exact GELU and without a pooler, as published.

    `pooled_output` is the last state of the first token and has no weights of its own
    (2020 code). `keras_hub.models.ElectraBackbone` differs in both. `first_state` is
    the same, symbolic, for models that want nothing else: it costs less, as the last
    block works for the first token alone (D29).

    Args:
        vocab_size: rows of the word table.
        num_layers: encoder blocks.
        num_heads: attention heads; divides hidden_dim.
        hidden_dim: width of the encoder.
        embedding_dim: width of the embedding tables.
        intermediate_dim: width of the feed-forward layer.
        dropout: after embeddings and sub-layers.
        attention_dropout: on attention probabilities; None = `dropout`.
        max_sequence_length: rows of the position table.
        num_segments: rows of the segment table.
        activation: see `config.ModelConfig`.
        layer_norm_epsilon: in all LayerNorms.
        initializer_range: sigma of the truncated normal that weights are drawn from.
        position_initializer: see `config.ModelConfig`.
        dtype: Keras dtype policy.
    """

    dtype_policy: Any  # Keras' property

    def __init__(
        self,
        vocab_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        embedding_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        attention_dropout: float | None = None,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        activation: str = "gelu",
        layer_norm_epsilon: float = 1e-12,
        initializer_range: float = 0.02,
        position_initializer: str = "normal",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        given = locals()
        errors.refuse_arguments(self, kwargs, "name", "trainable")
        model = model_config(
            {name: given[name] for name in _names()}, "ElectraBackbone"
        )
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in ("token_ids", "segment_ids", "padding_mask")
        }
        rows = {
            "token_ids": inputs["token_ids"],
            "segment_ids": inputs["segment_ids"],
            # Padding is an example of its own, as in pre-training.
            "example_ids": inputs["padding_mask"],
            "position_ids": Positions(
                max_sequence_length, name="positions", dtype=dtype
            )(inputs["token_ids"]),
        }
        hidden = models.encode(model, rows, dtype=dtype)  # [B, L, D]
        super().__init__(
            inputs=inputs,
            outputs={"sequence_output": hidden, "pooled_output": hidden[:, 0, :]},
            dtype=dtype,
            **kwargs,
        )
        last = self.get_layer(f"layer_{num_layers - 1}")
        self.first_state = last(*last.input, first_only=True)[:, 0, :]  # [B, D]
        self.model_config = model
        for name, value in _arguments(model).items():
            setattr(self, name, value)  # As all of KerasHub's backbones.

    @classmethod
    def from_model_config(
        cls, model: config.ModelConfig, **kwargs: Any
    ) -> "ElectraBackbone":
        """Builds the backbone of an architecture, with random weights."""
        return cls(**{**_arguments(model), **kwargs})

    @classmethod
    def from_preset(
        cls, preset: str, load_weights: bool = True, **kwargs: Any
    ) -> "ElectraBackbone":
        """Builds the encoder of weights on disk.

        Args:
            preset: what a task's `from_preset` takes; of several networks, the
                discriminator.
            load_weights: False draws all weights.
            **kwargs: arguments of the constructor.
        """
        folder, source = presets().open_unless_ours(os.fspath(preset))
        if source is None:
            found: ElectraBackbone = super().from_preset(folder, load_weights, **kwargs)
            return found
        name = _chosen(source)
        made = cls.from_model_config(source.networks[name], **kwargs)
        if load_weights:
            take_weights(made, made, source, name)
        return made

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Loads weights, all of them; refuses a damaged file, and one that has more.

        Keras leaves what it has no place for, such as the blocks of a deeper encoder.
        """
        load = functools.partial(
            super().load_weights, skip_mismatch=skip_mismatch, **kwargs
        )
        checksums.verify_file(os.fspath(filepath))  # KerasHub's own classes do not.
        if skip_mismatch:
            load(filepath)
            return
        preset.load_file(load, os.fspath(filepath))
        if str(filepath).endswith(".h5"):
            refuse_leftovers(os.fspath(filepath), self.weights)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same backbone."""
        return {**super().get_config(), **_arguments(self.model_config)}

    def save_to_preset(self, preset_dir: str, **kwargs: Any) -> None:
        """Saves as KerasHub does; of a mixed policy, the dtype of the weights alone.

        With checksums.

        KerasHub cannot open a task whose backbone was saved as mixed_bfloat16. Nothing
        is lost: whoever opens a preset and names no dtype gets Keras' global policy.
        """
        policy = self.dtype_policy
        if policy.name.startswith(MIXED):
            self.dtype_policy = policy.variable_dtype
        try:
            with checksums.renewed(preset_dir):
                super().save_to_preset(preset_dir, **kwargs)
        finally:
            self.dtype_policy = policy


@keras.saving.register_keras_serializable(package="electra_tf")
class Positions(keras.layers.Layer):
    """Numbers the tokens of each row from 0."""

    def __init__(self, max_positions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._max_positions = max_positions

    def call(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Turns int32 [B, L] into int32 [B, L].

        Raises:
            UserError: rows are longer than the position table. A GPU would not say so.
        """
        length = token_ids.shape[1]
        if length is not None and length > self._max_positions:
            raise errors.UserError(
                f"rows of {length} tokens are too long for {self._max_positions} "
                "positions; cut them (sequence_length of the preprocessor)"
            )
        row = tf.range(tf.shape(token_ids)[1])
        return tf.broadcast_to(row, tf.shape(token_ids))

    def compute_output_spec(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the same shape; positions are int32 whatever the policy."""
        return keras.KerasTensor(token_ids.shape, dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same layer."""
        return {**super().get_config(), "max_positions": self._max_positions}


def refuse_leftovers(path: str, variables: Collection[keras.Variable]) -> None:
    """Refuses a file that holds more weights than were loaded.

    Raises:
        UserError: it does.
    """
    found = preset.stored_arrays(path)
    if len(found) > len(variables):
        raise errors.UserError(
            f"{path} holds {len(found)} arrays, and the model has "
            f"{len(variables)}; its configuration is not that of the weights: put the "
            "one back that was written with them"
        )


def _chosen(source: preset.Pretrained) -> str:
    name = preset.choose(source, NETWORKS)
    assert name, source.networks  # Whatever it is, it has an encoder.
    return name


def presets() -> Any:
    """Returns the module that opens presets, which is loaded after these classes."""
    return importlib.import_module("electra_tf.tasks.keras_hub_presets")


def take_weights(
    model: keras.Model,
    encoder: keras.Model,
    source: preset.Pretrained,
    name: str,
    make: Callable[[], keras.Model] | None = None,
) -> None:
    """Copies what has the same path: the encoder, and a head that both have.

    Args:
        model: to fill.
        encoder: its part that the source must have.
        source: opened weights.
        name: of the network in it.
        make: see `preset.build`.
    """
    network = preset.build(source, name, make)
    found = {variable.path: variable for variable in network.weights}
    wanted = {variable.path for variable in encoder.weights}
    assert wanted <= found.keys(), f"not in {name}: {wanted - found.keys()}"
    for variable in model.weights:
        if variable.path in found:
            variable.assign(found[variable.path])


def model_config(arguments: dict[str, Any], where: str) -> config.ModelConfig:
    """Turns a backbone's arguments into an architecture.

    Raises:
        UserError: they make none; `where` names them.
    """
    values = {_OUR_NAMES.get(name, name): value for name, value in arguments.items()}
    if values.get("attention_dropout_rate") is None:
        values["attention_dropout_rate"] = values.get("hidden_dropout_rate", 0.1)
    return config.check(config.ModelConfig, values, where)


def _names() -> dict[str, str]:
    """Returns our name of each of the constructor's arguments."""
    ours = config.ModelConfig.model_fields
    return {_THEIR_NAMES.get(name, name): name for name in ours}


def _arguments(model: config.ModelConfig) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {name: getattr(model, ours) for name, ours in _names().items()}
