import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models

# V=11, E=5, D=6, H=3; the generator is 3 wide.
MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=9,
)
GENERATOR = config.GeneratorConfig(width_scale=0.5).resolve(MODEL)

# B=2, L=7, P=3. Row 0 packs examples of 4 and 3 tokens; row 1 has 5 and padding.
ROWS = {
    "token_ids": np.int32([[2, 7, 4, 3, 2, 4, 3], [2, 9, 4, 4, 3, 0, 0]]),
    "segment_ids": np.int32([[0, 0, 1, 1, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0]]),
    "example_ids": np.int32([[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 1, 0, 0]]),
    "position_ids": np.int32([[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 4, 0, 0]]),
}
MASK_POSITIONS = np.int32([[2, 5, 0], [2, 3, 0]])
MASKED = {**ROWS, "mask_positions": MASK_POSITIONS}
IS_REAL = ROWS["example_ids"] > 0

BLOCK_PATHS = [
    "query/kernel",
    "query/bias",
    "key/kernel",
    "key/bias",
    "value/kernel",
    "value/bias",
    "attention_output/kernel",
    "attention_output/bias",
    "attention_norm/gamma",
    "attention_norm/beta",
    "intermediate/kernel",
    "intermediate/bias",
    "output/kernel",
    "output/bias",
    "output_norm/gamma",
    "output_norm/beta",
]
ENCODER_PATHS = [
    "embeddings/word_embeddings",
    "embeddings/position_embeddings",
    "embeddings/segment_embeddings",
    "embeddings/norm/gamma",
    "embeddings/norm/beta",
    "embeddings_project/kernel",
    "embeddings_project/bias",
    *(f"layer_0/{path}" for path in BLOCK_PATHS),
    *(f"layer_1/{path}" for path in BLOCK_PATHS),
]
GENERATOR_HEAD_PATHS = [
    "masked_token_head/output_bias",
    "masked_token_head/dense/kernel",
    "masked_token_head/dense/bias",
    "masked_token_head/norm/gamma",
    "masked_token_head/norm/beta",
]
DISCRIMINATOR_HEAD_PATHS = [
    "replaced_token_head/dense/kernel",
    "replaced_token_head/dense/bias",
    "replaced_token_head/logit/kernel",
    "replaced_token_head/logit/bias",
]


class Networks:
    """An encoder, and a generator and a discriminator that share embeddings.

    No weight is what its initializer gave: biases are not zero, gammas not one, and
    kernels so large that tokens differ in their outputs (`spread`).
    """

    def __init__(self):
        shared = models.build_embeddings(MODEL)
        self.encoder = models.build_encoder(MODEL)
        self.generator = models.build_generator(GENERATOR, shared)
        self.discriminator = models.build_discriminator(MODEL, shared)
        rng = np.random.default_rng(13)
        for network in (self.encoder, self.generator, self.discriminator):
            for variable in network.trainable_variables:
                mean = 1.0 if variable.path.endswith("gamma") else 0.0
                sigma = 0.6 if len(variable.shape) == 2 else 0.2
                variable.assign(rng.normal(mean, sigma, variable.shape))


@pytest.fixture(scope="module")
def networks():
    return Networks()


def values(network):
    return {v.path: np.float64(v.numpy()) for v in network.trainable_variables}


def spread(outputs):
    """Returns how far tokens lie apart: small, a tolerance would hide a fault."""
    return np.std(np.reshape(outputs, [-1, np.shape(outputs)[-1]]), axis=0).mean()


# The plain reference: one row, one head, one token at a time.


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x, w, name):
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
    return normal * w[f"{name}/gamma"] + w[f"{name}/beta"]


def dense(x, w, name):
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def attend(x, w, name, example_ids, num_heads):
    query, key, value = (
        dense(x, w, f"{name}/{part}") for part in ("query", "key", "value")
    )
    width = x.shape[-1] // num_heads
    context = np.zeros_like(x)
    for head in range(num_heads):
        columns = slice(head * width, (head + 1) * width)
        for token in range(len(x)):
            peers = np.flatnonzero(example_ids == example_ids[token])
            scores = key[peers, columns] @ query[token, columns] / math.sqrt(width)
            shares = np.exp(scores) / np.sum(np.exp(scores))
            context[token, columns] = shares @ value[peers, columns]
    return context


def encode(w, model, row):
    """Encodes one row, int32 [L] each, into [L, D]."""
    x = w["embeddings/word_embeddings"][row["token_ids"]]
    x = x + w["embeddings/position_embeddings"][row["position_ids"]]
    x = x + w["embeddings/segment_embeddings"][row["segment_ids"]]
    x = dense(layer_norm(x, w, "embeddings/norm"), w, "embeddings_project")
    for index in range(model.num_layers):
        name = f"layer_{index}"
        context = attend(x, w, name, row["example_ids"], model.num_heads)
        attended = dense(context, w, f"{name}/attention_output")
        x = layer_norm(x + attended, w, f"{name}/attention_norm")
        wide = gelu(dense(x, w, f"{name}/intermediate"))
        x = layer_norm(x + dense(wide, w, f"{name}/output"), w, f"{name}/output_norm")
    return x


def encode_rows(w, model, rows):
    return np.stack(
        [encode(w, model, {name: rows[name][row] for name in ROWS}) for row in range(2)]
    )


def test_the_encoder_equals_a_plain_reference(networks):
    want = encode_rows(values(networks.encoder), MODEL, ROWS)
    assert spread(want) > 0.3
    np.testing.assert_allclose(networks.encoder(ROWS), want, atol=1e-5)


def test_the_generator_equals_a_plain_reference(networks):
    w = values(networks.generator)
    hidden = encode_rows(w, GENERATOR, ROWS)
    x = np.stack([hidden[row][MASK_POSITIONS[row]] for row in range(2)])
    x = layer_norm(
        gelu(dense(x, w, "masked_token_head/dense")), w, "masked_token_head/norm"
    )
    want = x @ w["embeddings/word_embeddings"].T + w["masked_token_head/output_bias"]
    assert spread(want) > 0.3
    np.testing.assert_allclose(networks.generator(MASKED), want, atol=1e-5)


def test_the_discriminator_equals_a_plain_reference(networks):
    w = values(networks.discriminator)
    x = gelu(dense(encode_rows(w, MODEL, ROWS), w, "replaced_token_head/dense"))
    want = dense(x, w, "replaced_token_head/logit")
    assert spread(want) > 0.3
    want = want[..., 0]
    np.testing.assert_allclose(networks.discriminator(ROWS), want, atol=1e-5)


def unpack(rows):
    """Puts each example into a row of its own, the rest of which is padding.

    Returns the rows, and for each the row, the start and the end it came from.
    """
    alone = {name: [] for name in rows}
    sources = []
    for row, ids in enumerate(rows["example_ids"]):
        for example in range(1, ids.max() + 1):
            places = np.flatnonzero(ids == example)
            sources.append((row, places[0], places[-1] + 1))
            for name, value in rows.items():
                kept = np.zeros(len(ids), np.int32)
                kept[: len(places)] = value[row, places]
                alone[name].append(
                    np.minimum(kept, 1) if name == "example_ids" else kept
                )
    return {name: np.stack(value) for name, value in alone.items()}, sources


def test_a_packed_row_encodes_as_its_examples_alone(networks):
    alone, sources = unpack(ROWS)
    assert [end - start for _, start, end in sources] == [4, 3, 5]
    for network in (networks.encoder, networks.discriminator):
        packed, single = network(ROWS), network(alone)
        for index, (row, start, end) in enumerate(sources):
            np.testing.assert_allclose(
                packed[row, start:end], single[index, : end - start], atol=1e-5
            )


def test_a_packed_row_is_guessed_as_its_examples_alone(networks):
    alone, sources = unpack(ROWS)
    packed = networks.generator(MASKED)
    slots = 0
    for index, (row, start, end) in enumerate(sources):
        for slot, position in enumerate(MASK_POSITIONS[row]):
            if start <= position < end:
                single = {
                    name: value[index : index + 1] for name, value in alone.items()
                }
                single["mask_positions"] = np.int32([[position - start]])
                guess = networks.generator(single)[0, 0]
                np.testing.assert_allclose(packed[row, slot], guess, atol=1e-5)
                slots += 1
    assert slots == 6


def test_padding_does_not_matter(networks):
    longer = {name: np.pad(value, [[0, 0], [0, 2]]) for name, value in ROWS.items()}
    noisy = dict(longer)
    padding = noisy["example_ids"] == 0
    noisy["token_ids"] = np.where(padding, 10, noisy["token_ids"])
    noisy["segment_ids"] = np.where(padding, 1, noisy["segment_ids"])
    noisy["position_ids"] = np.where(padding, 8, noisy["position_ids"])
    want = np.asarray(networks.discriminator(ROWS))[IS_REAL]
    for rows in (longer, noisy):
        verdicts = np.asarray(networks.discriminator(rows))[:, :7][IS_REAL]
        np.testing.assert_allclose(verdicts, want, atol=1e-5)
        guesses = networks.generator({**rows, "mask_positions": MASK_POSITIONS})
        np.testing.assert_allclose(guesses, networks.generator(MASKED), atol=1e-5)


def test_the_names_of_variables_are_as_checkpoints_hold_them(networks):
    """Golden: a change here breaks every checkpoint and preset written before."""
    assert [v.path for v in networks.encoder.trainable_variables] == ENCODER_PATHS
    assert [v.path for v in networks.generator.trainable_variables] == [
        *ENCODER_PATHS,
        *GENERATOR_HEAD_PATHS,
    ]
    assert [v.path for v in networks.discriminator.trainable_variables] == [
        *ENCODER_PATHS,
        *DISCRIMINATOR_HEAD_PATHS,
    ]


def test_generator_and_discriminator_share_the_embedding_block_alone(networks):
    guesser = {id(v): v.path for v in networks.generator.trainable_variables}
    verdict = {id(v): v.path for v in networks.discriminator.trainable_variables}
    assert sorted(guesser[key] for key in guesser.keys() & verdict.keys()) == [
        "embeddings/norm/beta",
        "embeddings/norm/gamma",
        "embeddings/position_embeddings",
        "embeddings/segment_embeddings",
        "embeddings/word_embeddings",
    ]


def test_without_a_shared_block_nothing_is_shared():
    generator = models.build_generator(GENERATOR)
    discriminator = models.build_discriminator(MODEL)
    guesser = {id(v) for v in generator.variables}
    assert not guesser & {id(v) for v in discriminator.variables}


def test_embeddings_as_wide_as_the_encoder_are_not_projected():
    encoder = models.build_encoder(MODEL.model_copy(update={"embedding_size": 6}))
    paths = {v.path for v in encoder.trainable_variables}
    assert paths == {p for p in ENCODER_PATHS if not p.startswith("embeddings_project")}


def test_weights_start_as_in_the_2020_code():
    model = MODEL.model_copy(
        update={"vocab_size": 300, "embedding_size": 40, "hidden_size": 60}
    )
    shared = models.build_embeddings(model)
    networks = [
        models.build_generator(model, shared),
        models.build_discriminator(model),
    ]
    glorot = {
        "embeddings_project/kernel": math.sqrt(6 / (40 + 60)),
        "replaced_token_head/logit/kernel": math.sqrt(6 / (60 + 1)),
    }
    met = set()
    for variable in [v for network in networks for v in network.trainable_variables]:
        drawn, path = variable.numpy(), variable.path
        if path.endswith(("bias", "beta")):
            np.testing.assert_array_equal(drawn, 0.0, err_msg=path)
        elif path.endswith("gamma"):
            np.testing.assert_array_equal(drawn, 1.0, err_msg=path)
        elif path in glorot:
            # 60 uniform draws or more: the largest is above 0.9 of the limit but for
            # one time in 600.
            assert 0.9 * glorot[path] < np.abs(drawn).max() <= glorot[path], path
            met.add(path)
        else:
            # 80 draws or more of a normal with sigma 0.02, cut at 0.04: sigma becomes
            # 0.0176, its standard error 0.0011 at most; allow four of them.
            assert np.abs(drawn).max() <= 0.04, path
            assert abs(drawn.std() - 0.0176) < 0.0044, path
    assert met == set(glorot)


# Of the 2020 code: encoder, head; generator without embeddings, its head; all.
PUBLISHED = {
    "small": (13_483_008, 66_049, 608_064, 39_098, 14_196_219),
    "base": (108_891_648, 591_361, 9_673_984, 229_434, 119_386_427),
    "large": (334_092_288, 1_050_625, 19_216_640, 295_738, 354_655_291),
}


@pytest.mark.parametrize(
    ("size", "num_layers", "hidden_size", "embedding_size", "width_scale"),
    [
        ("small", 12, 256, 128, 1 / 4),
        ("base", 12, 768, 768, 1 / 3),
        ("large", 24, 1024, 1024, 1 / 4),
    ],
)
def test_there_are_as_many_parameters_as_published(
    size, num_layers, hidden_size, embedding_size, width_scale
):
    model = config.ModelConfig(
        num_layers=1,
        hidden_size=hidden_size,
        embedding_size=embedding_size,
        num_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
    )
    guesser = config.GeneratorConfig(width_scale=width_scale).resolve(model)
    # In a stateless scope variables have shapes and take no memory; what they leave
    # behind, a list of what is yet to be filled, goes with the session.
    with keras.StatelessScope(initialize_variables=False):
        shared = models.build_embeddings(model)
        generator = models.build_generator(guesser, shared)
        discriminator = models.build_discriminator(model, shared)
    keras.utils.clear_session()

    def count(network, part=""):
        # Blocks are alike: one was built, and counts as often as there are.
        return sum(
            math.prod(v.shape) * (num_layers if v.path.startswith("layer_0/") else 1)
            for v in network.trainable_variables
            if v.path.startswith(part)
        )

    head = count(discriminator, "replaced_token_head/")
    guesses = count(generator, "masked_token_head/")
    tables = count(generator, "embeddings/")
    assert PUBLISHED[size] == (
        count(discriminator) - head,
        head,
        count(generator) - guesses - tables,
        guesses,
        count(generator) + count(discriminator) - tables,
    )


def test_in_mixed_precision_weights_and_logits_are_float32(networks):
    keras.config.set_dtype_policy("mixed_bfloat16")
    shared = models.build_embeddings(MODEL)
    pairs = [
        (models.build_generator(GENERATOR, shared), networks.generator, MASKED),
        (models.build_discriminator(MODEL, shared), networks.discriminator, ROWS),
    ]
    assert models.build_encoder(MODEL)(ROWS).dtype == tf.bfloat16
    for mixed, plain, inputs in pairs:
        for variable, value in zip(
            mixed.trainable_variables, plain.trainable_variables, strict=True
        ):
            assert variable.dtype == "float32", variable.path
            variable.assign(value)
        logits, want = mixed(inputs), np.asarray(plain(inputs))
        assert logits.dtype == tf.float32
        gap = np.abs(logits - want).max()
        # bfloat16 has 8 bits: some 0.4 % of the logits' spread an operation.
        assert 1e-4 < gap < 0.1 * np.std(want)


def test_the_forward_pass_compiles_with_xla(networks):
    for network, inputs in [
        (networks.generator, MASKED),
        (networks.discriminator, ROWS),
    ]:
        compiled = tf.function(network, jit_compile=True)
        np.testing.assert_allclose(compiled(inputs), network(inputs), atol=1e-5)


def test_a_network_is_fed_the_fields_it_takes(networks):
    batch = {**MASKED, "mask_ids": np.int32([[1, 2, 3], [4, 5, 6]])}
    assert models.inputs_of(networks.generator, batch).keys() == MASKED.keys()
    assert models.inputs_of(networks.discriminator, batch).keys() == ROWS.keys()
