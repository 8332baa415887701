"""What may import what, what an import costs, and what is documented."""

import ast
import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import keras
import pytest

import tfhyper

ROOT = pathlib.Path(tfhyper.__file__).parent
# A part of the package -> the parts it may import, besides itself.
ALLOWED = {
    "checks": set(),
    "keras_private": set(),
    "text": set(),
    "version": set(),
    "saving": {"keras_private"},
    "whole_files": {"saving"},
    "layers": {"checks", "keras_private"},
    "alike": {"keras_private", "layers"},
    "channelwise": {"layers"},
    "keras_graph": {"alike", "keras_private", "layers"},
    "data": {"checks"},
    "metrics": {"checks", "keras_private"},
    "kits": {"checks", "keras_private", "layers"},
    "models": {"checks", "kits", "layers"},
    "posterior": {
        "alike",
        "channelwise",
        "checks",
        "keras_graph",
        "keras_private",
        "layers",
        "metrics",
        "saving",
        "text",
        "whole_files",
    },
    "training": {
        "checks",
        "keras_private",
        "layers",
        "posterior",
        "saving",
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
    "analysis": {"checks", "keras_graph", "layers", "metrics", "posterior", "text"},
    "convert": {"checks", "keras_graph", "kits", "layers", "posterior"},
    "export": {"checks", "metrics", "posterior", "version", "whole_files"},
}
ANY_BACKEND = (
    "alike",
    "analysis",
    "channelwise",
    "checks",
    "convert",
    "keras_graph",
    "keras_private",
    "kits",
    "layers",
    "metrics",
    "models",
    "posterior",
    "pruning",
    "saving",
)
# Where alone private names of Keras stand, each with a test of its own.
KERAS_PRIVATE = ROOT / "keras_private.py"
# Still has its own: it is to be rewritten as a part of the layers.
NOT_YET = {ROOT / "training" / "fast_generator.py"}
# Private names of others than Keras: how often a tensor of torch was changed, and what
# an MLServer (of `examples/serve`) is made of.
OTHERS = {"_version"}
OTHERS |= {"_data_plane", "_model_registry", "_model_repository"}
OTHERS |= {"_metrics_server", "_rest_server"}
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
        found = parts_of(imports_of(path.read_text()))
        assert found <= ALLOWED[part] | {part}, path.name


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
    """Yields (name, object, whether it is looked up) of each private name in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name, whose = node.attr, node.value
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", None) in ("getattr", "hasattr", "setattr")
            and isinstance(node.args[1], ast.Constant)
        ):
            name, whose = node.args[1].value, node.args[0]
        else:
            continue
        if name.startswith("_") and not name.endswith("__"):
            yield name, ast.unparse(whose), isinstance(node, ast.Call)


def defined_names(tree):
    """Returns the names that a source gives to something, attributes included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            found.add(getattr(node, "attr", getattr(node, "id", None)))
    return found


def private_names_of_keras():
    """Returns the private attributes of objects of Keras, but for those of tfhyper."""
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    objects = (
        x,
        model,
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]),
        model.layers[1],
        keras.layers.Conv1D(1, 1),
        model.layers[1].kernel,
        model.optimizer,
        keras.random.SeedGenerator(1),
    )
    names = {name for value in objects for name in dir(value)}
    return {x for x in names if x.startswith("_") and not x.endswith("__")}


def foreign_names(source, ours, theirs):
    """Returns the private names of Keras, or of others, that a source looks at.

    Args:
        source: of a file.
        ours: all names that the files of the package define.
        theirs: private names of objects of Keras.
    """
    tree = ast.parse(source)
    found = set()
    for name, whose, looked_up in private_names(tree):
        own = whose in ("self", "cls") or name in defined_names(tree)
        if name not in ours or (name in theirs and (looked_up or not own)):
            found.add(name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports = [alias.name for alias in node.names]
        else:
            imports = [node.module] if isinstance(node, ast.ImportFrom) else []
        found |= {x for x in imports if x and x.startswith("keras.src")}
    return found


def test_private_names_of_keras_are_found():
    source = """
from keras.src import ops
class Layer:
    def __init__(self): self._mine = self._nodes
    def f(self, x): return x._mine, x._layers, getattr(x, "_flatten_layers")
"""
    theirs = private_names_of_keras()
    assert {"_layers", "_nodes", "_keras_history", "_inbound_nodes"} <= theirs
    ours = defined_names(ast.parse(source)) | {"_layers"}
    found = foreign_names(source, ours, theirs)
    assert found == {"_nodes", "_layers", "_flatten_layers", "keras.src"}


def test_private_names_of_keras_stand_in_one_file():
    files = set(ROOT.rglob("*.py")) - {KERAS_PRIVATE} - NOT_YET
    files |= {
        path
        for folder in ("examples", "benchmarks")
        for path in (ROOT.parent / folder).rglob("*.py")
    }
    sources = {path: path.read_text() for path in sorted(files)}
    trees = [ast.parse(source) for source in sources.values()]
    ours = set().union(*map(defined_names, trees)) | OTHERS
    theirs = private_names_of_keras()
    for path, source in sources.items():
        assert not foreign_names(source, ours, theirs), path


IMPORT = """
import sys, time
import keras
before = set(sys.modules)
start = time.process_time()
import tfhyper
seconds = time.process_time() - start
added = {name.split(".")[0] for name in set(sys.modules) - before}
print(repr((seconds, sorted(added))))
"""


def test_import_is_quick_and_brings_nothing_heavy():
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    # The quickest of a few, in the processor's time: a busy machine says nothing
    # about the package.
    seconds = []
    for _ in range(3):
        result = subprocess.run(
            [sys.executable, "-c", IMPORT],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        elapsed, added = ast.literal_eval(result.stdout.splitlines()[-1])
        seconds.append(elapsed)
        assert "tfhyper" in added
        # Keras itself may have brought some of them already.
        heavy = {"tensorflow", "tensorflow_datasets", "tensorflow_probability"}
        assert not (heavy | {"matplotlib", "pandas", "scipy"}) & set(added)
        if elapsed < 0.3:
            break
    assert min(seconds) < 0.3


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
