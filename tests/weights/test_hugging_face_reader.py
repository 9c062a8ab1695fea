"""Hugging Face directories are opened: the same numbers, and nothing unnoticed."""

import json
import shutil

import golden
import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.text import vocabularies
from electra_tf.weights import (
    hugging_face,
    hugging_face_config,
    hugging_face_reader,
    model_card,
    preset,
)

# The same numbers.


@pytest.mark.parametrize("model", golden.FOLDERS)
def test_outputs_equal_those_of_transformers(model, outputs):
    found, name, network = golden.network_in(golden.GOLDEN / model)
    real = outputs["attention_mask"] > 0
    hidden, logits = golden.run(name, network, outputs)
    want = outputs[f"{model}/hidden"]
    np.testing.assert_allclose(hidden[real], want[real], rtol=0, atol=golden.TOLERANCE)
    assert np.abs(want[real]).max() > 1  # Else the tolerance would be none.
    model_head = model.removeprefix("bert_")
    assert (found.head is None) == (model_head not in hugging_face.HEADS)
    if found.head:
        assert found.head == model_head
        logits = golden.apply_head(found.head, found.read_head(), hidden)
    if logits is None:
        return
    want = outputs[f"{model}/logits"]
    if logits.shape[:2] == real.shape:
        logits, want = logits[real], want[real]
    np.testing.assert_allclose(logits, want, rtol=0, atol=golden.TOLERANCE)
    if want.ndim == 1:
        np.testing.assert_array_equal(logits > 0, want > 0)
        assert 0 < np.mean(want > 0) < 1
    else:
        np.testing.assert_array_equal(logits.argmax(-1), want.argmax(-1))


def test_every_network_and_head_has_a_golden_model():
    assert {*golden.MODELS, "approximate"} == {*model_card.CLASSES, "approximate"}


def test_what_is_left_out_has_transformers_defaults(copy):
    folder = copy("generator")
    values = json.loads((folder / "config.json").read_text())
    want, _, _ = golden.network_in(folder)
    default = config.ModelConfig()
    assert values["initializer_range"] == default.initializer_range
    for name in ("hidden_act", "hidden_dropout_prob", "layer_norm_eps", "pad_token_id"):
        del values[name]
    (folder / "config.json").write_text(json.dumps(values))
    found, _, _ = golden.network_in(folder)
    assert found.networks == want.networks


def test_what_comes_in_a_folder_each_is_opened_as_both(copy, tmp_path):
    copy("discriminator", "model/discriminator")
    generator = copy("generator", "model/generator")
    path = str(tmp_path / "model")
    with pytest.raises(errors.UserError, match="do not have the same vocabulary"):
        hugging_face_reader.open_directory(path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(golden.GOLDEN / "discriminator" / file, generator)
    assert hugging_face.is_directory(path)
    found = hugging_face_reader.open_directory(path)
    assert list(found.networks) == ["discriminator", "generator"]
    preset.build(found, "discriminator")
    assert preset.build(found, "generator").name == "generator"
    shutil.rmtree(generator)
    copy("discriminator", "model/generator")
    with pytest.raises(errors.UserError, match="holds not a generator but a discrim"):
        hugging_face_reader.open_directory(path)


def test_a_bit_that_flips_is_noticed_before_the_file_is_used(save, tmp_path):
    save(tmp_path / "out")
    file = tmp_path / "out/generator/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 4
    file.write_bytes(data)
    with pytest.raises(errors.UserError, match=f"{file} is not what was written"):
        hugging_face_reader.open_directory(str(tmp_path / "out"))


# Heads.


def test_a_heads_labels_are_in_the_order_of_their_numbers(copy):
    folder = copy("sequence_classification")
    names = ["bad", "middling", "good"]
    assert hugging_face_reader.open_directory(str(folder)).label_names == names
    values = json.loads((folder / "config.json").read_text())
    golden.change_json(folder, id2label=dict(reversed(values["id2label"].items())))
    assert hugging_face_reader.open_directory(str(folder)).label_names == names
    golden.change_json(folder, id2label=None)
    unnamed = ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert hugging_face_reader.open_directory(str(folder)).label_names == unnamed


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
    arrays = golden.head_arrays("sequence_classification", hidden=12, labels=labels)
    golden.change_tensors(folder, lambda tensors: tensors.update(arrays))
    golden.change_json(folder, id2label=None, **stated)
    found = hugging_face_reader.open_directory(str(folder))
    assert found.problem_type == (wanted or stated["problem_type"])
    assert (
        hugging_face_reader.open_directory(str(golden.GOLDEN / "encoder")).problem_type
        is None
    )


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
    golden.change_json(folder, hidden_dropout_prob=0.3, **stated)
    assert hugging_face_reader.open_directory(str(folder)).dropout == dropout


# Of BERT's making.


def test_a_berts_embeddings_are_as_wide_as_its_hidden_layers(copy):
    folder = copy("bert")
    golden.change_json(folder, embedding_size=5)  # Says nothing to transformers.
    found = hugging_face_reader.open_directory(str(folder))
    model = found.networks["encoder"]
    assert (model.embedding_size, model.hidden_size) == (12, 12)
    values = {"model_type": "bert"}
    model = hugging_face_config.architecture(
        hugging_face_config.read(values, "config.json"), "config.json"
    )
    assert model == config.ModelConfig(  # transformers' BertConfig()
        vocab_size=30522,
        embedding_size=768,
        hidden_size=768,
        num_layers=12,
        num_heads=12,
        intermediate_size=3072,
    )


def test_what_a_bert_has_besides_is_left_out_and_said(copy):
    folder = copy("bert")
    found = hugging_face_reader.open_directory(str(folder))
    (note,) = found.notes
    assert note.startswith("its pooler is left out")
    arrays = {
        f"classifier.{n}": np.ones([3, 12][: 2 - i], np.float32)
        for i, n in enumerate(("weight", "bias"))
    }
    golden.change_tensors(folder, lambda tensors: tensors.update(arrays))
    for named in ("BertForSequenceClassification", "BertForMultipleChoice", "Mine"):
        golden.change_json(folder, architectures=[named])
        found = hugging_face_reader.open_directory(str(folder))
        assert (found.head, len(found.notes)) == (None, 2)
        assert "its head is left out, for it stands on the pooler" in found.notes[1]
    golden.change_json(folder, architectures=["BertForTokenClassification"])
    assert hugging_face_reader.open_directory(str(folder)).head.startswith("token")
    whole = golden.GOLDEN / "bert_pretraining"
    notes = hugging_face_reader.open_directory(str(whole)).notes
    assert [note.split(" is left")[0] for note in notes] == [
        "its pooler",
        "its head for next sentences",
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            golden.sets(
                "cls.predictions.decoder.weight", np.ones([39, 12], np.float32)
            ),
            "cls.predictions.decoder.weight is not bert.embeddings.word_embeddings",
        ),
        (
            golden.sets("cls.predictions.decoder.bias", np.ones(39, np.float32)),
            "cls.predictions.decoder.bias is not cls.predictions.bias",
        ),
        (
            golden.sets("bert.encoder.more", np.ones(3, np.float32)),
            "no place for 1 of its arrays: electra.encoder.more",
        ),
        (
            golden.drops("cls.predictions.transform.dense.bias"),
            "generator_predictions.dense.bias is missing",
        ),
        (golden.states(hidden_size=14), r"is \[39, 12\], but .* says \[39, 14\]"),
        (
            golden.states(position_embedding_type="relative_key"),
            "'relative_key' is not",
        ),
        (golden.states(is_decoder=True), "is_decoder=True is not supported"),
    ],
)
def test_a_bert_that_does_not_fit_is_refused(copy, damage, message):
    folder = copy("bert_pretraining")
    damage(folder)
    golden.assert_refused(folder, message)


def test_a_bert_that_has_its_output_layer_twice_is_opened(copy):
    folder = copy("bert_pretraining")
    _, _, network = golden.network_in(folder)

    def double(tensors):
        words = tensors["bert.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.weight"] = words.copy()
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()

    golden.change_tensors(folder, double)
    _, _, twice = golden.network_in(folder)
    assert all(map(np.array_equal, network.get_weights(), twice.get_weights()))
    golden.change_tensors(folder, lambda tensors: tensors.pop("cls.predictions.bias"))
    _, _, once = golden.network_in(folder)
    assert all(map(np.array_equal, network.get_weights(), once.get_weights()))


# Bad input.


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (golden.removes("config.json"), "cannot read .*config.json: No such file"),
        (golden.writes("config.json", "{"), "config.json is not JSON"),
        (golden.writes("config.json", "[" * 10**5), "config.json is not JSON"),
        (golden.writes("config.json", "[3]"), "want a JSON object"),
        (
            golden.states(model_type="roberta"),
            "model_type is 'roberta', which counts positions from behind its padding",
        ),
        (
            golden.states(model_type=["bert"]),
            r"model_type is \['bert'\].*; want 'electr",
        ),
        (golden.states(hidden_size="wide"), "hidden_size='wide'"),
        (golden.states(hidden_size=True), "hidden_size: want a number, got true"),
        (golden.states(num_attention_heads=5), r"num_heads \(5\) must divide"),
        (golden.states(hidden_act="mish"), "hidden_act='mish' is not supported"),
        (
            golden.states(hidden_act="relu"),
            "hidden_act='relu' .* for a generator; want 'gelu'",
        ),
        (
            golden.states(position_embedding_type="relative_key"),
            "position_embedding_type='rel",
        ),
        (golden.states(is_decoder=True), "is_decoder=True is not supported"),
        (golden.states(add_cross_attention=True), "add_cross_attention=True is not"),
        (
            golden.states(vocab_size=40),
            r"is \[39, 10\], but .*config.json says \[40, 10\]",
        ),
        (golden.states(vocab_size=10**12), "they must be of the same model"),
        (golden.states(intermediate_size=33), r"is \[32, 8\], but .* says \[33, 8\]"),
        (
            golden.states(num_hidden_layers=3),
            "num_hidden_layers is 3, but .* have 2 blocks",
        ),
        (
            golden.states(num_hidden_layers=1),
            "num_hidden_layers is 1, but .* have 2 blocks",
        ),
        (golden.states(num_hidden_layers=10**12), "but the weights have 2 blocks"),
        (
            golden.drops(golden.WORDS),
            "word_embeddings.weight is missing, but .*json says",
        ),
        (golden.drops(golden.QUERY), "query.weight is missing"),
        (
            golden.sets(golden.QUERY, np.ones([8, 9], np.float32)),
            r"is \[8, 9\], want \[8, 8\]",
        ),
        (
            golden.sets("pooler.dense.bias", [1.0]),
            "no place for 1 of its .*pooler.dense.bias",
        ),
        (
            golden.sets("classifier.bias", [1.0]),
            "no place for 1 of its .*classifier.bias",
        ),
        (
            golden.sets("generator_lm_head.weight", np.ones([39, 10], np.float32)),
            "generator_lm_head.weight is not .*word_embeddings.weight",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(copy, damage, message):
    folder = copy("generator")
    damage(folder)
    golden.assert_refused(folder, message)
    assert hugging_face.is_directory(str(folder))


def test_a_vocabulary_of_another_length_is_refused(copy):
    folder = copy("encoder")
    tokens = vocabularies.read(golden.GOLDEN / "vocab.txt")
    for changed in (tokens[:-1], [*tokens, "more"]):
        vocabularies.write(folder / "vocab.txt", changed)
        with pytest.raises(errors.UserError, match=f"has {len(changed)} tokens, but"):
            hugging_face_reader.open_directory(str(folder))


OUT = "classifier.out_proj.weight"


@pytest.mark.parametrize(
    ("model", "damage", "message"),
    [
        (
            "token_classification",
            golden.states(id2label={"0": "a"}),
            "the head has 5 labels",
        ),
        (
            "token_classification",
            golden.sets("classifier.bias", 1.0),
            "want \\[0, 12\\]",
        ),
        (
            "sequence_classification",
            golden.drops(OUT),
            "the head's arrays are classifier.de",
        ),
        (
            "sequence_classification",
            golden.sets(OUT, np.ones([3, 11], np.float32)),
            r"out_proj.weight is \[3, 11\], want \[3, 12\]",
        ),
        # Without its projection this would pass for token classification.
        (
            "token_classification",
            golden.states(architectures=["ElectraForMultipleChoice"]),
            "want those of transformers' own heads",
        ),
        (
            "multiple_choice",
            golden.states(summary_type="mean"),
            "summary_type, .*'mean'",
        ),
        ("multiple_choice", golden.states(summary_activation="tanh"), "'tanh'"),
        (
            "question_answering",
            golden.sets("qa_outputs.bias", np.ones(3, np.float32)),
            r"qa_outputs.bias is \[3\], want \[2\]",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_refused(copy, model, damage, message):
    folder = copy(model)
    damage(folder)
    with pytest.raises(errors.UserError, match=message) as error:
        hugging_face_reader.open_directory(str(folder))
    assert "\n" not in str(error.value)
