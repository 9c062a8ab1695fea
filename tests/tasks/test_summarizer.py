import numpy as np
import pytest

from electra_tf import errors
from electra_tf.tasks import backbone, preprocessor, summarizer, text_embedder
from electra_tf.tasks import tokenizer as tokenizers

# The words of the tiny vocabulary; sentences of like words are alike.
TEXT = (
    "A first line of it. The cat sat on the mat. A cat sat under a mat. The cat. "
    "The dog saw a tree. A dog ran under the tree. On the roof was a bird."
)


@pytest.fixture(scope="module")
def embedder(tiny_model_config, vocab):
    encoder = backbone.ElectraBackbone.from_model_config(
        tiny_model_config.model_copy(update={"initializer_range": 0.3})
    )
    words = tokenizers.ElectraTokenizer(vocab)
    rows = preprocessor.ElectraTextPreprocessor(words, sequence_length=24)
    return text_embedder.ElectraTextEmbedder(encoder, rows)


@pytest.fixture(scope="module")
def build(embedder):
    return lambda **settings: summarizer.ElectraSummarizer(
        embedder, **{"min_tokens": 5, **settings}
    )


@pytest.fixture(scope="module")
def usual(build):
    return build()


def numbers(summary):
    return [one.number for one in summary.sentences]


def test_a_summary_has_so_many_sentences_in_the_order_of_the_text(usual):
    for count in (1, 2, 3, 5, 6):
        found = usual.summarize(TEXT, num_sentences=count)
        assert len(found.sentences) == count
        assert numbers(found) == sorted(set(numbers(found)))
        assert found.num_sentences == 7
        for one in found.sentences:
            assert TEXT[one.start : one.end] == one.text
        assert found.text == " ".join(one.text for one in found.sentences)
    assert len(usual.summarize(TEXT).sentences) == 3


@pytest.mark.parametrize(
    ("ratio", "count"), [(0.01, 1), (0.3, 2), (3 / 7, 3), (0.99, 6), (1.0, 7)]
)
def test_a_ratio_is_of_the_sentences(usual, ratio, count):
    assert len(usual.summarize(TEXT, ratio=ratio).sentences) == count


def test_each_other_sentence_is_in_a_group_which_says_its_words(usual):
    found = usual.summarize(TEXT, num_sentences=4)
    assert len(found.clusters) == 3  # The first sentence is in none.
    members = sorted(place for one in found.clusters for place in one.sentences)
    assert members == [1, 2, 4, 5, 6]  # Nor is the short one.
    assert all(one.number in one.sentences for one in found.clusters)
    assert {0, *(one.number for one in found.clusters)} == {*numbers(found)}
    assert all(one.words[0].score == 1.0 for one in found.clusters)
    spelled = TEXT.lower()
    assert all(
        word.word.lower() in spelled for one in found.clusters for word in one.words
    )


def test_the_first_sentence_is_kept_by_choice(build):
    found = build(keep_first=False).summarize(TEXT, num_sentences=2)
    assert len(found.clusters) == 2
    assert sum(len(one.sentences) for one in found.clusters) == 6
    kept = build().summarize(TEXT, num_sentences=1)
    assert numbers(kept) == [0]
    assert kept.clusters == []


def test_short_and_equal_sentences_come_last(build):
    text = "The cat. " + "The cat sat on the mat. " * 4 + "The dog saw a tree. Yes."
    found = build().summarize(text, num_sentences=2)
    assert [one.text for one in found.sentences] == [
        "The cat sat on the mat.",
        "The dog saw a tree.",
    ]
    assert numbers(build().summarize(text, num_sentences=4)) == [0, 1, 2, 5]
    assert numbers(build(min_tokens=0).summarize(text, num_sentences=1)) == [0]


def test_short_texts_come_back_whole_and_empty_ones_empty(usual):
    found = usual.summarize(["One. Two.", "", " \n", "Word", b"A cat."])
    assert [one.text for one in found] == ["One. Two.", "", "", "Word", "A cat."]
    assert all(one.clusters == [] for one in found)
    assert [one.num_sentences for one in found] == [2, 0, 0, 1, 1]
    assert usual.summarize([]) == []


def test_texts_together_are_as_alone_and_as_lists_of_sentences(usual):
    other = "The bird saw the dog. " + TEXT
    together = usual.summarize([TEXT, "Short.", other])
    assert together[0] == usual.summarize(TEXT)
    assert together[2] == usual.summarize(other)
    sentences = [text + "." for text in TEXT.removesuffix(".").split(". ")]
    assert usual.summarize([sentences]) == [together[0]]
    assert usual.summarize(np.array([TEXT, other])) == [together[0], together[2]]


def test_a_text_of_any_length_and_script_is_summarized(build):
    long = " ".join(f"The cat sat on mat {n} of the tree." for n in range(300))
    for settings in ({}, {"context": True, "pooling": "mean", "layer": -1}):
        found = build(**settings).summarize(long, num_sentences=7)
        assert len(found.sentences) == 7
        assert found.num_sentences == 300
    thai = "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a " * 90
    assert len(build().summarize(thai, 2).sentences) == 2
    chinese = "".join(
        f"\u5317\u4eac{n}\u5f88\u5927\u597d\u770b\u3002" for n in range(9)
    )
    found = build().summarize(chinese, num_sentences=2)
    assert found.text == "".join(one.text for one in found.sentences)
    assert len(build().summarize("\x00\x01. " * 30 + "x" * 5000, 3).sentences) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_sentences": 0}, "num_sentences=0: want 1 or more"),
        ({"ratio": 0.0}, "ratio=0.0: want a share, above 0"),
        ({"ratio": 1.1}, "up to 1"),
        ({"ratio": float("nan")}, "ratio=nan"),
        ({"ratio": 0.5, "num_sentences": 2}, "say one of them"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(settings, message, usual):
    with pytest.raises(errors.UserError, match=message):
        usual.summarize(TEXT, **settings)


def test_what_is_no_text_is_refused(usual):
    with pytest.raises(errors.UserError, match=r"input 1 is 7, a int; want a text"):
        usual.summarize([TEXT, 7])
    with pytest.raises(errors.UserError, match="want a text, or a list"):
        usual.summarize([["a", 1]])


def test_any_encoder_opens_and_a_network_that_is_not_there_is_named(saved_ours):
    found = summarizer.ElectraSummarizer.from_preset(
        str(saved_ours), sequence_length=16, min_tokens=3
    )
    assert found.model.preprocessor.sequence_length == 16
    assert len(found.summarize(TEXT).sentences) == 3
    same = summarizer.ElectraSummarizer.from_preset(
        str(saved_ours), network="encoder", sequence_length=16, min_tokens=3
    )
    assert same.summarize(TEXT) == found.summarize(TEXT)
    with pytest.raises(errors.UserError, match="has no generator; it has encoder"):
        summarizer.ElectraSummarizer.from_preset(str(saved_ours), network="generator")
    with pytest.raises(errors.UserError, match="has no 'pool'; did you mean pooling"):
        summarizer.ElectraSummarizer.from_preset(str(saved_ours), pool="mean")
