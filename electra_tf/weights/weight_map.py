"""One table of every variable's name: ours, Google's, Hugging Face's, KerasHub's.

In:   a network of ours and a source of arrays under somebody else's names.
Out:  the network with those weights; or its weights under those names.

Nothing is left at random in silence: a variable without its array, or an array of
another shape, is listed and refused.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt

from electra_tf import config, errors

Column = Literal["tf1", "hugging_face", "keras_hub"]


class Row(NamedTuple):
    """A variable's names; `{i}` is the block's number.

    Kernels are [in, out] with us and in TF1. Hugging Face stores [out, in]. KerasHub
    keeps the heads apart, [in, H, K], which is the same memory.
    """

    ours: str  # the variable's path within its network
    tf1: str  # `{embeddings}` and `{encoder}` are scopes, which sharing decides
    hugging_face: str
    keras_hub: str | None  # None: KerasHub has no such variable
    transpose: bool  # whether Hugging Face stores it transposed


def _dense(ours: str, tf1: str, hf: str, keras_hub: str | None = None) -> list[Row]:
    kernel, bias = (keras_hub and f"{keras_hub}/{part}" for part in ("kernel", "bias"))
    return [
        Row(f"{ours}/kernel", f"{tf1}/kernel", f"{hf}.weight", kernel, True),
        Row(f"{ours}/bias", f"{tf1}/bias", f"{hf}.bias", bias, False),
    ]


def _norm(ours: str, tf1: str, hf: str, keras_hub: str | None = None) -> list[Row]:
    gamma, beta = (keras_hub and f"{keras_hub}/{part}" for part in ("gamma", "beta"))
    return [
        Row(f"{ours}/gamma", f"{tf1}/gamma", f"{hf}.weight", gamma, False),
        Row(f"{ours}/beta", f"{tf1}/beta", f"{hf}.bias", beta, False),
    ]


def _table(ours: str, tf1: str, keras_hub: str) -> Row:
    return Row(
        f"embeddings/{ours}_embeddings",
        f"{{embeddings}}/{tf1}_embeddings",
        f"electra.embeddings.{tf1}_embeddings.weight",
        f"{keras_hub}_embedding/embeddings",
        False,
    )


def _in_block(ours: str, tf1: str, keras_hub: str) -> tuple[str, str, str, str]:
    return (
        f"layer_{{i}}/{ours}",
        f"{{encoder}}/encoder/layer_{{i}}/{tf1}",
        "electra.encoder.layer.{i}." + tf1.replace("/", "."),
        f"transformer_layer_{{i}}/{keras_hub}",
    )


EMBEDDINGS = [
    _table("word", "word", "token"),
    _table("position", "position", "position"),
    _table("segment", "token_type", "segment"),
    *_norm(
        "embeddings/norm",
        "{embeddings}/LayerNorm",
        "electra.embeddings.LayerNorm",
        "embeddings_layer_norm",
    ),
]

# There only where the embeddings and the encoder differ in width.
PROJECTION = _dense(
    "embeddings_project",
    "{encoder}/embeddings_project",
    "electra.embeddings_project",
    "embeddings_projection",
)

BLOCK = [
    row
    for kind, names in [
        (_dense, ("query", "attention/self/query", "self_attention_layer/query")),
        (_dense, ("key", "attention/self/key", "self_attention_layer/key")),
        (_dense, ("value", "attention/self/value", "self_attention_layer/value")),
        (
            _dense,
            (
                "attention_output",
                "attention/output/dense",
                "self_attention_layer/attention_output",
            ),
        ),
        (
            _norm,
            (
                "attention_norm",
                "attention/output/LayerNorm",
                "self_attention_layer_norm",
            ),
        ),
        (
            _dense,
            ("intermediate", "intermediate/dense", "feedforward_intermediate_dense"),
        ),
        (_dense, ("output", "output/dense", "feedforward_output_dense")),
        (_norm, ("output_norm", "output/LayerNorm", "feedforward_layer_norm")),
    ]
    for row in kind(*_in_block(*names))
]

MASKED_TOKEN_HEAD = [
    *_dense(
        "masked_token_head/dense",
        "generator_predictions/dense",
        "generator_predictions.dense",
    ),
    *_norm(
        "masked_token_head/norm",
        "generator_predictions/LayerNorm",
        "generator_predictions.LayerNorm",
    ),
    Row(
        "masked_token_head/output_bias",
        "generator_predictions/output_bias",
        "generator_lm_head.bias",
        None,
        False,
    ),
]

REPLACED_TOKEN_HEAD = [
    *_dense(
        "replaced_token_head/dense",
        "discriminator_predictions/dense",
        "discriminator_predictions.dense",
    ),
    *_dense(
        "replaced_token_head/logit",
        "discriminator_predictions/dense_1",
        "discriminator_predictions.dense_prediction",
    ),
]

HEADS = {
    "encoder": [],
    "generator": MASKED_TOKEN_HEAD,
    "discriminator": REPLACED_TOKEN_HEAD,
}


class Source(Protocol):
    """Arrays by somebody else's names, read one at a time."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes by name."""

    def read(self, name: str) -> npt.NDArray[np.float32]:
        """Returns one array, float32."""


class Scopes(NamedTuple):
    """Where a TF1 checkpoint keeps a network (electra.md 3.5: what sharing decides)."""

    embeddings: str = "electra/embeddings"
    encoder: str = "electra"


SCOPES = Scopes()


def encoder_rows(model: config.ModelConfig) -> list[Row]:
    """Returns the rows of an encoder, one row per variable, blocks numbered."""
    projection = PROJECTION if model.embedding_size != model.hidden_size else []
    blocks = [
        _numbered(row, index) for index in range(model.num_layers) for row in BLOCK
    ]
    return [*EMBEDDINGS, *projection, *blocks]


def rows(network: str, model: config.ModelConfig) -> list[Row]:
    """Returns the rows of "encoder", "generator" or "discriminator"."""
    return [*encoder_rows(model), *HEADS[network]]


def variables(network: keras.Model) -> dict[str, keras.Variable]:
    """Returns the weights of a network by their paths; no random seeds."""
    return {variable.path: variable for variable in network.weights}


def fill(
    variables: Mapping[str, keras.Variable],
    rows: Collection[Row],
    source: Source,
    column: Column,
    where: str,
    scopes: Scopes = SCOPES,
) -> set[str]:
    """Gives each variable the array that its row names.

    Args:
        variables: of ours, by path; each must have its row, and each row one of them.
        rows: of the table.
        source: the arrays.
        column: whose names the source uses.
        where: the source, for messages.
        scopes: of a TF1 checkpoint.

    Returns:
        The names that were used.

    Raises:
        UserError: arrays are missing or of another shape; nothing was assigned then.
    """
    _match(variables, rows)
    names = {row: _name(row, column, scopes) for row in rows}
    wrong = []
    for row, name in names.items():
        want = _foreign_shape(variables[row.ours].shape, row, column)
        found = source.shapes.get(name)
        if found is None:
            wrong.append(f"{name} is missing")
        elif not _agree(tuple(found), want, column):
            wrong.append(f"{name} is {list(found)}, want {list(want)}")
    if wrong:
        raise errors.UserError(
            f"{where}: {len(wrong)} of {len(names)} arrays do not match the "
            f"architecture: {errors.listed(wrong, separator='; ')}"
        )
    for row, name in names.items():
        array = source.read(name)
        if row.transpose and column == "hugging_face":
            array = array.T
        variables[row.ours].assign(array.reshape(variables[row.ours].shape))
    return set(names.values())


def extract(
    variables: Mapping[str, keras.Variable],
    rows: Collection[Row],
    column: Column,
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yields (somebody else's name, float32 array) of each variable, one at a time."""
    _match(variables, rows)
    for row in rows:
        array = np.asarray(variables[row.ours], np.float32)
        if row.transpose and column == "hugging_face":
            array = np.ascontiguousarray(array.T)
        yield _name(row, column, SCOPES), array


def copy(
    source: Mapping[str, keras.Variable], target: Mapping[str, keras.Variable]
) -> None:
    """Gives each variable of a network the value of that with its path in another."""
    for path, variable in target.items():
        variable.assign(source[path])


def check_vocab(
    vocab: Sequence[str],
    file: str,
    networks: Mapping[str, config.ModelConfig],
    folder: str,
) -> None:
    """Refuses a vocabulary that has not a token for each row of its networks' tables.

    Some tables were padded; a shorter one is refused all the same, for nothing tells
    padding from a file that lost its end.

    Args:
        vocab: the tokens.
        file: that holds them.
        networks: architectures by name.
        folder: where the networks are.

    Raises:
        UserError: it has more or fewer.
    """
    for name, model in networks.items():
        if len(vocab) != model.vocab_size:
            raise errors.UserError(
                f"vocabulary {file} has {len(vocab)} tokens, the {name}'s embedding "
                f"table in {folder} {model.vocab_size} rows; give the vocabulary that "
                "it was trained with, in which a row that no token uses has a line "
                "too, such as [unused1]"
            )


def _match(variables: Mapping[str, keras.Variable], rows: Collection[Row]) -> None:
    """The table and the network must say the same; only we can break this."""
    named = [row.ours for row in rows]
    assert len(named) == len(set(named)), "weight_map: a variable has two rows"
    apart = set(named) ^ set(variables)
    assert not apart, f"weight_map: not in both table and network: {sorted(apart)}"


def _name(row: Row, column: Column, scopes: Scopes) -> str:
    if column == "tf1":
        return row.tf1.format(**scopes._asdict())
    name = row.hugging_face if column == "hugging_face" else row.keras_hub
    assert name is not None, f"weight_map: {row.ours} has no name in {column}"
    return name


def _numbered(row: Row, index: int) -> Row:
    def name(pattern: str) -> str:
        return pattern.replace("{i}", str(index))

    return Row(
        name(row.ours),
        name(row.tf1),
        name(row.hugging_face),
        row.keras_hub and name(row.keras_hub),
        row.transpose,
    )


def _foreign_shape(shape: tuple[int, ...], row: Row, column: Column) -> tuple[int, ...]:
    turned = row.transpose and column == "hugging_face"
    return tuple(reversed(shape)) if turned else tuple(shape)


def _agree(found: tuple[int, ...], want: tuple[int, ...], column: Column) -> bool:
    if column != "keras_hub" or len(found) == len(want):
        return found == want
    # Heads apart: [in, H, K], [H, K, out] or, a bias, [H, K].
    joined = {(found[0], math.prod(found[1:])), (math.prod(found[:-1]), found[-1])}
    return want in joined or want == (math.prod(found),)
