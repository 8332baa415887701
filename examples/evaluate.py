"""Evaluates a training of examples/train.py: scores, uncertainty, pictures.

python examples/evaluate.py --workdir=runs/train --draws=16
python examples/evaluate.py --workdir=runs/train --draws=4 --averaging=widening
python examples/evaluate.py --workdir=runs/train --coverage=0.9
python examples/evaluate.py --workdir=runs/train --selective_error=0.05

What is more uncertain than --coverage or --selective_error allow is *unknown*: in the
predictor that it writes, and in what examples/export_model.py makes of it.

The same is `tfhyper evaluate`, where the package is installed: the code is in
tfhyper/cli/evaluate.py.
"""

from tfhyper.cli import flag_sets
from tfhyper.cli.evaluate import main
from tfhyper.cli.scripting import run

flag_sets.define_evaluate()

if __name__ == "__main__":
    run(main)
