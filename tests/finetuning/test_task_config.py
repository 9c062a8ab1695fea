from pathlib import Path

import pytest
import yaml

from electra_tf import config, errors
from electra_tf.finetuning import task_config

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = [task_config.FinetuneConfig, task_config.ExportConfig]


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_of_every_command_are_valid(kind):
    assert kind.model_validate(yaml.safe_load(config.dump(kind()))) == kind()


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_explains_every_setting(kind):
    described = config.describe(kind()).splitlines()
    explained = [line for line in described if "  # " in line]
    sections = len(kind.model_fields)
    assert len(described) == len(explained) + sections
    assert len(explained) > sections
    assert not any(line.endswith("# None") for line in explained)


def test_patience_without_the_best_epoch_is_refused():
    with pytest.raises(errors.UserError, match="patience=2 needs keep_epoch: best"):
        config.load(task_config.FinetuneConfig, overrides=["train.patience=2"])
    best = ["train.patience=2", "train.keep_epoch=best"]
    assert config.load(task_config.FinetuneConfig, overrides=best).train.patience == 2


def test_a_run_of_fine_tuning_has_the_seed_of_its_first_trial():
    settings = config.load(task_config.FinetuneConfig, overrides=["train.seed=7"])
    assert settings.seed == 7


def test_the_files_of_fine_tuning_are_found_by_name(tmp_path, monkeypatch):
    stated = config.load(
        task_config.FinetuneConfig, str(ROOT / "configs/finetune/glue.yaml")
    )
    monkeypatch.chdir(tmp_path)
    for given in ("glue", "glue.yaml", "configs/finetune/glue", "finetune/glue.yaml"):
        assert config.load(task_config.FinetuneConfig, given) == stated
    with pytest.raises(
        errors.UserError,
        match=r"be named: debug, glue, squad, summaries, tagging, translation",
    ):
        config.load(task_config.FinetuneConfig, "large")
    assert config.named(task_config.ExportConfig) == {}
