"""Writes the vectors of the texts of a file, by the encoder of any preset.

python -m electra_tf.embed --preset=runs/pairs --input=corpus.txt --output=corpus.npy
"""

from absl import flags

from electra_tf import cli
from electra_tf.finetuning import task_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset",
    None,
    "A preset or workdir, of fine-tuning or of pre-training; a Hugging Face or "
    "sentence-transformers directory.",
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    ".txt, .tsv, .csv, .jsonl, .parquet, or these with .gz; - reads stdin. Columns are "
    "text, text_pair, or as data.options says.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, ".npy: float32 [texts, width], for numpy.load; or .jsonl."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Embeds all there is to read."""
    settings = cli.load(task_config.FinetuneConfig)
    preset = cli.require("preset", "name the model")
    source = cli.require("input", "name a file of texts, or - for stdin")
    output = cli.require("output", "name a file to write, such as vectors.npy")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import searcher
        from electra_tf.system import cores

    cores.share_out()
    with console.doing("opening the model and embedding"):
        count = searcher.embed(preset, settings, source, output)
    console.deliver(f"wrote {output}: the vectors of {count:,} texts\n")


if __name__ == "__main__":
    cli.run(main)
