r"""Sets ways to be Bayesian side by side, in one table and a page of figures.

    python examples/compare.py
    python examples/compare.py --methods=map,mc_dropout,ensemble --seeds=0,1,2
    python examples/compare.py --predictors=mine=runs/train/predictor.tfhyper

Trains the networks of --methods that --workdir does not have yet, loads --predictors,
and evaluates all on the same test images: scores with intervals, NLL after a
temperature, AUROC of foreign images, scores under 15 corruptions, costs. Written are
table.md, table.json, comparison.png, and index.html with table and figure. A run that
was stopped goes on when it is started again with the same flags.

The same is `tfhyper compare`, where the package is installed: the code is in
tfhyper/cli/compare.py, and a method is an entry in tfhyper/cli/methods.py.
"""

from tfhyper.cli import flag_sets
from tfhyper.cli.scripting import run

flag_sets.define_compare()

if __name__ == "__main__":
    from tfhyper.cli.compare import main

    run(main)
