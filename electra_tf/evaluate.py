"""Scores a fine-tuned preset on labelled data.

python -m electra_tf.evaluate --preset=runs/cola --data=glue/CoLA
"""

from absl import flags

from electra_tf import cli
from electra_tf.finetuning import task_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset", None, "A fine-tuned preset, its workdir, or a Hugging Face directory."
)
TASK = flags.DEFINE_string(
    "task",
    None,
    "A task such as cola or squad; without it, what the preset has learned.",
)
DATA = flags.DEFINE_string("data", None, "Folder of its data, or a file.")
SPLIT = flags.DEFINE_string("split", "dev", "Split to score, with labels; such as dev.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write as well.")

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Evaluates, and says the metrics."""
    settings = cli.load(task_config.FinetuneConfig)
    preset = cli.require("preset", "name what to evaluate")
    data = cli.require("data", "name the folder of the data, or a file")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import evaluator
        from electra_tf.system import cores

    cores.share_out()

    def deliver(line: str) -> None:
        console.deliver(f"{line}\n")

    say = print if OUTPUT.value else deliver  # Where no file has it, it must be read.
    with console.doing("evaluating"):
        evaluator.evaluate(
            preset, TASK.value, data, SPLIT.value, settings, OUTPUT.value, say
        )


if __name__ == "__main__":
    cli.run(main)
