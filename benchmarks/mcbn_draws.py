r"""How many draws Monte Carlo Batch Normalization needs: ResNet-32 on CIFAR-10.

The predictive log-likelihood of test images by the number of mini-batches that
draw BatchNorm's statistics, as Teye et al. (ICML 2018) show it for batches of 32:

    python benchmarks/mcbn_draws.py --data_dir=DIR

Resumes by itself, epoch by epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from typing import Any

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
common.define_seeds()
FLAGS.set_default("draws", 32)
FLAGS.set_default("workdir", "runs/mcbn_draws")
FLAGS.set_default("output", "benchmarks/results/mcbn_draws.json")
LEARNING_RATE = 0.05  # half of that of batches of 128
WEIGHT_DECAY = 2e-4  # of the source
REPEATS = 8  # groups of draws at each point of a curve


def train(
    settings: dict[str, Any], seed: int
) -> tuple[keras.Model, tfhyper.data.Data, dict]:
    """Returns the trained network of a seed, its data and the history."""
    data = common.load_data(FLAGS.batch_size, seed=seed)

    def build() -> keras.Model:
        keras.utils.set_random_seed(seed)
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

    path = os.path.join(FLAGS.workdir, "network", f"seed{seed}")
    workdir = training.Workdir(path, {**settings, "seed": seed})
    model, history = training.fit_in_workdir(
        workdir, build, data, FLAGS.epochs, verbose=2
    )
    return model, data, history


def draw(
    model: keras.Model, data: tfhyper.data.Data, batch_size: int, seed: int
) -> np.ndarray:
    """Returns the members' probabilities with mini-batches of a size."""
    predictor = tfhyper.PosteriorPredictor(
        model,
        num_draws=FLAGS.draws,
        batch_norm="minibatch",
        batch_size=batch_size,
        seed=seed,
    )
    # Augmented, as in training.
    images = data.epoch(0).unbatch()
    predictor.estimate_batch_norm(images.batch(batch_size, drop_remainder=True))
    return predictor.predict(data.test, verbose=1).members


def score(labels: np.ndarray, members: np.ndarray) -> dict[str, Any]:
    """Returns the curves by the number of draws, and the scores of all."""
    found: dict[str, Any] = {"report": metrics.classification_report(labels, members)}
    for metric in ("log_likelihood", "error"):
        repeats = min(REPEATS, len(members))
        curve = analysis.error_curve(labels, members, metric, repeats=repeats)
        found[metric] = {
            "sizes": curve.sizes.tolist(),
            "median": curve.median.tolist(),
            "scores": curve.scores.tolist(),
        }
    return found


Results = dict[str, list[dict[str, Any]]]  # by the size of a draw's batch, of each seed


def plot(results: Results, plain: list[dict[str, float]]) -> None:
    """Writes the figure of the log-likelihood by the number of draws, of all seeds."""
    curves = {}
    for title, seeds in results.items():
        found = [one["log_likelihood"] for one in seeds]
        curves[title] = analysis.ErrorCurve(
            np.array(found[0]["sizes"]),
            np.median([one["median"] for one in found], axis=0),
            np.concatenate([one["scores"] for one in found]),
            "Predictive log-likelihood (nats)",
        )
    figure = analysis.error_curve_plot(
        curves, f"MCBN, ResNet-{FLAGS.depth}, {FLAGS.data_note}"
    )
    axes = figure.axes[0]
    axes.axhline(
        -float(np.median([one["nll"] for one in plain])),
        color="0.35",
        linestyle="--",
        linewidth=1,
        label="moving averages, one pass",
    )
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    write_figure(FLAGS.figure, figure, 150)


def table(results: Results, plain: list[dict[str, float]]) -> str:
    """Returns the results as a Markdown table: means and deviations over the seeds."""
    sizes = next(iter(results.values()))[0]["log_likelihood"]["sizes"]

    def last(reports: list[dict[str, float]]) -> list[str]:
        return [
            common.spread([one["error"] for one in reports], 2, 100.0),
            common.spread([one["ece"] for one in reports], 3),
        ]

    rows = []
    for title, seeds in results.items():
        medians = np.array([one["log_likelihood"]["median"] for one in seeds])
        likelihoods = [common.spread(values, 4) for values in medians.T]
        rows.append([title, *likelihoods, *last([one["report"] for one in seeds])])
    likelihood = common.spread([-one["nll"] for one in plain], 4)
    empty = ["-"] * (len(sizes) - 1)
    rows.append(["moving averages, one pass", likelihood, *empty, *last(plain)])
    header = ["statistics of", *(f"PLL, {n}" for n in sizes), "error %, all", "ECE"]
    return markdown_table(header, rows)


def run_seed(
    seed: int, settings: dict[str, Any], draw_sizes: list[int], results: Results
) -> tuple[dict[str, float], float]:
    """Adds what one seed gives; returns the scores of one pass and train accuracy."""
    model, data, history = train(settings, seed)
    labels = common.test_labels(data)
    plain = tfhyper.PosteriorPredictor(
        model, num_draws=1, batch_norm="moving_average"
    ).evaluate(data.test)
    for size in draw_sizes:
        found = common.run_cell(
            os.path.join(f"batches_of_{size}", f"seed{seed}"),
            f"{FLAGS.draws} draws, batches of {size}, seed {seed}",
            {**common.flag_values(), **settings, "seed": seed, "draw_size": size},
            lambda _, size=size: score(labels, draw(model, data, size, seed)),
        )
        results.setdefault(f"batches of {size}", []).append(found)
    return plain, history["accuracy"][-1]


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    try:
        draw_sizes = [int(size) for size in FLAGS.draw_sizes]
    except ValueError as error:
        raise app.UsageError(f"--draw_sizes takes integers: {error}") from None
    names = "dataset train_examples depth epochs batch_size".split()
    settings = {name: FLAGS[name].value for name in names}
    results: Results = {}
    pairs = [run_seed(seed, settings, draw_sizes, results) for seed in common.seeds()]
    plain = [scores for scores, _ in pairs]
    print(table(results, plain))
    plot(results, plain)
    content = {
        "what": "MCBN: predictive log-likelihood (nats, mean over test images) by the "
        "number of draws, medians of groups of draws, and scores of all draws",
        "data": FLAGS.data_note,
        "settings": {
            **common.flag_values(),
            **settings,
            "seeds": FLAGS.seeds,
            "draw_sizes": draw_sizes,
        },
        **provenance(),
        "train_accuracy": [accuracy for _, accuracy in pairs],
        "moving_average": plain,
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
