r"""How often conformal sets and intervals cover, over many splits of the same data.

    python benchmarks/conformal.py

A small Bayesian network is trained once on images that come with the package, and one
on the table of diabetes patients that comes with scikit-learn; each predicts examples
that trained nothing, once. These predictions are split again and again, at random, into
calibration and test examples: half of each class, or of the table. About a minute.

What coverage to expect is known exactly. Of n calibration and m test examples whose
scores differ, as many are covered as a beta-binomial number says, with m trials and the
parameters k and n + 1 - k, where k = ceil((n + 1) (1 - alpha)): the scores are fixed,
and the splits are independent of each other. So the sum over splits has an exact law,
whose middle 99 % are the band beside each mean; of classes, which are ten comparisons,
the middle 99.9 %. Where scores are equal, more may be covered and never less: of `aps`
and `raps` that are not drawn, that of all likeliest classes is the same.

MAPIE's coverage stands beside it, of the same predictions of `tfhyper.sklearn`
estimators and the same splits, with its defaults: sets of `aps` and `raps` are drawn
in calibration and hold the last class whole, and `raps` chooses its penalty by a part
of the calibration data. It has no thresholds of classes.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import functools
import math
from collections.abc import Callable

import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json
from scipy import signal, stats

import tfhyper
from tfhyper import conformal
from tfhyper.sklearn import Classifier, Regressor

FLAGS = flags.FLAGS
flags.DEFINE_integer("train_examples", 5000, "First so many training images.")
flags.DEFINE_integer("test_examples", 2500, "First so many test images.")
flags.DEFINE_integer("epochs", 8, "Epochs of the network of images.")
flags.DEFINE_integer("table_epochs", 60, "Epochs of the network of the table.")
flags.DEFINE_integer("draws", 16, "Draws that are averaged.")
flags.DEFINE_integer("splits", 100, "Splits into calibration and test examples.")
flags.DEFINE_float("alpha", 0.1, "What may be missed.")
flags.DEFINE_integer("seed", 0, "Seed of weights, draws and splits.")
flags.DEFINE_string("output", "benchmarks/results/conformal.json", "The JSON.")

BAND = 0.99
SETS = {
    "lac": {"score": "lac"},
    "aps": {"score": "aps"},
    "aps, randomized": {"score": "aps", "randomized": True},
    "raps": {"score": "raps"},
}
INTERVALS = ("split", "normalized", "quantile")


def hits_law(count: int, tests: int) -> np.ndarray:
    """Returns the probabilities of 0 ... `tests` covered examples, in one split."""
    rank = math.ceil(round((count + 1) * (1 - FLAGS.alpha), 9))
    law = stats.betabinom(tests, rank, count + 1 - rank)
    return law.pmf(np.arange(tests + 1))


def sum_law(law: np.ndarray, times: int) -> np.ndarray:
    """Returns the law of a sum of independent numbers of one law."""
    found, power = np.ones(1), law
    while times:
        if times % 2:
            found = np.clip(signal.fftconvolve(found, power), 0, None)
        times //= 2
        if times:
            power = np.clip(signal.fftconvolve(power, power), 0, None)
    return found / found.sum()


def middle(law: np.ndarray, share: float) -> tuple[float, float]:
    """Returns the ends of the middle of a law, as fractions of its largest number."""
    below = np.cumsum(law)
    ends = [np.searchsorted(below, x) for x in ((1 - share) / 2, (1 + share) / 2)]
    return ends[0] / (len(law) - 1), ends[1] / (len(law) - 1)


def bands(counts: list[int], tests: list[int]) -> dict[str, list]:
    """Returns the bands of one split, and of the mean over all of them.

    Args:
        counts: calibration examples of each threshold.
        tests: test examples of each.
    """
    one = functools.reduce(signal.fftconvolve, map(hits_law, counts, tests))
    one = np.clip(one, 0, None)
    return {
        "band_of_a_split": list(middle(one / one.sum(), BAND)),
        "band": list(middle(sum_law(one, FLAGS.splits), BAND)),
    }


def summary(
    covered: np.ndarray, sizes: np.ndarray, band: dict[str, list] | None
) -> dict:
    """Returns what is reported of a method.

    Args:
        covered: the fraction of each split.
        sizes: the mean size or width of each.
        band: of `bands`, where it is known.
    """
    found = {
        "coverage": float(covered.mean()),
        "lowest_and_highest": [float(covered.min()), float(covered.max())],
        "size": float(sizes.mean()),
    }
    if band is not None:
        low, high = band["band_of_a_split"]
        inside = (covered >= low) & (covered <= high)
        # Ends of a band are whole numbers of examples.
        low, high = (x + d for x, d in zip(band["band"], (-1e-9, 1e-9), strict=True))
        found.update(
            band,
            splits_in_band=float(inside.mean()),
            in_band=bool(low <= covered.mean() <= high),
            at_least_the_band=bool(low <= covered.mean()),
        )
    return found


def class_splits(labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns indices of calibration and test examples, half of each class."""
    rng = np.random.default_rng(FLAGS.seed)
    found = []
    for _ in range(FLAGS.splits):
        known, new = [], []
        for label in np.unique(labels):
            order = rng.permutation(np.flatnonzero(labels == label))
            half = (len(order) + 1) // 2
            known.append(order[:half])
            new.append(order[half:])
        found.append((np.concatenate(known), np.concatenate(new)))
    return found


def row_splits(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns indices of calibration and test examples, half of all."""
    rng = np.random.default_rng(FLAGS.seed)
    orders = [rng.permutation(count) for _ in range(FLAGS.splits)]
    return [(x[: count // 2], x[count // 2 :]) for x in orders]


def images() -> dict:
    """Returns the coverage of sets of classes, and how often the network errs."""
    from mapie.classification import SplitConformalClassifier

    (x_train, y_train), (x_test, labels) = tfhyper.data.load_arrays(
        "fashion_mnist_small",
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
    )
    classifier = Classifier(
        num_draws=FLAGS.draws, epochs=FLAGS.epochs, random_state=FLAGS.seed
    ).fit(x_train, y_train)
    probs = classifier.predict_proba(x_test).astype(np.float64)
    probs /= probs.sum(axis=-1, keepdims=True)
    classes = probs.shape[1]
    stratified, free = class_splits(labels), row_splits(len(labels))
    counts = [int(np.sum(labels[stratified[0][0]] == i)) for i in range(classes)]
    tests = [int(np.sum(labels[stratified[0][1]] == i)) for i in range(classes)]
    each = 1 - (1 - BAND) / classes
    class_bands = [
        middle(sum_law(hits_law(n, m), FLAGS.splits), each)
        for n, m in zip(counts, tests, strict=True)
    ]
    found = {}
    for name, options in SETS.items():
        draws = options.get("randomized", False)
        for by_class in (False, True):
            # Marginal sets are of examples in any order, and not half of each class.
            splits = stratified if by_class else free
            covered, sizes, hits = [], [], np.zeros((len(splits), classes))
            for i, (known, new) in enumerate(splits):
                rule = conformal.fit_sets(
                    labels[known],
                    probs[known],
                    FLAGS.alpha,
                    by_class=by_class,
                    seed=2 * i if draws else None,
                    **options,
                )
                sets = rule(probs[new], seed=2 * i + 1 if draws else None)
                inside = sets[np.arange(len(new)), labels[new]]
                covered.append(inside.mean())
                sizes.append(sets.sum(axis=-1).mean())
                hits[i] = [inside[labels[new] == c].mean() for c in range(classes)]
            free_counts = [len(x) for x in free[0]]
            band = (
                bands(counts, tests)
                if by_class
                else bands(free_counts[:1], free_counts[1:])
            )
            row = summary(np.array(covered), np.array(sizes), band)
            row["classes"] = hits.mean(axis=0).tolist()
            if by_class:
                row["bands_of_classes"] = [list(x) for x in class_bands]
                row["classes_in_band"] = sum(
                    bool(low - 1e-9 <= x <= high + 1e-9)
                    for x, (low, high) in zip(row["classes"], class_bands, strict=True)
                )
            found[f"{name}, by class" if by_class else name] = row
    rows = np.arange(len(labels))[:, None]
    given = remembered(Classifier, predict_proba=probs, predict=probs.argmax(-1))
    given.classes_ = np.arange(classes)
    for score in ("lac", "aps", "raps"):
        covered, sizes = [], []
        for i, (known, new) in enumerate(free):
            made = SplitConformalClassifier(
                given,
                confidence_level=1 - FLAGS.alpha,
                conformity_score=score,
                random_state=i,
            ).conformalize(rows[known], labels[known])
            sets = made.predict_set(rows[new])[1][:, :, 0]
            covered.append(sets[np.arange(len(new)), labels[new]].mean())
            sizes.append(sets.sum(axis=-1).mean())
        found[f"MAPIE, {score}"] = summary(np.array(covered), np.array(sizes), None)
    return {
        "error": float(np.mean(probs.argmax(-1) != labels)),
        "calibration": len(free[0][0]),
        "test": len(free[0][1]),
        "methods": found,
    }


def remembered(kind: type, **values: np.ndarray):
    """Returns an estimator that says what another said, by the numbers of rows.

    Args:
        kind: of which estimators it is one.
        **values: the names of its methods, and what they give for all rows.
    """

    def says(array: np.ndarray) -> Callable:
        return lambda self, rows: array[np.asarray(rows)[:, 0].astype(int)]

    methods = {name: says(array) for name, array in values.items()}
    methods["__sklearn_is_fitted__"] = lambda self: True
    made = type(f"Remembered{kind.__name__}", (kind,), methods)()
    made.n_features_in_ = 1
    return made


def table() -> dict:
    """Returns the coverage of intervals of a table's targets."""
    from mapie.conformity_scores import ResidualNormalisedScore
    from mapie.regression import (
        ConformalizedQuantileRegressor,
        SplitConformalRegressor,
    )
    from sklearn.datasets import load_diabetes

    inputs, targets = load_diabetes(return_X_y=True)
    order = np.random.default_rng(FLAGS.seed).permutation(len(targets))
    half = len(order) // 2
    regressor = Regressor(
        num_draws=FLAGS.draws, epochs=FLAGS.table_epochs, random_state=FLAGS.seed
    ).fit(inputs[order[:half]], targets[order[:half]])
    held = order[half:]
    # In the unit in which the network predicts, of one target.
    scale, offset = regressor.target_scale_[0], regressor.target_offset_[0]
    prediction = regressor.prediction(inputs[held])
    y = ((targets[held] - offset) / scale)[:, None]
    splits = row_splits(len(y))
    band = bands([len(splits[0][0])], [len(splits[0][1])])
    found = {}
    for method in INTERVALS:
        covered, sizes = [], []
        for known, new in splits:
            rule = conformal.fit_intervals(
                y[known], prediction.take(known), FLAGS.alpha, method
            )
            lower, upper = rule(prediction.take(new))
            covered.append(((lower <= y[new]) & (y[new] <= upper)).mean())
            sizes.append(scale * (upper - lower).mean())
        found[method] = summary(np.array(covered), np.array(sizes), band)
    rows, known_as = np.arange(len(y))[:, None], prediction.interval(1 - FLAGS.alpha)
    mean = remembered(Regressor, predict=prediction.mean[:, 0])
    ends = [remembered(Regressor, predict=x[:, 0]) for x in known_as]
    std = remembered(Regressor, predict=prediction.std[:, 0])
    level = {"confidence_level": 1 - FLAGS.alpha}
    normalised = ResidualNormalisedScore(std, prefit=True)
    kinds: dict[str, tuple[Callable, dict]] = {
        "split": (lambda: SplitConformalRegressor(mean, **level), {}),
        "normalized": (
            lambda: SplitConformalRegressor(mean, **level, conformity_score=normalised),
            {},
        ),
        "quantile": (
            lambda: ConformalizedQuantileRegressor([*ends, mean], **level, prefit=True),
            {"symmetric_correction": True},
        ),
    }
    for method, (make, options) in kinds.items():
        covered, sizes = [], []
        for known, new in splits:
            made = make().conformalize(rows[known], y[known, 0])
            lower, upper = made.predict_interval(rows[new], **options)[1][:, :, 0].T
            covered.append(((lower <= y[new, 0]) & (y[new, 0] <= upper)).mean())
            sizes.append(scale * (upper - lower).mean())
        found[f"MAPIE, {method}"] = summary(np.array(covered), np.array(sizes), band)
    return {
        "rmse": float(scale * np.sqrt(np.mean(np.square(y - prediction.mean)))),
        "calibration": len(splits[0][0]),
        "test": len(splits[0][1]),
        "methods": found,
    }


def rows_of(found: dict) -> list[list[str]]:
    """Returns the cells of a table."""
    rows = []
    for name, row in found["methods"].items():
        cells = [name, f"{row['coverage']:.4f}"]
        if "band" in row:
            low, high = row["band"]
            cells += [f"{low:.4f} to {high:.4f}", f"{row['splits_in_band']:.0%}"]
        else:
            cells += ["-", "-"]
        worst = min(row["classes"]) if "classes" in row else None
        cells += ["-" if worst is None else f"{worst:.3f}", f"{row['size']:.3f}"]
        rows.append(cells)
    return rows


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    results = {"images": images(), "table": table()}
    header = ["method", "covered", "99 % band", "splits in theirs", "worst class"]
    for name, size in (("images", "classes in a set"), ("table", "width")):
        found = results[name]
        print(f"{name}: {found['calibration']} for calibration, {found['test']} tests")
        print(markdown_table([*header, size], rows_of(found)), flush=True)
    settings = {
        name: FLAGS[name].value
        for name in (
            "train_examples",
            "test_examples",
            "epochs",
            "table_epochs",
            "draws",
            "splits",
            "alpha",
            "seed",
        )
    }
    content = {
        "what": "how often conformal sets and intervals cover, over splits of one data",
        "data": "Fashion-MNIST of the package; scikit-learn's diabetes",
        "settings": settings,
        **provenance(("mapie", "scikit-learn", "scipy")),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
