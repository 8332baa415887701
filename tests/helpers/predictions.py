"""Predictions of every kind, made of draws by hand, without a network."""

import numpy as np
from scipy.special import softmax

import tfhyper
from tfhyper import heads
from tfhyper.posterior.tasks.classification import PredictionSum
from tfhyper.posterior.tasks.distribution import DistributionSum
from tfhyper.posterior.tasks.labels import LabelsSum
from tfhyper.posterior.tasks.regression import RegressionSum


def added(total, *draws):
    """Returns the prediction of draws, each one array or more of them."""
    for draw in zip(*draws, strict=True):
        total.add(*draw)
    return total.result()


def classes(*shape, draws=6, seed=0, keep_members=True):
    """Returns one of (batch, ..., classes)."""
    logits = 2 * np.random.default_rng(seed).normal(size=(draws, *shape))
    probs = softmax(logits, axis=-1).astype("float32")
    return added(PredictionSum(keep_members), probs)


def labels(*shape, draws=6, seed=0):
    """Returns one of (batch, ..., labels)."""
    logits = 2 * np.random.default_rng(seed).normal(size=(draws, *shape))
    return added(LabelsSum(True, None), (1 / (1 + np.exp(-logits))).astype("float32"))


def targets(*shape, draws=6, seed=0, noise=0.25):
    """Returns one of a regression, (batch,) or (batch, ..., targets)."""
    means = np.random.default_rng(seed).normal(size=(draws, *shape)).astype("float32")
    variances = np.full(means.shape, noise, "float32")
    return added(RegressionSum(True), means, variances)


def distributions(family, *shape, draws=6, seed=0):
    """Returns one of a head, whose parameters are (batch, ..., units)."""
    raw = np.random.default_rng(seed).normal(size=(draws, *shape, family.units))
    parameters = np.asarray(family.link(raw.astype("float32")))
    return added(DistributionSum(family, True), parameters)


def every_kind():
    """Returns name -> a prediction of three examples, of every kind."""
    of_classes = classes(3, 4)
    decided = tfhyper.AnytimePrediction(
        of_classes.mean, of_classes.label, np.array([2, 5, 6]), 6, 0.99
    )
    return {
        "classes": of_classes,
        "a few of many classes": classes(3, 40),
        "tokens": classes(3, 7, 4),
        "maps": classes(3, 8, 9, 4),
        "one label": labels(3, 1),
        "labels": labels(3, 5),
        "maps of labels": labels(3, 8, 9, 2),
        "a number": targets(3),
        "a number without noise": targets(3, noise=0.0),
        "numbers": targets(3, 5),
        "images": targets(3, 8, 9, 1),
        "sequences": targets(3, 12, 2),
        "normal": distributions(heads.Normal(), 3),
        "several normal": distributions(heads.Normal(2), 3),
        "mixture": distributions(heads.NormalMixture(3), 3),
        "counts": distributions(heads.Poisson(), 3),
        "maps of distributions": distributions(heads.Laplace(), 3, 8, 9),
        "anytime": decided,
        "several": tfhyper.Predictions({"kind": of_classes, "size": targets(3)}),
    }
