r"""MLE, MAP and hypernetworks on one network: error, NLL, ECE of x1 and xN.

The comparison of Ukai et al. (2019), Table IV, at a budget of your choice, with
both forms of the generator and both treatments of BatchNorm beside it:

    python benchmarks/regularization.py --data_dir=DIR \
        --train_examples=10000 --epochs=30 --depth=10 --width=2

Resumes by itself, cell by cell and epoch by epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import time

import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, read_json, write_json

import tfhyper
from tfhyper import kits, metrics, models, training

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "cifar10", "A name that tfhyper.data.load knows.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("data_note", "CIFAR-10 (JPEG)", "How tables call the data.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("depth", 10, "Depth of the wide residual network.")
flags.DEFINE_integer("width", 2, "Width of the wide residual network.")
flags.DEFINE_integer("epochs", 30, "Epochs of the training.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_integer("seed", 0, "Seed of weights, codes, data order and draws.")
flags.DEFINE_integer("draws", 16, "N of xN.")
flags.DEFINE_integer("singles", 5, "Draws whose median is x1.")
flags.DEFINE_string("workdir", "runs/regularization", "Where trainings are kept.")
flags.DEFINE_string("output", "benchmarks/results/regularization.json", "The JSON.")
flags.DEFINE_bool(
    "augmented_pass", False, "BatchNorm passes over augmented instead of plain images."
)
flags.DEFINE_list("only", [], "Methods to run, by their names in METHODS; or all.")


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the table: how the network is made and trained."""

    title: str
    kit: dict | None = None
    weight_decay: float = 5e-4
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
PASS_SIZES = (128, 512, 2048)


def run_method(name: str, method: Method, settings: dict) -> dict:
    """Trains, or takes up, one method; returns its scores."""
    settings = {**settings, **dataclasses.asdict(method)}
    del settings["title"], settings["published"]
    workdir = training.Workdir(os.path.join(FLAGS.workdir, name), settings)
    done = read_json(workdir.file("scores.json"))
    if done is not None:
        return done
    data = tfhyper.data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        batch_size=FLAGS.batch_size,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
        seed=FLAGS.seed,
    )

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        kit = "deterministic"
        if method.kit is not None:
            kit = kits.hyper(**method.kit, seed=FLAGS.seed)
        network = models.wide_resnet(
            FLAGS.depth,
            FLAGS.width,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=kit,
        )
        return training.compile_recipe(
            network,
            FLAGS.epochs,
            data.steps_per_epoch,
            weight_decay=method.weight_decay,
        )

    print(f"== {method.title}")
    started = time.time()
    model, history = training.fit_in_workdir(
        workdir, build, data, FLAGS.epochs, verbose=2
    )
    scores = {
        "parameters": model.count_params(),
        "train_accuracy": history["accuracy"][-1],
        "train_seconds_this_start": round(time.time() - started),
    }
    draws = 1 if method.kit is None else FLAGS.draws
    labels = np.concatenate([y for _, y in data.test])
    for batch_norm in ("reestimate", "moving_average"):
        predictor = tfhyper.PosteriorPredictor(
            model, num_draws=draws, batch_norm=batch_norm, seed=FLAGS.seed
        )
        if batch_norm == "reestimate":
            predictor.calibrate(passed_images(data))
        prediction = predictor.predict(data.test, verbose=1)
        scores[batch_norm] = score(labels, prediction.members)
    if draws > 1:
        scores["pass_sizes"] = pass_sizes(model, data, labels)
    write_json(workdir.file("scores.json"), scores)
    return scores


def passed_images(data):
    """Returns the training images that BatchNorm's moments are taken from."""
    return data.epoch(0) if FLAGS.augmented_pass else data.train_plain


def score(labels, members) -> dict:
    """Returns the scores of x1 (median of draws) and of xN."""
    scores = {"x1": metrics.single_draw_report(labels, members[: FLAGS.singles])}
    if len(members) > 1:
        scores[f"x{len(members)}"] = metrics.classification_report(labels, members)
        scores["faults_of_four"] = metrics.fault_counts(labels, members[:4]).tolist()
    return scores


def pass_sizes(model, data, labels) -> dict:
    """Returns x4 scores for BatchNorm passes over the first so many images."""
    scores = {}
    for size in PASS_SIZES:
        if size >= data.num_train:
            continue
        batches = -(-size // data.batch_size)
        predictor = tfhyper.PosteriorPredictor(model, num_draws=4, seed=FLAGS.seed)
        predictor.calibrate(passed_images(data).take(batches), verbose=0)
        members = predictor.predict(data.test).members
        scores[str(size)] = metrics.classification_report(labels, members)
    return scores


def table(results: dict) -> str:
    """Returns the results as a Markdown table, errors in per cent."""

    def cell(scores, key):
        if key not in scores:
            return "-"
        s = scores[key]
        return f"{100 * s['error']:.1f} / {s['nll']:.3f} / {s['ece']:.3f}"

    rows = []
    for name, scores in results.items():
        many = f"x{FLAGS.draws}"
        rows.append(
            [
                METHODS[name].title,
                f"{scores['train_accuracy']:.2f}",
                cell(scores["reestimate"], "x1"),
                cell(scores["reestimate"], many),
                cell(scores["moving_average"], "x1"),
                cell(scores["moving_average"], many),
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


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    names = FLAGS.only or list(METHODS)
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        raise app.UsageError(f"--only takes {sorted(METHODS)}. Received: {unknown}")
    settings = {
        flag: FLAGS[flag].value
        for flag in (
            "dataset",
            "train_examples",
            "test_examples",
            "depth",
            "width",
            "epochs",
            "batch_size",
            "seed",
            "draws",
            "singles",
            "augmented_pass",
        )
    }
    results = {name: run_method(name, METHODS[name], settings) for name in names}
    print(table(results))
    content = {
        "what": "MLE, MAP and hypernetworks: error, NLL (nats), ECE of x1 and xN",
        "data": FLAGS.data_note,
        "settings": settings,
        **provenance(),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    app.run(main)
