"""What must hold of every objective, whatever it learns."""

import keras
import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.objectives import registry
from electra_tf.training import train_step

every = pytest.mark.parametrize("name", registry.OBJECTIVES)

# With so large an epsilon AdamW is SGD, which forgives no wrong scale of a gradient.
SGD = config.AdamWConfig(epsilon=1e3, weight_decay=0.0)


def four_rows():
    """Returns the two rows twice, the second time with other noise."""
    batch = masked_rows.vary_noise(2)
    return {name: tf.gather(value, [0, 2, 1, 3]) for name, value in batch.items()}


def settings_of(name, **train):
    """Returns settings without dropout, learning by SGD."""
    settings = masked_rows.settings_of(name)
    model = settings.model.model_copy(
        update={
            "hidden_dropout_rate": 0.0,
            "attention_dropout_rate": 0.0,
            "initializer_range": 0.3,
        }
    )
    train = config.TrainConfig(
        **{"steps": 9, "warmup_steps": 0, "learning_rate": 1e3, **train}
    )
    return settings.model_copy(
        update={"model": model, "train": train, "optimizer": SGD}
    )


def trained(name, steps=2, compile_step=False, **train):
    """Returns all sums of a few updates, and the weights after them."""
    settings = settings_of(name, **train)
    pretrainer = train_step.build(settings, compile_step=compile_step)
    update = tf.function(pretrainer.update)
    sums = [update(four_rows()) for _ in range(steps)]
    return sums, [np.asarray(v) for v in pretrainer.trainable_variables]


def assert_alike(found, wanted, rtol=1e-4, atol=1e-5):
    for got, want in zip(found[0], wanted[0], strict=True):
        for key, value in want.items():
            np.testing.assert_allclose(got[key], value, rtol, atol, err_msg=key)
    for got, want in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(got, want, rtol, atol)


@pytest.mark.slow
@every
def test_micro_batches_under_xla_give_what_the_whole_batch_gives(name):
    whole = trained(name)
    assert all(float(sums["finite"]) == 1.0 for sums in whole[0])
    assert float(whole[0][0]["gradient_norm"]) > 0.0
    assert_alike(trained(name, compile_step=True, accumulation_steps=2), whole)


@pytest.mark.slow
@every
def test_two_replicas_give_what_one_gives(name, two_replicas):
    with two_replicas.scope():
        pretrainer = train_step.build(settings_of(name))
    rows = four_rows()

    def half(value):
        def of(context):
            start = 2 * context.replica_id_in_sync_group
            return value[start : start + 2]

        return two_replicas.experimental_distribute_values_from_function(of)

    @tf.function
    def update(batch):
        return two_replicas.run(pretrainer.update, args=(batch,))

    batch = {key: half(value) for key, value in rows.items()}
    sums = []
    for _ in range(2):
        found = update(batch)
        first = two_replicas.experimental_local_results
        sums.append({key: first(value)[0] for key, value in found.items()})
    weights = [first(v.value)[0].numpy() for v in pretrainer.trainable_variables]
    assert_alike((sums, weights), trained(name))


@every
def test_a_packed_row_gives_what_its_examples_give_alone(name):
    learned = masked_rows.build(name)
    packed = {key: value[:1] for key, value in masked_rows.BATCH.items()}
    sums, metrics = learned.sums(packed, False, 0.0)
    first, second = alone(packed, slice(0, 4), [0]), alone(packed, slice(4, 7), [1, 2])
    apart = [learned.sums(one, False, 0.0) for one in (first, second)]
    for key, value in sums.items():
        parts = [one[0][key] for one in apart]
        np.testing.assert_allclose(tf.add_n(parts), value, rtol=1e-4, err_msg=key)
    for key, value in metrics.items():
        parts = [one[1][key] for one in apart]
        np.testing.assert_allclose(tf.add_n(parts), value, err_msg=key)


def alone(row, places, slots):
    """Returns an example of a row by itself: its tokens moved to the front, padded."""
    found = {}
    for key, value in row.items():
        array = np.asarray(value)
        if key in ("mask_positions", "mask_ids", "mask_weights", "sampling_noise"):
            kept = np.zeros_like(array)
            kept[:, : len(slots)] = array[:, slots]
            if key == "mask_positions":
                kept[:, : len(slots)] -= places.start
        elif key == "data_position":
            kept = array
        else:
            kept = np.zeros_like(array)
            kept[:, : places.stop - places.start] = array[:, places]
        found[key] = tf.constant(kept)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@every
def test_half_precision_gives_nearly_the_same_losses(name, kind):
    whole, _ = trained(name, steps=1)
    keras.config.set_dtype_policy(f"mixed_{kind}")
    half, _ = trained(name, steps=1, precision=f"mixed_{kind}")
    losses = [key for key in whole[0] if key.endswith("_loss")]
    assert losses
    for key in losses:
        np.testing.assert_allclose(half[0][key], whole[0][key], rtol=0.05, err_msg=key)


@pytest.mark.slow
@every
def test_an_overflow_of_float16_changes_no_network(name):
    keras.config.set_dtype_policy("mixed_float16")
    settings = settings_of(name, precision="mixed_float16")
    pretrainer = train_step.build(settings)
    update = tf.function(pretrainer.update)
    scale = pretrainer.learner.counters()["loss_scale"]
    kept = [*pretrainer.variables, pretrainer.learner.iterations]
    found = []
    for value in (2.0**60, 16.0):
        scale.assign(value)
        before = [v.numpy() for v in kept]
        sums = update(four_rows())
        assert float(sums["finite"]) == 1.0
        changed = [not np.array_equal(v, b) for v, b in zip(kept, before, strict=True)]
        found.append((float(sums["skipped"]), any(changed)))
    assert found == [(1.0, False), (0.0, True)]
