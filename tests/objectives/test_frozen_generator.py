import json
import math

import masked_rows
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import corruption, frozen_generator, variants
from electra_tf.training import run, train_step
from electra_tf.weights import preset_writer


def settings(**given):
    return variants.FrozenGeneratorConfig(
        name="frozen_generator", generator="a preset", **given
    )


def heat(progress, **given):
    return float(frozen_generator.temperature(settings(**given), progress))


def test_the_temperature_falls_as_its_schedule_says():
    ends = {"temperature_start": 3.0, "temperature_end": 1.5}
    for schedule in ("exponential", "linear"):
        given = {"temperature_schedule": schedule, **ends}
        assert heat(0.0, **given) == pytest.approx(3.0)
        assert heat(1.0, **given) == pytest.approx(1.5)
    assert heat(0.25, temperature_schedule="linear", **ends) == pytest.approx(2.625)
    # All but what is left at the end, e to the -10.
    want = 1.5 + 1.5 * math.exp(-2.5)
    assert heat(0.25, **ends) == pytest.approx(want, abs=1e-4)
    for progress in (0.0, 1.0):
        assert heat(progress, temperature_schedule="constant", **ends) == 3.0


def test_samples_are_drawn_at_the_temperature_of_the_moment():
    learned = masked_rows.build("frozen_generator", temperature_start=50.0)
    logits = tf.constant(masked_rows.guess(learned), tf.float32)
    noise = masked_rows.BATCH["sampling_noise"]
    for progress in (0.0, 0.1, 1.0):
        _, sampled, metrics = learned.guess(masked_rows.BATCH, True, progress)
        heat = float(frozen_generator.temperature(learned.settings, progress))
        np.testing.assert_array_equal(sampled, corruption.sample(logits, noise, heat))
        assert float(metrics["heat"]) == pytest.approx(4 * heat)
    # Whether the generator drops units, training or not: it does not.
    np.testing.assert_array_equal(
        *[
            learned.guess(masked_rows.BATCH, training, 1.0)[1]
            for training in (True, False)
        ]
    )


def test_the_discriminator_alone_learns():
    pretrainer = train_step.build(masked_rows.settings_of("frozen_generator"))
    generator = pretrainer.objective.networks["generator"]
    before = [np.asarray(v) for v in generator.weights]
    start = [np.asarray(v) for v in pretrainer.trainable_variables]
    assert len(start) < len(pretrainer.variables)
    for _ in range(3):
        sums = pretrainer.update(masked_rows.BATCH)
    assert float(sums["rtd_loss"]) > 0.0
    for was, now in zip(before, generator.weights, strict=True):
        np.testing.assert_array_equal(was, now)
    moved = zip(start, pretrainer.trainable_variables, strict=True)
    assert any(np.any(was != np.asarray(now)) for was, now in moved)


@pytest.fixture(scope="module")
def first_stage(tiny_run, tmp_path_factory):
    """The preset of a masked language model."""
    folder = tmp_path_factory.mktemp("first")
    chosen = config.load(
        config.PretrainConfig, str(tiny_run), ["objective.name=mlm", "train.steps=6"]
    )
    run.run(chosen, str(folder))
    return folder / "preset"


def second_stage(tiny_run, first_stage, *overrides):
    return config.load(
        config.PretrainConfig,
        str(tiny_run),
        [
            "objective={name: frozen_generator}",
            f"objective.generator={first_stage}",
            "train.steps=6",
            *overrides,
        ],
    )


def test_two_stages_start_the_discriminator_from_the_generator(
    tiny_run, first_stage, tmp_path, capsys
):
    start = f"train.init_from={first_stage}"
    stage = second_stage(tiny_run, first_stage, start, "generator={}")
    run.run(stage, str(tmp_path))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    values = [json.loads(line) for line in lines]
    assert values[0]["temperature"] > 1.0
    assert values[-1]["temperature"] == pytest.approx(1.0, abs=0.01)
    kept = {file.name for file in (tmp_path / "preset").glob("*.h5")}
    assert kept == {"discriminator.weights.h5"}
    assert "temp 1." in capsys.readouterr().out


def test_a_generator_of_another_vocabulary_is_refused(
    tiny_run, tiny_model_config, tiny_vocab, tmp_path
):
    words = tiny_vocab.read_text(encoding="utf-8").split()
    words[7], words[8] = words[8], words[7]
    folder = tmp_path / "other"
    preset_writer.save(
        str(folder),
        {"generator": models.build_generator(tiny_model_config)},
        {"generator": tiny_model_config},
        words,
        config.TokenizerConfig(),
        {},
    )
    stage = second_stage(tiny_run, folder, "generator={}")
    with pytest.raises(errors.UserError, match=r"its vocabulary .* is not that of the"):
        run.run(stage, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_preset_without_a_generator_is_refused(tiny_run, first_stage, tmp_path):
    run.run(second_stage(tiny_run, first_stage, "generator={}"), str(tmp_path / "a"))
    stage = second_stage(tiny_run, tmp_path / "a/preset", "generator={}")
    with pytest.raises(errors.UserError, match="has no generator"):
        run.run(stage, str(tmp_path / "b"))
