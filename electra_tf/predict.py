"""Answers texts with a fine-tuned preset, or with what pre-training left.

python -m electra_tf.predict --preset=runs/sst-2 --text="a fine film"
python -m electra_tf.predict --preset=runs/sst-2 --input=new.tsv --output=found.jsonl
"""

from absl import flags

from electra_tf import cli, config

PRESET = flags.DEFINE_string(
    "preset", None, "A preset or workdir, of fine-tuning or of pre-training."
)
TEXT = flags.DEFINE_multi_string("text", [], "A text to answer; repeatable.")
INPUT = flags.DEFINE_string(
    "input",
    None,
    ".txt, .tsv, .csv, .jsonl, or these with .gz; - reads stdin. Columns are text, "
    "text_pair; words; question, context; prompt, choices; or as data.options says.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, ".jsonl or .tsv; else JSON lines on stdout."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Answers all there is to read."""
    settings = cli.load(config.FinetuneConfig)
    preset = cli.require("preset", "name the model")

    # Not above: --help and --print_config need no TensorFlow.
    from electra_tf import predictor

    predictor.predict(
        preset,
        settings,
        texts=TEXT.value,
        source=INPUT.value,
        output=OUTPUT.value,
    )


if __name__ == "__main__":
    cli.run(main)
