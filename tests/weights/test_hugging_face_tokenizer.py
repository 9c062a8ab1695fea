"""A tokenizer's files say what they say to transformers, and come back as they were."""

import json
import os
import shutil

import golden
import pytest
import tokenizers

from electra_tf import config, errors
from electra_tf.text import tokenizer, vocabularies
from electra_tf.weights import (
    hugging_face_reader,
    hugging_face_tokenizer,
    hugging_face_writer,
    preset,
)


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("discriminator", config.TokenizerConfig()),
        (
            "generator",  # strip_accents is null there, and follows the casing.
            config.TokenizerConfig(
                lowercase=False, strip_accents=False, split_cjk=False
            ),
        ),
    ],
)
@pytest.mark.parametrize("without", ["tokenizer.json", "vocab.txt"])
def test_vocabulary_and_rules_are_found_in_either_file(copy, model, rules, without):
    folder = copy(model)
    want = vocabularies.read(golden.GOLDEN / "vocab.txt")
    shutil.copy(golden.GOLDEN / "vocab.txt", folder)
    os.remove(folder / without)
    found = hugging_face_reader.open_directory(str(folder))
    assert (found.vocab, found.tokenizer) == (want, rules)


CASED_FILE = {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False}


@pytest.mark.parametrize(
    ("stated", "rules"),
    [
        # As AutoTokenizer of transformers 4 and 5: the class says which file counts.
        (None, config.TokenizerConfig()),
        ({}, config.TokenizerConfig()),
        ({"tokenizer_class": "ElectraTokenizerFast"}, config.TokenizerConfig()),
        ({"do_lower_case": False}, config.TokenizerConfig(lowercase=False)),
        (
            {"do_lower_case": False, "strip_accents": True},
            config.TokenizerConfig(lowercase=False, strip_accents=True),
        ),
        ({"strip_accents": False}, config.TokenizerConfig(strip_accents=False)),
        (
            {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
            config.TokenizerConfig(
                lowercase=False, strip_accents=True, split_cjk=False
            ),
        ),
    ],
)
def test_the_tokenizers_class_says_which_file_has_the_casing(copy, stated, rules):
    folder = copy("generator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    fast["normalizer"] |= CASED_FILE
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    os.remove(folder / "tokenizer_config.json")
    if stated is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    assert hugging_face_reader.open_directory(str(folder)).tokenizer == rules


def test_a_word_limit_that_counts_must_be_berts(copy):
    folder = copy("generator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    fast["model"]["max_input_chars_per_word"] = 200
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    hugging_face_reader.open_directory(str(folder))  # BERT's class has one limit.
    stated = {"tokenizer_class": "TokenizersBackend"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    with pytest.raises(errors.UserError, match="max_input_chars_per_word is 200"):
        hugging_face_reader.open_directory(str(folder))


def test_rows_of_a_vocab_txt_that_no_text_uses_are_kept(copy):
    folder = copy("discriminator")
    path = folder / "tokenizer.json"
    fast = json.loads(path.read_text())
    words = fast["model"]["vocab"]
    want = sorted(words, key=words.get)
    # transformers keeps the last of what is blank or alike, and writes no vocab.txt.
    alike, blank, odd = want[-4:-1]
    for token in (alike, blank, odd):
        del words[token]
    words["\n"] = len(want) - 3
    path.write_text(json.dumps(fast))
    want[-4:-1] = ["", "", ""]
    assert hugging_face_reader.open_directory(str(folder)).vocab == want
    want[-4:-1] = [want[-1], "", "\u2028"]
    vocabularies.write(folder / "vocab.txt", want)
    found = hugging_face_reader.open_directory(str(folder))
    assert found.vocab == want
    written = folder / "written"
    network = preset.build(found, "discriminator")
    hugging_face_writer.save_networks(
        str(written),
        {"discriminator": network},
        found.networks,
        want,
        found.tokenizer,
        {},
    )
    assert (written / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    assert hugging_face_reader.open_directory(str(written)).vocab == want
    want[-3] = "else"
    vocabularies.write(folder / "vocab.txt", want)
    with pytest.raises(errors.UserError, match="do not hold the same tokens"):
        hugging_face_reader.open_directory(str(folder))


TAGS = {
    "[ENT]": {"special": True, "normalized": False, "rstrip": True},
    "New York": {"single_word": True},
}


def as_fast(folder, ids):
    path = folder / "tokenizer.json"
    fast = json.loads(path.read_text())
    fast["added_tokens"] += [
        {"id": ids[content], "content": content, **flags}
        for content, flags in TAGS.items()
    ]
    path.write_text(json.dumps(fast))


def as_decoder(folder, ids):
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values["added_tokens_decoder"] = {
        str(ids[content]): {"content": content, **flags}
        for content, flags in TAGS.items()
    }
    path.write_text(json.dumps(values))


def as_old_files(folder, ids):
    (folder / "added_tokens.json").write_text(json.dumps(ids))
    token = {"content": "[ENT]", "rstrip": True, "normalized": False}
    values = {"additional_special_tokens": [token], "unk_token": "[UNK]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(values))
    os.remove(folder / "tokenizer.json")
    shutil.copy(golden.GOLDEN / "vocab.txt", folder)


@pytest.mark.parametrize("add", [as_fast, as_decoder, as_old_files])
def test_added_tokens_are_found_wherever_they_stand_and_kept(copy, tmp_path, add):
    folder = copy("discriminator")
    words = vocabularies.read(golden.GOLDEN / "vocab.txt")
    ids = {content: len(words) + i for i, content in enumerate(TAGS)}
    add(folder, ids)
    vocab, rules = hugging_face_tokenizer.read(str(folder))
    assert vocab == [*words, *TAGS]
    flags = {} if add is as_old_files else {"single_word": True}
    assert rules.added_tokens == (
        config.AddedToken(content="[ENT]", **TAGS["[ENT]"]),
        config.AddedToken(content="New York", **flags),
    )
    hugging_face_tokenizer.write(str(tmp_path), vocab, rules, 64)
    assert hugging_face_tokenizer.read(str(tmp_path)) == (vocab, rules)
    # As the library reads what was written.
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "the[ENT]  cat new york New Yorker"
    want = fast.encode(text, add_special_tokens=False).ids
    assert tokenizer.Encoder(vocab, rules).encode(text).tolist() == want
    assert set(ids.values()) <= set(want)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"eos_token": "</s>"}, "'</s>' is a token that was added, but neither"),
        ({"cls_token": "<s>"}, r"cls_token is '<s>'; only BERT's \[CLS\] is known"),
        ({"extra_special_tokens": ["a", 3]}, "extra_special_tokens"),
    ],
)
def test_special_tokens_that_have_no_place_are_refused(copy, stated, message):
    folder = copy("discriminator")
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    with pytest.raises(errors.UserError, match=message):
        hugging_face_reader.open_directory(str(folder))


def test_without_a_vocabulary_there_is_none(copy):
    assert hugging_face_reader.open_directory(str(copy("encoder"))).vocab is None


def test_tokens_that_were_added_later_are_part_of_the_vocabulary(copy):
    folder = copy("discriminator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    ids = fast["model"]["vocab"]
    del ids[max(ids, key=ids.get)]
    fast["added_tokens"].append({"id": len(ids), "content": "<new>", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    vocab = hugging_face_reader.open_directory(str(folder)).vocab
    assert vocab == [*vocabularies.read(golden.GOLDEN / "vocab.txt")[:-1], "<new>"]


def test_the_tokenizer_that_is_written_puts_pairs_together(save, vocab, tmp_path):
    out = save(tmp_path / "out", "discriminator")
    written = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    pair = written.encode("The cat [MASK]", "a d\u00f6g")
    assert pair.tokens == [
        *("[CLS]", "[UNK]", "cat", "[MASK]", "[SEP]"),  # Cased.
        *("a", "dog", "[SEP]"),
    ]
    assert pair.type_ids == [0] * 5 + [1] * 3
    assert [vocab[number] for number in pair.ids] == pair.tokens
    assert written.encode("the").tokens == ["[CLS]", "the", "[SEP]"]
    for text in golden.TEXTS:
        ids = written.encode(text, add_special_tokens=False).ids
        assert ids == list(tokenizer.Encoder(vocab, golden.RULES).encode(text))


def words(file, **changed):
    return lambda folder: golden.change_json(folder, file, **changed)


def adds_token(text):
    def change(folder):
        values = json.loads((folder / "tokenizer.json").read_text())
        number = len(values["model"]["vocab"])
        values["added_tokens"].append({"id": number, "content": text})
        (folder / "tokenizer.json").write_text(json.dumps(values))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (golden.writes("vocab.txt", "[PAD]\n[UNK]\n"), r"vocab.txt has no \[CLS\]"),
        (
            golden.writes("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nyes\n"),
            "vocab.txt and tokenizer.json do not hold the same tokens",
        ),
        (words("tokenizer.json", model={"type": "BPE", "vocab": {}}), "move the token"),
        (words("tokenizer.json", model=3), "tokenizer.json: model=3"),
        (words("tokenizer.json", normalizer={"type": "NFKC"}), "NFKC"),
        (words("tokenizer.json", normalizer=None), "normalizer=None"),
        (
            words("tokenizer.json", model={"type": "WordPiece", "vocab": {"x": 70}}),
            "are not numbered from 0 to",
        ),
        (adds_token("two\nlines"), r"'two\\nlines', a token that was added, is one"),
        (adds_token("\ud800"), r"'\\ud800', a token that was added, is one"),
        (adds_token("[PAD]"), "are not numbered from 0"),
        (
            words("tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer"),
            "tokenizer_class is 'BertJapaneseTokenizer'",
        ),
        (words("tokenizer_config.json", do_lower_case="x"), "do_lower_case='x'"),
    ],
)
def test_words_of_another_kind_are_refused_in_one_line(copy, damage, message):
    folder = copy("generator")
    damage(folder)
    golden.assert_refused(folder, message)
