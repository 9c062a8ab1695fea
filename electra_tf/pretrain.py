"""Pre-trains ELECTRA. Run the same command again to resume.

python -m electra_tf.pretrain --config=configs/small.yaml --workdir=runs/small
"""

from absl import flags

from electra_tf import cli, config

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run; made, or resumed.")
TPU = flags.DEFINE_string("tpu", None, "Name of a TPU; local on a TPU VM.")

flags.adopt_module_key_flags(cli)  # Else --help does not show the shared flags.


def main() -> None:
    """Trains to the end of the schedule, or until a signal."""
    settings = cli.load(config.PretrainConfig)
    workdir = cli.require("workdir", "name the folder that this run writes")

    # Not above: --help and --print_config need no TensorFlow.
    with cli.loading():
        from electra_tf.system import cores
        from electra_tf.training import run
        from electra_tf.training import workdir as workdirs

    # Where XLA or a TPU shares out the work, parts of a batch gain nothing.
    alone = TPU.value or settings.train.xla == "on"
    usual = 1 if alone else cores.usual_streams()
    settings = workdirs.with_streams(settings, workdir, usual)
    cores.share_out(int(settings.train.streams))
    run.run(settings, workdir, TPU.value)


if __name__ == "__main__":
    cli.run(main)
