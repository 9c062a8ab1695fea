"""What the paper's recipe is, and what would have no effect on it."""

import itertools
import types

import keras
import numpy as np
import pytest
import tiny

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.tasks import (
    backbone,
    recipe,
    text_classifier,
)

Classifier = text_classifier.ElectraTextClassifier


@pytest.mark.parametrize(
    ("width", "rate", "decay"),
    [(256, 3e-4, 0.8), (257, 1e-4, 0.8), (768, 1e-4, 0.8), (1024, 5e-5, 0.9)],
)
def test_rates_are_the_papers_for_the_width(width, rate, decay, tiny_model_config):
    model = tiny_model_config.model_copy(
        update={"hidden_size": width, "num_heads": 1, "num_layers": 1}
    )
    classifier = Classifier(backbone.ElectraBackbone.from_model_config(model), 2)
    learner = classifier.optimizer
    assert learner.get_config()["learning_rate"]["config"]["peak"] == rate
    variables = classifier.trainable_variables
    learner.build(variables)
    rates = {v.path: rate for v, rate in zip(variables, learner.rates, strict=True)}
    assert rates["classification_head/dense/kernel"] == 1.0
    assert rates["layer_0/query/kernel"] == pytest.approx(decay)
    assert rates["embeddings/word_embeddings"] == pytest.approx(decay**2)
    assert (learner.clip_norm, learner.decoupled_decay) == (1, 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"optimizer": "adam", "learning_rate": 1e-3},
            "learning_rate=0.001 has no eff",
        ),
        (
            {"optimizer": "sgd", "layer_decay": 0.9},
            "layer_decay=0.9 .* optimizer sgd; ",
        ),
        (
            {"optimizer": keras.optimizers.Adam(), "weight_decay": 0.0},
            "weight_decay=0.0 has no effect on optimizer Adam; leave optimizer out",
        ),
        ({"learning_rate": "fast"}, "learning_rate='fast': want a number"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0: want a number, 0 or more"),
        (
            {"learning_rate": keras.optimizers.schedules.CosineDecay(1e-3, 9)},
            "learning_rate=<.*: want a number.*; a schedule",
        ),
    ],
)
def test_rates_that_would_have_no_effect_are_refused(kwargs, message, build_classifier):
    classifier = build_classifier()
    with pytest.raises(errors.UserError, match=message) as refused:
        classifier.compile(**kwargs)
    assert "\n" not in str(refused.value)


# Rates by depth.


def named(*paths):
    """Returns what has those paths, as variables have them."""
    return [types.SimpleNamespace(path=path) for path in paths]


def test_layer_rates_fall_from_the_head_to_the_embeddings():
    powers = {
        "replaced_token_head/dense/kernel": 0,
        "layer_11/query/kernel": 1,
        "layer_10/output_norm/gamma": 2,
        "layer_1/key/bias": 11,
        "layer_0/value/kernel": 12,
        "embeddings_project/kernel": 13,
        "embeddings/word_embeddings": 13,
    }
    made = recipe.by_depth(named(*powers), num_layers=12, decay=0.8)
    rates = {v.path: group.rate for group in made for v in group.variables}
    np.testing.assert_allclose(
        [rates[path] for path in powers], [0.8**power for power in powers.values()]
    )
    assert len(rates) == len(powers)
    # All are clipped together, and decay as the optimizer says.
    assert {(one.weight_decay, one.clip_norm) for one in made} == {(None, None)}


def test_every_variable_of_a_network_has_a_depth():
    generator = config.GeneratorConfig(width_scale=0.5).resolve(tiny.MODEL)
    for network in (
        models.build_generator(generator),
        models.build_discriminator(tiny.MODEL),
    ):
        depths = [recipe.depth(v.path, 2) for v in network.trainable_variables]
        # 5 of the embedding block and 2 of the projection; 16 a block; a head's 4 or 5.
        sizes = {depth: len(list(all_)) for depth, all_ in itertools.groupby(depths)}
        assert sizes.pop(3) in (4, 5)
        assert sizes == {0: 7, 1: 16, 2: 16}


@pytest.mark.parametrize("path", ["odd/kernel", "layer_x/kernel", "x/layer_0/kernel"])
def test_a_path_that_no_depth_rule_matches_stops_the_run(path):
    with pytest.raises(ValueError, match="0 learning-rate rules match, want 1"):
        recipe.by_depth(named(path), num_layers=2, decay=0.8)
