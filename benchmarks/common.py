"""What the benchmarks of trained classifiers share: flags, data, cells."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


def define_seeds(default: int = 3) -> None:
    """Defines --seeds, for a script that trains each cell several times."""
    flags.DEFINE_integer(
        "seeds",
        default,
        "Trainings of each cell, with --seed and the numbers after it: a table that "
        "says better or worse has three or more.",
        lower_bound=1,
    )


def define_validation() -> None:
    """Defines --validation_examples, for a script that something is chosen by."""
    flags.DEFINE_integer(
        "validation_examples",
        None,
        "Hold the last so many training images out and score on them, not on the test "
        "images: for whatever is chosen by the scores, such as defaults.",
        lower_bound=1,
    )


def seeds() -> range:
    """Returns the seeds of --seed and --seeds."""
    return range(FLAGS.seed, FLAGS.seed + FLAGS.seeds)


def load_data(batch_size: int, augment: bool = True, **more: Any) -> tfhyper.data.Data:
    """Returns the data that the flags name.

    Args:
        batch_size: images in a batch.
        augment: whether training images are augmented.
        **more: arguments of `tfhyper.data.load` in place of what the flags say.
    """
    options = {
        "name": FLAGS.dataset,
        "data_dir": FLAGS.data_dir,
        "batch_size": batch_size,
        "train_examples": FLAGS.train_examples,
        "test_examples": FLAGS.test_examples,
        "seed": FLAGS.seed,
        "augment": augment,
        "validation_examples": _validation_examples(),
    }
    return tfhyper.data.load(**{**options, **more})


def _validation_examples() -> int | None:
    if "validation_examples" not in FLAGS:
        return None
    return FLAGS.validation_examples


def scored(data: tfhyper.data.Data) -> Any:
    """Returns the images that are scored: the held-out ones, if any, or the test's."""
    return data.test if data.validation is None else data.validation


def flag_values(*names: str) -> dict[str, Any]:
    """Returns the shared settings and the flags of these names."""
    values = {name: FLAGS[name].value for name in (*SETTINGS, *names)}
    held_out = _validation_examples()
    if held_out is not None:
        values["validation_examples"] = held_out
    return values


def chosen(cells: Mapping[str, Any]) -> list[str]:
    """Returns the names of the cells to run, from --only."""
    unknown = sorted(set(FLAGS.only) - set(cells))
    if unknown:
        raise app.UsageError(f"--only takes {sorted(cells)}. Received: {unknown}")
    return FLAGS.only or list(cells)


def run_cell(
    name: str,
    title: str,
    settings: dict[str, Any],
    compute: Callable[[training.Workdir], dict[str, Any]],
) -> dict[str, Any]:
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


def run_seeds(
    name: str,
    title: str,
    settings: dict[str, Any],
    compute: Callable[[int, training.Workdir], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Returns the scores of one cell for each seed, as `run_cell` does of one."""
    return [
        run_cell(
            os.path.join(name, f"seed{seed}"),
            f"{title}, seed {seed}",
            {**settings, "seed": seed},
            lambda workdir, seed=seed: compute(seed, workdir),
        )
        for seed in seeds()
    ]


def score(labels: np.ndarray, members: np.ndarray) -> dict[str, Any]:
    """Returns the scores of x1 (median of draws) and of xN."""
    scores = {"x1": metrics.single_draw_report(labels, members[: FLAGS.singles])}
    if len(members) > 1:
        scores[f"x{len(members)}"] = metrics.classification_report(labels, members)
    return scores


def labels_of(batches: Any) -> np.ndarray:
    """Returns the labels of a dataset's images, in their order."""
    return np.concatenate([y for _, y in batches])


def test_labels(data: tfhyper.data.Data) -> np.ndarray:
    """Returns the labels of the test images, in their order."""
    return labels_of(data.test)


def spread(values: Sequence[float], digits: int, factor: float = 1.0) -> str:
    """Returns "mean ± deviation" over the seeds, "mean" of one, "-" of none."""
    numbers = factor * np.asarray(list(values), float)
    if not len(numbers):
        return "-"
    text = f"{numbers.mean():.{digits}f}"
    if len(numbers) > 1:
        text += f" ± {numbers.std(ddof=1):.{digits}f}"
    return text


def format_scores(seeds: Sequence[dict[str, Any]], key: str) -> str:
    """Returns "error % / NLL / ECE" of one entry over the seeds, or "-"."""
    found = [scores[key] for scores in seeds if key in scores]
    if not found:
        return "-"
    parts = (("error", 1, 100.0), ("nll", 3, 1.0), ("ece", 3, 1.0))
    return " / ".join(
        spread([s[name] for s in found], digits, factor)
        for name, digits, factor in parts
    )
