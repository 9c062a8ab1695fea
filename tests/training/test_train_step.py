import keras
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import kernels
from electra_tf.objectives import objective, registry
from electra_tf.training import optimizer, train_step

# With so large an epsilon AdamW is SGD, at a tenth of the rate over epsilon: it
# forgives no wrong scale of a gradient.
ADAMW = config.AdamWConfig()
SGD = {
    "learning_rate": 1e3,
    "learning": config.AdamWConfig(epsilon=1e3, weight_decay=0.0),
}


def settings(dropout=0.0, learning=ADAMW, **train):
    """V=11, E=5, D=6, H=3; the generator is 3 wide; L=7, P=3."""
    model = config.ModelConfig(
        vocab_size=11,
        embedding_size=5,
        hidden_size=6,
        num_layers=1,
        num_heads=3,
        intermediate_size=8,
        max_positions=9,
        hidden_dropout_rate=dropout,
        attention_dropout_rate=dropout,
        initializer_range=0.3,  # Else all logits would be about 0.
    )
    return config.PretrainConfig(
        model=model,
        generator=config.GeneratorConfig(width_scale=0.5),
        data=config.DataConfig(example_tokens=7, row_tokens=7),
        train=config.TrainConfig(**{"steps": 1000, "warmup_steps": 0, **train}),
        optimizer=learning,
    )


def make_batch(seed, rows=4):
    """Rows of 7, 6, 5 ... tokens, of which 3, 2, 1, 3 ... are hidden."""
    rng = np.random.default_rng(seed)
    lengths = 7 - np.arange(rows)[:, None] % 5
    example_ids = np.int32(np.arange(7) < lengths)
    positions = np.sort([rng.permutation(3)[:3] for _ in range(rows)], axis=1)
    weights = np.arange(3) < 3 - np.arange(rows)[:, None] % 3
    batch = {
        "token_ids": np.int32(rng.integers(4, 11, [rows, 7]) * example_ids),
        "segment_ids": np.int32(rng.integers(0, 2, [rows, 7]) * example_ids),
        "example_ids": example_ids,
        "position_ids": np.int32(np.arange(7) * example_ids),
        "mask_positions": np.int32(positions),
        "mask_ids": np.int32(rng.integers(5, 11, [rows, 3]) * weights),
        "mask_weights": np.float32(weights),
        "sampling_noise": rng.random([rows, 3], dtype=np.float32),
        "data_position": np.int32(rng.integers(0, 9, [rows, 4])),
    }
    return {name: tf.constant(value) for name, value in batch.items()}


def weights_of(model):
    return {v.path + str(n): v.numpy() for n, v in enumerate(model.trainable_variables)}


def run(update, batches):
    """Updates with each batch; returns all sums."""
    return [tf.nest.map_structure(np.asarray, update(batch)) for batch in batches]


def assert_same(got, want, rtol, atol):
    """Compares weights, or sums, by name."""
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=atol, err_msg=name)


class Trainee:
    """A pretrainer with its traced update, which can start again from the start."""

    def __init__(self, chosen):
        self.model = train_step.build(chosen)
        self.update = tf.function(self.model.update)
        variables = [*self.model.variables, *self.model.learner.variables]
        self._start = [(v, v.numpy()) for v in variables]

    def restart(self):
        for variable, value in self._start:
            variable.assign(value)
        return self


BATCHES = [make_batch(seed) for seed in range(10)]


@pytest.fixture(scope="module")
def trainee():
    """By SGD, without dropout."""
    return Trainee(settings(**SGD))


@pytest.fixture(scope="module")
def one_replica(trainee):
    """The weights and the sums that ten updates on one device give."""
    trainee.restart()
    sums = run(trainee.update, BATCHES)
    return weights_of(trainee.model), sums


def slopes_of(model, batch, counts):
    """Returns the losses' sums, and the gradient of the weighted mean loss."""
    variables = [v.value for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        sums, _ = model.objective.sums(batch, False, 0.0)
        hidden, real = counts
        loss = sums["mlm"] / hidden + 50.0 * sums["rtd"] / real
    slopes = tape.gradient(loss, variables)
    return sums, [tf.convert_to_tensor(slope).numpy() for slope in slopes]


def length(gradients):
    return np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))


# Of BATCHES[0]: hidden tokens, real ones.
COUNTS = 3 + 2 + 1 + 3, 7 + 6 + 5 + 4


def test_an_update_follows_the_clipped_gradient_of_both_mean_losses(trainee):
    model, batch = trainee.restart().model, BATCHES[0]
    before = weights_of(model)
    sums, gradients = slopes_of(model, batch, COUNTS)
    (hidden, real), norm = COUNTS, length(gradients)
    assert norm > 1.5  # Else nothing would be clipped at 1.

    (found,) = run(trainee.update, [batch])
    np.testing.assert_allclose(found["gradient_norm"], norm, rtol=1e-5)
    np.testing.assert_allclose(found["learning_rate"], 1e3, rtol=1e-6)
    assert (found["steps"], found["finite"], found["rows"]) == (1.0, 1.0, 4.0)
    assert (found["mlm_count"], found["rtd_count"]) == (hidden, real)
    assert (found["tokens"], found["positions"]) == (real, 28)
    np.testing.assert_allclose(found["mlm_loss"], sums["mlm"], rtol=1e-5)
    np.testing.assert_allclose(found["rtd_loss"], sums["rtd"], rtol=1e-5)
    after = weights_of(model)
    for name, gradient in zip(before, gradients, strict=True):
        np.testing.assert_allclose(
            after[name] - before[name], -0.1 * gradient / norm, rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize(
    "how",
    [
        "as it is",
        pytest.param("replicas of micro-batches", marks=pytest.mark.slow),
        "compiled",
    ],
)
def test_each_network_has_a_norm_and_a_rate_of_its_own(how, two_replicas):
    apart = {
        "generator": config.GroupConfig(clip_norm=0.25, learning_rate_scale=0.5),
        "discriminator": config.GroupConfig(weight_decay=1e-3),
    }
    learning = SGD["learning"].model_copy(update={"networks": apart})
    chosen = {**SGD, "learning": learning}
    strategy, batch = tf.distribute.get_strategy(), BATCHES[0]
    if how == "replicas of micro-batches":
        strategy = two_replicas
        chosen |= {"accumulation_steps": 2, "recompute": True}
        batch = distribute(strategy, batch)
    with strategy.scope():
        model = train_step.build(settings(**chosen), compile_step=how == "compiled")
    before = weights_of(model)
    _, gradients = slopes_of(model, BATCHES[0], COUNTS)
    # The shared embeddings are the generator's.
    first = len(model.generator.trainable_variables)
    parts = {"generator": gradients[:first], "discriminator": gradients[first:]}
    norms = {name: length(part) for name, part in parts.items()}
    assert norms["generator"] > 0.4
    assert norms["discriminator"] > 1.5

    update = tf.function(model.update, jit_compile=how == "compiled")
    sums = strategy.run(update, args=(batch,))
    found = {n: strategy.experimental_local_results(v)[0] for n, v in sums.items()}
    zeros = model.zero_sums()
    assert found.keys() == zeros.keys()
    metrics = train_step.summarize(found, model.objective.declared)
    np.testing.assert_allclose(metrics["gradient_norm"], length(gradients), rtol=1e-4)
    for name, norm in norms.items():
        np.testing.assert_allclose(metrics[f"gradient_norm_{name}"], norm, rtol=1e-4)
    scales = [0.5 * 0.25 / norms["generator"]] * first
    scales += [1.0 / norms["discriminator"]] * len(parts["discriminator"])
    after = weights_of(model)
    for place, (name, gradient) in enumerate(zip(before, gradients, strict=True)):
        want = -0.1 * scales[place] * gradient
        if place >= first and "kernel" in name:  # The rate is 1e3.
            want -= before[name]
        np.testing.assert_allclose(
            after[name] - before[name], want, rtol=2e-3, atol=1e-5, err_msg=name
        )


def test_a_network_that_the_objective_has_not_is_refused_before_the_first_step():
    learning = config.AdamWConfig(networks={"generater": config.GroupConfig()})
    with pytest.raises(
        errors.UserError,
        match=r"optimizer.networks names 'generater'; did you mean generator\? This "
        "objective trains generator, discriminator$",
    ):
        train_step.build(settings(learning=learning))


def test_micro_batches_give_what_the_whole_batch_gives(one_replica):
    model = train_step.build(settings(**SGD, accumulation_steps=4))
    sums = run(tf.function(model.update), BATCHES)
    assert_same(sums[0], one_replica[1][0], rtol=2e-6, atol=0)
    for got, want in zip(sums, one_replica[1], strict=True):
        assert_same(got, want, rtol=1e-5, atol=1e-5)
    assert_same(weights_of(model), one_replica[0], rtol=1e-5, atol=1e-5)


def compiles(folder):
    """Says whether XLA's compiler was at work while a profile was taken."""
    (file,) = folder.rglob("*.xplane.pb")
    return b"Compiler::Compile" in file.read_bytes()


# Each value once, for every compilation takes seconds; the other pairs are run as they
# are, above and below.
@pytest.mark.parametrize(
    ("accumulation_steps", "streams", "recompute"),
    [(1, 2, False), pytest.param(2, 1, True, marks=pytest.mark.slow)],
)
def test_a_compiled_update_is_compiled_once_and_gives_the_same(
    accumulation_steps, streams, recompute, one_replica, tmp_path
):
    changed = {
        "accumulation_steps": accumulation_steps,
        "streams": streams,
        "recompute": recompute,
    }
    model = train_step.build(settings(**SGD, **changed), compile_step=True)
    update = tf.function(model.update)
    compiled = []
    for number, want in enumerate(one_replica[1][:4]):
        with tf.profiler.experimental.Profile(str(tmp_path / str(number))):
            (got,) = run(update, [BATCHES[number]])
        assert_same(got, want, rtol=1e-4, atol=1e-4)
        compiled.append(compiles(tmp_path / str(number)))
    # Weights, rows and dropout differ each time.
    assert compiled == [True, False, False, False]


def nodes_of(function):
    """Returns the nodes of an update's graph and of the functions in it."""
    graph = function.get_concrete_function(BATCHES[0]).graph.as_graph_def()
    return [*graph.node, *(n for part in graph.library.function for n in part.node_def)]


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_streams_give_what_the_whole_batch_gives(accumulation_steps, one_replica):
    model = train_step.build(
        settings(**SGD, accumulation_steps=accumulation_steps, streams=2)
    )
    update = tf.function(model.update)
    whole = train_step.build(settings(**SGD, accumulation_steps=accumulation_steps))
    calls = calls_of_blocks(tf.function(whole.update))
    assert calls_of_blocks(update) == 2 * calls > 0
    sums = run(update, BATCHES)
    for got, want in zip(sums, one_replica[1], strict=True):
        assert_same(got, want, rtol=1e-5, atol=1e-5)
    assert_same(weights_of(model), one_replica[0], rtol=1e-5, atol=1e-5)


def test_measuring_in_streams_changes_no_number():
    model = train_step.build(settings(**SGD, streams=2))
    found = model.measure(BATCHES[0])
    model._streams = 1
    assert_same(found, model.measure(BATCHES[0]), rtol=1e-5, atol=1e-5)


def test_the_setting_alone_decides_how_many_parts_draw_their_dropout():
    batch = BATCHES[:1]
    model = train_step.build(settings(dropout=0.5, streams=2))
    (parts,) = run(tf.function(model.update), batch)
    model = train_step.build(settings(dropout=0.5))  # auto, in no command: one part.
    (whole,) = run(tf.function(model.update), batch)
    assert abs(parts["rtd_loss"] - whole["rtd_loss"]) > 1e-3
    compiled = train_step.build(settings(streams=2), compile_step=True)
    assert compiled._streams_of(BATCHES[0]) == 2


def test_a_batch_that_streams_do_not_divide_stays_whole():
    model = train_step.build(settings(**SGD, accumulation_steps=4, streams=2))
    assert model._streams_of(BATCHES[0], 4) == 1  # 4 rows
    assert model._streams_of(BATCHES[0], 2) == 2


def calls_of_blocks(function):
    """Counts the calls in the graph of an update, forward and backward."""
    nodes = nodes_of(function)
    called = [n.attr["f"].func.name for n in nodes if n.op.endswith("PartitionedCall")]
    return sum("_block_" in name for name in called)


@pytest.mark.slow
@pytest.mark.parametrize("compile_step", [False, True])
def test_recomputing_the_blocks_changes_no_number(compile_step):
    def learn(recompute):
        changed = settings(dropout=0.3, **SGD, recompute=recompute)
        model = train_step.build(changed, compile_step=compile_step)
        update = tf.function(model.update)
        return run(update, BATCHES[:2]), weights_of(model), calls_of_blocks(update)

    kept, again = learn(recompute=False), learn(recompute=True)
    for got, want in zip(again[0], kept[0], strict=True):
        assert_same(got, want, rtol=1e-5, atol=1e-6)
    assert_same(again[1], kept[1], rtol=1e-5, atol=1e-6)
    # Two networks of one block each, which runs once more.
    assert again[2] == kept[2] + 2


def distribute(strategy, batch):
    """Gives each replica its part of the rows, in order."""
    replicas = strategy.num_replicas_in_sync

    def split(value):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.split(value, replicas)[context.replica_id_in_sync_group]
        )

    return {name: split(value) for name, value in batch.items()}


def test_two_replicas_give_what_one_gives(one_replica, two_replicas):
    with two_replicas.scope():
        model = train_step.build(settings(**SGD))
    start = weights_of(model)

    @tf.function
    def update(batch):
        return two_replicas.run(model.update, args=(batch,))

    for batch, want in zip(BATCHES, one_replica[1], strict=True):
        sums = update(distribute(two_replicas, batch))
        for replica in range(2):
            got = {
                name: two_replicas.experimental_local_results(value)[replica]
                for name, value in sums.items()
            }
            assert_same(got, want, rtol=1e-5, atol=1e-5)
    for replica in range(2):
        got = {
            name: two_replicas.experimental_local_results(v.value)[replica].numpy()
            for name, v in zip(start, model.trainable_variables, strict=True)
        }
        assert_same(got, one_replica[0], rtol=1e-5, atol=1e-5)
    # The case was met: weights moved, gradients were clipped, the shares differ.
    assert max(np.abs(got[name] - start[name]).max() for name in start) > 0.1
    assert min(sums["gradient_norm"] for sums in one_replica[1]) > 1.0
    real = np.sum(BATCHES[0]["example_ids"], axis=1)
    assert real[:2].sum() != real[2:].sum()


def test_the_whole_update_compiles_with_xla(trainee, one_replica):
    model = trainee.restart().model
    sums = run(tf.function(model.update, jit_compile=True), BATCHES[:3])
    for got, want in zip(sums, one_replica[1], strict=False):
        assert_same(got, want, rtol=1e-4, atol=1e-4)


def test_mixed_precision_trains_float32_weights_on_nearly_the_same_loss(one_replica):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = train_step.build(settings(**SGD))
    before = weights_of(model)
    (sums,) = run(tf.function(model.update), BATCHES[:1])
    want = one_replica[1][0]
    for name in ("mlm_loss", "rtd_loss", "gradient_norm"):
        # bfloat16 has 8 bits: 0.4 % an operation.
        assert 1e-6 < abs(sums[name] / want[name] - 1.0) < 0.1, name
    assert sums["finite"] == 1.0
    after = weights_of(model)
    assert {value.dtype for value in after.values()} == {np.dtype("float32")}
    assert any(np.any(after[name] != value) for name, value in before.items())


def test_zero_sums_have_the_names_and_shapes_of_an_updates_sums(trainee, one_replica):
    zeros = trainee.model.zero_sums()
    assert {name: value.shape for name, value in zeros.items()} == {
        name: value.shape for name, value in one_replica[1][0].items()
    }
    assert not any(np.any(value) for value in zeros.values())


def test_an_update_tells_its_own_rate_and_what_is_not_finite():
    model = train_step.build(settings(warmup_steps=10, learning_rate=1.0))

    def update(slope=0.0, loss=0.0):
        slopes = [tf.fill(v.shape, slope) for v in model.trainable_variables]
        sums = model._zero_measures() | {"rtd_loss": tf.constant(loss)}
        model._gradients = lambda *_: (slopes, sums)
        return model.update(BATCHES[0])

    told = [update(), update(slope=1.0), update(loss=np.inf), update(slope=np.inf)]
    rates = [float(sums["learning_rate"]) for sums in told[:3]]
    np.testing.assert_allclose(rates, [0.0, 0.1 * 0.999, 0.2 * 0.998], rtol=1e-5)
    assert [float(sums["finite"]) for sums in told] == [1.0, 1.0, 0.0, 0.0]


def test_a_nan_is_reported_as_not_finite(trainee):
    model = trainee.restart().model
    assert run(trainee.update, BATCHES[:1])[0]["finite"] == 1.0
    head = model.discriminator.get_layer("replaced_token_head")
    head.logit.bias.assign([np.nan])
    assert run(trainee.update, BATCHES[:1])[0]["finite"] == 0.0


def test_one_batch_is_learnt_and_from_the_same_start_in_the_same_way():
    pupil = Trainee(settings(dropout=0.1, learning_rate=1e-2))
    batch = make_batch(7, rows=2)
    sums = run(pupil.update, [batch] * 30)
    for name in ("mlm_loss", "rtd_loss"):
        losses = [s[name] for s in sums]
        # The generator moves, so that the discriminator's loss rises at times.
        assert np.mean(losses[10:]) < 0.75 * np.mean(losses[:3]), name
    again = run(pupil.restart().update, [batch] * 5)
    for got, want in zip(again, sums, strict=False):
        assert_same(got, want, rtol=0, atol=0)
    assert len({float(s["mlm_loss"]) for s in sums}) == 30


def test_the_seed_decides_the_weights():
    one, same, other = (
        weights_of(train_step.build(settings(seed=seed))) for seed in (5, 5, 6)
    )
    assert_same(same, one, rtol=0, atol=0)
    kernels = [name for name in one if "kernel" in name or "_embeddings" in name]
    assert kernels
    for name in kernels:
        assert np.all(one[name] != other[name]), name


def test_fit_learns_and_evaluate_measures():
    model = train_step.build(settings(learning_rate=1e-2))
    model.compile()
    data = tf.data.Dataset.from_tensor_slices(
        {name: tf.stack([b[name] for b in BATCHES[:2]]) for name in BATCHES[0]}
    )
    before = model.evaluate(data, return_dict=True, verbose=0)
    sums = [model.measure(batch) for batch in BATCHES[:2]]
    total = {name: sums[0][name] + sums[1][name] for name in sums[0]}
    want = train_step.summarize(total, model.objective.declared)
    assert_same(before, want, rtol=1e-5, atol=1e-6)

    history = model.fit(
        data.repeat(10), epochs=3, validation_data=data, verbose=0, shuffle=False
    ).history
    assert history["loss"][2] < 0.9 * history["loss"][0]
    assert history["val_loss"][2] < 0.9 * before["loss"]
    assert history["gradient_norm"][2] > 0.0
    assert "val_gradient_norm" not in history
    after = model.evaluate(data, return_dict=True, verbose=0)
    np.testing.assert_allclose(after["loss"], history["val_loss"][2], rtol=1e-6)


def build_line():
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(1, use_bias=False, name="line")(inputs)
    return keras.Model(inputs, outputs)


class Probe(objective.Objective):
    """An objective that shows the dropout mask of each part of a batch.

    Its loss is the sum of a linear layer's outputs, so that its gradient is the sum
    of the inputs. Part n of the batch, rows whose `number` is n, draws mask n.
    """

    def __init__(self):
        super().__init__(config.PretrainConfig())
        self._dropout = kernels.Dropout(0.5)

    @classmethod
    def declare(cls, settings):
        def network(is_trainable):
            return objective.Network(
                settings.model, build_line, "line", is_trainable=is_trainable
            )

        return objective.Declaration(
            networks={"probe": network(True), "frozen": network(False)},
            losses={"line": objective.Loss(1.0, "Line", "units per row")},
            metrics={
                "kept": objective.Metric("Kept", lambda s: tf.reduce_sum(s["masks"])),
                "progress": objective.Metric("Progress", ("progress", "rows")),
            },
            sums={"masks": (4, 2000), "progress": ()},
            rows=objective.Rows(),
        )

    def counts(self, batch):
        return {"line": tf.cast(tf.size(batch["number"]), tf.float32)}

    def sums(self, batch, training, progress):
        fixed = tf.reduce_sum(self.networks["frozen"](batch["x"]))
        line = tf.reduce_sum(self.networks["probe"](batch["x"])) + 0.0 * fixed
        mask = self._dropout(tf.ones([2000]), training=training)
        row = tf.one_hot(batch["number"][0], 4)
        rows = tf.cast(tf.size(batch["number"]), tf.float32)
        return {"line": line}, {
            "masks": row[:, None] * mask,
            "progress": progress * rows,
        }

    def verdicts(self, batch):
        return {}


PARTS = {
    "example_ids": tf.constant([[1, 0]] * 4),
    "number": tf.constant([0, 1, 2, 3]),
    "x": tf.constant(np.random.default_rng(1).normal(0, 1, [4, 5]), tf.float32),
}


def probing(compile_step=False, learning=ADAMW, probe=None, **train):
    """Builds a pretrainer of the probe."""
    chosen, probe = config.TrainConfig(**train), probe or Probe()
    learner = optimizer.build(learning, chosen, probe.networks)
    return train_step.Pretrainer(probe, chosen, learner, compile_step=compile_step)


def assert_apart(masks):
    for one in range(len(masks)):
        for other in range(one):
            # The standard error of 0.5 over 2,000 units is 0.011; allow five of them.
            assert abs(np.mean(masks[one] == masks[other]) - 0.5) < 0.056


def test_each_step_replica_and_micro_batch_drops_other_units(two_replicas):
    with two_replicas.scope():
        model = probing(accumulation_steps=2)

    @tf.function
    def update(batch):
        return two_replicas.run(model.update, args=(batch,))

    parts = distribute(two_replicas, PARTS)
    masks = [
        two_replicas.experimental_local_results(update(parts)["masks"])[0]
        for _ in range(2)
    ]
    assert_apart(np.concatenate(masks))


def test_the_seed_decides_what_is_dropped():
    one, same, other = (probing(seed=seed).update(PARTS) for seed in (5, 5, 6))
    np.testing.assert_array_equal(same["masks"], one["masks"])
    assert_apart([one["masks"][0], other["masks"][0]])


@pytest.mark.parametrize(
    ("compile_step", "accumulation_steps"), [(False, 1), (False, 2), (True, 2)]
)
def test_any_objective_is_trained(compile_step, accumulation_steps):
    unclipped = SGD["learning"].model_copy(update={"clip_norm": 100.0})
    model = probing(
        compile_step,
        unclipped,
        learning_rate=SGD["learning_rate"],
        warmup_steps=0,
        accumulation_steps=accumulation_steps,
    )
    (before,) = weights_of(model).values()
    (sums,) = run(model.update, [PARTS])
    (after,) = weights_of(model).values()
    gradient = np.mean(PARTS["x"], axis=0)
    np.testing.assert_allclose(
        (after - before)[:, 0], -0.1 * gradient, rtol=1e-3, atol=1e-6
    )
    norm = np.linalg.norm(gradient)
    np.testing.assert_allclose(sums["gradient_norm"], norm, rtol=1e-5)
    loss = np.sum(PARTS["x"] @ before)
    np.testing.assert_allclose(sums["line_loss"], loss, rtol=1e-5)
    assert sums["line_count"] == 4.0


def test_a_network_that_is_not_trained_keeps_its_weights_and_has_no_moments():
    model = probing(warmup_steps=0)
    probe, frozen = (network.weights[0] for network in (model.probe, model.frozen))
    before = probe.numpy(), frozen.numpy()
    model.update(PARTS)
    assert np.all(probe.numpy() != before[0])
    np.testing.assert_array_equal(frozen.numpy(), before[1])
    shapes = [tuple(variable.shape) for variable in model.learner.variables]
    assert shapes.count((5, 1)) == 2  # Two moments of the probe's.


def test_an_objective_is_told_how_far_the_run_is():
    model = probing(steps=4, warmup_steps=0, accumulation_steps=2)
    told = [model.update(PARTS)["progress"] / 4.0 for _ in range(3)]
    np.testing.assert_allclose(told, [0.0, 0.25, 0.5])
    np.testing.assert_allclose(model.measure(PARTS)["progress"] / 4.0, 0.75)


def test_losses_and_metrics_of_any_name_become_values():
    model = probing()
    found = train_step.summarize(model.measure(PARTS), model.objective.declared)
    assert found.keys() == {"loss", "line_loss", "kept", "progress", "row_fill"}
    np.testing.assert_allclose(found["loss"], found["line_loss"])
    assert float(found["kept"]) == 2000.0


def test_a_sum_that_is_not_declared_is_refused_when_the_step_is_traced():
    class Talkative(Probe):
        def sums(self, batch, training, progress):
            losses, sums = super().sums(batch, training, progress)
            return losses, sums | {"extra": progress}

    model = probing(probe=Talkative(), accumulation_steps=2)
    with pytest.raises(errors.UserError, match=r"Talkative.sums: sums are .*'extra'"):
        model.update(PARTS)


def test_measuring_changes_nothing_and_drops_nothing():
    model = probing()
    (before,) = weights_of(model).values()
    masks = model.measure(PARTS)["masks"]
    np.testing.assert_array_equal(masks, np.eye(4)[0][:, None] * np.ones(2000))
    np.testing.assert_array_equal(*weights_of(model).values(), before)
    assert int(model.learner.iterations) == 0


def declared(name, **own):
    changed = config.PretrainConfig(objective={"name": name, **own})
    return registry.declare(changed)


def test_sums_become_metrics():
    sums = {
        "mlm_loss": 6.0,
        "mlm_count": 4.0,
        "mlm_correct": 1.0,
        "sampled_correct": 3.0,
        "rtd_loss": 5.0,
        "rtd_count": 20.0,
        "rtd_correct": 14.0,
        "flagged": 8.0,
        "replaced": 5.0,
        "caught": 2.0,
        "tokens": 20.0,
        "positions": 25.0,
        "steps": 2.0,
        "gradient_norm": 7.0,
        "learning_rate": 0.5,
        "finite": 2.0,
    }
    sums = {name: tf.constant(value) for name, value in sums.items()}
    sums["rtd_histogram"] = tf.constant([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    found = train_step.summarize(sums, declared("electra", mlm_weight=2.0))
    want = {
        "loss": 2.0 * 1.5 + 50.0 * 0.25,
        "mlm_loss": 1.5,
        "rtd_loss": 0.25,
        "mlm_accuracy": 0.25,
        "sampled_accuracy": 0.75,
        "rtd_accuracy": 0.7,
        "rtd_precision": 0.25,
        "rtd_recall": 0.4,
        "replaced_rate": 0.25,
        "row_fill": 0.8,
        "gradient_norm": 3.5,
        "learning_rate": 0.25,
        "rtd_auc": (2 * (3 + 0.5) + 4) / 12,
    }
    assert found.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


def test_sums_of_one_objective_give_no_metrics_of_another():
    sums = {"mlm_loss": tf.constant(6.0), "mlm_count": tf.constant(4.0)}
    found = train_step.summarize(sums, declared("mlm"))
    assert {name: float(v) for name, v in found.items()} == {
        "loss": 1.5,
        "mlm_loss": 1.5,
    }
