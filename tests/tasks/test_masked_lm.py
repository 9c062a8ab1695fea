"""The generator on text: its own guesses, blank by blank, and training on any text."""

from pathlib import Path

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.tasks import masked_lm
from electra_tf.weights import preset, preset_writer

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"

TEXTS = [
    "the cat sat on the mat .",
    "the bird flew over the roof .",
    "a dog ran under a tree .",
]


@pytest.fixture
def build(build_quick_task):
    def make(length=24, stride=None, **kwargs):
        model = {
            "embedding_size": 20,
            "hidden_size": 36,
            "intermediate_size": 40,
            "initializer_range": 0.1,
        }
        rows = {"sequence_length": length, "stride": stride}
        return build_quick_task(masked_lm.ElectraMaskedLM, model, rows, **kwargs)

    return make


def test_guesses_are_the_generators(tmp_path, tiny_model_config, vocab):
    network = preset.BUILDERS["generator"](tiny_model_config)
    chance = np.random.default_rng(5)
    for weight in network.weights:
        weight.assign(np.array(weight) + chance.normal(0, 0.1, weight.shape))
    preset_writer.save(
        str(tmp_path / "preset"),
        {"generator": network},
        {"generator": tiny_model_config},
        vocab,
        config.TokenizerConfig(),
        {},
    )
    model = masked_lm.ElectraMaskedLM.from_preset(str(tmp_path / "preset"))
    tokens = ["[CLS]", "the", "[MASK]", "sat", "[MASK]", ".", "[SEP]"]
    found = model.predict(["a cat", "The [MASK] sat[MASK].", ""], top_k=3)
    assert [len(blanks) for blanks in found] == [0, 2, 0]
    ids = np.array([[vocab.index(token) for token in tokens]], np.int32)
    logits = network(
        {
            "token_ids": ids,
            "segment_ids": 0 * ids,
            "example_ids": 0 * ids + 1,
            "position_ids": np.arange(7, dtype=np.int32)[None],
            "mask_positions": np.array([[2, 4]], np.int32),
        }
    )
    shares = tf.nn.softmax(logits).numpy()[0]
    for blank, guesses in zip(shares, found[1], strict=True):
        best = np.argsort(-blank)[:3]
        assert [guess.token for guess in guesses] == [vocab[number] for number in best]
        np.testing.assert_allclose(
            [guess.probability for guess in guesses], blank[best], rtol=1e-4
        )


def test_a_generator_of_hugging_face_gives_its_logits():
    model = masked_lm.ElectraMaskedLM.from_preset(str(GOLDEN / "generator"))
    with np.load(GOLDEN / "outputs.npz") as outputs:
        ids = outputs["input_ids"]
        real = outputs["attention_mask"] == 1
        logits = model(
            {
                "token_ids": ids,
                "segment_ids": outputs["token_type_ids"],
                "padding_mask": outputs["attention_mask"],
                "mask_positions": np.broadcast_to(
                    np.arange(ids.shape[1], dtype=np.int32), ids.shape
                ),
            }
        )
        np.testing.assert_allclose(
            np.array(logits)[real], outputs["generator/logits"][real], atol=2e-5
        )


def test_an_encoder_without_the_head_is_refused():
    with pytest.raises(errors.UserError, match="no generator"):
        masked_lm.ElectraMaskedLM.from_preset(str(GOLDEN / "discriminator"))


@pytest.mark.learns
def test_it_learns_texts_by_heart_and_keras_hub_loads_it(build, tmp_path):
    model = build()
    model.compile(learning_rate=0.01)
    model.fit(TEXTS * 400, validation_data=TEXTS, batch_size=24, epochs=6, verbose=0)
    blanks = [
        "the [MASK] sat on the mat .",
        "the bird [MASK] over the roof .",
        "a dog ran under a [MASK] .",
    ]
    found = model.predict(blanks)
    assert [text[0][0].token for text in found] == ["cat", "flew", "tree"]
    assert model.evaluate(TEXTS, verbose=0)[1] == 1.0

    model.save_to_preset(str(tmp_path / "saved"))
    loaded = keras_hub.models.MaskedLM.from_preset(str(tmp_path / "saved"))
    assert isinstance(loaded, masked_lm.ElectraMaskedLM)
    assert loaded.predict(blanks) == found


def test_every_blank_of_a_long_text_is_filled_where_it_has_most_context(build):
    model = build(length=12)
    words = ["the", "cat", "[MASK]", "sat", "on", "[MASK]", "mat", "."] * 6
    found = model.predict([" ".join(words), "[MASK]" * 100], top_k=2, batch_size=5)
    assert [len(blanks) for blanks in found] == [12, 100]
    assert all(len(guesses) == 2 for blanks in found for guesses in blanks)
    # 10 tokens a window, half of that from one to the next: words[10] and its like.
    alone = model.predict([" ".join(words[5:15])], top_k=2)[0][1]
    for ours, theirs in zip(found[0][2], alone, strict=True):
        assert ours.token == theirs.token
        np.testing.assert_allclose(ours.probability, theirs.probability, rtol=1e-4)


def test_training_hides_other_tokens_every_epoch_and_evaluation_the_same(build):
    model = build()

    def draw(dataset):
        return [
            (x["token_ids"].numpy(), x["mask_positions"].numpy(), y.numpy(), w.numpy())
            for x, y, w in dataset
        ]

    training = model.dataset(TEXTS, batch_size=3, shuffle_seed=1)
    epochs = [sorted(map(str, draw(training))) for _ in range(3)]
    assert len({str(epoch) for epoch in epochs}) == 3
    again = model.dataset(TEXTS, batch_size=3, shuffle_seed=1)
    assert sorted(map(str, draw(again))) == epochs[0]
    held_out = model.dataset(TEXTS, batch_size=3)
    assert str(draw(held_out)) == str(draw(held_out))


DOGS = " ".join(["dog"] * 14)


@pytest.mark.parametrize(
    ("data", "wanted", "count"),
    [
        # 40 % of 5 and of 14 tokens; a text of 20 is two rows.
        (
            ["the cat [MASK] on the mat", "", "dog " * 20],
            {"the cat [MASK] on the mat", "", DOGS},
            2 + 6 + 6,
        ),
        # And of 7.
        (
            tf.data.Dataset.from_tensor_slices([TEXTS[0], "", DOGS]).batch(3),
            {TEXTS[0], "", DOGS},
            3 + 6,
        ),
    ],
    ids=["list", "tf.data"],
)
def test_what_is_hidden_is_what_stood_there(build, data, wanted, count):
    model = build(length=16, mask_rate=0.4, mask_token_rate=0.5)
    words = model.preprocessor.tokenizer
    ((x, y, weights),) = model.dataset(data, batch_size=8).as_numpy_iterator()
    rows = x["token_ids"].copy()
    hidden = [tuple(place) for place in np.argwhere(weights)]
    shown = 0
    for row, slot in hidden:
        place = x["mask_positions"][row, slot]
        shown += rows[row, place] == words.mask_token_id
        rows[row, place] = y[row, slot]
    lengths = x["padding_mask"].sum(axis=1)
    texts = [
        words.detokenize(row[1 : length - 1].tolist())
        for row, length in zip(rows, lengths, strict=True)
    ]
    assert set(texts) == wanted
    assert len(hidden) == count
    assert 0 < shown < count


def test_a_text_with_nothing_to_hide_is_no_harm(build):
    model = build()
    model.fit(["", "[MASK]"], epochs=1, verbose=0)
    assert model.evaluate([""], verbose=0)[0] == 0.0
    assert all(np.isfinite(np.array(weight)).all() for weight in model.weights)
    assert model.predict([]) == []


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.fit(["the"], y=[1], verbose=0), "learns from texts alone"),
        (lambda m: m.fit([], verbose=0), "x is empty"),
        (lambda m: m.predict([("the", "cat")]), "want single texts"),
        (lambda m: m.predict([3]), "input 0 is 3, a int"),
        (lambda m: m.predict(["[MASK]"], top_k=0), "top_k=0"),
        (lambda m: m.predict(["[MASK]"], top_k=10**6), "top_k=1000000"),
    ],
)
def test_wrong_input_is_refused_in_a_line(build, act, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        act(build())
    assert "\n" not in str(caught.value)


def test_rates_are_shares(build):
    with pytest.raises(errors.UserError, match=r"mask_rate=15: want 0 to 1"):
        build(mask_rate=15)
