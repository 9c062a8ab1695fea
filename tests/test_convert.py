import commands
import numpy as np

from electra_tf import config
from electra_tf.network import models
from electra_tf.release import converter
from electra_tf.weights import preset, preset_writer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef"]
MODEL = config.ModelConfig(
    vocab_size=len(VOCAB),
    embedding_size=5,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=7,
    max_positions=9,
)


def run(folder, *flags):
    process = commands.Started(folder, commands.run_command, "convert", *flags)
    return process.wait(), process.stdout(), process.stderr()


def test_the_command_writes_what_it_is_told_and_says_so(tmp_path):
    network = models.build_discriminator(MODEL)
    preset_writer.save(
        f"{tmp_path}/own",
        {"discriminator": network},
        {"discriminator": MODEL},
        VOCAB,
        config.TokenizerConfig(),
        {},
    )
    flags = ["--format=hugging_face", "--language=xx", "--license=mit"]
    code, said, errors = run(
        tmp_path, f"--from={tmp_path}/own", f"--to={tmp_path}/hf", *flags
    )
    assert code == 0, errors
    assert said == f"wrote {tmp_path}/hf: discriminator, for transformers' AutoModel\n"
    found = converter.open_source(f"{tmp_path}/hf")
    for was, now in zip(
        network.weights, preset.build(found, "discriminator").weights, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(now), np.asarray(was))
    assert "license: mit" in (tmp_path / "hf" / "README.md").read_text()


def test_what_the_user_can_mend_ends_in_one_line(tmp_path):
    code, _, said = run(tmp_path, f"--to={tmp_path}/there")
    assert code == 1
    assert said.splitlines()[-1] == "error: --from is missing: name what to convert"
    code, _, said = run(tmp_path, f"--from={tmp_path}/gone", f"--to={tmp_path}/there")
    assert code == 1
    assert "gone: nothing is there; want a workdir or preset" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "there").exists()
