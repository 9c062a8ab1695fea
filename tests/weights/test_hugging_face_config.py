"""What a config.json must say."""

import pytest

from electra_tf import errors
from electra_tf.weights import hugging_face_config


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("xlm-roberta", "counts positions from behind its padding token"),
        ("distilbert", "has no segments"),
        ("gpt2", "the weights of other models do not fit"),
        (None, "the weights of other models do not fit"),
    ],
)
def test_other_models_are_refused_by_name(family, reason):
    with pytest.raises(errors.UserError, match=reason) as error:
        hugging_face_config.read({"model_type": family}, "x/config.json")
    assert f"x/config.json: model_type is {family!r}" in str(error.value)
    assert str(error.value).endswith("want 'electra' or 'bert'")


def test_a_bert_may_have_any_activation_that_is_known_an_electra_generator_one():
    for family in ("bert", "electra"):
        values = {"model_type": family, "hidden_act": "relu"}
        stated = hugging_face_config.read(values, "config.json")
        hugging_face_config.refuse_unsupported(stated, "encoder", "config.json")
        if family == "bert":
            hugging_face_config.refuse_unsupported(stated, "generator", "config.json")
        else:
            with pytest.raises(errors.UserError, match="want 'gelu'"):
                hugging_face_config.refuse_unsupported(stated, "generator", "c.json")
