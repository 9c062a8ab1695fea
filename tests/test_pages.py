"""The commands and programs that README and docs show run, in their order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import commands
import numpy as np
import pytest
import tensorflow as tf

from electra_tf import config
from electra_tf.network import models
from electra_tf.text import vocabularies
from electra_tf.weights import weight_map

ROOT = Path(__file__).resolve().parent.parent

# What is shown and cannot run here, by how it begins, and why.
LEFT_OUT = {
    "scripts/": "makes an environment of its own: what CI and the quickstart are",
    "pip install": "installs",
    "docker run": "needs Docker",
    "curl": "needs a server; tests/finetuning/test_client.py asks one",
    "python -m electra_tf.predict --server": "the same",
    "python -m electra_tf.score --server": "the same",
    "python scripts/": "benchmarks and other machines; the tests of each script",
    "python -m electra_tf.summarize --preset=all-MiniLM": "weights of others",
    "python -m electra_tf.finetune --config=configs/finetune/summaries.yaml": "data of "
    "others; tests/kinds/test_seq2seq.py",
    "python -m electra_tf.finetune --config=configs/finetune/translation.yaml": "a "
    "translator learns from more pairs than there are; tests/kinds/test_seq2seq.py",
    "python -m electra_tf.evaluate --preset=runs/en_de": "the same",
    "python -m electra_tf.predict --preset=runs/en_de": "the same",
    "python -m electra_tf.export --preset=runs/en_de": "the same",
    "python -m electra_tf.finetune --preset=minilm": "weights and data of others; "
    "tests/tasks/test_sentence_classifier.py",
    "python -m electra_tf.evaluate --preset=runs/aclsum": "the same",
    "python -m electra_tf.summarize --preset=runs/aclsum": "the same",
    "python -m electra_tf.predict --preset=runs/aclsum": "the same",
    "python -m electra_tf.convert --from=runs/vectors": "embeddings are narrower here; "
    "tests/weights/test_hugging_face_bert.py",
    "pre-commit": "a tool for those who want it",
    "python -m electra_tf.export --preset=runs/sst-2 --output=models/onnx": "tf2onnx "
    "is nobody's dependency; tests/release/test_portable.py, where it is installed",
}
# The pages beside the README: what each takes for granted, with what stands in for it
# in the world of somebody who went through the README.
PAGES = {
    "docs/cleaning.md": {"runs/mine": "runs/mine"},
    "docs/data.md": {},
    "docs/finetuning.md": {"runs/small": "runs/mine"},
    "docs/index.md": {"my_texts": "texts", "glue/SST-2": "glue/SST-2"},
    "docs/objectives.md": {"data/reviews": "data/mine"},
    "docs/pretraining.md": {
        "data/openwebtext": "data/mine",
        "data/reviews": "data/mine",
        "runs/mlm": "runs/mine",
        "runs/rate-1": "runs/mine",
        "runs/rate-2": "runs/mine",
        "electra_small": "electra_small",
    },
    "docs/scoring.md": {"data/reviews": "data/mine", "runs/small": "runs/mine"},
    "docs/serving.md": {"runs/sst-2": "runs/cola"},
    "docs/summaries.md": {"runs/small": "runs/mine"},
    "docs/vectors.md": {"all-MiniLM-L6-v2": "runs/mine", "runs/small": "runs/mine"},
    "docs/weights.md": {"runs/small": "runs/mine", "data/mine": "data/mine"},
}
# Pages that show nothing to run.
READ_ONLY = {"docs/architecture.md", "docs/results.md"}
# What all pages find: texts, tasks and settings.
GIVEN = (
    *("configs", "my_texts", "texts", "segmented", "glue", "nbest", "questions"),
    *("new.tsv", "article.txt", "texts.txt", "corpus.txt", "en_de.txt"),
)
# Pre-training as it is written takes days: the same command, for a small network.
SMALL = {
    "model.embedding_size": 8,
    "model.hidden_size": 64,
    "model.num_layers": 1,
    "model.num_heads": 1,
    "model.intermediate_size": 24,
    "model.position_initializer": "normal",
    "train.steps": 4,
    "train.batch_size": 4,
    "train.warmup_steps": 1,
    "data.block_rows": 16,
    "run.evaluate_rows": 8,
}


TUTORIALS = [
    f"docs/tutorials/{name}.md"
    for name in ("pretrain", "objective", "finetune", "serving")
]
CHINESE = "docs/tutorials/chinese.md"

# So small a network learns by these.
QUICK = {"train.learning_rate": 3e-3, "train.epochs": 12, "train.batch_size": 8}


class Block(NamedTuple):
    """What a page shows between two fences, or indented."""

    page: str
    language: str
    text: str

    def commands(self) -> list[str]:
        """Returns the lines of a shell, those that end in a backslash joined."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = [line.split("  #")[0].strip() for line in joined.splitlines()]
        return [
            line for line in lines if re.match(r"python |scripts/|pip |curl ", line)
        ]


def blocks(page):
    """Returns what a page shows, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = r"^```(\w*)\n(.*?)^```$"
    indented = r"(?:(?<=\n\n)|^)((?:^ {4}\S.*\n(?:^ {4}.*\n)*))"
    found = []
    for match in re.finditer(f"{fenced}|{indented}", text, re.M | re.S):
        language, inside, code = match.groups()
        found.append(Block(page, language or "", inside or code))
    return found


def is_left_out(command):
    return any(command.startswith(beginning) for beginning in LEFT_OUT)


def run_in(folder, verb, *flags):
    """Does what `python -m electra_tf.<verb>` does, in a folder."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # As `python -m` does.
    commands.run_command(verb, *flags)


class World:
    """A folder that holds what a reader of the pages has."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "configs").symlink_to(ROOT / "configs")
        words = "rain sun wind cloud falls shines blows drifts over under the a".split()
        chance = np.random.default_rng(8)
        documents = [
            "\n".join(" ".join(chance.choice(words, 8)) + "." for _ in range(3))
            for _ in range(60)
        ]
        for name in ("my_texts", "texts", "segmented"):
            (folder / name).mkdir()
            (folder / name / "a.txt").write_text("\n\n".join(documents))
        (folder / "zh_texts").mkdir()
        signs = [chr(0x4E00 + number) for number in range(90)]
        lines = ["".join(chance.choice(signs, 12)) + "\u3002" for _ in range(180)]
        (folder / "zh_texts/a.txt").write_text(
            "\n\n".join("\n".join(lines[at : at + 3]) for at in range(0, 180, 3)),
            encoding="utf-8",
        )
        (folder / "zh_texts/news.txt").write_text("".join(lines[:8]), encoding="utf-8")
        cola = folder / "glue/CoLA"
        cola.mkdir(parents=True)
        rows = [
            f"gj04\t{i % 2}\t\tthe {('rain', 'sun')[i % 2]} {words[i % 7 + 2]}"
            for i in range(56)
        ]
        sst = folder / "glue/SST-2"
        sst.mkdir()
        told = [f"{row.split(chr(9))[3]}\t{row.split(chr(9))[1]}" for row in rows]
        for split in ("train", "dev"):
            (cola / f"{split}.tsv").write_text("\n".join(rows) + "\n")
            (sst / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *told]))
        (folder / "nbest").mkdir()
        for split in ("dev", "test"):
            (folder / f"nbest/{split}.tsv").write_text(
                "id\thypothesis\tscore\treference\n"
                "1\tthe rain falls\t-2.5\tthe rain falls\n"
                "1\tthe rain fall\t-2\tthe rain falls\n"
            )
        article = "The rain falls. The sun shines. A cloud drifts over. The wind blows."
        for name in ("article.txt", "texts.txt", "corpus.txt"):
            (folder / name).write_text(article.replace(". ", ".\n") + "\n")
        (folder / "questions").mkdir()
        asked = [f"{one.split(' ')[1]}\t{one}" for one in article.split(". ")] * 2
        for name in ("train", "dev"):
            table = "\n".join(["text\ttext_pair", *asked])
            (folder / "questions" / f"{name}.tsv").write_text(f"{table}\n")
        (folder / "en_de.txt").write_text("\n\n".join(documents))
        (folder / "new.tsv").write_text("sentence\nthe rain falls\nthe the\n")

    def copy(self, folder, taken):
        """Returns another world, with what is given and what a page takes for granted.

        Args:
            folder: to make it in.
            taken: name there -> name here.
        """
        for name, source in [*((name, name) for name in GIVEN), *taken.items()]:
            place = self.folder / source
            if place.is_dir() and not place.is_symlink():
                shutil.copytree(place, folder / name, dirs_exist_ok=True)
            else:
                shutil.copy(place, folder / name, follow_symlinks=False)
        other = object.__new__(World)
        other.folder = folder
        return other

    def run(self, command):
        """Runs a command as it is shown; pre-training is made small."""
        words = shlex.split(command)
        assert words[:2] == ["python", "-m"], command
        verb = words[2].removeprefix("electra_tf.")
        flags = [*words[3:], *self._smaller(verb)]
        if verb == "build_data":  # It has processes of its own, and no TensorFlow.
            return self._build(flags)
        started = commands.Started(self.folder, run_in, self.folder, verb, *flags)
        code = started.wait()
        assert code == 0, f"{command}\n{started.stdout()[-2000:]}{started.stderr()}"
        return started.stdout()

    def _build(self, flags):
        process = subprocess.run(
            [sys.executable, "-m", "electra_tf.build_data", *flags],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    def _smaller(self, verb):
        changed = {"pretrain": SMALL, "finetune": QUICK}.get(verb, {})
        return [f"--set={name}={value}" for name, value in changed.items()]

    def release(self, folder):
        """Writes a checkpoint of the 2020 code with its vocabulary, as released."""
        folder = self.folder / folder
        folder.mkdir(parents=True)
        shutil.copy(self.folder / "data/mine/vocab.txt", folder)
        sizes = {
            name.removeprefix("model."): value
            for name, value in SMALL.items()
            if name.startswith("model.") and not isinstance(value, str)
        }
        vocab = vocabularies.read(str(folder / "vocab.txt"))
        model = config.ModelConfig(vocab_size=len(vocab), **sizes)
        network = models.build_discriminator(model)
        arrays = dict(
            weight_map.extract(
                weight_map.variables(network),
                weight_map.rows("discriminator", model),
                "tf1",
            )
        )
        tf.raw_ops.SaveV2(
            prefix=str(folder / "electra_small"),
            tensor_names=list(arrays),
            shape_and_slices=[""] * len(arrays),
            tensors=list(arrays.values()),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


def run_page(world, page):
    """Runs all that a page shows; returns how many commands that were."""
    count, names = 0, given_names()
    for block in blocks(page):
        if file := re.match(r"# (\S+\.py)\n", block.text):
            (world.folder / file[1]).parent.mkdir(exist_ok=True)
            (world.folder / file[1]).write_text(block.text)
        elif block.language == "python" and is_program(block):
            # A program goes on where the one before it ended.
            exec(compile(block.text, block.page, "exec"), names)
            assert getattr(names.get("classifier"), "num_classes", 2) == 2
        for command in filter(lambda c: not is_left_out(c), block.commands()):
            if "--from=downloads/" in command:
                world.release("downloads/electra_small")
            # What goes to a file needs no word.
            said = world.run(command)
            assert said or re.search("--(output|weights)=", command), command
            count += 1
    return count


def is_program(block):
    """Tells whether a block runs here: not by a server that is not there."""
    return "http" not in block.text and "grpc" not in block.text


def given_names():
    """Returns what programs leave to their reader."""
    import electra_tf

    texts = ["the rain falls over", "the sun shines", "wind wind", "a cloud drifts"]
    labels = [0, 1, 1, 0]
    return {
        "electra_tf": electra_tf,
        **dict.fromkeys(["texts", "train_texts", "dev_texts"], texts),
        **dict.fromkeys(["sources", "targets", "dev_sources", "dev_targets"], texts),
        **dict.fromkeys(["labels", "train_labels", "dev_labels"], labels),
        **dict.fromkeys(["text", "other_text"], ". ".join(texts).title()),
        "documents": [texts, texts[::-1]],
        "marks": [labels, labels[::-1]],
    }


@pytest.fixture(scope="module")
def inside(world):
    """The place where a reader of the pages stands."""
    before = Path.cwd()
    os.chdir(world.folder)
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def after_readme(inside, world):
    """The world of somebody who went through the README."""
    return run_page(world, "README.md")


def test_the_readme_runs_as_it_is_written(after_readme, world):
    assert after_readme >= 10
    for file in (
        "runs/mine/report.html",
        "runs/further/preset/discriminator.weights.h5",
        "hub/mine/discriminator/model.safetensors",
        "models/cola/1/saved_model.pb",
    ):
        assert (world.folder / file).exists(), file


@pytest.mark.slow
def test_the_tutorials_run_as_they_are_written(inside, world):
    assert [run_page(world, page) for page in TUTORIALS] == [6, 3, 3, 1]
    for file in (
        "runs/slower/report.html",
        "both.html",
        "runs/smoothed/preset/generator.weights.h5",
        "runs/weather/report.html",
        "models/weather/1/saved_model.pb",
    ):
        assert (world.folder / file).exists(), file
    for report in ("runs/smoothed/report.html", "smoothed.html"):
        text = (world.folder / report).read_text(encoding="utf-8")
        assert "Entropy of the guesses (nats)" in text
    own = (world.folder / "my_package/smoothing.py").read_text().splitlines()
    assert len(own) < 60


@pytest.mark.slow
def test_the_tutorial_in_chinese_runs_as_it_is_written(inside, world):
    assert run_page(world, CHINESE) == 13
    page = (world.folder / "runs/zh_names/report.html").read_text(encoding="utf-8")
    assert "LOC" in page
    import tensorflow_text  # noqa: F401  (the model's operations)

    served = tf.saved_model.load(str(world.folder / "models/zh_sentiment/1"))
    found = served.signatures["serving_default"](text=tf.constant(["\u5f88\u597d"]))
    assert found["label"].numpy()[0].decode() in ("\u597d\u8bc4", "\u5dee\u8bc4")


def test_every_page_runs_or_has_nothing_to_run():
    pages = {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md")}
    assert pages == PAGES.keys() | READ_ONLY
    tutorials = ROOT.glob("docs/tutorials/*.md")
    assert {str(page.relative_to(ROOT)) for page in tutorials} == {*TUTORIALS, CHINESE}
    for page in READ_ONLY:
        found = [block for block in blocks(page) if block.language == "python"]
        commands_ = [line for block in blocks(page) for line in block.commands()]
        assert not found + [line for line in commands_ if not is_left_out(line)], page


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_it_is_written(page, after_readme, world, tmp_path, monkeypatch):
    other = world.copy(tmp_path, PAGES[page])
    monkeypatch.chdir(tmp_path)
    assert run_page(other, page)
