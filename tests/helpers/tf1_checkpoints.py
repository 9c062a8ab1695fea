"""Checkpoints as the 2020 code writes them, of every kind of sharing."""

import numpy as np
import tensorflow as tf
from tensorflow.compat import v1 as tf1  # noqa: TID251  (TF1 itself writes them)

from electra_tf import config

# V words, P positions, S segments, E embedding, D hidden, F feed-forward; the
# generator's G and GF. All differ. So narrow a generator has one head (2020 code).
V, P, S, E, D, F, G, GF = 11, 9, 3, 5, 6, 8, 4, 7
NUM_HEADS = 3


def dense(scope, rows, columns):
    return {f"{scope}/kernel": (rows, columns), f"{scope}/bias": (columns,)}


def norm(scope, width):
    return {f"{scope}/LayerNorm/{part}": (width,) for part in ("beta", "gamma")}


def embeddings(scope, width):
    rows = {"word": V, "token_type": S, "position": P}
    return {
        **{f"{scope}/embeddings/{n}_embeddings": (r, width) for n, r in rows.items()},
        **norm(f"{scope}/embeddings", width),
    }


def encoder(scope, hidden, wide, num_layers):
    shapes = {}
    for index in range(num_layers):
        layer = f"{scope}/encoder/layer_{index}"
        for part in ("query", "key", "value"):
            shapes |= dense(f"{layer}/attention/self/{part}", hidden, hidden)
        shapes |= dense(f"{layer}/attention/output/dense", hidden, hidden)
        shapes |= norm(f"{layer}/attention/output", hidden)
        shapes |= dense(f"{layer}/intermediate/dense", hidden, wide)
        shapes |= dense(f"{layer}/output/dense", wide, hidden)
        shapes |= norm(f"{layer}/output", hidden)
    return shapes


def project(scope, width, hidden):
    return dense(f"{scope}/embeddings_project", width, hidden)


def masked_token_head(hidden, width):
    return {
        **dense("generator_predictions/dense", hidden, width),
        **norm("generator_predictions", width),
        "generator_predictions/output_bias": (V,),
    }


def replaced_token_head(hidden):
    return {
        **dense("discriminator_predictions/dense", hidden, hidden),
        **dense("discriminator_predictions/dense_1", hidden, 1),
    }


# As small: embeddings narrower than the encoder.
ENCODER = (
    embeddings("electra", E) | project("electra", E, D) | encoder("electra", D, F, 2)
)
DISCRIMINATOR = ENCODER | replaced_token_head(D)
# As base and large: as wide as the encoder.
WIDE = embeddings("electra", D) | encoder("electra", D, F, 2) | replaced_token_head(D)
TOWERS = {
    **project("generator_ltr", E, G),
    **encoder("generator_ltr", G, GF, 1),
    **encoder("generator_rtl", G, GF, 1),
    **dense("cloze_predictions/dense", 2 * G, E),
    **norm("cloze_predictions", E),
    "cloze_predictions/output_bias": (V,),
}


def model(width, hidden, wide, num_layers, num_heads):
    return config.ModelConfig(
        vocab_size=V,
        max_positions=P,
        num_segments=S,
        embedding_size=width,
        hidden_size=hidden,
        intermediate_size=wide,
        num_layers=num_layers,
        num_heads=num_heads,
    )


SMALL = model(E, D, F, 2, NUM_HEADS)
SHARED = ("electra", "electra")  # scopes of the embeddings and the encoder

# What the 2020 code writes -> the networks in it, and the scopes of each.
CHECKPOINTS = {
    "shared embeddings": (
        DISCRIMINATOR
        | project("generator", E, G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, E),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(E, G, GF, 1, 1), "electra", "generator"),
        },
    ),
    "only the generator projects": (
        WIDE
        | project("generator", D, G)
        | encoder("generator", G, GF, 3)
        | masked_token_head(G, D),
        {
            "discriminator": (model(D, D, F, 2, NUM_HEADS), *SHARED),
            "generator": (model(D, G, GF, 3, 1), "electra", "generator"),
        },
    ),
    "only the discriminator projects": (
        DISCRIMINATOR | encoder("generator", E, GF, 1) | masked_token_head(E, E),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(E, E, GF, 1, 1), "electra", "generator"),
        },
    ),
    "untied embeddings": (
        DISCRIMINATOR
        | embeddings("generator", G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, G),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(G, G, GF, 1, 1), "generator", "generator"),
        },
    ),
    "one encoder": (
        DISCRIMINATOR | masked_token_head(D, E),
        {"discriminator": (SMALL, *SHARED), "generator": (SMALL, *SHARED)},
    ),
    "masked tokens alone": (
        ENCODER | masked_token_head(D, E),
        {"generator": (SMALL, *SHARED)},
    ),
    "uniform generator": (DISCRIMINATOR, {"discriminator": (SMALL, *SHARED)}),
    "two towers": (DISCRIMINATOR | TOWERS, {"discriminator": (SMALL, *SHARED)}),
    "fine-tuned": (
        ENCODER | dense("task_specific/mnli/dense", D, 3),
        {"encoder": (SMALL, *SHARED)},
    ),
    "generator alone": (
        embeddings("electra", E)
        | project("generator", E, G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, E),
        {"generator": (model(E, G, GF, 1, 1), "electra", "generator")},
    ),
}


def draw(shapes):
    """Draws weights that no initializer gives, and large enough to tell apart."""
    chance = np.random.default_rng(3)
    return {
        name: np.float32(chance.normal(name.endswith("gamma"), 0.5, shape))
        for name, shape in shapes.items()
    }


def trained(arrays):
    """Adds what the 2020 code saves beside the weights, after 1,000 steps."""
    slots = {
        f"{name}/{slot}": np.full(array.shape, 99.0, np.float32)
        for name, array in arrays.items()
        for slot in ("adam_m", "adam_v")
    }
    return {**arrays, **slots, "global_step": np.int64(1000)}


def save_as_tf1(prefix, arrays):
    """Has TF1's own Saver write variables by these names."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(n, initializer=a) for n, a in arrays.items()]
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(variables)
        saver.save(session, str(prefix), write_meta_graph=False)
    return str(prefix)


def save(prefix, arrays):
    """Writes the same by the op that Saver stands on, in a hundredth of the time."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    return str(prefix)
