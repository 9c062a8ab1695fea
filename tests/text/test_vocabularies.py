"""What is a vocabulary, and what is none."""

import os

import pytest
import wordpiece
from tokenizers import models

from electra_tf import errors
from electra_tf.text import tokenizer, vocabularies

UNCASED = wordpiece.UNCASED


def test_a_vocabulary_is_read_as_it_was_written(tmp_path):
    blank = ["\u2028", "", "\u3000", "\u00a0", "\x85", ""]
    tokens = [
        *vocabularies.SPECIAL_TOKENS,
        "caf\u00e9",
        *blank,
        "##\u4f60",
        "x",
        "x",
        "",
    ]
    vocabularies.write(tmp_path / "vocab.txt", tokens)
    assert vocabularies.read(tmp_path / "vocab.txt") == tokens


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    file = tmp_path / "vocab.txt"
    text = "\ufeff" + "\r\n".join([*vocabularies.SPECIAL_TOKENS, "film", ""])
    file.write_bytes(text.encode())
    assert vocabularies.read(file) == [*vocabularies.SPECIAL_TOKENS, "film"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_has_the_id_that_the_library_gives_it(tmp_path, end):
    file = tmp_path / "vocab.txt"
    odd = ["the ", "\u2028", "", "film", " x", "\u3000", "film", "a\rb", "good\u00a0"]
    for last in ("end", "", "\x85"):
        lines = [*vocabularies.SPECIAL_TOKENS, *odd, last, ""]
        file.write_bytes(end.join(lines).encode())
        want = models.WordPiece.read_file(str(file))
        tokens = vocabularies.read(file)
        assert len(tokens) == len(lines) - 1
        assert vocabularies.token_ids(tokens) == {t: i for t, i in want.items() if t}
        encoder = tokenizer.Encoder(tokens, UNCASED)
        assert encoder.encode("the\u2028 film\u3000 good").tolist() == [5, 11, 13]


def test_tokens_that_no_line_can_hold_are_refused():
    for token in ("a\nb", "film ", "\r", "\ud800"):
        with pytest.raises(errors.UserError, match=r"token 6 .* leave it blank"):
            vocabularies.check([*vocabularies.SPECIAL_TOKENS, token], "given")


def test_the_hash_tells_vocabularies_apart():
    assert vocabularies.hash_of(["a", "b"]) == vocabularies.hash_of(["a", "b"])
    hashes = {vocabularies.hash_of(v) for v in (["a", "b"], ["b", "a"], ["ab"], ["a"])}
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[PAD] [UNK] [CLS] [SEP] film", r"has no \[MASK\]"),
        (
            "[PAD] [UNK] [CLS] [SEP] [MASK] film [CLS]",
            r"\[CLS\] stands twice.* 3 and 7",
        ),
        ("film [PAD] [UNK] [CLS] [SEP] [MASK]", r"first token is 'film', want \[PAD\]"),
    ],
)
def test_a_bad_vocabulary_is_refused_by_name(tmp_path, lines, message):
    file = tmp_path / "vocab.txt"
    file.write_text(lines.replace(" ", "\n") + "\n")
    with pytest.raises(errors.UserError, match=message) as error:
        vocabularies.read(file)
    assert str(file) in str(error.value)


def test_a_vocabulary_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match="cannot read vocabulary"):
        vocabularies.read(tmp_path / "none.txt")
    (tmp_path / "model.bin").write_bytes(b"[PAD]\n\xff")
    with pytest.raises(errors.UserError, match="not UTF-8 at byte 6"):
        vocabularies.read(tmp_path / "model.bin")


def test_a_vocabulary_that_may_never_end_is_refused(tmp_path):
    os.mkfifo(tmp_path / "vocab.txt")
    for file in (tmp_path / "vocab.txt", "/dev/zero"):
        with pytest.raises(errors.UserError, match=r"is a pipe or a device; put a fil"):
            vocabularies.read(file)
