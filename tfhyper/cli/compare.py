r"""Sets methods, and predictors of files, side by side in one table.

tfhyper compare
tfhyper compare --methods=map,mcbn --predictors=mine=runs/train/predictor.tfhyper
"""

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from absl import flags

from tfhyper import models, saving, shift, training
from tfhyper.cli.methods import METHODS, Made, network
from tfhyper.cli.predictor_files import load_predictor
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import write_figure, write_json
from tfhyper.comparison import ComparisonTable, evaluate
from tfhyper.data import Data, load
from tfhyper.text import markdown_table
from tfhyper.whole_files import whole_file

FLAGS = flags.FLAGS
# Flags that another run must have the same to go on with a training.
_SETTINGS = (
    "dataset data_dir train_examples validation_examples epochs batch_size depth width"
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Predictors compared</title></head>
<body style="font-family:sans-serif;margin:2em">
<h1>Predictors compared</h1>
{table}
<p><img src="comparison.png" alt="Scores" style="max-width:100%"></p>
</body></html>
"""


class _Seconds(keras.callbacks.Callback):
    """Adds up the seconds of a training in its folder, of all runs of it."""

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def on_train_begin(self, logs: Any = None) -> None:
        self._before, self._start = _seconds(self._path), time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        taken = self._before + time.perf_counter() - self._start
        with whole_file(self._path) as temporary, open(temporary, "w") as file:
            json.dump(taken, file)


def _seconds(path: str) -> float:
    if not os.path.exists(path):
        return 0.0
    with open(path) as file:
        return float(json.load(file))


def load_data(seed: int) -> Data:
    """Returns the data of the flags; the seed is of their order."""
    return load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        download=FLAGS.download,
        batch_size=FLAGS.batch_size,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
        validation_examples=FLAGS.validation_examples,
        seed=seed,
    )


def train(name: str, seed: int) -> tuple[keras.Model, float]:
    """Returns a trained network and the seconds that it took, from its folder."""
    path = os.path.join(FLAGS.workdir, f"{name}-{seed}")
    settings = {key: FLAGS[key].value for key in _SETTINGS.split()}
    workdir = training.Workdir(path, {**settings, "training": name, "seed": seed})
    data = load_data(seed)
    builder = functools.partial(models.wide_resnet, FLAGS.depth, FLAGS.width)
    clock = workdir.file("seconds.json")
    callbacks: list[keras.callbacks.Callback] = [_Seconds(clock)]
    if name == "bayes":
        callbacks.append(training.KLSchedule())
    model, _ = training.fit_in_workdir(
        workdir,
        lambda: network(name, builder, data, FLAGS.epochs, seed),
        data,
        FLAGS.epochs,
        callbacks=callbacks,
        verbose=2,
    )
    return model, _seconds(clock)


def named_files() -> dict[str, str]:
    """Returns name -> path of --predictors."""
    found: dict[str, str] = {}
    for pair in FLAGS.predictors:
        name, sign, path = pair.partition("=")
        if not (name and sign and path) or name in found:
            raise ValueError(
                "--predictors must be name=path,name=path, each name once. "
                f"Received: --predictors={','.join(FLAGS.predictors)}"
            )
        found[name] = path
    return found


def check_methods() -> None:
    """Raises ValueError for methods that there are not, and seeds that are none."""
    if unknown := set(FLAGS.methods) - METHODS.keys():
        raise ValueError(
            f"--methods must be among {', '.join(METHODS)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    if not FLAGS.seeds or not all(x.isdigit() for x in FLAGS.seeds):
        raise ValueError(
            "--seeds must be whole numbers, one or more. "
            f"Received: --seeds={','.join(FLAGS.seeds)}"
        )
    if not FLAGS.severities or not set(FLAGS.severities) <= set("12345"):
        raise ValueError(
            "--severities must be whole numbers from 1 to 5. "
            f"Received: --severities={','.join(FLAGS.severities)}"
        )
    if not FLAGS.methods and not FLAGS.predictors:
        raise ValueError(
            "--methods or --predictors must name something. Received: none"
        )


def make_predictors() -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the predictors by their names, and the seconds of those trained here."""
    # What is no predictor is said before the trainings.
    files = {
        name: saving.load_model(path)
        if path.endswith(".keras")
        else load_predictor(path)
        for name, path in named_files().items()
    }
    found: dict[str, Any] = {}
    costs: dict[str, float] = {}
    seeds = [int(x) for x in FLAGS.seeds]
    for place, seed in enumerate(seeds):
        for name in FLAGS.methods:
            method = METHODS[name]
            count = FLAGS.members if method.is_ensemble else 1
            # Members of ensembles of different seeds are different ones.
            own = [seed, *(1000 + place * FLAGS.members + i for i in range(1, count))]
            trained = [train(method.trains, x) for x in own]
            networks = [model for model, _ in trained]
            title = f"{name} {seed}" if len(seeds) > 1 else name
            made = Made(networks, load_data(seed), FLAGS.draws, seed)
            found[title] = method.predicts(made)
            costs[title] = sum(seconds for _, seconds in trained)
    return {**found, **files}, costs


def compare(predictors: dict[str, Any], costs: dict[str, float]) -> ComparisonTable:
    """Returns the table of predictors on the test images of the flags."""
    data = load_data(0)
    x, y = (np.concatenate(part) for part in zip(*data.test.as_numpy_iterator()))
    mean, std = (np.asarray(n, "float32") for n in (data.spec.mean, data.spec.std))

    def prepare(images: np.ndarray) -> np.ndarray:
        return ((images - mean) / std).astype("float32")

    images = np.clip(x * std + mean, 0, 1)
    rng = np.random.default_rng(0)
    pixels = images.reshape(len(x), -1, images.shape[-1])
    foreign = {
        "noise": prepare(rng.random(images.shape)),
        "shuffled": prepare(rng.permuted(pixels, axis=1).reshape(images.shape)),
    }
    count = FLAGS.corrupted_examples
    shifted: dict[str, dict[int, Callable[[], Any]]] = {}
    if count:
        severities = [int(n) for n in FLAGS.severities]
        made = shift.corruptions(images[:count], None, severities, prepare=prepare)
        for kind, by_severity in made.items():
            shifted[kind] = {
                n: functools.partial(lambda get: (get(), y[:count]), get)
                for n, get in by_severity.items()
            }
    return evaluate(
        predictors,
        (x, y),
        foreign=foreign,
        shifted=shifted,
        calibration=data.validation,
        costs=costs,
        verbose=0,
    )


def over_seeds(table: ComparisonTable) -> dict[str, dict[str, list[float]]]:
    """Returns method -> score -> mean and standard deviation over --seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in FLAGS.methods:
        rows = [table.scores[f"{name} {int(seed)}"] for seed in FLAGS.seeds]
        found[name] = {}
        for score in rows[0]:
            values = [row[score].value for row in rows]
            found[name][score] = [float(np.mean(values)), float(np.std(values, ddof=1))]
    return found


def main() -> dict[str, Any]:
    """Trains what is missing, writes table, figure and page, and returns numbers."""
    names = "draws", "epochs", "members", "train_examples", "validation_examples"
    check_flags([*names, "test_examples", "batch_size"])
    check_methods()
    table = compare(*make_predictors())
    found = table.to_dict()
    text = f"{table.markdown()}\n"
    if len(FLAGS.seeds) > 1:
        found["over_seeds"] = over_seeds(table)
        scores = list(next(iter(found["over_seeds"].values()), {}))
        rows = [
            [name, *(f"{mean:.3f} ± {spread:.3f}" for mean, spread in by.values())]
            for name, by in found["over_seeds"].items()
        ]
        title = f"Mean and standard deviation over the seeds {', '.join(FLAGS.seeds)}"
        text += f"\n{title}\n\n{markdown_table(['method', *scores], rows, '---:')}\n"
    print(text)
    write_text("table.md", text)
    write_json(os.path.join(FLAGS.workdir, "table.json"), found)
    write_figure(os.path.join(FLAGS.workdir, "comparison.png"), table.plot())
    write_text("index.html", _PAGE.format(table=table.html()))
    return found


def write_text(name: str, text: str) -> None:
    """Writes a file of text into --workdir, whole, and says where."""
    path = os.path.join(FLAGS.workdir, name)
    os.makedirs(FLAGS.workdir, exist_ok=True)
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"written: {path}")
