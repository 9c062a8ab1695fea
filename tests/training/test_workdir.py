"""A run's folder: opened afresh, taken up again, or refused."""

import os

import disk
import pytest
import yaml

from electra_tf import config, errors
from electra_tf.training import workdir

FACTS = {"vocabulary": "a1b2", "objective": "electra"}
SETTINGS = config.PretrainConfig(
    train=config.TrainConfig(steps=70, warmup_steps=9, seed=3)
)


def open_it(folder, settings=SETTINGS, facts=FACTS, is_chief=True):
    workdir.open_workdir(
        str(folder), settings, facts, is_chief=is_chief, devices=["/cpu:0"]
    )


def change(**sections):
    """Returns SETTINGS with other values in some sections."""
    changed = {
        name: getattr(SETTINGS, name).model_copy(update=values)
        for name, values in sections.items()
    }
    return SETTINGS.model_copy(update=changed)


@pytest.fixture
def begun(tmp_path):
    """The workdir of a run that saved a checkpoint."""
    folder = tmp_path / "run"
    open_it(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "ckpt-7.index").touch()
    return folder


def test_a_new_folder_gets_all_settings_and_how_it_started(tmp_path):
    open_it(tmp_path / "deep" / "run")
    folder = tmp_path / "deep" / "run"
    assert sorted(os.listdir(folder)) == ["config.yaml", "run.json"]
    assert config.load(config.PretrainConfig, str(folder / "config.yaml")) == SETTINGS
    run = workdir.read_run(str(folder))
    assert (run["seed"], run["facts"], run["devices"]) == (3, FACTS, ["/cpu:0"])
    assert {"python", "tensorflow", "keras", "numpy"} <= run["versions"].keys()
    assert len(run["sessions"]) == 1


def test_streams_are_those_stated_or_of_the_begun_run_or_the_usual_ones(tmp_path):
    folder = str(tmp_path)
    decided = workdir.with_streams(SETTINGS, folder, usual=2)
    assert (SETTINGS.streams, decided.train.streams) == ("auto", 2)
    open_it(folder, decided)
    # Until there is something to resume, another machine may choose.
    assert workdir.with_streams(SETTINGS, folder, usual=1).train.streams == 1
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/ckpt-5.index").touch()
    assert workdir.with_streams(SETTINGS, folder, usual=1) == decided
    stated = SETTINGS.with_streams(1)
    assert workdir.with_streams(stated, folder, usual=2) == stated
    with pytest.raises(errors.UserError, match=r"train\.streams was 2, now 1; put "):
        open_it(folder, stated)


def test_every_session_is_recorded_beside_the_first(begun):
    first = workdir.read_run(str(begun))
    open_it(begun, change(run={"log_every_steps": 3}))
    run = workdir.read_run(str(begun))
    assert len(run.pop("sessions")) == 2
    assert run == {name: value for name, value in first.items() if name != "sessions"}
    written = config.load(config.PretrainConfig, str(begun / "config.yaml"))
    assert written.run.log_every_steps == 3


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"steps": 80}}, "train.steps was 70, now 80; put"),
        ({"train": {"seed": 4}}, "train.seed was 3, now 4; put"),
        ({"data": {"mask_rate": 0.25}}, "data.mask_rate was 0.15, now 0.25; put"),
        (
            {"model": {"num_layers": 5}, "objective": {"name": "mlm"}},
            "model.num_layers was 12, now 5; objective.name was 'electra', now 'mlm'",
        ),
    ],
)
def test_another_setting_is_refused_with_its_name_and_both_values(
    begun, sections, message
):
    before = (begun / "config.yaml").read_bytes()
    with pytest.raises(errors.UserError) as error:
        open_it(begun, change(**sections))
    assert str(error.value).startswith(f"cannot resume {begun} with other settings: ")
    assert message in str(error.value)
    assert (begun / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "sections",
    [
        {"run": {"keep": None, "save_every_steps": 11}},
        {"train": {"steps_per_loop": 7, "xla": "on", "recompute": True}},
        {"data": {"records": "moved/elsewhere"}},
    ],
)
def test_what_changes_no_number_may_change(begun, sections):
    changed = change(**sections)
    open_it(begun, changed)
    assert config.load(config.PretrainConfig, str(begun / "config.yaml")) == changed


def test_other_data_are_refused(begun):
    with pytest.raises(errors.UserError, match=r": vocabulary was a1b2, now c3d4; use"):
        open_it(begun, facts=FACTS | {"vocabulary": "c3d4"})


def test_why_the_data_are_others_is_told_along(tmp_path, begun):
    facts = FACTS | {"records": "7c", "tokenizer.lowercase": True, "corpus": "texts"}
    facts |= {"tokenizer.added_tokens": ()}  # JSON has no tuples.
    open_it(begun, facts=facts)  # A run of an earlier version has none of these yet.
    open_it(begun, facts=facts | {"corpus": "the same texts elsewhere"})
    assert workdir.read_run(str(begun))["facts"] == facts | {
        "tokenizer.added_tokens": []
    }
    with pytest.raises(errors.UserError) as error:
        open_it(
            begun,
            facts=facts
            | {"records": "8d", "tokenizer.lowercase": False, "corpus": "letters"},
        )
    assert (
        "records was 7c, now 8d; tokenizer.lowercase was True, now False; corpus was "
        "texts, now letters; use what it was started with, or a new --workdir"
    ) in str(error.value)


def test_until_there_is_a_checkpoint_all_may_change(tmp_path):
    open_it(tmp_path / "run")
    open_it(tmp_path / "run", change(train={"steps": 80}), {"vocabulary": "c3d4"})
    assert workdir.read_run(str(tmp_path / "run"))["facts"] == {"vocabulary": "c3d4"}
    assert len(workdir.read_run(str(tmp_path / "run"))["sessions"]) == 1


@pytest.mark.parametrize("is_chief", [True, False])
def test_a_run_that_must_not_be_resumed_is_refused_on_every_worker(begun, is_chief):
    with pytest.raises(errors.UserError, match="cannot resume"):
        open_it(begun, change(train={"seed": 4}), is_chief=is_chief)


def test_a_folder_of_something_else_is_refused_untouched(tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(errors.UserError, match=r"something else than a run \(letters"):
        open_it(tmp_path)
    assert os.listdir(tmp_path) == ["letters"]


def test_settings_of_something_else_are_refused_untouched(tmp_path):
    (tmp_path / "config.yaml").write_text("colour: blue\n")
    with pytest.raises(errors.UserError, match=r"config.yaml: no setting colour"):
        open_it(tmp_path)
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_what_a_kill_left_of_the_first_moment_is_taken_over(tmp_path):
    for name in (".run.json.partial", "run.json", ".config.yaml.partial"):
        (tmp_path / name).write_text("{}")
    open_it(tmp_path)
    assert config.load(config.PretrainConfig, str(tmp_path / "config.yaml")) == SETTINGS


def test_workers_that_are_not_the_chief_write_nothing(tmp_path):
    open_it(tmp_path / "run", is_chief=False)
    assert os.listdir(tmp_path) == []


def test_a_worker_does_not_mind_what_the_chief_is_just_writing(tmp_path):
    for name in (".lock", "run.json", ".config.yaml.partial", "metrics.jsonl"):
        (tmp_path / name).touch()
    before = sorted(os.listdir(tmp_path))
    open_it(tmp_path, is_chief=False)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match=r"run: Not a directory; name a folder"):
        open_it(tmp_path / "file" / "run")


def test_a_folder_that_cannot_be_written_is_named():
    # Not even root writes there.
    with pytest.raises(errors.UserError, match=r"cannot write --workdir=/proc/run: "):
        open_it("/proc/run")


DAMAGE = {
    "emptied": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut short": lambda data: data[: len(data) // 2],
    "cut short between two lines": lambda data: data[: data.index(b"train:")],
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("is_chief", [True, False])
def test_damaged_settings_are_named_and_the_way_out_works(begun, how, is_chief):
    file = begun / "config.yaml"
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    with pytest.raises(errors.UserError, match=r"config.yaml is damaged .*; delete it"):
        open_it(begun, is_chief=is_chief)
    file.unlink()
    open_it(begun)
    assert config.load(config.PretrainConfig, str(file)) == SETTINGS
    with pytest.raises(errors.UserError, match="cannot resume"):
        open_it(begun, facts=FACTS | {"vocabulary": "c3d4"})


def test_settings_that_an_objective_has_no_more_are_named_and_the_way_out_works(begun):
    file = begun / "config.yaml"
    now = config.load(config.PretrainConfig, str(file), ["objective={name: mlm}"])
    values = now.model_dump()
    values["objective"] |= {"rtd_weight": 50.0, "temperature": 1.0}
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(errors.UserError) as told:
        open_it(begun, settings=now)
    said = str(told.value)
    assert "has no setting objective.rtd_weight, objective.temperature; take" in said
    assert "\n" not in said
    values["objective"] = {"name": "mlm", "mlm_weight": 1.0}
    file.write_text(yaml.safe_dump(values))
    open_it(begun, settings=now)


@pytest.mark.parametrize("how", ["emptied", "zeros", "cut short"])
def test_a_damaged_run_json_is_named_and_the_way_out_works(begun, how):
    file = begun / "run.json"
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    with pytest.raises(errors.UserError, match=r"run.json is not JSON: .*; delete it"):
        open_it(begun)
    file.unlink()
    open_it(begun)
    assert workdir.read_run(str(begun))["facts"] == FACTS


def test_before_there_is_a_checkpoint_a_damaged_run_begins_anew(tmp_path):
    open_it(tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").touch()
    for name in ("config.yaml", "run.json"):
        (tmp_path / "run" / name).write_bytes(b"")
    open_it(tmp_path / "run")
    file = tmp_path / "run/config.yaml"
    assert config.load(config.PretrainConfig, str(file)) == SETTINGS


def test_what_it_writes_is_on_the_disk(tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    open_it(tmp_path / "deep/run")
    watched.assert_holds(tmp_path / "deep")


def test_a_second_run_is_refused_by_name_and_workers_are_not(tmp_path):
    folder = str(tmp_path / "run")

    def enter(is_chief=True):
        return workdir.opened(folder, SETTINGS, FACTS, is_chief=is_chief, devices=[])

    with enter():
        with pytest.raises(
            errors.UserError, match=rf"run is being .*pid {os.getpid()}"
        ):
            enter().__enter__()
        with enter(is_chief=False):
            pass
        assert sorted(os.listdir(folder)) == [".lock", "config.yaml", "run.json"]
    with enter():
        pass
    assert sorted(os.listdir(folder)) == ["config.yaml", "run.json"]


def test_a_fact_that_json_spells_otherwise_is_the_same_fact(begun):
    facts = FACTS | {"tokenizer.added_tokens": ()}
    open_it(begun, facts=facts)
    open_it(begun, facts=facts)
    with pytest.raises(errors.UserError, match=r"added_tokens was \[\], now \['a'\]"):
        open_it(begun, facts=FACTS | {"tokenizer.added_tokens": ("a",)})
