"""Model cards: true, harmless whatever they quote, and never over another's words."""

import re

import pytest
import yaml

from electra_tf import config, errors
from electra_tf.weights import model_card, preset, weight_map

MODEL = config.ModelConfig(
    vocab_size=1031,
    embedding_size=10,
    hidden_size=12,
    num_layers=2,
    num_heads=3,
    intermediate_size=20,
    max_positions=32,
)
CONFIGS = {
    "generator": MODEL.model_copy(update={"hidden_size": 8, "num_heads": 2}),
    "discriminator": MODEL,
}
# As pre-training records it, but for the values.
SETTINGS = config.PretrainConfig(
    data=config.DataConfig(records="/somewhere/private/reviews/"),
    train=config.TrainConfig(steps=20_000, init_from="/somewhere/private/run7"),
)
ORIGIN = {
    "settings": SETTINGS.model_dump(),
    "steps": 12_345,
    "metrics": {"replaced_token_auc": 0.93712345, "masked_token_loss": 2.0},
    "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
    "commit": "abc1234+",
}
CARD = model_card.Card("hugging_face", CONFIGS, config.TokenizerConfig(), ORIGIN)


def front_matter(text):
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def section(text, title):
    return re.search(rf"^## {title}\n\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def cells(table):
    """Returns the rows of a Markdown table, unescaped."""
    rows = [line[2:-2].split(" | ") for line in table.split("\n") if line[:2] == "| "]
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows]


# What it says.


def test_a_head_of_a_kind_of_its_own_is_told_without_being_known():
    networks = {"judge": MODEL, "small": CONFIGS["generator"]}
    roles = {"judge": "energy", "small": "energy"}
    card = model_card.Card(
        "preset", networks, config.TokenizerConfig(), ORIGIN, roles=roles
    )
    text = model_card.render(card)
    assert "The judge has a head of its own kind" in text
    assert "parameters \\(without other heads\\)" in text
    assert 'encoder = electra_tf.ElectraBackbone.from_preset("this_folder")' in text
    known = {"judge": "energy", "small": "generator"}
    text = model_card.render(card._replace(roles=known))
    assert 'generator = electra_tf.ElectraMaskedLM.from_preset("this_folder")' in text
    assert "The small guesses hidden tokens." in text


def test_the_tables_of_roles_are_of_the_same_roles():
    assert preset.BUILDERS.keys() == weight_map.HEADS.keys() == model_card._OURS.keys()


@pytest.mark.parametrize(
    ("problem_type", "what"),
    [
        (
            "single_label_classification",
            "sorts texts into classes. Classes: a, b, x\\|",
        ),
        (
            "multi_label_classification",
            "tells which classes a text has, several or none.",
        ),
        ("regression", "rates texts by a number."),
    ],
)
def test_what_a_head_of_texts_learned_is_told_with_its_classes(problem_type, what):
    labels = () if problem_type == "regression" else ("a", "b", "x|y\n# z")
    card = CARD._replace(
        networks={"encoder": MODEL},
        head="sequence_classification",
        problem_type=problem_type,
        labels=labels,
    )
    text = model_card.render(card)
    assert f"The model {what}" in text
    assert "\n# z" not in text
    several = "multi-label-classification" in front_matter(text)["tags"]
    assert several == (problem_type == "multi_label_classification")


def test_the_architecture_of_each_network_is_told():
    table = cells(section(model_card.render(CARD), "Architecture"))
    rows = {row[0]: row[1:] for row in table}
    assert rows[""] == ["discriminator", "generator"]
    assert rows["hidden_size"] == ["12", "8"]
    assert rows["layer_norm_epsilon"] == ["1e-12", "1e-12"]
    assert rows.keys() >= config.ModelConfig.model_fields.keys()


@pytest.mark.parametrize("name", ["encoder", "discriminator", "generator"])
@pytest.mark.parametrize("embedding_size", [10, 12])
def test_parameters_are_counted_as_keras_counts_them(name, embedding_size):
    model = MODEL.model_copy(update={"embedding_size": embedding_size})
    network = preset.BUILDERS[name](model)
    sizes = [v.numpy().size for v in weight_map.variables(network).values()]
    assert model_card.count_parameters(name, model) == sum(sizes)


def test_the_training_of_ours_is_told():
    text = model_card.render(CARD)
    training, data = section(text, "Training"), section(text, "Data")
    assert "12,345 steps." in training
    settings = yaml.safe_load(training.split("```yaml\n")[1].split("```")[0])
    assert settings["train"]["learning_rate"] == SETTINGS.train.learning_rate
    assert settings["train"]["init_from"] == "run7"
    assert ["mask_rate", "0.15"] in cells(data)
    assert ["records", "reviews"] in cells(data)
    assert "private" not in text  # Paths of the machine are nobody's business.
    assert ["replaced_token_auc", "0.937123"] in cells(section(text, "Metrics"))
    versions = cells(section(text, "Versions"))
    assert ["tensorflow", "2.21.0"] in versions
    assert ["commit of electra_tf", "abc1234+"] in versions


def test_what_is_not_known_is_not_made_up():
    origin = {"format": "Hugging Face directory", "path": "/somewhere/private/small"}
    text = model_card.render(CARD._replace(origin=origin))
    assert "What it was trained on is not recorded." in text
    assert (
        section(text, "Metrics")
        == section(text, "Versions")
        == ("None are recorded.\n\n")
    )
    training = section(text, "Training")
    assert "format: Hugging Face directory\npath: small\n" in training
    assert "private" not in text
    assert front_matter(text).keys() == {"library_name", "tags"}


@pytest.mark.parametrize(
    ("origin", "training"),
    [({}, "not recorded"), ({"steps": "many"}, "not recorded"), ({"x": [1]}, "- 1")],
)
def test_any_origin_makes_a_card(origin, training):
    odd = origin | {"settings": [3], "metrics": None, "versions": 2}
    for values in (origin, odd):
        text = model_card.render(CARD._replace(origin=values))
        assert training in section(text, "Training")


def test_casing_is_told():
    rules = config.TokenizerConfig(lowercase=False, strip_accents=True, split_cjk=False)
    data = section(model_card.render(CARD._replace(tokenizer=rules)), "Data")
    assert "Text is cased, accents are dropped, CJK ideographs are not split" in data


# What the Hub reads.


def test_the_front_matter_has_what_the_author_states():
    facts = model_card.Facts("no", "apache-2.0", "somebody/model: [x]")
    front = front_matter(model_card.render(CARD._replace(facts=facts)))
    assert front == {
        "language": "no",  # A code, not false.
        "license": "apache-2.0",
        "library_name": "transformers",
        "tags": ["electra", "discriminator", "generator"],
        "base_model": "somebody/model: [x]",
    }


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("discriminator", None),
        ("generator", "fill-mask"),
        ("encoder", "feature-extraction"),
        ("token_classification", "token-classification"),
        ("sequence_classification", "text-classification"),
        ("multiple_choice", "multiple-choice"),
    ],
)
def test_the_pipeline_is_that_of_the_only_network_or_its_head(name, pipeline):
    is_network = name in preset.BUILDERS
    networks = {name if is_network else "encoder": MODEL}
    card = CARD._replace(networks=networks, head=None if is_network else name)
    text = model_card.render(card)
    assert front_matter(text).get("pipeline_tag") == pipeline
    assert front_matter(text)["tags"] == ["electra", name.replace("_", "-")]
    loading = section(text, "How to load")
    assert f'{model_card.CLASSES[name]}.from_pretrained("this_folder")' in loading


@pytest.mark.parametrize(
    ("layout", "there", "absent"),
    [
        ("preset", 'ElectraMaskedLM.from_preset("this_folder")', "transformers"),
        ("hugging_face", 'subfolder="generator"', "keras_hub"),
        ("keras_hub", 'keras_hub.models.Backbone.from_preset("this_fo', "transformers"),
    ],
)
def test_how_to_load_is_that_of_the_layout(layout, there, absent):
    text = model_card.render(CARD._replace(layout=layout))
    assert there in section(text, "How to load")
    assert absent not in section(text, "How to load")
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        compile(code, "card", "exec")


# Hostile values.

HOSTILE = [
    "x\n---\nlicense: mit\n---\n# Not a title",
    "</td><script>alert(1)</script>",
    "a | b | c",
    "[click](javascript:alert(1)) ![](http://x/y.png)",
    "in\n```\n# out of the fence\n```\nin",
    "<!-- made by electra_tf.model_card: " + "0" * 64 + " -->",
    "\u202etxt.exe\x1b[31m\x00",
    "half a character: \ud800",
    "*bold* _it_ `code` ~~no~~ &amp;",
]


def titles(text):
    """Returns the titles that a reader of Markdown sees: none inside a fence."""
    found, fence = [], ""
    for line in text.split("\n"):
        ticks = re.match(r" {0,3}(`{3,})(.*)", line)
        if not fence and ticks:
            fence = ticks[1]
        elif fence and ticks and len(ticks[1]) >= len(fence) and not ticks[2].strip():
            fence = ""
        elif not fence and re.match(" {0,3}#", line):
            found.append(line)
    assert not fence
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_stays_text(value, tmp_path):
    origin = ORIGIN | {
        "versions": {value: value},
        "metrics": {value: value},
        "commit": value,
        "format": value,
        "settings": {"data": {value: value}, "train": {value: value}},
    }
    facts = model_card.Facts(value, value, value)
    text = model_card.render(CARD._replace(origin=origin, facts=facts))
    assert front_matter(text)["license"] == " ".join(value.split())
    assert titles(text) == titles(model_card.render(CARD))
    for title, columns in (("Versions", 2), ("Metrics", 2), ("Data", 2)):
        body = section(text, title)
        assert not re.search(r"(?<!\\)[<>`]", body)
        for line in body.split("\n"):
            if line.startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", line)) == columns + 1
        assert all(c.isprintable() or c == "\n" for c in body)
    assert model_card.write(str(tmp_path), CARD._replace(origin=origin, facts=facts))
    assert model_card.is_ours(str(tmp_path / "README.md"))


# What is there already.


def test_a_card_of_ours_is_replaced(tmp_path):
    assert model_card.write(str(tmp_path), CARD)
    assert model_card.write(str(tmp_path), CARD._replace(origin={"steps": 777_777}))
    assert "777,777 steps" in (tmp_path / "README.md").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_what_somebody_wrote_or_edited_is_left_alone(tmp_path):
    file = tmp_path / "README.md"
    model_card.write(str(tmp_path), CARD)
    ours = file.read_text()
    edited = ours.replace("## Data", "## My data")
    for text in ("# Mine\n", edited, ours + "\n", "", ours.replace("\n", "\r\n")):
        file.write_bytes(text.encode())
        assert not model_card.write(str(tmp_path), CARD)
        assert file.read_bytes() == text.encode()
    file.write_bytes(b"\xff")
    assert not model_card.write(str(tmp_path), CARD)
    file.write_bytes(ours.encode())
    assert model_card.write(str(tmp_path), CARD)


def test_a_link_that_leads_nowhere_is_left_alone(tmp_path):
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")
    assert not model_card.write(str(tmp_path), CARD)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.UserError, match=r"cannot write .*README.md: Not a dir"):
        model_card.write(str(tmp_path / "file"), CARD)
