"""How BUILD says what a module, a command and a file of tests need, in a line each."""

load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")

def _labels(names):
    return [":" + name for name in names]

def module(name, deps = [], src = None):
    """A module of the package, or its `__init__`, named by its path within it."""
    py_library(
        name = name,
        srcs = [src or "electra_tf/%s.py" % name],
        deps = _labels(deps),
    )

def command(name, deps):
    """A module that is also run: bazel run :pretrain."""
    py_binary(
        name = name,
        srcs = ["electra_tf/%s.py" % name],
        deps = _labels(deps),
    )

def helpers(name, srcs, deps):
    """What the files of tests share."""
    py_library(
        name = name,
        testonly = True,
        srcs = srcs,
        deps = _labels(deps),
    )

def tests(name, deps):
    """A file of tests, run by pytest: bazel test :tests/text/test_corpus."""
    py_test(
        name = name,
        srcs = ["tests/run_pytest.py", name + ".py"],
        args = [name + ".py"],
        main = "tests/run_pytest.py",
        deps = _labels(deps + ["testing"]),
    )
