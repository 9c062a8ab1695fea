"""Writes the pages of the site that the code says better: commands and classes.

A hook of MkDocs (mkdocs.yml). Flags and classes are read from the source, settings from
their pydantic models; TensorFlow is not loaded. Nothing is written into docs/.

In:   electra_tf/<command>.py, the settings that it loads, the public classes.
Out:  commands/<command>.md, api/<class>.md, an index of each, their place in the nav.
"""

import ast
import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "electra_tf"
sys.path.insert(0, str(ROOT))

import electra_tf  # noqa: E402 - found by the line above
from electra_tf import __main__ as commands  # noqa: E402
from electra_tf import config  # noqa: E402

BASE = "ElectraTask"  # What all tasks do alike; not public by name.
# What users call of it. The rest is what a task says of itself, for who writes one.
USED = (
    "from_preset",
    "compile",
    "fit",
    "evaluate",
    "predict",
    "predict_on_batch",
    "export_for_serving",
    "save_to_preset",
)
# Methods that Keras asks for and nobody else.
OF_KERAS = (
    "call",
    "compute_output_spec",
    "from_config",
    "get_config",
    "load_assets",
    "save_assets",
)
# Where a page's D25 is no link: in code, links and headings.
LEFT_ALONE = (
    r"(^```[\s\S]*?^```$|`[^`\n]*`|\[[^]\n]*\]\([^)\n]*\)|^#[^\n]*$|^ {4}[^\n]*$)"
)


class Flag(NamedTuple):
    """A flag as a command defines it."""

    name: str
    kind: str  # string, integer, bool, list, multi_string
    default: Any
    about: str


def flags(tree: ast.Module) -> list[Flag]:
    """Returns the flags that a module defines, in order."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            kind = node.func.attr.removeprefix("DEFINE_")
            if kind != node.func.attr:
                name, default, about = map(ast.literal_eval, node.args[:3])
                found.append(Flag(name, kind, default, about))
    return found


def settings_of(tree: ast.Module) -> type[config.Settings] | None:
    """Returns the settings that a command loads: the argument of cli.load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cli.load":
            module, name = ast.unparse(node.args[0]).split(".")
            return getattr(importlib.import_module(_place(tree, module)), name)
    return None


def _place(tree: ast.Module, module: str) -> str:
    """Returns the full name of a module that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == module:
                    return f"{node.module}.{module}"
    raise ValueError(f"{module} is not imported")


def command_page(name: str) -> str:
    """Returns the page of a command: its first lines, its flags, its settings."""
    tree = _parse(PACKAGE / f"{name}.py")
    about, _, usage = (ast.get_docstring(tree) or "").partition("\n")
    lines = [f"# {name}", "", about, "", "```", usage.strip(), "```", ""]
    shared = "adopt_module_key_flags" in ast.unparse(tree)
    found = flags(tree) + (flags(_parse(PACKAGE / "cli.py")) if shared else [])
    lines += ["## Flags", "", "| flag | default | what |", "|---|---|---|"]
    lines += [
        f"| {_flag(one)} | {_default(one)} | {_cell(one.about)} |" for one in found
    ]
    kind = settings_of(tree)
    if kind:
        lines += [
            "",
            "## Settings",
            "",
            f"Set one with `--set NAME=VALUE`, several in a file for `--config`. "
            f"`python -m electra_tf.{name} --print_config` prints all of them.",
        ]
        lines += list(_sections(kind))
    return "\n".join(lines) + "\n"


def _flag(flag: Flag) -> str:
    value = "" if flag.kind == "bool" else f"={flag.name.upper()}"
    return f"`--{flag.name}{value}`"


def _default(flag: Flag) -> str:
    return f"`{flag.default}`" if flag.default not in (None, [], False) else ""


def _sections(kind: type[config.Settings]) -> Iterator[str]:
    """Yields a table of settings for each section of a command's."""
    fields = kind.model_json_schema()["properties"]
    sections = {
        name: field.annotation
        for name, field in kind.model_fields.items()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, config.Settings)
    }
    for name, section in sections.items():
        # A section may have several kinds of settings, chosen by its `name`.
        for choice in getattr(section, "KINDS", [""]):
            one = section.kind(choice) if choice else section
            title = f"{name}, name: {choice}" if choice else name
            about = _cell(one.__doc__ or "")
            yield from ["", f"### {title}", "", about, ""]
            yield from _table(one.model_json_schema()["properties"], f"{name}.")
    plain = {name: field for name, field in fields.items() if name not in sections}
    if plain:
        yield ""
        yield from _table(plain, "")


def _table(fields: dict[str, Any], prefix: str) -> Iterator[str]:
    yield from ["| setting | type | default | what |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = json.dumps(field["default"]) if "default" in field else ""
        yield (
            f"| `{prefix}{name}` | {_cell(_type(field))} | `{_cell(default)}` "
            f"| {_cell(field.get('description', ''))} |"
        )


def _type(field: dict[str, Any]) -> str:
    """Returns the values that a setting takes, in words."""
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        kinds = dict.fromkeys(_type(one) for one in field["anyOf"])
        return " or ".join(kinds)
    if "$ref" in field:
        return "section"
    names = {"object": "dict", "array": "list", "integer": "int", "boolean": "bool"}
    text = names.get(field.get("type", ""), field.get("type", "any"))
    for key, sign in {
        "minimum": ">=",
        "exclusiveMinimum": ">",
        "maximum": "<=",
        "exclusiveMaximum": "<",
    }.items():
        if key in field:
            text += f" {sign} {field[key]:g}"
    return text


def _cell(text: str) -> str:
    """Returns text that may stand in a table."""
    return (
        inspect.cleandoc(text)
        .replace("\n", " ")
        .replace("|", "\\|")
        .replace("<", "&lt;")
    )


def class_page(name: str, module: str) -> str:
    """Returns the page of a class, which mkdocstrings fills in."""
    if name == BASE:
        return _base_page()
    of_bases = [one for base in _bases(name)[1:] for one in _methods(base)]
    own = [one for one in _methods(name) if one not in of_bases or one in USED]
    shared = f"What all tasks do alike: [{BASE}]({BASE}.md).\n\n"
    return f"""# electra_tf.{name}

{shared if BASE in _bases(name) else ""}{_directive(name, members=own)}"""


def _base_page() -> str:
    """Returns the page of what all tasks do alike: first what users call."""
    owner = {
        method: base for base in reversed(_bases(BASE)) for method in _methods(base)
    }
    used = [_directive(owner[one], one, heading_level=3) for one in USED]
    said = [
        _directive(BASE, one, heading_level=3)
        for one in _methods(BASE)
        if one not in USED
    ]
    return "\n".join(
        [
            f"# {BASE}\n",
            _directive(BASE, members=[]),
            "## What users call\n",
            *used,
            "## What a task says of itself\n",
            "For who writes a task: these are what it overrides.\n",
            *said,
        ]
    )


def own_page(section: type[config.NamedSettings]) -> str:
    """Returns the page of what a class of the user's own derives from."""
    module, _, name = section.BASE.rpartition(".")
    return f"""# {name}

A class of your own, which a run takes by `{section.SECTION}.name:
my_package.my_module:MyClass`, derives from `{section.BASE}`.

::: {module}
"""


def _directive(name: str, *path: str, **options: Any) -> str:
    """Returns the line that mkdocstrings replaces, of a class or one of its methods."""
    place = ".".join(["electra_tf.tasks", _documented()[name][0], name, *path])
    if path:
        options |= {"show_root_heading": True, "show_root_toc_entry": True}
    lines = [f"      {key}: {value}" for key, value in options.items()]
    return "\n".join([f"::: {place}", "    options:", *lines, ""])


@functools.cache
def _documented() -> dict[str, tuple[str, ast.ClassDef]]:
    """Returns the module and the code of each class of tasks/, by its name."""
    return {
        node.name: (file.stem, node)
        for file in sorted((PACKAGE / "tasks").glob("*.py"))
        for node in _parse(file).body
        if isinstance(node, ast.ClassDef)
    }


def _bases(name: str) -> list[str]:
    """Returns a class of tasks/ and those that it inherits from, nearest first."""
    found = [name]
    for base in _documented()[name][1].bases:
        base_name = ast.unparse(base).rpartition(".")[2]
        if base_name in _documented():
            found += _bases(base_name)
    return found


def _methods(name: str) -> list[str]:
    """Returns the public methods that a class itself documents."""
    return [
        part.name
        for part in _documented()[name][1].body
        if isinstance(part, ast.FunctionDef)
        and not part.name.startswith("_")
        and part.name not in OF_KERAS
        and ast.get_docstring(part)
    ]


def _index(title: str, about: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"# {title}", "", about, "", "| | |", "|---|---|"]
    lines += [f"| [{name}]({name}.md) | {_cell(text)} |" for name, text in rows]
    return "\n".join(lines) + "\n"


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _classes() -> dict[str, str]:
    """Returns the module, in tasks/, of each public class and of what they share."""
    return electra_tf.CLASSES | {BASE: _documented()[BASE][0]}


def _summary(name: str) -> str:
    """Returns the first line of a class's docstring."""
    return (ast.get_docstring(_documented()[name][1]) or "").partition("\n")[0]


def pages() -> dict[str, str]:
    """Returns every page that is made here: its path in the site and its text."""
    about = {
        name: (ast.get_docstring(_parse(PACKAGE / f"{name}.py")) or "").splitlines()[0]
        for name in commands.COMMANDS
    }
    found = {
        "commands/index.md": _index(
            "Commands",
            "`python -m electra_tf.NAME`, or `electra-tf NAME` where the package is "
            "installed. Flags are about this machine and this call; what changes a "
            "number is a setting.",
            list(about.items()),
        )
    }
    found |= {f"commands/{name}.md": command_page(name) for name in about}
    classes = _classes()
    rows = [(name, _summary(name)) for name in classes]
    rows += [
        (
            section.BASE.rpartition(".")[2],
            f"What your own class for `{section.SECTION}.name` derives from.",
        )
        for section in config.NamedSettings.__subclasses__()
    ]
    found["api/index.md"] = _index(
        "Python",
        "`import electra_tf` alone gives these classes, as `electra_tf.NAME`. "
        f"`{BASE}` is what all tasks have in common. The last ones are for who "
        "extends pre-training.",
        rows,
    )
    found |= {f"api/{name}.md": class_page(name, at) for name, at in classes.items()}
    for section in config.NamedSettings.__subclasses__():
        found[f"api/{section.BASE.rpartition('.')[2]}.md"] = own_page(section)
    return found


def on_config(config: Any) -> Any:
    """Puts the pages that are made here into the contents."""
    made = pages()
    for entry in config.nav:
        for title, place in entry.items():
            if isinstance(place, str) and place.endswith("/"):
                entry[title] = [path for path in made if path.startswith(place)]
    return config


def on_page_markdown(text: str, page: Any, config: Any, files: Any) -> str:
    """Makes links of the numbers of decisions, as D25, outside code and links."""
    up = "../" * page.file.src_uri.count("/")
    pieces = re.split(LEFT_ALONE, text, flags=re.M)
    pieces[::2] = [
        re.sub(
            r"\bD(\d{1,3})\b",
            lambda found: f"[{found[0]}]({up}decisions/D{int(found[1]):02}.md)",
            piece,
        )
        for piece in pieces[::2]
    ]
    return "".join(pieces)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made here to those of docs/."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
