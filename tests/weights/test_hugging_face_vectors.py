"""How sentence-transformers makes vectors is read, old forms and new, and written."""

import json

import golden
import pytest

from electra_tf import errors
from electra_tf.weights import (
    hugging_face,
    hugging_face_reader,
    hugging_face_vectors,
    opening,
)

OLD = "sentence_transformers.models."
NEW = "sentence_transformers.sentence_transformer.modules."


def write(folder, file, values):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def lay(folder, *steps, start=OLD, place="", pooling=None):
    paths = [place, *(f"{number}_{name}" for number, name in enumerate(steps, 1))]
    names = ["Transformer", *steps]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{start}{name}"}
        for i, (path, name) in enumerate(zip(paths, names, strict=True))
    ]
    write(folder, "modules.json", modules)
    if pooling is not None:
        write(folder, "1_Pooling/config.json", pooling)


def test_a_folder_without_modules_says_nothing(tmp_path):
    assert hugging_face_vectors.read(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("pooling", "want"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            "max+mean",
        ),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls", "mean"]}, "cls+mean"),
        ({"word_embedding_dimension": 12}, "mean"),
    ],
)
def test_pooling_is_read_in_old_words_and_in_new(pooling, want, tmp_path):
    for start, steps in (
        (OLD, ["Pooling"]),
        (NEW, ["Pooling", "Dropout", "Normalize"]),
    ):
        lay(tmp_path, *steps, start=start, pooling=pooling)
        found = hugging_face_vectors.read(str(tmp_path))
        assert found == hugging_face_vectors.Recipe(want, len(steps) > 1, None)


def test_the_longest_row_is_the_stated_one_else_the_tokenizers(tmp_path):
    lay(tmp_path, "Pooling", "Dense", pooling={})
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 10**30})
    assert hugging_face_vectors.read(str(tmp_path)).max_tokens is None
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 128})
    write(tmp_path, "sentence_bert_config.json", {"do_lower_case": True})
    told = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    write(tmp_path, "config_sentence_transformers.json", told)
    found = hugging_face_vectors.read(str(tmp_path))
    assert found == ("mean", False, 128, ("Dense",), True, "query: ")
    (note,) = hugging_face_vectors.notes(found)
    assert note == "its prompt 'query: ' is left out: put it before each text"
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 64})
    assert hugging_face_vectors.read(str(tmp_path)).max_tokens == 64


def test_what_is_written_is_read(tmp_path):
    for recipe in (
        hugging_face_vectors.Recipe("mean", True, 256),
        hugging_face_vectors.Recipe("cls", False, None),
    ):
        hugging_face_vectors.write(str(tmp_path), recipe, 12)
        assert hugging_face_vectors.read(str(tmp_path)) == recipe
    assert not (tmp_path / "2_Normalize").exists()  # Its step has no files.


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([{"path": "../other", "type": "a.Transformer"}], "path is '../other'; want"),
        ([{"path": "..", "type": "a.Transformer"}], "path is '..'; want"),
        ([{"path": "/", "type": "a.Pooling"}], "path is '/'; want"),
        ([{"path": ""}], "modules.json"),
        ({"a": 1}, "modules.json"),
        ([{"path": "1", "type": "a.Pooling"}], "cannot read .*1/config.json"),
    ],
)
def test_damage_is_refused_in_one_line(modules, message, tmp_path):
    write(tmp_path, "modules.json", modules)
    with pytest.raises(errors.UserError, match=message) as error:
        hugging_face_vectors.read(str(tmp_path))
    assert "\n" not in str(error.value)
    (tmp_path / "modules.json").write_text("[" * 10**5)
    with pytest.raises(errors.UserError, match="is not JSON"):
        hugging_face_vectors.read(str(tmp_path))
    assert hugging_face_vectors.network_folder(str(tmp_path)) == str(tmp_path)


def test_a_directory_of_an_early_version_is_opened_where_its_network_is(copy, tmp_path):
    copy("bert", "all/0_Transformer")
    folder = tmp_path / "all"
    assert hugging_face.has_weights(str(folder))
    lay(folder, "Pooling", place="0_Transformer", pooling={})
    write(folder, "0_Transformer/sentence_bert_config.json", {"max_seq_length": 9})
    found = opening.open_pretrained(str(folder))
    assert (found.folder, list(found.networks)) == (str(folder), ["encoder"])
    assert found.vectors == ("mean", False, 9, (), False, None)


def test_texts_are_lower_cased_before_a_tokenizer_that_does_not(copy):
    folder = copy("generator")  # Its tokenizer is cased.
    lay(folder, "Pooling", pooling={})
    for lower in (False, True):
        write(folder, "sentence_bert_config.json", {"do_lower_case": lower})
        found = hugging_face_reader.open_directory(str(folder))
        assert found.tokenizer.lowercase == lower
        assert not found.tokenizer.strip_accents
    assert golden.network_in(golden.GOLDEN / "generator")[0].vectors is None
