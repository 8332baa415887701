"""What every benchmark writes: a JSON with its provenance, and a table."""

import importlib.metadata
import json
import os
import platform
import re
import sys

from absl import flags

FLAGS = flags.FLAGS

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")


def show_own_flags() -> None:
    """Makes --help list the flags of all modules beside this one.

    absl lists those of the script alone; its own are in --helpfull.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if os.path.dirname(os.path.abspath(path)) == here:
            for flag in FLAGS.get_flags_for_module(module.__name__):
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)


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


def write_json(path: str, content: dict) -> None:
    """Writes a JSON file, whole or not at all, and says where."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(f"{path}.part", "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    os.replace(f"{path}.part", path)
    print(f"written: {path}")


def read_json(path: str) -> dict | None:
    """Returns the content of a JSON file, or None if there is none."""
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def markdown_table(header: list[str], rows: list[list]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    lines = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
