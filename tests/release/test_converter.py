import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import tensorflow as tf

import electra_tf
from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.release import converter
from electra_tf.tasks import catalog, keras_hub_presets
from electra_tf.text import vocabularies
from electra_tf.weights import (
    hugging_face_reader,
    hugging_face_writer,
    model_card,
    opening,
    preset,
    preset_writer,
    weight_map,
)

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"a b c d e f g".split()]


def architecture(**changes):
    return config.ModelConfig(
        **{
            "vocab_size": len(VOCAB),
            "embedding_size": 6,
            "hidden_size": 10,
            "num_layers": 2,
            "num_heads": 2,
            "intermediate_size": 14,
            "max_positions": 18,
            "initializer_range": 0.2,
            **changes,
        }
    )


CONFIGS = {
    "generator": architecture(hidden_size=8, intermediate_size=9, num_heads=1),
    "discriminator": architecture(),
}
BUILDERS = {
    "generator": models.build_generator,
    "discriminator": models.build_discriminator,
}
WORDS = config.TokenizerConfig(lowercase=False, strip_accents=False)


def drawn(network, seed=1):
    """Gives all weights values, biases and LayerNorms too."""
    chance = np.random.default_rng(seed)
    for variable in network.weights:
        variable.assign(chance.normal(0.0, 0.3, variable.shape))
    return network


@pytest.fixture(scope="module")
def networks():
    return {
        name: drawn(BUILDERS[name](CONFIGS[name]), seed)
        for seed, name in enumerate(CONFIGS)
    }


@pytest.fixture
def ours(networks, tmp_path):
    """A preset of both networks."""
    folder = str(tmp_path / "ours")
    preset_writer.save(folder, networks, CONFIGS, VOCAB, WORDS, {"steps": 7})
    return folder


def convert(origin, folder, format="preset", **kwargs):
    said = []
    converter.convert(origin, str(folder), format, say=said.append, **kwargs)
    return said


def test_of_a_head_that_nobody_knows_the_encoder_is_converted_which_is_said(
    networks, tmp_path
):
    folder = str(tmp_path / "ours")
    chosen = {"judge": networks["discriminator"], "small": networks["generator"]}
    architectures = {"judge": CONFIGS["discriminator"], "small": CONFIGS["generator"]}
    for roles, want in (
        ({"judge": "energy", "small": "energy"}, ["encoder"]),
        ({"judge": "energy", "small": "generator"}, ["generator"]),
    ):
        preset_writer.save(folder, chosen, architectures, VOCAB, WORDS, {}, roles=roles)
        said = convert(folder, tmp_path / "converted")
        assert "note: the head of judge is left out" in said
        assert ("note: the head of small is left out" in said) == (want == ["encoder"])
        found = converter.open_source(str(tmp_path / "converted"))
        assert list(found.networks) == want
        built = preset.build(found, want[0])
        origin = networks[{"encoder": "discriminator"}.get(want[0], want[0])]
        there = {v.path: np.asarray(v) for v in origin.weights}
        for variable in built.weights:
            np.testing.assert_array_equal(variable, there[variable.path])


# BERT and sentence-transformers.


def test_an_encoder_of_one_width_becomes_a_bert_and_what_is_lost_is_said(tmp_path):
    model = architecture(embedding_size=10)
    network = drawn(models.build_discriminator(model))
    chosen = {
        "discriminator": network,
        "generator": drawn(models.build_generator(model)),
    }
    origin, folder = str(tmp_path / "ours"), tmp_path / "bert"
    preset_writer.save(origin, chosen, dict.fromkeys(chosen, model), VOCAB, WORDS, {})
    for _ in range(2):  # What was written here is replaced.
        said = convert(origin, folder, "hugging_face_bert")
        assert said[:2] == [
            "note: the head of the discriminator is left out",
            "note: the generator is left out",
        ]
        assert "a BertModel has a pooler, and this one has none" in said[2]
        assert said[3].startswith(f"wrote {folder}: encoder, a BertModel")
    values = json.loads((folder / "config.json").read_text())
    assert (values["model_type"], values["architectures"]) == ("bert", ["BertModel"])
    assert not [name for name in values if name.startswith(("embedding", "summary"))]
    with safetensors.safe_open(folder / "model.safetensors", "numpy") as file:
        assert "embeddings.word_embeddings.weight" in file.keys()  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert 'SentenceTransformer("this_folder")' in card
    assert "library_name: sentence-transformers" in card
    found = converter.open_source(str(folder))
    assert found.vectors == ("mean", True, 18, (), False, None)  # As the tokenizer.
    there = {v.path: np.asarray(v) for v in network.weights}
    for variable in preset.build(found, "encoder").weights:
        np.testing.assert_array_equal(variable, there[variable.path])


def test_an_encoder_of_two_widths_is_no_bert(ours, tmp_path):
    with pytest.raises(errors.UserError, match="its embeddings are 6 wide and its hid"):
        convert(ours, tmp_path / "bert", "hugging_face_bert")
    assert not (tmp_path / "bert").exists()


def test_what_makes_vectors_keeps_its_way_of_it_wherever_there_is_a_place(
    ours, tmp_path
):
    embedder = electra_tf.ElectraTextEmbedder.from_preset(
        ours, pooling="cls", normalize=False, sequence_length=9
    )
    embedder.save_to_preset(str(tmp_path / "saved"))
    want = embedder.predict(["a b", "c"])
    convert(str(tmp_path / "saved"), tmp_path / "hf", "hugging_face")
    convert(str(tmp_path / "hf"), tmp_path / "hub", "keras_hub")
    for folder in ("hf", "hub"):
        found = catalog.load(str(tmp_path / folder))
        assert (found.pooling, found.normalize) == ("cls", False)
        assert found.preprocessor.sequence_length == 9
        np.testing.assert_allclose(found.predict(["a b", "c"]), want, atol=1e-6)
    said = convert(str(tmp_path / "hf"), tmp_path / "again")
    assert (
        "note: how vectors are made of states is left out; keras_hub keeps it" in said
    )


def assert_equal(folder, networks):
    """The weights at a folder are those of the networks, bit for bit."""
    found = converter.open_source(str(folder))
    assert found.networks.keys() == networks.keys()
    assert found.vocab == VOCAB
    assert found.tokenizer == WORDS
    for name, network in networks.items():
        loaded = preset.build(found, name)
        for was, now in zip(network.weights, loaded.weights, strict=True):
            assert was.path == now.path
            np.testing.assert_array_equal(np.asarray(now), np.asarray(was))


def test_to_hugging_face_and_back_changes_no_bit(ours, networks, tmp_path):
    said = convert(ours, tmp_path / "hf", "hugging_face")
    assert "discriminator" in said[-1]
    assert_equal(tmp_path / "hf", networks)
    convert(str(tmp_path / "hf"), tmp_path / "back")
    assert preset_writer.is_preset(str(tmp_path / "back"))
    assert_equal(tmp_path / "back", networks)


def test_a_vocabulary_that_contradicts_the_casing_is_told_once(networks, tmp_path):
    folder = str(tmp_path / "ours")
    vocab, words = [*VOCAB[:-1], "G"], config.TokenizerConfig()
    preset_writer.save(folder, networks, CONFIGS, vocab, words, {})
    said = convert(folder, tmp_path / "to")
    assert sum("'G', can never occur" in line for line in said) == 1
    with pytest.warns(UserWarning, match="'G', can never occur"):
        electra_tf.ElectraTextEmbedder.from_preset(folder, load_weights=False)


def test_to_keras_hub_and_back_changes_no_bit(ours, networks, tmp_path):
    convert(ours, tmp_path / "hub", "keras_hub")
    for name, network in networks.items():
        assert_equal(tmp_path / "hub" / name, {name: network})
        convert(str(tmp_path / "hub" / name), tmp_path / "back" / name)
        assert_equal(tmp_path / "back" / name, {name: network})


def test_keras_hubs_own_electra_gets_the_encoder_and_a_warning(
    ours, networks, tmp_path
):
    said = convert(ours, tmp_path / "hub", "keras_hub_electra")
    assert any("warning: discriminator: GELU is its tanh" in line for line in said)
    found = converter.open_source(str(tmp_path / "hub" / "discriminator"))
    encoder = preset.build(found, "encoder")
    was = {v.path: np.asarray(v) for v in networks["discriminator"].weights}
    for variable in encoder.weights:
        np.testing.assert_array_equal(np.asarray(variable), was[variable.path])


def test_every_directory_has_a_model_card(ours, tmp_path):
    facts = model_card.Facts(language="xx", license="apache-2.0")
    convert(ours, tmp_path / "hf", "hugging_face", facts=facts)
    convert(ours, tmp_path / "hub", "keras_hub", facts=facts)
    convert(ours, tmp_path / "own", facts=facts)
    cards = ["own", "hf/discriminator", "hf/generator", "hub/discriminator"]
    for card in cards:
        text = (tmp_path / card / "README.md").read_text()
        assert "license: apache-2.0" in text, card


def test_an_edited_card_stays(ours, tmp_path):
    convert(ours, tmp_path / "own")
    card = tmp_path / "own" / "README.md"
    card.write_text("mine")
    convert(ours, tmp_path / "own")
    assert card.read_text() == "mine"


def test_a_checkpoint_without_vocabulary_makes_no_preset(ours, tmp_path, networks):
    hugging_face_writer.save_networks(
        str(tmp_path / "bare"), networks, CONFIGS, None, WORDS, {}
    )
    with pytest.raises(errors.UserError, match=r"no vocabulary, .* name it with --v"):
        convert(str(tmp_path / "bare"), tmp_path / "own")
    assert not (tmp_path / "own").exists()
    vocabularies.write(str(tmp_path / "vocab.txt"), VOCAB)
    stated = opening.Stated(str(tmp_path / "vocab.txt"))
    convert(str(tmp_path / "bare"), tmp_path / "own", stated=stated)
    assert preset.load(str(tmp_path / "own")).vocab == VOCAB


def test_heads_that_are_stated_are_those_of_what_is_written(networks, tmp_path):
    model = CONFIGS["discriminator"]
    variables = weight_map.variables(networks["discriminator"])
    rows = weight_map.rows("discriminator", model)
    arrays = {
        row.tf1.format(**weight_map.SCOPES._asdict()): variables[row.ours].numpy()
        for row in rows
    }
    tf.raw_ops.SaveV2(
        prefix=f"{tmp_path}/model.ckpt-5",
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    with pytest.raises(errors.UserError, match="convert it with --num_heads=<the nu"):
        convert(f"{tmp_path}/model.ckpt-5", tmp_path / "hf", "hugging_face")
    stated = opening.Stated(num_heads=model.num_heads)
    convert(f"{tmp_path}/model.ckpt-5", tmp_path / "hf", "hugging_face", stated=stated)
    found = opening.open_pretrained(str(tmp_path / "hf"))
    assert found.networks["discriminator"].num_heads == model.num_heads


@pytest.mark.parametrize(
    ("origin", "folder", "format", "message"),
    [
        ("ours", "other", "pickle", "format='pickle': want one of preset, hugging"),
        ("none", "other", "preset", "none: nothing is there; want a workdir"),
        ("ours", "ours", "preset", "ours is what to convert; name another folder"),
        ("ours", "full", "hugging_face", "full"),
        ("ours", "full", "preset", "full is there and no preset"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    origin, folder, format, message, ours, tmp_path
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(errors.UserError, match=message) as error:
        convert(str(tmp_path / origin), tmp_path / folder, format)
    assert "\n" not in str(error.value)
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"


def test_opening_tells_all_kinds_apart(ours, tmp_path):
    convert(ours, tmp_path / "hf", "hugging_face")
    convert(ours, tmp_path / "hub", "keras_hub")
    assert isinstance(opening.open_pretrained(ours), preset.Preset)
    assert isinstance(
        opening.open_pretrained(str(tmp_path / "hf")),
        hugging_face_reader.HuggingFaceDirectory,
    )
    hub = converter.open_source(str(tmp_path / "hub" / "generator"))
    assert isinstance(hub, keras_hub_presets.KerasHubPreset)


# Fine-tuned models.


QUESTION = ("a b c?", "d e f g a b")
TUNED = {
    "ElectraTextClassifier": (
        {"class_names": ["no", "yes", "so"], "dropout": 0.0},
        ["a b", "c g"],
    ),
    "several": (
        {"class_names": ["no", "yes"], "multi_label": True, "thresholds": [0.3, 0.6]},
        ["a b", "c g"],
    ),
    "ElectraTextRegressor": (
        {"offset": 3.0, "scale": 0.5, "dropout": 0.3},
        ["a b", "c g"],
    ),
    "ElectraTokenClassifier": (
        {"class_names": ["I", "O"], "dropout": 0.0},
        [["a", "b"], ["c"]],
    ),
    "ElectraQuestionAnswerer": ({"head": "plain"}, [QUESTION]),
    "ElectraMultipleChoice": (
        {"dropout": 0.2},
        [("a", ["b", "c d"]), ("e", ["f", "g", "a"])],
    ),
}


@pytest.mark.parametrize("name", TUNED)
def test_a_fine_tuned_model_answers_alike_at_hugging_face_and_back(
    name, ours, tmp_path
):
    arguments, asked = TUNED[name]
    name = "ElectraTextClassifier" if name == "several" else name
    kind = getattr(electra_tf, name)
    model = kind.from_preset(ours, **arguments)
    drawn_head(model)
    model.save_to_preset(str(tmp_path / "tuned"))
    wanted = flat(model.predict(asked))
    said = convert(str(tmp_path / "tuned"), tmp_path / "hf", "hugging_face")
    assert said == [f"wrote {tmp_path}/hf: {name}, for transformers' AutoModel"]
    found = hugging_face_reader.open_directory(str(tmp_path / "hf"))
    assert found.head == kind.hugging_face_kind
    assert found.problem_type == model.problem_type()
    convert(str(tmp_path / "hf"), tmp_path / "back", "keras_hub")
    for folder in ("hf", "back"):
        other = kind.from_preset(str(tmp_path / folder))
        for what in ("multi_label", "thresholds"):
            assert getattr(other, what, None) == getattr(model, what, None)
        assert getattr(other, "dropout", 0.1) == arguments.get("dropout", 0.1)
        answers = flat(other.predict(asked))
        # A regressor's scale is folded into the last layer on the way.
        np.testing.assert_allclose(answers[0], wanted[0], rtol=1e-5, atol=1e-6)
        assert answers[1] == wanted[1]


def test_a_head_that_transformers_lacks_is_refused(ours, tmp_path):
    model = electra_tf.ElectraTextClassifier.from_preset(
        ours, num_classes=2, head="linear"
    )
    model.save_to_preset(str(tmp_path / "tuned"))
    with pytest.raises(errors.UserError, match="transformers has no head like that"):
        convert(str(tmp_path / "tuned"), tmp_path / "hf", "hugging_face")
    with pytest.raises(errors.UserError, match="no place for its head: take hugging"):
        convert(str(tmp_path / "tuned"), tmp_path / "own", "preset")
    assert not (tmp_path / "hf").exists()


def drawn_head(model):
    chance = np.random.default_rng(5)
    for variable in model.weights:
        if "_head/" in variable.path:
            variable.assign(chance.normal(0.0, 0.5, variable.shape))


def flat(answers):
    """Splits nested answers into their numbers and all else."""
    numbers, others = [], []

    def walk(value):
        if isinstance(value, str):
            others.append(value)
        elif isinstance(value, list | tuple | np.ndarray):
            for part in value:
                walk(part)
        else:
            numbers.append(float(value))

    walk(answers)
    return numbers, others


# What is loaded for it.

LOADED = """
import sys, electra_tf
preset, folder = sys.argv[1:]

def say():
    print(*[n for n in sys.modules if n.startswith("electra_tf.weights.")])

electra_tf.ElectraTextClassifier.from_preset(preset, num_classes=2)
say()
from electra_tf.release import converter
for format in ("keras_hub", "hugging_face"):
    converter.convert(preset, f"{folder}/{format}", format, say=lambda _: None)
    say()
"""


def test_other_peoples_readers_and_writers_are_loaded_where_they_are_asked_for(
    ours, tmp_path
):
    process = subprocess.run(
        [sys.executable, "-c", LOADED, ours, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    task, keras_hub, hugging_face = map(str.split, process.stdout.splitlines())
    assert "electra_tf.weights.preset" in task
    for loaded in (task, keras_hub):
        assert not [name for name in loaded if "google" in name or "hugging" in name]
    assert "electra_tf.weights.hugging_face_writer" in hugging_face
    assert not [name for name in hugging_face if "google" in name or "reader" in name]
