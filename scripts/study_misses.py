"""What a discriminator misses: by kind of token, frequency, place, and plausibility.

    python scripts/study_misses.py --workdir=RUN --judge=PRESET --output=FILE

At hidden places of held-out rows a coin puts the generator's sample or the text's own
token; samples that hit the original are left out. AUC: how often the discriminator
finds a sample more suspicious than a token of the text, both from one group of tokens.

How much of that is to be seen at all? The judge is another masked language model, such
as the study's baseline. A token is as suspicious as the generator's probability of it
over the judge's: the AUC of that is what knowing the samples' and the text's
probabilities is good for, as far as the judge knows the latter. A discriminator far
below it has not learned what is there; where both are near 0.5, the generator writes
as the text does, and there is nothing to see.

B rows, L tokens per row, P predictions per row, V vocabulary.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn import metrics

from electra_tf import config, errors
from electra_tf.batches import pipeline
from electra_tf.network import models
from electra_tf.objectives import corruption
from electra_tf.system import durable
from electra_tf.training import workdir
from electra_tf.weights import opening, preset

Flags = npt.NDArray[np.bool_]

ROWS = 1000  # held out
COIN = 7  # its seed
LEAST = 20  # samples and tokens of the text in a group that is told


class Seen(NamedTuple):
    """Tokens at hidden places, each array [N]."""

    is_sample: Flags
    token: npt.NDArray[np.int32]
    often: npt.NDArray[np.float64]  # its share of the tokens of the held-out text
    place: npt.NDArray[np.int32]  # in its example
    suspicion: npt.NDArray[np.float32]  # the discriminator's logit of "replaced"
    generated: npt.NDArray[np.float32]  # log of the generator's probability of it
    judged: npt.NDArray[np.float32]  # log of the judge's
    other: npt.NDArray[np.float32]  # log of the judge's of what is not shown there


class Networks(NamedTuple):
    """Who samples, who looks, who knows the text."""

    generator: keras.Model
    discriminator: keras.Model
    judge: keras.Model


def find_networks(settings: config.PretrainConfig, run: str, judge: str) -> Any:
    """Opens the networks of a run and of a judge; None if the run has no such.

    Raises:
        UserError: a preset is not there, or damaged.
    """
    source = opening.open_pretrained(run)
    sampler = source
    if preset.find(source, "generator") is None:
        frozen = getattr(settings.objective, "generator", "")
        if not frozen:
            return None
        sampler = opening.open_pretrained(frozen)
    found = []
    for where, role in (
        (sampler, "generator"),
        (source, "discriminator"),
        (opening.open_pretrained(judge), "generator"),
    ):
        name = preset.find(where, role)
        if name is None:
            return None
        found.append(preset.build(where, name))
    return Networks(*found)


def look(networks: Networks, settings: config.PretrainConfig, rows: int) -> Seen:
    """Shows held-out rows to all three.

    Raises:
        UserError: the data is not there, or has nothing held out.
    """
    batches = pipeline.validation_batches(
        pipeline.open_source(settings.data),
        settings.data,
        seed=settings.train.seed,
        batch_rows=settings.train.batch_size,
        max_rows=rows,
    )
    counts = np.zeros(settings.model.vocab_size)
    found = []
    for number, batch in enumerate(batches):
        found.append(look_at_batch(networks, batch, number))
        text = tf.boolean_mask(corruption.original(batch), batch["example_ids"] > 0)
        counts += np.bincount(text.numpy(), minlength=len(counts))
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    is_sample, token, *others = parts
    return Seen(is_sample, token, counts[token] / counts.sum(), *others)


def look_at_batch(
    networks: Networks, batch: dict[str, tf.Tensor], number: int
) -> tuple[npt.NDArray[Any], ...]:
    """Returns the fields of `Seen` of one batch, but for how often tokens are."""
    logits = models.run(networks.generator, batch, training=False)  # [B, P, V]
    known = models.run(networks.judge, batch, training=False)
    sampled, original = corruption.draw(logits, batch), batch["mask_ids"]  # [B, P]
    coin = tf.random.stateless_uniform(tf.shape(sampled), [COIN, number]) < 0.5
    shown = tf.where(coin, sampled, original)
    rows = corruption.corrupt(batch, shown)
    verdicts = models.run(
        networks.discriminator, batch | {"token_ids": rows.token_ids}, training=False
    )  # [B, L]
    places = batch["mask_positions"]
    counts = (batch["mask_weights"] > 0) & tf.not_equal(sampled, original)
    fields = (
        coin,
        shown,
        tf.gather(batch["position_ids"], places, batch_dims=1),
        tf.gather(verdicts, places, batch_dims=1),
        log_probability(logits, shown),
        log_probability(known, shown),
        log_probability(known, tf.where(coin, original, sampled)),
    )
    return tuple(tf.boolean_mask(field, counts).numpy() for field in fields)


def log_probability(logits: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Returns log softmax of logits [B, P, V] at tokens [B, P]."""
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(tokens, logits)


def groups(seen: Seen, vocab: list[str]) -> Iterator[tuple[str, Flags]]:
    """Yields groups of tokens, by what is shown: a name, and who belongs to it."""
    yield "all", np.ones(len(seen.token), bool)
    words = np.array(vocab)[seen.token]
    is_piece = np.char.startswith(words, "##")
    has_letters = np.array([any(map(str.isalnum, word)) for word in words])
    yield "whole words, first pieces", ~is_piece & has_letters
    yield "pieces within words", is_piece
    yield "punctuation", ~has_letters
    yield from ranges("frequency", seen.often, (1e-4, 1e-3, 1e-2))
    yield from ranges("place", seen.place, (8, 32))
    sure = np.exp(seen.generated)
    yield from ranges("generator's probability", sure, (0.001, 0.01, 0.1, 0.5))


def ranges(
    name: str, values: npt.NDArray[Any], edges: tuple[float, ...]
) -> Iterator[tuple[str, Flags]]:
    """Yields the groups that edges cut values into."""
    for low, high in zip((None, *edges), (*edges, None), strict=True):
        belongs = np.ones(len(values), bool)
        if low is not None:
            belongs &= values >= low
        if high is not None:
            belongs &= values < high
        if low is None:
            yield f"{name} below {high:g}", belongs
        else:
            yield f"{name} from {low:g}" + (f" to {high:g}" if high else ""), belongs


def area(is_sample: Flags, suspicion: npt.NDArray[Any]) -> float | None:
    """Returns the AUC; None of fewer than LEAST of either kind."""
    samples = int(is_sample.sum())
    if min(samples, len(is_sample) - samples) < LEAST:
        return None
    return float(metrics.roc_auc_score(is_sample, suspicion))


def tell(seen: Seen, vocab: list[str]) -> dict[str, Any]:
    """Returns the AUC of both by groups, and how plausible the samples are."""
    ratio = seen.generated - seen.judged
    table = {}
    for name, belongs in groups(seen, vocab):
        inside = seen.is_sample[belongs]
        table[name] = {
            "samples": int(inside.sum()),
            "texts": int((~inside).sum()),
            "discriminator": area(inside, seen.suspicion[belongs]),
            "judge": area(inside, ratio[belongs]),
        }
    samples = seen.is_sample
    likelier = seen.judged[samples] > seen.other[samples]
    return {
        "groups": table,
        # Of samples that are not the original, those that the judge would rather take.
        "likelier_than_the_text": float(likelier.mean()) if samples.any() else None,
    }


def main() -> None:
    """Looks, and writes what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--workdir", required=True, help="of a run that has ended")
    parser.add_argument("--judge", required=True, help="preset with a generator")
    parser.add_argument("--output", required=True, help="JSON file to write")
    parser.add_argument("--rows", type=int, default=ROWS)
    arguments = parser.parse_args()
    settings = workdir.read_settings(arguments.workdir)
    networks = find_networks(settings, arguments.workdir, arguments.judge)
    values: dict[str, Any] = {"groups": {}}
    if networks is not None:
        seen = look(networks, settings, arguments.rows)
        vocab = pipeline.open_source(settings.data).vocab.tokens
        values = tell(seen, vocab)
    durable.write_json(arguments.output, values)


if __name__ == "__main__":
    try:
        main()
    except errors.UserError as error:
        sys.exit(f"error: {error}")
