"""Texts become scores: how likely each token is, given all others, and their sum.

In:   strings of any length.
Out:  of each text a sum, and its tokens with their places and scores, in nats.

Three ways: the energies that Electric learned, in one pass (Clark et al. 2020, arXiv
2012.08561, section 4.2); a masked language model's guesses with one token hidden at a
time, as many passes as there are tokens (Salazar et al. 2020, arXiv 1910.14659); how
sure a discriminator is that a token was not replaced, in one pass.

B rows, L tokens per row, P places per row, V vocabulary, N texts, T tokens of all.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import heads, models
from electra_tf.serving import saved_model
from electra_tf.tasks import backbone as backbones
from electra_tf.tasks import graph, inputs, preprocessor, recipe, task
from electra_tf.tasks import heads as task_heads
from electra_tf.weights import preset

# Way -> the role of the network that can do it; the first that is there is chosen.
WAYS = {"energy": "energy", "masking": "generator", "replaced": "discriminator"}

# What is hidden where a token is scored: it alone, or with it the pieces of its word
# that follow, from which it could be guessed (Kauf and Ivanova 2023, arXiv 2305.10588).
HIDDEN = ("token", "word_l2r")

# Batches of hidden tokens whose rows are held at once.
_BATCHES_HELD = 64

_NOTHING_TO_LEARN = (
    "a scorer learns nothing: pre-train with objective.name=electric or mlm, and score "
    "with what they leave"
)


class TokenScore(NamedTuple):
    """The score of one token; it covers `text[start:end]`."""

    token: str
    start: int
    end: int
    score: float  # nats; the way says of what


class Score(NamedTuple):
    """The score of a text."""

    score: float  # nats, the sum over its tokens; 0 of a text without any
    num_tokens: int
    tokens: list[TokenScore]

    @property
    def mean(self) -> float:
        """The score of a token, on average; exp(-mean) is the pseudo-perplexity."""
        return self.score / max(self.num_tokens, 1)

    def rate_below(self, threshold: float) -> float:
        """Returns the share of the tokens with a score below a threshold, 0 to 1.

        In the way "replaced", those below log(0.5) are taken for replaced.
        """
        below = sum(token.score < threshold for token in self.tokens)
        return below / max(self.num_tokens, 1)


@keras.saving.register_keras_serializable(package="electra_tf")
class ElectraScorer(task.ElectraTask, keras_hub.models.Task):
    """Scores texts: how likely each token is, given all others.

    Long texts are read in windows; each token is scored once, in the window in which it
    has most context. [CLS] and [SEP] have no score.

    Args:
        backbone: the encoder.
        preprocessor: strings to token ids; None where the inputs are token ids.
        way: "energy", of a preset of Electric: minus the energy, which estimates log p
            of the token. "masking", of a generator or any masked language model: log p
            of the token where it is hidden. "replaced", of a discriminator: log of the
            probability that the token is the original. `from_preset` takes the first
            of these that the preset has a network for, but "replaced" only if it is
            named: it says nothing of how likely a token is among others.
        hide: what "masking" hides: "token", or "word_l2r", with it the later pieces of
            its word.
    """

    kind = "scoring"
    of_lists = _NOTHING_TO_LEARN
    has_labels = False

    def __init__(
        self,
        backbone: backbones.ElectraBackbone,
        preprocessor: Any = None,
        way: str = "energy",
        hide: str = "token",
        **kwargs: Any,
    ) -> None:
        _refuse_other("way", way, WAYS)
        _refuse_other("hide", hide, HIDDEN)
        if hide != "token" and way != "masking":
            raise errors.UserError(
                f'hide="{hide}": in the way "{way}" nothing is hidden; leave it out, '
                'or take the way "masking"'
            )
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.way, self.hide = way, hide
        model, dtype = backbone.model_config, backbone.dtype_policy
        taken = dict(backbone.input)
        hidden = backbone(backbone.input)["sequence_output"]  # [B, L, D]
        if way == "masking":
            for name in ("mask_positions", "mask_ids"):
                taken[name] = keras.Input((None,), dtype="int32", name=name)
            self.masked_token_head = heads.MaskedTokenHead(
                model,
                backbone.get_layer("embeddings"),
                dtype=dtype,
                name="masked_token_head",
            )
            logits = self.masked_token_head(hidden, taken["mask_positions"])
            outputs = task_heads.TokenScores(way, name="scores")(
                logits, taken["mask_ids"]
            )
        else:
            self.replaced_token_head = heads.ReplacedTokenHead(
                model, dtype=dtype, name="replaced_token_head"
            )
            logits = self.replaced_token_head(hidden)
            outputs = task_heads.TokenScores(way, name="scores")(logits)
        super().__init__(inputs=taken, outputs=outputs, **kwargs)

    # Weights.

    @classmethod
    def from_pretrained(
        cls, source: preset.Pretrained, load_weights: bool = True, **kwargs: Any
    ) -> Self:
        """Builds the scorer from weights that were opened already."""
        if kwargs.get("way") is None:
            there = (way for way, role in WAYS.items() if preset.find(source, role))
            found = next(there, None)
            kwargs["way"] = "energy" if found in (None, "replaced") else found
        return super().from_pretrained(source, load_weights, **kwargs)

    @classmethod
    def network_of(cls, source: preset.Pretrained, arguments: Mapping[str, Any]) -> str:
        """Chooses the network that can score in the way that is asked for."""
        way = arguments["way"]
        _refuse_other("way", way, WAYS)
        if name := preset.find(source, WAYS[way]):
            return name
        others = [other for other, role in WAYS.items() if preset.find(source, role)]
        hint = f'score in the way "{others[0]}" instead, or ' if others else ""
        wanted = WAYS[way] if "masking" in others else "energy or generator"
        raise errors.UserError(
            f"{source.folder} has no {wanted} to score texts with; it has "
            f"{', '.join(source.networks)}: {hint}take what pre-training leaves with "
            "objective.name=electric or mlm, or a masked language model of others"
        )

    def take_weights(self, source: preset.Pretrained, name: str) -> None:
        """Copies the network; that of the energies is made as a discriminator is."""

        def energy() -> keras.Model:
            return models.build_discriminator(source.networks[name])

        make = energy if self.way == "energy" else None
        backbones.take_weights(self, self.backbone, source, name, make)

    def default_loss(self) -> None:
        """Returns None: there is nothing to learn."""

    def targets(self, y: Any, rows: inputs.Rows) -> Any:
        """Refuses labels.

        Raises:
            UserError: always.
        """
        raise errors.UserError(_NOTHING_TO_LEARN)

    # Scoring.

    def score(
        self, texts: Any, batch_size: int | None = None, verbose: Any = "auto"
    ) -> list[Score]:
        """Scores texts.

        Args:
            texts: strings, in any form that `predict` takes.
            batch_size: rows at once; None = 32. In the way "masking" each token of a
                text makes a row.
            verbose: 1 shows a bar of progress.

        Returns:
            One score per text, in their order.
        """
        found: list[Score] = self.predict(texts, batch_size, verbose)
        return found

    @errors.named_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Scores texts: see `score`. Of token ids, returns the scores alone."""
        x, steps = self.strings(x, steps)
        is_ready = isinstance(x, tf.data.Dataset) or self._is_prepared(x)
        if self.way != "masking" or is_ready:
            return super().predict(x, batch_size, verbose, steps, callbacks)
        self.check_length()
        rows, size = self.rows(x), batch_size or recipe.BATCH_SIZE
        places = [*map(tuple, np.concatenate([*inputs.best_places(rows), _NONE]))]
        with self.watched(len(places), size, verbose, steps, callbacks) as told:
            return self.answers(x, rows, self._hide_each(rows, places, size, told))

    def _hide_each(
        self,
        rows: inputs.Rows,
        places: list[tuple[int, int]],
        batch_size: int,
        watchers: Any,
    ) -> list[npt.NDArray[np.float32]]:
        """Scores the tokens at some places, each hidden in a copy of its row.

        Copies of all texts stand in batches together, those of like length.

        Args:
            rows: of all texts.
            places: row and position of each token.
            batch_size: copies at once.
            watchers: as of `outputs_of`.

        Returns:
            Of each row float32 [L], 0 where nothing was scored.
        """
        lengths = [len(ids) for ids in rows.token_ids]
        places = sorted(places, key=lambda place: -lengths[place[0]])
        scores = [np.zeros(length, np.float32) for length in lengths]
        held = batch_size * _BATCHES_HELD
        for start in range(0, len(places), held):
            chosen = places[start : start + held]
            copies = rows._replace(
                token_ids=[self._hidden(rows.token_ids[r], at) for r, at in chosen],
                segment_ids=[rows.segment_ids[r] for r, _ in chosen],
            )
            fields = {
                "mask_positions": [np.array([at], np.int32) for _, at in chosen],
                "mask_ids": [rows.token_ids[r][at : at + 1] for r, at in chosen],
            }
            found = self.outputs_of(
                copies,
                batch_size,
                fields,
                watchers=watchers,
                first_batch=start // batch_size,
            )
            for (row, at), one in zip(chosen, found, strict=True):
                scores[row][at] = one[0]
        return scores

    def _hidden(self, ids: inputs.Ids, at: int) -> inputs.Ids:
        """Returns a copy of a row in which a token is hidden."""
        end = at + 1
        if self.hide == "word_l2r":
            while self._continues()[ids[end]]:  # [SEP] ends the row, and a word.
                end += 1
        copy = ids.copy()
        copy[at:end] = self.preprocessor.tokenizer.mask_token_id
        return copy

    def _continues(self) -> npt.NDArray[np.bool_]:
        """Returns which tokens go on with the word before them, bool [V]."""
        words = self.preprocessor.tokenizer
        if getattr(self, "_pieces", (None, None))[0] is not words:
            vocab = words.get_vocabulary()
            pieces = np.array([token.startswith("##") for token in vocab])
            self._pieces = (words, pieces)
        found: npt.NDArray[np.bool_] = self._pieces[1]
        return found

    def rows(self, x: Any) -> inputs.Rows:
        """Turns texts into rows of token ids."""
        encode = self.preprocessor.tokenizer.encode_with_offsets
        encoded = [encode(text) for text in preprocessor.single_texts(x)]
        rows = inputs.frame_texts(
            [ids for ids, _ in encoded],
            None,
            self.preprocessor.frame,
            long_texts="windows",
            stride=self.preprocessor.stride,
        )
        return rows._replace(notes=encoded)

    def answers(self, x: Any, rows: inputs.Rows, outputs: list[Any]) -> list[Score]:
        """Returns one score per text."""
        token = self.preprocessor.tokenizer.id_to_token
        found = []
        for (ids, places), scores in zip(
            rows.notes, inputs.gather(rows, outputs), strict=True
        ):
            tokens = [
                TokenScore(token(number), start, end, float(score))
                for number, (start, end), score in zip(
                    ids.tolist(), places, scores, strict=True
                )
            ]
            total = float(np.sum(scores, dtype=np.float64))
            found.append(Score(total, len(tokens), tokens))
        return found

    # Serving.

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns sums, and the tokens of texts, each with its place and score."""
        before = graph.Preprocessor(self.preprocessor, long_texts="windows")
        vocab = self.preprocessor.tokenizer.get_vocabulary()
        # Each token makes a row where one after the other is hidden.
        width = before.frame.length if self.way == "masking" else 1

        def score(text: tf.Tensor) -> saved_model.Tensors:
            ids, starts, ends = before.encode(text)
            ids = graph.bounded(ids, width)
            rows = before.frame_rows(ids)
            places = graph.best_places(rows)
            if self.way == "masking":
                copies = self._hide_each_in_graph(rows.fields(), *places)
                scores = graph.run(self.forward(), copies)[:, 0]  # [T]
            else:
                outputs = graph.run(self.forward(), rows.fields())  # [R, L]
                scores = graph.at_places(outputs, places)
            of_tokens = ids.with_values(scores)
            tokens = ids.with_values(tf.gather(tf.constant(vocab), ids.values))
            return {
                "score": tf.reduce_sum(of_tokens, axis=1),
                "num_tokens": tf.cast(ids.row_lengths(), tf.int32),
                "tokens": tokens.to_tensor(""),
                "starts": starts.to_tensor(0),
                "ends": ends.to_tensor(0),
                "token_scores": of_tokens.to_tensor(0.0),
            }

        if self.way == "masking":
            by_ids = self._of_hidden_ids(before.frame)
        else:
            by_ids = graph.of_token_ids(self, lambda scores: {"token_scores": scores})
        return {saved_model.DEFAULT: graph.of_text(score), "tokens": by_ids}

    def _hide_each_in_graph(
        self, fields: dict[str, tf.Tensor], row: tf.Tensor, position: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns what the model takes of T tokens, each hidden in a copy of its row.

        Args:
            fields: of the rows, int32 [R, L].
            row: int64 [T].
            position: int64 [T].
        """
        copies = {name: tf.gather(field, row) for name, field in fields.items()}
        ids, at = copies["token_ids"], position[:, None]  # [T, L], [T, 1]
        place = tf.range(tf.shape(ids, tf.int64)[1])
        hidden = tf.equal(place, at)
        if self.hide == "word_l2r":
            ends_word = (place > at) & ~tf.gather(tf.constant(self._continues()), ids)
            ended = tf.cumsum(tf.cast(ends_word, tf.int32), axis=1) > 0
            hidden |= (place > at) & ~ended
        mask = self.preprocessor.tokenizer.mask_token_id
        return copies | {
            "token_ids": tf.where(hidden, mask, ids),
            "mask_positions": tf.cast(at, tf.int32),
            "mask_ids": tf.gather(ids, at, batch_dims=1),
        }

    def _of_hidden_ids(self, frame: inputs.Frame) -> saved_model.Signature:
        """Returns the signature of rows in which others have hidden tokens."""

        def function(
            token_ids: tf.Tensor,
            segment_ids: tf.Tensor,
            mask_positions: tf.Tensor,
            mask_ids: tf.Tensor,
        ) -> saved_model.Tensors:
            token_ids = graph.with_a_column(token_ids)
            rows = graph.rows_of_ids(token_ids, segment_ids, frame)
            rows |= {"mask_positions": mask_positions, "mask_ids": mask_ids}
            return {"token_scores": graph.run(self.forward(), rows)}

        mask = self.preprocessor.tokenizer.mask_token_id
        example = {
            "token_ids": [frame.cls_id, mask, frame.sep_id],
            "segment_ids": [0, 0, 0],
            "mask_positions": [1],
            "mask_ids": [frame.sep_id],
        }
        spec = tf.TensorSpec([None, None], tf.int32)
        return saved_model.Signature(function, dict.fromkeys(example, spec), example)

    def settled(self) -> dict[str, Any]:
        """Returns the way, which an export tells."""
        return {"way": self.way, "hide": self.hide}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same model."""
        return {**super().get_config(), **self.settled()}


_NONE = np.zeros((0, 2), np.int64)


def _refuse_other(name: str, value: Any, known: Any) -> None:
    if value not in known:
        want = " or ".join(f'"{one}"' for one in known)
        raise errors.UserError(f"{name}={value!r}: want {want}")
