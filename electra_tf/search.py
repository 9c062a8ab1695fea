"""Finds the texts of a file that are nearest to others, by the vectors of any preset.

python -m electra_tf.search --preset=runs/pairs --corpus=corpus.txt --text="late trains"
python -m electra_tf.search --preset=runs/pairs --corpus=corpus.txt \
    --vectors=corpus.npy --input=queries.txt --output=found.jsonl
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
CORPUS = flags.DEFINE_string(
    "corpus", None, "The file to find texts in: see --input of predict."
)
VECTORS = flags.DEFINE_string(
    "vectors",
    None,
    "Its vectors, as embed wrote them with the same preset; else they are made now.",
)
TEXT = flags.DEFINE_multi_string("text", [], "A text to look for; repeatable.")
INPUT = flags.DEFINE_string("input", None, "A file of texts to look for; - is stdin.")
TOP_K = flags.DEFINE_integer("top_k", 10, "How many texts to find for each.")
OUTPUT = flags.DEFINE_string(
    "output", None, ".jsonl or .tsv; else JSON lines on stdout."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Finds the nearest of all that is looked for."""
    settings = cli.load(task_config.FinetuneConfig)
    preset = cli.require("preset", "name the model")
    corpus = cli.require("corpus", "name the file to find texts in")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import searcher
        from electra_tf.system import cores

    cores.share_out()
    with console.doing("opening the model and searching"):
        searcher.search(
            preset,
            settings,
            corpus,
            texts=TEXT.value,
            source=INPUT.value,
            stored=VECTORS.value,
            top_k=TOP_K.value,
            output=OUTPUT.value,
        )


if __name__ == "__main__":
    cli.run(main)
