r"""LeNet-5 and AlexNet, plain and Bayesian: the tables of the Bayesian CNN's thesis.

Accuracy, uncertainty and pruning, and more scores of the same trainings, each the mean
over --seeds with its deviation, the published number (Shridhar, 2019, chapter 5) beside
it:

    python benchmarks/bayesian_cnn.py --data_dir=DIR
    python benchmarks/bayesian_cnn.py --data_dir=DIR --dataset=mnist \
        --recipe=bayesian-cnn

--dataset takes several names, joined by commas; a set that is not there is left out,
and said to be. --recipe=budget is for a small budget: Adam, whose rate falls linearly,
and a KL divergence of weight 0.1; the others are those of
`tfhyper.training.NAMED_RECIPES`, with their own epochs unless flags say other ones.
Resumes by itself, cell by cell and epoch by epoch, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any, Literal

import common
import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

import tfhyper
from tfhyper import kits, models, pruning, training

FLAGS = flags.FLAGS
BUDGET = "budget"
flags.DEFINE_enum(
    "recipe", BUDGET, [BUDGET, "bayesian-cnn", "bayesian-cnn-code"], "The training."
)
flags.DEFINE_integer("lenet5_epochs", None, "Of LeNet-5; the recipe's, or 40.")
flags.DEFINE_integer("alexnet_epochs", None, "Of AlexNet; the recipe's, or 15.")
flags.DEFINE_integer("batch_size", 256, "Images in a batch.")
flags.DEFINE_float("pruned_fraction", 0.5, "Fraction of the weights to prune.")
common.define_seeds()
FLAGS.set_default("dataset", "mnist,cifar10,cifar100")
FLAGS.set_default("workdir", "runs/bayesian_cnn_table")
FLAGS.set_default("output", "benchmarks/results/bayesian_cnn.json")
BUDGET_EPOCHS = {"lenet5": 40, "alexnet": 15}
# Of --recipe=budget: the factor of the KL divergence, and the scale of the prior in the
# authors' code.
KL_FACTOR = 0.1
PRIOR_SCALE = 0.1


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of the tables.

    Attributes:
        title: what it is.
        network: a key of `tfhyper.models.NETWORKS`.
        posterior: of its kernels: none, Gaussian, or dropout in prediction too.
        kl_factor: of the KL divergence; `None`: the recipe's.
        random_start: whether means and scales start as in the authors' code: N(0, 0.1)
            and softplus of N(-5, 0.1).
        width_multiplier: factor of the filters.
        published: data set -> accuracy in per cent of chapter 5, after 100 epochs.
        published_pruned: the same of the network without half of its weights.
    """

    title: str
    network: str
    posterior: Literal["none", "gaussian", "dropout"] = "none"
    kl_factor: float | None = None
    random_start: bool = False
    width_multiplier: float = 1.0
    published: dict[str, float] = dataclasses.field(default_factory=dict)
    published_pruned: dict[str, float] = dataclasses.field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Returns what its trainings depend on."""
        values = dataclasses.asdict(self)
        for name in ("title", "published", "published_pruned"):
            del values[name]
        return values


def accuracies(mnist: float, cifar10: float, *cifar100: float) -> dict[str, float]:
    """Returns published accuracies by data set."""
    return dict(zip(("mnist", "cifar10", "cifar100"), (mnist, cifar10, *cifar100)))


CELLS = {
    "lenet5": Cell("LeNet-5", "lenet5", published=accuracies(98, 68, 33)),
    "lenet5_bayes": Cell(
        "Bayesian LeNet-5", "lenet5", "gaussian", published=accuracies(98, 69, 31)
    ),
    "lenet5_bayes_random": Cell(
        "Bayesian LeNet-5, random first scales",
        "lenet5",
        "gaussian",
        random_start=True,
    ),
    "lenet5_bayes_full": Cell(
        "Bayesian LeNet-5, KL x 1", "lenet5", "gaussian", kl_factor=1.0
    ),
    "lenet5_half_bayes": Cell(
        "Bayesian LeNet-5, half the filters",
        "lenet5",
        "gaussian",
        width_multiplier=0.5,
    ),
    # The thesis quotes Gal and Ghahramani, and could not reproduce it.
    "lenet5_dropout": Cell(
        "LeNet-5, MC dropout", "lenet5", "dropout", published=accuracies(99.5, 83)
    ),
    "alexnet": Cell("AlexNet", "alexnet", published=accuracies(99, 73, 38)),
    "alexnet_half_bayes": Cell(
        "Bayesian AlexNet, half the filters",
        "alexnet",
        "gaussian",
        width_multiplier=0.5,
        published=accuracies(99, 79, 38),
    ),
    "alexnet_bayes": Cell(
        "Bayesian AlexNet",
        "alexnet",
        "gaussian",
        published=accuracies(99, 73, 36),
        published_pruned=accuracies(99, 71),
    ),
}
# Chapter 5, "Aleatoric and epistemic uncertainty for Bayesian LeNet-5".
UNCERTAIN = "lenet5_bayes"
PUBLISHED_UNCERTAINTY = {"mnist": (0.0096, 0.0026), "cifar10": (0.1920, 0.0404)}
Results = dict[str, dict[str, list[dict[str, Any]]]]  # data set, cell, seed


def recipe() -> training.Recipe | None:
    """Returns the recipe of the flags, `None` for that of a small budget."""
    return None if FLAGS.recipe == BUDGET else training.NAMED_RECIPES[FLAGS.recipe]


def epochs_of(network: str) -> int:
    """Returns how long a network is trained."""
    chosen = recipe()
    default = BUDGET_EPOCHS[network] if chosen is None else chosen.epochs
    return FLAGS[f"{network}_epochs"].value or default


def run_cell(dataset: str, name: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Trains, or takes up, one network for each seed; returns its scores."""
    cell = CELLS[name]
    settings = {**settings, **cell.settings(), "dataset": dataset}
    settings["epochs"] = epochs_of(cell.network)
    chosen = recipe()
    if chosen is not None:
        settings["recipe"] = chosen.settings()
    compute = functools.partial(train_and_score, cell, dataset, settings["epochs"])
    return common.run_seeds(
        os.path.join(dataset, name), f"{cell.title}, {dataset}", settings, compute
    )


def load(dataset: str, seed: int) -> tfhyper.data.Data:
    """Returns a data set, not augmented, as in the source."""
    chosen = recipe()
    options = {} if chosen is None else chosen.data.load_options()
    more = {**options, "name": dataset, "seed": seed, "augment": False}
    return common.load_data(FLAGS.batch_size, **more)


def make_kit(cell: Cell, num_train: int, seed: int) -> kits.LayerKit:
    """Returns the layers of a cell."""
    if cell.posterior == "none":
        return kits.deterministic()
    if cell.posterior == "dropout":
        return kits.mc_dropout(seed=seed)
    chosen, options = recipe(), {"prior_scale": PRIOR_SCALE}
    if chosen is not None:
        options = dict(chosen.kit_options)
    if cell.random_start:
        normal = keras.initializers.RandomNormal
        options["kernel_initializer"] = normal(0.0, 0.1)
        options["rho_initializer"] = normal(-5.0, 0.1)
    return kits.bayes(
        num_train, estimator="local_reparameterization", seed=seed, **options
    )


def callbacks_of(cell: Cell) -> list[keras.callbacks.Callback]:
    """Returns what weighs the KL divergence of a cell."""
    if cell.posterior != "gaussian":
        return []
    chosen = recipe()
    if cell.kl_factor is not None:
        return [training.KLSchedule(cell.kl_factor)]
    if chosen is not None:
        return chosen.callbacks()
    return [training.KLSchedule(KL_FACTOR)]


def train_and_score(
    cell: Cell, dataset: str, epochs: int, seed: int, workdir: training.Workdir
) -> dict[str, Any]:
    """Returns the scores of one network, before and after pruning."""
    data = load(dataset, seed)

    def build() -> keras.Model:
        keras.utils.set_random_seed(seed)
        network = models.NETWORKS[cell.network](
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=make_kit(cell, data.num_train, seed),
            width_multiplier=cell.width_multiplier,
        )
        chosen = recipe()
        compile_network = (
            training.compile_adam_recipe if chosen is None else chosen.compile
        )
        return compile_network(network, epochs, data.steps_per_epoch)

    started = time.time()
    model, history = training.fit_in_workdir(
        workdir, build, data, epochs, callbacks=callbacks_of(cell), verbose=2
    )
    scores = {
        "parameters": model.count_params(),
        "train_accuracy": history["accuracy"][-1],
        "train_seconds_this_start": round(time.time() - started),
    }
    if cell.posterior == "gaussian":
        scores["kl"] = history["kl"][-1]
    scores.update(evaluate(cell, model, data, seed))
    scores["pruned"] = {}
    criteria = {"none": ["magnitude"], "gaussian": ["magnitude", "signal_to_noise"]}
    for criterion in criteria.get(cell.posterior, []):
        pruned = pruning.prune(
            model, fraction=FLAGS.pruned_fraction, criterion=criterion
        )
        scores["pruned"][criterion] = {
            **pruning.report(model, pruned).to_dict(),
            **evaluate(cell, pruned, data, seed),
        }
    return scores


def evaluate(
    cell: Cell, model: keras.Model, data: tfhyper.data.Data, seed: int
) -> dict[str, Any]:
    """Returns scores of one draw and of the mean, and both uncertainties."""
    draws = 1 if cell.posterior == "none" else FLAGS.draws
    predictor = tfhyper.PosteriorPredictor(model, num_draws=draws, seed=seed)
    prediction = predictor.predict(data.test, verbose=1)
    scores = common.score(common.test_labels(data), prediction.members)
    scores["aleatoric_nats"] = float(np.mean(prediction.aleatoric))
    scores["epistemic_nats"] = float(np.mean(prediction.epistemic))
    # Traces of the covariance matrices, as the source sums them up.
    variance = prediction.variance
    scores["aleatoric_trace"] = float(variance.aleatoric.sum(-1).mean())
    scores["epistemic_trace"] = float(variance.epistemic.sum(-1).mean())
    return scores


def mean_of(scores: dict[str, Any]) -> dict[str, float]:
    """Returns the scores of the mean over the draws, or of the only network."""
    return scores.get(f"x{FLAGS.draws}", scores["x1"])


def beside(text: str, published: float | None, digits: int = 0) -> str:
    """Returns a cell with the published number behind it."""
    if published is None:
        return text
    number = f"{published:.{digits}f}" if digits else f"{published:g}"
    return f"{text} [{number}]"


def accuracy_text(seeds: Sequence[dict[str, Any]], published: float | None) -> str:
    """Returns the accuracy in per cent of the mean over the draws."""
    values = [1 - mean_of(scores)["error"] for scores in seeds]
    return beside(common.spread(values, 1, 100.0), published)


def accuracy_table(results: Results) -> str:
    """Returns the thesis' tables of accuracies: networks, half of them, pruned."""
    names = list(dict.fromkeys(name for found in results.values() for name in found))
    rows = []
    for name in names:
        cell = CELLS[name]
        row, pruned = [cell.title], [f"{cell.title}, {pruned_percent()} pruned"]
        for dataset, found in results.items():
            seeds = found.get(name, [])
            row.append(accuracy_text(seeds, cell.published.get(dataset)))
            by_magnitude = [
                scores["pruned"]["magnitude"]
                for scores in seeds
                if "magnitude" in scores["pruned"]
            ]
            published = cell.published_pruned.get(dataset)
            pruned.append(accuracy_text(by_magnitude, published))
        rows.append(row)
        if cell.published_pruned:
            rows.append(pruned)
    header = ["accuracy %: mean ± deviation over seeds [thesis]", *results]
    return markdown_table(header, rows)


def uncertainty_table(results: Results) -> str:
    """Returns the thesis' table of both uncertainties of Bayesian LeNet-5."""
    rows = []
    for dataset, found in results.items():
        row = [f"{CELLS[UNCERTAIN].title} ({dataset})"]
        published = PUBLISHED_UNCERTAINTY.get(dataset, (None, None))
        for kind, number in zip(("aleatoric", "epistemic"), published, strict=True):
            values = [scores[f"{kind}_trace"] for scores in found.get(UNCERTAIN, [])]
            row.append(beside(common.spread(values, 4), number, 4))
        rows.append(row)
    return markdown_table(
        ["mean ± deviation over seeds [thesis]", "aleatoric", "epistemic"], rows
    )


def scores_table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Returns all scores on one data set."""
    many = f"x{FLAGS.draws}"
    rows = []
    for name, seeds in found.items():
        pruned = []
        for criterion in ("magnitude", "signal_to_noise"):
            errors = [
                mean_of(scores["pruned"][criterion])["error"]
                for scores in seeds
                if criterion in scores["pruned"]
            ]
            pruned.append(common.spread(errors, 1, 100.0))
        both = [
            common.spread([scores[f"{kind}_trace"] for scores in seeds], 4)
            for kind in ("aleatoric", "epistemic")
        ]
        rows.append(
            [
                CELLS[name].title,
                f"{seeds[0]['parameters']:,}",
                common.format_scores(seeds, "x1"),
                common.format_scores(seeds, many),
                " / ".join(both),
                *pruned,
            ]
        )
    header = [
        "network",
        "parameters",
        "x1 error % / NLL / ECE",
        many,
        "aleatoric / epistemic",
        f"error %, {pruned_percent()} pruned by magnitude",
        "by signal to noise",
    ]
    return markdown_table(header, rows)


def pruned_percent() -> str:
    """Returns the fraction of the weights that is pruned."""
    return f"{100 * FLAGS.pruned_fraction:.0f} %"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    names = common.chosen(CELLS)
    settings = common.flag_values("batch_size", "pruned_fraction")
    results: Results = {}
    for dataset in FLAGS.dataset.split(","):
        try:
            results[dataset] = {
                name: run_cell(dataset, name, settings) for name in names
            }
        except FileNotFoundError as error:
            print(f"left out: {dataset}: {error}")
    print(f"\nAccuracy\n\n{accuracy_table(results)}")
    if UNCERTAIN in names:
        print(f"\nUncertainty\n\n{uncertainty_table(results)}")
    for dataset, found in results.items():
        print(f"\n{dataset}\n\n{scores_table(found)}")
    content = {
        "what": "LeNet-5 and AlexNet, plain and Bayesian: scores and pruning",
        "data": FLAGS.data_note,
        "settings": {
            **settings,
            "seeds": FLAGS.seeds,
            "recipe": FLAGS.recipe,
            **{f"{network}_epochs": epochs_of(network) for network in BUDGET_EPOCHS},
        },
        **provenance(),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
