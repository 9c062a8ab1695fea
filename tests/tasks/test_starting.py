"""Where a task starts from, and how it is saved."""

import json
import os
import shutil
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from classifying import LABELS, TEXTS

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.tasks import (
    backbone,
    keras_hub_writer,
    preprocessor,
    replaced_token_detector,
    text_classifier,
    text_embedder,
    text_regressor,
)
from electra_tf.tasks import tokenizer as task_tokenizer
from electra_tf.text import vocabularies
from electra_tf.weights import (
    google_checkpoint,
    hugging_face_reader,
    hugging_face_writer,
    preset,
    preset_writer,
    weight_map,
)

Classifier = text_classifier.ElectraTextClassifier

GOLDEN = Path(__file__).parents[1] / "golden" / "hugging_face"


@pytest.fixture(scope="module")
def sources(tmp_path_factory, tiny_model_config, tiny_vocab):
    """The same discriminator as a preset, a workdir, for transformers, for KerasHub."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("sources")
    network = models.build_discriminator(tiny_model_config)
    named = {"discriminator": network}, {"discriminator": tiny_model_config}
    words = vocabularies.read(tiny_vocab), config.TokenizerConfig()
    preset_writer.save(str(folder / "run" / "preset"), *named, *words, {})
    hugging_face_writer.save_networks(str(folder / "hugging_face"), *named, *words, {})
    opened = preset.load(str(folder / "run" / "preset"))
    keras_hub_writer.save_backbone(str(folder / "ours"), opened, "discriminator")
    keras_hub_writer.save_keras_hub_electra(
        str(folder / "theirs"), opened, "discriminator"
    )
    detector = replaced_token_detector.ElectraReplacedTokenDetector.from_preset(
        str(folder / "run")
    )
    detector.save_to_preset(str(folder / "another_task"))
    return folder, network


def encode(network, ids):
    ids = np.array([ids], np.int32)
    x = {"token_ids": ids, "segment_ids": 0 * ids}
    if isinstance(network, keras_hub.models.Backbone):
        x["padding_mask"] = 0 * ids + 1
        return network(x)["sequence_output"].numpy()
    x |= {"example_ids": 0 * ids + 1, "position_ids": np.arange(ids.size)[None]}
    return network.get_layer("encoder")(x).numpy()


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("run", 1e-6),
        ("run/preset", 1e-6),
        ("hugging_face", 1e-6),
        ("ours", 1e-6),
        ("another_task", 1e-6),
        # GELU is another.
        ("theirs", 1e-2),
    ],
)
def test_a_task_starts_from_weights_of_any_kind(name, tolerance, sources):
    folder, network = sources
    classifier = Classifier.from_preset(str(folder / name), num_classes=3)
    assert classifier.preprocessor.sequence_length == 32
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(classifier.backbone, ids), encode(network, ids), atol=tolerance
    )
    assert classifier.predict(TEXTS).shape == (11, 3)


@pytest.mark.parametrize("name", ["run", "hugging_face", "ours", "theirs"])
def test_backbone_tokenizer_and_preprocessor_start_from_weights_of_any_kind(
    name, sources
):
    folder, network = sources
    path = folder / name
    encoder = backbone.ElectraBackbone.from_preset(path, dropout=0.25)
    assert encoder.model_config.hidden_dropout_rate == 0.25
    want = encode(network, [2, 6, 7, 3])
    tolerance = 1e-2 if name == "theirs" else 1e-6  # GELU is another.
    np.testing.assert_allclose(encode(encoder, [2, 6, 7, 3]), want, atol=tolerance)
    other = backbone.ElectraBackbone.from_preset(path, load_weights=False)
    assert np.abs(encode(other, [2, 6, 7, 3]) - want).max() > 0.1
    words = task_tokenizer.ElectraTokenizer.from_preset(path)
    assert words.get_vocabulary()[2:4] == ["[CLS]", "[SEP]"]
    assert words.vocabulary_size() == encoder.model_config.vocab_size
    before = preprocessor.ElectraTextPreprocessor.from_preset(path, sequence_length=9)
    assert before.sequence_length == 9
    assert before("the cat")["token_ids"].shape == (9,)


def test_a_task_starts_from_a_checkpoint_of_the_2020_code(
    sources, tmp_path, tiny_vocab
):
    folder, network = sources
    opened = preset.load(str(folder / "run" / "preset"))
    found = weight_map.variables(network)
    arrays = {
        row.tf1.format(**weight_map.SCOPES._asdict()): found[row.ours].numpy()
        for row in weight_map.rows("discriminator", opened.networks["discriminator"])
    }
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt-5"),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    shutil.copy(tiny_vocab, tmp_path / "vocab.txt")
    source = google_checkpoint.open_checkpoint(str(tmp_path), num_heads=3)
    classifier = Classifier.from_pretrained(source, num_classes=2)
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(classifier.backbone, ids), encode(network, ids), atol=1e-6
    )
    os.remove(tmp_path / "vocab.txt")
    bare = google_checkpoint.open_checkpoint(str(tmp_path), num_heads=3)
    with pytest.raises(errors.UserError, match=r"has no vocabulary; convert it with"):
        Classifier.from_pretrained(bare, num_classes=2)
    headless = Classifier.from_pretrained(bare, num_classes=2, preprocessor=None)
    assert headless.preprocessor is None


def test_a_masked_language_model_has_an_encoder_too(
    tmp_path, tiny_model_config, tiny_vocab
):
    network = models.build_generator(tiny_model_config)
    preset_writer.save(
        str(tmp_path),
        {"generator": network},
        {"generator": tiny_model_config},
        vocabularies.read(tiny_vocab),
        config.TokenizerConfig(),
        {},
    )
    embedder = text_embedder.ElectraTextEmbedder.from_preset(str(tmp_path))
    ids = [2, 9, 17, 30, 3]
    np.testing.assert_allclose(
        encode(embedder.backbone, ids), encode(network, ids), atol=1e-6
    )
    with pytest.raises(errors.UserError, match="has no discriminator; it has gen"):
        replaced_token_detector.ElectraReplacedTokenDetector.from_preset(str(tmp_path))


def test_the_head_of_a_hugging_face_classifier_comes_along(tmp_path):
    folder = tmp_path / "there"
    shutil.copytree(GOLDEN / "sequence_classification", folder)
    shutil.copy(GOLDEN / "vocab.txt", folder)
    opened = hugging_face_reader.open_directory(str(folder))
    classifier = Classifier.from_preset(str(folder))
    assert classifier.class_names == opened.label_names
    kernel = classifier.classification_head.logits.kernel.numpy()
    np.testing.assert_array_equal(
        kernel.T, opened.read_head()["classifier.out_proj.weight"]
    )
    with np.load(GOLDEN / "outputs.npz") as file:
        fields = dict(file)
    x = {
        "token_ids": fields["input_ids"],
        "segment_ids": fields["token_type_ids"],
        "padding_mask": fields["attention_mask"],
    }
    want = fields["sequence_classification/logits"]
    np.testing.assert_allclose(classifier.predict(x, verbose=0), want, atol=2e-5)
    other = Classifier.from_preset(str(folder), num_classes=len(opened.label_names))
    assert other.class_names is None
    assert np.any(other.classification_head.logits.kernel.numpy() != kernel)
    # It is no regressor's: that has one output.
    regressor = text_regressor.ElectraTextRegressor.from_preset(str(folder))
    assert regressor.predict(["a"]).shape == (1,)


def test_settings_of_the_preprocessor_are_stated_with_the_preset(sources, tmp_path):
    folder, _ = sources
    stated = {
        "sequence_length": 9,
        "truncate": "waterfall",
        "long_texts": "windows",
        "stride": 2,
    }
    fresh = Classifier.from_preset(str(folder / "run"), num_classes=2, **stated)
    fresh.save_to_preset(str(tmp_path))
    again = Classifier.from_preset(str(tmp_path))
    changed = Classifier.from_preset(str(tmp_path), stride=4, sequence_length=8)
    for made, want in (
        (fresh, stated),
        (again, stated),
        (changed, {**stated, "stride": 4, "sequence_length": 8}),
    ):
        assert {name: getattr(made.preprocessor, name) for name in want} == want
    for wrong, message in (
        ({"long_texts": "drop"}, "long_texts='drop'"),
        ({"sequence_length": 33}, "exceeds the position table of 32"),
    ):
        for place in (folder / "run", tmp_path):
            with pytest.raises(errors.UserError, match=message):
                Classifier.from_preset(str(place), num_classes=2, **wrong)


def test_without_weights_it_starts_at_random(sources):
    folder, network = sources
    classifier = Classifier.from_preset(
        str(folder / "run"), load_weights=False, num_classes=2
    )
    ids = [2, 9, 17, 30, 3]
    apart = encode(classifier.backbone, ids) - encode(network, ids)
    assert np.max(np.abs(apart)) > 0.1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_that_is_not_there_is_named_in_one_line(kind, tmp_path):
    place = kind(tmp_path / "none")
    with pytest.raises(errors.UserError, match=r"none: nothing is there; want") as told:
        Classifier.from_preset(place, num_classes=2)
    assert "\n" not in str(told.value)


def test_rows_longer_than_the_position_table_are_refused(build_classifier):
    classifier = build_classifier()
    classifier.preprocessor.sequence_length = 33
    message = "sequence_length=33 exceeds the position table of 32; take 32 or less"
    for act in (
        lambda: classifier.fit(TEXTS, LABELS),
        lambda: classifier.evaluate(TEXTS, LABELS),
        lambda: classifier.predict(TEXTS),
    ):
        with pytest.raises(errors.UserError, match=message):
            act()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", r"cannot load .*task\.weights\.h5: .*copy or write it again"),
        ("other head", r"cannot load .*task\.weights\.h5: "),
        ("fewer layers", r"model\.weights\.h5 holds .* arrays, and the model has"),
        ("no config", r"task\.json: config=None: want an object"),
        ("many layers", r"task\.json describes .* weights, and their files have"),
        ("many classes", r"task\.json describes .* weights, and their files have"),
        ("no class", r"cannot open .*preset: Attempting to load class ../x"),
    ],
)
def test_a_damaged_preset_of_a_task_is_named_in_one_line(
    tiny_tuned, tmp_path, damage, message
):
    folder = tmp_path / "preset"
    shutil.copytree(tiny_tuned[0] / "preset", folder)
    (folder / "SHA256SUMS").unlink()  # As in a preset that others wrote.
    file = folder / "task.json"
    values = json.loads(file.read_text())
    if damage == "truncate":
        weights = folder / "task.weights.h5"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "other head":
        values["config"] |= {"num_classes": 3, "class_names": None}
    elif damage == "fewer layers":
        values["config"]["backbone"]["config"]["num_layers"] = 1
    elif damage == "many layers":
        values["config"]["backbone"]["config"]["num_layers"] = 10**8
    elif damage == "many classes":
        values["config"]["num_classes"] = 10**9
    elif damage == "no class":
        file = folder / "config.json"
        values = json.loads(file.read_text()) | {"registered_name": "../x"}
    else:
        del values["config"]
    file.write_text(json.dumps(values))
    with pytest.raises(errors.UserError, match=message) as error:
        Classifier.from_preset(str(folder))
    assert "\n" not in str(error.value)


def test_a_bit_that_flips_in_a_saved_task_is_noticed_on_every_road(
    build_classifier, tmp_path
):
    build_classifier().save_to_preset(str(tmp_path))
    roads = (keras_hub.models.TextClassifier, text_classifier.ElectraTextClassifier)
    for name in ("model.weights.h5", "task.weights.h5"):
        whole = (tmp_path / name).read_bytes()
        place = len(whole) // 2
        flipped = bytes([whole[place] ^ 1])
        (tmp_path / name).write_bytes(whole[:place] + flipped + whole[place + 1 :])
        for road in roads:
            with pytest.raises(errors.UserError, match=rf"{name} is not what was"):
                road.from_preset(str(tmp_path))
        (tmp_path / name).write_bytes(whole)
    assert keras_hub.models.TextClassifier.from_preset(str(tmp_path)).num_classes
