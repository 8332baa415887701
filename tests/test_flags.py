"""Flags belong to the process: two scripts in one process clash.

pytest imports every file of tests into one, so that a file which imports a script at
its top makes all of them depend on what else is imported.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("benchmarks", "examples")
# Modules as tests name them: by the path from the root, or with its folder in sys.path.
SCRIPTS = {
    name
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if "flags.DEFINE_" in path.read_text() or "flag_sets.define_" in path.read_text()
    for name in (path.stem, ".".join(path.relative_to(ROOT).with_suffix("").parts))
}


def _imported_at_the_top(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_there_are_scripts():
    assert {"train", "paper", "bad_calls"} <= SCRIPTS


@pytest.mark.everyday
def test_no_file_of_tests_imports_a_script_at_its_top():
    faults = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in _imported_at_the_top(path)
        if name in SCRIPTS
    ]
    assert not faults, "\n".join(faults)
