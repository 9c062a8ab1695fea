"""The table of names: every variable has a row, and arrays arrive where they belong."""

import keras_hub
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.weights import preset, weight_map

# All sizes differ, so that an array on its side does not fit.
PROJECTED = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)
# As base and large are.
PLAIN = PROJECTED.model_copy(update={"embedding_size": 6, "num_layers": 1})
MODELS = {"projected": PROJECTED, "plain": PLAIN}
NETWORKS = ["encoder", "generator", "discriminator"]
# KerasHub's backbone has no heads of ours.
COLUMNS = [
    *((network, "tf1") for network in NETWORKS),
    *((network, "hugging_face") for network in NETWORKS),
    ("encoder", "keras_hub"),
]


def build(network, model=PROJECTED):
    """Builds a network in which no weight is what an initializer gives."""
    built = preset.BUILDERS[network](model)
    chance = np.random.default_rng(5)
    for variable in built.weights:
        variable.assign(chance.normal(size=variable.shape))
    return built


def values(network):
    return {path: np.array(v) for path, v in weight_map.variables(network).items()}


class Arrays:
    """A source in memory."""

    def __init__(self, arrays):
        self.arrays = dict(arrays)

    @property
    def shapes(self):
        return {name: array.shape for name, array in self.arrays.items()}

    def read(self, name):
        return self.arrays[name]


def extract(network, built, column, model=PROJECTED):
    rows = weight_map.rows(network, model)
    return dict(weight_map.extract(weight_map.variables(built), rows, column))


def fill(network, built, arrays, column, model=PROJECTED, **scopes):
    variables = weight_map.variables(built)
    rows = weight_map.rows(network, model)
    return weight_map.fill(variables, rows, Arrays(arrays), column, "there", **scopes)


def assert_equal(found, want):
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_variable_has_one_row_and_every_row_a_variable(network, model):
    built = preset.BUILDERS[network](model)
    named = [row.ours for row in weight_map.rows(network, model)]
    assert sorted(named) == sorted(variable.path for variable in built.weights)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("network", NETWORKS)
def test_no_two_rows_have_a_name_in_common(network, model):
    rows = weight_map.rows(network, model)
    for column in ("ours", "tf1", "hugging_face"):
        assert len({getattr(row, column) for row in rows}) == len(rows)
    theirs = [row.keras_hub for row in rows if row.keras_hub]
    assert len(set(theirs)) == len(theirs) == len(weight_map.encoder_rows(model))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_rows_name_all_of_keras_hubs_backbone_but_its_pooler(model):
    backbone = keras_hub.models.ElectraBackbone(
        vocab_size=model.vocab_size,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        hidden_dim=model.hidden_size,
        embedding_dim=model.embedding_size,
        intermediate_dim=model.intermediate_size,
        max_sequence_length=model.max_positions,
    )
    theirs = {
        variable.path: variable
        for variable in backbone.weights
        if not variable.path.startswith("pooled_dense/")
    }
    rows = weight_map.encoder_rows(model)
    assert {row.keras_hub for row in rows} == set(theirs)

    # Heads apart or together: the same numbers in the same order, there and back.
    built = build("encoder", model)
    for name, array in extract("encoder", built, "keras_hub", model).items():
        theirs[name].assign(array.reshape(theirs[name].shape))
    other = preset.BUILDERS["encoder"](model)
    arrays = {name: np.array(variable) for name, variable in theirs.items()}
    assert arrays["transformer_layer_0/self_attention_layer/query/kernel"].ndim == 3
    assert fill("encoder", other, arrays, "keras_hub", model) == set(theirs)
    assert_equal(values(other), values(built))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(("network", "column"), COLUMNS)
def test_what_was_extracted_fills_another_network_bit_by_bit(network, column, model):
    built = build(network, model)
    arrays = extract(network, built, column, model)
    assert len(arrays) == len(built.weights)
    other = preset.BUILDERS[network](model)
    assert fill(network, other, arrays, column, model) == set(arrays)
    assert_equal(values(other), values(built))


@pytest.mark.parametrize("network", NETWORKS)
def test_hugging_face_stores_kernels_on_their_side_and_nothing_else(network):
    built = build(network)
    arrays = extract(network, built, "hugging_face")
    num_kernels = 0
    for row in weight_map.rows(network, PROJECTED):
        value = values(built)[row.ours]
        if row.ours.endswith("/kernel"):  # also square ones, where shapes say nothing
            num_kernels += 1
            value = value.T
        np.testing.assert_array_equal(arrays[row.hugging_face], value)
        assert arrays[row.hugging_face].flags.c_contiguous
    # A projection, six a block, and the head's.
    heads = {"encoder": 0, "generator": 1, "discriminator": 2}
    assert num_kernels == 1 + 2 * 6 + heads[network]


def test_names_are_those_of_the_2020_code_hugging_face_and_keras_hub():
    rows = {row.ours: row for row in weight_map.encoder_rows(PROJECTED)}
    row = rows["layer_1/attention_output/kernel"]
    assert row.tf1 == "{encoder}/encoder/layer_1/attention/output/dense/kernel"
    assert row.hugging_face == "electra.encoder.layer.1.attention.output.dense.weight"
    assert row.keras_hub == (
        "transformer_layer_1/self_attention_layer/attention_output/kernel"
    )


def test_scopes_say_where_a_tf1_checkpoint_keeps_a_network():
    built = build("generator")
    arrays = {
        name.replace("electra/e", "generator/e"): array
        for name, array in extract("generator", built, "tf1").items()
    }
    scopes = weight_map.Scopes(embeddings="generator/embeddings", encoder="generator")
    other = preset.BUILDERS["generator"](PROJECTED)
    assert fill("generator", other, arrays, "tf1", scopes=scopes) == set(arrays)
    assert_equal(values(other), values(built))
    assert "generator/embeddings_project/kernel" in arrays
    assert "generator_predictions/dense/kernel" in arrays
    assert not any(name.startswith("electra") for name in arrays)


def leave_out_two(arrays):
    del arrays["electra.embeddings_project.bias"]
    del arrays["electra.encoder.layer.1.attention.self.key.weight"]


def turn_a_kernel(arrays):
    name = "electra.encoder.layer.0.intermediate.dense.weight"
    arrays[name] = arrays[name].T


def lengthen_the_vocabulary(arrays):
    name = "electra.embeddings.word_embeddings.weight"
    arrays[name] = np.zeros((13, 5), np.float32)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            leave_out_two,
            r"there: 2 of 39 arrays do not match the architecture: "
            r"electra.embeddings_project.bias is missing; "
            r"electra.encoder.layer.1.attention.self.key.weight is missing$",
        ),
        (turn_a_kernel, r"intermediate.dense.weight is \[6, 8\], want \[8, 6\]$"),
        (lengthen_the_vocabulary, r"word_embeddings.weight is \[13, 5\], want \[11,"),
        (dict.clear, r"there: 39 of 39 arrays .* and 31 more$"),
    ],
)
def test_what_does_not_match_is_listed_and_nothing_assigned(damage, message):
    arrays = extract("encoder", build("encoder"), "hugging_face")
    damage(arrays)
    other = preset.BUILDERS["encoder"](PROJECTED)
    before = values(other)
    with pytest.raises(errors.UserError, match=message) as error:
        fill("encoder", other, arrays, "hugging_face")
    assert "\n" not in str(error.value)
    assert_equal(values(other), before)


@pytest.mark.parametrize("shape", [(3, 6, 2), (36,), (6, 3, 3)])
def test_heads_apart_must_be_as_many_numbers_as_heads_together(shape):
    arrays = extract("encoder", build("encoder"), "keras_hub")
    name = "transformer_layer_0/self_attention_layer/query/kernel"
    arrays[name] = np.zeros(shape, np.float32)
    other = preset.BUILDERS["encoder"](PROJECTED)
    with pytest.raises(errors.UserError, match=f"{name} is "):
        fill("encoder", other, arrays, "keras_hub")


def test_extra_arrays_are_not_used():
    arrays = extract("encoder", build("encoder"), "tf1")
    used = fill(
        "encoder",
        preset.BUILDERS["encoder"](PROJECTED),
        arrays | {"global_step": np.zeros((), np.float32)},
        "tf1",
    )
    assert used == set(arrays)


def test_a_table_that_misses_a_variable_is_our_own_mistake():
    built = preset.BUILDERS["discriminator"](PROJECTED)
    rows = weight_map.rows("encoder", PROJECTED)
    with pytest.raises(AssertionError, match="replaced_token_head/dense/bias"):
        dict(weight_map.extract(weight_map.variables(built), rows, "tf1"))
