"""Finds odd text in a corpus, and drops or marks it. Run it again to go on.

python -m electra_tf.clean --preset=runs/small --corpus=texts/ --output=data/clean
python -m electra_tf.clean --preset=runs/small --corpus=crawl.jsonl.gz \
    --output=data/clean --set select.drop_rate=0.2 --set write.form=jsonl
"""

from absl import flags

from electra_tf import cli
from electra_tf.cleaning import clean_config
from electra_tf.text import corpus_files

PRESET = flags.DEFINE_string(
    "preset",
    None,
    "A preset or workdir with a discriminator, an energy network or a masked language "
    "model; or other people's weights.",
)
CORPUS = flags.DEFINE_multi_string(
    "corpus",
    [],
    "Folder, file or pattern of text, JSON Lines or Parquet, compressed or not. "
    "Repeatable, or separated by commas.",
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write what is kept to.")

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Cleans the corpus."""
    settings = cli.load(clean_config.CleanConfig)
    preset = cli.require("preset", "name whose network judges the text")
    cli.require("corpus", "name a folder, a file or a pattern")
    paths = [path for value in CORPUS.value for path in corpus_files.split(value)]
    output = cli.require("output", "name the folder to write")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.cleaning import cleaner
        from electra_tf.system import cores

    cores.share_out()
    cleaner.clean(preset, paths, output, settings)


if __name__ == "__main__":
    cli.run(main)
