"""An encoder and the decoder that grew out of it: where it starts, how it learns."""

import decoding
import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.tasks import backbone, seq2seq
from electra_tf.weights import preset, preset_writer

TEXTS = [
    "the cat sat",
    "ran",
    "bird on cat",
    "",
    "dog ran over the bird",
    "the the cat",
]
TARGETS = ["sat cat the", "ran", "cat on bird", "dog", "bird the over ran dog", ""]


@pytest.fixture(scope="module")
def model():
    return decoding.build()


def values(layer):
    return [np.asarray(weight) for weight in layer.weights]


def same(one, other):
    pairs = zip(values(one), values(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_packed_pairs_give_what_each_gives_alone(model):
    ((x, _, weights),) = model.dataset(TEXTS, TARGETS, batch_size=9).as_numpy_iterator()
    rows, numbers = x["decoder_padding_mask"], x["encoder_padding_mask"]
    assert len(rows) < len(TEXTS)
    packed, seen = np.asarray(model.forward()(x)), 0
    for row, number in {(row, rows[row, at]) for row, at in np.argwhere(rows)}:
        here, there = numbers[row] == number, rows[row] == number
        alone = decoding.logits(
            model,
            x["encoder_token_ids"][row, here].tolist(),
            x["decoder_token_ids"][row, there].tolist(),
        )
        np.testing.assert_allclose(packed[row, there], alone, atol=1e-5)
        seen += 1
    assert seen == len(TEXTS)
    np.testing.assert_array_equal(weights > 0, rows > 0)


def test_a_decoder_begins_as_a_copy_of_evenly_spread_blocks(tiny_model_config):
    deep = tiny_model_config.model_copy(update={"num_layers": 5})
    encoder = backbone.ElectraBackbone.from_model_config(deep)
    made = seq2seq.ElectraSeq2Seq(encoder, decoder_layers=3)
    for place, layer in zip((0, 2, 4), made.decoder_blocks, strict=True):
        origin = encoder.get_layer(f"layer_{place}")
        assert same(layer.block, origin)
        assert layer.block.weights[0] is not origin.weights[0]
    fresh = seq2seq.ElectraSeq2Seq(encoder, decoder_layers=1, fresh_decoder=True)
    assert not any(
        same(fresh.decoder_blocks[0].block, encoder.get_layer(f"layer_{place}"))
        for place in range(5)
    )


@pytest.mark.parametrize("shares", seq2seq.SHARES)
def test_what_is_shared_is_one(shares, tiny_model_config):
    encoder = backbone.ElectraBackbone.from_model_config(tiny_model_config)
    made = seq2seq.ElectraSeq2Seq(encoder, shares=shares)
    own = {weight.path for weight in made.weights} - {w.path for w in encoder.weights}
    assert ("decoder_embeddings/word_embeddings" in own) == (shares == "nothing")
    assert any("/block/" in path for path in own) == (shares != "everything")
    assert any("/cross_attention/" in path for path in own)
    embed, _ = made.decoder_embeddings()
    if shares == "nothing":
        assert same(embed, encoder.get_layer("embeddings"))
    # A step of learning leaves it one, and moves both sides.
    made.compile(optimizer="sgd")
    before = [np.array(weight) for weight in made.weights]
    ids = np.array([[2, 7, 8, 3]])
    fields = dict.fromkeys(
        ("encoder_token_ids", "decoder_token_ids"), ids
    ) | dict.fromkeys(("encoder_padding_mask", "decoder_padding_mask"), ids * 0 + 1)
    made.train_on_batch(fields, ids, ids * 0 + 1.0)
    moved = {
        weight.path.split("/")[0]
        for weight, old in zip(made.weights, before, strict=True)
        if not np.array_equal(weight, old)
    }
    assert {"layer_0", "decoder_layer_1", "embeddings", "masked_token_head"} <= moved


def test_the_head_scores_with_the_table_of_the_words(model):
    table = model.backbone.get_layer("embeddings").word_embeddings
    before = decoding.logits(model, [2, 5, 3], [2, 7])
    kept = np.array(table)
    table.assign(kept + np.eye(*kept.shape)[::-1] * 3.0 * (np.arange(15) == 9)[:, None])
    after = decoding.logits(model, [2, 5, 3], [2, 7])
    table.assign(kept)
    changed = np.abs(after - before).max(axis=0) > 1e-3
    assert np.flatnonzero(changed).tolist() == [9]


def test_it_starts_from_an_encoder_and_a_generators_head(
    tmp_path, tiny_model_config, vocab
):
    narrow = tiny_model_config.model_copy(update={"hidden_size": 6})
    for folder, generator in (("same", tiny_model_config), ("narrow", narrow)):
        models = {"discriminator": tiny_model_config, "generator": generator}
        networks = {name: preset.BUILDERS[name](one) for name, one in models.items()}
        chance = np.random.default_rng(5)
        for network in networks.values():
            for weight in network.weights:
                weight.assign(chance.normal(0, 0.1, weight.shape))
        where = str(tmp_path / folder)
        preset_writer.save(where, networks, models, vocab, config.TokenizerConfig(), {})
        made = seq2seq.ElectraSeq2Seq.from_preset(where, decoder_sequence_length=9)
        assert made.preprocessor.encoder_sequence_length == 32
        assert made.preprocessor.decoder_sequence_length == 9
        theirs = networks["discriminator"].get_layer("encoder")
        assert same(made.backbone.get_layer("layer_1"), theirs.get_layer("layer_1"))
        assert same(made.decoder_blocks[1].block, theirs.get_layer("layer_1"))
        head = networks["generator"].get_layer("masked_token_head")
        ours = made.get_layer("masked_token_head")
        np.testing.assert_array_equal(ours.output_bias, head.output_bias)
        np.testing.assert_array_equal(ours.norm.beta, head.norm.beta)
        fits = folder == "same"
        assert np.array_equal(ours.dense.bias, head.dense.bias)
        assert (ours.dense.kernel.shape == head.dense.kernel.shape) == fits
        if fits:
            np.testing.assert_array_equal(ours.dense.kernel, head.dense.kernel)


def test_encoder_and_decoder_learn_at_rates_of_their_own(model):
    model.compile(learning_rate=0.1, decoder_learning_rate=0.4, layer_decay=0.5)
    learner, variables = model.optimizer, model.trainable_variables
    learner.build(variables)
    assert learner.get_config()["learning_rate"]["config"]["peak"] == 0.4
    rates = {v.path: rate for v, rate in zip(variables, learner.rates, strict=True)}
    assert rates["layer_1/query/kernel"] == pytest.approx(0.25)
    assert rates["layer_0/query/kernel"] == pytest.approx(0.125)
    for path in (
        "decoder_layer_0/block/query/kernel",
        "decoder_layer_1/cross_attention/value/bias",
        "embeddings/word_embeddings",
        "masked_token_head/dense/kernel",
    ):
        assert rates[path] == 1.0
    model.compile(learning_rate=0.1)
    rates = model._recipe.rates
    assert rates["decoder_learning_rate"] == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.learns
def test_it_learns_pairs_by_heart_and_is_saved(tmp_path, draw):
    wide = {"hidden_size": 36, "embedding_size": 20, "num_layers": 1}
    made = decoding.build(None, model={**wide, "initializer_range": 0.1}, length=12)
    made.compile(learning_rate=3e-3, label_smoothing=0.0)
    history = made.fit(
        TEXTS * 20,
        TARGETS * 20,
        batch_size=12,
        epochs=8,
        validation_data=(TEXTS, TARGETS),
        verbose=0,
    ).history
    assert history["val_perplexity"][-1] < 1.2 < history["val_perplexity"][0]
    assert made.generate(TEXTS) == TARGETS
    assert made.generate(TEXTS, num_beams=2) == TARGETS
    assert made.predict(TEXTS) == TARGETS

    folder = str(tmp_path / "saved")
    made.save_to_preset(folder)
    loaded = keras_hub.models.Seq2SeqLM.from_preset(folder)
    assert isinstance(loaded, seq2seq.ElectraSeq2Seq)
    assert loaded.preprocessor.decoder_sequence_length == 12
    assert loaded.generate(TEXTS) == TARGETS


def test_a_keras_file_keeps_all(model, tmp_path):
    model.compile(sampler="beam", decoder_learning_rate=0.5, label_smoothing=0.2)
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(found.sampler, keras_hub.samplers.BeamSampler)
    assert found.loss.label_smoothing == 0.2
    assert found._recipe.rates == pytest.approx(model._recipe.rates)
    assert found.generate(TEXTS, max_length=9) == model.generate(TEXTS, max_length=9)


def test_a_preset_that_lost_weights_is_refused(model, tmp_path):
    folder = tmp_path / "saved"
    model.save_to_preset(str(folder))
    (folder / "SHA256SUMS").unlink()
    file = folder / "task.weights.h5"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(errors.UserError, match=r"task\.weights\.h5"):
        seq2seq.ElectraSeq2Seq.from_preset(str(folder))


def test_inputs_of_any_form_make_the_same_batches(model):
    def read(data):
        return [
            sorted(
                zip(*(part.tolist() for part in (*x.values(), y, weight)), strict=True)
            )
            for x, y, weight in data.as_numpy_iterator()
        ]

    given = {"encoder_text": TEXTS, "decoder_text": TARGETS}
    want = read(model.dataset(TEXTS, TARGETS, batch_size=4, in_order=True))
    assert read(model.dataset(given, batch_size=4, in_order=True)) == want
    pairs = list(zip(TEXTS, TARGETS, strict=True))
    assert read(model.dataset(pairs, batch_size=4, in_order=True)) == want
    strings = tf.data.Dataset.from_tensor_slices(given).batch(4)
    assert read(model.dataset(strings)) == want
    tuples = tf.data.Dataset.from_tensor_slices((TEXTS, TARGETS)).batch(4)
    assert read(model.dataset(tuples)) == want


def test_a_preprocessor_outside_and_token_ids_do_as_well(model):
    given = {"encoder_text": TEXTS, "decoder_text": TARGETS}
    model.compile(label_smoothing=0.0)
    x, y, weight = model.preprocessor(given)
    loss = model.evaluate(x, y, sample_weight=weight, verbose=0, batch_size=6)
    whole = model.evaluate(given, verbose=0, batch_size=6)
    np.testing.assert_allclose(loss, whole, rtol=1e-5)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.fit(TEXTS), "there are no targets to learn from; give fit"),
        (lambda m: m.fit([], []), "x is empty"),
        (lambda m: m.fit(TEXTS, TARGETS[:-1]), "6 sources and 5 targets"),
        (lambda m: m.fit(TEXTS, [7] * 6), "target 0 is 7, a int; want a string"),
        (
            lambda m: m.fit({"encoder_text": TEXTS}, sample_weight=[1]),
            "there are no targets",
        ),
        (lambda m: m.fit({"encoder_txt": TEXTS}), "did you mean encoder_text"),
        (
            lambda m: m.fit(tf.data.Dataset.from_tensor_slices([1.0]).batch(1)),
            "the dataset holds .*; want batches of",
        ),
        (lambda m: m.compile(label_smoothing=1.0), "label_smoothing=1.0: want 0 to"),
        (
            lambda m: m.compile(loss="mse", label_smoothing=0.1),
            "label_smoothing=0.1 has no effect on a loss of yours",
        ),
        (lambda m: m.compile(sampler="best"), "sampler='best': want greedy, beam"),
        (
            lambda m: m.compile(sampler="contrastive"),
            "ContrastiveSampler has a loop of its own",
        ),
        (
            lambda m: seq2seq.ElectraSeq2Seq(m.backbone, decoder_layers=3),
            "decoder_layers=3: want 1 to 2",
        ),
        (
            lambda m: seq2seq.ElectraSeq2Seq(m.backbone, shares="words"),
            "shares='words': want one of",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(act, message, model):
    with pytest.raises(errors.UserError, match=message) as refused:
        act(model)
    assert "\n" not in str(refused.value)
