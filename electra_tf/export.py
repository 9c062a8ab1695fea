r"""Exports a model for TensorFlow Serving: text in, answers out.

python -m electra_tf.export --preset=runs/sst-2 --output=models/sentiment
python -m electra_tf.export --preset=runs/small --network=generator --output=models/fill
python -m electra_tf.export --preset=runs/sst-2 --output=models/lite \
    --set export.format=tflite
"""

from absl import flags

from electra_tf import cli, errors
from electra_tf.finetuning import task_config
from electra_tf.system import console

PRESET = flags.DEFINE_string(
    "preset", None, "A preset or workdir, of fine-tuning or of pre-training."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "Folder of all versions of the model; its name is the model's."
)
NETWORK = flags.DEFINE_string(
    "network",
    None,
    "Which network of a pre-trained preset: encoder gives vectors of texts, "
    "discriminator finds replaced tokens, generator fills in blanks, scorer says how "
    "likely a text is, by whichever network can. None: the model as it was saved.",
)
VERSION = flags.DEFINE_integer(
    "version", None, "Number to write; else one more than the highest there."
)
BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes",
    "1,2,4,8,16,32",
    "Sizes to which a server fills up its batches, ascending.",
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Exports, and says how to serve what was written."""
    settings = cli.load(task_config.ExportConfig)
    preset = cli.require("preset", "name the model")
    output = cli.require("output", "name the folder to write")
    if not all(size.isdecimal() for size in BATCH_SIZES.value):
        raise errors.UserError(
            f"--batch_sizes={','.join(BATCH_SIZES.value)}: want numbers, as in 1,8,32"
        )

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.release import exporter

    with console.doing("tracing and writing the model"):
        exporter.export(
            preset,
            output,
            settings,
            network=NETWORK.value,
            version=VERSION.value,
            batch_sizes=[int(size) for size in BATCH_SIZES.value],
        )


if __name__ == "__main__":
    cli.run(main)
