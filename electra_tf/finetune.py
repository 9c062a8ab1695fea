"""Fine-tunes a preset on a task. Run the same command again to go on.

python -m electra_tf.finetune --preset=runs/small --task=cola --data=glue/CoLA \
    --workdir=runs/cola
"""

from absl import flags

from electra_tf import cli
from electra_tf.finetuning import task_config

PRESET = flags.DEFINE_string(
    "preset",
    None,
    "What to start from: a workdir or preset of pre-training or fine-tuning, a Hugging "
    "Face directory, a checkpoint of the 2020 code.",
)
TASK = flags.DEFINE_list(
    "task", [], "What to learn, such as cola, squad, text_classification; or several."
)
DATA = flags.DEFINE_list(
    "data", [], "Folder of its data, or a file; one for each task."
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run; made, or resumed.")

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Trains all trials, or until a signal."""
    settings = cli.load(task_config.FinetuneConfig)
    preset = cli.require("preset", "name what to start from")
    cli.require("task", "name what to learn, such as text_classification")
    cli.require("data", "name the folder of the data, or a file")
    workdir = cli.require("workdir", "name the folder that this run writes")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import finetuner
        from electra_tf.system import cores
        from electra_tf.training import workdir as workdirs

    settings = workdirs.with_streams(settings, workdir, cores.usual_streams())
    cores.share_out(int(settings.train.streams))
    finetuner.run(settings, preset, TASK.value, DATA.value, workdir)


if __name__ == "__main__":
    cli.run(main)
