"""Texts become other texts: summaries, translations, answers in words.

In:   sources, and to learn from, targets.
Out:  logits [B, T, V] of the next tokens; of `generate`, texts.

B rows, S tokens of sources in a row, T of targets, D hidden, V vocabulary.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import decoder, embedding
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import (
    columns,
    encoder_decoder,
    labels,
    next_token,
    pairs,
    recipe,
    releasing,
    seq2seq_preprocessor,
    streams,
    task,
    writing,
)
from electra_tf.training import groups
from electra_tf.weights import preset

SHARES = ("embeddings", "everything", "nothing")

LABEL_SMOOTHING = 0.1  # Vaswani et al. 2017, 5.4

# The decoder's peak rate over the encoder's: what is new learns faster.
DECODER_RATE = 2.0


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraSeq2Seq(
    releasing.Releasing,
    writing.Writing,
    task.ElectraTask,
    keras_hub.models.Seq2SeqLM,
):
    """An encoder reads a text, a decoder that grew out of it writes another.

    `keras_hub.models.Seq2SeqLM.from_preset` returns this class for our presets. Each
    block of the decoder is a copy of one of the encoder's, sees what was written and no
    more, and has an attention to the encoder's states that is new (Rothe et al. 2020,
    arXiv 1907.12461). What scores the vocabulary is the generator's head where a preset
    has one, with the table of the words.

    Answers start with [CLS] and end with [SEP].

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        decoder_layers: blocks of the decoder, copies of those of the encoder that lie
            evenly between its first and its last; None = as many.
        shares: what encoder and decoder have in common: "embeddings"; "everything" but
            the attention to the source; or "nothing".
        fresh_decoder: whether its blocks begin with weights that are drawn, and not
            with the encoder's.
    """

    kind = "seq2seq"
    preprocessor_cls = seq2seq_preprocessor.ElectraSeq2SeqPreprocessor
    has_labels = False
    has_decoder = True
    way_out = "see encoder_sequence_length and decoder_sequence_length"

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        decoder_layers: int | None = None,
        shares: str = "embeddings",
        fresh_decoder: bool = False,
        **kwargs: Any,
    ) -> None:
        model = backbone.model_config
        if shares not in SHARES:
            want = ", ".join(f'"{name}"' for name in SHARES)
            raise errors.UserError(f"shares={shares!r}: want one of {want}")
        count = model.num_layers if decoder_layers is None else decoder_layers
        if not isinstance(count, int) or not 1 <= count <= model.num_layers:
            raise errors.UserError(
                f"decoder_layers={count!r:.60}: want 1 to {model.num_layers}, the "
                "blocks of the encoder"
            )
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.decoder_layers, self.shares = decoder_layers, shares
        self.fresh_decoder = fresh_decoder
        rows = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in pairs.FIELDS
        }
        super().__init__(
            inputs=rows,
            outputs=encoder_decoder.lay(backbone, rows, count, shares),
            **kwargs,
        )
        self.copy_encoder()

    # Starting.

    def copy_encoder(self) -> None:
        """Makes the decoder begin with the encoder's weights, where it has its own."""
        encoder, copies = self.backbone, []
        if self.shares == "nothing":
            ours = [layer for layer in self.decoder_embeddings() if layer]
            copies += [
                (encoder.get_layer(layer.name.removeprefix("decoder_")), layer)
                for layer in ours
            ]
        if self.shares != "everything" and not self.fresh_decoder:
            count = len(self.decoder_blocks)
            copies += [
                (encoder.get_layer(name), layer.block)
                for name, layer in zip(
                    encoder_decoder.origins(encoder.model_config, count),
                    self.decoder_blocks,
                    strict=True,
                )
            ]
        for source, copy in copies:
            for theirs, ours in zip(source.weights, copy.weights, strict=True):
                ours.assign(theirs)

    def encode(self, rows: dict[str, Any]) -> Any:
        """Runs the encoder over sources: see the function of that name."""
        return encoder_decoder.encode(self.backbone, rows)

    def decoder_embeddings(self) -> tuple[embedding.Embeddings, Any]:
        """Returns what embeds targets, and what widens that; None where none does."""
        owner, prefix = self.backbone, ""
        if self.shares == "nothing":
            owner, prefix = self, "decoder_"
        model = self.backbone.model_config
        is_narrow = model.embedding_size != model.hidden_size
        project = owner.get_layer(f"{prefix}embeddings_project") if is_narrow else None
        return owner.get_layer(f"{prefix}embeddings"), project

    @property
    def decoder_blocks(self) -> list[decoder.DecoderBlock]:
        """The blocks of the decoder, in their order."""
        return [one for one in self.layers if isinstance(one, decoder.DecoderBlock)]

    def take_weights(self, source: preset.Pretrained, name: str) -> None:
        """Copies the encoder, and makes a decoder of it and of the generator's head."""
        backbones.take_weights(self.backbone, self.backbone, source, name)
        self.copy_encoder()
        self.take_generator(source)

    def take_generator(self, source: preset.Pretrained) -> None:
        """Copies of a generator's head what is as wide here, if there is one.

        A narrower one's first layer is not; its LayerNorm, and its bias, which says how
        often words come, are.
        """
        found = preset.find(source, "generator")
        if found is None:
            return
        head = preset.build(source, found).get_layer("masked_token_head")
        theirs = {variable.path: variable for variable in head.weights}
        for ours in self.get_layer("masked_token_head").weights:
            variable = theirs.get(ours.path)
            if variable is not None and variable.shape == ours.shape:
                ours.assign(variable)

    def check_length(self) -> None:
        """Refuses rows longer than the position table."""
        table = self.backbone.model_config.max_positions
        for name in seq2seq_preprocessor.SETTINGS:
            wanted = getattr(self.preprocessor, name, 0)
            if wanted > table:
                raise errors.UserError(
                    f"{name}={wanted} exceeds the position table of {table}; take "
                    f"{table} or less"
                )

    # Training.

    @errors.named_arguments
    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        loss_weights: Any = "auto",
        metrics: Any = "auto",
        weighted_metrics: Any = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = False,
        auto_scale_loss: bool = True,
        *,
        sampler: Any = "greedy",
        learning_rate: float | None = None,
        decoder_learning_rate: float | None = None,
        layer_decay: float | None = None,
        weight_decay: float | None = None,
        label_smoothing: float | None = None,
    ) -> None:
        """Sets how `fit` trains, and how `generate` chooses tokens.

        What is not described here is as in `ElectraTask.compile`.

        Args:
            optimizer: as there, and so the next eight.
            loss: "auto" is cross-entropy with `label_smoothing`.
            loss_weights: Keras'.
            metrics: Keras'.
            weighted_metrics: "auto" is the perplexity.
            run_eagerly: Keras'.
            steps_per_execution: Keras'.
            jit_compile: as there.
            auto_scale_loss: Keras'.
            sampler: a name or an object of `keras_hub.samplers`: "greedy", "beam",
                "top_k", "top_p", "random", or one of yours with `get_next_token`.
            learning_rate: the encoder's peak, with "auto".
            decoder_learning_rate: the decoder's, its head's and that of what both
                share; None = twice the encoder's.
            layer_decay: of the encoder's rates from block to block; None = 1.
            weight_decay: as there.
            label_smoothing: share of the loss that all tokens have alike; None = 0.1.

        Raises:
            UserError: an argument would have no effect, or makes no sense.
        """
        if recipe.is_auto(loss):
            smoothing = LABEL_SMOOTHING if label_smoothing is None else label_smoothing
            loss = next_token.SmoothedCrossEntropy(smoothing)
        elif label_smoothing is not None:
            raise errors.UserError(
                f"label_smoothing={label_smoothing} has no effect on a loss of yours; "
                "leave one of them out"
            )
        self._set_up(
            {
                "optimizer": optimizer,
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
                "auto_scale_loss": auto_scale_loss,
                "sampler": _sampler(sampler),
            },
            learning_rate=learning_rate,
            decoder_learning_rate=decoder_learning_rate,
            layer_decay=layer_decay,
            weight_decay=weight_decay,
        )

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`, for a .keras file or a clone."""
        config = super().get_compile_config()
        if isinstance(self.sampler, keras_hub.samplers.GreedySampler):
            return config  # A clone is a plain model of Keras, which knows no sampler.
        return {**config, "sampler": keras_hub.samplers.serialize(self.sampler)}

    def usual_recipe(self) -> dict[str, float]:
        """Returns the rates of `compile` by name."""
        rate = self.usual_rates()[0]
        return {
            "learning_rate": rate,
            "decoder_learning_rate": DECODER_RATE * rate,
            "layer_decay": 1.0,
            "weight_decay": 0.0,
        }

    def default_loss(self) -> keras.losses.Loss:
        """Returns the loss of `compile`."""
        return next_token.SmoothedCrossEntropy(LABEL_SMOOTHING)

    def default_weighted_metrics(self) -> list[keras.metrics.Metric]:
        """Returns the perplexity over the tokens of the targets."""
        return [next_token.Perplexity()]

    def grouping(self, rates: dict[str, float]) -> groups.Grouping:
        """Makes groups of variables of what was stated to `compile`."""
        peak = recipe.peak(rates)
        return functools.partial(
            _groups,
            num_layers=self.backbone.model_config.num_layers,
            decay=rates["layer_decay"],
            rates=[
                rates[name] / peak if peak else 0.0
                for name in ("learning_rate", "decoder_learning_rate")
            ],
        )

    # Inputs.

    def examples(self, x: Any) -> list[Any]:
        """Returns inputs of any form as a list: sources, or pairs with targets."""
        sources, targets = pairs.split(x)
        return sources if targets is None else list(zip(sources, targets, strict=True))

    def held_out(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns pairs alone, where that is what `fit` was given."""
        if isinstance(validation_data, list):
            validation_data = (validation_data,)
        return super().held_out(validation_data)

    def dataset(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int = recipe.BATCH_SIZE,
        shuffle_seed: int | None = None,
        in_order: bool = False,
    ) -> tf.data.Dataset:
        """Makes batches in which several pairs share a row: see `pairs`.

        Args:
            x: a dict of `encoder_text` and `decoder_text`, pairs, or sources.
            y: targets, where `x` has none.
            sample_weight: of the loss, one per pair.
            batch_size: pairs a batch.
            shuffle_seed: see `pairs.batches`.
            in_order: likewise.
        """
        self.check_length()
        if isinstance(x, tf.data.Dataset):
            if self._is_prepared(streams.inputs_of(x)):
                return x.prefetch(2)
            return pairs.stream(x, self.preprocessor)
        columns.refuse_streams(x, "inputs")
        sources, targets = pairs.split(x, y)
        if targets is None:
            raise errors.UserError(
                "there are no targets to learn from; give fit(sources, targets), or a "
                f"dict of {pairs.SOURCE} and {pairs.TARGET}"
            )
        if not sources:
            raise errors.UserError("no inputs to train or evaluate on: x is empty")
        weights = None
        if sample_weight is not None:
            weights = labels.weights(sample_weight, len(sources))
        return pairs.batches(
            self.preprocessor.sources(sources),
            self.preprocessor.targets(targets),
            batch_size,
            shuffle_seed=shuffle_seed,
            weights=weights,
            in_order=in_order,
        )

    def _is_prepared(self, x: Any) -> bool:
        """Tells whether inputs are token ids already."""
        return self.preprocessor is None or (
            isinstance(x, dict) and pairs.FIELDS[0] in x
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {
            **super().get_config(),
            "decoder_layers": self.decoder_layers,
            "shares": self.shares,
            "fresh_decoder": self.fresh_decoder,
        }


def _groups(
    variables: Sequence[keras.Variable], num_layers: int, decay: float, rates: Any
) -> list[groups.Group]:
    """Makes groups of the encoder's blocks, and one of all else: the decoder.

    What both share, the embeddings, is the decoder's, which asks every row of the table
    in its softmax (D45).

    Args:
        variables: to be trained.
        num_layers: of the encoder.
        decay: of its rates from block to block.
        rates: factors of encoder and decoder.
    """
    encoder = [one for one in variables if one.path.startswith("layer_")]
    known = {id(one) for one in encoder}
    others = [one for one in variables if id(one) not in known]
    found = [
        group._replace(rate=group.rate * rates[0])
        for group in recipe.by_depth(encoder, num_layers - 1, decay)
    ]
    return [*found, groups.Group("decoder", others, rates[1])] if others else found


def _sampler(given: Any) -> Any:
    """Returns a sampler of KerasHub.

    Raises:
        UserError: it is none, or one with a loop of its own.
    """
    try:
        found = keras_hub.samplers.get(given)
    except (ValueError, TypeError):
        found = None
    base, beams = keras_hub.samplers.Sampler, keras_hub.samplers.BeamSampler
    if not isinstance(found, base):
        raise errors.UserError(
            f"sampler={given!r:.60}: want greedy, beam, top_k, top_p or random, or an "
            "object of keras_hub.samplers"
        )
    if type(found).__call__ not in (base.__call__, beams.__call__):
        raise errors.UserError(
            f"sampler={type(found).__name__} has a loop of its own; want one that says "
            "get_next_token alone, such as TopKSampler"
        )
    return found
