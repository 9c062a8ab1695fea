"""Two ELECTRAs, encoder and decoder, as transformers' EncoderDecoderModel has them.

In:   the architecture that both have; how many blocks the decoder has, what they share.
Out:  rows of `weight_map`, in our names and transformers'; a config.json, and back.

transformers' decoder is an ElectraForCausalLM: a whole ELECTRA with the generator's
head. What encoder and decoder share with us stands twice there.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from electra_tf import config, errors
from electra_tf.weights import weight_map

MODEL_TYPE = "encoder-decoder"

# Fields in which a decoder of ours is as its encoder.
_COMMON = (
    "model_type",
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
)

# Of an encoder, a bare ElectraModel, arrays have no second prefix.
_ENCODER, _DECODER, _ELECTRA = "encoder.", "decoder.", "electra."

TIED = f"{_DECODER}generator_lm_head.weight"  # the decoder's words, where it is saved


def encoder_name(name: str) -> str:
    """Returns what an array of an ELECTRA's encoder is called in a pair."""
    return _ENCODER + name.removeprefix(_ELECTRA)


def as_electra(names: Collection[str]) -> dict[str, str]:
    """Returns ELECTRA's names for those of a pair's encoder; the others stay."""
    return {
        name: f"{_ELECTRA}{name.removeprefix(_ENCODER)}"
        if name.startswith(_ENCODER)
        else name
        for name in names
    }


def decoder_rows(
    model: config.ModelConfig, count: int, shares: str, origins: Sequence[str]
) -> list[weight_map.Row]:
    """Returns the rows of a decoder: every array of transformers', and ours.

    Args:
        model: the encoder's architecture.
        count: blocks of the decoder.
        shares: see `ElectraSeq2Seq`.
        origins: the encoder's block that each of them is, with shares="everything".
    """
    same = model.model_copy(update={"num_layers": count})
    rows = []
    for row in weight_map.encoder_rows(same):
        part, _, rest = row.ours.partition("/")
        if not part.startswith("layer_"):
            ours = f"decoder_{row.ours}" if shares == "nothing" else row.ours
        elif shares == "everything":
            ours = f"{origins[int(part.removeprefix('layer_'))]}/{rest}"
        else:
            ours = f"decoder_{part}/block/{rest}"
        rows.append(row._replace(ours=ours))
    for index in range(count):
        theirs = f"electra.encoder.layer.{index}.crossattention"
        for row in weight_map.BLOCK:
            _, _, rest = row.ours.partition("/")
            tail = row.hugging_face.partition(".attention.")[2]
            if tail:
                ours = f"decoder_layer_{index}/cross_attention/{rest}"
                rows.append(row._replace(ours=ours, hugging_face=f"{theirs}.{tail}"))
    rows += weight_map.MASKED_TOKEN_HEAD
    return [row._replace(hugging_face=_DECODER + row.hugging_face) for row in rows]


def config_values(
    encoder: dict[str, Any],
    decoder: dict[str, Any],
    ids: Mapping[str, int],
    extra: dict[str, Any],
) -> dict[str, Any]:
    """Returns config.json of a pair.

    Args:
        encoder: what that of an ELECTRA holds.
        decoder: the same of a generator.
        ids: of [CLS], [SEP] and [PAD], by "cls", "sep", "pad".
        extra: our own facts.
    """
    parts = {"is_decoder": True, "add_cross_attention": True}
    decoder = {**decoder, **parts, "architectures": ["ElectraForCausalLM"]}
    for part in (encoder, decoder):
        part.pop("electra_tf", None)
    return {
        "architectures": ["EncoderDecoderModel"],
        "model_type": MODEL_TYPE,
        "is_encoder_decoder": True,
        "encoder": encoder,
        "decoder": decoder,
        "vocab_size": encoder["vocab_size"],
        "tie_word_embeddings": True,
        **generation_values(ids),
        "electra_tf": extra,
    }


def generation_values(ids: Mapping[str, int]) -> dict[str, int]:
    """Returns what transformers' `generate` must know of an answer."""
    return {
        "decoder_start_token_id": ids["cls"],
        "bos_token_id": ids["cls"],
        "eos_token_id": ids["sep"],
        "pad_token_id": ids["pad"],
    }


def encoder_values(values: dict[str, Any], path: str) -> dict[str, Any]:
    """Returns what config.json of a pair says of the encoder.

    Raises:
        UserError: the decoder is another than grows out of an encoder of ours.
    """
    encoder, decoder = (values.get(part) for part in ("encoder", "decoder"))
    if not isinstance(encoder, dict) or not isinstance(decoder, dict):
        raise errors.UserError(
            f"{path}: want the settings of an encoder and of a decoder, as transformers"
            " saves an EncoderDecoderModel"
        )
    for name in _COMMON:
        if encoder.get(name) != decoder.get(name):
            raise errors.UserError(
                f"{path}: {name} is {encoder.get(name)!r:.40} of the encoder and "
                f"{decoder.get(name)!r:.40} of the decoder; ours are alike but for the "
                "number of their blocks"
            )
    if encoder.get("model_type") != "electra":
        raise errors.UserError(
            f"{path}: encoder and decoder are {encoder.get('model_type')!r:.40}; want "
            "two ELECTRAs"
        )
    return {**encoder, "electra_tf": values.get("electra_tf")}


def count_blocks(names: Collection[str]) -> int:
    """Returns how many blocks a decoder has, by the names of its arrays."""
    start = f"{_DECODER}electra.encoder.layer."
    found = {n.removeprefix(start).split(".")[0] for n in names if n.startswith(start)}
    return len(found)


def what_is_shared(
    model: config.ModelConfig, tensors: weight_map.Source, origins: Sequence[str]
) -> str:
    """Tells what encoder and decoder have in common, by their arrays.

    Args:
        model: the encoder's architecture.
        tensors: all arrays, the encoder's by ELECTRA's names.
        origins: see `decoder_rows`.
    """

    def agree(ours: str, theirs: str) -> bool:
        return np.array_equal(tensors.read(ours), tensors.read(_DECODER + theirs))

    outer = [*weight_map.EMBEDDINGS]
    if model.embedding_size != model.hidden_size:
        outer += weight_map.PROJECTION
    if not all(agree(row.hugging_face, row.hugging_face) for row in outer):
        return "nothing"
    for index, origin in enumerate(origins):
        number = origin.removeprefix("layer_")
        for row in weight_map.BLOCK:
            names = (row.hugging_face.replace("{i}", str(n)) for n in (number, index))
            if not agree(*names):
                return "embeddings"
    return "everything"


def refuse_leftovers(
    names: Collection[str], rows: Sequence[weight_map.Row], folder: str
) -> None:
    """Refuses arrays of a decoder that have no place, and a lack of some.

    Raises:
        UserError: there are such.
    """
    there = {name for name in names if name.startswith(_DECODER)} - {TIED}
    wanted = {row.hugging_face for row in rows}
    if there != wanted:
        apart = sorted(there ^ wanted)
        raise errors.UserError(
            f"{os.path.normpath(folder)}: {len(apart)} arrays of its decoder are left "
            f"over or missing: {errors.listed(apart)}; want an EncoderDecoderModel of "
            "two ELECTRAs as transformers saves it"
        )
