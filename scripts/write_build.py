"""Writes BUILD: every module, command and file of tests, and what each of them imports.

    python scripts/write_build.py

In:   the order of the rooms (the docstring of electra_tf), of the modules in a room
      (that of its `__init__`), and the imports of every file.
Out:  BUILD. An import that points downstream, a module that its room does not name, and
      a name without its file are errors.
"""

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "electra_tf"
HEAD = '''"""The modules, in the order of the data: a target's deps all stand above it.

Written by scripts/write_build.py; tests/test_structure.py holds it to that. Third-party
packages come from the Python on PATH (MODULE.bazel).
"""

load("//:electra.bzl", "command", "helpers", "module", "tests")

package(default_visibility = ["//visibility:public"])
'''


def main() -> None:
    """Writes the file, or says what is wrong."""
    try:
        text = build()
    except ValueError as error:
        sys.exit(str(error))
    (ROOT / "BUILD").write_text(text, encoding="utf-8")


def build() -> str:
    """Returns what BUILD should be.

    Raises:
        ValueError: the modules and the docstrings that list them differ, or an import
            points downstream.
    """
    parts, seen = [HEAD], {"electra_tf"}
    parts.append(_call("module", "electra_tf", src="electra_tf/__init__.py"))
    for name in modules():
        deps = imports(PACKAGE / f"{name}.py")
        if wrong := sorted(deps - seen):
            raise ValueError(f"{name} imports {wrong[0]}, which is listed below it")
        rule = "command" if is_command(PACKAGE / f"{name}.py") else "module"
        parts.append(_call(rule, name, deps=deps))
        seen.add(name)
        if (PACKAGE / name / "__init__.py").exists():
            parts[-1] = f"# {name}\n" + _call(
                "module", name, src=f"electra_tf/{name}/__init__.py"
            )
    shared = [
        *sorted((ROOT / "tests").glob("**/conftest.py")),
        *sorted((ROOT / "tests/helpers").glob("*.py")),
    ]
    deps = set().union(*[names(file) for file in shared])
    sources = [str(file.relative_to(ROOT)) for file in shared]
    parts.append("# tests\n" + _call("helpers", "testing", srcs=sources, deps=deps))
    for file in test_files():
        name = str(file.relative_to(ROOT).with_suffix(""))
        parts.append(_call("tests", name, deps=names(file)))
    return "\n".join(parts)


def modules() -> Iterator[str]:
    """Yields rooms and modules, `text` and `text/corpus`, in the order of the data.

    Raises:
        ValueError: a docstring lists what is not there, or misses what is.
    """
    found = set()
    for name in _listed(PACKAGE / "__init__.py"):
        yield name
        found.add(name)
        room = PACKAGE / name / "__init__.py"
        for inner in _listed(room) if room.exists() else []:
            yield f"{name}/{inner}"
            found.add(f"{name}/{inner}")
    there = {
        str(file.relative_to(PACKAGE).with_suffix("")).removesuffix("/__init__")
        for file in PACKAGE.glob("**/*.py")
        if file != PACKAGE / "__init__.py"
    }
    if wrong := sorted(there ^ found):
        raise ValueError(
            f"{wrong[0]}: a module is listed once, in the docstring of its room's "
            "__init__, a room in that of electra_tf; or its file is missing"
        )


def test_files() -> list[Path]:
    """Returns the files of tests, by their paths."""
    return sorted((ROOT / "tests").glob("**/test_*.py"))


def imports(file: Path) -> set[str]:
    """Returns the modules of the package that a file imports, wherever it does so."""
    if not file.exists():
        return set()
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return _modules_of(found)


def names(file: Path) -> set[str]:
    """Returns the modules that a test imports, or names in the code that it runs."""
    text = file.read_text(encoding="utf-8")
    dotted = set(re.findall(r"electra_tf(?:\.\w+)+", text))
    for package, line in re.findall(
        r"from (electra_tf(?:\.\w+)?) import (\w+(?:, \w+)*)", text
    ):
        dotted |= {f"{package}.{name}" for name in line.split(", ")}
    return imports(file) | _modules_of(dotted) - {"electra_tf"}


def is_command(file: Path) -> bool:
    """Tells whether a module is also run."""
    return file.exists() and '__main__":\n    cli.run(main)' in file.read_text()


def _modules_of(dotted: set[str]) -> set[str]:
    """Returns the modules of the package that dotted names lie in: `text/corpus`."""
    found = set()
    for name in dotted:
        first, *parts = name.split(".")
        if first != "electra_tf":
            continue
        for length in (2, 1):
            whole = "/".join(parts[:length])
            if len(parts) >= length and (PACKAGE / f"{whole}.py").exists():
                found.add(whole)
                break
        else:
            found.add("electra_tf")
    return found


def _listed(file: Path) -> list[str]:
    """Returns the names that a docstring lists, each with a phrase behind it."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return re.findall(r"^(\w+) {2,}\S", docstring, re.M)


def _call(rule: str, name: str, **values: str | list[str] | set[str]) -> str:
    """Returns a target, on one line where it fits."""
    parts = [f'name = "{name}"']
    for key, value in values.items():
        if isinstance(value, str):
            parts.append(f'{key} = "{value}"')
        elif value:
            listed = ", ".join(f'"{item}"' for item in sorted(value))
            parts.append(f"{key} = [{listed}]")
    line = f"{rule}({', '.join(parts)})\n"
    if len(line) <= 89:
        return line
    body = "".join(f"    {part},\n" for part in parts)
    return f"{rule}(\n{_filled(body)})\n"


def _filled(body: str) -> str:
    """Breaks lists that are too long for a line, filled."""
    lines = []
    for line in body.splitlines():
        if len(line) <= 88:
            lines.append(line)
            continue
        key, items = line.strip().removesuffix("],").split(" = [")
        filled = textwrap.wrap(f"{items},", 80, break_on_hyphens=False)
        lines += [f"    {key} = [", *[f"        {part}" for part in filled], "    ],"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
