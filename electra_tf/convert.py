"""Converts weights: Google's checkpoints, Hugging Face, KerasHub, our presets.

python -m electra_tf.convert --from=downloads/electra_small --to=electra_small
python -m electra_tf.convert --from=runs/small --to=hub/small --format=hugging_face
"""

from absl import flags

from electra_tf import cli
from electra_tf.system import console
from electra_tf.weights import model_card

FROM = flags.DEFINE_string(
    "from",
    None,
    "A workdir, preset, Hugging Face directory, KerasHub preset, or checkpoint of the "
    "2020 code.",
)
TO = flags.DEFINE_string("to", None, "Folder to write.")
FORMAT = flags.DEFINE_string(
    "format",
    "preset",
    "preset: ours; hugging_face: for transformers; hugging_face_bert: the encoder as a "
    "BertModel, where it is one; keras_hub: KerasHub presets of our classes; "
    "keras_hub_electra: of KerasHub's own ElectraBackbone, which differs.",
)
VOCAB = flags.DEFINE_string("vocab", None, "vocab.txt, where --from has none.")
HEADS = flags.DEFINE_integer(
    "num_heads",
    None,
    "Attention heads of a checkpoint of the 2020 code, where no config.json beside it "
    "says and they are not 64 wide.",
)
GENERATOR_HEADS = flags.DEFINE_integer(
    "generator_num_heads", None, "The same for its generator."
)
LANGUAGE = flags.DEFINE_string("language", None, "For the model card: a code like en.")
LICENSE = flags.DEFINE_string("license", None, "For the model card.")

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Converts, and says what was lost or changed."""
    origin = cli.require("from", "name what to convert")
    folder = cli.require("to", "name the folder to write")

    # Not above: --help needs no TensorFlow.
    with cli.loading():
        from electra_tf.release import converter
        from electra_tf.weights import opening

    with console.doing("converting"):
        converter.convert(
            origin,
            folder,
            FORMAT.value,
            stated=opening.Stated(VOCAB.value, HEADS.value, GENERATOR_HEADS.value),
            facts=model_card.Facts(language=LANGUAGE.value, license=LICENSE.value),
        )


if __name__ == "__main__":
    cli.run(main)
