"""What may import what, what an import costs, and what is documented."""

import ast
import importlib
import inspect
import pathlib

import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(tfhyper.__file__).parent
# A part of the package -> the parts it may import, besides itself.
ALLOWED = {
    "checks": set(),
    "keras_private": set(),
    "luma": set(),
    "text": set(),
    "summary": {"text"},
    "version": set(),
    "tensor_types": set(),
    "saving": {"keras_private"},
    "whole_files": {"saving"},
    "layers": {"checks", "keras_private"},
    "alike": {"keras_private", "layers"},
    "channelwise": {"layers"},
    "keras_graph": {"alike", "keras_private", "layers"},
    "divergence": set(),
    "variational": {
        "checks",
        "divergence",
        "keras_graph",
        "keras_private",
        "layers",
        "saving",
    },
    "data": {"checks", "luma"},
    "metrics": {"checks", "keras_private", "luma"},
    "heads": {"checks", "layers", "metrics"},
    "scaling": {"checks", "metrics", "summary"},
    "shift": {"checks"},
    "conformal": {"checks", "metrics", "scaling", "summary"},
    "kits": {"checks", "keras_private", "layers"},
    "models": {"checks", "kits", "layers"},
    "gan": {"checks", "keras_graph", "keras_private", "layers"},
    "posterior": {
        "alike",
        "channelwise",
        "checks",
        "conformal",
        "heads",
        "keras_graph",
        "keras_private",
        "layers",
        "metrics",
        "saving",
        "scaling",
        "summary",
        "text",
        "variational",
        "whole_files",
    },
    "laplace": {
        "checks",
        "keras_private",
        "layers",
        "metrics",
        "posterior",
        "variational",
    },
    "training": {
        "checks",
        "divergence",
        "keras_private",
        "layers",
        "metrics",
        "posterior",
        "saving",
        "variational",
        "whole_files",
    },
    "pruning": {
        "channelwise",
        "checks",
        "keras_graph",
        "keras_private",
        "layers",
        "posterior",
        "text",
    },
    "sklearn": {"checks", "heads", "layers", "metrics", "posterior"},
    "detection": {
        "checks",
        "metrics",
        "posterior",
        "saving",
        "summary",
        "whole_files",
    },
    "comparison": {
        "checks",
        "detection",
        "metrics",
        "posterior",
        "scaling",
        "summary",
    },
    "analysis": {
        "checks",
        "comparison",
        "detection",
        "heads",
        "keras_graph",
        "layers",
        "metrics",
        "posterior",
        "summary",
        "text",
    },
    "conversion": {
        "checks",
        "keras_graph",
        "keras_private",
        "kits",
        "layers",
        "summary",
    },
    "convert": {"checks", "conversion", "keras_graph", "kits", "layers"},
    "export": {
        "checks",
        "conformal",
        "metrics",
        "posterior",
        "version",
        "whole_files",
    },
    "cli": {
        "analysis",
        "comparison",
        "data",
        "export",
        "heads",
        "kits",
        "laplace",
        "layers",
        "metrics",
        "models",
        "posterior",
        "saving",
        "shift",
        "text",
        "training",
        "variational",
        "version",
        "whole_files",
    },
    "__main__": {"cli"},
}
# What every part may import besides: names, and nothing that runs.
NAMES_OF_TYPES = {"tensor_types"}
# A file -> the part above its own that it imports, within one function, when that is
# called: `Prediction.plot` draws, and predictors find their scorer by its name.
DRAWS = {
    "posterior/tasks/shown.py": {"analysis"},
    "posterior/tasks/foreign_scores.py": {"detection"},
    "comparison/table.py": {"analysis"},
}
ANY_BACKEND = (
    "alike",
    "analysis",
    "channelwise",
    "checks",
    "comparison",
    "conformal",
    "convert",
    "detection",
    "gan",
    "heads",
    "keras_graph",
    "keras_private",
    "kits",
    "laplace",
    "layers",
    "luma",
    "metrics",
    "models",
    "posterior",
    "pruning",
    "saving",
    "scaling",
    "shift",
    "sklearn",
    "summary",
    "tensor_types",
    "variational",
)
# Where alone private names of Keras stand, each with a test of its own.
KERAS_PRIVATE = ROOT / "keras_private.py"
# Private names of others than Keras: how often a tensor of torch was changed, and what
# an MLServer (of `examples/serve`) is made of.
OTHERS = {"_exit", "_version"}  # os._exit
OTHERS |= {"_data_plane", "_model_registry", "_model_repository"}
OTHERS |= {"_metrics_server", "_rest_server", "_settings"}
# The one place that imports TensorFlow Probability, when it is first needed.
PRIORS = ROOT / "layers" / "priors.py"
PACKAGES = [part for part in ALLOWED if (ROOT / part).is_dir()]


def files_of(part):
    if (ROOT / part).is_dir():
        return sorted((ROOT / part).rglob("*.py"))
    return [ROOT / f"{part}.py"]


def imports_of(source):
    """Returns the dotted names that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            assert name not in ("import_module", "__import__"), "imports are plain"
    return found


def parts_of(imports):
    return {name.split(".")[1] for name in imports if name.startswith("tfhyper.")}


def test_imports_are_found_wherever_they_stand():
    source = """
import numpy as np
from tfhyper import layers, metrics
def f():
    import tensorflow as tf
    from tfhyper.kits.kit import LayerKit
"""
    found = imports_of(source)
    assert parts_of(found) == {"layers", "metrics", "kits"}
    assert "tensorflow" in found


def test_every_part_has_its_rule():
    parts = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert parts == ALLOWED.keys()


@pytest.mark.parametrize("part", ALLOWED)
def test_parts_import_one_way(part):
    files = files_of(part)
    assert files
    for path in files:
        found = parts_of(imports_of(path.read_text())) - NAMES_OF_TYPES
        found -= DRAWS.get(path.relative_to(ROOT).as_posix(), set())
        assert found <= ALLOWED[part] | {part}, path.name


# A room of `posterior` -> those it may import from.
_BELOW = {"networks", "tasks", "running"}
ROOMS = {
    "networks": set(),
    "tasks": set(),
    "running": {"networks", "tasks"},
    "draw_settings": _BELOW,
    "draw_source": _BELOW | {"draw_settings"},
    "drawn_ensemble": _BELOW | {"draw_settings"},
    "member_models": _BELOW | {"draw_settings", "drawn_ensemble"},
    "archive": {"networks", "tasks"},
    "averager": _BELOW | {"archive", "draw_source"},
    "base_predictor": _BELOW | {"averager"},
    "predictor": _BELOW
    | {"base_predictor", "draw_settings", "drawn_ensemble", "width"},
    "deep_ensemble": _BELOW | {"base_predictor", "draw_settings", "member_models"},
    "tiles": {"averager", "tasks"},
    "width": set(),
}


def room_of(path):
    return path.relative_to(ROOT / "posterior").parts[0].removesuffix(".py")


def test_rooms_of_the_posterior_import_one_way():
    paths = [path for path in files_of("posterior") if room_of(path) != "__init__"]
    assert {room_of(path) for path in paths} == ROOMS.keys()
    for path in paths:
        names = imports_of(path.read_text())
        found = {
            name.split(".")[2]
            for name in names
            if name.startswith("tfhyper.posterior.")
        }
        assert found & ROOMS.keys() <= ROOMS[room_of(path)] | {room_of(path)}, path.name
    done = set()
    while done != ROOMS.keys():
        ready = {room for room, needs in ROOMS.items() if needs <= done} - done
        assert ready
        done |= ready


def test_rules_have_no_cycle():
    done = set()
    while done != ALLOWED.keys():
        ready = {p for p, needs in ALLOWED.items() if needs <= done} - done
        assert ready
        done |= ready


@pytest.mark.parametrize("part", ANY_BACKEND)
def test_layers_networks_and_predictor_are_free_of_tensorflow(part):
    for path in files_of(part):
        found = {name.split(".")[0] for name in imports_of(path.read_text())}
        if path == PRIORS:
            found -= {"tensorflow_probability"}
        assert not found & {"tensorflow", "tensorflow_probability", "jax", "torch"}


def private_names(tree):
    """Returns the names of private attributes that a source reads, sets or asks for."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Call):
            asks = getattr(node.func, "id", None) in ("getattr", "hasattr", "setattr")
            if asks and isinstance(node.args[1], ast.Constant):
                found.add(node.args[1].value)
    return {x for x in found if x.startswith("_") and not x.endswith("__")}


def defined_names(tree):
    """Returns the names that a source gives to something, attributes included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            found.add(getattr(node, "attr", getattr(node, "id", None)))
    return found


def private_modules(tree):
    """Returns the private modules of Keras that a source imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("keras.src")}


def test_private_names_are_found():
    tree = ast.parse("""
from keras import src
from keras.src import ops
class Layer:
    def __init__(self): self._mine = self._nodes
    def f(self, x): return x._mine, x.shape, getattr(x, "_layers"), x.__class__
""")
    assert private_names(tree) == {"_mine", "_nodes", "_layers"}
    assert defined_names(tree) == {"Layer", "__init__", "f", "_mine"}
    assert private_modules(tree) == {"keras.src", "keras.src.ops"}


def test_private_names_of_keras_stand_in_one_file():
    files = set(ROOT.rglob("*.py"))
    for folder in ("examples", "benchmarks"):
        files |= set((ROOT.parent / folder).rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in sorted(files)}
    keras_names = private_names(trees.pop(KERAS_PRIVATE))
    assert len(keras_names) > 10
    # A private name that nothing here defines is one of somebody else.
    ours = set().union(*map(defined_names, trees.values())) | OTHERS
    for path, tree in trees.items():
        assert not private_modules(tree), path
        assert private_names(tree) <= ours - keras_names, path


IMPORT = """
import sys, time
start = time.process_time()
import keras
before = set(sys.modules)
middle = time.process_time()
import tfhyper
seconds = time.process_time() - middle, middle - start
added = {name.split(".")[0] for name in set(sys.modules) - before}
print(repr((seconds, sorted(added))))
"""


def test_import_is_quick_and_brings_nothing_heavy():
    result = run_python("-c", IMPORT, fresh=True, check=True)
    (seconds, of_keras), added = ast.literal_eval(result.stdout.splitlines()[-1])
    assert "tfhyper" in added
    # Keras itself may have brought some of them already.
    heavy = {"tensorflow", "tensorflow_datasets", "tensorflow_probability"}
    assert not (heavy | {"matplotlib", "pandas", "scipy"}) & set(added)
    # Of a busy machine the import of Keras tells how busy it is.
    assert seconds < max(0.3, 0.1 * of_keras)


def public_names():
    for package in ["", *PACKAGES]:
        module = importlib.import_module(f"tfhyper.{package}".rstrip("."))
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield pytest.param(value, id=f"{module.__name__}.{name}")


def test_every_package_names_what_is_public():
    assert len(list(public_names())) > 30
    for package in PACKAGES:
        module = importlib.import_module(f"tfhyper.{package}")
        assert len(set(module.__all__)) == len(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    assert set(PACKAGES) <= set(tfhyper.__all__)


@pytest.mark.parametrize("value", public_names())
def test_public_names_are_documented_with_an_example(value):
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc and len(doc.strip()) > 20
    assert "Example:" in doc and (">>>" in doc or "```python" in doc)
