"""Scores texts: how likely they are, and each of their tokens.

python -m electra_tf.score --preset=runs/electric --text="a fine film"
python -m electra_tf.score --preset=runs/mlm --input=new.tsv --output=scores.tsv
python -m electra_tf.score --preset=runs/small --set score.way=replaced --text="a fine"
python -m electra_tf.score --server=localhost:8500/scorer --input=- < new.txt
"""

from absl import flags

from electra_tf import cli, errors
from electra_tf.finetuning import task_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset",
    None,
    "What pre-training left, a workdir or preset; or others' masked language model.",
)
SERVER = flags.DEFINE_string(
    "server",
    None,
    "A TensorFlow Serving to ask instead: host:8500/model by gRPC, "
    "http://host:8501/model by REST.",
)
TEXT = flags.DEFINE_multi_string("text", [], "A text to score; repeatable.")
INPUT = flags.DEFINE_string(
    "input",
    None,
    ".txt, .tsv, .csv, .jsonl, or these with .gz; - reads stdin. The column is text, "
    "or as data.options.text_column says.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, ".jsonl or .tsv; else JSON lines on stdout."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Scores all there is to read."""
    settings = cli.load(task_config.ScoreConfig)
    if SERVER.value and PRESET.value:
        raise errors.UserError("--preset and --server: name one of them")
    preset = None
    if not SERVER.value:
        preset = cli.require("preset", "name the model, or a --server that has it")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import predictor

        if preset:  # A server is asked without TensorFlow.
            from electra_tf.system import cores

            cores.share_out()
    with console.doing("opening the model and scoring"):
        predictor.predict(
            preset,
            settings.of_prediction(SERVER.value),
            server=SERVER.value,
            network=predictor.SCORER,
            texts=TEXT.value,
            source=INPUT.value,
            output=OUTPUT.value,
            left_out=() if settings.score.tokens else ("tokens",),
        )


if __name__ == "__main__":
    cli.run(main)
