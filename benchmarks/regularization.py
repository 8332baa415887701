r"""MLE, MAP and hypernetworks on one network: error, NLL, ECE of x1 and xN.

The comparison of Ukai et al. (2019), Table IV, at a budget of your choice, with
both forms of the generator and both treatments of BatchNorm beside it, means and
deviations over --seeds:

    python benchmarks/regularization.py --data_dir=DIR \
        --train_examples=10000 --epochs=30 --depth=10 --width=2

Defaults are chosen with --validation_examples, by images that are held out of the
training, and not by the test images. Resumes by itself, cell by cell and epoch by
epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import functools
import time
from typing import Any

import common
import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

import tfhyper
from tfhyper import kits, metrics, models, training

FLAGS = flags.FLAGS
flags.DEFINE_integer("depth", 10, "Depth of the wide residual network.")
flags.DEFINE_integer("width", 2, "Width of the wide residual network.")
flags.DEFINE_integer("epochs", 30, "Epochs of the training.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_bool(
    "augmented_pass", False, "BatchNorm passes over augmented instead of plain images."
)
common.define_seeds()
common.define_validation()
FLAGS.set_default("workdir", "runs/regularization")
FLAGS.set_default("output", "benchmarks/results/regularization.json")


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the table: how the network is made and trained."""

    title: str
    kit: dict | None = None  # arguments of kits.hyper, or with kl_factor of kits.bayes
    weight_decay: float = 5e-4
    kl_factor: float | None = None
    # Error in per cent of x1 and x16, WRN-28-4, 800 epochs of all of CIFAR-10: Table
    # IV and the slides' appendix. *: x16 is an ensemble of 16 trainings.
    published: str = "-"


METHODS = {
    "mle": Method("MLE", weight_decay=0.0, published="6.05 / 4.75 *"),
    "map": Method("MAP", published="4.23 / 3.14 *"),
    "uniform": Method(
        "hypernetwork, U(0,1)",
        {"prior": "uniform", "mean_kernel": False},
        published="4.21 / 4.19",
    ),
    "normal": Method(
        "hypernetwork, N(0,1)",
        {"prior": "normal", "mean_kernel": False},
        published="4.65 / 4.06",
    ),
    "uniform_mean": Method(
        "mean kernel + U(0,1)", {"prior": "uniform", "mean_kernel": True}
    ),
    "normal_mean": Method(
        "mean kernel + N(0,1)", {"prior": "normal", "mean_kernel": True}
    ),
    "normal_mean_tenth": Method(
        "mean kernel + N(0,1), deviation_scale 0.1",
        {"prior": "normal", "mean_kernel": True, "deviation_scale": 0.1},
    ),
    "normal_mean_one": Method(
        "mean kernel + N(0,1), deviation_scale 1",
        {"prior": "normal", "mean_kernel": True, "deviation_scale": 1.0},
    ),
}
METHODS.update(
    bayes=Method("Bayes by Backprop", {}, kl_factor=1.0),
    bayes_tenth=Method("Bayes by Backprop, KL x 0.1", {}, kl_factor=0.1),
)
PASS_SIZES = (128, 512, 2048)


def run_method(name: str, method: Method, settings: dict) -> list[dict]:
    """Trains, or takes up, one method for each seed; returns its scores."""
    settings = {**settings, **dataclasses.asdict(method)}
    del settings["title"], settings["published"]
    if method.kl_factor is None:
        del settings["kl_factor"]
        if method.kit is not None:
            # Folders from before the generators' weights decayed are refused.
            settings["decay_generator"] = True
    compute = functools.partial(train_and_score, method)
    return common.run_seeds(name, method.title, settings, compute)


def make_kit(method: Method, num_train: int, seed: int) -> kits.LayerKit:
    """Returns the kit of a method."""
    if method.kit is None:
        return kits.deterministic()
    if method.kl_factor is None:
        return kits.hyper(**method.kit, seed=seed)
    return kits.bayes(num_train, **method.kit, seed=seed)


def train_and_score(method: Method, seed: int, workdir: training.Workdir) -> dict:
    """Returns the scores of one method, with both treatments of BatchNorm."""
    data = common.load_data(FLAGS.batch_size, seed=seed)

    def build() -> keras.Model:
        keras.utils.set_random_seed(seed)
        network = models.wide_resnet(
            FLAGS.depth,
            FLAGS.width,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=make_kit(method, data.num_train, seed),
        )
        return training.compile_recipe(
            network,
            FLAGS.epochs,
            data.steps_per_epoch,
            weight_decay=method.weight_decay,
        )

    callbacks = []
    if method.kl_factor is not None:
        callbacks.append(training.KLSchedule(method.kl_factor))
    started = time.time()
    model, history = training.fit_in_workdir(
        workdir, build, data, FLAGS.epochs, callbacks=callbacks, verbose=2
    )
    scores = {
        "parameters": model.count_params(),
        "train_accuracy": history["accuracy"][-1],
        "train_seconds_this_start": round(time.time() - started),
    }
    if method.kl_factor is not None:
        scores["kl"] = history["kl"][-1]
    draws = 1 if method.kit is None else FLAGS.draws
    scored = common.scored(data)
    labels = common.labels_of(scored)
    for batch_norm in ("reestimate", "moving_average"):
        predictor = tfhyper.PosteriorPredictor(
            model, num_draws=draws, batch_norm=batch_norm, seed=seed
        )
        if batch_norm == "reestimate":
            predictor.estimate_batch_norm(passed_images(data))
        members = predictor.predict(scored, verbose=1).members
        scores[batch_norm] = common.score(labels, members)
        if draws > 1:
            faults = metrics.fault_counts(labels, members[:4])
            scores[batch_norm]["faults_of_four"] = faults.tolist()
    if draws > 1:
        scores["pass_sizes"] = pass_sizes(model, data, labels, seed)
    return scores


def passed_images(data: tfhyper.data.Data) -> Any:
    """Returns the training images that BatchNorm's moments are taken from."""
    return data.epoch(0) if FLAGS.augmented_pass else data.train_plain


def pass_sizes(
    model: keras.Model, data: tfhyper.data.Data, labels: np.ndarray, seed: int
) -> dict:
    """Returns x4 scores for BatchNorm passes over the first so many images."""
    scores = {}
    for size in PASS_SIZES:
        if size >= data.num_train:
            continue
        batches = -(-size // data.batch_size)
        predictor = tfhyper.PosteriorPredictor(model, num_draws=4, seed=seed)
        predictor.estimate_batch_norm(passed_images(data).take(batches), verbose=0)
        members = predictor.predict(common.scored(data)).members
        scores[str(size)] = metrics.classification_report(labels, members)
    return scores


def table(results: dict) -> str:
    """Returns the results as a Markdown table, errors in per cent."""
    rows = []
    many = f"x{FLAGS.draws}"
    for name, seeds in results.items():
        by_form = {
            form: [scores[form] for scores in seeds]
            for form in ("reestimate", "moving_average")
        }
        rows.append(
            [
                METHODS[name].title,
                common.spread([s["train_accuracy"] for s in seeds], 2),
                common.format_scores(by_form["reestimate"], "x1"),
                common.format_scores(by_form["reestimate"], many),
                common.format_scores(by_form["moving_average"], "x1"),
                common.format_scores(by_form["moving_average"], many),
                METHODS[name].published,
            ]
        )
    header = [
        "method",
        "train acc.",
        "x1 error % / NLL / ECE",
        f"x{FLAGS.draws}",
        "x1, moving averages",
        f"x{FLAGS.draws}, moving averages",
        "paper, WRN-28-4, 800 epochs: x1 / x16 error %",
    ]
    return markdown_table(header, rows) + "\n\n*: an ensemble of 16 trainings"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    names = common.chosen(METHODS)
    settings = common.flag_values(
        "depth", "width", "epochs", "batch_size", "augmented_pass"
    )
    results = {name: run_method(name, METHODS[name], settings) for name in names}
    print(table(results))
    content = {
        "what": "MLE, MAP and hypernetworks: error, NLL (nats), ECE of x1 and xN",
        "data": FLAGS.data_note,
        "settings": {**settings, "seeds": FLAGS.seeds},
        **provenance(),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
