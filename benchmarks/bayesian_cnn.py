r"""LeNet-5 and AlexNet, plain and Bayesian: scores, uncertainties, pruning.

The experiments of the Bayesian CNN (Shridhar et al., 2019) on CIFAR-10:

    python benchmarks/bayesian_cnn.py --data_dir=DIR

Resumes by itself, cell by cell and epoch by epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import functools
import time

import common
import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

import tfhyper
from tfhyper import kits, models, pruning, training

FLAGS = flags.FLAGS
flags.DEFINE_integer("lenet5_epochs", 40, "Epochs of LeNet-5.")
flags.DEFINE_integer("alexnet_epochs", 15, "Epochs of AlexNet.")
flags.DEFINE_integer("batch_size", 256, "Images in a batch.")
flags.DEFINE_float("pruned_fraction", 0.5, "Fraction of the weights to prune.")
FLAGS.set_default("workdir", "runs/bayesian_cnn_table")
FLAGS.set_default("output", "benchmarks/results/bayesian_cnn.json")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the table."""

    title: str
    network: str
    kl_factor: float | None = None  # None: plain layers
    estimator: str = "local_reparameterization"
    width_multiplier: float = 1.0
    # Validation accuracy in per cent after 100 epochs or more: chapter 5 of the
    # authors' thesis.
    published: str = "-"


CELLS = {
    "lenet5": Cell("LeNet-5", "lenet5", published="68"),
    "lenet5_bayes": Cell("Bayesian LeNet-5", "lenet5", 0.1, published="69"),
    "lenet5_bayes_full": Cell("Bayesian LeNet-5, KL x 1", "lenet5", 1.0),
    "lenet5_half_bayes": Cell(
        "Bayesian LeNet-5, half the filters", "lenet5", 0.1, width_multiplier=0.5
    ),
    "alexnet": Cell("AlexNet", "alexnet", published="73"),
    "alexnet_half_bayes": Cell(
        "Bayesian AlexNet, half the filters",
        "alexnet",
        0.1,
        width_multiplier=0.5,
        published="79",
    ),
    "alexnet_bayes": Cell("Bayesian AlexNet", "alexnet", 0.1, published="73"),
}
# The scale of the prior in the authors' code.
PRIOR_SCALE = 0.1
# The published accuracy of the pruned Bayesian AlexNet, in per cent.
PUBLISHED_PRUNED = {"alexnet_bayes": "71"}


def run_cell(name: str, cell: Cell, settings: dict) -> dict:
    """Trains, or takes up, one network; returns its scores."""
    settings = {**settings, **dataclasses.asdict(cell)}
    del settings["title"], settings["published"]
    settings["epochs"] = FLAGS[f"{cell.network}_epochs"].value
    compute = functools.partial(train_and_score, cell, settings["epochs"])
    return common.run_cell(name, cell.title, settings, compute)


def train_and_score(cell: Cell, epochs: int, workdir: training.Workdir) -> dict:
    """Returns the scores of one network, before and after pruning."""
    # As in the source: no augmentation.
    data = common.load_data(FLAGS.batch_size, augment=False)

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        kit = kits.deterministic()
        if cell.kl_factor is not None:
            kit = kits.bayes(
                data.num_train,
                estimator=cell.estimator,
                prior_scale=PRIOR_SCALE,
                seed=FLAGS.seed,
            )
        network = models.NETWORKS[cell.network](
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=kit,
            width_multiplier=cell.width_multiplier,
        )
        return training.compile_adam_recipe(network, epochs, data.steps_per_epoch)

    callbacks = []
    if cell.kl_factor is not None:
        callbacks.append(training.KLSchedule(cell.kl_factor))
    started = time.time()
    model, history = training.fit_in_workdir(
        workdir, build, data, epochs, callbacks=callbacks, verbose=2
    )
    scores = {
        "parameters": model.count_params(),
        "train_accuracy": history["accuracy"][-1],
        "train_seconds_this_start": round(time.time() - started),
    }
    if cell.kl_factor is not None:
        scores["kl"] = history["kl"][-1]
    scores.update(evaluate(cell, model, data))
    scores["pruned"] = {}
    criteria = ["magnitude"]
    if cell.kl_factor is not None:
        criteria.append("signal_to_noise")
    for criterion in criteria:
        pruned = pruning.prune(
            model, fraction=FLAGS.pruned_fraction, criterion=criterion
        )
        scores["pruned"][criterion] = {
            **pruning.report(model, pruned).to_dict(),
            **evaluate(cell, pruned, data),
        }
    return scores


def evaluate(cell: Cell, model: keras.Model, data) -> dict:
    """Returns scores of one draw and of the mean, and both uncertainties."""
    draws = 1 if cell.kl_factor is None else FLAGS.draws
    predictor = tfhyper.PosteriorPredictor(model, num_draws=draws, seed=FLAGS.seed)
    prediction = predictor.predict(data.test, verbose=1)
    scores = common.score(common.test_labels(data), prediction.members)
    scores["aleatoric_nats"] = float(np.mean(prediction.aleatoric))
    scores["epistemic_nats"] = float(np.mean(prediction.epistemic))
    # Traces of the covariance matrices, as the source sums them up.
    variance = prediction.variance
    scores["aleatoric_trace"] = float(variance.aleatoric.sum(-1).mean())
    scores["epistemic_trace"] = float(variance.epistemic.sum(-1).mean())
    return scores


def table(results: dict) -> str:
    """Returns the results as a Markdown table."""
    many = f"x{FLAGS.draws}"

    def mean_of(scores):
        return scores.get(many, scores["x1"])

    rows = []
    for name, scores in results.items():
        cell = CELLS[name]
        pruned = []
        for criterion in ("magnitude", "signal_to_noise"):
            found = scores["pruned"].get(criterion)
            pruned.append(f"{100 * mean_of(found)['error']:.1f}" if found else "-")
        published = cell.published
        if name in PUBLISHED_PRUNED:
            published += f", pruned {PUBLISHED_PRUNED[name]}"
        rows.append(
            [
                cell.title,
                f"{scores['parameters']:,}",
                common.format_scores(scores, "x1"),
                common.format_scores(scores, many),
                f"{scores['aleatoric_trace']:.4f} / {scores['epistemic_trace']:.4f}",
                *pruned,
                published,
            ]
        )
    percent = f"{100 * FLAGS.pruned_fraction:.0f} %"
    header = [
        "network",
        "parameters",
        "x1 error % / NLL / ECE",
        many,
        "aleatoric / epistemic",
        f"error %, {percent} pruned by magnitude",
        "by signal to noise",
        "source: accuracy %",
    ]
    return markdown_table(header, rows)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    names = common.chosen(CELLS)
    settings = common.flag_values("batch_size", "pruned_fraction")
    results = {name: run_cell(name, CELLS[name], settings) for name in names}
    print(table(results))
    content = {
        "what": "LeNet-5 and AlexNet, plain and Bayesian: scores and pruning",
        "data": FLAGS.data_note,
        "settings": {
            **settings,
            "lenet5_epochs": FLAGS.lenet5_epochs,
            "alexnet_epochs": FLAGS.alexnet_epochs,
        },
        **provenance(),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
