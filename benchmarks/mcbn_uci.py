r"""MC batch normalization, MC dropout and normalizing flows on tables of UCI.

The evaluation of Teye et al. (ICML 2018) with a smaller grid: for each split of a
table, a search of the grid by 5-fold cross-validation, a final training, draws, and
their scores against those of a constant uncertainty with the same means.

    python benchmarks/mcbn_uci.py --data_dir=DIR --processes=2

--data_dir holds tables as text, the target last, one NAME.txt each. Resumes by
itself, cell by cell, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import contextlib
import dataclasses
import functools
import io
import multiprocessing
import time
from collections.abc import Callable

import keras
import mcbn_protocol as protocol
import numpy as np
import scipy.stats
import tensorflow as tf
from absl import app, flags
from report import markdown_table, provenance, read_json, write_figure, write_json
from table_files import table_paths

from tfhyper import analysis, data, training

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Folder of the tables.", required=True)
flags.DEFINE_list("tables", [], "Names of tables, without .txt; all by default.")
flags.DEFINE_list(
    "methods", ["mcbn", "mc_dropout", "mnf"], "Keys of mcbn_protocol.METHODS."
)
flags.DEFINE_integer("splits", 5, "Splits, with the seeds 1, 2, ...", lower_bound=1)
flags.DEFINE_integer("processes", 1, "Cells at a time.", lower_bound=1)
flags.DEFINE_enum("tau_by", "crps", protocol.TAU_BY, "What the table's tau is best by.")
flags.DEFINE_string("workdir", "runs/mcbn_uci", "Where cells are kept.")
flags.DEFINE_string("output", "benchmarks/results/mcbn_uci.json", "The JSON.")
flags.DEFINE_string("figure", "benchmarks/results/mcbn_uci.png", "The figure.")
for field in dataclasses.fields(protocol.Settings):
    if isinstance(field.default, tuple):
        default = [str(value) for value in field.default]
        flags.DEFINE_list(field.name, default, "Values of the grid.")
    elif field.name == "learning_rate":
        flags.DEFINE_float(field.name, field.default, "Adam's learning rate.")
    else:
        flags.DEFINE_integer(
            field.name, field.default, "Of the protocol.", lower_bound=1
        )

Cell = tuple[str, int, str]  # table, split, method

# RMSE and log-likelihood of other protocols. The scores of Teye et al. are normalised
# ones; their table is not at hand.
PUBLISHED = {
    # Gal and Ghahramani's grid search (yaringal/DropoutUncertaintyExps, readme.md): one
    # hidden layer, 20 splits of 10 %.
    ("bostonHousing", "mc_dropout"): ("2.90 ± 0.18", "-2.40 ± 0.04"),
    ("concrete", "mc_dropout"): ("4.82 ± 0.16", "-2.93 ± 0.02"),
    ("energy", "mc_dropout"): ("0.54 ± 0.06", "-1.21 ± 0.01"),
    ("wine-quality-red", "mc_dropout"): ("0.62 ± 0.01", "-0.93 ± 0.01"),
    ("yacht", "mc_dropout"): ("0.67 ± 0.05", "-1.25 ± 0.01"),
}


def read_settings() -> protocol.Settings:
    """Returns what the flags say."""
    values = {}
    for field in dataclasses.fields(protocol.Settings):
        value = FLAGS[field.name].value
        if isinstance(field.default, tuple):
            number = type(field.default[0])
            try:
                value = tuple(number(text) for text in value)
            except ValueError as error:
                raise app.UsageError(f"--{field.name} takes numbers: {error}") from None
        values[field.name] = value
    if values["max_epochs"] < values["evaluate_every"]:
        raise app.UsageError("--max_epochs must not be below --evaluate_every")
    return protocol.Settings(**values)


def read_tables() -> dict[str, data.Table]:
    """Returns the tables of --data_dir, checked before anything runs."""
    paths = table_paths(FLAGS.data_dir, FLAGS.tables)
    return {name: data.load_table(path) for name, path in paths.items()}


def cell_path(folder: str, cell: Cell) -> str:
    """Returns the file of a cell."""
    return os.path.join(folder, "{}-{}-{}.json".format(*cell))


def run_cell(
    cell: Cell, tables: dict, settings: protocol.Settings, folder: str
) -> Cell:
    """Runs one cell and writes its file."""
    table, split, method = cell
    started = time.time()
    found = protocol.run_cell(tables[table], split, method, settings)
    found["seconds"] = round(time.time() - started, 1)
    with contextlib.redirect_stdout(io.StringIO()):  # the progress bar is there
        write_json(cell_path(folder, cell), found)
    return cell


def start_process() -> None:
    """Gives a process one core: these networks gain nothing from more."""
    tf.get_logger().setLevel("ERROR")  # networks of other shapes are traced anew
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def run_cells(cells: list[Cell], run: Callable[[Cell], Cell]) -> None:
    """Runs the cells, in processes of their own if there are several."""
    print(f"{len(cells)} cells to run")
    bar = keras.utils.Progbar(len(cells), unit_name="cell")
    if FLAGS.processes == 1:
        for cell in cells:
            run(cell)
            bar.add(1)
        return
    # A fork of a process that has used TensorFlow would hang.
    context = multiprocessing.get_context("spawn")
    with context.Pool(FLAGS.processes, start_process) as pool:
        for _ in pool.imap_unordered(run, cells):
            bar.add(1)


def summary(cells: list[dict], tau_by: str) -> dict:
    """Returns means and standard errors over splits, and the tests.

    Runs of a split are averaged first: they are not independent of each other.
    The tests are two-sided paired t-tests over the splits against the twin.
    """
    runs = [cell["scores"][tau_by] for cell in cells]
    splits = {
        key: np.array([np.mean([run[key] for run in of_split]) for of_split in runs])
        for key in runs[0][0]
    }
    found = {}
    for key, values in splits.items():
        error = scipy.stats.sem(values) if len(values) > 1 else None
        found[key] = {"mean": float(values.mean()), "standard_error": _float(error)}
    for key in ("crps", "pll"):
        test = None
        if len(runs) > 1:
            test = scipy.stats.ttest_rel(splits[key], splits[f"{key}_constant"]).pvalue
        found[key]["p"] = _float(test)
    found["found"] = [cell["found"] for cell in cells]
    found["seconds"] = sum(cell["seconds"] for cell in cells)
    return found


def _float(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def markdown(results: dict) -> str:
    """Returns the results as a Markdown table."""
    rows = []
    for table, methods in results.items():
        for method, found in methods.items():
            names = protocol.METHODS[method]
            row = [table, names.title, _pair(found["rmse"])]
            for key in ("crps", "pll"):
                test = found[key]["p"]
                row += [
                    _pair(found[key]),
                    f"{names.twin} {_pair(found[f'{key}_constant'])}",
                    _pair(found[f"{key}_normalized"], 1),
                    "-" if test is None else f"{test:.2g}",
                ]
            rows.append([*row, *PUBLISHED.get((table, method), ("-", "-"))])
    header = ["table", "method", "RMSE"]
    for key in ("CRPS", "PLL"):
        header += [key, "constant", f"normalised {key}", "p"]
    header += ["published RMSE", "published PLL"]
    return markdown_table(header, rows)


def _pair(found: dict, digits: int = 3) -> str:
    error = found["standard_error"]
    suffix = "" if error is None else f" ± {error:.{digits}f}"
    return f"{found['mean']:.{digits}f}{suffix}"


def draw(first_cells: dict, tau_by: str) -> None:
    """Writes the figure of errors by uncertainty, of the first split."""
    from matplotlib.figure import Figure

    rows, columns = len(first_cells), len(FLAGS.methods)
    figure = Figure(figsize=(4.6 * columns, 3.0 * rows), layout="constrained")
    parts = figure.subfigures(rows, columns, squeeze=False)
    for row, (table, methods) in zip(parts, first_cells.items(), strict=True):
        for part, (method, cell) in zip(row, methods.items(), strict=True):
            variances = cell["variances"][tau_by]
            analysis.uncertainty_error_plot(
                cell["targets"],
                cell["mean"],
                np.array(cell["spread"]) + variances["noise"],
                variances["constant"],
                title=f"{table}, {protocol.METHODS[method].title}",
                figure=part,
            )
    write_figure(FLAGS.figure, figure, 110)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    start_process()
    unknown = sorted(set(FLAGS.methods) - set(protocol.METHODS))
    if unknown:
        raise app.UsageError(f"--methods has no {unknown}: {list(protocol.METHODS)}")
    settings, tables = read_settings(), read_tables()
    kept = dataclasses.asdict(settings)
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}
    folder = os.path.dirname(training.Workdir(FLAGS.workdir, kept).file("x"))
    splits = range(1, FLAGS.splits + 1)
    cells = [(t, s, m) for t in tables for m in FLAGS.methods for s in splits]
    run = functools.partial(run_cell, tables=tables, settings=settings, folder=folder)
    run_cells([c for c in cells if not os.path.exists(cell_path(folder, c))], run)

    def read(table: str, split: int, method: str) -> dict:
        return read_json(cell_path(folder, (table, split, method)))

    results = {
        table: {
            method: summary([read(table, s, method) for s in splits], FLAGS.tau_by)
            for method in FLAGS.methods
        }
        for table in tables
    }
    print(markdown(results))
    content = {
        "what": "CRPS and PLL (nats) against constant uncertainty, normalised: 0 "
        "constant, 100 optimal; means over splits",
        "data": "UCI tables: " + ", ".join(tables),
        "settings": {**kept, "splits": FLAGS.splits, "tau_by": FLAGS.tau_by},
        **provenance(("scipy",)),
        "results": results,
    }
    write_json(FLAGS.output, content)
    first = {t: {m: read(t, 1, m) for m in FLAGS.methods} for t in tables}
    draw(first, FLAGS.tau_by)


if __name__ == "__main__":
    app.run(main)
