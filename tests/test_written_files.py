"""Files appear whole or not at all, and scripts import each other one way."""

import ast
import pathlib

import tfhyper

ROOT = pathlib.Path(tfhyper.__file__).parents[1]
FOLDERS = ("tfhyper", "examples", "benchmarks")
# Gives a path to write to, which takes the place of the file's when it is complete.
WHOLE = {"whole_file", "whole_folder"}
# Methods and functions that write a file.
WRITERS = {"write_text", "write_bytes", "savefig", "savez", "savez_compressed"}
# File: why it writes, by this count of calls, where nothing has to appear whole.
EXCEPTIONS = {
    "tfhyper/export/litert.py": (1, "the path is one that `whole_file` gave"),
    "tfhyper/export/module.py": (1, "a temporary file, which TensorFlow copies"),
    "tfhyper/posterior/archive.py": (1, "a temporary file of its own"),
    "tfhyper/training/event_files.py": (1, "records that grow; a cut one is left out"),
    "tfhyper/data/make_fashion_mnist_small.py": (1, "run once, by hand"),
    "examples/serve/attack.py": (1, "a counter of Linux"),
    "examples/serve/local_server.py": (3, "folders of a test's server, and its log"),
    "examples/serve/page/screenshot.py": (1, "run by hand; tfhyper need not be there"),
    "benchmarks/judged_calls.py": (1, "lines that grow; a cut one is left out"),
    "benchmarks/distributed_run.py": (1, "a log that grows"),
    "benchmarks/export_time.py": (1, "in a temporary folder"),
    "benchmarks/load_exported.py": (1, "in a temporary folder, without tfhyper"),
    "benchmarks/memory.py": (1, "a counter of Linux"),
}


def name_of(function):
    return getattr(function, "attr", getattr(function, "id", None))


def writes(call):
    """Whether a call writes a file, as its name and its mode say."""
    name = name_of(call.func)
    if name == "open" and isinstance(call.func, ast.Name):
        modes = [*call.args[1:2], *(x.value for x in call.keywords if x.arg == "mode")]
        return any(set(getattr(mode, "value", "w")) & set("wax+") for mode in modes)
    of_numpy = name == "save" and getattr(call.func.value, "id", None) == "np"
    return name in WRITERS or of_numpy


def bare_writes(source):
    """Returns the lines of calls that write outside of `with whole_file(...)`."""
    found = []

    def visit(node, inside):
        if isinstance(node, ast.With):
            calls = [x.context_expr for x in node.items]
            names = {name_of(x.func) for x in calls if isinstance(x, ast.Call)}
            inside = inside or bool(names & WHOLE)
        if isinstance(node, ast.FunctionDef):
            inside = False  # it may be called elsewhere
        if isinstance(node, ast.Call) and writes(node) and not inside:
            found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def test_bare_writes_are_found():
    source = """
open("a", "w")
open("a", mode="ab")
open("a"), open("a", "rb")
with whole_file("a") as new, open(new, "wb") as file:
    np.save(file, 1)
path.write_text("a")
np.save("a", 1)
figure.savefig("a")
with open("a", mode) as file: pass
"""
    assert bare_writes(source) == [2, 3, 7, 8, 9, 10]


def test_files_are_written_whole():
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if lines := bare_writes(path.read_text()):
                found[path.relative_to(ROOT).as_posix()] = lines
    counts = {name: len(lines) for name, lines in found.items()}
    assert counts == {name: count for name, (count, _) in EXCEPTIONS.items()}, found


def test_scripts_have_no_import_circle():
    for folder in ("examples", "benchmarks"):
        needs = {}
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.walk(ast.parse(path.read_text()))
            imports = [x for x in tree if isinstance(x, ast.Import | ast.ImportFrom)]
            names = {getattr(x, "module", None) or x.names[0].name for x in imports}
            needs[path.stem] = names
        needs = {name: found & needs.keys() for name, found in needs.items()}
        assert len(needs) > 10
        done = set()
        while done != needs.keys():
            ready = {x for x, found in needs.items() if found <= done} - done
            assert ready, {x: needs[x] for x in needs.keys() - done}
            done |= ready
