"""N-best lists are reranked: a weight is chosen on dev, kept, and applied.

In:   a preset that scores, or a server that has one; files of hypotheses.
Out:  a JSON file with the weight; the best hypothesis of each list, a line each.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from electra_tf import config, errors
from electra_tf.finetuning import nbest, predictor, task_config
from electra_tf.system import durable, reading

FORMAT = 1


class Weights(config.Settings):
    """What the file of the weight holds."""

    format: int
    weight: float  # of the scorer's sum
    bonus: float  # for each of its tokens
    metric: str  # which the weight was chosen by
    first_pass: float  # the metric on dev, in percent: of the first pass alone,
    reranked: float  # with the weight,
    oracle: float  # and of the best hypothesis in each list
    lists: int
    hypotheses: int
    scorer: dict[str, Any]  # who scored: its preset or server, way and hide


def rerank(
    origin: str | None,
    settings: task_config.RerankConfig,
    weights: str,
    *,
    server: str | None = None,
    dev: str | None = None,
    source: str | None = None,
    output: str | None = None,
) -> None:
    """Chooses the weight on dev, or reads it; applies it to a file, if there is one.

    Args:
        origin: what `catalog.load` takes; None = ask a server.
        settings: how to score, and to choose.
        weights: the file of the weight: written where there is `dev`, else read.
        server: what `client.Model` takes.
        dev: a file of hypotheses with references, or "-".
        source: a file of hypotheses, or "-".
        output: a file for the best ones; None = JSON lines to stdout.

    Raises:
        UserError: a file is missing, or a row lacks a field; the preset cannot score;
            the weight was chosen for another way to score.
    """
    if not dev and not source:
        raise errors.UserError(
            "name hypotheses to choose the weight by (--dev), or to rerank with a "
            "weight that was chosen (--input), or both"
        )
    predictor.check_output(source, output)
    of_dev, of_source = (
        _read(path, settings, is_dev) if path else []
        for path, is_dev in ((dev, True), (source, False))
    )
    if dev:
        _refuse_foreign(weights)
    known = None if dev else _read_weights(weights)
    model = predictor.open_model(
        origin, settings.of_prediction(server), server, predictor.SCORER
    )
    who = {"of": origin or server, **model.settled}
    if dev:
        known = _tune(of_dev, model, settings.rerank, who)
        durable.write_json(weights, known.model_dump())
    assert known is not None
    _refuse_other_way(known, who, weights)
    if source:
        with predictor.writer(output) as write:
            for answer in _best(of_source, model, known, settings.rerank):
                write(answer)


def _read(
    path: str, settings: task_config.RerankConfig, is_dev: bool
) -> list[nbest.NBest]:
    options = settings.data.options
    rows = predictor.read(path, options, nbest.FIELDS)
    return nbest.read(rows, options, path, costs=settings.rerank.costs, is_dev=is_dev)


def _refuse_foreign(path: str) -> None:
    """Refuses to write over a file that holds something else, such as the lists."""
    if not os.path.exists(path):
        return
    try:
        is_ours = reading.read_json(path).keys() >= Weights.model_fields.keys()
    except errors.UserError:
        is_ours = False
    if not is_ours:
        raise errors.UserError(
            f"--weights={path} is there and holds no weights; name another file"
        )


def _read_weights(path: str) -> Weights:
    try:
        values = reading.read_json(path)
    except errors.UserError as error:
        raise errors.UserError(
            f"--weights: {error}; --dev chooses a weight and writes it there"
        ) from None
    if values.get("format") != FORMAT:
        raise errors.UserError(
            f"--weights={path}: no file of weights of this version; --dev writes one"
        )
    return config.check(Weights, values, path)


def _refuse_other_way(known: Weights, who: dict[str, Any], path: str) -> None:
    for name in ("way", "hide"):
        was, now = known.scorer.get(name), who.get(name)
        if was and now and was != now:
            raise errors.UserError(
                f"--weights={path}: the weight was chosen for score.{name}={was}, and "
                f"now it is {now}; choose one anew with --dev"
            )


def _scored(lists: Sequence[nbest.NBest], model: predictor.Model) -> nbest.Scored:
    """Has every different hypothesis scored, some at a time."""
    texts = [*dict.fromkeys(h.text for one in lists for h in one.hypotheses)]
    scores: dict[str, tuple[float, int]] = {}
    for start in range(0, len(texts), model.at_once):
        some = texts[start : start + model.at_once]
        for text, one in zip(some, model.find(some), strict=True):
            scores[text] = one["score"], one["num_tokens"]
    return nbest.scored(lists, scores)


def _tune(
    lists: Sequence[nbest.NBest],
    model: predictor.Model,
    settings: task_config.RerankingConfig,
    who: dict[str, Any],
) -> Weights:
    by = nbest.metric(settings.metric, settings.bleu_tokenizer)
    judged = nbest.Judged(lists, by)  # First, as it says what is wrong.
    found = nbest.tune(_scored(lists, model), judged, by.is_error, settings.length)
    predictor.warn(
        f"{settings.metric} on dev, {len(lists):,} lists: {found.before:.2f} first "
        f"pass, {found.after:.2f} reranked, {found.oracle:.2f} oracle; weight "
        f"{found.weight:.4g}, bonus {found.bonus:.4g}"
    )
    return Weights(
        format=FORMAT,
        weight=found.weight,
        bonus=found.bonus,
        metric=settings.metric,
        first_pass=found.before,
        reranked=found.after,
        oracle=found.oracle,
        lists=len(lists),
        hypotheses=sum(len(one.hypotheses) for one in lists),
        scorer=who,
    )


def _best(
    lists: Sequence[nbest.NBest],
    model: predictor.Model,
    known: Weights,
    settings: task_config.RerankingConfig,
) -> Iterator[dict[str, Any]]:
    """Yields the best hypothesis of each list; says how good they are, if known."""
    scores = _scored(lists, model)
    chosen = scores.chosen(known.weight, known.bonus)
    sign = -1.0 if settings.costs else 1.0
    for row, (one, place) in enumerate(zip(lists, chosen, strict=True)):
        best = one.hypotheses[place]
        yield {
            "id": one.id,
            "hypothesis": best.text,
            "score": sign * best.score,
            "text_score": scores.second[row, place],
            "place": best.place,
        }
    if all(one.reference is not None for one in lists):
        by = nbest.metric(settings.metric, settings.bleu_tokenizer)
        judged = nbest.Judged(lists, by)
        predictor.warn(
            f"{settings.metric} of {len(lists):,} lists: "
            f"{judged.value(0 * chosen):.2f} first pass, {judged.value(chosen):.2f} "
            f"reranked, {judged.oracle():.2f} oracle"
        )
