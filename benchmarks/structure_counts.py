"""Counts of a package's structure, for `structure.py`, in a process of their own.

Nothing of tfhyper is imported before the package that is counted is known.
"""

import ast
import collections
import json
import pathlib
import sys
from collections.abc import Iterable


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the Python files of a folder, in all folders inside."""
    return sorted(folder.rglob("*.py"))


def imports_of(path: pathlib.Path) -> set[str]:
    """Returns the dotted names that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(folder: pathlib.Path, path: pathlib.Path) -> str:
    """Returns the room of a file: its folder, or its own name, below `folder`."""
    return path.relative_to(folder).parts[0].removesuffix(".py")


def arrows_of(folder: pathlib.Path, prefix: str) -> set[tuple[str, str]]:
    """Returns pairs of rooms of a folder, of which the first imports the second.

    Args:
        folder: the folder.
        prefix: its dotted name.
    """
    rooms = {room_of(folder, path) for path in files_of(folder)} - {"__init__"}
    arrows = set()
    for path in files_of(folder):
        here = room_of(folder, path)
        if here == "__init__":
            continue
        for name in imports_of(path):
            if name.startswith(prefix + "."):
                there = name.removeprefix(prefix + ".").split(".")[0]
                if there in rooms and there != here:
                    arrows.add((here, there))
    return arrows


def floors_of(rooms: set[str], arrows: set[tuple[str, str]]) -> int | None:
    """Returns the length of the longest chain of rooms, `None` for a circle."""
    floors, left = 0, set(rooms)
    while left:
        free = {r for r in left if not any(a == r and b in left for a, b in arrows)}
        if not free:
            return None
        left -= free
        floors += 1
    return floors


def annotated_of(paths: Iterable[pathlib.Path]) -> tuple[int, int]:
    """Returns how many functions of some files have all their types, and how many are.

    `self` and `cls` need none, and `__init__` and the like no type of a result.
    """
    typed = count = 0
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            taken = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            taken = [x for x in taken if x.arg not in ("self", "cls")]
            special = node.name.startswith("__")
            count += 1
            typed += (node.returns is not None or special) and all(
                x.annotation is not None for x in taken
            )
    return typed, count


class Way:
    """Counts the functions of a package that a call goes through.

    Attributes:
        calls: how many functions were called.
        changes: how often the way goes on in another file, by a call or a return.
        depth: how many were within each other, at most.
        files: how many files they stand in.
    """

    def __init__(self, package: pathlib.Path):
        self._prefix = f"{package}/"
        self.calls = self.changes = self.depth = 0
        self._files, self._stack, self._last = set(), [], None

    @property
    def files(self) -> int:
        return len(self._files)

    def __enter__(self) -> "Way":
        sys.setprofile(self._see)
        return self

    def __exit__(self, *error) -> None:
        sys.setprofile(None)

    def _see(self, frame, event, _):
        path = frame.f_code.co_filename
        if not path.startswith(self._prefix):
            return
        if event == "call":
            self.calls += 1
            self._stack.append(path)
            self.depth = max(self.depth, len(self._stack))
            self._files.add(path)
            self._go_to(path)
        elif event == "return" and self._stack:
            self._stack.pop()
            if self._stack:
                self._go_to(self._stack[-1])

    def _go_to(self, path):
        self.changes += self._last is not None and path != self._last
        self._last = path

    def numbers(self) -> dict[str, int]:
        """Returns the counts by their names."""
        names = ("calls", "changes", "depth", "files")
        return {name: getattr(self, name) for name in names}


def ways_of(package: pathlib.Path) -> dict[str, dict[str, int]]:
    """Returns the counts of one `predict` and one `calibrate`, one draw and one batch.

    The network is small: a generated convolution, BatchNorm, a dense layer.
    """
    import keras
    import numpy as np

    import tfhyper

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            tfhyper.layers.HyperConv2D(4, 3, name="hyper"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(32, 6, 6, 2)).astype("float32")
    predictor = tfhyper.PosteriorPredictor(model, num_draws=1, outputs="logits")
    ways = {}
    for name in ("first", "again"):
        for what, call in (
            ("calibrate", lambda: predictor.calibrate(x, verbose=0)),
            ("predict", lambda: predictor.predict(x)),
        ):
            with Way(package) as way:
                call()
            ways[f"{what}, {name}"] = way.numbers()
    with Way(package) as way:
        predictor.predict(x)
    ways["predict, kept"] = way.numbers()
    return ways


def after_fit(package: pathlib.Path) -> list[str]:
    """Returns what of `training` is left on objects of a model that was trained.

    Functions that stand in a file of `tfhyper.training`, in the attributes of the
    model, its layers and its optimizer.
    """
    import keras
    import numpy as np

    import tfhyper

    kit = tfhyper.kits.hyper().for_network()
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.GlobalAveragePooling2D()(kit.conv(4, 3, name="a")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    tfhyper.training.compile_recipe(model, steps_per_epoch=2, epochs=1)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(16, 8, 8, 2)).astype("float32")
    model.fit(images, rng.integers(0, 3, 16), batch_size=8, verbose=0)
    held = {"model": model, "optimizer": model.optimizer}
    held.update({layer.name: layer for layer in model.layers})
    training = str(package / "training")
    return [
        f"{name}.{key}"
        for name, value in held.items()
        for key, attribute in vars(value).items()
        if getattr(getattr(attribute, "__code__", None), "co_filename", "").startswith(
            training
        )
    ]


def measure(package: pathlib.Path, part: str) -> dict:
    """Returns all counts of a package."""
    parts = {room_of(package, path) for path in files_of(package)} - {"__init__"}
    folder = package / part
    rooms = {room_of(folder, path) for path in files_of(folder)} - {"__init__"}
    arrows = arrows_of(folder, f"{package.name}.{part}")
    lines = collections.Counter()
    for path in files_of(folder):
        lines[room_of(folder, path)] += len(path.read_text().splitlines())
    between = arrows_of(package, package.name)
    return {
        "package": {
            "parts": len(parts),
            "files": len(files_of(package)),
            "arrows": len(between),
            "floors": floors_of(parts, between),
        },
        part: {
            "rooms": len(rooms),
            "files": len(files_of(folder)),
            "lines": sum(lines.values()),
            "arrows": len(arrows),
            "floors": floors_of(rooms, arrows),
        },
        "annotated": {
            name: annotated_of(files_of(package / name))
            for name in sorted(parts)
            if (package / name).is_dir()
        },
        "ways": ways_of(package),
        "left by training": after_fit(package),
    }


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(folder.parent))
    print(json.dumps(measure(folder, sys.argv[2])))
