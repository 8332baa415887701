"""What every benchmark writes: a JSON with its provenance, and a table."""

import importlib.metadata
import json
import os
import platform
import re
import sys

from tfhyper.cli.scripting import show_own_flags, write_figure, write_json
from tfhyper.text import markdown_table

__all__ = [
    "markdown_table",
    "provenance",
    "read_json",
    "show_own_flags",
    "write_figure",
    "write_json",
]

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def provenance(more_packages: tuple[str, ...] = ()) -> dict:
    """Returns the command, the machine and the versions a figure was made with."""
    versions = {}
    for package in PACKAGES + more_packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "command": _command(),
        "machine": f"{os.cpu_count()} CPU cores, {_processor()}",
        "python": platform.python_version(),
        "packages": versions,
    }


def read_json(path: str) -> dict | None:
    """Returns the content of a JSON file, or None if there is none."""
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def _command() -> str:
    """Returns the command, without the folders of the one who gave it."""
    flags = [re.sub(r"^(--\w+)=.*/.*$", r"\1=DIR", flag) for flag in sys.argv[1:]]
    return f"python benchmarks/{os.path.basename(sys.argv[0])} {' '.join(flags)}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line for line in file if line.startswith("model name")]
        return names[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.machine()
