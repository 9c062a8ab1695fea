"""The discriminator on text: its own probabilities, each at the right characters."""

from pathlib import Path

import numpy as np
import pytest
from scipy import special

from electra_tf import config, errors
from electra_tf.tasks import replaced_token_detector
from electra_tf.weights import preset, preset_writer

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"


@pytest.fixture
def build(build_quick_task):
    def make(length=24, **kwargs):
        return build_quick_task(
            replaced_token_detector.ElectraReplacedTokenDetector,
            # Of smaller ones so narrow an encoder learns next to nothing.
            {"initializer_range": 0.3},
            {"sequence_length": length, **kwargs},
        )

    return make


@pytest.fixture
def pretrained(tmp_path, tiny_model_config, vocab):
    """A preset with a network of that name, drawn so that all its weights show."""

    def make(name):
        network = preset.BUILDERS[name](tiny_model_config)
        chance = np.random.default_rng(5)
        for weight in network.weights:
            weight.assign(np.array(weight) + chance.normal(0, 0.1, weight.shape))
        preset_writer.save(
            str(tmp_path / name),
            {name: network},
            {name: tiny_model_config},
            vocab,
            config.TokenizerConfig(),
            {},
        )
        return network, str(tmp_path / name)

    return make


def test_probabilities_are_the_discriminators(pretrained, vocab):
    network, folder = pretrained("discriminator")
    model = replaced_token_detector.ElectraReplacedTokenDetector.from_preset(folder)
    assert model.preprocessor.sequence_length == 32
    texts = ["the cat sat", "a dog ran under the tree", ""]
    for found in model.predict(texts):
        tokens = ["[CLS]", *(suspicion.token for suspicion in found), "[SEP]"]
        ids = np.array([[vocab.index(token) for token in tokens]], np.int32)
        logits = network(
            {
                "token_ids": ids,
                "segment_ids": 0 * ids,
                "example_ids": 0 * ids + 1,
                "position_ids": np.arange(len(tokens), dtype=np.int32)[None],
            }
        )
        np.testing.assert_allclose(
            [suspicion.probability for suspicion in found],
            special.expit(np.array(logits)[0, 1:-1]),
            rtol=1e-4,
        )


def test_a_discriminator_of_hugging_face_gives_its_logits():
    model = replaced_token_detector.ElectraReplacedTokenDetector.from_preset(
        str(GOLDEN / "discriminator")
    )
    with np.load(GOLDEN / "outputs.npz") as outputs:
        real = outputs["attention_mask"] == 1
        logits = model(
            {
                "token_ids": outputs["input_ids"],
                "segment_ids": outputs["token_type_ids"],
                "padding_mask": outputs["attention_mask"],
            }
        )
        np.testing.assert_allclose(
            np.array(logits)[real], outputs["discriminator/logits"][real], atol=2e-5
        )


def test_an_encoder_without_the_head_is_refused(pretrained):
    load = replaced_token_detector.ElectraReplacedTokenDetector.from_preset
    for name in ("encoder", "generator"):
        with pytest.raises(errors.UserError, match=rf"no discriminator.* has {name}"):
            load(pretrained(name)[1])


def test_tokens_stand_at_their_characters(build):
    texts = [
        "The CAT, sat",
        "  caf\u00e9\tdog\u0301 \u6f22\u5b57cat\x00s ",
        b"the roof",
        "\U0001f600 e\u0301",
        "",
        "\x00",
    ]
    found = build().predict(texts, batch_size=4)
    assert [[(s.token, s.start, s.end) for s in text] for text in found[:1]] == [
        [("the", 0, 3), ("cat", 4, 7), (",", 7, 8), ("sat", 9, 12)]
    ]
    assert [texts[1][s.start : s.end] for s in found[1]] == [
        *("c", "a", "f", "\u00e9", "dog", "\u6f22", "\u5b57", "cat", "s")
    ]
    assert [s.token for s in found[1][4:]] == ["dog", "[UNK]", "[UNK]", "cat", "##s"]
    assert [s.token for s in found[2]] == ["the", "roof"]
    assert found[4:] == [[], []]
    for text in found:
        assert all(0.0 < s.probability < 1.0 for s in text)
    assert build().predict([]) == []


def test_a_long_text_is_judged_where_there_is_most_context(build):
    model = build(length=24)
    letters = list("abcdefghijklmnopqrstuvwxyz" * 2)[:40]
    found = model.predict([" ".join(letters), "cat"])
    assert [s.token for s in found[0]] == letters
    assert [s.start for s in found[0]] == list(range(0, 80, 2))
    # 22 tokens a window, half of that from one to the next.
    alone = model.predict([" ".join(letters[11:33])])[0]
    for index in range(17, 26):
        np.testing.assert_allclose(
            found[0][index].probability, alone[index - 11].probability, rtol=1e-4
        )


@pytest.mark.learns
def test_it_learns_labels_by_heart_and_is_the_same_when_loaded_again(build, tmp_path):
    texts = ["the cat sat .", "a dog ran under", "zebra", "the bird flew"] * 4
    labels = [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0, 1], [1, 0, 1]] * 4
    model = build()
    model.compile(learning_rate=0.008)
    model.fit(texts * 20, labels * 20, batch_size=5, epochs=5, verbose=0)
    found = model.predict(texts)
    assert [[int(s.probability > 0.5) for s in text] for text in found] == labels
    loss, accuracy = model.evaluate(texts, labels, batch_size=16, verbose=0)
    assert accuracy == 1.0
    shares = [s.probability for text in found for s in text]
    right = np.concatenate(labels)
    by_hand = -np.log(np.where(right == 1, shares, 1 - np.array(shares))).mean()
    np.testing.assert_allclose(loss, by_hand, rtol=1e-3)

    model.save_to_preset(str(tmp_path / "saved"))
    loaded = replaced_token_detector.ElectraReplacedTokenDetector.from_preset(
        str(tmp_path / "saved")
    )
    assert loaded.predict(texts) == found


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["the cat"], [[0]], "text 0 are .0.; want 0 or 1 for each of its 2 tokens"),
        (["the cat"], [[0, 2]], "want 0 or 1"),
        (["the cat"], [["no", "yes"]], "want 0 or 1"),
        (["the cat"], [None], "want 0 or 1"),
        (["the cat"], [], "0 labels for 1 inputs"),
        ([("the", "cat")], [[0]], "pairs of texts; want single texts"),
        ([7], [[0]], "input 0 is 7, a int"),
    ],
)
def test_wrong_texts_or_labels_are_refused_in_a_line(build, texts, labels, message):
    with pytest.raises(errors.UserError, match=message) as caught:
        build().fit(texts, labels, verbose=0)
    assert "\n" not in str(caught.value)
