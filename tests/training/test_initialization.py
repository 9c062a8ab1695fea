import types
from typing import Any, NamedTuple

import numpy as np
import pytest

from electra_tf import config, errors
from electra_tf.network import models
from electra_tf.objectives import objective, registry
from electra_tf.training import initialization
from electra_tf.weights import preset, weight_map

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef"]
# Of the words, c, a and e remain; two are new.
OTHER_VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"cxaye"]
WORDS = config.TokenizerConfig()

MODEL = config.ModelConfig(
    vocab_size=11,
    embedding_size=5,
    hidden_size=6,
    num_layers=2,
    num_heads=3,
    intermediate_size=8,
    max_positions=128,
    hidden_dropout_rate=0.3,
)
SMALL = MODEL.model_copy(
    update={"hidden_size": 4, "num_heads": 2, "num_layers": 1, "intermediate_size": 7}
)


class Source(NamedTuple):
    """Weights that somebody trained before: a preset.Pretrained."""

    networks: dict[str, config.ModelConfig]
    folder: str = "there"
    tokenizer: config.TokenizerConfig = WORDS
    vocab: list[str] | None = VOCAB
    origin: dict[str, Any] = {}  # noqa: RUF012
    shared: bool = True  # the embeddings

    def load_weights(self, name, network):
        for variable in network.weights:
            variable.assign(array_of(self, name, variable))


def array_of(source, name, variable):
    """Weights that depend on the network and the path."""
    if source.shared and variable.path.startswith("embeddings/"):
        name = "both"
    seed = [*f"{name} {variable.path}".encode()]
    return np.random.default_rng(seed).normal(0, 1, variable.shape).astype(np.float32)


ELECTRA = Source({"discriminator": MODEL, "generator": SMALL})


def settings_of(**sections):
    sections["train"] = {"init_from": "there", **sections.get("train", {})}
    return config.check(config.PretrainConfig, sections, "test")


def with_architecture(settings, source):
    return initialization.with_architecture(
        settings, registry.declare(settings), {"there": source}
    )


def refused(message):
    return pytest.raises(errors.UserError, match=message)


# The architecture.


def test_the_architecture_is_the_sources():
    found = with_architecture(settings_of(), ELECTRA)
    for name in ("hidden_size", "num_layers", "num_heads", "max_positions"):
        assert getattr(found.model, name) == getattr(MODEL, name)
    small = found.generator.resolve(found.model)
    assert (small.hidden_size, small.intermediate_size) == (4, 7)
    # Dropout is the run's own.
    assert found.model.hidden_dropout_rate == small.hidden_dropout_rate == 0.1
    assert found.train == settings_of().train


def test_what_is_stated_may_agree_and_dropout_may_differ():
    model = {"hidden_size": 6, "num_heads": 3, "hidden_dropout_rate": 0.0}
    found = with_architecture(settings_of(model=model), ELECTRA)
    assert found.model.hidden_dropout_rate == 0.0
    assert found.model.num_layers == 2


@pytest.mark.parametrize(
    ("name", "was", "now"),
    [("hidden_size", 6, 12), ("num_layers", 2, 3), ("activation", "'gelu'", "relu")],
)
def test_what_is_stated_and_differs_is_refused_by_name(name, was, now):
    message = f"init_from=there: {name} of its discriminator is {was}, but model.{name}"
    with refused(message) as told:
        with_architecture(settings_of(model={name: now}), ELECTRA)
    assert "\n" not in str(told.value)


def test_scales_that_are_stated_must_give_the_sources_generator():
    with refused("of its generator is .*, by the settings of this run it is"):
        with_architecture(settings_of(generator={"width_scale": 0.5}), ELECTRA)
    fitting = ELECTRA._replace(
        networks={
            "discriminator": MODEL,
            "generator": config.GeneratorConfig(width_scale=0.5).resolve(MODEL),
        }
    )
    found = with_architecture(settings_of(generator={"width_scale": 0.5}), fitting)
    assert found.generator.resolve(found.model).hidden_size == 3


def test_the_vocabulary_is_the_datas_in_both_networks():
    found = with_architecture(settings_of(), ELECTRA)
    model = found.model.model_copy(update={"vocab_size": 70})
    assert found.generator.resolve(model).vocab_size == 70


def test_rows_must_fit_the_sources_position_table():
    short = ELECTRA._replace(
        networks={
            name: model.model_copy(update={"max_positions": 9})
            for name, model in ELECTRA.networks.items()
        }
    )
    with refused("position table, model.max_positions .9."):
        with_architecture(settings_of(), short)


def test_what_has_not_the_runs_network_is_refused():
    only = Source({"generator": SMALL})
    with refused("init_from=there has no discriminator; it has generator"):
        with_architecture(settings_of(), only)
    mlm = settings_of(objective={"name": "mlm"})
    found = with_architecture(mlm, only)
    assert found.model.hidden_size == 4


# The vocabulary.


def check(source, vocab=VOCAB, words=WORDS, **train):
    chosen = config.TrainConfig(init_from="there", **train)
    initialization.check_vocab({"there": source}, chosen, vocab, words)


def test_the_vocabulary_must_be_the_datas():
    check(ELECTRA)
    with refused(
        r"vocabulary \(11 tokens\) is not that of the data \(10 tokens\); bui"
    ):
        check(ELECTRA, OTHER_VOCAB)
    check(ELECTRA, OTHER_VOCAB, init_vocab="shared_tokens")
    swapped = [*VOCAB[:-2], VOCAB[-1], VOCAB[-2]]
    with refused("is not that of the data"):
        check(ELECTRA, swapped)


@pytest.mark.parametrize("name", ["lowercase", "strip_accents", "split_cjk"])
@pytest.mark.parametrize("init_vocab", ["same", "shared_tokens"])
def test_casing_must_be_the_datas(name, init_vocab):
    words = WORDS.model_copy(update={name: not getattr(WORDS, name)})
    with refused(f"{name} of its tokenizer is .*--set tokenizer.{name}="):
        check(ELECTRA, words=words, init_vocab=init_vocab)


def test_weights_without_a_vocabulary_need_one_row_a_token():
    bare = ELECTRA._replace(vocab=None)
    check(bare)
    for vocab, train in ((OTHER_VOCAB, {}), (VOCAB, {"init_vocab": "shared_tokens"})):
        with refused(r"has no vocabulary \(11 tokens\); put its vocab.txt there"):
            check(bare, vocab, **train)


# The weights.


def read(source, vocab=VOCAB, **sections):
    said = []
    settings = with_architecture(settings_of(**sections), source)
    weights = initialization.read_weights(
        settings, registry.declare(settings), {"there": source}, vocab, said.append
    )
    return settings, weights, said


def started(settings, weights, vocab, name="discriminator"):
    """Builds a network at random, and starts it; returns it and what it was before."""
    model = settings.model
    if name == "generator" and settings.objective.name != "mlm":
        model = settings.generator.resolve(model)
    model = model.model_copy(update={"vocab_size": len(vocab)})
    network = preset.BUILDERS[name](model)
    before = {v.path: v.numpy() for v in network.weights}
    learned = types.SimpleNamespace(
        networks={name: network}, declared=registry.declare(settings)
    )
    initialization.assign(learned, weights, vocab)
    return weight_map.variables(network), before


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_networks_start_from_their_namesakes(name):
    settings, weights, said = read(ELECTRA)
    found, _ = started(settings, {name: weights[name]}, VOCAB, name)
    assert said == []
    for path, variable in found.items():
        np.testing.assert_array_equal(variable, array_of(ELECTRA, name, variable), path)


def test_without_a_generator_it_starts_at_random_which_is_said():
    alone = Source({"discriminator": MODEL})
    settings, weights, said = read(alone)
    assert weights.keys() == {"discriminator"}
    assert said == [
        "warning: train.init_from=there has no generator: it starts at random"
    ]
    # It is as wide as this run's scales say.
    small = settings.generator.resolve(settings.model)
    assert small == config.GeneratorConfig().resolve(settings.model)


def test_of_an_encoder_the_head_starts_at_random_which_is_said():
    encoder = Source({"encoder": MODEL})
    settings, weights, said = read(encoder)
    found, before = started(settings, weights, VOCAB)
    random = {path for path in found if np.array_equal(found[path], before[path])}
    assert random == {path for path in found if path.startswith("replaced_token_head")}
    assert any("has no head of a discriminator: it starts at random" in s for s in said)


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_tokens_that_both_have_keep_their_rows(name):
    settings, weights, said = read(
        ELECTRA, OTHER_VOCAB, train={"init_vocab": "shared_tokens"}
    )
    assert said == [
        "train.init_from=there: 8 of 10 tokens were in its vocabulary; the others "
        "start at random"
    ]
    weights = {name: weights[name]}
    found, before = started(settings, weights, OTHER_VOCAB, name)
    tables = {"embeddings/word_embeddings": True}
    tables["masked_token_head/output_bias"] = name == "generator"
    for path, there in tables.items():
        assert (path in found) == there
        if not there:
            continue
        origin = weights[name].arrays[path]
        for row, token in enumerate(OTHER_VOCAB):
            want = origin[VOCAB.index(token)] if token in VOCAB else before[path][row]
            np.testing.assert_array_equal(found[path][row], want)
    for path in found.keys() - tables.keys():
        np.testing.assert_array_equal(found[path], weights[name].arrays[path])


def test_without_a_vocabulary_rows_stay_where_they_are():
    settings, weights, said = read(ELECTRA._replace(vocab=None))
    found, _ = started(
        settings,
        {"discriminator": weights["discriminator"]},
        VOCAB,
    )
    path = "embeddings/word_embeddings"
    np.testing.assert_array_equal(
        found[path], array_of(ELECTRA, "discriminator", found[path])
    )
    assert said == []


def test_two_tables_of_embeddings_cannot_become_one():
    apart = ELECTRA._replace(shared=False)
    with refused("embeddings of their own; set generator.shares=nothing"):
        read(apart)
    _, weights, _ = read(apart, generator={"shares": "nothing"})
    assert weights.keys() == {"generator", "discriminator"}


def test_two_blocks_cannot_become_one():
    settings = config.check(
        config.PretrainConfig,
        {
            "model": MODEL,
            "generator": {"width_scale": 1.0, "depth_scale": 0.5},
            "objective": {"name": "teams", "shared_layers": 1},
        },
        "test",
    )
    learned = registry.build(settings)
    networks = learned.networks.items()
    arrays = {n: {v.path: np.asarray(v) for v in one.weights} for n, one in networks}
    weights = {n: initialization.Weights(own, VOCAB) for n, own in arrays.items()}
    initialization.assign(learned, weights, VOCAB)
    path = "layer_0/query/kernel"
    arrays["generator"][path] = arrays["generator"][path] + 1.0
    with refused(f"its generator and its discriminator differ in {path}"):
        initialization.assign(learned, weights, VOCAB)


def test_what_may_differ_are_settings_of_the_architecture():
    assert set(config.ModelConfig.model_fields) > initialization.MAY_DIFFER
    assert {"generator", "discriminator", "encoder"} == set(preset.BUILDERS)
    # Both are rows by token; no other weight is.
    network = models.build_generator(SMALL)
    by_token = {v.path for v in network.weights if 11 in v.shape}
    assert by_token == set(initialization._BY_TOKEN)


# What an objective says of its networks.


def declare(**networks):
    """Declares networks; each (architecture, what it says of it)."""
    return objective.Declaration(
        networks={
            name: objective.Network(model, lambda: None, "generator", **said)
            for name, (model, said) in networks.items()
        },
        losses={},
        metrics={},
        sums={},
        rows=objective.Rows(),
    )


def test_a_network_may_start_from_a_preset_of_its_own():
    frozen = {"starts_from": ("generator",), "section": "generator", "origin": "its"}
    main = {"starts_from": ("discriminator", "encoder"), "section": "model"}
    declared = declare(main=(MODEL, main), small=(SMALL, frozen))
    other = Source({"generator": SMALL}, folder="its", shared=False)
    assert initialization.paths(declared, config.TrainConfig()) == ["its"]
    settings = settings_of()
    assert initialization.paths(declared, settings.train) == ["there", "its"]
    sources = {"there": Source({"discriminator": MODEL}), "its": other}
    found = initialization.with_architecture(settings, declared, sources)
    assert found.model.hidden_size == MODEL.hidden_size
    assert found.generator.architecture.hidden_size == SMALL.hidden_size
    said = []
    weights = initialization.read_weights(found, declared, sources, VOCAB, said.append)
    assert said == [
        "warning: train.init_from=there has no head of a main: it starts at random"
    ]
    path = "embeddings/word_embeddings"
    table = weights["small"].arrays[path]
    np.testing.assert_array_equal(
        table, array_of(other, "generator", models.build_generator(SMALL).weights[0])
    )


def test_what_a_network_of_its_own_preset_lacks_is_refused():
    frozen = {"starts_from": ("generator",), "origin": "its"}
    declared = declare(small=(SMALL, frozen))
    sources = {"its": Source({"discriminator": MODEL}, folder="its")}
    with refused("^its has no generator; it has discriminator"):
        initialization.with_architecture(settings_of(), declared, sources)


def test_an_architecture_that_no_section_states_must_be_the_sources():
    declared = declare(extra=(SMALL, {"starts_from": ("generator",)}))
    sources = {"there": Source({"generator": SMALL})}
    initialization.with_architecture(settings_of(), declared, sources)
    wide = SMALL.model_copy(update={"intermediate_size": 9})
    declared = declare(extra=(wide, {"starts_from": ("generator",)}))
    with refused("intermediate_size of its generator is 7, by the settings .* is 9"):
        initialization.with_architecture(settings_of(), declared, sources)


def test_a_main_network_that_can_start_from_nothing_refuses_weights():
    declared = declare(main=(MODEL, {"section": "model"}))
    with refused("train.init_from=there has no start for a main; it has discriminator"):
        initialization.with_architecture(settings_of(), declared, {"there": ELECTRA})
