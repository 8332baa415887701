"""Every function has types, and who installs the package is told of them."""

import ast
import pathlib
import re

import pytest

import tfhyper
from tests.helpers.processes import run_python

PACKAGE = pathlib.Path(tfhyper.__file__).parent
ROOT = PACKAGE.parent


def functions_of(node, in_class=False):
    """Yields the functions of a source, and whether they are methods."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, in_class
            yield from functions_of(child)
        else:
            inside = isinstance(child, ast.ClassDef) or (
                in_class and not isinstance(child, ast.Lambda)
            )
            yield from functions_of(child, inside)


def is_static(function):
    names = [getattr(x, "id", None) for x in function.decorator_list]
    return "staticmethod" in names


def without_types(function, is_method):
    """Returns the arguments of a function that have no type, and "return"."""
    given = function.args
    taken = [*given.posonlyargs, *given.args]
    if is_method and not is_static(function):
        taken = taken[1:]
    taken += [*given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    found = [x.arg for x in taken if x.annotation is None]
    # As mypy has it: that of `__init__` is known, if something else of it is said.
    known = function.name == "__init__" and taken
    return found + ["return"] * (function.returns is None and not known)


def test_missing_types_are_found():
    source = """
def f(a, b: int, *c, d=1, **e) -> None: pass
class A:
    def __init__(self, a: int): pass
    def g(self, a: int): return lambda x: x
    @staticmethod
    def h(a) -> None: pass
    @property
    def i(self) -> int:
        def j(self): pass
class B:
    def __init__(self): pass
"""
    found = {
        function.name: without_types(function, is_method)
        for function, is_method in functions_of(ast.parse(source))
    }
    assert found == {
        "f": ["a", "d", "c", "e"],
        "__init__": ["return"],  # that of B
        "g": ["return"],
        "h": ["a"],
        "i": [],
        "j": ["self", "return"],
    }


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=str(path.relative_to(PACKAGE)))
        for path in sorted(PACKAGE.rglob("*.py"))
    ],
)
def test_every_function_has_types(path):
    found = {
        f"{function.name}, line {function.lineno}": missing
        for function, is_method in functions_of(ast.parse(path.read_text()))
        if (missing := without_types(function, is_method))
    }
    assert not found


def test_what_is_ignored_says_which_error_and_why():
    for path in sorted(PACKAGE.rglob("*.py")):
        for line in path.read_text().splitlines():
            if "type: ignore" in line:
                assert re.search(r"# type: ignore\[[a-z-]+\]  # \w", line), path


def test_the_marker_of_types_is_packaged(tmp_path):
    words = ("--quiet", "build_py", "--build-lib", tmp_path)
    result = run_python("setup.py", *words, fresh=True, check=True)
    assert (tmp_path / "tfhyper" / "py.typed").is_file(), result.stderr
