r"""Chooses among hypotheses by how likely they are: n-best lists, reranked.

python -m electra_tf.rerank --preset=runs/electric --dev=dev.jsonl --weights=asr.json
python -m electra_tf.rerank --preset=runs/electric --weights=asr.json \
    --input=test.jsonl --output=best.jsonl
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
DEV = flags.DEFINE_string(
    "dev",
    None,
    "Hypotheses to choose the weight by: .jsonl, .tsv or .csv with the columns id, "
    "hypothesis, score, reference; a row for each hypothesis.",
)
WEIGHTS = flags.DEFINE_string(
    "weights", None, "JSON file with the weight: written with --dev, else read."
)
INPUT = flags.DEFINE_string(
    "input", None, "Hypotheses to choose among; the reference may be missing."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "The best of each list: .jsonl or .tsv; else JSON lines on stdout."
)

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Chooses the weight, applies it, or both."""
    settings = cli.load(task_config.RerankConfig)
    if SERVER.value and PRESET.value:
        raise errors.UserError("--preset and --server: name one of them")
    preset = None
    if not SERVER.value:
        preset = cli.require("preset", "name the model, or a --server that has it")
    weights = cli.require(
        "weights", "name the file of the weight, which --dev writes and --input reads"
    )

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.finetuning import reranker

        if preset:  # A server is asked without TensorFlow.
            from electra_tf.system import cores

            cores.share_out()
    with console.doing("opening the model and scoring hypotheses"):
        reranker.rerank(
            preset,
            settings,
            weights,
            server=SERVER.value,
            dev=DEV.value,
            source=INPUT.value,
            output=OUTPUT.value,
        )


if __name__ == "__main__":
    cli.run(main)
