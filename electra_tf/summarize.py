"""Summarizes texts by their sentences, and tells what groups of them are about.

python -m electra_tf.summarize --preset=runs/small --input=article.txt
python -m electra_tf.summarize --preset=minilm --input=new.jsonl --output=short.jsonl
python -m electra_tf.summarize --preset=runs/small --ratio=0.2 --input=- < article.txt
"""

from absl import flags

from electra_tf import cli
from electra_tf.finetuning import summary_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset", None, "A preset or workdir, whose encoder compares the sentences."
)
NETWORK = flags.DEFINE_string(
    "network",
    None,
    "Whose encoder, where a preset has several: discriminator, encoder or generator.",
)
TEXT = flags.DEFINE_multi_string("text", [], "A text to summarize; repeatable.")
INPUT = flags.DEFINE_string(
    "input",
    None,
    ".txt, .tsv, .csv, .jsonl, or these with .gz; - reads stdin. Columns are text, or "
    "sentences, or as data.options says; a .txt is a document (data.document).",
)
OUTPUT = flags.DEFINE_string(
    "output", None, ".jsonl, .tsv or .txt; else JSON lines on stdout."
)
NUM_SENTENCES = flags.DEFINE_integer(
    "num_sentences", None, "Sentences of a summary; 3, unless there is a ratio."
)
RATIO = flags.DEFINE_float(
    "ratio", None, "Share of a document's sentences that its summary has."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Summarizes all there is to read."""
    settings = cli.load(summary_config.SummarizeConfig)
    preset = cli.require("preset", "name the model")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import summarizing
        from electra_tf.system import cores

    cores.share_out()
    with console.doing("opening the model and summarizing"):
        summarizing.summarize(
            preset,
            settings,
            network=NETWORK.value,
            texts=TEXT.value,
            source=INPUT.value,
            output=OUTPUT.value,
            num_sentences=NUM_SENTENCES.value,
            ratio=RATIO.value,
        )


if __name__ == "__main__":
    cli.run(main)
