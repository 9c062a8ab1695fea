"""Google's TF1 checkpoints: what is in them is found, read, and computes the same."""

import json
import os
import shutil

import damaging
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from tensorflow.compat import v1 as tf1  # noqa: TID251  (TF1 itself writes them)

from electra_tf import config, errors
from electra_tf.weights import google_checkpoint, preset, weight_map

# V words, P positions, S segments, E embedding, D hidden, F feed-forward; the
# generator's G and GF. All differ. So narrow a generator has one head (2020 code).
V, P, S, E, D, F, G, GF = 11, 9, 3, 5, 6, 8, 4, 7
NUM_HEADS = 3


def dense(scope, rows, columns):
    return {f"{scope}/kernel": (rows, columns), f"{scope}/bias": (columns,)}


def norm(scope, width):
    return {f"{scope}/LayerNorm/{part}": (width,) for part in ("beta", "gamma")}


def embeddings(scope, width):
    rows = {"word": V, "token_type": S, "position": P}
    return {
        **{f"{scope}/embeddings/{n}_embeddings": (r, width) for n, r in rows.items()},
        **norm(f"{scope}/embeddings", width),
    }


def encoder(scope, hidden, wide, num_layers):
    shapes = {}
    for index in range(num_layers):
        layer = f"{scope}/encoder/layer_{index}"
        for part in ("query", "key", "value"):
            shapes |= dense(f"{layer}/attention/self/{part}", hidden, hidden)
        shapes |= dense(f"{layer}/attention/output/dense", hidden, hidden)
        shapes |= norm(f"{layer}/attention/output", hidden)
        shapes |= dense(f"{layer}/intermediate/dense", hidden, wide)
        shapes |= dense(f"{layer}/output/dense", wide, hidden)
        shapes |= norm(f"{layer}/output", hidden)
    return shapes


def project(scope, width, hidden):
    return dense(f"{scope}/embeddings_project", width, hidden)


def masked_token_head(hidden, width):
    return {
        **dense("generator_predictions/dense", hidden, width),
        **norm("generator_predictions", width),
        "generator_predictions/output_bias": (V,),
    }


def replaced_token_head(hidden):
    return {
        **dense("discriminator_predictions/dense", hidden, hidden),
        **dense("discriminator_predictions/dense_1", hidden, 1),
    }


# As small: embeddings narrower than the encoder.
ENCODER = (
    embeddings("electra", E) | project("electra", E, D) | encoder("electra", D, F, 2)
)
DISCRIMINATOR = ENCODER | replaced_token_head(D)
# As base and large: as wide as the encoder.
WIDE = embeddings("electra", D) | encoder("electra", D, F, 2) | replaced_token_head(D)
TOWERS = {
    **project("generator_ltr", E, G),
    **encoder("generator_ltr", G, GF, 1),
    **encoder("generator_rtl", G, GF, 1),
    **dense("cloze_predictions/dense", 2 * G, E),
    **norm("cloze_predictions", E),
    "cloze_predictions/output_bias": (V,),
}


def model(width, hidden, wide, num_layers, num_heads):
    return config.ModelConfig(
        vocab_size=V,
        max_positions=P,
        num_segments=S,
        embedding_size=width,
        hidden_size=hidden,
        intermediate_size=wide,
        num_layers=num_layers,
        num_heads=num_heads,
    )


SMALL = model(E, D, F, 2, NUM_HEADS)
SHARED = ("electra", "electra")  # scopes of the embeddings and the encoder

# What the 2020 code writes -> the networks in it, and the scopes of each.
CHECKPOINTS = {
    "shared embeddings": (
        DISCRIMINATOR
        | project("generator", E, G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, E),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(E, G, GF, 1, 1), "electra", "generator"),
        },
    ),
    "only the generator projects": (
        WIDE
        | project("generator", D, G)
        | encoder("generator", G, GF, 3)
        | masked_token_head(G, D),
        {
            "discriminator": (model(D, D, F, 2, NUM_HEADS), *SHARED),
            "generator": (model(D, G, GF, 3, 1), "electra", "generator"),
        },
    ),
    "only the discriminator projects": (
        DISCRIMINATOR | encoder("generator", E, GF, 1) | masked_token_head(E, E),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(E, E, GF, 1, 1), "electra", "generator"),
        },
    ),
    "untied embeddings": (
        DISCRIMINATOR
        | embeddings("generator", G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, G),
        {
            "discriminator": (SMALL, *SHARED),
            "generator": (model(G, G, GF, 1, 1), "generator", "generator"),
        },
    ),
    "one encoder": (
        DISCRIMINATOR | masked_token_head(D, E),
        {"discriminator": (SMALL, *SHARED), "generator": (SMALL, *SHARED)},
    ),
    "masked tokens alone": (
        ENCODER | masked_token_head(D, E),
        {"generator": (SMALL, *SHARED)},
    ),
    "uniform generator": (DISCRIMINATOR, {"discriminator": (SMALL, *SHARED)}),
    "two towers": (DISCRIMINATOR | TOWERS, {"discriminator": (SMALL, *SHARED)}),
    "fine-tuned": (
        ENCODER | dense("task_specific/mnli/dense", D, 3),
        {"encoder": (SMALL, *SHARED)},
    ),
    "generator alone": (
        embeddings("electra", E)
        | project("generator", E, G)
        | encoder("generator", G, GF, 1)
        | masked_token_head(G, E),
        {"generator": (model(E, G, GF, 1, 1), "electra", "generator")},
    ),
}


def draw(shapes):
    """Draws weights that no initializer gives, and large enough to tell apart."""
    chance = np.random.default_rng(3)
    return {
        name: np.float32(chance.normal(name.endswith("gamma"), 0.5, shape))
        for name, shape in shapes.items()
    }


def trained(arrays):
    """Adds what the 2020 code saves beside the weights, after 1,000 steps."""
    slots = {
        f"{name}/{slot}": np.full(array.shape, 99.0, np.float32)
        for name, array in arrays.items()
        for slot in ("adam_m", "adam_v")
    }
    return {**arrays, **slots, "global_step": np.int64(1000)}


def save_as_tf1(prefix, arrays):
    """Has TF1's own Saver write variables by these names."""
    with tf1.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(n, initializer=a) for n, a in arrays.items()]
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(variables)
        saver.save(session, str(prefix), write_meta_graph=False)
    return str(prefix)


def save(prefix, arrays):
    """Writes the same by the op that Saver stands on, in a hundredth of the time."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )
    return str(prefix)


@pytest.fixture(scope="module")
def arrays():
    return {name: draw(shapes) for name, (shapes, _) in CHECKPOINTS.items()}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, arrays):
    """All kinds of checkpoints, opened."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        name: google_checkpoint.open_checkpoint(
            save(folder / f"{name}.ckpt-1000", trained(values)),
            num_heads=None if name == "generator alone" else NUM_HEADS,
        )
        for name, values in arrays.items()
    }


@pytest.fixture
def saved(tmp_path, arrays):
    return save(tmp_path / "model.ckpt-7", arrays["shared embeddings"])


# Where the 2020 code keeps what our layers keep.
LAYERS = {
    "embeddings_project": "{encoder}/embeddings_project",
    "embeddings": "{embeddings}/embeddings",
    "embeddings/norm": "{embeddings}/embeddings/LayerNorm",
    "masked_token_head": "generator_predictions",
    "masked_token_head/dense": "generator_predictions/dense",
    "masked_token_head/norm": "generator_predictions/LayerNorm",
    "replaced_token_head/dense": "discriminator_predictions/dense",
    "replaced_token_head/logit": "discriminator_predictions/dense_1",
    **{
        f"layer_{index}/{ours}": f"{{encoder}}/encoder/layer_{index}/{theirs}"
        for index in range(3)
        for ours, theirs in {
            "query": "attention/self/query",
            "key": "attention/self/key",
            "value": "attention/self/value",
            "attention_output": "attention/output/dense",
            "attention_norm": "attention/output/LayerNorm",
            "intermediate": "intermediate/dense",
            "output": "output/dense",
            "output_norm": "output/LayerNorm",
        }.items()
    },
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_networks_are_found_by_names_and_shapes(kind, checkpoints):
    want = {name: model for name, (model, *_) in CHECKPOINTS[kind][1].items()}
    assert checkpoints[kind].networks == want
    assert checkpoints[kind].origin["global_step"] == 1000


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_every_array_arrives_at_its_variable(kind, checkpoints, arrays):
    for network, (_, shared, own) in CHECKPOINTS[kind][1].items():
        for variable in preset.build(checkpoints[kind], network).weights:
            layer, part = variable.path.rsplit("/", 1)
            part = part.replace("segment", "token_type")
            scope = LAYERS[layer].format(embeddings=shared, encoder=own)
            np.testing.assert_array_equal(
                np.array(variable), arrays[kind][f"{scope}/{part}"], variable.path
            )


class Reference:
    """The 2020 code's forward pass on TF1's names: post-LayerNorm BERT, in float64."""

    def __init__(self, arrays, num_heads):
        self.arrays = {name: np.float64(array) for name, array in arrays.items()}
        self.num_heads = num_heads

    def dense(self, x, scope):
        return x @ self.arrays[f"{scope}/kernel"] + self.arrays[f"{scope}/bias"]

    def norm(self, x, scope):
        gamma, beta = (self.arrays[f"{scope}/LayerNorm/{n}"] for n in ("gamma", "beta"))
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * gamma + beta

    def gelu(self, x):
        return x * 0.5 * (1 + scipy.special.erf(x / np.sqrt(2)))

    def attend(self, x, is_real, scope):
        def heads(name):
            y = self.dense(x, f"{scope}/{name}")
            return y.reshape(*y.shape[:2], self.num_heads, -1).swapaxes(1, 2)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.swapaxes(2, 3) / np.sqrt(query.shape[-1])
        shares = scipy.special.softmax(
            scores - 10_000.0 * ~is_real[:, None, None, :], axis=-1
        )
        return (shares @ value).swapaxes(1, 2).reshape(x.shape)

    def encode(self, shared, own, token_ids, segment_ids, is_real):
        word, segment, position = (
            self.arrays[f"{shared}/embeddings/{name}_embeddings"]
            for name in ("word", "token_type", "position")
        )
        x = word[token_ids] + segment[segment_ids] + position[: token_ids.shape[1]]
        x = self.norm(x, f"{shared}/embeddings")
        if f"{own}/embeddings_project/kernel" in self.arrays:
            x = self.dense(x, f"{own}/embeddings_project")
        layer, index = f"{own}/encoder/layer_0", 0
        while f"{layer}/output/dense/kernel" in self.arrays:
            attended = self.attend(x, is_real, f"{layer}/attention/self")
            attended = self.dense(attended, f"{layer}/attention/output/dense")
            x = self.norm(x + attended, f"{layer}/attention/output")
            wide = self.gelu(self.dense(x, f"{layer}/intermediate/dense"))
            narrow = self.dense(wide, f"{layer}/output/dense")
            x = self.norm(x + narrow, f"{layer}/output")
            index += 1
            layer = f"{own}/encoder/layer_{index}"
        assert index > 0
        return x

    def generator(self, hidden, positions, shared):
        x = np.take_along_axis(hidden, positions[..., None], axis=1)
        x = self.gelu(self.dense(x, "generator_predictions/dense"))
        x = self.norm(x, "generator_predictions")
        table = self.arrays[f"{shared}/embeddings/word_embeddings"]
        return x @ table.T + self.arrays["generator_predictions/output_bias"]

    def discriminator(self, hidden):
        x = self.gelu(self.dense(hidden, "discriminator_predictions/dense"))
        return self.dense(x, "discriminator_predictions/dense_1")[..., 0]


# B=2, L=7: a row of two segments that is full, and one with padding.
TOKEN_IDS = np.int32([[2, 7, 4, 3, 8, 9, 3], [2, 10, 4, 5, 3, 0, 0]])
SEGMENT_IDS = np.int32([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0]])
IS_REAL = TOKEN_IDS > 0
MASK_POSITIONS = np.int32([[2, 5, 1], [2, 3, 4]])


@pytest.mark.parametrize(
    "kind", [kind for kind in CHECKPOINTS if kind != "generator alone"]
)
def test_outputs_are_those_of_the_2020_code(kind, checkpoints, arrays):
    rows = {
        "token_ids": TOKEN_IDS,
        "segment_ids": SEGMENT_IDS,
        "example_ids": np.int32(IS_REAL),
        "position_ids": np.arange(7, dtype=np.int32) * IS_REAL,
    }
    for name, (model, shared, own) in CHECKPOINTS[kind][1].items():
        reference = Reference(arrays[kind], model.num_heads)
        network = preset.build(checkpoints[kind], name)
        want = reference.encode(shared, own, TOKEN_IDS, SEGMENT_IDS, IS_REAL)
        if name == "generator":
            found = network(rows | {"mask_positions": MASK_POSITIONS}).numpy()
            want = reference.generator(want, MASK_POSITIONS, shared)
        else:
            want = reference.discriminator(want) if name == "discriminator" else want
            found, want = network(rows).numpy()[IS_REAL], want[IS_REAL]
        assert np.std(want) > 0.02  # a thousand times what is allowed
        np.testing.assert_allclose(found, want, rtol=0, atol=2e-5)


def test_two_towers_are_left_out_and_the_origin_says_so(checkpoints):
    assert checkpoints["two towers"].origin["left_out"] == [
        "cloze_predictions",
        "generator_ltr",
        "generator_rtl",
    ]
    others = [c for kind, c in checkpoints.items() if kind != "two towers"]
    assert not any("left_out" in other.origin for other in others)


def test_what_is_left_out_is_said(checkpoints):
    (note,) = checkpoints["fine-tuned"].notes
    assert note == "the head task_specific/mnli is left out"
    notes = checkpoints["two towers"].notes
    assert notes[0] == "cloze_predictions, of two towers (Electric), is left out"
    assert len(notes) == 3
    assert checkpoints["shared embeddings"].notes == []


# Where it is.


@pytest.mark.parametrize(
    "name",
    [
        "model.ckpt-7",
        "model.ckpt-7.index",
        "model.ckpt-7.data-00000-of-00001",
        "model.ckpt-7.meta",
        "",
    ],
)
def test_a_prefix_any_of_its_files_and_its_folder_name_a_checkpoint(saved, name):
    path = os.path.join(os.path.dirname(saved), name)
    assert google_checkpoint.is_checkpoint(path)
    opened = google_checkpoint.open_checkpoint(path, num_heads=NUM_HEADS)
    assert opened.folder == saved
    assert opened.origin == {"format": "Google TF1 checkpoint", "path": saved}


def test_what_tf1_itself_saved_is_opened_wherever_it_was_moved(tmp_path, arrays):
    values = trained(arrays["uniform generator"])
    (tmp_path / "old").mkdir()
    # The file "checkpoint" names the later one, with its whole path.
    for steps in (1000, 2000):
        save_as_tf1(tmp_path / "old" / f"model.ckpt-{steps}", values)
    shutil.move(tmp_path / "old", tmp_path / "new")
    opened = google_checkpoint.open_checkpoint(str(tmp_path / "new"), None, NUM_HEADS)
    assert opened.folder == str(tmp_path / "new" / "model.ckpt-2000")
    assert opened.networks == {"discriminator": SMALL}
    network = preset.build(opened, "discriminator")
    np.testing.assert_array_equal(
        weight_map.variables(network)["layer_1/query/kernel"],
        values["electra/encoder/layer_1/attention/self/query/kernel"],
    )


def test_several_of_which_none_is_called_latest_are_listed(saved, arrays, tmp_path):
    save(tmp_path / "model.ckpt-9", arrays["shared embeddings"])
    for state in (None, b"\xff\0", b'model_checkpoint_path: "model.ckpt-8"\n'):
        if state is not None:
            (tmp_path / "checkpoint").write_bytes(state)
        assert google_checkpoint.is_checkpoint(str(tmp_path))
        with pytest.raises(
            errors.UserError,
            match=r"holds 2 checkpoints: model.ckpt-7, model.ckpt-9; name one, such as",
        ):
            google_checkpoint.open_checkpoint(str(tmp_path))


@pytest.mark.parametrize("name", ["", "model.ckpt-8", "vocab.txt", "no/where", "a\0b"])
def test_what_is_no_checkpoint_is_not_taken_for_one(tmp_path, name):
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    (tmp_path / "config.json").write_text("{}")
    path = os.path.join(tmp_path, name)
    assert not google_checkpoint.is_checkpoint(path)
    with pytest.raises(errors.UserError, match=r"no TF1 checkpoint at .*; want a "):
        google_checkpoint.open_checkpoint(path)


# Heads.


def with_widths(discriminator, generator):
    """Returns a checkpoint of one thin block each."""
    return draw(
        embeddings("electra", E)
        | project("electra", E, discriminator)
        | encoder("electra", discriminator, F, 1)
        | replaced_token_head(discriminator)
        | project("generator", E, generator)
        | encoder("generator", generator, GF, 1)
        | masked_token_head(generator, E)
    )


def heads_of(folder, widths, **given):
    prefix = save(folder / "model.ckpt", with_widths(*widths))
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
        ((200, 64), {}, "convert it with --num_heads=<the number it was trained with>"),
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
    tmp_path, arrays, kind, given, message
):
    prefix = save(tmp_path / "model.ckpt", arrays[kind])
    with pytest.raises(errors.UserError, match=message):
        google_checkpoint.open_checkpoint(prefix, **{given: 1})


# transformers' and BERT's words; hyperparameters of the 2020 code, whose default is
# one head of any width below 128.
OF_DISCRIMINATOR = {"num_attention_heads": 3, "hidden_size": 96, "intermediate_size": F}
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
                        "intermediate_size": F,
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
    prefix = save(tmp_path / "model.ckpt", with_widths(96, 64))
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


# Its vocabulary.

TOKENS = [
    *"[PAD] [unused1] [UNK] [CLS] [SEP] [MASK]".split(),
    *"a ##b ! 1 \u4f60".split(),
]


def vocab_file(folder, tokens, name="vocab.txt"):
    lines = "".join(f"{token}\n" for token in tokens)
    (folder / name).write_text(lines, encoding="utf-8")
    return str(folder / name)


def test_the_vocabulary_is_the_one_named_else_the_one_beside_it(saved, tmp_path):
    def vocab(file=None):
        return google_checkpoint.open_checkpoint(saved, file, NUM_HEADS).vocab

    assert vocab() is None
    vocab_file(tmp_path, TOKENS)
    assert vocab() == TOKENS
    other = [*TOKENS[:-1], "z"]
    assert vocab(vocab_file(tmp_path, other, "other.txt")) == other
    with pytest.raises(errors.UserError, match="cannot read vocabulary nowhere"):
        vocab("nowhere.txt")


@pytest.mark.parametrize("tokens", [TOKENS[:-1], [*TOKENS, "b"]])
def test_a_vocabulary_has_a_token_for_each_row(saved, tmp_path, tokens):
    vocab_file(tmp_path, tokens)
    message = rf"vocab.txt has {len(tokens)} tokens, .* table in .*ckpt-7 11 rows; give"
    with pytest.raises(errors.UserError, match=message):
        google_checkpoint.open_checkpoint(saved, num_heads=NUM_HEADS)


@pytest.mark.parametrize(
    ("token", "lowercase", "strip_accents"),
    [
        ("z", True, True),
        ("##Z", False, False),
        ("\u00dcber", False, False),
        ("\u00fcber", True, False),  # as a German model that lower-cases
        ("\ud55c", True, False),  # no Hangul syllable outlives stripping
        ("\u00f8", True, True),  # not an accent
        ("[Z\u00fc]", True, True),
        ("<S>", True, True),
    ],
)
def test_casing_is_guessed_from_the_vocabulary(
    saved, tmp_path, token, lowercase, strip_accents
):
    file = vocab_file(tmp_path, [*TOKENS[:-1], token])
    opened = google_checkpoint.open_checkpoint(saved, file, NUM_HEADS)
    assert opened.tokenizer == config.TokenizerConfig(
        lowercase=lowercase, strip_accents=strip_accents
    )


# What is wrong with it.


def replace(**changed):
    """Changes arrays: None takes one away; `__` stands for a slash."""

    def change(arrays):
        for name, value in changed.items():
            arrays[name.replace("__", "/")] = value
        return {name: value for name, value in arrays.items() if value is not None}

    return change


def under_bert(arrays):
    return {
        name.replace("electra/", "bert/"): value
        for name, value in arrays.items()
        if name.startswith("electra/")
    } | {"cls/predictions/output_bias": np.zeros(V, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            replace(electra__pooler__dense__bias=np.zeros(D), odd=np.zeros(2)),
            "2 arrays belong to no network .* found in it: electra/pooler/dense/bias, ",
        ),
        (
            replace(**{f"line\nend{i}": np.zeros(1) for i in range(11)}),
            r"11 arrays belong to no network .*: line\\nend0, .* and 3 more",
        ),
        (
            # A generator without a head.
            lambda a: {n: v for n, v in a.items() if "generator_pred" not in n},
            "18 arrays belong to no network .*: generator/embeddings_project/bias, ",
        ),
        (
            lambda a: {n: v for n, v in a.items() if "/layer_0/" not in n},
            "electra/encoder/layer_0/intermediate/dense/kernel is missing, want a",
        ),
        (
            replace(electra__embeddings__word_embeddings=np.zeros(V)),
            r"word_embeddings is of shape \[11\], want a float matrix",
        ),
        (
            replace(electra__embeddings__word_embeddings=np.zeros((V, E), np.int32)),
            "word_embeddings is missing, want a float matrix",
        ),
        (
            replace(electra__embeddings__position_embeddings=np.zeros((0, E))),
            "its discriminator: max_positions=0: input should be greater than 0",
        ),
        (
            under_bert,
            "nothing stands under electra/; it holds bert, cls, which is BERT",
        ),
        (lambda _: {"w": np.zeros(3)}, "nothing stands under electra/; it holds w$"),
        (
            lambda _: {"dense/kernel/.ATTRIBUTES/VARIABLE_VALUE": np.zeros(3)},
            "is a checkpoint of TensorFlow 2, not of Google's TF1 ELECTRA; a run of",
        ),
        (replace(global_step="soon"), "cannot read global_step: "),
    ],
)
def test_what_is_no_electra_is_refused_in_one_line(tmp_path, arrays, change, message):
    changed = change(dict(arrays["shared embeddings"]))
    prefix = save(tmp_path / "model.ckpt-7", changed)
    with pytest.raises(errors.UserError, match=message) as error:
        google_checkpoint.open_checkpoint(prefix, num_heads=NUM_HEADS)
    assert "\n" not in str(error.value)
    assert prefix in str(error.value)


def test_arrays_that_are_missing_or_of_another_shape_are_listed(tmp_path, arrays):
    changed = dict(arrays["shared embeddings"])
    del changed["electra/encoder/layer_1/attention/self/key/bias"]
    changed["generator_predictions/output_bias"] = np.zeros(V + 1, np.float32)
    prefix = save(tmp_path / "model.ckpt-7", changed)
    opened = google_checkpoint.open_checkpoint(prefix, num_heads=NUM_HEADS)
    for name, message in {
        "discriminator": "1 of 43 arrays .*layer_1/attention/self/key/bias is missing",
        "generator": r"1 of 28 arrays .*/output_bias is \[12\], want \[11\]",
    }.items():
        with pytest.raises(errors.UserError, match=message):
            preset.build(opened, name)


@pytest.mark.parametrize("dtype", [tf.float64, tf.float16, tf.bfloat16])
def test_weights_of_another_precision_become_float32(tmp_path, arrays, dtype):
    values = arrays["uniform generator"]
    cast = {name: tf.cast(value, dtype) for name, value in values.items()}
    prefix = save(tmp_path / "model.ckpt-7", cast)
    opened = google_checkpoint.open_checkpoint(prefix, num_heads=NUM_HEADS)
    network = preset.build(opened, "discriminator")
    table = weight_map.variables(network)["embeddings/word_embeddings"]
    want = values["electra/embeddings/word_embeddings"]
    np.testing.assert_allclose(table, want, rtol=float(dtype.as_numpy_dtype(2**-8)))
    assert table.dtype == "float32"


def load_all(opened):
    for name in opened.networks:
        preset.build(opened, name)


@pytest.mark.parametrize(
    "damage", [damaging.cut_short, damaging.flip_a_byte, damaging.empty, os.remove]
)
def test_damaged_data_are_named(saved, tmp_path, damage):
    load_all(google_checkpoint.open_checkpoint(saved, num_heads=NUM_HEADS))
    damage(tmp_path / "model.ckpt-7.data-00000-of-00001")
    opened = google_checkpoint.open_checkpoint(saved, num_heads=NUM_HEADS)
    with pytest.raises(
        errors.UserError, match=r"checkpoint .*ckpt-7: cannot read \S+/\S+: .*again"
    ) as error:
        load_all(opened)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage", [damaging.cut_short, damaging.flip_a_byte, damaging.empty]
)
def test_a_damaged_index_is_named(saved, tmp_path, damage):
    damage(tmp_path / "model.ckpt-7.index")
    with pytest.raises(
        errors.UserError, match=r"checkpoint .*ckpt-7: cannot read its index: .*again"
    ) as error:
        google_checkpoint.open_checkpoint(saved)
    assert "\n" not in str(error.value)


def test_a_path_that_tensorflow_takes_for_a_pattern_is_named(saved, tmp_path):
    moved = tmp_path / "runs [old]"
    moved.mkdir()
    for file in tmp_path.glob("model.ckpt-7.*"):
        shutil.move(file, moved)
    with pytest.raises(errors.UserError, match=r"no path with \[ or .*; rename the f"):
        google_checkpoint.open_checkpoint(str(moved))
