r"""How many draws Monte Carlo Batch Normalization needs: ResNet-32 on CIFAR-10.

The predictive log-likelihood of test images by the number of mini-batches that
draw BatchNorm's statistics, as Teye et al. (ICML 2018) show it for batches of 32:

    python benchmarks/mcbn_draws.py --data_dir=DIR

Resumes by itself, epoch by epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_figure, write_json

import tfhyper
from tfhyper import analysis, metrics, models, training

FLAGS = flags.FLAGS
flags.DEFINE_integer("depth", 32, "Depth of the ResNet.", lower_bound=8)
flags.DEFINE_integer("epochs", 12, "Epochs.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Images in a batch.", lower_bound=2)
flags.DEFINE_list("draw_sizes", ["8", "32", "128"], "Images in a draw's batch.")
flags.DEFINE_string(
    "figure", "benchmarks/results/mcbn_draws.png", "The figure of the curves."
)
FLAGS.set_default("draws", 32)
FLAGS.set_default("workdir", "runs/mcbn_draws")
FLAGS.set_default("output", "benchmarks/results/mcbn_draws.json")
LEARNING_RATE = 0.05  # half of that of batches of 128
WEIGHT_DECAY = 2e-4  # of the source
REPEATS = 8  # groups of draws at each point of a curve


def train(settings: dict) -> tuple[keras.Model, tfhyper.data.Data, dict]:
    """Returns the trained network, its data and the history."""
    data = common.load_data(FLAGS.batch_size)

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        model = models.resnet_cifar(
            FLAGS.depth,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit="deterministic",
        )
        return training.compile_recipe(
            model,
            FLAGS.epochs,
            data.steps_per_epoch,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
        )

    workdir = training.Workdir(os.path.join(FLAGS.workdir, "network"), settings)
    model, history = training.fit_in_workdir(
        workdir, build, data, FLAGS.epochs, verbose=2
    )
    return model, data, history


def draw(model, data, batch_size: int) -> np.ndarray:
    """Returns the members' probabilities with mini-batches of a size."""
    predictor = tfhyper.PosteriorPredictor(
        model,
        num_draws=FLAGS.draws,
        batch_norm="minibatch",
        batch_size=batch_size,
        seed=FLAGS.seed,
    )
    # Augmented, as in training.
    images = data.epoch(0).unbatch()
    predictor.estimate_batch_norm(images.batch(batch_size, drop_remainder=True))
    return predictor.predict(data.test, verbose=1).members


def score(labels: np.ndarray, members: np.ndarray) -> dict:
    """Returns the curves by the number of draws, and the scores of all."""
    found = {"report": metrics.classification_report(labels, members)}
    for metric in ("log_likelihood", "error"):
        repeats = min(REPEATS, len(members))
        curve = analysis.error_curve(labels, members, metric, repeats=repeats)
        found[metric] = {
            "sizes": curve.sizes.tolist(),
            "median": curve.median.tolist(),
            "scores": curve.scores.tolist(),
        }
    return found


def plot(results: dict, plain: dict) -> None:
    """Writes the figure of the log-likelihood by the number of draws."""
    curves = {
        title: analysis.ErrorCurve(
            np.array(found["log_likelihood"]["sizes"]),
            np.array(found["log_likelihood"]["median"]),
            np.array(found["log_likelihood"]["scores"]),
            "Predictive log-likelihood (nats)",
        )
        for title, found in results.items()
    }
    figure = analysis.error_curve_plot(
        curves, f"MCBN, ResNet-{FLAGS.depth}, {FLAGS.data_note}"
    )
    axes = figure.axes[0]
    axes.axhline(
        -plain["nll"],
        color="0.35",
        linestyle="--",
        linewidth=1,
        label="moving averages, one pass",
    )
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    write_figure(FLAGS.figure, figure, 150)


def table(results: dict, plain: dict) -> str:
    """Returns the results as a Markdown table."""
    sizes = next(iter(results.values()))["log_likelihood"]["sizes"]
    rows = [
        [
            title,
            *(f"{value:.4f}" for value in found["log_likelihood"]["median"]),
            f"{100 * found['report']['error']:.2f}",
            f"{found['report']['ece']:.3f}",
        ]
        for title, found in results.items()
    ]
    rows.append(
        [
            "moving averages, one pass",
            f"{-plain['nll']:.4f}",
            *["-"] * (len(sizes) - 1),
            f"{100 * plain['error']:.2f}",
            f"{plain['ece']:.3f}",
        ]
    )
    header = ["statistics of", *(f"PLL, {n}" for n in sizes), "error %, all", "ECE"]
    return markdown_table(header, rows)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    try:
        draw_sizes = [int(size) for size in FLAGS.draw_sizes]
    except ValueError as error:
        raise app.UsageError(f"--draw_sizes takes integers: {error}") from None
    names = "dataset train_examples seed depth epochs batch_size".split()
    settings = {name: FLAGS[name].value for name in names}
    model, data, history = train(settings)
    labels = common.test_labels(data)
    plain = tfhyper.PosteriorPredictor(
        model, num_draws=1, batch_norm="moving_average"
    ).evaluate(data.test)
    results = {}
    for size in draw_sizes:
        cell = {**settings, **common.flag_values(), "draw_size": size}
        found = common.run_cell(
            f"batches_of_{size}",
            f"{FLAGS.draws} draws, batches of {size}",
            cell,
            lambda _, size=size: score(labels, draw(model, data, size)),
        )
        results[f"batches of {size}"] = found
    print(table(results, plain))
    plot(results, plain)
    content = {
        "what": "MCBN: predictive log-likelihood (nats, mean over test images) by the "
        "number of draws, medians of groups of draws, and scores of all draws",
        "data": FLAGS.data_note,
        "settings": {**common.flag_values(), **settings, "draw_sizes": draw_sizes},
        **provenance(),
        "train_accuracy": history["accuracy"][-1],
        "moving_average": plain,
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
