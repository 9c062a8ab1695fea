"""A task with a decoder writes answers to texts.

In:   sources of any number and form; beginnings of answers.
Out:  answers in the order of the sources; in a graph, token ids.

It asks the task for its layers by their names, and `generation` to write.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import keras_hub
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from electra_tf import errors
from electra_tf.network import block, decoder, stepping
from electra_tf.system import cores
from electra_tf.tasks import (
    generation,
    inputs,
    pairs,
    predicting,
    recipe,
    searching,
)

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object

SHORTEST = 2  # tokens of an answer: [CLS] and one more


class Answer(NamedTuple):
    """One of several answers to a source."""

    text: str
    score: float  # see `searching.Search.length_penalty`


class _Traced:
    """Functions that were traced, by what for. Keras would look into a dict."""

    def __init__(self) -> None:
        self.found: dict[Any, Any] = {}


class Writing(_OtherHalf):
    """The part of a task that writes."""

    @errors.named_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Returns the answers to texts, as `generate` does; of token ids, logits.

        The arguments are Keras'.
        """
        x, steps = self.strings(x, steps)
        if isinstance(x, tf.data.Dataset) or self._is_prepared(x):
            return super().predict(x, batch_size, verbose, steps, callbacks)
        count = len(self.examples(x))
        size = self._dealt(count, batch_size or recipe.BATCH_SIZE, self.search())
        with self.watched(count, size, verbose, steps, callbacks) as told:
            return self._answers(x, batch_size=size, watchers=told)

    @errors.named_arguments
    def generate(
        self,
        inputs: Any,
        max_length: int | None = None,
        stop_token_ids: Any = "auto",
        strip_prompt: bool = False,
        *,
        batch_size: int = recipe.BATCH_SIZE,
        num_beams: int | None = None,
        num_best: int | None = None,
        length_penalty: float = 1.0,
        no_repeat_ngram_size: int = 0,
        min_length: int = 0,
    ) -> Any:
        """Writes an answer to each source; arguments of KerasHub, and more by name.

        Args:
            inputs: a string, strings, or a tf.data.Dataset of batches of them; or a
                dict of `encoder_text` and `decoder_text`, how the answers begin.
                Without a preprocessor, token ids: the model's inputs, those of the
                decoder padded to the length of an answer.
            max_length: tokens of an answer at most, [CLS], its beginning and [SEP]
                included; None = the preprocessor's `decoder_sequence_length`.
            stop_token_ids: what ends an answer: "auto" is [SEP]; None nothing.
            strip_prompt: whether the beginning that was given is left out.
            batch_size: sources at once, of like length.
            num_beams: how many answers are kept in view; None = as the sampler of
                `compile` says.
            num_best: so many answers to each source are returned, with their scores.
            length_penalty: see `searching.Search`, as for the next two.
            no_repeat_ngram_size: 3 is usual for summaries.
            min_length: tokens at least, counted as in `max_length`.

        Returns:
            A string for each source; with `num_best` a list of `Answer` for each; of
            token ids, a dict of `decoder_token_ids` and `decoder_padding_mask`.

        Raises:
            UserError: an argument makes no sense.
        """
        return self._answers(
            inputs,
            max_length,
            stop_token_ids,
            strip_prompt,
            batch_size,
            num_beams=num_beams,
            num_best=num_best,
            length_penalty=length_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size,
            min_length=min_length,
        )

    def _answers(
        self,
        x: Any,
        max_length: int | None = None,
        stop_token_ids: Any = "auto",
        strip_prompt: bool = False,
        batch_size: int = recipe.BATCH_SIZE,
        watchers: Any = None,
        **options: Any,
    ) -> Any:
        """Does what `generate` says, and tells watchers of each batch."""
        search = self.search(stop_token_ids, **options)
        if self._is_prepared(x):
            return self._answers_of_ids(x, search)
        sources, prompts, is_one = _read(x)
        self.check_length()
        before = self.preprocessor
        limit = before.decoder_sequence_length if max_length is None else max_length
        table = self.backbone.model_config.max_positions
        if not SHORTEST <= limit <= table:
            raise errors.UserError(
                f"max_length={limit}: want {SHORTEST} to {table}, the position table"
            )
        rows = before.sources(sources)
        # [SEP] is for the model to write.
        framed, _ = before.frame([*map(before.tokenizer.encode, prompts)], limit)
        begins = [ids[:-1] for ids in framed]
        found = self._written(rows, begins, limit, search, batch_size, watchers)
        stripped = [len(begin) if strip_prompt else 0 for begin in begins]
        answers = [
            self._told(one, start) for one, start in zip(found, stripped, strict=True)
        ]
        several = options.get("num_best") is not None or _returns_all(self.sampler)
        shown = answers if several else [one[0].text for one in answers]
        return shown[0] if is_one else shown

    def search(
        self,
        stop_token_ids: Any = "auto",
        num_beams: int | None = None,
        num_best: int | None = None,
        **options: Any,
    ) -> searching.Search:
        """Makes a `searching.Search` of arguments of `generate`.

        Raises:
            UserError: one makes no sense.
        """
        pad, sampler = 0, self.sampler
        if self.preprocessor is not None:
            pad = self.preprocessor.tokenizer.pad_token_id
        if isinstance(stop_token_ids, str):
            if stop_token_ids != "auto" or self.preprocessor is None:
                raise errors.UserError(
                    f"stop_token_ids={stop_token_ids!r:.60}: want token ids, or None; "
                    "with a preprocessor, auto"
                )
            stop_token_ids = [self.preprocessor.tokenizer.sep_token_id]
        if num_beams is None:
            num_beams = getattr(sampler, "num_beams", 1)
            if num_best is None and _returns_all(sampler):
                num_best = num_beams
        made = searching.Search(
            num_beams=num_beams,
            num_best=1 if num_best is None else num_best,
            stop_ids=tuple(int(one) for one in stop_token_ids or ()),
            pad_id=pad,
            **options,
        )
        searching.check(made, draws=self._sampler_of(made) is not None)
        return made

    def _sampler_of(self, search: searching.Search) -> generation.Sampler | None:
        """Returns what draws tokens; None where the likeliest is taken."""
        sampler = self.sampler
        greedy = keras_hub.samplers.GreedySampler, keras_hub.samplers.BeamSampler
        if search.num_beams > 1 or type(sampler) in greedy:
            return None
        return lambda logits: sampler.get_next_token(
            sampler.compute_probabilities(logits)
        )

    def _told(self, found: list[tuple[inputs.Ids, float]], start: int) -> list[Answer]:
        """Turns the answers to one source into texts."""
        width = max(len(ids) for ids, _ in found)
        rows = np.zeros((len(found), width), np.int32)
        real = np.zeros((len(found), width), bool)
        for row, mask, (ids, _) in zip(rows, real, found, strict=True):
            row[: len(ids)], mask[start : len(ids)] = ids, True
        texts = self.preprocessor.generate_postprocess(
            {"decoder_token_ids": rows, "decoder_padding_mask": real}
        )
        scores = (score for _, score in found)
        return [Answer(*one) for one in zip(texts, scores, strict=True)]

    def _written(
        self,
        rows: list[inputs.Ids],
        begins: list[inputs.Ids],
        limit: int,
        search: searching.Search,
        batch_size: int,
        watchers: Any,
    ) -> list[list[tuple[inputs.Ids, float]]]:
        """Writes answers to sources of token ids, those of like length together.

        Returns:
            For each source its answers, the best first, each with its score.
        """
        order = np.argsort([-len(row) for row in rows], kind="stable")
        found: list[Any] = [None] * len(rows)
        function = self._function(search)

        def run(places: Any) -> list[npt.NDArray[Any]]:
            batch = [
                *pairs.padded([rows[place] for place in places]),
                *pairs.padded([begins[place] for place in places]),
            ]
            fields = dict(zip(pairs.FIELDS, map(tf.constant, batch), strict=True))
            return [np.asarray(part) for part in function(fields, tf.constant(limit))]

        # What is drawn depends on what was drawn before: one after the other.
        in_turn = self._sampler_of(search) is not None
        batch_size = self._dealt(len(rows), batch_size, search)
        starts = range(0, len(rows), batch_size)
        batches = [order[start : start + batch_size] for start in starts]
        made = map(run, batches) if in_turn else predicting.side_by_side(run, batches)
        for number, (places, outputs) in enumerate(zip(batches, made, strict=True)):
            if watchers:
                watchers.on_predict_batch_begin(number)
                watchers.on_predict_batch_end(number, {"outputs": outputs[0]})
            for place, ids, lengths, scores in zip(places, *outputs, strict=True):
                found[place] = [
                    (one[:length], float(score))
                    for one, length, score in zip(ids, lengths, scores, strict=True)
                ]
        return found

    def _dealt(self, count: int, batch_size: int, search: searching.Search) -> int:
        """Returns a batch's size: one batch alone would leave a core without work.

        What is drawn by chance depends on the batch, and is not to hang on the machine.
        """
        if self._sampler_of(search) is not None:
            return batch_size
        return min(batch_size, -(-count // cores.usual_streams()) or 1)

    def _answers_of_ids(self, x: Any, search: searching.Search) -> dict[str, Any]:
        """Writes answers to batches of token ids, as KerasHub's models do."""
        batches = x if isinstance(x, tf.data.Dataset) else [x]
        made = []
        for batch in batches:
            fields = _fields(batch)
            found = self._function(search)(fields, tf.shape(fields[pairs.FIELDS[2]])[1])
            mask = tf.sequence_mask(found.lengths, tf.shape(found.token_ids)[2])
            made.append((np.asarray(found.token_ids), np.asarray(mask)))
        ids, masks = (np.concatenate(part) for part in zip(*made, strict=True))
        if search.num_best == 1:
            ids, masks = ids[:, 0], masks[:, 0]
        return {"decoder_token_ids": ids, "decoder_padding_mask": masks}

    def _function(self, search: searching.Search) -> Any:
        """Returns `write` as a tf.function, traced once for a search."""
        weights = tuple(id(variable) for variable in self.weights)
        key = search, id(self.sampler), weights
        if not hasattr(self, "_writers"):
            self._writers = _Traced()
        traced = self._writers.found
        if key not in traced:
            ids = tf.TensorSpec([None, None], tf.int32)
            sampler = self._sampler_of(search)

            def run(rows: dict[str, tf.Tensor], limit: tf.Tensor) -> searching.Found:
                return self.write(rows, limit, search, sampler)

            signature = [dict.fromkeys(pairs.FIELDS, ids), tf.TensorSpec([], tf.int32)]
            function = tf.function(run, input_signature=signature, autograph=False)
            function.get_concrete_function()  # Now: `_written` calls it in threads.
            traced[key] = function, self.sampler  # Whose id stays its own.
        return traced[key][0]

    def write(
        self,
        rows: dict[str, tf.Tensor],
        limit: tf.Tensor,
        search: searching.Search,
        sampler: generation.Sampler | None = None,
    ) -> searching.Found:
        """Writes answers in a graph.

        Args:
            rows: the model's inputs, int32: `encoder_token_ids` [B, S], `[CLS] source
                [SEP]`; `decoder_token_ids` [B, P], how answers begin, at least [CLS];
                and the masks of both, 1 where a token is.
            limit: tokens of an answer at most, a scalar.
            search: how to look for them.
            sampler: see `generation.write`.
        """
        lengths = tf.reduce_sum(rows["decoder_padding_mask"], axis=1)
        begins = rows["decoder_token_ids"]
        return generation.write(
            self._writer(rows), begins, lengths, limit, search, sampler
        )

    def _writer(self, rows: dict[str, tf.Tensor]) -> generation.Writer:
        """Runs the encoder, and makes tensors of the decoder."""
        states = self.encode(rows)  # [B, S, D]
        blocks = self.decoder_blocks
        steps = stepping.Steps(
            self.backbone.model_config, [layer.parts() for layer in blocks]
        )
        apart = tf.cast(rows["encoder_padding_mask"] == 0, states.dtype)
        bias = apart[:, None, None, :] * block.NO_ATTENTION
        embed, project = self.decoder_embeddings()
        words, places, norm = generation.embedding_tensors(embed)
        return generation.Writer(
            words,
            places,
            norm,
            _projection(project),
            steps,
            self.get_layer("masked_token_head").scorer(),
            steps.remember(states, bias),
        )

    def generate_step(
        self, inputs: dict[str, Any], stop_token_ids: Any = None
    ) -> dict[str, tf.Tensor]:
        """Writes answers to one batch of token ids, as KerasHub's models do."""
        search = self.search(stop_token_ids)
        rows = _fields(inputs)
        limit = tf.shape(rows["decoder_token_ids"])[1]
        found = self.write(rows, limit, search, self._sampler_of(search))
        ids, lengths = found.token_ids[:, 0], found.lengths[:, 0]
        mask = tf.sequence_mask(lengths, tf.shape(ids)[1])
        return {"decoder_token_ids": ids, "decoder_padding_mask": mask}


def _projection(layer: keras.layers.Dense | None) -> Any:
    if layer is None:
        return tf.identity
    return layer if layer.quantization_mode else decoder.product(layer)


def _fields(batch: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Returns what `write` takes of a batch of token ids.

    Raises:
        UserError: it has not all.
    """
    for name in pairs.FIELDS:
        if name not in batch:
            raise errors.UserError(
                f"the inputs have no {name}; want {', '.join(pairs.FIELDS)}"
            )
    return {
        name: tf.cast(tf.convert_to_tensor(batch[name]), tf.int32)
        for name in pairs.FIELDS
    }


def _returns_all(sampler: Any) -> bool:
    """Tells whether a sampler of KerasHub is to return all beams."""
    return bool(getattr(sampler, "return_all_beams", False))


def _read(x: Any) -> tuple[list[str], list[str], bool]:
    """Returns sources, how their answers begin, and whether it is one alone."""
    if isinstance(x, tf.data.Dataset):
        sources: list[str] = []
        prompts: list[str] = []
        for batch in x.as_numpy_iterator():
            more, starts, _ = _read(batch)
            sources += more
            prompts += starts
        return sources, prompts, False
    first = x.get(pairs.SOURCE) if isinstance(x, dict) else x
    is_one = isinstance(first, str | bytes) or getattr(first, "shape", None) == ()
    sources, begins = pairs.split(x)
    return sources, begins or [""] * len(sources), is_one
