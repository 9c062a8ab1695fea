"""Hugging Face directories are written: the same bits, and nothing left behind."""

import json
import os
import resource
import shutil
import subprocess

import disk
import golden
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.text import tokenizer
from electra_tf.weights import (
    hugging_face,
    hugging_face_reader,
    hugging_face_writer,
    model_card,
    preset,
    weight_map,
)


def test_it_is_on_the_disk_when_it_is_saved(save, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    watched.assert_holds(save(tmp_path / "hub/out"))
    watched.assert_holds(tmp_path / "hub")


# The same bits.


@pytest.mark.parametrize("model", golden.MODELS)
def test_from_there_to_here_and_back_no_bit_changes(model, tmp_path):
    found, name, network = golden.network_in(golden.GOLDEN / model)
    architecture = found.networks[name]
    tensors = dict(
        weight_map.extract(
            weight_map.variables(network),
            weight_map.rows(name, architecture),
            "hugging_face",
        )
    )
    hugging_face_writer.write_directory(
        str(tmp_path / "new"),
        found.head or name,
        architecture,
        (tensors | found.read_head()).items(),
        found.vocab,
        found.tokenizer,
        {},
        label_names=found.label_names,
        problem_type=found.problem_type,
        dropout=found.dropout if found.head else None,
    )
    before, after = (
        golden.tensors_of(golden.GOLDEN / model),
        golden.tensors_of(tmp_path / "new"),
    )
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, strict=True)
    again = hugging_face_reader.open_directory(str(tmp_path / "new"))
    parts = ("networks", "vocab", "tokenizer", "head", "label_names")
    for part in (*parts, "problem_type", "dropout"):
        assert getattr(again, part) == getattr(found, part)
    theirs = json.loads((golden.GOLDEN / model / "config.json").read_text())
    ours = json.loads((tmp_path / "new/config.json").read_text())
    told_by_the_file = {"dtype", "transformers_version", "bos_token_id", "eos_token_id"}
    assert not theirs.keys() - ours.keys() - told_by_the_file
    assert {key: ours[key] for key in theirs.keys() - told_by_the_file} == {
        key: value for key, value in theirs.items() if key not in told_by_the_file
    }


def test_from_here_to_there_and_back_no_bit_changes(save, networks, vocab, tmp_path):
    found = hugging_face_reader.open_directory(str(save(tmp_path / "both")))
    assert found.networks == golden.CONFIGS
    assert (found.vocab, found.tokenizer, found.origin) == (
        vocab,
        golden.RULES,
        golden.ORIGIN,
    )
    for name, network in networks.items():
        built = weight_map.variables(preset.build(found, name))
        for path, value in weight_map.variables(network).items():
            np.testing.assert_array_equal(built[path].numpy(), value.numpy())


def test_two_networks_have_a_folder_each_and_one_has_none(save, tmp_path):
    files = ["README.md", "SHA256SUMS", "config.json", "model.safetensors"]
    files += ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    save(tmp_path / "both")
    assert sorted(os.listdir(tmp_path / "both")) == [
        "README.md",
        "discriminator",
        "generator",
    ]
    assert sorted(os.listdir(tmp_path / "both/generator")) == files
    save(tmp_path / "one", "generator")
    assert sorted(os.listdir(tmp_path / "one")) == files
    one = hugging_face_reader.open_directory(str(tmp_path / "one"))
    assert one.networks == {"generator": golden.CONFIGS["generator"]}


# What is there already.


def test_what_was_written_here_is_replaced_whole(save, tmp_path):
    save(tmp_path / "out")
    save(tmp_path / "out", "discriminator", origin={"steps": 8}, vocab=None)
    found = hugging_face_reader.open_directory(str(tmp_path / "out"))
    assert (list(found.networks), found.vocab) == (["discriminator"], None)
    assert found.origin == {"steps": 8}
    assert os.listdir(tmp_path) == ["out"]


def test_what_was_not_written_here_is_left_alone(save, copy, tmp_path):
    words = tmp_path / "words"
    words.mkdir()
    shutil.copy(golden.GOLDEN / "vocab.txt", words)
    mixed = save(tmp_path / "mixed")
    (mixed / "generator/notes.txt").write_text("mine")
    for folder in (copy("encoder"), words, mixed, tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(errors.UserError, match="is there and no preset"):
            save(folder)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_card_that_somebody_wrote_stays(save, tmp_path):
    out = save(tmp_path / "out")
    (out / "generator/README.md").write_text("# By hand\n")
    save(out, origin={"steps": 1234})
    assert (out / "generator/README.md").read_text() == "# By hand\n"
    assert "1,234 steps" in (out / "discriminator/README.md").read_text()
    assert "1,234 steps" in (out / "README.md").read_text()


def test_a_write_that_fails_leaves_the_old_one(save, vocab, tmp_path):
    save(tmp_path / "out", "discriminator")

    def arrays():
        yield "a", np.zeros(3, np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(errors.UserError, match="No space left on device; free some"):
        hugging_face_writer.write_directory(
            str(tmp_path / "out"),
            "encoder",
            golden.CONFIG,
            arrays(),
            vocab,
            golden.RULES,
            {},
        )
    assert (
        hugging_face_reader.open_directory(str(tmp_path / "out")).origin
        == golden.ORIGIN
    )
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_is_told_in_one_line(save, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(errors.UserError, match=r"out: File too large; free some"):
            save(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_is_named(save, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UserError, match=r"cannot write .*/out: Not a direc"):
        save(tmp_path / "file" / "out")


def test_all_may_read_what_was_written(save, tmp_path):
    out = save(tmp_path / "out", "generator")
    modes = {file.stat().st_mode for file in out.iterdir()}
    assert len(modes) == 1
    assert modes.pop() & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_generator_that_transformers_cannot_compute_is_refused(networks, tmp_path):
    relu = golden.CONFIGS["generator"].model_copy(update={"activation": "relu"})
    with pytest.raises(errors.UserError, match="activation=relu has no equal"):
        hugging_face_writer.save_networks(
            str(tmp_path / "out"),
            networks,
            golden.CONFIGS | {"generator": relu},
            None,
            golden.RULES,
            {},
        )
    assert os.listdir(tmp_path) == []


PEER = """
import json, sys
import numpy as np, torch, transformers
folder, request = sys.argv[1:]
request = json.load(open(request))
ids = {key: torch.tensor(value) for key, value in request["fields"].items()}
answer, arrays = {}, {}
for name, (place, architecture) in request["models"].items():
    auto = getattr(transformers, architecture)
    model, info = auto.from_pretrained(f"{folder}/{place}", output_loading_info=True)
    fed = dict(ids)
    if name == "multiple_choice":
        fed = {key: value.reshape(2, 2, -1) for key, value in fed.items()}
    with torch.no_grad():
        output = model.eval()(**fed, output_hidden_states=True)
    arrays[f"{name}/hidden"] = output.hidden_states[-1].numpy()
    if name == "question_answering":
        logits = torch.stack([output.start_logits, output.end_logits], -1)
        arrays[f"{name}/logits"] = logits.numpy()
    elif name != "encoder":
        arrays[f"{name}/logits"] = output.logits.numpy()
    words = transformers.AutoTokenizer.from_pretrained(f"{folder}/{place}")
    encoded = [words(text)["input_ids"] for text in request["texts"]]
    pair = words("the cat", "a dog")
    answer[name] = {
        "info": {key: sorted(map(str, value)) for key, value in info.items()},
        "class": type(model).__name__,
        "ids": encoded,
        "pair": [pair["input_ids"], pair["token_type_ids"]],
        "mask": words.mask_token_id,
        "labels": {str(k): v for k, v in model.config.id2label.items()},
        "max_length": words.model_max_length,
    }
np.savez(f"{folder}/peer.npz", **arrays)
json.dump(answer, open(f"{folder}/peer.json", "w"))
"""
AUTO = {
    "encoder": "AutoModel",
    "discriminator": "AutoModelForPreTraining",
    "generator": "AutoModelForMaskedLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
    "multiple_choice": "AutoModelForMultipleChoice",
}


@pytest.fixture
def peer():
    python = os.environ.get("ELECTRA_TF_PEER_PYTHON")
    if not python:
        pytest.skip("ELECTRA_TF_PEER_PYTHON names no Python with transformers")

    def ask(folder, request):
        (folder / "request.json").write_text(json.dumps(request))
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        environment.pop("PYTHONPATH", None)
        process = subprocess.run(
            [python, "-c", PEER, str(folder), str(folder / "request.json")],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert process.returncode == 0, process.stderr[-3000:]
        answer = json.loads((folder / "peer.json").read_text())
        with np.load(folder / "peer.npz") as file:
            return answer, dict(file)

    return ask


@pytest.mark.parity
@pytest.mark.parametrize(
    ("activation", "rules"),
    [
        ("gelu", golden.RULES),
        ("gelu_approximate", config.TokenizerConfig()),
        ("silu", config.TokenizerConfig(lowercase=True, strip_accents=False)),
    ],
)
def test_transformers_computes_the_same_from_what_we_write(
    save, vocab, outputs, peer, tmp_path, activation, rules
):
    model = golden.CONFIG.model_copy(update={"activation": activation})
    save(tmp_path / "both", tokenizer_config=rules)  # A generator has gelu.
    discriminator = golden.draw("discriminator", model)
    save_one(tmp_path / "discriminator", discriminator, model, vocab, rules)
    encoder = golden.draw("encoder", model)
    save_one(tmp_path / "encoder", encoder, model, vocab, rules)
    labels = ["LOC", "PER", "two words", "\u00fcn\u00efcode"]
    for head in hugging_face.HEADS:
        arrays = weight_map.extract(
            weight_map.variables(encoder),
            weight_map.rows("encoder", model),
            "hugging_face",
        )
        named = head in hugging_face.CLASSIFIERS
        hugging_face_writer.write_directory(
            str(tmp_path / head),
            head,
            model,
            (dict(arrays) | golden.head_arrays(head)).items(),
            vocab,
            rules,
            {},
            label_names=labels if named else None,
        )
    places = {name: name for name in AUTO} | {"generator": "both/generator"}
    fields = {
        name: outputs[name].tolist()
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    models = {name: (places[name], AUTO[name]) for name in AUTO}
    request = {"fields": fields, "models": models, "texts": golden.TEXTS}
    answer, theirs = peer(tmp_path, request)
    special_ids = [vocab.index("[CLS]"), vocab.index("[SEP]")]
    encode = tokenizer.Encoder(vocab, rules).encode
    real = outputs["attention_mask"] > 0
    worst = 0.0
    for name, said in answer.items():
        assert not any(said["info"].values()), f"{name}: {said['info']}"
        assert said["class"] == model_card.CLASSES[name]
        found, network_name, network = golden.network_in(tmp_path / places[name])
        hidden, logits = golden.run(network_name, network, outputs)
        if found.head:
            logits = golden.apply_head(found.head, found.read_head(), hidden)
        pairs = [(hidden[real], theirs[f"{name}/hidden"].reshape(hidden.shape)[real])]
        if logits is not None:
            pairs.append((logits, theirs[f"{name}/logits"]))
            if logits.shape[:2] == real.shape:
                pairs[1] = pairs[1][0][real], pairs[1][1][real]
        for ours, want in pairs:
            worst = max(worst, float(np.abs(ours - want).max()))
        for text, ids in zip(golden.TEXTS, said["ids"], strict=True):
            assert ids == [special_ids[0], *encode(text), special_ids[1]], text
        assert said["pair"][1] == [0] * 4 + [1] * 3
        assert said["mask"] == vocab.index("[MASK]")
        assert said["max_length"] == golden.CONFIG.max_positions
        if found.label_names:
            assert said["labels"] == {str(i): x for i, x in enumerate(labels)}
    assert worst < golden.TOLERANCE


def save_one(folder, network, model, vocab, rules):
    hugging_face_writer.save_networks(
        str(folder), {network.name: network}, {network.name: model}, vocab, rules, {}
    )
