"""Google's TF1 checkpoints: what is in them is found, read, and computes the same."""

import os
import shutil

import damaging
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tf1_checkpoints

from electra_tf import config, errors
from electra_tf.weights import google_checkpoint, preset, weight_map


@pytest.fixture(scope="module")
def arrays():
    return {
        name: tf1_checkpoints.draw(shapes)
        for name, (shapes, _) in tf1_checkpoints.CHECKPOINTS.items()
    }


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, arrays):
    """All kinds of checkpoints, opened."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        name: google_checkpoint.open_checkpoint(
            tf1_checkpoints.save(
                folder / f"{name}.ckpt-1000", tf1_checkpoints.trained(values)
            ),
            num_heads=None if name == "generator alone" else tf1_checkpoints.NUM_HEADS,
        )
        for name, values in arrays.items()
    }


@pytest.fixture
def saved(tmp_path, arrays):
    return tf1_checkpoints.save(tmp_path / "model.ckpt-7", arrays["shared embeddings"])


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


@pytest.mark.parametrize("kind", tf1_checkpoints.CHECKPOINTS)
def test_networks_are_found_by_names_and_shapes(kind, checkpoints):
    want = {
        name: model
        for name, (model, *_) in tf1_checkpoints.CHECKPOINTS[kind][1].items()
    }
    assert checkpoints[kind].networks == want
    assert checkpoints[kind].origin["global_step"] == 1000


@pytest.mark.parametrize("kind", tf1_checkpoints.CHECKPOINTS)
def test_every_array_arrives_at_its_variable(kind, checkpoints, arrays):
    for network, (_, shared, own) in tf1_checkpoints.CHECKPOINTS[kind][1].items():
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
    "kind", [kind for kind in tf1_checkpoints.CHECKPOINTS if kind != "generator alone"]
)
def test_outputs_are_those_of_the_2020_code(kind, checkpoints, arrays):
    rows = {
        "token_ids": TOKEN_IDS,
        "segment_ids": SEGMENT_IDS,
        "example_ids": np.int32(IS_REAL),
        "position_ids": np.arange(7, dtype=np.int32) * IS_REAL,
    }
    for name, (model, shared, own) in tf1_checkpoints.CHECKPOINTS[kind][1].items():
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
    opened = google_checkpoint.open_checkpoint(
        path, num_heads=tf1_checkpoints.NUM_HEADS
    )
    assert opened.folder == saved
    assert opened.origin == {"format": "Google TF1 checkpoint", "path": saved}


def test_what_tf1_itself_saved_is_opened_wherever_it_was_moved(tmp_path, arrays):
    values = tf1_checkpoints.trained(arrays["uniform generator"])
    (tmp_path / "old").mkdir()
    # The file "checkpoint" names the later one, with its whole path.
    for steps in (1000, 2000):
        tf1_checkpoints.save_as_tf1(tmp_path / "old" / f"model.ckpt-{steps}", values)
    shutil.move(tmp_path / "old", tmp_path / "new")
    opened = google_checkpoint.open_checkpoint(
        str(tmp_path / "new"), None, tf1_checkpoints.NUM_HEADS
    )
    assert opened.folder == str(tmp_path / "new" / "model.ckpt-2000")
    assert opened.networks == {"discriminator": tf1_checkpoints.SMALL}
    network = preset.build(opened, "discriminator")
    np.testing.assert_array_equal(
        weight_map.variables(network)["layer_1/query/kernel"],
        values["electra/encoder/layer_1/attention/self/query/kernel"],
    )


def test_several_of_which_none_is_called_latest_are_listed(saved, arrays, tmp_path):
    tf1_checkpoints.save(tmp_path / "model.ckpt-9", arrays["shared embeddings"])
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
        return google_checkpoint.open_checkpoint(
            saved, file, tf1_checkpoints.NUM_HEADS
        ).vocab

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
        google_checkpoint.open_checkpoint(saved, num_heads=tf1_checkpoints.NUM_HEADS)


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
    opened = google_checkpoint.open_checkpoint(saved, file, tf1_checkpoints.NUM_HEADS)
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
    } | {"cls/predictions/output_bias": np.zeros(tf1_checkpoints.V, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            replace(
                electra__pooler__dense__bias=np.zeros(tf1_checkpoints.D),
                odd=np.zeros(2),
            ),
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
            replace(electra__embeddings__word_embeddings=np.zeros(tf1_checkpoints.V)),
            r"word_embeddings is of shape \[11\], want a float matrix",
        ),
        (
            replace(
                electra__embeddings__word_embeddings=np.zeros(
                    (tf1_checkpoints.V, tf1_checkpoints.E), np.int32
                )
            ),
            "word_embeddings is missing, want a float matrix",
        ),
        (
            replace(
                electra__embeddings__position_embeddings=np.zeros(
                    (0, tf1_checkpoints.E)
                )
            ),
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
    prefix = tf1_checkpoints.save(tmp_path / "model.ckpt-7", changed)
    with pytest.raises(errors.UserError, match=message) as error:
        google_checkpoint.open_checkpoint(prefix, num_heads=tf1_checkpoints.NUM_HEADS)
    assert "\n" not in str(error.value)
    assert prefix in str(error.value)


def test_arrays_that_are_missing_or_of_another_shape_are_listed(tmp_path, arrays):
    changed = dict(arrays["shared embeddings"])
    del changed["electra/encoder/layer_1/attention/self/key/bias"]
    changed["generator_predictions/output_bias"] = np.zeros(
        tf1_checkpoints.V + 1, np.float32
    )
    prefix = tf1_checkpoints.save(tmp_path / "model.ckpt-7", changed)
    opened = google_checkpoint.open_checkpoint(
        prefix, num_heads=tf1_checkpoints.NUM_HEADS
    )
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
    prefix = tf1_checkpoints.save(tmp_path / "model.ckpt-7", cast)
    opened = google_checkpoint.open_checkpoint(
        prefix, num_heads=tf1_checkpoints.NUM_HEADS
    )
    network = preset.build(opened, "discriminator")
    table = weight_map.variables(network)["embeddings/word_embeddings"]
    want = values["electra/embeddings/word_embeddings"]
    np.testing.assert_allclose(table, want, rtol=float(dtype.as_numpy_dtype(2**-8)))
    assert table.dtype == "float32"


def load_all(opened):
    for name in opened.networks:
        preset.build(opened, name)


# So is an index that was made up, before a network of its sizes takes memory.
SHORT = r"its index describes [\d,]+ bytes of arrays, and [\d,]+ are there; "


@pytest.mark.parametrize(
    "damage", [damaging.cut_short, damaging.flip_a_byte, damaging.empty, os.remove]
)
def test_damaged_data_are_named(saved, tmp_path, damage):
    load_all(
        google_checkpoint.open_checkpoint(saved, num_heads=tf1_checkpoints.NUM_HEADS)
    )
    damage(tmp_path / "model.ckpt-7.data-00000-of-00001")
    message = r"cannot read \S+/\S+: " if damage is damaging.flip_a_byte else SHORT
    with pytest.raises(errors.UserError, match=rf"ckpt-7: {message}.*again") as error:
        load_all(
            google_checkpoint.open_checkpoint(
                saved, num_heads=tf1_checkpoints.NUM_HEADS
            )
        )
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
