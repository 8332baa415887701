"""What scripts of any kind share: the flags in --help, and the files they leave.

The benchmarks use this file too.
"""

import os
import sys
from typing import Any

from absl import flags

from tfhyper import whole_files

FLAGS = flags.FLAGS


def show_own_flags() -> None:
    """Makes --help list the flags of all modules beside the script that runs.

    absl lists those of the script alone; its own are in --helpfull.
    """
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if os.path.dirname(os.path.abspath(path)) == here:
            for flag in FLAGS.get_flags_for_module(module.__name__):
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def write_json(path: str, content: dict) -> None:
    """Writes a JSON file, whole or not at all, and says where.

    Args:
        path: where to; folders above it are made.
        content: JSON values.
    """
    _make_folder(path)
    whole_files.write_json(path, content)
    print(f"written: {path}")


def write_figure(path: str, figure: Any, dpi: int = 120) -> None:
    """Writes a figure of matplotlib, whole or not at all, and says where.

    Args:
        path: where to, whose ending names the format; folders above it are made.
        figure: a `matplotlib.figure.Figure`.
        dpi: dots per inch.
    """
    _make_folder(path)
    with whole_files.whole_file(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
    print(f"written: {path}")


def _make_folder(path):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
