"""Estimators of scikit-learn: its own checks, pipelines, searches, and MAPIE."""

import keras
import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import ResidualNormalisedScore
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from mapie.utils import train_conformalize_test_split
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

import tfhyper
from tfhyper import conformal, heads, layers
from tfhyper.sklearn import Classifier, Quantile, Regressor, Spread

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
LABELS = np.where(X[:, 0] + 0.3 * RNG.normal(size=400) > 0, "yes", "no")
# The noise is that of the second column.
NOISE = 3 * np.exp(0.7 * X[:, 1])
TARGETS = 50 + 20 * X[:, 0] + NOISE * RNG.normal(size=400)


def network(shape, count):
    """A small network that is quick to train, and draws."""
    inputs = keras.Input(shape)
    x = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, layers.BayesDense(count)(x))


class Eager:
    """Makes the small network without the seconds that compiling one takes.

    An object, as names of tests have its text in them, and that of a function is
    another one in each process.
    """

    def __init__(self, normal=False):
        self.normal = normal

    def __repr__(self):
        return f"Eager({self.normal})"

    def __call__(self, shape, count):
        if self.normal:
            model, loss = normal_network(shape, count)
        else:
            model = network(shape, count)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss, run_eagerly=True)
        return model


def normal_network(shape, count):
    """The small network with a head, and its loss."""
    head = heads.NormalHead(count)
    inner = network(shape, head.units)
    model = keras.Model(inner.inputs, head(inner.outputs[0]))
    return model, heads.NegativeLogLikelihood(head)


# Why a check cannot pass.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "training goes by shuffled batches, which differ where rows are repeated"
    ),
}


@parametrize_with_checks(
    [
        Classifier(Eager(), num_draws=2, epochs=10, batch_size=64),
        Regressor(Eager(normal=True), num_draws=2, epochs=10, batch_size=64),
    ],
    expected_failed_checks=lambda _: EXPECTED,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def classifier():
    return Classifier(network, epochs=40, random_state=0).fit(X, LABELS)


@pytest.fixture(scope="module")
def regressor():
    made = Regressor(
        lambda shape, count: normal_network(shape, count)[0],
        epochs=60,
        learning_rate=0.01,
        random_state=0,
    )
    return made.fit(X, TARGETS)


def test_a_classifier_is_the_predictor_of_scaled_inputs(classifier):
    scaled = ((X - X.mean(0)) / X.std(0)).astype("float32")
    expected = classifier.predictor_.predict(scaled, verbose=0).mean
    found = classifier.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert classifier.predictor_.num_draws == 16
    labels = np.array(["no", "yes"])[expected.argmax(1)]
    np.testing.assert_array_equal(classifier.predict(X), labels)
    assert classifier.score(X, LABELS) > 0.85
    assert classifier.prediction(X).epistemic.max() > 0


def test_the_same_state_gives_the_same_numbers_and_leaves_numpys_alone():
    made = Classifier(network, epochs=2, random_state=3)
    np.random.seed(5)
    first = np.random.random()
    np.random.seed(5)
    once = made.fit(X, LABELS).predict_proba(X[:5])
    assert np.random.random() == first
    np.testing.assert_array_equal(clone(made).fit(X, LABELS).predict_proba(X[:5]), once)


@pytest.mark.everyday
def test_a_regressor_says_numbers_in_the_unit_of_its_targets(regressor):
    assert regressor.score(X, TARGETS) > 0.8
    mean, std = regressor.predict(X, return_std=True)
    assert mean.shape == std.shape == (400,)
    found = regressor.prediction(X)
    unit = TARGETS.std()
    np.testing.assert_allclose(
        mean, found.mean[:, 0] * unit + TARGETS.mean(), rtol=1e-9
    )
    np.testing.assert_allclose(std, found.std[:, 0] * unit, rtol=1e-9)
    assert stats.spearmanr(std, NOISE).statistic > 0.7
    lower, upper = regressor.predict_interval(X, 0.8)
    inside = (lower <= TARGETS) & (upper >= TARGETS)
    assert 0.7 < inside.mean() < 0.9
    np.testing.assert_allclose(Quantile(regressor, 0.1).predict(X), lower, rtol=1e-6)
    np.testing.assert_allclose(Quantile(regressor, 0.9).predict(X), upper, rtol=1e-6)
    np.testing.assert_array_equal(Spread(regressor).predict(X), std)


def test_squares_get_the_noise_that_they_leave():
    targets = np.stack([TARGETS, -TARGETS / 100], axis=1)
    made = Regressor(network, epochs=60, learning_rate=0.01, random_state=0)
    mean, std = made.fit(X, targets).predict(X, return_std=True)
    assert mean.shape == std.shape == (400, 2)
    left = np.sqrt(np.mean(np.square(targets - mean), axis=0))
    np.testing.assert_allclose(std.mean(0), left, rtol=0.2)
    lower = Quantile(made, stats.norm.cdf(-1)).predict(X)
    np.testing.assert_allclose(lower, mean - std, rtol=1e-6)


def test_pipelines_and_searches():
    made = Classifier(Eager(), epochs=5, num_draws=2, random_state=0)
    line = make_pipeline(PolynomialFeatures(2), made)
    assert cross_val_score(line, X, LABELS, cv=2).mean() > 0.7
    search = GridSearchCV(made, {"epochs": [1, 6]}, cv=2).fit(X, LABELS)
    assert search.best_params_ == {"epochs": 6}


def test_moments_are_taken_wherever_a_batch_norm_stands():
    def nested(shape, count):
        inner = [
            keras.Input(shape),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
        inputs = keras.Input(shape)
        hidden = keras.Sequential(inner)(inputs)
        return keras.Model(inputs, layers.BayesDense(count)(hidden))

    made = Classifier(nested, num_draws=2, epochs=3, random_state=0).fit(X, LABELS)
    assert made.predict_proba(X).shape == (400, 2)


def test_predictors_that_are_there():
    keras.utils.set_random_seed(0)
    images = RNG.normal(size=(20, 6, 6, 1)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.HyperConv2D(3, 3),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    predictor = tfhyper.PosteriorPredictor(model, 3)
    made = Classifier.from_predictor(predictor, ["a", "b", "c"])
    expected = predictor.predict(images)
    np.testing.assert_array_equal(made.predict_proba(images), expected.mean)
    assert made.predict(images).tolist() == [*np.array(list("abc"))[expected.label]]
    assert Classifier.from_predictor(predictor).classes_.tolist() == [0, 1, 2]
    of_numbers = tfhyper.PosteriorPredictor(
        model, 3, outputs="mean", noise_variance=0.25
    )
    mean, std = Regressor.from_predictor(of_numbers).predict(images, return_std=True)
    expected = of_numbers.predict(images)
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(std, expected.std, rtol=1e-12)
    with pytest.raises(ValueError, match="`classes` must hold a label for each"):
        Classifier.from_predictor(predictor, ["a", "b"])
    with pytest.raises(ValueError, match="`predictor` must be one of classes"):
        Classifier.from_predictor(of_numbers)
    with pytest.raises(ValueError, match="`predictor` must be one of a regression"):
        Regressor.from_predictor(predictor)
    with pytest.raises(TypeError, match="`predictor` must be a PosteriorPredictor"):
        Regressor.from_predictor(model)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"network": "mlp"}, TypeError),
        ({"num_draws": 0}, ValueError),
        ({"epochs": 1.5}, ValueError),
        ({"batch_size": -1}, ValueError),
        ({"learning_rate": 0}, ValueError),
        ({"standardize": "yes"}, ValueError),
        ({"verbose": True}, ValueError),
    ],
)
@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_arguments_out_of_range_are_refused_by_fit(kind, arguments, error):
    (name,) = arguments
    with pytest.raises(error, match=f"`{name}` must.*Received: {name}="):
        kind(**arguments).fit(X, TARGETS > 50)


def test_data_that_cannot_be_trained_on_are_refused():
    with pytest.raises(ValueError, match="`y` must have labels of two classes"):
        Classifier().fit(X, np.ones(400, int))
    with pytest.raises(ValueError, match="Expected 2D|NaN"):
        Regressor().fit(np.full((4, 2), np.nan), np.ones(4))
    with pytest.raises(NotFittedError):
        Classifier().predict(X)
    for weights in (np.zeros(400), np.ones((400, 2)), np.full(400, -1.0), np.ones(3)):
        with pytest.raises(ValueError, match="`sample_weight` must|inconsistent"):
            Classifier().fit(X, LABELS, sample_weight=weights)
    with pytest.raises(NotFittedError):
        Spread(Regressor()).predict(X)


# --- MAPIE -----------------------------------------------------------------------


def halves(seed):
    order = np.random.default_rng(seed).permutation(len(X))
    return order[:200], order[200:]


@pytest.fixture(scope="module")
def of_three():
    labels = np.digitize(X[:, 0] + 0.3 * RNG.normal(size=400), [-0.5, 0.5])
    return Classifier(network, epochs=40, random_state=0).fit(X, labels), labels


@pytest.mark.parametrize("score", ["lac", "aps", "raps"])
def test_sets_of_mapie_cover(of_three, score):
    classifier, labels = of_three
    covered = []
    for seed in range(5):
        known, new = halves(seed)
        made = SplitConformalClassifier(
            classifier, confidence_level=0.8, conformity_score=score, random_state=0
        )
        made.conformalize(X[known], labels[known])
        _, sets = made.predict_set(X[new])
        covered.append(sets[np.arange(200), labels[new], 0].mean())
    # (n + 1) 0.8 / n at most, with ties more; five times the deviation of a mean.
    assert np.mean(covered) > 0.8 - 5 * np.sqrt(0.8 * 0.2 / 200 / 5)


@pytest.mark.everyday
def test_intervals_of_mapie_cover_and_are_wide_where_the_regressor_says(regressor):
    normalised = ResidualNormalisedScore(Spread(regressor), prefit=True)
    quantiles = [Quantile(regressor, x) for x in (0.1, 0.9, 0.5)]
    kinds = {
        "plain": lambda: SplitConformalRegressor(regressor, confidence_level=0.8),
        "normalised": lambda: SplitConformalRegressor(
            regressor, confidence_level=0.8, conformity_score=normalised
        ),
        "quantiles": lambda: ConformalizedQuantileRegressor(
            quantiles, confidence_level=0.8, prefit=True
        ),
    }
    for name, make in kinds.items():
        covered, follows = [], []
        for seed in range(5):
            known, new = halves(seed)
            made = make().conformalize(X[known], TARGETS[known])
            _, ends = made.predict_interval(X[new])
            lower, upper = ends[:, 0, 0], ends[:, 1, 0]
            covered.append(((lower <= TARGETS[new]) & (TARGETS[new] <= upper)).mean())
            if name != "plain":
                follows.append(stats.spearmanr(upper - lower, NOISE[new]).statistic)
        assert abs(np.mean(covered) - 0.8) < 5 * np.sqrt(0.8 * 0.2 / 200 / 5), name
        assert name == "plain" or min(follows) > 0.6


# MAPIE's own documented examples, of `SplitConformalClassifier`,
# `SplitConformalRegressor` and `ConformalizedQuantileRegressor`, with an estimator of
# ours in the place of scikit-learn's.
QUICK = {"epochs": 8, "batch_size": 100, "num_draws": 2, "random_state": 0}
SIZES = {"train_size": 0.6, "conformalize_size": 0.2, "test_size": 0.2}


def test_mapies_example_of_a_classifier():
    x, y = make_classification(n_samples=500, random_state=0)
    parts = train_conformalize_test_split(x, y, **SIZES, random_state=1)
    x_train, x_known, x_test, y_train, y_known, y_test = parts
    made = SplitConformalClassifier(
        estimator=Classifier(Eager(), **QUICK),
        confidence_level=0.95,
        prefit=False,
    )
    made.fit(x_train, y_train).conformalize(x_known, y_known)
    labels, sets = made.predict_set(x_test)
    assert labels.shape == (100,) and sets.shape == (100, 2, 1)
    assert (labels == y_test).mean() > 0.7
    # By hand, with the estimator trained alike.
    alike = Classifier(Eager(), **QUICK)
    alike.fit(x_train, y_train)
    rule = conformal.fit_sets(y_known, alike.predict_proba(x_known), 0.05)
    np.testing.assert_array_equal(sets[..., 0], rule(alike.predict_proba(x_test)))


def test_mapies_example_of_a_regressor():
    x, y = make_regression(n_samples=500, n_features=2, noise=1.0, random_state=0)
    parts = train_conformalize_test_split(x, y, **SIZES, random_state=1)
    x_train, x_known, x_test, y_train, y_known, y_test = parts
    made = SplitConformalRegressor(
        estimator=Regressor(Eager(normal=True), **QUICK),
        confidence_level=0.95,
        prefit=False,
    )
    made.fit(x_train, y_train).conformalize(x_known, y_known)
    means, ends = made.predict_interval(x_test)
    assert means.shape == (100,) and ends.shape == (100, 2, 1)
    inside = (ends[:, 0, 0] <= y_test) & (y_test <= ends[:, 1, 0])
    # 0.1 % of the beta-binomial law of 100 and 100 examples.
    assert inside.sum() >= stats.betabinom(100, 96, 5).ppf(0.001)
    alike = Regressor(Eager(normal=True), **QUICK)
    alike.fit(x_train, y_train)
    three = [Quantile(alike, x) for x in (0.025, 0.975, 0.5)]
    of_quantiles = ConformalizedQuantileRegressor(
        estimator=three, confidence_level=0.95, prefit=True
    ).conformalize(x_known, y_known)
    _, ends = of_quantiles.predict_interval(x_test)
    inside = (ends[:, 0, 0] <= y_test) & (y_test <= ends[:, 1, 0])
    assert inside.sum() >= stats.betabinom(100, 96, 5).ppf(0.001)
