"""How the library is built, in numbers: rooms, arrows, and the way of one call.

A room is a file, or a folder of files, of one part of the package; an arrow says that a
file of one room imports from another. The way of a call is what a profiler sees of
`predict` and `calibrate`, of one draw and one batch: how often the file changes from
one function of the package to the next, by calls and returns, and how many of them are
within each other. "kept" is a `predict` after another one.

    python benchmarks/structure.py
    python benchmarks/structure.py --package=DIR/tfhyper --out=before.json

measures another copy of the package, of another version say; its README says how.
"""

import json
import os
import pathlib
import subprocess
import sys

from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

import tfhyper

FLAGS = flags.FLAGS
flags.DEFINE_string("package", None, "Folder of a package; the installed one if none.")
flags.DEFINE_string("part", "posterior", "The part whose rooms are counted.")
flags.DEFINE_string("out", None, "JSON file to write.")

COUNTS = pathlib.Path(__file__).with_name("structure_counts.py")


def main(_):
    package = FLAGS.package or os.path.dirname(tfhyper.__file__)
    done = subprocess.run(
        [sys.executable, COUNTS, package, FLAGS.part],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.abspath(package))},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    rows = [[what, *counts.values()] for what, counts in found["ways"].items()]
    shown = {key: value for key, value in found.items() if key != "ways"}
    print(json.dumps(shown, indent=2))
    print(markdown_table(["", "calls", "changes of file", "depth", "files"], rows))
    if FLAGS.out:
        write_json(FLAGS.out, {**provenance(), **found})


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
