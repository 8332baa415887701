"""Evaluates a training of examples/train.py: scores, uncertainty, pictures.

python examples/evaluate.py --workdir=runs/train --draws=16
python examples/evaluate.py --workdir=runs/train --draws=4 --averaging=widening
python examples/evaluate.py --workdir=runs/train --coverage=0.9
python examples/evaluate.py --workdir=runs/train --selective_error=0.05

What is more uncertain than --coverage or --selective_error allow is *unknown*: in the
predictor that it writes, and in what examples/export_model.py makes of it.
"""

import json
import os

import common
from absl import flags

from tfhyper import training

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "averaging",
    "branching",
    ["branching", "parallelizing", "widening"],
    "Where draws are averaged: behind N networks, or inside of one.",
)


def main():
    common.check_flags()
    path = os.path.join(FLAGS.workdir, "settings.json")
    if not os.path.exists(path):
        raise FileNotFoundError(
            "--workdir must be a folder of examples/train.py. "
            f"Received: {FLAGS.workdir}"
        )
    with open(path) as file:
        settings = json.load(file)
    model, (epoch, *_) = training.Workdir(FLAGS.workdir, settings).restore()
    if model is None:
        raise FileNotFoundError(f"There is no checkpoint in {FLAGS.workdir} yet.")
    print(f"{model.name} after {epoch} epochs, from {FLAGS.workdir}")
    common.report(model, common.load_data(settings), FLAGS.averaging)


if __name__ == "__main__":
    common.run(main)
