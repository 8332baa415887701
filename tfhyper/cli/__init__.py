"""The command line: `tfhyper`, or `python -m tfhyper`.

    tfhyper train --workdir=runs/train
    tfhyper info runs/train/predictor.tfhyper

A command imports what it needs when it runs, so that `--help` is quick.
"""

from tfhyper.cli.dispatch import main

__all__ = ["main"]
