import json

import pytest

from electra_tf import config, errors, models, preset, pretrained

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
MODEL = config.ModelConfig(
    vocab_size=len(VOCAB),
    embedding_size=5,
    hidden_size=4,
    num_layers=1,
    num_heads=2,
    intermediate_size=7,
    max_positions=9,
)


@pytest.fixture
def save(tmp_path):
    def save(name):
        preset.save(
            str(tmp_path / name),
            {"encoder": models.build_encoder(MODEL)},
            {"encoder": MODEL},
            VOCAB,
            config.TokenizerConfig(),
            {"steps": 3},
        )
        return str(tmp_path / name)

    return save


def test_a_preset_is_opened_by_its_folder_or_by_its_workdir(save, tmp_path):
    folder = save("run/preset")
    for path in (folder, str(tmp_path / "run")):
        found = pretrained.open_pretrained(path)
        assert (found.folder, found.origin) == (folder, {"steps": 3})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "gone: nothing is there; want a workdir or preset"),
        ("empty", "empty: none of these; want a workdir or preset"),
        ("other", "other.*bert"),
        ("half", "half/preset/config.json is not JSON"),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "half" / "preset").mkdir(parents=True)
    (tmp_path / "half" / "preset" / "config.json").write_text("{")
    (tmp_path / "half" / "preset" / "encoder.weights.h5").write_text("")
    with pytest.raises(errors.UserError, match=message) as error:
        pretrained.open_pretrained(str(tmp_path / name))
    assert "\n" not in str(error.value)
