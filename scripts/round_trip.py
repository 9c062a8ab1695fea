"""How many texts come back as they were, cut into words and joined again?

python scripts/round_trip.py de.txt en.txt    # a text a line

Cut as BERT does, cased, each word a token, so that no vocabulary counts. Prints the
share of texts that are the same to the letter, blanks run together; and chrF of blanks
and letters, and BLEU, against the texts themselves.
"""

import argparse
from pathlib import Path

import sacrebleu
from sacrebleu.metrics import chrf
from tokenizers import pre_tokenizers

from electra_tf import config
from electra_tf.text import detokenizer, tokenizer, vocabularies

SETTINGS = config.TokenizerConfig(lowercase=False)


def come_back(texts: list[str]) -> list[str]:
    """Cuts texts and joins them again."""
    clean = tokenizer.normalizer(SETTINGS).normalize_str
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = [[word for word, _ in cut(clean(text))] for text in texts]
    known = dict.fromkeys(word for one in words for word in one)
    vocab = [*vocabularies.SPECIAL_TOKENS, *known]
    number = vocabularies.token_ids(vocab)
    join = detokenizer.Detokenizer(vocab, SETTINGS)
    return [join([number[word] for word in one]) for one in words]


def main() -> None:
    """Measures each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args().files:
        lines = file.read_text("utf-8").splitlines()
        texts = [" ".join(line.split()) for line in lines if line.strip()]
        found = come_back(texts)
        same = sum(a == b for a, b in zip(texts, found, strict=True)) / len(texts)
        near = chrf.CHRF(whitespace=True).corpus_score(found, [texts]).score
        bleu = sacrebleu.corpus_bleu(found, [texts]).score
        print(
            f"{file}: {len(texts):,} texts, {same:.1%} as they were, chrF with blanks "
            f"{near:.2f}, BLEU {bleu:.2f}"
        )


if __name__ == "__main__":
    main()
