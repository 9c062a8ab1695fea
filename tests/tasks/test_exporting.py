"""What a task says of itself to a server, and what it refuses to export."""

import pytest

from electra_tf import errors
from electra_tf.serving import saved_model
from electra_tf.tasks import text_embedder


def test_rows_that_fit_no_pair_or_no_position_table_are_refused(tiny_preset, tmp_path):
    model = text_embedder.ElectraTextEmbedder.from_preset(tiny_preset)
    for length, message in ((4, "too short for pairs"), (33, "position table of 32")):
        model.preprocessor.change(sequence_length=length)
        with pytest.raises(errors.UserError, match=message):
            model.export_for_serving(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_without_a_preprocessor_is_refused(tiny_backbone, tmp_path):
    model = text_embedder.ElectraTextEmbedder(tiny_backbone)
    with pytest.raises(errors.UserError, match="has no preprocessor"):
        model.export_for_serving(tmp_path / "model")


def test_a_model_says_what_it_is_and_is_as_before_when_an_export_fails(
    build_classifier, tmp_path, monkeypatch
):
    model = build_classifier(class_names=["a", "b", "c"])
    about = model.described("somewhere")
    assert about["task"] == "ElectraTextClassifier"
    assert about["origin"] == "somewhere"
    assert about["labels"] == ["a", "b", "c"]
    assert about["rows"] == {
        "sequence_length": 24,
        "truncate": "round_robin",
        "long_texts": "truncate",
        "stride": None,
    }
    fixed = []

    def fail(*_, **__):
        fixed.append(model.preprocessor.fixed_length)
        raise errors.UserError("no room")

    monkeypatch.setattr(saved_model, "export", fail)
    with pytest.raises(errors.UserError, match="no room"):
        model.export_for_serving(tmp_path / "model", fixed_length=True)
    assert fixed == [True]
    assert not model.preprocessor.fixed_length
    assert model._traced == (None, None)
