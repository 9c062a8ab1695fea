"""Turns text into the records that pre-training reads. Run it again to make sure.

python -m electra_tf.build_data --corpus=texts/ --output=data/texts --vocab_size=30522
"""

from absl import flags

from electra_tf import cli, config, errors
from electra_tf.text import corpus_files, data_builder

CORPUS = flags.DEFINE_multi_string(
    "corpus",
    [],
    "Folder, file or pattern of text, JSON Lines or Parquet, compressed or not; or "
    "builtin. Repeatable, or separated by commas.",
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write the data to.")
VOCAB = flags.DEFINE_string("vocab", None, "A vocab.txt; without one, it is trained.")
VOCAB_SIZE = flags.DEFINE_integer(
    "vocab_size", None, "Tokens of the vocabulary to train; short for --set vocab_size."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Builds the data, or says that they are there."""
    if VOCAB_SIZE.value is not None:
        cli.SET.value.append(f"vocab_size={VOCAB_SIZE.value}")
    settings = cli.load(config.BuildDataConfig)
    if VOCAB.value and VOCAB_SIZE.value is not None:
        raise errors.UserError(
            f"--vocab={VOCAB.value} and --vocab_size={VOCAB_SIZE.value} contradict "
            "each other: give a vocabulary, or the size of the one to train"
        )
    cli.require("corpus", "name a folder, a file, a pattern, or builtin")
    paths = [path for value in CORPUS.value for path in corpus_files.split(value)]
    output = cli.require("output", "name the folder to write")

    data_builder.build(paths, output, VOCAB.value, settings)


if __name__ == "__main__":
    cli.run(main)
