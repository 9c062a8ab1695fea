"""The training step of Google's 2020 code, on today's TensorFlow, for `bench_step.py`.

In:   a checkout of github.com/google-research/electra, as it is; a shape, random rows.
Out:  a function that makes one update, in a TF1 graph and session.

Nothing of theirs is here. Their modules are imported from the checkout; what they call
and TensorFlow 2 no longer has stands in below: three functions.
"""

import sys
import tempfile
import types
from collections.abc import Callable
from typing import IO, Any

import tensorflow.compat.v1 as tf  # noqa: TID251


def build(shape: dict[str, Any], rows: dict[str, Any]) -> Callable[[], float]:
    """Returns an update on the same rows, which answers the loss."""
    tf.disable_v2_behavior()
    stand_in()
    sys.path.insert(0, shape["google_code"])
    import run_pretraining
    from model import optimization

    size = [shape["rows"], shape["length"]]
    names = ("input_ids", "input_mask", "segment_ids")
    features = {name: tf.placeholder(tf.int32, size, name) for name in names}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as vocab:
        write_vocab(vocab, shape["model"]["vocab_size"])
        config = config_of(shape, vocab.name)
        network = run_pretraining.PretrainingModel(config, features, is_training=True)
    update = optimization.create_optimizer(
        network.total_loss,
        config.learning_rate,
        config.num_train_steps,
        weight_decay_rate=config.weight_decay_rate,
        warmup_steps=config.num_warmup_steps,
        lr_decay_power=config.lr_decay_power,
    )
    options = tf.ConfigProto()
    options.gpu_options.allow_growth = True  # The other sides want a share.
    session = tf.Session(config=options)
    session.run(tf.global_variables_initializer())
    ids, segments = rows["token_ids"], rows["segment_ids"]
    fed = [ids, rows["example_ids"], segments]  # Example 1 at all positions: the mask.
    given = dict(zip(features.values(), fed, strict=True))
    return lambda: float(session.run([network.total_loss, update], given)[0])


def config_of(shape: dict[str, Any], vocab: str) -> Any:
    """Returns their config of a network of this shape.

    Learning rate, decay and schedule are their defaults: what a step costs does not
    depend on them. They know no micro-batches: all rows are computed at once.
    """
    import configure_pretraining
    import run_pretraining
    from util import training_utils

    model, generator = shape["model"], shape["generator"]
    names = {
        "hidden_size": "hidden_size",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "intermediate_size": "intermediate_size",
        "hidden_act": "activation",
        "hidden_dropout_prob": "hidden_dropout_rate",
        "attention_probs_dropout_prob": "attention_dropout_rate",
        "max_position_embeddings": "max_positions",
        "type_vocab_size": "num_segments",
        "initializer_range": "initializer_range",
    }
    config = configure_pretraining.PretrainingConfig(
        "bench",
        "unused",
        model_hparam_overrides={name: model[ours] for name, ours in names.items()},
        embedding_size=model["embedding_size"],
        vocab_size=model["vocab_size"],
        vocab_file=vocab,
        generator_hidden_size=generator["hidden_size"] / model["hidden_size"],
        generator_layers=generator["num_layers"] / model["num_layers"],
        untied_generator_embeddings=(
            generator["embedding_size"] != model["embedding_size"]
        ),
        mask_prob=shape["predictions"] / shape["length"],  # As many as we hide.
        max_seq_length=shape["length"],
        train_batch_size=shape["rows"],
    )
    config.max_predictions_per_seq = shape["predictions"]
    theirs = run_pretraining.get_generator_config(
        config, training_utils.get_bert_config(config)
    )
    for name, ours in names.items():
        if getattr(theirs, name) != generator[ours]:
            sys.exit(f"the 2020 code builds no generator of {ours}={generator[ours]}")
    return config


def write_vocab(file: IO[str], size: int) -> None:
    """Writes so many tokens, the special ones below the random ids."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"word{index}" for index in range(len(special), size)]
    file.write("\n".join(words) + "\n")
    file.flush()


def stand_in() -> None:
    """Puts back what their modules call and TensorFlow 2 with Keras 3 has not."""
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.layers = types.SimpleNamespace(layer_norm=layer_norm)
    sys.modules["tensorflow.contrib"] = contrib
    tf.layers = types.SimpleNamespace(dense=dense)
    # A base class of theirs, made at import; no session here has hooks.
    tf.estimator = types.SimpleNamespace(SessionRunHook=tf.train.SessionRunHook)


def layer_norm(
    inputs: Any, begin_norm_axis: int, begin_params_axis: int, scope: str | None
) -> Any:
    """Normalizes the last axis, with the operations of TF1's contrib.layers."""
    assert begin_norm_axis == begin_params_axis == -1
    size = inputs.shape[-1:]
    with tf.variable_scope(scope, "LayerNorm"):
        beta = tf.get_variable("beta", size, initializer=tf.zeros_initializer())
        gamma = tf.get_variable("gamma", size, initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)


def dense(
    inputs: Any,
    units: int,
    activation: Callable[[Any], Any] | None = None,
    kernel_initializer: Any = None,
    name: str | None = None,
) -> Any:
    """Multiplies by a matrix and adds, with the operations of TF1's layers.dense."""
    size = [inputs.shape[-1], units]
    with tf.variable_scope(name, "dense"):
        kernel = tf.get_variable("kernel", size, initializer=kernel_initializer)
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
        if len(inputs.shape) == 2:
            outputs = tf.matmul(inputs, kernel)
        else:
            outputs = tf.tensordot(inputs, kernel, 1)
        outputs = tf.nn.bias_add(outputs, bias)
        return activation(outputs) if activation else outputs
