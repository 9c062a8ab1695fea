"""Scores are the networks' own log-probabilities, each token's once, in every way."""

import keras
import numpy as np
import pytest
import servers
import tensorflow as tf
from scipy import special

import electra_tf
from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.tasks import catalog, scorer
from electra_tf.weights import preset, preset_writer

LETTERS = list("abcdefghijklmnopqrstuvwxyz" * 2)[:40]
TEXTS = [
    "The CAT, sat",
    "cats dogs trees",  # words of several pieces
    "",
    "  caf\u00e9\tdog\u0301 \u6f22\u5b57cat\x00s ",
    "\u200f\u0634\u0627\u0647 \U0001f600 e\u0301",
    " ".join(LETTERS),  # two windows of 24
    "\x00",
]
BUILT = {
    "energy": models.build_discriminator,
    "generator": models.build_generator,
    "discriminator": models.build_discriminator,
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, tiny_model_config, vocab):
    """Writes a preset with networks of some roles, all of whose weights show."""
    made = {}

    def write(*roles):
        if roles not in made:
            folder = str(tmp_path_factory.mktemp("preset") / "-".join(roles))
            networks = {role: BUILT[role](tiny_model_config) for role in roles}
            for number, network in enumerate(networks.values()):
                chance = np.random.default_rng(number)
                for weight in network.weights:
                    noise = chance.normal(0, 0.1, weight.shape)
                    weight.assign(np.array(weight) + noise)
            preset_writer.save(
                folder,
                networks,
                dict.fromkeys(roles, tiny_model_config),
                vocab,
                config.TokenizerConfig(),
                {},
            )
            made[roles] = networks, folder
        return made[roles]

    return write


@pytest.fixture(scope="module")
def scorers(pretrained):
    """A scorer of each way, rows of 24 tokens."""

    def make(role, way, **kwargs):
        folder = pretrained(role)[1]
        return scorer.ElectraScorer.from_preset(
            folder, way=way, sequence_length=24, **kwargs
        )

    return {
        "energy": make("energy", None),
        "masking": make("generator", None),
        "word_l2r": make("generator", None, hide="word_l2r"),
        "replaced": make("discriminator", "replaced"),
    }


def fields(ids):
    """What a network of pre-training takes of one row."""
    ids = np.array([ids], np.int32)
    place = np.arange(ids.shape[1], dtype=np.int32)[None]
    ones = np.ones_like(ids)
    rows = {"token_ids": ids, "segment_ids": 0 * ids, "example_ids": ones}
    return rows | {"position_ids": place}


def framed(vocab, found):
    tokens = ["[CLS]", *(one.token for one in found.tokens), "[SEP]"]
    return [vocab.index(token) for token in tokens]


def test_an_energy_is_minus_a_score_and_a_verdict_the_log_of_being_original(
    scorers, pretrained, vocab
):
    for way, role in (("energy", "energy"), ("replaced", "discriminator")):
        assert scorers[way].way == way
        for found in scorers[way].score(TEXTS[:5]):
            rows = fields(framed(vocab, found))
            logits = np.array(pretrained(role)[0][role](rows))[0, 1:-1]
            want = -logits if way == "energy" else np.log(special.expit(-logits))
            np.testing.assert_allclose(
                [token.score for token in found.tokens], want, atol=1e-5
            )
            assert found.score == pytest.approx(want.sum(), abs=1e-4)
            assert found.num_tokens == len(want)


def test_each_token_is_hidden_alone_or_with_the_rest_of_its_word(
    scorers, pretrained, vocab
):
    network, mask = pretrained("generator")[0]["generator"], vocab.index("[MASK]")
    several = 0
    for way in ("masking", "word_l2r"):
        assert scorers[way].way == "masking"
        for found in scorers[way].score(TEXTS[:5], batch_size=3):
            ids = framed(vocab, found)
            for place, token in enumerate(found.tokens, 1):
                end = place + 1
                while way == "word_l2r" and vocab[ids[end]].startswith("##"):
                    end += 1
                several += end > place + 1
                hidden = [*ids[:place], *[mask] * (end - place), *ids[end:]]
                at = {"mask_positions": np.array([[place]], np.int32)}
                logits = np.array(network(fields(hidden) | at))[0, 0]
                want = special.log_softmax(logits)[ids[place]]
                assert token.score == pytest.approx(want, abs=1e-5)
    assert several > 5


@pytest.mark.parametrize("way", ["energy", "masking", "word_l2r", "replaced"])
def test_no_token_is_lost_or_counted_twice_and_empty_texts_have_none(scorers, way):
    model = scorers[way]
    found = model.score(TEXTS, batch_size=4)
    assert [one.num_tokens for one in found] == [4, 6, 0, 9, 3, 40, 0]
    assert found[2] == found[6] == scorer.Score(0.0, 0, [])
    assert (found[2].mean, found[2].rate_below(0.0)) == (0.0, 0.0)
    for text, one in zip(TEXTS, found, strict=True):
        starts = [token.start for token in one.tokens]
        assert starts == sorted(set(starts))
        assert sum(t.score for t in one.tokens) == pytest.approx(one.score, abs=1e-3)
        pieces = [text[t.start : t.end].lower() for t in one.tokens]
        for token, piece in zip(one.tokens, pieces, strict=True):
            assert token.token in ("[UNK]", "e", "##e", "dog", f"##{piece}", piece)
    assert [token.token for token in found[5].tokens] == LETTERS
    # 22 tokens a window, half of that from one to the next: the middle window's own.
    alone = model.score([" ".join(LETTERS[11:33])])[0]
    for place in range(17, 26):
        want = alone.tokens[place - 11].score
        assert found[5].tokens[place].score == pytest.approx(want, abs=1e-5)
    again = model.score(tf.data.Dataset.from_tensor_slices(TEXTS).batch(2))
    for one, two in zip(found, again, strict=True):
        assert two.score == pytest.approx(one.score, abs=1e-4)
    assert model.score([]) == []


def test_shares_of_tokens_tell_what_a_discriminator_takes_for_replaced(scorers):
    found = scorers["replaced"].score(TEXTS[:1])[0]
    scores = np.array([token.score for token in found.tokens])
    assert found.mean == pytest.approx(scores.mean())
    assert found.rate_below(np.log(0.5)) == np.mean(np.exp(scores) < 0.5)
    assert found.rate_below(np.sort(scores)[2]) == 0.5


class Bar(keras.callbacks.Callback):
    """Notes the batches that it is told of."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def on_predict_batch_end(self, batch, logs=None):
        self.batches.append(batch)


def test_progress_counts_on_over_all_that_is_held_at_once(scorers, monkeypatch):
    monkeypatch.setattr(scorer, "_BATCHES_HELD", 2)
    bar = Bar()
    found = scorers["masking"].predict(TEXTS[:2], 3, callbacks=bar)
    assert sum(one.num_tokens for one in found) == 10
    assert bar.batches == [0, 1, 2, 3]


def test_the_first_network_that_can_score_is_taken(pretrained):
    for roles, way in (
        (("discriminator", "generator"), "masking"),
        (("energy", "generator"), "energy"),
    ):
        folder = pretrained(*roles)[1]
        assert scorer.ElectraScorer.from_preset(folder).way == way
    assert catalog.load(pretrained("energy")[1]).way == "energy"
    assert catalog.load(folder, "scorer", way="masking").way == "masking"
    assert electra_tf.ElectraScorer is scorer.ElectraScorer


@pytest.mark.parametrize(
    ("role", "options", "message"),
    [
        ("discriminator", {}, r'no energy or generator .* in the way "replaced"'),
        ("generator", {"way": "energy"}, 'has no energy .* in the way "masking"'),
        ("energy", {"way": "replaced"}, 'has no .* in the way "energy"'),
        ("energy", {"way": "guess"}, 'way=\'guess\': want "energy" or "masking"'),
        ("energy", {"hide": "word_l2r"}, 'in the way "energy" nothing is hidden'),
        ("energy", {"hide": "word"}, 'hide=\'word\': want "token" or "word_l2r"'),
    ],
)
def test_a_preset_that_cannot_score_is_refused_in_a_line(
    pretrained, role, options, message
):
    with pytest.raises(errors.UserError, match=message) as caught:
        scorer.ElectraScorer.from_preset(pretrained(role)[1], **options)
    assert "\n" not in str(caught.value)


def test_an_encoder_alone_or_labels_to_learn_are_refused(
    tmp_path, tiny_model_config, vocab, scorers
):
    networks = {"encoder": preset.BUILDERS["encoder"](tiny_model_config)}
    configs = {"encoder": tiny_model_config}
    words = vocab, config.TokenizerConfig()
    preset_writer.save(str(tmp_path / "there"), networks, configs, *words, {})
    with pytest.raises(errors.UserError, match="has encoder: take what pre-training"):
        scorer.ElectraScorer.from_preset(str(tmp_path / "there"))
    with pytest.raises(errors.UserError, match="a scorer learns nothing"):
        scorers["energy"].fit(["the cat"], [1.0], verbose=0)


def test_a_scorer_is_the_same_when_it_is_saved_and_loaded(scorers, tmp_path):
    for way in ("energy", "word_l2r"):
        scorers[way].save_to_preset(str(tmp_path / way))
        loaded = scorer.ElectraScorer.from_preset(str(tmp_path / way))
        assert loaded.settled() == scorers[way].settled()
        assert loaded.score(TEXTS[:2]) == scorers[way].score(TEXTS[:2])


@pytest.mark.parametrize(
    "way", [pytest.param("energy", marks=pytest.mark.slow), "word_l2r"]
)
def test_a_server_gives_the_scores_of_python(scorers, way, tmp_path):
    model = scorers[way]
    folder = model.export_for_serving(tmp_path / "model", batch_sizes=(1,)).folder
    served = servers.Served(folder)
    texts = TEXTS if way == "energy" else [TEXTS[1], "", TEXTS[5]]
    found = served("serving_default", text=texts)
    for number, want in enumerate(model.score(texts)):
        size = found["num_tokens"][number]
        assert size == want.num_tokens
        assert found["score"][number] == pytest.approx(want.score, abs=1e-3)
        tokens = [token.decode() for token in found["tokens"][number][:size]]
        columns = found["starts"], found["ends"], found["token_scores"]
        rows = zip(tokens, *(column[number][:size] for column in columns), strict=True)
        for one, (token, start, end, score) in zip(want.tokens, rows, strict=True):
            assert (token, start, end) == one[:3]
            assert score == pytest.approx(one.score, abs=1e-4)
    ids = np.array([[2, 7, 4, 9, 3]], np.int32)
    given = {"token_ids": ids, "segment_ids": 0 * ids}
    if way != "energy":
        given |= {"mask_positions": [[2]], "mask_ids": [[8]]}
    scores = served("tokens", **given)["token_scores"]
    padding = {"padding_mask": np.ones_like(ids)}
    np.testing.assert_allclose(
        scores,
        model({name: np.array(x) for name, x in (given | padding).items()}),
        atol=1e-5,
    )
