"""Distributions as outputs: heteroscedastic regression on tables of the UCI repository.

    python benchmarks/heads_uci.py --data_dir=DIR

The heads of `tfhyper.heads` beside a mean under one noise for all inputs, each as one
network and as many draws of one with MC dropout: see `heads_regression`. --data_dir
holds tables as text, the target last, one NAME.txt each. Resumes row by row from
--workdir, and the JSON grows with them. Networks of all tables and splits learn side by
side.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import time
from collections.abc import Iterable
from itertools import islice

import heads_tables
import tensorflow as tf
from absl import app, flags
from heads_regression import ROWS, Network, Rows, Settings
from report import provenance, read_json, write_json
from table_files import table_paths

from tfhyper import data, training

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Folder of the tables.", required=True)
flags.DEFINE_list("tables", [], "Names of tables, without .txt; all by default.")
flags.DEFINE_list("rows", list(ROWS), "Rows of the tables, by their names.")
flags.DEFINE_integer("splits", 3, "Splits, with the seeds 1, 2, ...", lower_bound=1)
flags.DEFINE_integer("steps", Settings.steps, "Of each training.", lower_bound=1)
flags.DEFINE_integer("draws", Settings.draws, "Of a network with MC dropout.")
flags.DEFINE_string("workdir", "runs/heads_uci", "Where cells are kept.")
flags.DEFINE_string("output", "benchmarks/results/heads_uci.json", "The JSON.")


def write_results(files: dict[str, str], settings: dict) -> None:
    """Writes and prints the rows that are there.

    Args:
        files: those of the rows, by their names.
        settings: what they depend on.
    """
    found: heads_tables.Found = {table: {} for table in settings["tables"]}
    seconds = 0.0
    for row, path in files.items():
        cell = read_json(path)
        if cell is not None:
            seconds += cell["seconds"]
            for table, scores in cell["tables"].items():
                found[table][row] = scores
    print(heads_tables.markdown(found))
    content = {
        "what": "heteroscedastic regression by heads of distributions beside one noise "
        "for all inputs; in the targets' unit, one number for each split",
        "data": "UCI tables: " + ", ".join(settings["tables"]),
        "settings": settings,
        **provenance(("scipy",)),
        "seconds": round(seconds, 1),
        "results": found,
    }
    write_json(FLAGS.output, content)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    unknown = sorted(set(FLAGS.rows) - set(ROWS))
    if unknown:
        raise app.UsageError(f"--rows has no {unknown}: {list(ROWS)}")
    # These networks gain nothing from more cores than one.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    paths = table_paths(FLAGS.data_dir, FLAGS.tables)
    tables = {name: data.load_table(path) for name, path in paths.items()}
    width = max(table.x.shape[1] for table in tables.values())
    parts = [
        Rows.of(table, split, width)
        for table in tables.values()
        for split in range(1, FLAGS.splits + 1)
    ]
    settings = Settings(FLAGS.steps, FLAGS.draws)
    kept = {
        **dataclasses.asdict(settings),
        "splits": FLAGS.splits,
        "tables": list(tables),
    }
    folder = training.Workdir(FLAGS.workdir, kept)
    files = {row: folder.file(f"{row}.json") for row in FLAGS.rows}
    for row, path in files.items():
        if os.path.exists(path):
            continue
        started = time.time()
        scores = iter(Network(ROWS[row], width, settings).scores(parts))
        cell = {table: by_score(islice(scores, FLAGS.splits)) for table in tables}
        seconds = round(time.time() - started, 1)
        write_json(path, {"tables": cell, "seconds": seconds})
        write_results(files, kept)
    write_results(files, kept)


def by_score(splits: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    """Returns the numbers of the splits by the scores' names."""
    found = list(splits)
    return {key: [scores[key] for scores in found] for key in found[0]}


if __name__ == "__main__":
    app.run(main)
