"""The KerasHub backbone: the pre-training encoder with another front."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.tasks import backbone
from electra_tf.weights import preset_writer

# Differs from every default.
OTHER = config.ModelConfig(
    vocab_size=23,
    embedding_size=10,
    hidden_size=12,
    num_layers=2,
    num_heads=3,
    intermediate_size=20,
    max_positions=9,
    num_segments=3,
    activation="silu",
    hidden_dropout_rate=0.2,
    attention_dropout_rate=0.3,
    layer_norm_epsilon=1e-6,
    initializer_range=0.05,
    position_initializer="sinusoidal",
)

INPUTS = {
    "token_ids": np.array([[2, 7, 8, 3, 9, 3, 0], [2, 10, 11, 12, 13, 14, 3]]),
    "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 0], [0] * 7]),
    "padding_mask": np.array([[1, 1, 1, 1, 1, 1, 0], [1] * 7]),
}


@pytest.fixture
def built(tiny_model_config):
    return backbone.ElectraBackbone.from_model_config(tiny_model_config)


def by_path(model):
    return {variable.path: variable for variable in model.weights}


def hidden(model, inputs=INPUTS, **kwargs):
    return np.asarray(model(inputs, **kwargs)["sequence_output"], np.float32)


def same_weights(one, other):
    one, other = by_path(one), by_path(other)
    assert one.keys() == other.keys()
    for path, variable in one.items():
        np.testing.assert_array_equal(variable, other[path])


def test_it_is_the_encoder_of_pre_training(built, tiny_model_config):
    encoder = models.build_encoder(tiny_model_config)
    assert by_path(encoder).keys() == by_path(built).keys()
    for path, variable in by_path(encoder).items():
        variable.assign(by_path(built)[path])
    rows = {
        "token_ids": INPUTS["token_ids"],
        "segment_ids": INPUTS["segment_ids"],
        "example_ids": INPUTS["padding_mask"],
        "position_ids": np.tile(np.arange(7), (2, 1)),
    }
    np.testing.assert_allclose(hidden(built), encoder(rows), atol=1e-6)


def test_the_pooled_output_is_the_state_of_the_first_token(built):
    outputs = built(INPUTS)
    np.testing.assert_array_equal(
        outputs["pooled_output"], outputs["sequence_output"][:, 0]
    )


def test_the_first_state_is_the_pooled_output_and_the_last_block_does_no_more(built):
    model = keras.Model(built.input, built.first_state)
    want = built(INPUTS)["pooled_output"]
    np.testing.assert_allclose(model(INPUTS), want, atol=1e-6)
    graph = tf.function(model).get_concrete_function(INPUTS).graph
    blocks = [o for o in graph.get_operations() if o.type.endswith("PartitionedCall")]
    *others, last = [block.outputs[0].shape[1] for block in blocks]
    assert last == 1
    assert set(others) == {7}


def test_padding_does_not_matter(built):
    longer = {name: np.pad(x, [(0, 0), (0, 4)]) for name, x in INPUTS.items()}
    real = INPUTS["padding_mask"] == 1
    np.testing.assert_allclose(
        hidden(built, longer)[:, :7][real], hidden(built)[real], atol=1e-5
    )
    as_bools = {**INPUTS, "padding_mask": real}
    np.testing.assert_array_equal(hidden(built, as_bools), hidden(built))


def test_every_setting_is_kept():
    defaults = config.ModelConfig()
    for name in config.ModelConfig.model_fields:
        assert getattr(OTHER, name) != getattr(defaults, name), f"change {name} above"
    first = backbone.ElectraBackbone.from_model_config(OTHER)
    again = backbone.ElectraBackbone.from_config(first.get_config())
    assert again.model_config == OTHER
    assert (again.hidden_dim, again.max_sequence_length) == (12, 9)


def test_attention_drops_out_as_the_rest_unless_it_is_told(built):
    arguments = built.get_config() | {"dropout": 0.25, "attention_dropout": None}
    model = backbone.ElectraBackbone.from_config(arguments).model_config
    assert (model.hidden_dropout_rate, model.attention_dropout_rate) == (0.25, 0.25)


def test_a_preset_gives_it_back_bit_by_bit(built, tmp_path):
    built.save_to_preset(str(tmp_path))
    found = keras_hub.models.Backbone.from_preset(str(tmp_path))
    assert type(found) is backbone.ElectraBackbone
    assert found.model_config == built.model_config
    same_weights(found, built)


def test_an_encoder_beside_a_discriminator_is_kept_for_tasks(tmp_path):
    networks = {
        "discriminator": models.build_discriminator(OTHER),
        "encoder": models.build_encoder(OTHER),
    }
    preset_writer.save(
        str(tmp_path),
        networks,
        dict.fromkeys(networks, OTHER),
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(18))],
        config.TokenizerConfig(),
        {},
    )
    found = backbone.ElectraBackbone.from_preset(str(tmp_path))
    same_weights(found, networks["encoder"])


def test_a_model_around_it_is_saved_whole(built, tmp_path):
    logits = keras.layers.Dense(3)(built(built.input)["pooled_output"])
    model = keras.Model(built.input, logits)
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(found(INPUTS), model(INPUTS))


@pytest.mark.parametrize(
    ("policy", "kept", "computed"),
    [
        ("mixed_bfloat16", "float32", "bfloat16"),
        ("float16", "float16", "float16"),
        ("float64", "float64", "float64"),
    ],
)
def test_it_computes_in_the_precision_it_is_told(
    built, tiny_model_config, policy, kept, computed
):
    other = backbone.ElectraBackbone.from_model_config(tiny_model_config, dtype=policy)
    for path, variable in by_path(other).items():
        assert variable.dtype == kept, path
        variable.assign(by_path(built)[path])
    output = other(INPUTS)["sequence_output"]
    assert output.dtype == computed
    np.testing.assert_allclose(np.asarray(output, np.float32), hidden(built), atol=0.1)
    assert other.get_config()["dtype"]["config"]["name"] == policy


def fit(model, epochs, learning_rate):
    """Trains the pooled output towards a constant; returns the losses."""
    head = keras.Model(model.input, model.output["pooled_output"])
    head.compile(keras.optimizers.Adam(learning_rate), "mse")
    targets = np.tile(np.linspace(-1, 1, 12), (2, 1))
    history = head.fit(INPUTS, targets, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"]


def without_dropout(model_config):
    rates = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    return backbone.ElectraBackbone.from_model_config(
        model_config.model_copy(update=rates)
    )


def test_lora_trains_little_and_is_merged_when_saved(tiny_model_config, tmp_path):
    model = without_dropout(tiny_model_config)
    before = {path: variable.numpy() for path, variable in by_path(model).items()}
    model.enable_lora(2)
    names = {v.path.split("/", 1)[1] for v in model.trainable_weights}
    low_rank = {f"{part}/lora_kernel_{x}" for part in ("query", "value") for x in "ab"}
    assert names == low_rank | {"query/bias", "value/bias"}
    losses = fit(model, 4, 0.02)
    assert losses[-1] < losses[0]
    for path, value in before.items():
        if "query" not in path and "value" not in path:
            np.testing.assert_array_equal(by_path(model)[path], value)
    model.save_to_preset(str(tmp_path))
    found = keras_hub.models.Backbone.from_preset(str(tmp_path))
    assert len(found.weights) == len(before)
    np.testing.assert_allclose(hidden(found), hidden(model), atol=1e-6)


def test_lora_weights_are_saved_apart(built, tiny_model_config, tmp_path):
    other = backbone.ElectraBackbone.from_model_config(tiny_model_config)
    other.set_weights(built.get_weights())
    built.enable_lora(2)
    for variable in built.trainable_weights:
        if "lora_kernel_b" in variable.path:  # Zeros at first.
            variable.assign(np.random.default_rng(3).normal(size=variable.shape))
    assert np.abs(hidden(other) - hidden(built)).max() > 1e-3
    file = str(tmp_path / "small.lora.h5")
    built.save_lora_weights(file)
    other.load_lora_weights(file)
    np.testing.assert_allclose(hidden(other), hidden(built), atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method:UserWarning")
@pytest.mark.slow
def test_quantized_it_is_nearly_the_same_and_is_saved(built, tmp_path):
    before = hidden(built)
    built.quantize("int8")
    assert built.get_layer("layer_1").output_dense.kernel.dtype == "int8"
    assert 0 < np.abs(hidden(built) - before).max() < 0.1
    built.save(tmp_path / "quantized.keras")
    found = keras.models.load_model(tmp_path / "quantized.keras")
    np.testing.assert_array_equal(hidden(found), hidden(built))


def test_fit_drops_out_unless_the_rates_are_zero(built, tiny_model_config):
    first, second = fit(built, 2, learning_rate=0.0)
    assert abs(first - second) > 1e-3
    first, second = fit(without_dropout(tiny_model_config), 2, learning_rate=0.0)
    assert first == second


def test_dropout_differs_between_calls_in_training_alone(built):
    assert np.abs(hidden(built, training=True) - hidden(built, training=True)).max() > 0
    np.testing.assert_array_equal(hidden(built), hidden(built))


def test_rows_longer_than_the_position_table_are_refused(built):
    rows = {name: np.ones((1, 33), np.int32) for name in INPUTS}
    with pytest.raises(errors.UserError, match="33 tokens are too long for 32 pos"):
        built(rows)
    with pytest.raises(Exception, match="33 tokens are too long for 32 pos"):
        tf.function(built)(rows)
    assert hidden(built, {name: x[:, :32] for name, x in rows.items()}).shape[1] == 32


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_heads": 5}, r"ElectraBackbone: num_heads \(5\) must divide"),
        ({"activation": "tanh"}, "ElectraBackbone: activation='tanh'"),
        ({"num_layers": 0}, "ElectraBackbone: num_layers=0"),
    ],
)
def test_what_makes_no_encoder_is_refused_in_one_line(built, changed, message):
    with pytest.raises(errors.UserError, match=message) as error:
        backbone.ElectraBackbone.from_config(built.get_config() | changed)
    assert "\n" not in str(error.value)
