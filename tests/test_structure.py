"""Holds the tree to what BUILD, the README and the settings say of it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging import requirements, version

import electra_tf
from electra_tf import config

ROOT = Path(__file__).resolve().parent.parent


def module_name(file):
    """Returns `packing` of electra_tf/packing.py, `tasks/task` of tasks/task.py."""
    name = file.relative_to(ROOT / "electra_tf").with_suffix("").as_posix()
    return name.removesuffix("/__init__")


MODULES = {module_name(file): file for file in ROOT.glob("electra_tf/**/*.py")}
TESTS = {file.stem: file for file in ROOT.glob("tests/test_*.py")}

# Modules without a test file of their own, and why.
UNTESTED = {
    "__init__": "a docstring and the version, which tests below read",
    "__main__": "tests/test_cli.py",
    "tasks": "a docstring",
    "datasets": "a docstring",
    "datasets/dataset": "types; tests/test_datasets.py",
    "datasets/files": "tests/test_datasets.py",
    "datasets/registry": "tests/test_datasets.py",
    "datasets/tables": "tests/test_tabular.py",
}

# The layers (docs/architecture.md): data and model do not know each other.
DATA = (
    "tokenizer corpus records record_reader data_builder packing masking "
    "input_pipeline graph_tokenizer"
)
MODEL = "layers models corruption losses objectives"


def targets():
    """Returns {name: (rule, sources, dependencies)} in the order of BUILD."""
    found = {}
    for statement in ast.parse((ROOT / "BUILD").read_text(encoding="utf-8")).body:
        call = statement.value
        if not isinstance(call, ast.Call) or not call.func.id.startswith("py_"):
            continue
        values = {keyword.arg: keyword.value for keyword in call.keywords}
        name, sources, deps = (
            ast.literal_eval(values[key]) if key in values else []
            for key in ("name", "srcs", "deps")
        )
        assert name not in found, f"BUILD: {name} stands twice"
        found[name] = (call.func.id, sources, {dep.removeprefix(":") for dep in deps})
    return found


def library():
    """Returns the targets of the package, in the order of BUILD."""
    return {
        name: target
        for name, target in targets().items()
        if target[1][0].startswith("electra_tf/")
    }


def verbs():
    return {name for name, (rule, _, _) in library().items() if rule == "py_binary"}


def imports(file):
    """Returns the dotted names that a file imports, wherever it does so."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_of_ours(file):
    """Returns the modules of the package that a file imports."""
    ours = {name for name in imports(file) if name.split(".")[0] == "electra_tf"}
    return {_module(name.split(".")[1:]) for name in ours}


def _module(parts):
    """Returns the module that the dotted name within the package begins with."""
    if not parts:
        return "electra_tf"
    whole = "/".join(parts[:2])
    return whole if whole in MODULES else parts[0]


def packages_imported(file):
    return {name.split(".")[0] for name in imports(file)} - sys.stdlib_module_names


def closure(name):
    """Returns the modules that are loaded when one is imported."""
    found, waiting = {"electra_tf"}, [name]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports_of_ours(MODULES[module])
    return found - {"electra_tf"}


# BUILD.


def test_every_module_and_every_test_has_its_target():
    named = {source for _, sources, _ in targets().values() for source in sources}
    files = {*ROOT.glob("electra_tf/**/*.py"), *ROOT.glob("tests/*.py")}
    assert named == {str(file.relative_to(ROOT)) for file in files}


def test_targets_are_named_after_their_files():
    for name, (rule, sources, _) in targets().items():
        if name not in ("electra_tf", "testing"):
            file = ROOT / sources[-1]
            found = file.stem if name in TESTS else module_name(file)
            assert found == name, f"BUILD: {name}"
            assert (rule == "py_test") == (name in TESTS), f"BUILD: {name}"


def test_imports_are_the_declared_ones_and_point_upstream():
    seen = {"electra_tf"}
    for name, (_, sources, declared) in library().items():
        if name == "electra_tf":
            continue
        imported = imports_of_ours(ROOT / sources[0]) or {"electra_tf"}
        assert imported == declared, f"{name}: edit BUILD or the imports"
        assert declared <= seen, f"{name} imports something downstream of it"
        seen.add(name)


def test_tests_declare_what_they_import_and_run():
    for name in TESTS:
        _, sources, declared = targets()[name]
        assert declared == names_of_ours(ROOT / sources[-1]) | {"testing"}, name
    _, sources, declared = targets()["testing"]
    assert declared == set().union(*[names_of_ours(ROOT / file) for file in sources])


def names_of_ours(file):
    """Returns the modules that a test imports, or names in the code that it runs."""
    text = file.read_text(encoding="utf-8")
    names = imports_of_ours(file)
    for package, line in re.findall(
        r"^ +from electra_tf(?:\.(\w+))? import ([\w, ]+)", text, re.M
    ):
        for name in re.split(r",\s*", line.strip()):
            names.add(f"{package}/{name}" if package else name)
    dotted = re.findall(r"electra_tf\.([\w.]+)", text)
    return names | library().keys() & {_module(name.split(".")) for name in dotted}


def test_every_module_has_its_tests():
    for name in MODULES.keys() - UNTESTED.keys():
        names = {f"test_{Path(name).name}", f"test_{name.replace('/', '_')}"}
        if name == "tasks/tokenizer":  # As there is a module `tokenizer`.
            names = {"test_tasks_tokenizer"}
        assert names & TESTS.keys(), f"write tests/test_{Path(name).name}.py"
    assert UNTESTED.keys() <= MODULES.keys()


# Layers.


def test_data_and_model_do_not_know_each_other():
    data, model = set(DATA.split()), set(MODEL.split())
    for name in data:
        assert not closure(name) & model, name
        assert "keras" not in packages_imported(MODULES[name]), name
    for name in model:
        assert not closure(name) & data, name


def test_settings_and_flags_load_neither_tensorflow_nor_keras():
    for name in closure("cli"):
        assert not packages_imported(MODULES[name]) & {"tensorflow", "keras"}, name


def test_nobody_imports_a_verb_and_only_commands_have_flags():
    for name, file in MODULES.items():
        assert not imports_of_ours(file) & verbs(), f"{name} imports a command"
        if name not in verbs() | {"cli"}:
            assert "absl.flags" not in imports(file), f"{name} defines flags"


def test_pretraining_loads_neither_tensorflow_text_nor_keras_hub():
    assert verbs()
    code = "import electra_tf.pretraining, sys; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(process.stdout.split())
    assert "tensorflow" in loaded
    assert not loaded & {"tensorflow_text", "keras_hub", "keras_nlp", "transformers"}


def test_a_reader_of_pretraining_needs_few_files_and_lines():
    # Other people's weights are read about when one starts from them.
    aside = {"model_card", "weight_map", "google_checkpoint", "hugging_face"}
    # How a process talks and ends, and how files come whole to the disk, when one
    # wonders about that.
    aside |= {"native_log", "console", "interrupts", "durable", "checksums"}
    road = closure("pretrain") - aside
    lines = sum(len(MODULES[name].read_text().splitlines()) for name in road)
    assert len(road) <= 31, sorted(road)
    assert lines <= 8500, lines


# What is written elsewhere.


def test_the_architecture_maps_the_modules_in_the_order_of_build():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    mapped = re.findall(r"^  ([\w/]+)\.py ", page, re.M)
    assert mapped == named_modules()


def test_the_package_names_its_modules_in_the_order_of_build():
    lists = re.findall(r"^(?:\S.*)?  +(\w.*)$", electra_tf.__doc__, re.M)
    named = re.findall(r"[\w/]+", " ".join(lists).replace("then ", ""))
    assert named == named_modules()


def test_the_package_offers_the_classes_of_the_tasks():
    kinds = {
        node.name: name
        for name, file in MODULES.items()
        if name.startswith("tasks/")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.startswith("Electra")
    }
    kinds.pop("ElectraTask")
    assert kinds.keys() <= set(dir(electra_tf))
    found = {name: f"tasks/{module}" for name, module in electra_tf._CLASSES.items()}
    assert found == kinds
    with pytest.raises(AttributeError, match="no attribute 'ElectraBert'"):
        _ = electra_tf.ElectraBert


def named_modules():
    packages = {"electra_tf", "tasks", "datasets"}
    return [name for name in library() if name not in packages]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_paths_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    folders = "|".join(["configs", "docs", "electra_tf", "scripts", "tests"])
    paths = re.findall(rf"\b(?:{folders})/[\w/.-]*\w", text)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), f"{page} names {path}"


def test_the_commands_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python -m electra_tf\.(\w+)", text))
    assert named == verbs()


def test_the_decisions_that_are_cited_are_written_down():
    decisions = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
    written = re.findall(r"^## (D\d+) ", decisions, re.M)
    assert written == [f"D{i + 1}" for i in range(len(written))]
    for file in [*MODULES.values(), ROOT / "README.md", ROOT / "pyproject.toml"]:
        cited = re.findall(r"(?:decisions\.md, |\()(D\d+)\b", file.read_text())
        assert set(cited) <= set(written), file.name


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("configs/**/*.yaml")), ids=lambda f: f.stem
)
def test_every_config_loads_and_says_how_it_is_run(file):
    tuning = file.parent.name == "finetune"
    config.load(config.FinetuneConfig if tuning else config.PretrainConfig, str(file))
    text = file.read_text(encoding="utf-8")
    assert f"--config={file.relative_to(ROOT)}" in text
    assert re.search(r"^# .*\bmeasured\b", text, re.M | re.I)
    assert len(text.splitlines()) <= 60


# What a machine needs.


def declared_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + extras["cpu"] + extras["text"]
    parsed = [requirements.Requirement(line) for line in lines]
    return {canonical(need.name): need.specifier for need in parsed}


def pins(file):
    """Returns {package: version} of a requirements file that pins every line."""
    lines = (ROOT / file).read_text().splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pinned}  # Or it fails here.


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_pins_satisfy_the_ranges():
    pinned = pins("requirements.txt")
    for name, allowed in declared_ranges().items():
        assert pinned[name] in allowed, f"{name}=={pinned[name]} is not {allowed}"


def test_the_lowest_versions_are_those_that_the_ranges_begin_with():
    lowest = {
        name: min(
            version.Version(bound.version) for bound in allowed if ">" in str(bound)
        )
        for name, allowed in declared_ranges().items()
    }
    pinned = pins("requirements-lowest.txt")
    assert {n: version.Version(v) for n, v in pinned.items()} == lowest


def test_every_tool_is_pinned():
    assert pins("requirements-dev.txt").keys() >= {"ruff", "mypy", "pytest"}


def test_what_the_modules_import_is_declared():
    owners = importlib.metadata.packages_distributions()
    declared = {*declared_ranges(), "keras-hub", "pyarrow", "tf2onnx", "zstandard"}
    for name, file in MODULES.items():
        for package in packages_imported(file) - {"electra_tf"}:
            found = {canonical(owner) for owner in owners.get(package, [package])}
            assert found & declared, f"{name} imports {package}: edit pyproject.toml"


def test_the_version_is_the_same_everywhere():
    module = (ROOT / "MODULE.bazel").read_text()
    assert f'    version = "{electra_tf.__version__}",\n)\n\nbazel_dep' in module


def texts():
    """Returns the files that we write by hand."""
    folders = ["electra_tf", "tests", "scripts", "configs", "docs", ".ci"]
    files = [file for name in folders for file in (ROOT / name).rglob("*")]
    files += set(ROOT.glob("*")) - {ROOT / ".git"}  # A file in a second worktree.
    return [
        file
        for file in files
        if file.suffix in (".py", ".md", ".yaml", ".toml", ".sh", ".txt", ".bazel", "")
        and file.is_file()
        and file.name != ".git"  # A worktree's names its place.
    ]


def test_no_file_names_a_path_of_one_machine():
    paths = re.compile(r"(?<![\w.])/(?:work|root|home|mnt|Users)/|\.\./shared\b")
    found = [file for file in texts() if paths.search(file.read_text(encoding="utf-8"))]
    assert found == []
    assert len(texts()) > len(MODULES) + len(TESTS)


def test_source_is_ascii():
    for file in [*MODULES.values(), *TESTS.values(), *ROOT.glob("scripts/*")]:
        assert file.read_bytes().isascii(), file
