"""Heads and activations of a TF1 checkpoint: as given, as a file says, as published."""

import json

import pytest
import tf1_checkpoints

from electra_tf import errors
from electra_tf.weights import google_checkpoint


def with_widths(discriminator, generator):
    """Returns a checkpoint of one thin block each."""
    return tf1_checkpoints.draw(
        tf1_checkpoints.embeddings("electra", tf1_checkpoints.E)
        | tf1_checkpoints.project("electra", tf1_checkpoints.E, discriminator)
        | tf1_checkpoints.encoder("electra", discriminator, tf1_checkpoints.F, 1)
        | tf1_checkpoints.replaced_token_head(discriminator)
        | tf1_checkpoints.project("generator", tf1_checkpoints.E, generator)
        | tf1_checkpoints.encoder("generator", generator, tf1_checkpoints.GF, 1)
        | tf1_checkpoints.masked_token_head(generator, tf1_checkpoints.E)
    )


def heads_of(folder, widths, **given):
    prefix = tf1_checkpoints.save(folder / "model.ckpt", with_widths(*widths))
    opened = google_checkpoint.open_checkpoint(prefix, **given)
    networks = opened.networks
    return (
        tuple(networks[n].num_heads for n in ("discriminator", "generator")),
        opened.notes,
    )


@pytest.mark.parametrize(
    ("widths", "given", "num_heads"),
    [
        ((192, 64), {}, (3, 1)),
        ((128, 96), {}, (2, 1)),
        ((192, 144), {"num_heads": 6}, (6, 2)),  # as the 2020 code has it: 72 wide
        ((48, 20), {"num_heads": 3}, (3, 1)),
        ((96, 64), {"num_heads": 3, "generator_num_heads": 2}, (3, 2)),
    ],
)
def test_heads_are_as_given_or_as_the_2020_code_had_them(
    tmp_path, widths, given, num_heads
):
    assert heads_of(tmp_path, widths, **given)[0] == num_heads


def test_heads_that_no_file_states_are_said(tmp_path):
    (note,) = heads_of(tmp_path, (192, 64))[1]
    assert "discriminator is taken to have 3 attention heads, 64 wide" in note
    assert heads_of(tmp_path, (192, 64), num_heads=3)[1] == []


@pytest.mark.parametrize(
    ("widths", "given", "message"),
    [
        ((96, 64), {}, "discriminator is 96 wide, which heads 64 wide do not div"),
        (
            (200, 64),
            {},
            "convert it with --num_heads=<the number it was trained with>",
        ),
        ((192, 200), {}, "generator is 200 wide, .* convert it with --generator_num_h"),
        (
            (192, 64),
            {"num_heads": 5},
            r"discriminator: num_heads \(5\) must divide hid",
        ),
        ((192, 64), {"num_heads": 0}, "discriminator: num_heads=0: input should be gr"),
    ],
)
def test_heads_that_do_not_divide_are_asked_for(tmp_path, widths, given, message):
    with pytest.raises(errors.UserError, match=message):
        heads_of(tmp_path, widths, **given)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (
            "uniform generator",
            "generator_num_heads",
            "no such encoder; .*has num_heads",
        ),
        ("one encoder", "generator_num_heads", "generator_num_heads=1, but it has no"),
        ("generator alone", "num_heads", "num_heads=1, but .*has generator_num_heads"),
    ],
)
def test_heads_of_an_encoder_that_is_not_there_are_refused(
    tmp_path, kind, given, message
):
    prefix = tf1_checkpoints.save(
        tmp_path / "model.ckpt",
        tf1_checkpoints.draw(tf1_checkpoints.CHECKPOINTS[kind][0]),
    )
    with pytest.raises(errors.UserError, match=message):
        google_checkpoint.open_checkpoint(prefix, **{given: 1})


# transformers' and BERT's words; hyperparameters of the 2020 code, whose default is
# one head of any width below 128.
OF_DISCRIMINATOR = {
    "num_attention_heads": 3,
    "hidden_size": 96,
    "intermediate_size": tf1_checkpoints.F,
}
OF_GENERATOR = {"num_attention_heads": 2, "hidden_size": 64, "num_hidden_layers": 1}


@pytest.mark.parametrize(
    ("files", "num_heads"),
    [
        ({"config.json": OF_DISCRIMINATOR}, (3, 1)),
        ({"bert_config.json": {"num_attention_heads": 6}}, (6, 1)),
        (
            {"generator.json": OF_GENERATOR, "discriminator.json": OF_DISCRIMINATOR},
            (3, 2),
        ),
        (
            {
                "hparams.json": {
                    "model_size": "small",
                    "model_hparam_overrides": {
                        "hidden_size": 96,
                        "num_hidden_layers": 1,
                        "intermediate_size": tf1_checkpoints.F,
                    },
                }
            },
            (1, 1),
        ),
        ({"config.json": OF_DISCRIMINATOR, "tokenizer_config.json": {"a": 1}}, (3, 1)),
    ],
)
def test_a_configuration_beside_a_checkpoint_says_its_heads(tmp_path, files, num_heads):
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    assert heads_of(tmp_path, (96, 64)) == (num_heads, [])


def test_a_flag_goes_before_a_configuration_and_it_is_said(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(OF_DISCRIMINATOR))
    heads, (note,) = heads_of(tmp_path, (96, 64), num_heads=2)
    assert heads == (2, 1)
    assert "config.json says 3 heads of the discriminator; num_heads=2 goes" in note


def test_an_activation_beside_a_checkpoint_is_taken(tmp_path):
    values = {**OF_DISCRIMINATOR, "hidden_act": "relu"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    prefix = tf1_checkpoints.save(tmp_path / "model.ckpt", with_widths(96, 64))
    networks = google_checkpoint.open_checkpoint(prefix).networks
    assert networks["discriminator"].activation == "relu"
    assert networks["generator"].activation == "gelu"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"config.json": {**OF_DISCRIMINATOR, "num_hidden_layers": 2}},
            "config.json is not of the checkpoint beside it, .* num_hidden_layers=2, "
            "and the arrays have 1; put the right one there, or move it away",
        ),
        (
            {"a.json": OF_DISCRIMINATOR, "b.json": {"num_attention_heads": 2}},
            "a.json and .*b.json do not say the same num_attention_heads",
        ),
        (
            {"config.json": {**OF_DISCRIMINATOR, "hidden_act": "tanh"}},
            "config.json: hidden_act='tanh': input should be 'gelu' or 'relu'",
        ),
        (
            {"config.json": {**OF_DISCRIMINATOR, "num_attention_heads": "many"}},
            "config.json: num_attention_heads='many': input should be a valid integer",
        ),
        ({"config.json": "num_attention_heads"}, "config.json: want a JSON object"),
    ],
)
def test_a_configuration_of_another_model_is_refused(tmp_path, files, message):
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    with pytest.raises(errors.UserError, match=message):
        heads_of(tmp_path, (96, 64))
