"""TEAMS: a discriminator that also selects the original among likely tokens.

In:   a masked batch.
Out:  three losses, what metrics are made of, verdicts.

As in Shen et al. 2021 (arXiv 2106.00139) and its code: two towers stand on the same
blocks, each with a last block and a head of its own. One tells replaced tokens; the
other selects, at each hidden position, among the original and tokens that the generator
finds likely. The generator stands on the lowest of these blocks. The selecting tower is
what tasks start from.

B rows, L tokens per row, P predictions per row, C candidates a position, E embedding.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import block, heads, models
from electra_tf.objectives import (
    candidates,
    corruption,
    electra,
    losses,
    objective,
    variants,
)

# What blocks must have in common to be the same blocks.
_OF_BLOCKS = (
    "hidden_size",
    "num_heads",
    "intermediate_size",
    "activation",
    "layer_norm_epsilon",
)


class SelectionHead(heads.MaskedTokenHead):
    """Scores candidates at the hidden positions by their word embeddings, without bias.

    Dense to the embedding's width, GELU, LayerNorm, products (TEAMS' code).
    """

    def build(
        self,
        hidden_shape: Any,
        mask_positions_shape: Any = None,
        candidate_ids_shape: Any = None,
    ) -> None:
        """Makes the dense kernel [D, E] and the LayerNorm."""
        self.dense.build((None, None, self._config.hidden_size))
        self.norm.build((None, None, self._config.embedding_size))

    def call(  # type: ignore[override]
        self, hidden: tf.Tensor, mask_positions: tf.Tensor, candidate_ids: tf.Tensor
    ) -> tf.Tensor:
        """Turns [B, L, D], int32 [B, P] and [B, P, C] into float32 scores [B, P, C]."""
        x = tf.gather(hidden, mask_positions, batch_dims=1)  # [B, P, D]
        x = self.norm(self._activation(self.dense(x)))  # [B, P, E]
        assert self._table is not None
        table = tf.cast(tf.convert_to_tensor(self._table()), self.compute_dtype)
        others = tf.gather(table, candidate_ids)  # [B, P, C, E]
        scores = tf.linalg.matmul(others, x[..., None])[..., 0]
        return tf.cast(scores, tf.float32)

    def compute_output_spec(  # type: ignore[override]
        self,
        hidden: keras.KerasTensor,
        mask_positions: keras.KerasTensor,
        candidate_ids: keras.KerasTensor,
    ) -> keras.KerasTensor:
        """Returns what `call` does, without tracing it."""
        return keras.KerasTensor(candidate_ids.shape, "float32")


class Teams(electra.ReplacedTokenDetection):
    """Trains generator, detecting tower and selecting tower at once."""

    Settings: ClassVar[type[config.ObjectiveConfig]] = variants.TeamsConfig

    def __init__(self, settings: config.PretrainConfig) -> None:
        super().__init__(settings)
        # What the towers share is computed once; then what each has of its own.
        model, own = settings.model, self.settings.own_layers
        detector, selector = (
            self.networks[name].get_layer("encoder")
            for name in ("discriminator", "selector")
        )
        blocks = [f"layer_{index}" for index in range(model.num_layers)]
        shared = [detector.get_layer(name) for name in blocks[: len(blocks) - own]]
        project = None
        if model.embedding_size != model.hidden_size:
            project = detector.get_layer("embeddings_project")
        self._common = _encoder(detector.get_layer("embeddings"), project, shared)
        self._bias = detector.get_layer("attention_bias")
        self._own = {
            name: [tower.get_layer(one) for one in blocks[len(shared) :]]
            for name, tower in (("discriminator", detector), ("selector", selector))
        }

    @classmethod
    def declare(cls, settings: config.PretrainConfig) -> objective.Declaration:
        """Says that there are two towers, and which blocks are the generator's, too."""
        own = settings.objective
        assert isinstance(own, variants.TeamsConfig)
        settings = _with_shared_blocks(settings, own)
        if not settings.train.init_from:
            _refuse_impossible(settings, own)

        @functools.cache
        def built() -> dict[str, keras.Model]:
            _refuse_impossible(settings, own)  # With the sizes of train.init_from.
            return _build(settings, own)

        declared = super().declare(settings)
        networks = {
            name: network._replace(build=functools.partial(_pick, built, name))
            for name, network in declared.networks.items()
        }
        networks["selector"] = networks["discriminator"]._replace(
            build=functools.partial(_pick, built, "selector"),
            role="encoder",
            saved_as="encoder",
            fold=lambda network: network.get_layer("encoder"),
            starts_from=("encoder", "discriminator"),
        )
        return declared._replace(
            networks=networks,
            losses={
                **declared.losses,
                "selection": objective.Loss(
                    own.selection_weight, "Selection loss", losses.MLM_UNIT
                ),
            },
            metrics={
                **declared.metrics,
                "selection_accuracy": objective.Metric(
                    "Selection accuracy",
                    ("selected", "selection_count"),
                    "selected {:.3f}",
                    is_compared=True,
                ),
            },
            sums={**declared.sums, "selected": ()},
        )

    def counts(self, batch: objective.Batch) -> objective.Sums:
        """Counts the hidden tokens, twice, and those that are judged."""
        found = super().counts(batch)
        return {**found, "selection": found["mlm"]}

    def sums(
        self, batch: objective.Batch, training: bool, progress: tf.Tensor | float
    ) -> tuple[objective.Sums, objective.Sums]:
        """Sums all three losses."""
        guesses = models.run(self.networks["generator"], batch, training)
        loss, sampled, metrics = self.guessed(batch, guesses)
        rows = corruption.corrupt(batch, sampled)
        offered = candidates.draw(
            guesses, batch, self.settings.candidates, self.settings.temperature
        )
        seen = batch | {"token_ids": rows.token_ids}
        verdicts, scores = self._read(seen, offered, training)
        judged, weights = self.judged(batch), batch["mask_weights"]
        metrics |= losses.sample_sums(sampled, batch)
        metrics |= losses.verdict_sums(verdicts, rows.is_replaced, judged)
        original = tf.zeros_like(batch["mask_ids"])  # The first of the candidates.
        right = tf.equal(tf.argmax(scores, -1, tf.int32), original)
        found = {
            "mlm": loss,
            "rtd": losses.replaced_token_loss(verdicts, rows.is_replaced, judged),
            "selection": losses.masked_token_loss(scores, original, weights),
        }
        return found, metrics | {"selected": losses.count_hidden(right, batch)}

    def _read(
        self, batch: objective.Batch, offered: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the verdicts' logits [B, L], and scores of candidates [B, P, C]."""
        common = models.run(self._common, batch, training)
        bias = self._bias(batch["example_ids"])

        def tower(name: str) -> tf.Tensor:
            states = common
            for own in self._own[name]:
                states = own(states, bias, training=training)
            return states

        detect = self.networks["discriminator"].get_layer("replaced_token_head")
        select = self.networks["selector"].get_layer("selection_head")
        verdicts = detect(tower("discriminator"))
        return verdicts, select(tower("selector"), batch["mask_positions"], offered)


def _pick(built: Callable[[], dict[str, keras.Model]], name: str) -> keras.Model:
    return built()[name]


def _with_shared_blocks(
    settings: config.PretrainConfig, own: variants.TeamsConfig
) -> config.PretrainConfig:
    """Returns settings whose generator has the main network's blocks, if as wide."""
    model, small = settings.model, settings.generator.resolve(settings.model)
    is_stated = settings.generator.architecture is not None
    if is_stated or not own.shared_layers or small.hidden_size != model.hidden_size:
        return settings
    small = small.model_copy(update={n: getattr(model, n) for n in _OF_BLOCKS})
    generator = settings.generator.model_copy(update={"architecture": small})
    return settings.model_copy(update={"generator": generator})


def _refuse_impossible(
    settings: config.PretrainConfig, own: variants.TeamsConfig
) -> None:
    """Refuses networks that cannot be.

    Raises:
        UserError: there are not so many blocks, or they cannot be the same; there are
            fewer tokens than candidates; the tables of words are two.
    """
    model, small = settings.model, settings.generator.resolve(settings.model)
    if settings.generator.shares == "disentangled":
        raise errors.UserError(
            "generator.shares=disentangled: objective teams selects by the table of "
            "words itself; choose embeddings or nothing"
        )
    if own.candidates > model.vocab_size:
        raise errors.UserError(
            f"objective.candidates={own.candidates}: the vocabulary has "
            f"{model.vocab_size} tokens; choose fewer"
        )
    if own.own_layers >= model.num_layers:
        raise errors.UserError(
            f"objective.own_layers={own.own_layers}: the towers share at least one of "
            f"the {model.num_layers} blocks; choose fewer"
        )
    most = min(small.num_layers, model.num_layers - own.own_layers)
    if own.shared_layers > most:
        raise errors.UserError(
            f"objective.shared_layers={own.shared_layers}: the generator has "
            f"{small.num_layers} blocks and the towers share "
            f"{model.num_layers - own.own_layers}; choose {most} at most"
        )
    for name in _OF_BLOCKS if own.shared_layers else ():
        theirs, ours = getattr(small, name), getattr(model, name)
        if theirs != ours:
            raise errors.UserError(
                f"objective.shared_layers={own.shared_layers}: the generator's {name} "
                f"is {theirs}, the main network's {ours}; set generator.width_scale=1, "
                "or objective.shared_layers=0"
            )


def _build(
    settings: config.PretrainConfig, own: variants.TeamsConfig
) -> dict[str, keras.Model]:
    """Builds all networks, which share blocks, by name."""
    model, small = settings.model, settings.generator.resolve(settings.model)
    embed = small_embed = models.build_embeddings(model)
    if settings.generator.shares == "nothing":
        small_embed = models.build_embeddings(small)
    first = model.num_layers - own.own_layers
    common = _blocks(model, 0, first)
    lowest = common[: own.shared_layers]
    project = small_project = _projection(model)
    if not lowest or small_embed is not embed:
        small_project = _projection(small)

    rows = models.row_inputs()
    places = keras.Input((None,), dtype="int32", name="mask_positions")
    offered = keras.Input((None, own.candidates), dtype="int32", name="candidate_ids")

    blocks = lowest + _blocks(small, len(lowest), small.num_layers)
    hidden = _encoder(small_embed, small_project, blocks)(rows)
    guess = heads.MaskedTokenHead(small, small_embed, name="masked_token_head")
    guesses = guess(hidden, places)

    def tower() -> keras.KerasTensor:
        blocks = common + _blocks(model, first, model.num_layers)
        return _encoder(embed, project, blocks)(rows)

    detect = heads.ReplacedTokenHead(model, name="replaced_token_head")
    verdicts = detect(tower())
    select = SelectionHead(model, embed, name="selection_head")
    at = {"mask_positions": places, "candidate_ids": offered}
    scores = select(tower(), *at.values())
    return {
        "generator": keras.Model(
            rows | {"mask_positions": places}, guesses, name="generator"
        ),
        "discriminator": keras.Model(rows, verdicts, name="discriminator"),
        "selector": keras.Model(rows | at, scores, name="selector"),
    }


def _blocks(model: config.ModelConfig, first: int, end: int) -> list[keras.Layer]:
    return [block.EncoderBlock(model, name=f"layer_{i}") for i in range(first, end)]


def _projection(model: config.ModelConfig) -> keras.Layer | None:
    if model.embedding_size == model.hidden_size:
        return None
    # Glorot-uniform, TF1's default, as in the 2020 code.
    return keras.layers.Dense(model.hidden_size, name="embeddings_project")


def _encoder(
    embed: keras.Layer, project: keras.Layer | None, blocks: Sequence[keras.Layer]
) -> keras.Model:
    """Lays layers that are there over rows: hidden states [B, L, D]."""
    rows = models.row_inputs()
    x = embed(rows["token_ids"], rows["segment_ids"], rows["position_ids"])  # [B, L, E]
    if project is not None:
        x = project(x)  # [B, L, D]
    bias = block.AttentionBias(name="attention_bias")(rows["example_ids"])
    for one in blocks:
        x = one(x, bias)
    return keras.Model(rows, x, name="encoder")
