"""Answers texts with a fine-tuned preset, with what pre-training left, or by a server.

python -m electra_tf.predict --preset=runs/sst-2 --text="a fine film"
python -m electra_tf.predict --preset=runs/sst-2 --input=new.tsv --output=found.jsonl
python -m electra_tf.predict --preset=runs/small --network=generator --text="a [MASK]."
python -m electra_tf.predict --server=localhost:8500/sentiment --text="a fine film"
"""

from absl import flags

from electra_tf import cli, errors
from electra_tf.finetuning import task_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset", None, "A preset or workdir, of fine-tuning or of pre-training."
)
SERVER = flags.DEFINE_string(
    "server",
    None,
    "A TensorFlow Serving to ask instead: host:8500/model by gRPC, "
    "http://host:8501/model by REST.",
)
TEXT = flags.DEFINE_multi_string("text", [], "A text to answer; repeatable.")
NETWORK = flags.DEFINE_string(
    "network",
    None,
    "Which network of a pre-trained preset answers: generator fills in each [MASK]; "
    "discriminator finds replaced tokens (the default); encoder gives vectors; scorer "
    "says how likely a text is, by whichever network can (python -m electra_tf.score).",
)
INPUT = flags.DEFINE_string(
    "input",
    None,
    ".txt, .tsv, .csv, .jsonl, or these with .gz; - reads stdin. Columns are text, "
    "text_pair; words; question, context; prompt, choices; source; or as data.options "
    "says.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, ".jsonl or .tsv; else JSON lines on stdout."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Answers all there is to read."""
    settings = cli.load(task_config.FinetuneConfig)
    if SERVER.value and PRESET.value:
        raise errors.UserError("--preset and --server: name one of them")
    if SERVER.value and NETWORK.value:
        raise errors.UserError(
            "--network: a server has the network that was exported; leave it out"
        )
    preset = None
    if not SERVER.value:
        preset = cli.require("preset", "name the model, or a --server that has it")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import predictor

        if preset:  # A server is asked without TensorFlow.
            from electra_tf.system import cores

            cores.share_out()
    with console.doing("opening the model and answering"):
        predictor.predict(
            preset,
            settings,
            server=SERVER.value,
            network=NETWORK.value,
            texts=TEXT.value,
            source=INPUT.value,
            output=OUTPUT.value,
        )


if __name__ == "__main__":
    cli.run(main)
