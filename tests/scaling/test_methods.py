"""Scalings beside SciPy, scikit-learn and formulas written out, on the same numbers."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from tfhyper import metrics, scaling
from tfhyper.scaling.registry import check_scaling

pytestmark = pytest.mark.filterwarnings("ignore:Since FrozenEstimator")
METHODS = tuple(scaling.METHODS)
PER_DRAW = tuple(x for x in METHODS if scaling.METHODS[x].scales_draws)
ROWS = 1200


def sample(classes, draws=1, rows=ROWS, seed=0):
    """Returns labels, and logits (draws, rows, classes) that are too sure of them."""
    rng = np.random.default_rng(seed)
    true = 1.5 * rng.normal(size=(rows, classes)) + np.linspace(0, 1, classes)
    labels = (true + rng.gumbel(size=true.shape)).argmax(-1)
    noise = rng.normal(size=(draws, rows, classes))
    return labels, 2.5 * (true + noise)


LABELS, LOGITS = sample(4)
PROBS = softmax(LOGITS[0], -1)
BINARY_LABELS, BINARY_LOGITS = sample(2, seed=1)
BINARY = softmax(BINARY_LOGITS[0], -1)
WEIGHTS = np.random.default_rng(2).uniform(0.2, 2.0, ROWS)
DATA = {2: (BINARY_LABELS, BINARY), 4: (LABELS, PROBS)}


def nll(labels, probs, weights=None):
    logs = np.log(np.asarray(probs)[..., np.arange(len(labels)), labels])
    return -np.average(logs, weights=weights)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_is_scipys(classes, weights):
    labels, logits = sample(classes, seed=classes)
    logits = logits[0]
    found = scaling.fit(labels, softmax(logits, -1), sample_weight=weights)
    best = minimize_scalar(
        lambda t: nll(labels, softmax(logits / t, -1), weights),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert best.x > 1.3
    assert found.temperature == pytest.approx(best.x, abs=1e-4)
    np.testing.assert_allclose(
        found(softmax(logits, -1)), softmax(logits / best.x, -1), atol=1e-6
    )


def test_a_temperature_of_draws_makes_their_mean_best():
    labels, logits = sample(3, draws=5)
    probs = softmax(logits, -1)
    found = scaling.fit(labels, probs, per_draw=True)
    best = minimize_scalar(
        lambda t: nll(labels, softmax(logits / t, -1).mean(0)),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert found.temperature == pytest.approx(best.x, abs=1e-4)
    assert found.per_draw
    pooled = scaling.fit(labels, probs)
    mean = np.log(probs.mean(0))
    best = minimize_scalar(
        lambda t: nll(labels, softmax(mean / t, -1)),
        bounds=(0.05, 20),
        method="bounded",
    )
    assert pooled.temperature == pytest.approx(best.x, abs=1e-4)
    # Each calibrated by itself, their mean is too unsure: pool, then calibrate.
    alone = scaling.fit(np.tile(labels, 5), probs.reshape(-1, 3))
    assert alone.temperature > found.temperature + 0.1
    assert nll(labels, found(probs).mean(0)) < nll(labels, alone(probs).mean(0)) - 0.005


@pytest.mark.parametrize("draws", [1, 3])
def test_the_vector_is_scipys(draws):
    labels, logits = sample(3, draws)
    logs = log_softmax(logits, -1)

    def loss(x):
        return nll(labels, softmax(logs * x[:3] + np.append(x[3:], 0.0), -1).mean(0))

    best = minimize(loss, [1, 1, 1, 0, 0], method="BFGS", options={"gtol": 1e-7})
    found = scaling.fit(labels, np.exp(logs), "vector", per_draw=True)
    assert nll(labels, found(np.exp(logs)).mean(0)) == pytest.approx(best.fun, abs=1e-8)
    np.testing.assert_allclose(found.weights, best.x[:3], atol=2e-3)
    biases = np.array(found.biases)
    np.testing.assert_allclose(biases[:2] - biases[2], best.x[3:], atol=2e-3)


@pytest.mark.parametrize("rate", [0.003, 0.3])
def test_the_matrix_is_that_of_dirichlet_calibration(rate):
    # ODIR of Kull et al. (2019): the mean of squares off the diagonal, and of biases.
    logs = np.log(PROBS)

    def loss(x):
        weights, biases = x[:16].reshape(4, 4), x[16:]
        off = weights[~np.eye(4, dtype=bool)]
        fitted = nll(LABELS, softmax(logs @ weights.T + biases, -1))
        return fitted + rate * np.mean(off**2) + rate * np.mean(biases**2)

    start = np.append(np.eye(4).reshape(-1), np.zeros(4))
    best = minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    found = scaling.fit(LABELS, PROBS, "matrix", regularization=rate)
    mine = np.append(np.reshape(found.weights, -1), found.biases)
    assert loss(mine) == pytest.approx(best.fun, abs=1e-8)
    np.testing.assert_allclose(mine, best.x, atol=2e-3)


class Scores(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose inputs are what it says of them."""

    def __init__(self, classes):
        self.classes, self.classes_ = classes, np.arange(classes)

    def fit(self, x, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def decision_function(self, x):
        return x[:, 0] if self.classes == 2 else x

    def predict(self, x):
        return x.argmax(-1)


def by_sklearn(classes, scores, labels, method, weights):
    frozen = FrozenEstimator(Scores(classes))
    found = CalibratedClassifierCV(frozen, method=method, ensemble=False)
    return found.fit(scores, labels, sample_weight=weights).predict_proba(scores)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("classes", [2, 4])
def test_platts_is_that_of_scikit_learn(classes, weights):
    labels, probs = DATA[classes]
    found = scaling.fit(labels, probs, "platt", sample_weight=weights)
    scores = logit(probs[:, 1:2] if classes == 2 else probs)
    expected = by_sklearn(classes, scores, labels, "sigmoid", weights)
    np.testing.assert_allclose(found(probs), expected, atol=2e-4)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("classes", [2, 4])
def test_isotonic_is_that_of_scikit_learn(classes, weights):
    labels, probs = DATA[classes]
    # Of the multiples of 2^-16 that probabilities are rounded to.
    scores = np.round(probs * 2**16) / 2**16
    scores = scores[:, 1:2] if classes == 2 else scores
    expected = by_sklearn(classes, scores, labels, "isotonic", weights)
    rounded = np.append(1 - scores, scores, 1) if classes == 2 else scores
    found = scaling.fit(labels, probs, "isotonic", sample_weight=weights)
    mine = found.of_probabilities(rounded, np)
    np.testing.assert_allclose(mine, expected, atol=1e-9)
    # Between these it is straight.
    np.testing.assert_allclose(found(probs), mine, atol=0.05)


def test_a_histogram_has_the_frequencies_of_its_bins():
    found = scaling.fit(BINARY_LABELS, BINARY, "histogram", num_bins=7)
    p = BINARY[:, 1]
    for i in range(7):
        inside = (p > i / 7) & (p <= (i + 1) / 7)
        expected = BINARY_LABELS[inside].mean()
        np.testing.assert_allclose(found(BINARY)[inside, 1], expected)
    # Of a bin without examples the middle, and on an edge what is below.
    with pytest.warns(scaling.CalibrationWarning, match="20 examples for each of"):
        few = scaling.fit([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]], "histogram",
                          num_bins=4)  # fmt: skip
    assert few.values == ((0.0, 0.375, 1.0, 0.875),)
    assert few([[0.5, 0.5]])[0, 1] == 0.375
    several = scaling.fit(LABELS, PROBS, "histogram", sample_weight=WEIGHTS)
    assert several(PROBS).sum(-1) == pytest.approx(1.0)
    inside = PROBS[:, 2] <= 1 / 15
    expected = np.average(LABELS[inside] == 2, weights=WEIGHTS[inside])
    assert several.values[2][0] == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_method_makes_what_it_was_fitted_to_better(classes, method):
    labels, probs = DATA[classes]
    found = scaling.fit(labels, probs, method)
    scaled = found(probs)
    assert scaled.shape == probs.shape and scaled.min() >= 0
    np.testing.assert_allclose(scaled.sum(-1), 1.0)
    assert metrics.brier_score(labels, scaled) < metrics.brier_score(labels, probs)
    if method not in ("isotonic", "histogram") or classes == 2:
        assert nll(labels, np.maximum(scaled, 1e-12)) < nll(labels, probs)
    assert found.classes in (None, classes) and method in METHODS
    assert json.loads(json.dumps(found.to_json()))["method"] == method
    assert check_scaling(json.loads(json.dumps(found.to_json()))) == found
    assert hash(found) == hash(check_scaling(found.to_json()))
    assert "<" in found._repr_html_()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("classes", [2, 4])
def test_one_formula_gives_arrays_and_tensors(classes, method):
    import keras

    labels, probs = DATA[classes]
    found = scaling.fit(labels, probs, method)
    tensor = keras.ops.convert_to_tensor(probs[:50].reshape(5, 10, classes), "float32")
    given = keras.ops.convert_to_numpy(found.of_probabilities(tensor, keras.ops))
    # A step of an isotonic curve is as steep as 2^16, and float32 rounds to 2^-24.
    atol = 1e-3 if method == "isotonic" else 1e-5
    np.testing.assert_allclose(
        given, found(probs[:50]).reshape(5, 10, classes), atol=atol
    )
    logs = np.log(probs[:50])
    np.testing.assert_allclose(
        found.of_log_probabilities(logs, np), found(probs[:50]), atol=1e-9
    )


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_maps_are_one_each_and_ignored_ones_none(method):
    labels, probs = LABELS.reshape(12, 10, 10), PROBS.reshape(12, 10, 10, 4)
    found = scaling.fit(labels, probs, method)
    assert found == scaling.fit(LABELS, PROBS, method)
    more = np.concatenate([labels, np.full((3, 10, 10), 255)])
    padded = np.concatenate([probs, np.full((3, 10, 10, 4), 0.25)])
    assert scaling.fit(more, padded, method, ignore_class=255) == found
    weights = np.append(np.ones(12), np.zeros(3))
    more[12:] = 1
    numbers = scaling.fit(more, padded, method, sample_weight=weights)
    np.testing.assert_allclose(numbers(PROBS), found(PROBS), atol=1e-6)


def test_a_vector_of_two_classes_is_beta_calibration():
    found = scaling.fit(BINARY_LABELS, BINARY, "vector")
    p = BINARY[:, 1]

    def loss(x):
        q = expit(x[0] * np.log(p) - x[1] * np.log(1 - p) + x[2])
        return -np.mean(np.log(np.where(BINARY_LABELS == 1, q, 1 - q)))

    best = minimize(loss, [1, 1, 0], method="BFGS", options={"gtol": 1e-7})
    assert nll(BINARY_LABELS, found(BINARY)) == pytest.approx(best.fun, abs=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "change, words",
    [
        (dict(labels=[], probs=np.zeros((0, 4))), "`probs` must hold at least one row"),
        (dict(labels=np.ones(ROWS, int)), "two classes or more.*all of them 1"),
        (dict(probs=PROBS * np.nan), "`probs` must be finite|`probs` must not"),
        (dict(labels=LABELS + 1), r"`labels` must lie in \[0, 4\)"),
        (dict(labels=LABELS[:-1]), "`labels` must have the shape"),
        (dict(probs=LOGITS[0]), "`probs` must hold probabilities"),
        (dict(sample_weight=-WEIGHTS), "`sample_weight` must not be below"),
        (dict(sample_weight=np.zeros(ROWS)), "`sample_weight` must not"),
        (dict(per_draw=1), "`per_draw` must be True or False"),
        (dict(bins=3), "`bins` must be left out with `method="),
        (dict(ignore_class=2), "`ignore_class`"),
    ],
)
def test_bad_data_are_named(method, change, words):
    with pytest.raises(ValueError, match=words):
        scaling.fit(**{"labels": LABELS, "probs": PROBS, "method": method, **change})


def test_bad_choices_are_named():
    with pytest.raises(ValueError, match="`method` must be one of"):
        scaling.fit(LABELS, PROBS, "platts")
    with pytest.raises(ValueError, match="`per_draw` must be False with this method"):
        scaling.fit(LABELS, PROBS[None], "isotonic", per_draw=True)
    with pytest.raises(ValueError, match="`probs` must have the axes .draws"):
        scaling.fit(LABELS, PROBS, per_draw=True)
    with pytest.raises(ValueError, match="`num_bins` must be an integer"):
        scaling.fit(LABELS, PROBS, "histogram", num_bins=0)
    with pytest.raises(ValueError, match="`regularization` must be a finite"):
        scaling.fit(LABELS, PROBS, "matrix", regularization=-1)
    some = LABELS != 2
    for method in METHODS[1:]:
        with pytest.raises(ValueError, match=r"every one.*none of the classes \[2\]"):
            scaling.fit(LABELS[some], PROBS[some], method)
    assert scaling.fit(LABELS[some], PROBS[some]).temperature > 1
    many = np.full((600, 600), 1 / 600)
    with pytest.raises(ValueError, match="up to 512 classes"):
        scaling.fit(np.arange(600), many, "matrix")


def test_few_examples_and_none_that_are_wrong_are_warned_of():
    with pytest.warns(scaling.CalibrationWarning, match="1000 examples.*Received: 90"):
        scaling.fit(LABELS[:90], PROBS[:90], "isotonic")
    right = PROBS.argmax(-1)
    for method in ("temperature", "vector"):
        with pytest.warns(scaling.CalibrationWarning, match="no likeliest scaling"):
            scaling.fit(right, PROBS, method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            scaling.fit(LABELS, PROBS, method)


MADE = {
    "temperature": scaling.Temperature(2.0),
    "vector": scaling.Vector([1, 2], [0, 0.5]),
    "matrix": scaling.Matrix(np.eye(3), np.zeros(3)),
    "platt": scaling.Platt([2.0], [0.1]),
    "isotonic": scaling.Isotonic([[0.1, 0.5]], [[0.2, 0.6]]),
    "histogram": scaling.Histogram([[0.1, 0.5]]),
}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: scaling.Temperature(0), "`temperature` must be a finite number > 0"),
        (lambda: scaling.Temperature(1e-320), "`temperature` must be"),
        (lambda: scaling.Temperature(np.nan), "`temperature` must be"),
        (lambda: scaling.Vector([1], [0]), "`biases` must be as many"),
        (lambda: scaling.Vector([1, 2, 3], [0, 1]), "`biases` must be as many"),
        (lambda: scaling.Vector([1, np.inf], [0, 1]), "`weights` must.*finite"),
        (lambda: scaling.Matrix(np.eye(3)[:2], [0, 0, 0]), "`weights` must have a row"),
        (lambda: scaling.Platt([1, 1], [0, 0]), "`slopes` must have one row"),
        (lambda: scaling.Platt([1], [0, 0]), "`intercepts` must be as many"),
        (lambda: scaling.Isotonic([[0.5, 0.1]], [[0, 1]]), "`thresholds` must be in"),
        (lambda: scaling.Isotonic([[0.1, 0.5]], [[1, 0]]), "`values` must be in"),
        (
            lambda: scaling.Isotonic([[0.1]], [[1, 0]]),
            "`values` must have rows as long",
        ),
        (lambda: scaling.Isotonic([], []), "`thresholds` must have a row"),
        (lambda: scaling.Histogram([[0.1, 1.5]]), r"`values` must be in \[0, 1\]"),
        (lambda: scaling.Histogram([0.1, 0.5]), "`values` must have 2 axes"),
        (lambda: MADE["temperature"]([0.5, 0.5]), "`probs` must have the axes"),
        (lambda: MADE["vector"]([[0.2, 0.3, 0.5]]), "`probs` must be for the same num"),
        (
            lambda: MADE["matrix"]([[0.2, 0.7, 0.5]]),
            "The last axis of `probs` must sum to one",
        ),
    ],
)
def test_bad_numbers_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("method", METHODS)
def test_what_files_hold_is_checked(method):
    good = MADE[method].to_json()
    assert check_scaling(good) == MADE[method]
    names = [x.name for x in dataclasses.fields(MADE[method])]
    for name in names:
        with pytest.raises((TypeError, ValueError), match=f"`{name}` must"):
            check_scaling({**good, name: "3"})
        with pytest.raises(TypeError, match="`scaling` must be"):
            check_scaling({k: v for k, v in good.items() if k != name})
    for bad in ({**good, "method": "x"}, {**good, "more": 1}, 3, "temperature", {}):
        with pytest.raises(TypeError, match="`scaling` must be"):
            check_scaling(bad)
