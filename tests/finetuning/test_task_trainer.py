import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf.finetuning import task_config, task_data, task_trainer
from electra_tf.tasks import (
    multiple_choice,
    recipe,
    text_classifier,
    text_regressor,
    token_classifier,
)
from electra_tf.training import half, optimizer

TEXTS = [
    f"the {who} {what}"
    for who in ("cat", "dog", "bird")
    for what in "sat ran on".split()
]
IS_CAT = ["yes"] * 3 + ["no"] * 6
WEIGHTS = [4.0] * 3 + [9.0] * 3 + [0.5] * 3


@pytest.fixture
def models(tiny_backbone, tiny_preprocessor):
    return {
        "cats": text_classifier.ElectraTextClassifier(
            tiny_backbone, 2, tiny_preprocessor, dropout=0.0
        ),
        "weights": text_regressor.ElectraTextRegressor(
            tiny_backbone, tiny_preprocessor, dropout=0.0
        ),
    }


EXAMPLES = {
    "cats": task_data.Examples(TEXTS, IS_CAT),
    "weights": task_data.Examples(TEXTS, WEIGHTS),
}


def start(models, strategy=None, power=1.0, epochs=2, seed=3, **train):
    settings = {"batch_size": 4, "learning_rate": 1e-2, **train}
    return task_trainer.Trainer(
        models,
        {name: EXAMPLES[name] for name in models},
        task_config.FinetuneTrainConfig(**settings),
        mixing_power=power,
        epochs=epochs,
        seed=seed,
        strategy=strategy or tf.distribute.get_strategy(),
    )


@pytest.mark.learns
def test_two_tasks_on_one_encoder_are_both_learned(models):
    trainer = start(models, epochs=40, learning_rate=3e-3)
    assert trainer.epoch_ends[:2] == [6, 12]  # Three batches each.
    told = list(trainer.run([6, 120, 240]))
    assert [progress.step for progress in told] == [6, 120, 240]
    assert told[0].losses.keys() == {"cats", "weights"}
    first, last = told[0].losses, told[-1].losses
    assert all(last[name] < first[name] / 3 for name in models), (first, last)
    found = [answer["label"] for answer in models["cats"].predict_classes(TEXTS)]
    assert found == IS_CAT
    values = models["weights"].predict(TEXTS)
    assert np.corrcoef(values, WEIGHTS)[0, 1] > 0.8


def test_one_optimizer_trains_all_and_a_batch_moves_its_own_head_alone(models):
    trainer = start(models, warmup_rate=0.0, layer_decay=0.5)
    assert models["cats"].optimizer is models["weights"].optimizer
    before = {
        name: [v.numpy() for v in model.trainable_variables]
        for name, model in models.items()
    }
    (name,) = next(iter(trainer.run([1]))).losses
    assert models["cats"].optimizer.iterations == 1
    for other, model in models.items():
        moved = {
            variable.path
            for variable, old in zip(
                model.trainable_variables, before[other], strict=True
            )
            if not np.array_equal(variable, old)
        }
        assert any(path.startswith("layer_0/") for path in moved)
        has_moved = any(path.startswith("classification_head/") for path in moved)
        assert has_moved == (other == name)


def test_it_trains_as_fit_does(models):
    model = models["cats"]
    drawn = model.get_weights()
    list(start({"cats": model}, epochs=3).run([9]))
    ours = model.get_weights()
    model.set_weights(drawn)
    model.compile(learning_rate=1e-2, jit_compile=False)
    model.fit(TEXTS, IS_CAT, batch_size=4, epochs=3, seed=3, verbose=0)
    for mine, theirs, before in zip(ours, model.get_weights(), drawn, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
        assert before.ndim == 1 or not np.array_equal(mine, before)


def test_tags_and_choices_are_trained_too(tiny_backbone, tiny_preprocessor):
    models = {
        "tags": token_classifier.ElectraTokenClassifier(
            tiny_backbone, 2, tiny_preprocessor
        ),
        "choices": multiple_choice.ElectraMultipleChoice(
            tiny_backbone, tiny_preprocessor
        ),
    }
    examples = {
        "tags": task_data.Examples(
            [["the", "cat"], ["dog"]] * 3, [["O", "X"], ["X"]] * 3
        ),
        "choices": task_data.Examples([("the", ["cat", "dog"])] * 5, [1] * 5),
    }
    trainer = task_trainer.Trainer(
        models,
        examples,
        task_config.FinetuneTrainConfig(batch_size=4, learning_rate=3e-3),
        mixing_power=1.0,
        epochs=10,
        seed=3,
        strategy=tf.distribute.get_strategy(),
    )
    told = list(trainer.run([8, 40]))
    for name in models:
        assert told[1].losses[name] < told[0].losses[name]


def test_the_loss_is_the_mean_since_the_last_time(models):
    cats = {"cats": models["cats"]}
    fine = [p.losses["cats"] for p in start(cats, learning_rate=1e-12).run([1, 2, 3])]
    coarse = [p.losses["cats"] for p in start(cats, learning_rate=1e-12).run([3])]
    # Batches of 4, 4 and 1.
    assert coarse[0] == pytest.approx((4 * fine[0] + 4 * fine[1] + fine[2]) / 9, 1e-4)


def test_a_loss_that_is_not_finite_stops_it_with_the_step(models):
    trainer = start({"cats": models["cats"]}, learning_rate=1e35, warmup_rate=0.0)
    with pytest.raises(task_trainer.DivergedError, match=r"the loss is .* at step 3"):
        list(trainer.run([3, 6]))


def test_the_optimizer_is_the_papers_by_width(models):
    built = task_trainer.build_optimizer(
        list(models.values()), task_config.FinetuneTrainConfig(), num_steps=100
    )
    assert built.decoupled_decay == 0.0
    assert built.clip_norm == recipe.CLIP_NORM
    # Warm-up over 10 of 100 steps to 3e-4, times linear decay.
    schedule = built._learning_rate
    assert float(schedule(10)) == pytest.approx(3e-4 * 0.9)
    assert float(schedule(5)) == pytest.approx(3e-4 * 0.5 * 0.95)
    variables = {id(v): v for m in models.values() for v in m.trainable_variables}
    variables = variables.values()
    rates = {v.path: rate for v, rate in zip(variables, built.rates, strict=True)}
    assert rates["classification_head/logits/kernel"] == 1.0
    assert rates["layer_1/query/kernel"] == pytest.approx(0.8)
    assert rates["embeddings/word_embeddings"] == pytest.approx(0.8**3)
    assert isinstance(built, optimizer.AdamW)


def test_two_replicas_learn_as_one(tiny_preprocessor, tiny_model_config, two_replicas):
    from electra_tf.tasks import backbone

    changed = {"hidden_dropout_rate": 0.0, "attention_dropout_rate": 0.0}
    architecture = tiny_model_config.model_copy(update=changed)

    def losses(strategy):
        keras.utils.set_random_seed(8)
        with strategy.scope():
            encoder = backbone.ElectraBackbone.from_model_config(architecture)
            model = text_classifier.ElectraTextClassifier(
                encoder, 2, tiny_preprocessor, dropout=0.0
            )
        trainer = start({"cats": model}, strategy, epochs=1, batch_size=9)
        return [progress.losses["cats"] for progress in trainer.run([1])]

    assert losses(two_replicas) == pytest.approx(
        losses(tf.distribute.get_strategy()), 1e-5
    )


# Whose batch it is.


def test_shares_go_by_size_to_a_power():
    def counts(power):
        return np.bincount(task_trainer.mix([30, 3], 66, power, seed=1)).tolist()

    assert counts(1.0) == [60, 6]
    assert counts(0.0) == [33, 33]
    assert counts(0.5) == [50, 16]  # sqrt(10) to 1


def test_every_task_has_a_batch_and_the_order_goes_by_the_seed():
    orders = [task_trainer.mix([1000, 1, 1], 12, 1.0, seed) for seed in (1, 1, 2)]
    assert np.bincount(orders[0]).tolist() == [10, 1, 1]
    assert orders[0].tolist() == orders[1].tolist()
    assert orders[0].tolist() != orders[2].tolist()
    assert task_trainer.mix([7], 21, 1.0, 3).tolist() == [0] * 21


# float16.


def test_tasks_in_float16_share_a_scale_and_what_was_skipped_is_counted(models):
    trainer = start(models, epochs=2, precision="mixed_float16")
    learner = models["cats"].optimizer
    assert isinstance(learner, half.LossScaling)
    assert models["weights"].optimizer is learner
    told = trainer.run([2, 6, 12])
    next(told)
    assert trainer.skipped() == 0
    scale = learner.counters()["loss_scale"]
    scale.assign(np.inf)
    next(told)
    assert trainer.skipped() == 4
    assert int(learner.iterations) == 2
    scale.assign(0.0)  # None is left: the trial ends.
    with pytest.raises(task_trainer.DivergedError, match=r"in float16.*, at step 11$"):
        next(told)
