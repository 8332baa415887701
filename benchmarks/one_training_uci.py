r"""One training against several on tables of the UCI repository: regression.

    python benchmarks/one_training_uci.py --data_dir=DIR --shard=0/2

The rows of `one_training.py` that regress, beside MCBN and MC dropout: see
`one_training_regression`. CRPS and log-likelihood are of held-out rows, and normalised
as in `mcbn_uci.py`, whose methods have a search of their own. --data_dir holds tables
as text, the target last, one NAME.txt each. Resumes cell by cell from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import numpy as np
from absl import app, flags
from mcbn_protocol import TAU_BY
from one_training_regression import METHODS, run_cell
from one_training_work import part_of
from report import markdown_table, provenance, read_json, write_json
from table_files import table_paths

from tfhyper import data, training

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Folder of the tables.", required=True)
flags.DEFINE_list("tables", [], "Names of tables, without .txt; all by default.")
flags.DEFINE_integer("splits", 5, "Splits, with the seeds 1, 2, ...", lower_bound=1)
flags.DEFINE_integer("epochs", 200, "Of each training.", lower_bound=1)
flags.DEFINE_integer("draws", 64, "Of each network that has them.", lower_bound=2)
flags.DEFINE_enum("tau_by", "crps", TAU_BY, "What tau is best by.")
flags.DEFINE_string("shard", "0/1", "i/n: the i-th of n processes, from 0 on.")
flags.DEFINE_string("workdir", "runs/one_training/uci", "Where cells are kept.")
flags.DEFINE_string("output", "benchmarks/results/one_training_uci.json", "The JSON.")

SCORES = ("rmse", "crps", "pll", "crps_normalized", "pll_normalized")


def summaries(cells: dict[tuple[str, int], dict]) -> dict:
    """Returns, by table and method, means and standard errors over splits."""
    found: dict = {}
    for name in dict.fromkeys(table for table, _ in cells):
        splits = [cell for (table, _), cell in cells.items() if table == name]
        found[name] = {
            method: {
                key: _mean_and_error(
                    [cell["methods"][method][FLAGS.tau_by][key] for cell in splits]
                )
                for key in SCORES
            }
            for method in METHODS
        }
    return found


def _mean_and_error(values: list[float]) -> dict:
    error = None
    if len(values) > 1:
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "standard_error": error, "of": len(values)}


def markdown(found: dict) -> str:
    """Returns the results as a Markdown table."""
    rows = [
        [table, METHODS[method].title, *(_pair(scores[key]) for key in SCORES)]
        for table, methods in found.items()
        for method, scores in methods.items()
    ]
    header = ["table", "method", "RMSE", "CRPS", "log-likelihood"]
    return markdown_table([*header, "normalised CRPS", "normalised PLL"], rows)


def _pair(found: dict) -> str:
    error = found["standard_error"]
    return f"{found['mean']:.3f}" + ("" if error is None else f" ± {error:.3f}")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    tables = table_paths(FLAGS.data_dir, FLAGS.tables)
    settings = {"epochs": FLAGS.epochs, "draws": FLAGS.draws}
    folder = training.Workdir(FLAGS.workdir, settings)
    splits = range(1, FLAGS.splits + 1)
    paths = {
        (table, split): folder.file(f"{table}-{split}.json")
        for table in tables
        for split in splits
    }
    try:
        mine = part_of(paths, FLAGS.shard)
    except ValueError as error:
        raise app.UsageError(str(error)) from None
    for (table, split), path in mine.items():
        if not os.path.exists(path):
            started = time.time()
            cell = run_cell(
                data.load_table(tables[table]), split, FLAGS.epochs, FLAGS.draws
            )
            write_json(path, {**cell, "seconds": round(time.time() - started, 1)})
    found = summaries(
        {key: read_json(p) for key, p in paths.items() if os.path.exists(p)}
    )
    print(markdown(found))
    content = {
        "what": "methods at the price of one training, regression: means over splits",
        "data": "UCI tables: " + ", ".join(tables),
        "settings": {**settings, "splits": FLAGS.splits, "tau_by": FLAGS.tau_by},
        **provenance(),
        "results": found,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    app.run(main)
