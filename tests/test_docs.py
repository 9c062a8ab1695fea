"""The site: no link leads nowhere, and what the code says better is read from it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import docs_pages
import pytest
from markdown.extensions.toc import slugify

from electra_tf import __main__ as program
from electra_tf import config

ROOT = Path(__file__).resolve().parent.parent
MADE = docs_pages.pages()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def links(text):
    """Returns what a page links to: (path, anchor), of this repository alone."""
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [
        target.partition("#")[::2]
        for target in targets
        if not re.match(r"https?:|mailto:", target)
    ]


def anchors(text):
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return {slugify(title, "-") for title in re.findall(r"^#+ (.+)$", text, re.M)}


def lost(page, text):
    """Returns the links of a page that lead nowhere."""
    found = []
    for path, anchor in links(text):
        target = Path(os.path.normpath(page.parent / path)) if path else page
        made = MADE.get(os.path.relpath(target, ROOT / "docs"))
        if made is None and not target.exists():
            found.append(path)
        elif anchor and anchor not in anchors(made or target.read_text("utf-8")):
            found.append(f"{path}#{anchor}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert lost(page, page.read_text(encoding="utf-8")) == []


def test_a_link_that_leads_nowhere_is_found():
    page = ROOT / "docs/data.md"
    good = "[a](serving.md) [b](commands/pretrain.md#flags) [c](#what-it-reads) [d](https://e.org)"
    assert lost(page, good + page.read_text("utf-8")) == []
    bad = "[a](nowhere.md) [b](commands/nothing.md) [c](serving.md#nowhere)"
    assert lost(page, bad) == [
        "nowhere.md",
        "commands/nothing.md",
        "serving.md#nowhere",
    ]


@pytest.mark.parametrize(
    "page",
    [
        page for page in PAGES if page.parent.name != "results"
    ],  # They stay as they were.
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_files_that_a_page_names_exist(page):
    text = re.sub(r"\]\([^)]*\)", "", page.read_text("utf-8"))  # Links: see above.
    folders = "configs|docs|electra_tf|scripts|tests"
    for path in re.findall(rf"(?<![\w/.-])(?:{folders})/[\w/.-]*\w", text):
        assert (ROOT / path).exists(), path


def test_each_command_has_a_page_with_all_its_settings_and_flags():
    for name in program.COMMANDS:
        assert f"# {name}\n" in MADE[f"commands/{name}.md"]
        assert f"({name}.md)" in MADE["commands/index.md"]
    page = MADE["commands/pretrain.md"]
    for flag in ("--workdir=WORKDIR", "--config=CONFIG", "--print_config`"):
        assert f"| `{flag}" in page
    described = config.describe(config.PretrainConfig())
    for name in re.findall(r"^  (\w+): ", described, re.M):
        assert re.search(rf"^\| `\w+\.{name}` \|", page, re.M), name
    for name in config.ObjectiveConfig.KINDS:  # Not only the default one's.
        kind = config.ObjectiveConfig.kind(name)
        assert f"### objective, name: {name}\n\n{kind.__doc__}" in page
    assert "| `seed` | int >= 0 | `42` |" in MADE["commands/build_data.md"]
    assert "## Settings" not in MADE["commands/report.md"]


def test_a_number_of_a_decision_becomes_a_link_but_not_in_code():
    class Page:
        class file:  # noqa: N801 - as MkDocs has it
            src_uri = "results/a.md"

    text = "# D1 here\nas D25 says, `D2`, [D3](x.md)\n\n    D4\n"
    linked = docs_pages.on_page_markdown(text, Page, None, None)
    assert linked == text.replace("D25", "[D25](../decisions/D25.md)")


def test_the_site_is_built_without_a_warning(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    classifier = (tmp_path / "api/ElectraTextClassifier.html").read_text("utf-8")
    assert "predict_classes" in classifier
    assert "graph_targets" not in classifier  # For who writes a task.
    assert "Objective.declare" in (tmp_path / "api/Objective.html").read_text("utf-8")
    base = (tmp_path / "api/ElectraTask.html").read_text("utf-8")
    assert base.index(".fit") < base.index("ElectraTask.default_loss")
    front = (tmp_path / "index.html").read_text("utf-8")
    assert "fonts.googleapis" not in front
    assert (tmp_path / "search/search_index.json").stat().st_size > 100_000
