"""Tables as files: those that the flags of a script name."""

import os
import pathlib
from collections.abc import Sequence

from absl import app


def table_paths(data_dir: str, names: Sequence[str]) -> dict[str, str]:
    """Returns the paths of tables by their names, in alphabetical order.

    Args:
        data_dir: a folder with a NAME.txt for each table.
        names: those that are wanted; none for all that are there.
    """
    names = names or [path.stem for path in pathlib.Path(data_dir).glob("*.txt")]
    if not names:
        raise app.UsageError(f"--data_dir has no *.txt. Received: {data_dir}")
    return {name: os.path.join(data_dir, f"{name}.txt") for name in sorted(names)}
