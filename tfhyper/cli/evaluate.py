"""Evaluates a training of `tfhyper train`: scores, uncertainty, pictures.

tfhyper evaluate --workdir=runs/train --draws=64
tfhyper evaluate --workdir=runs/train --coverage=0.9
"""

import json
import os
from typing import Any

from absl import flags

from tfhyper import training
from tfhyper.cli import report

FLAGS = flags.FLAGS


def main() -> dict[str, Any]:
    """Evaluates, and returns what `report` says."""
    report.check_flags()
    path = os.path.join(FLAGS.workdir, "settings.json")
    if not os.path.exists(path):
        raise FileNotFoundError(
            "--workdir must be a folder of examples/train.py or `tfhyper train`. "
            f"Received: {FLAGS.workdir}"
        )
    with open(path) as file:
        settings = json.load(file)
    model, (epoch, *_) = training.Workdir(FLAGS.workdir, settings).restore()
    if model is None:
        raise FileNotFoundError(f"There is no checkpoint in {FLAGS.workdir} yet.")
    print(f"{model.name} after {epoch} epochs, from {FLAGS.workdir}")
    data, flipped = report.load_data(settings), settings.get("augment", True)
    return report.report(model, data, FLAGS.averaging, flipped)
