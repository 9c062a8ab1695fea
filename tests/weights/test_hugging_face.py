"""Hugging Face directories: the same numbers, the same bits, and nothing unnoticed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import disk
import keras
import ml_dtypes
import numpy as np
import pytest
import tokenizers
from safetensors import numpy as safetensors
from scipy import special

from electra_tf import config, errors
from electra_tf.text import tokenizer
from electra_tf.weights import hugging_face, model_card, preset, weight_map

# Made by scripts/make_hugging_face_golden.py.
GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"
MODELS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
HEADS = sorted(hugging_face.HEADS)
TOLERANCE = 2e-5

# Sizes other than the golden ones, and all different.
CONFIG = config.ModelConfig(
    vocab_size=63,
    embedding_size=6,
    hidden_size=15,
    num_layers=3,
    num_heads=5,
    intermediate_size=22,
    max_positions=32,
    hidden_dropout_rate=0.25,
    layer_norm_epsilon=1e-9,
)
CONFIGS = {
    "discriminator": CONFIG,
    "generator": CONFIG.model_copy(
        update={"hidden_size": 8, "num_heads": 2, "intermediate_size": 32}
    ),
}
RULES = config.TokenizerConfig(lowercase=False, strip_accents=True, split_cjk=False)
TEXTS = [
    "the cat sat on the mat.",
    "The CAT, unbelievable! d\u00e9j\u00e0 vu \u4e2d\u6587 \U0001f600",
    "\u0130stanbul na\u00efve stra\u00dfe e\u0301\tq\u0000x 1,234.5 " + "a" * 101,
    "",
]
ORIGIN = {"steps": 7, "metrics": {"loss": 1.5}}


@pytest.fixture(scope="module")
def outputs():
    with np.load(GOLDEN / "outputs.npz") as file:
        return dict(file)


@pytest.fixture
def copy(tmp_path):
    """Copies a golden directory, to be changed."""

    def make(name, to="copy"):
        return Path(shutil.copytree(GOLDEN / name, tmp_path / to))

    return make


@pytest.fixture(scope="module")
def vocab(tiny_vocab):
    return tokenizer.read_vocab(tiny_vocab)


def draw(name, model, seed=5):
    """Builds a network whose weights are large, so that a wrong one shows."""
    network = preset.BUILDERS[name](model)
    chance = np.random.default_rng(seed)
    for path, weight in weight_map.variables(network).items():
        value = chance.normal(0, 0.2, weight.shape) + path.endswith("gamma")
        weight.assign(value.astype(np.float32))
    return network


@pytest.fixture(scope="module")
def networks(vocab):
    assert len(vocab) == CONFIG.vocab_size
    return {name: draw(name, CONFIGS[name]) for name in CONFIGS}


@pytest.fixture
def save(networks, vocab):
    def write(folder, *names, **changed):
        values = {"vocab": vocab, "tokenizer_config": RULES, "origin": ORIGIN}
        chosen = {name: networks[name] for name in names or networks}
        hugging_face.save_networks(str(folder), chosen, CONFIGS, **values | changed)
        return folder

    return write


def test_it_is_on_the_disk_when_it_is_saved(save, tmp_path, monkeypatch):
    watched = disk.Disk(monkeypatch)
    watched.assert_holds(save(tmp_path / "hub/out"))
    watched.assert_holds(tmp_path / "hub")


def test_a_bit_that_flips_is_noticed_before_the_file_is_used(save, tmp_path):
    save(tmp_path / "out")
    file = tmp_path / "out/generator/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 4
    file.write_bytes(data)
    with pytest.raises(errors.UserError, match=f"{file} is not what was written"):
        hugging_face.open_directory(str(tmp_path / "out"))


def head_arrays(head, hidden=CONFIG.hidden_size, labels=4, seed=6):
    chance = np.random.default_rng(seed)
    sizes = {"D": hidden, "N": labels}
    return {
        name: chance.normal(0, 0.2, [sizes.get(n, n) for n in shape]).astype(np.float32)
        for name, shape in hugging_face.HEADS[head].items()
    }


def inputs(fields):
    ids = fields["input_ids"]
    return {
        "token_ids": ids,
        "segment_ids": fields["token_type_ids"],
        "example_ids": fields["attention_mask"],
        "position_ids": np.broadcast_to(
            np.arange(ids.shape[1], dtype=np.int32), ids.shape
        ),
        "mask_positions": np.broadcast_to(
            np.arange(ids.shape[1], dtype=np.int32), ids.shape
        ),
    }


def run(name, network, fields):
    """Returns hidden states and logits (None of an encoder)."""
    heads = {"generator": "masked_token_head", "discriminator": "replaced_token_head"}
    fed = {key: value for key, value in inputs(fields).items() if key in network.input}
    if name == "encoder":
        return np.array(network(fed)), None
    inner = network.get_layer(heads[name]).input
    inner = inner[0] if isinstance(inner, list) else inner
    both = keras.Model(network.input, [inner, network.output])
    return tuple(np.array(value) for value in both(fed))


def apply_head(head, arrays, hidden):
    """Computes a head by numpy, as transformers does without dropout."""

    def dense(name, x):
        return x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def gelu(x):
        return x * special.ndtr(x)

    if head == "sequence_classification":
        return dense(
            "classifier.out_proj", gelu(dense("classifier.dense", hidden[:, 0]))
        )
    if head == "multiple_choice":
        summary = gelu(dense("sequence_summary.summary", hidden[:, 0]))
        return dense("classifier", summary).reshape(-1, 2)
    name = "qa_outputs" if head == "question_answering" else "classifier"
    return dense(name, hidden)


def tensors_of(folder):
    return safetensors.load_file(Path(folder) / "model.safetensors")


def change_tensors(folder, change):
    tensors = tensors_of(folder)
    change(tensors)
    safetensors.save_file(tensors, folder / "model.safetensors")


def change_json(folder, file="config.json", **changed):
    path = folder / file
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | changed))


def network_in(folder):
    found = hugging_face.open_directory(str(folder))
    (name,) = found.networks
    return found, name, preset.build(found, name)


# The same numbers.


@pytest.mark.parametrize("model", MODELS)
def test_outputs_equal_those_of_transformers(model, outputs):
    found, name, network = network_in(GOLDEN / model)
    real = outputs["attention_mask"] > 0
    hidden, logits = run(name, network, outputs)
    want = outputs[f"{model}/hidden"]
    np.testing.assert_allclose(hidden[real], want[real], rtol=0, atol=TOLERANCE)
    assert np.abs(want[real]).max() > 1  # Else the tolerance would be none.
    assert (found.head is None) == (model not in HEADS)
    if found.head:
        assert found.head == model
        logits = apply_head(model, found.read_head(), hidden)
    if logits is None:
        return
    want = outputs[f"{model}/logits"]
    if logits.shape[:2] == real.shape:
        logits, want = logits[real], want[real]
    np.testing.assert_allclose(logits, want, rtol=0, atol=TOLERANCE)
    if want.ndim == 1:
        np.testing.assert_array_equal(logits > 0, want > 0)
        assert 0 < np.mean(want > 0) < 1
    else:
        np.testing.assert_array_equal(logits.argmax(-1), want.argmax(-1))


def test_every_network_and_head_has_a_golden_model():
    assert {*MODELS, "approximate"} == {*model_card.CLASSES, "approximate"}


# The same bits.


@pytest.mark.parametrize("model", MODELS)
def test_from_there_to_here_and_back_no_bit_changes(model, tmp_path):
    found, name, network = network_in(GOLDEN / model)
    architecture = found.networks[name]
    tensors = dict(
        weight_map.extract(
            weight_map.variables(network),
            weight_map.rows(name, architecture),
            "hugging_face",
        )
    )
    hugging_face.write_directory(
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
    before, after = tensors_of(GOLDEN / model), tensors_of(tmp_path / "new")
    assert before.keys() == after.keys()
    for path, value in before.items():
        np.testing.assert_array_equal(after[path], value, strict=True)
    again = hugging_face.open_directory(str(tmp_path / "new"))
    parts = ("networks", "vocab", "tokenizer", "head", "label_names")
    for part in (*parts, "problem_type", "dropout"):
        assert getattr(again, part) == getattr(found, part)
    theirs = json.loads((GOLDEN / model / "config.json").read_text())
    ours = json.loads((tmp_path / "new/config.json").read_text())
    told_by_the_file = {"dtype", "transformers_version", "bos_token_id", "eos_token_id"}
    assert not theirs.keys() - ours.keys() - told_by_the_file
    assert {key: ours[key] for key in theirs.keys() - told_by_the_file} == {
        key: value for key, value in theirs.items() if key not in told_by_the_file
    }


def test_from_here_to_there_and_back_no_bit_changes(save, networks, vocab, tmp_path):
    found = hugging_face.open_directory(str(save(tmp_path / "both")))
    assert found.networks == CONFIGS
    assert (found.vocab, found.tokenizer, found.origin) == (vocab, RULES, ORIGIN)
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
    one = hugging_face.open_directory(str(tmp_path / "one"))
    assert one.networks == {"generator": CONFIGS["generator"]}


# The forms that weights come in.


def half(dtype):
    def change(folder):
        def cast(tensors):
            for name in tensors:
                tensors[name] = tensors[name].astype(dtype)

        change_tensors(folder, cast)

    return change


def shards(folder):
    tensors = tensors_of(folder)
    names = sorted(tensors)
    places = {name: f"part-{i % 3}.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        part = {name: tensors[name] for name in names if places[name] == file}
        safetensors.save_file(part, folder / file)
    os.remove(folder / "model.safetensors")
    change_json(folder, "model.safetensors.index.json", weight_map=places)


def old_names(folder):
    def rename(tensors):
        for name in [name for name in tensors if "LayerNorm" in name]:
            new = name.replace("m.weight", "m.gamma").replace("m.bias", "m.beta")
            tensors[new] = tensors.pop(name)
        tensors["electra.embeddings.position_ids"] = np.arange(16)[None]

    change_tensors(folder, rename)


def tied(folder):
    def tie(tensors):
        words = tensors["electra.embeddings.word_embeddings.weight"]
        tensors["generator_lm_head.weight"] = words.copy()

    change_tensors(folder, tie)


def few_settings(folder):
    """Leaves out what transformers has the same default for."""
    values = json.loads((folder / "config.json").read_text())
    default = config.ModelConfig()
    assert values["initializer_range"] == default.initializer_range
    for name in ("hidden_act", "hidden_dropout_prob", "layer_norm_eps", "pad_token_id"):
        del values[name]
    (folder / "config.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("form", "tolerance"),
    [
        (half(np.float64), 0),
        (half(np.float16), 1e-3),
        (half(ml_dtypes.bfloat16), 1e-2),
        (shards, 0),
        (old_names, 0),
        (tied, 0),
        (few_settings, 0),
    ],
)
def test_weights_in_another_form_are_the_same_weights(copy, form, tolerance):
    folder = copy("generator")
    want = weight_map.variables(network_in(folder)[2])
    form(folder)
    _, _, network = network_in(folder)
    for path, value in weight_map.variables(network).items():
        np.testing.assert_allclose(value, want[path], rtol=tolerance, atol=tolerance)
        assert (np.array(value) != np.array(want[path])).any() or tolerance < 1e-2


def test_what_comes_in_a_folder_each_is_opened_as_both(copy, tmp_path):
    copy("discriminator", "model/discriminator")
    generator = copy("generator", "model/generator")
    path = str(tmp_path / "model")
    with pytest.raises(errors.UserError, match="do not have the same vocabulary"):
        hugging_face.open_directory(path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / "discriminator" / file, generator)
    assert hugging_face.is_directory(path)
    found = hugging_face.open_directory(path)
    assert list(found.networks) == ["discriminator", "generator"]
    preset.build(found, "discriminator")
    assert preset.build(found, "generator").name == "generator"
    shutil.rmtree(generator)
    copy("discriminator", "model/generator")
    with pytest.raises(errors.UserError, match="holds not a generator but a discrim"):
        hugging_face.open_directory(path)


# Words.


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("discriminator", config.TokenizerConfig()),
        (
            "generator",  # strip_accents is null there, and follows the casing.
            config.TokenizerConfig(
                lowercase=False, strip_accents=False, split_cjk=False
            ),
        ),
    ],
)
@pytest.mark.parametrize("without", ["tokenizer.json", "vocab.txt"])
def test_vocabulary_and_rules_are_found_in_either_file(copy, model, rules, without):
    folder = copy(model)
    want = tokenizer.read_vocab(GOLDEN / "vocab.txt")
    shutil.copy(GOLDEN / "vocab.txt", folder)
    os.remove(folder / without)
    found = hugging_face.open_directory(str(folder))
    assert (found.vocab, found.tokenizer) == (want, rules)


CASED_FILE = {"lowercase": False, "strip_accents": True, "handle_chinese_chars": False}


@pytest.mark.parametrize(
    ("stated", "rules"),
    [
        # As AutoTokenizer of transformers 4 and 5: the class says which file counts.
        (None, config.TokenizerConfig()),
        ({}, config.TokenizerConfig()),
        ({"tokenizer_class": "ElectraTokenizerFast"}, config.TokenizerConfig()),
        ({"do_lower_case": False}, config.TokenizerConfig(lowercase=False)),
        (
            {"do_lower_case": False, "strip_accents": True},
            config.TokenizerConfig(lowercase=False, strip_accents=True),
        ),
        ({"strip_accents": False}, config.TokenizerConfig(strip_accents=False)),
        (
            {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
            config.TokenizerConfig(
                lowercase=False, strip_accents=True, split_cjk=False
            ),
        ),
    ],
)
def test_the_tokenizers_class_says_which_file_has_the_casing(copy, stated, rules):
    folder = copy("generator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    fast["normalizer"] |= CASED_FILE
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    os.remove(folder / "tokenizer_config.json")
    if stated is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    assert hugging_face.open_directory(str(folder)).tokenizer == rules


def test_a_word_limit_that_counts_must_be_berts(copy):
    folder = copy("generator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    fast["model"]["max_input_chars_per_word"] = 200
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    hugging_face.open_directory(str(folder))  # BERT's class has one limit.
    stated = {"tokenizer_class": "TokenizersBackend"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    with pytest.raises(errors.UserError, match="max_input_chars_per_word is 200"):
        hugging_face.open_directory(str(folder))


def test_rows_of_a_vocab_txt_that_no_text_uses_are_kept(copy):
    folder = copy("discriminator")
    path = folder / "tokenizer.json"
    fast = json.loads(path.read_text())
    words = fast["model"]["vocab"]
    want = sorted(words, key=words.get)
    # transformers keeps the last of what is blank or alike, and writes no vocab.txt.
    alike, blank, odd = want[-4:-1]
    for token in (alike, blank, odd):
        del words[token]
    words["\n"] = len(want) - 3
    path.write_text(json.dumps(fast))
    want[-4:-1] = ["", "", ""]
    assert hugging_face.open_directory(str(folder)).vocab == want
    want[-4:-1] = [want[-1], "", "\u2028"]
    tokenizer.write_vocab(folder / "vocab.txt", want)
    found = hugging_face.open_directory(str(folder))
    assert found.vocab == want
    written = folder / "written"
    network = preset.build(found, "discriminator")
    hugging_face.save_networks(
        str(written),
        {"discriminator": network},
        found.networks,
        want,
        found.tokenizer,
        {},
    )
    assert (written / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    assert hugging_face.open_directory(str(written)).vocab == want
    want[-3] = "else"
    tokenizer.write_vocab(folder / "vocab.txt", want)
    with pytest.raises(errors.UserError, match="do not hold the same tokens"):
        hugging_face.open_directory(str(folder))


TAGS = {
    "[ENT]": {"special": True, "normalized": False, "rstrip": True},
    "New York": {"single_word": True},
}


def as_fast(folder, ids):
    path = folder / "tokenizer.json"
    fast = json.loads(path.read_text())
    fast["added_tokens"] += [
        {"id": ids[content], "content": content, **flags}
        for content, flags in TAGS.items()
    ]
    path.write_text(json.dumps(fast))


def as_decoder(folder, ids):
    path = folder / "tokenizer_config.json"
    values = json.loads(path.read_text())
    values["added_tokens_decoder"] = {
        str(ids[content]): {"content": content, **flags}
        for content, flags in TAGS.items()
    }
    path.write_text(json.dumps(values))


def as_old_files(folder, ids):
    (folder / "added_tokens.json").write_text(json.dumps(ids))
    token = {"content": "[ENT]", "rstrip": True, "normalized": False}
    values = {"additional_special_tokens": [token], "unk_token": "[UNK]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(values))
    os.remove(folder / "tokenizer.json")
    shutil.copy(GOLDEN / "vocab.txt", folder)


@pytest.mark.parametrize("add", [as_fast, as_decoder, as_old_files])
def test_added_tokens_are_found_wherever_they_stand_and_kept(copy, tmp_path, add):
    folder = copy("discriminator")
    words = tokenizer.read_vocab(GOLDEN / "vocab.txt")
    ids = {content: len(words) + i for i, content in enumerate(TAGS)}
    add(folder, ids)
    vocab, rules = hugging_face._read_tokenizer(str(folder))
    assert vocab == [*words, *TAGS]
    flags = {} if add is as_old_files else {"single_word": True}
    assert rules.added_tokens == (
        config.AddedToken(content="[ENT]", **TAGS["[ENT]"]),
        config.AddedToken(content="New York", **flags),
    )
    hugging_face._write_tokenizer(str(tmp_path), vocab, rules, 64)
    assert hugging_face._read_tokenizer(str(tmp_path)) == (vocab, rules)
    # As the library reads what was written.
    fast = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "the[ENT]  cat new york New Yorker"
    want = fast.encode(text, add_special_tokens=False).ids
    assert tokenizer.Encoder(vocab, rules).encode(text).tolist() == want
    assert set(ids.values()) <= set(want)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"eos_token": "</s>"}, "'</s>' is a token that was added, but neither"),
        ({"cls_token": "<s>"}, r"cls_token is '<s>'; only BERT's \[CLS\] is known"),
        ({"extra_special_tokens": ["a", 3]}, "extra_special_tokens"),
    ],
)
def test_special_tokens_that_have_no_place_are_refused(copy, stated, message):
    folder = copy("discriminator")
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    with pytest.raises(errors.UserError, match=message):
        hugging_face.open_directory(str(folder))


def test_without_a_vocabulary_there_is_none(copy):
    assert hugging_face.open_directory(str(copy("encoder"))).vocab is None


def test_tokens_that_were_added_later_are_part_of_the_vocabulary(copy):
    folder = copy("discriminator")
    fast = json.loads((folder / "tokenizer.json").read_text())
    ids = fast["model"]["vocab"]
    del ids[max(ids, key=ids.get)]
    fast["added_tokens"].append({"id": len(ids), "content": "<new>", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    vocab = hugging_face.open_directory(str(folder)).vocab
    assert vocab == [*tokenizer.read_vocab(GOLDEN / "vocab.txt")[:-1], "<new>"]


def test_the_tokenizer_that_is_written_puts_pairs_together(save, vocab, tmp_path):
    out = save(tmp_path / "out", "discriminator")
    written = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    pair = written.encode("The cat [MASK]", "a d\u00f6g")
    assert pair.tokens == [
        *("[CLS]", "[UNK]", "cat", "[MASK]", "[SEP]"),  # Cased.
        *("a", "dog", "[SEP]"),
    ]
    assert pair.type_ids == [0] * 5 + [1] * 3
    assert [vocab[number] for number in pair.ids] == pair.tokens
    assert written.encode("the").tokens == ["[CLS]", "the", "[SEP]"]
    for text in TEXTS:
        ids = written.encode(text, add_special_tokens=False).ids
        assert ids == list(tokenizer.Encoder(vocab, RULES).encode(text))


# Heads.


def test_a_heads_labels_are_in_the_order_of_their_numbers(copy):
    folder = copy("sequence_classification")
    names = ["bad", "middling", "good"]
    assert hugging_face.open_directory(str(folder)).label_names == names
    values = json.loads((folder / "config.json").read_text())
    change_json(folder, id2label=dict(reversed(values["id2label"].items())))
    assert hugging_face.open_directory(str(folder)).label_names == names
    change_json(folder, id2label=None)
    unnamed = ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert hugging_face.open_directory(str(folder)).label_names == unnamed


@pytest.mark.parametrize(
    ("labels", "stated", "wanted"),
    [
        (3, {}, "single_label_classification"),
        (1, {}, "regression"),
        (1, {"problem_type": "multi_label_classification"}, None),
        (3, {"problem_type": "multi_label_classification"}, None),
        (3, {"problem_type": "regression"}, None),
    ],
)
def test_what_a_head_learned_is_as_stated_or_as_transformers_infers_it(
    copy, labels, stated, wanted
):
    folder = copy("sequence_classification")
    arrays = head_arrays("sequence_classification", hidden=12, labels=labels)
    change_tensors(folder, lambda tensors: tensors.update(arrays))
    change_json(folder, id2label=None, **stated)
    found = hugging_face.open_directory(str(folder))
    assert found.problem_type == (wanted or stated["problem_type"])
    assert hugging_face.open_directory(str(GOLDEN / "encoder")).problem_type is None


@pytest.mark.parametrize(
    ("head", "stated", "dropout"),
    [
        ("sequence_classification", {"classifier_dropout": None}, 0.3),
        ("sequence_classification", {"classifier_dropout": 0.0}, 0.0),
        ("token_classification", {"classifier_dropout": 0.2}, 0.2),
        ("multiple_choice", {"summary_last_dropout": 0.4}, 0.4),
    ],
)
def test_the_dropout_of_a_head_is_its_own_or_the_encoders(copy, head, stated, dropout):
    folder = copy(head)
    change_json(folder, hidden_dropout_prob=0.3, **stated)
    assert hugging_face.open_directory(str(folder)).dropout == dropout


# Bad input.


def test_only_what_transformers_wrote_looks_like_it(copy, networks, vocab, tmp_path):
    assert hugging_face.is_directory(str(copy("encoder")))
    assert not hugging_face.is_directory(str(tmp_path / "nothing"))
    assert not hugging_face.is_directory(str(tmp_path))
    ours = str(tmp_path / "preset")
    preset.save(ours, networks, CONFIGS, vocab, RULES, {})
    assert not hugging_face.is_directory(ours)


def states(**changed):
    return lambda folder: change_json(folder, **changed)


def words(file, **changed):
    return lambda folder: change_json(folder, file, **changed)


def writes(file, text):
    return lambda folder: (folder / file).write_text(text)


def removes(file):
    return lambda folder: os.remove(folder / file)


def adds_token(text):
    def change(folder):
        values = json.loads((folder / "tokenizer.json").read_text())
        number = len(values["model"]["vocab"])
        values["added_tokens"].append({"id": number, "content": text})
        (folder / "tokenizer.json").write_text(json.dumps(values))

    return change


def sets(name, value):
    def change(tensors):
        tensors[name] = np.asarray(value)

    return lambda folder: change_tensors(folder, change)


def drops(name):
    return lambda folder: change_tensors(folder, lambda tensors: tensors.pop(name))


def cut_short(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:9000])


def only(file):
    def change(folder):
        os.rename(folder / "model.safetensors", folder / file)

    return change


def index(**places):
    def change(folder):
        os.remove(folder / "model.safetensors")
        change_json(folder, "model.safetensors.index.json", weight_map=places)

    return change


def names_too_much(folder):
    shards(folder)
    path = folder / "model.safetensors.index.json"
    values = json.loads(path.read_text())
    values["weight_map"]["more"] = "part-0.safetensors"
    path.write_text(json.dumps(values))


WORDS = "electra.embeddings.word_embeddings.weight"
QUERY = "electra.encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (removes("config.json"), "cannot read .*config.json: No such file"),
        (writes("config.json", "{"), "config.json is not JSON"),
        (writes("config.json", "[" * 10**5), "config.json is not JSON"),
        (writes("config.json", "[3]"), "want a JSON object"),
        (states(model_type="bert"), "model_type is 'bert'; want 'electra'"),
        (states(hidden_size="wide"), "hidden_size='wide'"),
        (states(hidden_size=True), "hidden_size: want a number, got true"),
        (states(num_attention_heads=5), r"num_heads \(5\) must divide"),
        (states(hidden_act="mish"), "hidden_act='mish' is not supported"),
        (
            states(hidden_act="relu"),
            "hidden_act='relu' .* for a generator; want 'gelu'",
        ),
        (
            states(position_embedding_type="relative_key"),
            "position_embedding_type='rel",
        ),
        (states(is_decoder=True), "is_decoder=True is not supported"),
        (states(add_cross_attention=True), "add_cross_attention=True is not"),
        (states(vocab_size=40), r"is \[39, 10\], but .*config.json says \[40, 10\]"),
        (states(vocab_size=10**12), "they must be of the same model"),
        (states(intermediate_size=33), r"is \[32, 8\], but .* says \[33, 8\]"),
        (states(num_hidden_layers=3), "num_hidden_layers is 3, but .* have 2 blocks"),
        (states(num_hidden_layers=1), "num_hidden_layers is 1, but .* have 2 blocks"),
        (states(num_hidden_layers=10**12), "but the weights have 2 blocks"),
        (removes("model.safetensors"), "has no model.safetensors"),
        (cut_short, "cannot read .*model.safetensors: "),
        (writes("model.safetensors", ""), "cannot read .*model.safetensors: "),
        (only("pytorch_model.bin"), r"ElectraForMaskedLM.from_pretrained\("),
        (only("tf_model.h5"), "only model.safetensors is read; .*from_tf=True"),
        (only("flax_model.msgpack"), "only model.safetensors is read; .*from_flax"),
        (index(), "names no weights"),
        (index(a="../b.safetensors"), r"puts 'a' into '../b.safetensors'"),
        (index(a="b.safetensors"), "cannot read .*b.safetensors: No such file"),
        (names_too_much, "cannot read .*part-0.safetensors: .* tensor more"),
        (drops(WORDS), "word_embeddings.weight is missing, but .*json says"),
        (drops(QUERY), "query.weight is missing"),
        (sets(QUERY, np.ones([8, 9], np.float32)), r"is \[8, 9\], want \[8, 8\]"),
        (sets(QUERY, np.ones([8, 8], np.int8)), "is stored as I8; want float"),
        (sets("pooler.dense.bias", [1.0]), "no place for 1 of its .*pooler.dense.bias"),
        (sets("classifier.bias", [1.0]), "no place for 1 of its .*classifier.bias"),
        (
            sets("generator_lm_head.weight", np.ones([39, 10], np.float32)),
            "generator_lm_head.weight is not .*word_embeddings.weight",
        ),
        (
            sets("electra.embeddings.LayerNorm.gamma", np.ones(10, np.float32)),
            "LayerNorm.weight stands twice",
        ),
        (writes("vocab.txt", "[PAD]\n[UNK]\n"), r"vocab.txt has no \[CLS\]"),
        (
            writes("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nyes\n"),
            "vocab.txt and tokenizer.json do not hold the same tokens",
        ),
        (words("tokenizer.json", model={"type": "BPE", "vocab": {}}), "move the token"),
        (words("tokenizer.json", model=3), "tokenizer.json: model=3"),
        (words("tokenizer.json", normalizer={"type": "NFKC"}), "NFKC"),
        (words("tokenizer.json", normalizer=None), "normalizer=None"),
        (
            words("tokenizer.json", model={"type": "WordPiece", "vocab": {"x": 70}}),
            "are not numbered from 0 to",
        ),
        (adds_token("two\nlines"), r"'two\\nlines', a token that was added, is one"),
        (adds_token("\ud800"), r"'\\ud800', a token that was added, is one"),
        (adds_token("[PAD]"), "are not numbered from 0"),
        (
            words("tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer"),
            "tokenizer_class is 'BertJapaneseTokenizer'",
        ),
        (words("tokenizer_config.json", do_lower_case="x"), "do_lower_case='x'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(copy, damage, message):
    folder = copy("generator")
    damage(folder)
    with pytest.raises(errors.UserError, match=message) as error:
        network_in(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert str(folder) in str(error.value)
    assert hugging_face.is_directory(str(folder)) or message.startswith("has no model")


def test_a_vocabulary_of_another_length_is_refused(copy):
    folder = copy("encoder")
    tokens = tokenizer.read_vocab(GOLDEN / "vocab.txt")
    for changed in (tokens[:-1], [*tokens, "more"]):
        tokenizer.write_vocab(folder / "vocab.txt", changed)
        with pytest.raises(errors.UserError, match=f"has {len(changed)} tokens, but"):
            hugging_face.open_directory(str(folder))


OUT = "classifier.out_proj.weight"


@pytest.mark.parametrize(
    ("model", "damage", "message"),
    [
        ("token_classification", states(id2label={"0": "a"}), "the head has 5 labels"),
        ("token_classification", sets("classifier.bias", 1.0), "want \\[0, 12\\]"),
        ("sequence_classification", drops(OUT), "the head's arrays are classifier.de"),
        (
            "sequence_classification",
            sets(OUT, np.ones([3, 11], np.float32)),
            r"out_proj.weight is \[3, 11\], want \[3, 12\]",
        ),
        # Without its projection this would pass for token classification.
        (
            "token_classification",
            states(architectures=["ElectraForMultipleChoice"]),
            "want those of transformers' own heads",
        ),
        ("multiple_choice", states(summary_type="mean"), "summary_type, .*'mean'"),
        ("multiple_choice", states(summary_activation="tanh"), "'tanh'"),
        (
            "question_answering",
            sets("qa_outputs.bias", np.ones(3, np.float32)),
            r"qa_outputs.bias is \[3\], want \[2\]",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_refused(copy, model, damage, message):
    folder = copy(model)
    damage(folder)
    with pytest.raises(errors.UserError, match=message) as error:
        hugging_face.open_directory(str(folder))
    assert "\n" not in str(error.value)


# What is there already.


def test_what_was_written_here_is_replaced_whole(save, tmp_path):
    save(tmp_path / "out")
    save(tmp_path / "out", "discriminator", origin={"steps": 8}, vocab=None)
    found = hugging_face.open_directory(str(tmp_path / "out"))
    assert (list(found.networks), found.vocab) == (["discriminator"], None)
    assert found.origin == {"steps": 8}
    assert os.listdir(tmp_path) == ["out"]


def test_what_was_not_written_here_is_left_alone(save, copy, tmp_path):
    words = tmp_path / "words"
    words.mkdir()
    shutil.copy(GOLDEN / "vocab.txt", words)
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
        hugging_face.write_directory(
            str(tmp_path / "out"), "encoder", CONFIG, arrays(), vocab, RULES, {}
        )
    assert hugging_face.open_directory(str(tmp_path / "out")).origin == ORIGIN
    assert os.listdir(tmp_path) == ["out"]


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
    relu = CONFIGS["generator"].model_copy(update={"activation": "relu"})
    with pytest.raises(errors.UserError, match="activation=relu has no equal"):
        hugging_face.save_networks(
            str(tmp_path / "out"),
            networks,
            CONFIGS | {"generator": relu},
            None,
            RULES,
            {},
        )
    assert os.listdir(tmp_path) == []


# Against transformers, where it is installed.

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
        ("gelu", RULES),
        ("gelu_approximate", config.TokenizerConfig()),
        ("silu", config.TokenizerConfig(lowercase=True, strip_accents=False)),
    ],
)
def test_transformers_computes_the_same_from_what_we_write(
    save, vocab, outputs, peer, tmp_path, activation, rules
):
    model = CONFIG.model_copy(update={"activation": activation})
    save(tmp_path / "both", tokenizer_config=rules)  # A generator has gelu.
    discriminator = draw("discriminator", model)
    save_one(tmp_path / "discriminator", discriminator, model, vocab, rules)
    encoder = draw("encoder", model)
    save_one(tmp_path / "encoder", encoder, model, vocab, rules)
    labels = ["LOC", "PER", "two words", "\u00fcn\u00efcode"]
    for head in HEADS:
        arrays = weight_map.extract(
            weight_map.variables(encoder),
            weight_map.rows("encoder", model),
            "hugging_face",
        )
        named = head in hugging_face.CLASSIFIERS
        hugging_face.write_directory(
            str(tmp_path / head),
            head,
            model,
            (dict(arrays) | head_arrays(head)).items(),
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
    request = {"fields": fields, "models": models, "texts": TEXTS}
    answer, theirs = peer(tmp_path, request)
    special_ids = [vocab.index("[CLS]"), vocab.index("[SEP]")]
    encode = tokenizer.Encoder(vocab, rules).encode
    real = outputs["attention_mask"] > 0
    worst = 0.0
    for name, said in answer.items():
        assert not any(said["info"].values()), f"{name}: {said['info']}"
        assert said["class"] == model_card.CLASSES[name]
        found, network_name, network = network_in(tmp_path / places[name])
        hidden, logits = run(network_name, network, outputs)
        if found.head:
            logits = apply_head(found.head, found.read_head(), hidden)
        pairs = [(hidden[real], theirs[f"{name}/hidden"].reshape(hidden.shape)[real])]
        if logits is not None:
            pairs.append((logits, theirs[f"{name}/logits"]))
            if logits.shape[:2] == real.shape:
                pairs[1] = pairs[1][0][real], pairs[1][1][real]
        for ours, want in pairs:
            worst = max(worst, float(np.abs(ours - want).max()))
        for text, ids in zip(TEXTS, said["ids"], strict=True):
            assert ids == [special_ids[0], *encode(text), special_ids[1]], text
        assert said["pair"][1] == [0] * 4 + [1] * 3
        assert said["mask"] == vocab.index("[MASK]")
        assert said["max_length"] == CONFIG.max_positions
        if found.label_names:
            assert said["labels"] == {str(i): x for i, x in enumerate(labels)}
    assert worst < TOLERANCE


def save_one(folder, network, model, vocab, rules):
    hugging_face.save_networks(
        str(folder), {network.name: network}, {network.name: model}, vocab, rules, {}
    )
