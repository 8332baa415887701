"""`tfhyper info`: what a file holds, and what is installed."""

import os
import platform
from importlib import metadata
from typing import Any

from absl import flags

from tfhyper.cli import flag_sets
from tfhyper.cli.describe import describe
from tfhyper.cli.scripting import run_command
from tfhyper.version import __version__

FLAGS = flags.FLAGS
_ABOUT = """\
tfhyper info [FILE] [flags]

Says what FILE holds, a .tfhyper file, a .keras file or the folder of a SavedModel,
and runs nothing of it. Without FILE: which versions and backends are here.
"""
# What is asked for in a report of a bug.
_PACKAGES = (
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "torch",
    "tensorflow-probability",
    "tensorflow-datasets",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "absl-py",
    "matplotlib",
    "mlserver",
    "onnxruntime",
    "ai-edge-litert",
    "openvino",
)
_BACKENDS = {"tensorflow": "tensorflow", "tensorflow-cpu": "tensorflow"}
_BACKENDS |= {"jax": "jax", "torch": "torch"}


def run(args: list[str]) -> int:
    """Runs the command, and returns its exit code.

    Args:
        args: its flags, and at most one file.
    """
    files = [arg for arg in args if not arg.startswith("-")]
    rest = [arg for arg in args if arg.startswith("-")] + files[1:]

    def main() -> dict[str, Any]:
        found = describe(files[0]) if files else installed(FLAGS.devices)
        for line in lines(found):
            print(line)
        return found

    flag_sets.define_info()
    return run_command("tfhyper info", _ABOUT, rest, main)


def installed(devices: bool = False) -> dict[str, Any]:
    """Returns versions and backends, as JSON values; imports none of them.

    Args:
        devices: whether to import Keras, and list the devices that its backend has.
    """
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    here = [backend for name, backend in _BACKENDS.items() if name in versions]
    found: dict[str, Any] = {
        "tfhyper": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "backends": list(dict.fromkeys(here)),
        "KERAS_BACKEND": os.environ.get("KERAS_BACKEND"),
    }
    if devices:
        import keras

        found["backend"] = keras.backend.backend()
        found["devices"] = keras.distribution.list_devices()
    return found


def lines(value: Any, indent: str = "") -> list[str]:
    """Returns JSON values as lines to read: one for each, nested ones indented."""
    found = []
    for name, held in value.items():
        if isinstance(held, dict) and held:
            found += [f"{indent}{name}:", *lines(held, indent + "  ")]
        elif isinstance(held, list) and any(isinstance(item, dict) for item in held):
            for i, item in enumerate(held):
                found += [f"{indent}{name} {i}:", *lines(item, indent + "  ")]
        else:
            found.append(f"{indent}{name}: {_text(held)}")
    return found


def _text(value: Any) -> str:
    if value is None or value == {} or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    if isinstance(value, list):
        brackets = all(isinstance(item, int | None) for item in value)
        joined = ", ".join("-" if item is None else str(item) for item in value)
        return f"({joined})" if brackets else joined
    return str(value)
