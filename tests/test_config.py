import re
import sys
from pathlib import Path

import momentum
import pydantic
import pytest
import yaml

from electra_tf import config, errors
from electra_tf.finetuning import task_config

ROOT = Path(__file__).resolve().parent.parent


def write(folder, text):
    file = folder / "run.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def load(*overrides, file=None):
    return config.load(config.PretrainConfig, file, overrides)


def refusal(*overrides, file=None):
    """Returns the one line with which settings are refused."""
    with pytest.raises(errors.UserError) as caught:
        load(*overrides, file=file)
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(settings, prefix=""):
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, config.Settings):
            yield from names(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# Precedence.


def test_the_file_overrides_the_defaults_and_set_the_file(tmp_path):
    file = write(tmp_path, "train: {steps: 20_000, batch_size: 24}")
    settings = load("train.steps=30_000", file=file)
    assert settings.train.steps == 30_000
    assert settings.train.batch_size == 24
    assert settings.train.precision == config.TrainConfig().precision


def test_of_two_sets_the_last_counts():
    assert load("train.batch_size=6", "train.batch_size=10").train.batch_size == 10


def test_settings_are_checked_after_all_are_merged(tmp_path):
    file = write(tmp_path, "train: {steps: 50}")  # Below the default warm-up.
    assert "warmup_steps (10000) must be below steps (50)" in refusal(file=file)
    assert load("train.warmup_steps=5", file=file).train.warmup_steps == 5


def test_an_empty_file_means_the_defaults(tmp_path):
    assert load(file=write(tmp_path, "# nothing yet\n")) == config.PretrainConfig()


def test_settings_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        load().train.steps = 5


# What YAML makes of a value.


@pytest.mark.parametrize(
    ("text", "number"),
    [("5e-4", 5e-4), ("5E-4", 5e-4), ("1.5e-3", 1.5e-3), (".5", 0.5), ("1", 1.0)],
)
def test_a_rate_may_be_written_in_every_usual_way(text, number, tmp_path):
    file = write(tmp_path, f"train: {{learning_rate: {text}}}")
    assert load(file=file).train.learning_rate == number
    assert load(f"train.learning_rate={text}").train.learning_rate == number


@pytest.mark.parametrize("text", ["1e6", "1_000_000", "1000000", "1.0e+6"])
def test_a_count_may_be_written_in_every_usual_way(text):
    steps = load(f"train.steps={text}").train.steps
    assert (steps, type(steps)) == (1_000_000, int)


@pytest.mark.parametrize("setting", ["train.steps", "train.learning_rate", "run.keep"])
def test_a_bool_is_not_a_number(setting):
    message = refusal(f"{setting}=true")
    assert f"{setting}: want a number, got true" in message


def test_on_and_off_are_words():
    assert load("train.xla=off").train.xla == "off"
    assert load("train.xla=on").train.xla == "on"


def test_null_is_a_value_only_where_it_has_a_meaning():
    assert load("run.keep=null").run.keep is None
    assert "train.steps=None" in refusal("train.steps=null")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.steps=0", "train.steps=0: input should be greater than 0"),
        ("train.steps=2.5", "train.steps=2.5: input should be a valid integer"),
        ("train.steps=many", "train.steps='many': input should be a valid integer"),
        ("train.learning_rate=.nan", "train.learning_rate=nan"),
        ("train.learning_rate=.inf", "train.learning_rate=inf"),
        ("data.mask_rate=15", "data.mask_rate=15: input should be less than or equal"),
        ("data.mask_rate=-0.1", "data.mask_rate=-0.1"),
        ("train.precision=float16", "'float32', 'mixed_bfloat16' or 'mixed_float16'"),
        ("train=5", "train=5: input should be a valid dictionary"),
    ],
)
def test_a_value_out_of_bounds_is_named(override, said):
    message = refusal(override)
    assert said in message
    assert message.startswith("--set: ")


# What is not a setting.


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("train.bach_size", "train.batch_size"),
        ("train.learning-rate", "train.learning_rate"),
        ("trian.steps", "train"),
        ("data.batch_size", "train.batch_size"),
        ("train.weight_decay", "optimizer.weight_decay"),
        ("optimizer.learning_rate", "train.learning_rate"),
        ("optimizer.beta1", "optimizer.beta_1"),
        (
            "optimizer.networks.generator.rate_scale",
            "optimizer.networks.generator.learning_rate_scale",
        ),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest(wrong, right):
    message = refusal(f"{wrong}=7")
    assert "no setting" in message
    assert f"did you mean {right}?" in message


def test_a_setting_like_no_other_points_to_the_list():
    assert "--print_config lists them all" in refusal("zzz=1")


def test_the_file_with_the_misspelt_setting_is_named(tmp_path):
    file = write(tmp_path, "train: {bach_size: 7}")
    assert refusal(file=file).startswith(f"{file}: no setting train.bach_size")
    message = refusal("train.seed=1", file=file)
    assert message.startswith(f"{file} and --set: no setting train.bach_size")


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = write(tmp_path, "train:\n  steps: 20\n  seed: 1\n  steps: 30\n")
    message = refusal(file=file)
    assert "'steps' stands twice" in message
    assert file in message


@pytest.mark.parametrize("text", ["train: [", "- 1\n- 2", "train", "\tsteps: 1"])
def test_a_file_that_holds_no_settings_is_refused(text, tmp_path):
    file = write(tmp_path, text)
    assert file in refusal(file=file)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_bytes(b"train: \xff\xfe")
    assert str(file) in refusal(file=str(file))


def test_a_missing_file_is_named(tmp_path):
    file = str(tmp_path / "none.yaml")
    assert (
        refusal(file=file) == f"cannot read settings {file}: No such file or directory"
    )


@pytest.mark.parametrize("override", ["train.steps", "=5", "", "train.steps=[1"])
def test_a_set_that_is_no_assignment_is_refused(override):
    assert f"--set {override}" in refusal(override)


# A section that is chosen by its name.


@pytest.mark.parametrize("section", ["objective", "optimizer"])
def test_a_name_that_there_is_not_is_refused_when_settings_are_read(section):
    kinds = config.PretrainConfig.model_fields[section].annotation.KINDS
    known = ", ".join(kinds)
    for name, hint in (
        (f"{next(iter(kinds))}x", f"did you mean {next(iter(kinds))}?"),
        ("zz", "it is none of these"),
    ):
        assert refusal(f"{section}.name={name}") == (
            f"--set: {section}.name={name!r}: {hint} want one of {known}, or a class "
            "of your own, my_package.my_module:MyClass"
        )
    assert f"{section}.name=5: input should be a valid string" in refusal(
        f"{section}.name=5"
    )


MOMENTUM = "optimizer.name=momentum:Momentum"


def test_a_name_decides_which_settings_there_are(tmp_path):
    settings = load(MOMENTUM, "optimizer.beta=0.25")
    assert settings.optimizer == momentum.MomentumConfig(
        name="momentum:Momentum", beta=0.25
    )
    for written in (config.dump, config.describe):
        assert load(file=write(tmp_path, written(settings))) == settings
    message = refusal(MOMENTUM, "optimizer.betta=0.1")
    assert "no setting optimizer.betta; did you mean optimizer.beta?" in message
    assert config.differences(load(), settings) == {
        "optimizer.name": ("adamw", "momentum:Momentum"),
        "optimizer.beta": (0.5, 0.25),
    }


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("optimizer.name=momentum:Momentum", "epsilon"),
        ("objective.name=mlm", "rtd_weight"),
    ],
)
def test_a_setting_of_another_name_is_refused_with_what_there_is(name, wrong):
    section, _, chosen = name.partition(".name=")
    message = refusal(name, f"{section}.{wrong}=0.5")
    assert f"{name} has no {wrong}; it has " in message
    way_out = message.partition("--set ")[2].partition(" states")[0].replace("'", "")
    assert way_out == f"{section}={{name: {chosen}}}"
    assert getattr(load(way_out), section).name == chosen


# What contradicts itself.


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.num_heads=3"], "num_heads (3) must divide hidden_size (256)"),
        (
            ["data.example_tokens=129"],
            "example_tokens (129) must not exceed row_tokens",
        ),
        (
            ["data.example_tokens=600", "data.row_tokens=600"],
            "data.example_tokens (600) exceeds the position table, "
            "model.max_positions (512)",
        ),
        (
            ["train.accumulation_steps=3"],
            "accumulation_steps (3) must divide batch_size",
        ),
        (["train.warmup_steps=1e6"], "warmup_steps (1000000) must be below steps"),
        (
            ["model.hidden_dropout_rate=1.0"],
            "hidden_dropout_rate (1.0) must be below 1",
        ),
        (
            ["model.hidden_size=772", "generator.width_scale=0.25"],
            "gives a generator 193 wide, which 3 heads do not divide",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides, said):
    assert said in refusal(*overrides)


def test_rows_may_be_longer_than_the_position_table():
    settings = load("data.row_tokens=1024", "data.example_tokens=512")
    assert settings.data.row_tokens > settings.model.max_positions


# Writing settings and reading them back.

UNUSUAL = [
    "train.init_from='runs/a b: c # d'",
    "data.vocab=on",
    "run.keep=null",
    "model.layer_norm_epsilon=1e-12",
    "train.learning_rate=3e-5",
    "objective.disallow_correct=true",
    "optimizer.networks.generator.learning_rate_scale=0.5",
]


@pytest.mark.parametrize("written", [config.dump, config.describe])
def test_written_settings_read_back_the_same(written, tmp_path):
    settings = load(*UNUSUAL)
    assert settings != config.PretrainConfig()
    assert load(file=write(tmp_path, written(settings))) == settings


def test_the_description_explains_every_setting():
    described = config.describe(config.PretrainConfig()).splitlines()
    sections = len(config.PretrainConfig.model_fields)
    explained = [line for line in described if "  # " in line]
    assert len(explained) == len(list(names(config.PretrainConfig())))
    assert len(described) == len(explained) + sections


@pytest.mark.parametrize(
    "kind",
    [
        config.PretrainConfig,
        task_config.FinetuneConfig,
        config.BuildDataConfig,
        task_config.ExportConfig,
    ],
)
def test_a_description_stands_alone(kind):
    """It begins with what the setting is, not in the middle of a sentence."""
    for line in config.describe(kind()).splitlines():
        description = line.partition("  # ")[2]
        assert not re.match(r"(Of|That|To which|On|In) ", description), line


@pytest.mark.parametrize("kind", [config.PretrainConfig, config.BuildDataConfig])
def test_the_defaults_of_every_command_are_valid(kind):
    assert kind.model_validate(yaml.safe_load(config.dump(kind()))) == kind()


def test_differences_name_the_setting_the_old_and_the_new():
    new = load("train.steps=20", "train.warmup_steps=3", "model.num_layers=5")
    assert config.differences(load(), new) == {
        "model.num_layers": (12, 5),
        "train.steps": (1_000_000, 20),
        "train.warmup_steps": (10_000, 3),
    }
    assert config.differences(new, new) == {}


# The published architectures (2020 code; paper, Table 6).


@pytest.mark.parametrize(
    ("name", "encoder", "generator", "data", "train"),
    [
        # embedding, width, blocks, heads, FFN | the same | L, P | steps, batch, rate
        (
            "small",
            (128, 256, 12, 4, 1024),
            (128, 64, 12, 1, 256),
            (128, 19),
            (1_000_000, 128, 5e-4),
        ),
        (
            "small_plus_plus",
            (128, 256, 12, 4, 1024),
            (128, 256, 12, 4, 1024),
            (512, 79),
            (4_000_000, 128, 5e-4),
        ),
        (
            "base",
            (768, 768, 12, 12, 3072),
            (768, 256, 12, 4, 1024),
            (512, 79),
            (766_000, 256, 2e-4),
        ),
        (
            "large",
            (1024, 1024, 24, 16, 4096),
            (1024, 256, 24, 4, 1024),
            (512, 130),
            (400_000, 2048, 2e-4),
        ),
    ],
)
def test_the_published_configs_are_as_published(name, encoder, generator, data, train):
    settings = load(file=f"configs/{name}.yaml")
    assert shape(settings.model) == encoder
    assert shape(settings.generator.resolve(settings.model)) == generator
    assert (settings.data.row_tokens, settings.data.max_predictions) == data
    assert settings.data.example_tokens == settings.data.row_tokens
    found = settings.train
    assert (found.steps, found.batch_size, found.learning_rate) == train
    assert (found.warmup_steps, settings.optimizer.weight_decay) == (10_000, 0.01)
    assert (settings.model.vocab_size, settings.model.max_positions) == (30522, 512)


def shape(model):
    return (
        model.embedding_size,
        model.hidden_size,
        model.num_layers,
        model.num_heads,
        model.intermediate_size,
    )


def test_a_generator_with_its_own_embeddings_has_them_as_wide_as_itself():
    model = config.ModelConfig(embedding_size=30, hidden_size=256)
    own = config.GeneratorConfig(width_scale=0.5, shares="nothing")
    assert own.resolve(model).embedding_size == 128
    shared = config.GeneratorConfig(width_scale=0.5)
    assert shared.resolve(model).embedding_size == 30


def test_a_generator_may_be_shallower():
    model = config.ModelConfig(num_layers=12)
    assert config.GeneratorConfig(depth_scale=0.25).resolve(model).num_layers == 3
    assert config.GeneratorConfig(depth_scale=0.01).resolve(model).num_layers == 1


# Settings that have a name.


def test_settings_are_found_by_name_wherever_one_stands(tmp_path, monkeypatch):
    stated = load(file=str(ROOT / "configs/small.yaml"))
    monkeypatch.chdir(tmp_path)
    for given in ("small", "small.yaml", "configs/small.yaml"):
        assert load(file=given) == stated


def test_a_file_is_taken_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("train: {seed: 77}\n", encoding="utf-8")
    assert config.load(config.PretrainConfig, "small").train.seed == 77


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(
        errors.UserError,
        match=r"--config=smal: .* did you mean small\? .*: base, .*debug, ",
    ):
        config.load(config.PretrainConfig, "smal")
    assert config.named(config.BuildDataConfig) == {}


def test_an_installation_has_its_settings_in_the_package(tmp_path, monkeypatch):
    package = tmp_path / "electra_tf"
    (package / "configs").mkdir(parents=True)
    (package / "configs/own.yaml").touch()
    monkeypatch.setattr(config, "__file__", str(package / "config.py"))
    assert config.named(config.PretrainConfig).keys() == {"own"}


# Objectives.


def test_an_objective_has_the_settings_of_its_name(tmp_path):
    found = load("objective.name=mlm", "objective.mlm_weight=2")
    assert found.objective == config.MlmConfig(name="mlm", mlm_weight=2.0)
    assert load().objective == config.ElectraConfig()
    assert load("objective.rtd_weight=3").objective.rtd_weight == 3.0
    described = config.describe(found)
    assert "  mlm_weight: 2.0  # Weight of its loss." in described
    assert "rtd_weight" not in described
    file = write(tmp_path, config.dump(found))
    assert load(file=file) == found


def test_an_unknown_objective_is_refused_when_settings_are_read():
    message = refusal("objective.name=elektra")
    assert "objective.name='elektra': did you mean electra? want one of e" in message
    assert "objective.name=3: input should be a valid string" in refusal(
        "objective.name=3"
    )
    assert "objective=3: input should be" in refusal("objective=3")


def test_a_setting_of_another_objective_is_refused_and_the_way_out_works(tmp_path):
    file = write(tmp_path, "objective: {rtd_weight: 10.0, temperature: 2.0}")
    message = refusal("objective.name=mlm", file=file)
    assert (
        "objective.name=mlm has no rtd_weight, temperature; it has name, ml" in message
    )
    way_out = re.search(r"--set objective='(.*?)'", message)[1]
    assert load(f"objective={way_out}", file=file).objective == config.MlmConfig(
        name="mlm"
    )


def test_a_misspelt_setting_of_an_objective_is_refused_with_the_nearest():
    hint = "objective.mlm_wieght; did you mean objective.mlm_weight?"
    assert hint in refusal("objective.name=mlm", "objective.mlm_wieght=3")
    assert "did you mean objective.rtd_weight?" in refusal("rtd_weight=3")


OWN = """
from electra_tf import config

class Mine:
    class Settings(config.ObjectiveConfig):
        share: config.Rate = 0.5

class Bare:
    pass
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Puts a module where Python finds it; returns what its classes are named by."""
    package = tmp_path / "package_of_mine"
    package.mkdir()
    for name, text in (
        ("good", OWN),
        ("raises", "raise RuntimeError('no\\nluck')"),
        ("broken", "def ("),
        ("lacks", "import package_that_nobody_has"),
    ):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "objective.name=package_of_mine."
    for name in [name for name in sys.modules if name.startswith("package_of_mine")]:
        del sys.modules[name]


def test_an_objective_of_ones_own_has_settings_of_its_own(own, tmp_path):
    found = load(f"{own}good:Mine", "objective.share=0.25")
    assert found.objective.share == 0.25
    assert found.objective.name == "package_of_mine.good:Mine"
    assert "no setting objective.shore; did you mean objective.share?" in refusal(
        f"{own}good:Mine", "objective.shore=0.25"
    )
    assert "objective.share=2: input should be less than" in refusal(
        f"{own}good:Mine", "objective.share=2"
    )
    assert load(file=write(tmp_path, config.dump(found))) == found
    changed = config.differences(config.PretrainConfig(), found)
    name = "package_of_mine.good:Mine"
    assert changed == {
        "objective.name": ("electra", name),
        "objective.share": (0.5, 0.25),
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("good:Main", "package_of_mine.good has no 'Main'; did you mean Mine?"),
        ("good:Bare", "good:Bare: it has no class of settings; derive it from "),
        ("gone:Mine", "there is no module package_of_mine.gone; name one of this fold"),
        ("lacks:Mine", "there is no module package_that_nobody_has; name one"),
        (
            "raises:Mine",
            "importing package_of_mine.raises fails: RuntimeError: no luck",
        ),
        ("broken:Mine", "importing package_of_mine.broken fails: SyntaxError: "),
    ],
)
def test_what_is_no_objective_of_ones_own_is_refused_in_one_line(name, said, own):
    assert said in refusal(f"{own}{name}")
