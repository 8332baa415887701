"""What the benchmarks of trained classifiers share: flags, data, cells."""

import os
from collections.abc import Callable

import numpy as np
from absl import app, flags
from report import read_json, write_json

import tfhyper
from tfhyper import metrics, training

FLAGS = flags.FLAGS
# Each script sets its own --workdir and --output with `FLAGS.set_default`.
flags.DEFINE_string("dataset", "cifar10", "A name that tfhyper.data.load knows.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("data_note", "CIFAR-10 (JPEG)", "How tables call the data.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise, data order and draws.")
flags.DEFINE_integer("draws", 16, "N of xN.")
flags.DEFINE_integer("singles", 5, "Draws whose median is x1.")
flags.DEFINE_string("workdir", None, "Where trainings are kept.")
flags.DEFINE_string("output", None, "The JSON.")
flags.DEFINE_list("only", [], "Cells of the table to run, by their names; or all.")

# Those of the flags above that a cell's result depends on.
SETTINGS = ("dataset", "train_examples", "test_examples", "seed", "draws", "singles")


def load_data(batch_size: int, augment: bool = True) -> tfhyper.data.Data:
    """Returns the data that the flags name."""
    return tfhyper.data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        batch_size=batch_size,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
        seed=FLAGS.seed,
        augment=augment,
    )


def flag_values(*names: str) -> dict:
    """Returns the shared settings and the flags of these names."""
    return {name: FLAGS[name].value for name in (*SETTINGS, *names)}


def chosen(cells: dict) -> list[str]:
    """Returns the names of the cells to run, from --only."""
    unknown = sorted(set(FLAGS.only) - set(cells))
    if unknown:
        raise app.UsageError(f"--only takes {sorted(cells)}. Received: {unknown}")
    return FLAGS.only or list(cells)


def run_cell(name: str, title: str, settings: dict, compute: Callable) -> dict:
    """Returns the scores of one cell, from its folder if it is done.

    Args:
        name: the cell's folder in --workdir.
        title: what to print when it starts.
        settings: what its result depends on.
        compute: called with the cell's `Workdir`, returns its scores.
    """
    workdir = training.Workdir(os.path.join(FLAGS.workdir, name), settings)
    scores = read_json(workdir.file("scores.json"))
    if scores is None:
        print(f"== {title}")
        scores = compute(workdir)
        write_json(workdir.file("scores.json"), scores)
    return scores


def score(labels: np.ndarray, members: np.ndarray) -> dict:
    """Returns the scores of x1 (median of draws) and of xN."""
    scores = {"x1": metrics.single_draw_report(labels, members[: FLAGS.singles])}
    if len(members) > 1:
        scores[f"x{len(members)}"] = metrics.classification_report(labels, members)
    return scores


def test_labels(data: tfhyper.data.Data) -> np.ndarray:
    """Returns the labels of the test images, in their order."""
    return np.concatenate([y for _, y in data.test])


def format_scores(scores: dict, key: str) -> str:
    """Returns "error % / NLL / ECE" of one entry, or "-"."""
    if key not in scores:
        return "-"
    s = scores[key]
    return f"{100 * s['error']:.1f} / {s['nll']:.3f} / {s['ece']:.3f}"
