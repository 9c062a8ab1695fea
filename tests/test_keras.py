"""Keras and KerasHub do with our classes what they do with their own."""

import keras
import keras_hub
import numpy as np
import pytest

from electra_tf.tasks import catalog, masked_lm, text_classifier

TEXTS = ["the cat sat on the mat .", "a dog ran", "the bird flew", "under the tree"]
LABELS = [0, 1, 0, 1]


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_bfloat16",
        keras.DTypePolicy("mixed_float16"),
        "bfloat16",
        keras.DTypePolicy("float16"),
    ],
    ids=str,
)
def test_what_was_trained_in_any_precision_opens_without_naming_it(
    dtype, tiny_preset, tmp_path
):
    model = text_classifier.ElectraTextClassifier.from_preset(
        tiny_preset, num_classes=2, sequence_length=13, dtype=dtype
    )
    assert model.dtype_policy == keras.dtype_policies.get(dtype)
    before = model.get_weights()
    if model.dtype == "bfloat16":
        model.fit(TEXTS, LABELS, epochs=1, batch_size=1, verbose=0)
        assert (before[-1] != model.get_weights()[-1]).any()
    want = model.predict(TEXTS)
    assert np.isfinite(want).all()
    folder = str(tmp_path / "tuned")
    model.save_to_preset(folder)
    found = catalog.load(folder)
    assert found.dtype_policy == keras.config.dtype_policy()
    np.testing.assert_allclose(found.predict(TEXTS), want, atol=0.05)
    by_keras_hub = keras_hub.models.TextClassifier.from_preset(folder)
    again = type(model).from_preset(folder, dtype=dtype)
    assert again.dtype_policy == model.dtype_policy
    for other in (found, by_keras_hub, again):
        for one, two in zip(other.weights, model.weights, strict=True):
            np.testing.assert_array_equal(np.float32(one), np.float32(two))
    assert keras_hub.models.Backbone.from_preset(folder).dtype == "float32"


def test_a_preset_that_keras_hub_wrote_in_mixed_precision_opens(tiny_preset, tmp_path):
    model = masked_lm.ElectraMaskedLM.from_preset(tiny_preset, dtype="mixed_bfloat16")
    model.save_to_preset(str(tmp_path))
    # As `save_to_preset` of KerasHub would have it.
    keras_hub.models.Backbone.save_to_preset(model.backbone, str(tmp_path))
    assert "mixed_bfloat16" in (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError, match="Invalid dtype"):
        keras_hub.models.MaskedLM.from_preset(str(tmp_path))
    assert catalog.load(str(tmp_path)).dtype_policy.name == "float32"
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = masked_lm.ElectraMaskedLM.from_preset(str(tmp_path), dtype=None)
    assert found.dtype_policy.name == "mixed_bfloat16"
