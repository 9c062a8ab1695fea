"""A run's time is told from its matrix products and this machine's."""

import re

import pytest

from electra_tf import config
from electra_tf.network import models
from electra_tf.training import distribution, duration

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=7,
)


def test_a_steps_products_are_those_of_its_layers():
    tokens, row_tokens, predictions = 26, 13, 4
    # A position: query, key, value and output; both feed-forward layers; its scores
    # and its mean over the row.
    block = 4 * 6 * 6 + 2 * 6 * 7 + 2 * 13 * 6
    multiplications = tokens * (2 * block + 5 * 6) + predictions * (6 * 5 + 5 * 11)
    found = duration.step_flops(MODEL, tokens, row_tokens, predictions)
    assert found == 3 * 2 * multiplications


def test_the_weights_that_a_position_passes_are_counted_once():
    kernels = [
        weight
        for weight in models.build_encoder(MODEL).weights
        if weight.path.endswith("kernel")
    ]
    scores = 2 * 2 * 1 * 6  # two blocks, two products over a row of one
    want = sum(kernel.value.shape.num_elements() for kernel in kernels) + scores
    assert duration.step_flops(MODEL, 1, 1) == 3 * 2 * want


def test_a_step_of_twice_the_work_is_told_to_take_longer():
    strategy = distribution.strategy()
    model = config.ModelConfig(hidden_size=32, num_heads=2, intermediate_size=64)

    def tell(*networks):
        return duration.seconds_a_step(strategy, networks, 512, 16)

    once = min(tell((model, 0)) for _ in range(3))
    tenfold = min(tell(*[(model, 0)] * 10) for _ in range(3))
    assert 0 < once < tenfold


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (40, "40 seconds"),
        (100, "2 minutes"),
        (3599, "60 minutes"),
        (3 * 3600, "3 hours"),
        (95 * 86400, "95 days"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds, words):
    assert duration.in_words(seconds) == words


def test_a_run_of_weeks_is_told_of_a_config_that_is_there():
    assert duration.said(3600.0) == "this machine will take about 60 minutes"
    told = duration.said(30 * 86400.0)
    assert told.startswith("this machine will take about 30 days; --config=")
    name = re.search(r"--config=(\w+)", told)[1]
    settings = config.load(config.PretrainConfig, name)
    work = duration.step_flops(settings.model, 1, settings.data.row_tokens)
    assert work < duration.step_flops(config.ModelConfig(), 1, 128)  # ELECTRA-small
