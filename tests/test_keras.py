"""Keras and KerasHub do with our classes what they do with their own."""

import gc
import inspect
import weakref

import keras
import keras_hub
import numpy as np
import pytest
from tensorflow.python.framework import func_graph, ops

from electra_tf import errors
from electra_tf.tasks import (
    backbone,
    catalog,
    inputs,
    masked_lm,
    text_classifier,
    token_classifier,
)

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
    (tmp_path / "SHA256SUMS").unlink()  # KerasHub writes none.
    assert "mixed_bfloat16" in (tmp_path / "config.json").read_text()
    with pytest.raises(ValueError, match="Invalid dtype"):
        keras_hub.models.MaskedLM.from_preset(str(tmp_path))
    assert catalog.load(str(tmp_path)).dtype_policy.name == "float32"
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = masked_lm.ElectraMaskedLM.from_preset(str(tmp_path), dtype=None)
    assert found.dtype_policy.name == "mixed_bfloat16"


@pytest.fixture
def build(build_task):
    def make(kind, **arguments):
        if issubclass(
            kind,
            text_classifier.ElectraTextClassifier
            | token_classifier.ElectraTokenClassifier,
        ):
            arguments = {"num_classes": 2, **arguments}
        return build_task(kind, **arguments)

    return make


def ids_for(model):
    """Token ids, segments and the rest, as the model takes them: [2, 7], [2, 3]."""
    chance = np.random.default_rng(7)
    shapes = {"padding_mask": np.ones([2, 7]), "mask_positions": [[1, 2, 4]] * 2}
    return {
        name: np.int32(shapes.get(name, chance.integers(0, 2, [2, 7])))
        for name in model.input
    }


def outputs_of(model, x):
    return [np.asarray(one) for one in keras.tree.flatten(model(x))]


@pytest.mark.parametrize("kind", catalog.classes(), ids=lambda k: k.__name__)
def test_a_clone_computes_the_same_with_the_same_weights(kind, build):
    model = build(kind)
    x = ids_for(model)
    clone = keras.models.clone_model(model)
    assert len(clone.weights) == len(model.weights)
    clone.set_weights(model.get_weights())
    for found, want in zip(outputs_of(clone, x), outputs_of(model, x), strict=True):
        np.testing.assert_allclose(found, want, atol=1e-6)
    assert float(clone.optimizer.learning_rate) == pytest.approx(3e-4)


def test_every_layer_is_made_anew_from_its_config(build):
    kinds = set()
    for kind in catalog.classes():
        for layer in build(kind)._flatten_layers(include_self=False):
            again = type(layer).from_config(layer.get_config())
            assert again.get_config() == layer.get_config()
            kinds.add(type(layer))
    assert len([kind for kind in kinds if kind.__module__.startswith("electra")]) >= 12


def test_a_model_of_keras_on_the_backbones_tensors_is_saved_and_cloned(
    tiny_backbone, tmp_path
):
    head = keras.layers.Dense(3, name="my_head")
    model = keras.Model(
        tiny_backbone.input, head(tiny_backbone.output["pooled_output"])
    )
    x = ids_for(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (loaded, clone):
        np.testing.assert_array_equal(other(x), model(x))
    model.save_weights(tmp_path / "my.weights.h5")
    other = keras.models.clone_model(model)
    other.load_weights(tmp_path / "my.weights.h5")
    np.testing.assert_array_equal(other(x), model(x))


def test_a_cloned_masked_lm_still_scores_with_its_word_embeddings(build):
    clone = keras.models.clone_model(build(masked_lm.ElectraMaskedLM))
    table = next(v for v in clone.weights if v.path.endswith("word_embeddings"))
    x, before = ids_for(clone), outputs_of(clone, ids_for(clone))
    table.assign(np.zeros(table.shape))
    (after,) = outputs_of(clone, x)
    assert np.ptp(after) < 1e-6 < np.ptp(before)


def test_what_compile_was_told_outlives_a_file(build, tmp_path):
    model = build(text_classifier.ElectraTextClassifier)
    model.compile(learning_rate=0.25, layer_decay=0.5, weight_decay=0.125)
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras")
    assert found._recipe.automatic
    told = {"learning_rate": 0.25, "layer_decay": 0.5, "weight_decay": 0.125}
    assert found._recipe.rates == told


def test_the_arguments_of_training_stand_in_keras_order():
    for name in ("fit", "evaluate", "predict", "compile"):
        theirs = inspect.signature(getattr(keras.Model, name)).parameters.keys()
        theirs = [one for one in theirs if one != "kwargs"]
        for kind in catalog.classes():
            ours = inspect.signature(getattr(kind, name)).parameters
            positional = [n for n, p in ours.items() if p.kind is not p.KEYWORD_ONLY]
            if "args" in ours:  # Handed on as they are.
                continue
            assert positional[: len(theirs)] == theirs, (kind, name)


class Counter(keras.callbacks.Callback):
    """Counts batches of training and of prediction."""

    def __init__(self):
        super().__init__()
        self.trained = self.predicted = 0

    def on_train_batch_end(self, batch, logs=None):
        self.trained += 1

    def on_predict_batch_end(self, batch, logs=None):
        self.predicted += 1


def test_one_callback_is_taken_for_a_list_of_them(build):
    model, one = build(text_classifier.ElectraTextClassifier), Counter()
    model.fit(TEXTS, LABELS, 2, 1, 0, one)
    assert one.trained == 2
    model.predict(TEXTS, 3, 0, None, one)
    assert one.predicted == 2
    with pytest.raises(errors.UserError, match="steps=1 is for a"):
        model.predict(TEXTS, steps=1)


@pytest.mark.parametrize("shuffle", [True, False])
def test_inputs_stay_in_their_order_where_they_are_not_shuffled(
    shuffle, build, monkeypatch
):
    orders = []

    class Chooser(inputs._Chooser):
        def __call__(self):
            found = [*super().__call__()]
            orders.append([int(place) for places in found for place in places])
            yield from found

    monkeypatch.setattr(inputs, "_Chooser", Chooser)
    model = build(text_classifier.ElectraTextClassifier)
    many = TEXTS * 5
    model.fit(many, LABELS * 5, 3, epochs=2, verbose=0, shuffle=shuffle)
    as_they_are = [[*range(len(many))]] * 2
    assert (orders[-2:] == as_they_are) != shuffle


def test_training_what_was_never_compiled_is_refused(build):
    model = build(text_classifier.ElectraTextClassifier, compile=False)
    assert model.predict(TEXTS).shape == (4, 2)
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="You must call `compile"):
            call(TEXTS, LABELS)


def test_keras_hub_starts_a_new_head_where_it_is_told_its_size(build, tmp_path):
    build(
        text_classifier.ElectraTextClassifier, class_names=["no", "yes"]
    ).save_to_preset(str(tmp_path))
    found = keras_hub.models.TextClassifier.from_preset(str(tmp_path), num_classes=3)
    assert type(found) is text_classifier.ElectraTextClassifier
    assert (found.num_classes, found.class_names) == (3, None)
    found = keras_hub.models.TextClassifier.from_preset(str(tmp_path))
    assert found.class_names == ["no", "yes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 64}, "did you mean sequence_length"),
        ({"long_text": "windows"}, "did you mean long_texts"),
        ({"learning_rate": 1e-5}, r"say it to compile\(learning_rate=...\)"),
        ({"epochs": 2}, r"say it to fit\(epochs=...\)"),
        ({"precision": "mixed_bfloat16"}, "did you mean dtype"),
        ({"class_name": ["a"]}, "did you mean class_names"),
        ({"zzz": 1}, "it has backbone, num_classes"),
    ],
)
def test_an_option_of_from_preset_that_is_not_known_is_refused(
    options, message, tiny_preset
):
    with pytest.raises(errors.UserError, match=message) as error:
        text_classifier.ElectraTextClassifier.from_preset(
            tiny_preset, **{"num_classes": 2, **options}
        )
    assert "\n" not in str(error.value)
    assert f"from_preset has no {next(iter(options))!r}" in str(error.value)


@pytest.mark.parametrize("kind", catalog.classes(), ids=lambda k: k.__name__)
def test_a_misspelt_argument_is_refused_with_the_right_one(kind, build):
    with pytest.raises(errors.UserError, match=f"{kind.__name__} has no 'nam'; .*name"):
        build(kind, nam="x")
    model = build(kind, name="mine", trainable=False)
    assert model.name == "mine"
    for call, wrong, right in (
        (model.fit, "epoch", "epochs"),
        (model.compile, "metric", "metrics"),
        (model.predict, "batchsize", "batch_size"),
        (model.evaluate, "step", "steps"),
        (model.export_for_serving, "weigths", "weights"),
    ):
        with pytest.raises(
            errors.UserError, match=f"has no '{wrong}'; did you mean {right}"
        ):
            call("x", **{wrong: 1})


def test_backbone_tokenizer_and_preprocessor_refuse_misspelt_arguments(
    tiny_preprocessor, tiny_backbone
):
    words = tiny_preprocessor.tokenizer
    for kind, arguments in (
        (type(words), {"lower_case": True}),
        (type(tiny_preprocessor), {"tokenizer": words, "max_length": 8}),
        (type(tiny_backbone), {**tiny_backbone.get_config(), "num_layer": 2}),
    ):
        with pytest.raises(errors.UserError, match="; did you mean"):
            kind(**arguments)


def test_models_that_are_dropped_leave_nothing_behind(
    tiny_model_config, tiny_preprocessor
):
    models, counts = [], []
    small = tiny_model_config.model_copy(update={"num_layers": 1})
    for _ in range(3):
        encoder = backbone.ElectraBackbone.from_model_config(small)
        model = text_classifier.ElectraTextClassifier(
            encoder, 2, preprocessor=tiny_preprocessor
        )
        model.fit(TEXTS, LABELS, epochs=1, batch_size=2, verbose=0)
        models += [weakref.ref(model), weakref.ref(encoder)]
        del model, encoder
        keras.backend.clear_session()
        gc.collect()
        graphs = [o for o in gc.get_objects() if isinstance(o, func_graph.FuncGraph)]
        counts.append((len(graphs), len(ops.gradient_registry._registry)))
    assert not any(model() for model in models)
    assert counts[2] == counts[1]
