"""The Laplace approximation of a last layer: its numbers, and what it refuses."""

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

import tfhyper
from tests.helpers.laplace import (
    CLASSES,
    HELD_OUT,
    LABELS,
    REFERENCE,
    TARGETS,
    X,
    features_of,
    last_weights,
    network,
    of_reference,
)
from tfhyper import Laplace

HESSIANS = ("full", "kron", "diag")
LIKELIHOODS = ("classification", "regression")


def options_of(likelihood, prior="prior_precision"):
    names = [prior, "temperature"] + ["noise_variance"] * (likelihood == "regression")
    found = {name: REFERENCE[name] for name in names}
    return {"prior_precision": found.pop(prior), **found}


@pytest.mark.parametrize("hessian", HESSIANS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_equal_to_laplace_torch(likelihood, hessian):
    case = REFERENCE[likelihood]
    expected = case["hessian"][hessian]
    model, x, y, x_test = of_reference(case)
    laplace = Laplace(model, likelihood, hessian, **options_of(likelihood))
    laplace.fit(x, y, batch_size=17)
    # That of laplace-torch was added up in float32.
    assert laplace.log_marginal_likelihood() == pytest.approx(
        expected["log_marginal_likelihood"], abs=5e-4
    )
    found = laplace.predictor("closed_form").predict(x_test)
    if likelihood == "classification":
        np.testing.assert_allclose(found.mean, expected["probit"], atol=1e-5)
        return
    np.testing.assert_allclose(found.mean, expected["mean"], atol=1e-5)
    np.testing.assert_allclose(found.epistemic, expected["variance"], atol=1e-6)
    np.testing.assert_allclose(found.aleatoric, REFERENCE["noise_variance"])


@pytest.mark.parametrize("hessian", HESSIANS)
def test_two_prior_precisions_equal_those_of_laplace_torch(hessian):
    case = REFERENCE["regression"]
    expected = case["hessian"][hessian]
    model, x, y, x_test = of_reference(case)
    options = options_of("regression", "pair")
    laplace = Laplace(model, "regression", hessian, **options).fit(x, y)
    found = laplace.predictor("closed_form").predict(x_test)
    np.testing.assert_allclose(found.epistemic, expected["pair_variance"], atol=1e-6)
    if hessian != "kron":
        assert laplace.log_marginal_likelihood() == pytest.approx(
            expected["pair_log_marginal_likelihood"], abs=5e-4
        )


def loss_of(name, features, labels):
    """Returns the negative log-likelihood as a function of the last layer's weights."""

    def loss(weights):
        outputs = features @ weights.reshape(features.shape[1], -1)
        if name == "logits":
            logs = scipy.special.log_softmax(outputs, axis=-1)
            return -logs[np.arange(len(labels)), labels].sum()
        signs = np.where(labels == 1, 1.0, -1.0)
        return -scipy.special.log_expit(signs * outputs).sum()

    return loss


def finite_differences(function, at, step=1e-4):
    """Returns the Hessian of a function."""
    size = len(at)
    units = np.eye(size) * step
    found = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            terms = [
                a * b * function(at + a * units[i] + b * units[j])
                for a in (1, -1)
                for b in (1, -1)
            ]
            found[i, j] = found[j, i] = sum(terms) / (4 * step**2)
    return found


@pytest.mark.parametrize("outputs", ["logits", "label_logits"])
def test_full_is_the_hessian_of_the_likelihood(outputs):
    # The network is linear in its last layer, so that both are the same.
    labels = CLASSES if outputs == "logits" else LABELS
    model = network(3 if outputs == "logits" else 2, hidden=2)
    laplace = Laplace(model, hessian="full", prior_precision=0.8, outputs=outputs)
    laplace.fit(X, labels)
    mean, features = last_weights(model), features_of(model, X)
    loss = loss_of(outputs, features, labels)
    precision = finite_differences(loss, mean.ravel()) + 0.8 * np.eye(mean.size)
    covariance = np.linalg.inv(precision)
    new = features_of(model, HELD_OUT)
    count = mean.shape[1]
    blocks = covariance.reshape(-1, count, len(mean), count)
    variance = np.einsum("nf,fcgc,ng->nc", new, blocks, new)
    scaled = new @ mean / np.sqrt(1 + np.pi / 8 * variance)
    link = scipy.special.softmax if outputs == "logits" else scipy.special.expit
    expected = link(scaled, axis=-1) if outputs == "logits" else link(scaled)
    found = laplace.predictor("closed_form").predict(HELD_OUT)
    np.testing.assert_allclose(found.mean, expected, atol=2e-5)
    evidence = -loss(mean.ravel()) - 0.5 * (
        np.linalg.slogdet(precision)[1]
        - mean.size * np.log(0.8)
        + 0.8 * np.square(mean).sum()
    )
    assert laplace.log_marginal_likelihood() == pytest.approx(evidence, abs=1e-3)
    # And the draws have that covariance.
    source = laplace.predictor("mc", num_draws=4000).source
    kernel, bias = (
        [x.noise[name] for x in source.draws] for name in source.point.last_names
    )
    drawn = np.concatenate([kernel, np.array(bias)[:, None]], axis=1).reshape(4000, -1)
    deviation = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(deviation, deviation),
        covariance / np.outer(deviation, deviation),
        atol=0.1,
    )
    np.testing.assert_allclose(drawn.mean(0), mean.ravel(), atol=0.1)


@pytest.mark.parametrize("hessian", ["kron", "diag"])
def test_draws_have_the_variance_of_the_closed_form(hessian):
    model = network()
    laplace = Laplace(model, hessian=hessian, prior_precision=[0.5, 3.0]).fit(
        X, CLASSES
    )
    source = laplace.predictor("mc", num_draws=4000).source
    kernel, bias = (
        [x.noise[name] for x in source.draws] for name in source.point.last_names
    )
    features = features_of(model, HELD_OUT)
    outputs = features[:, :-1] @ np.array(kernel) + np.array(bias)[:, None]
    closed = laplace.predictor("closed_form").source
    last = closed.materialize(0).layers[-1]
    found = keras.ops.convert_to_numpy(last(features[:, :-1].astype("float32")))
    variance = outputs.var(0)
    expected = scipy.special.softmax(
        features @ last_weights(model) / np.sqrt(1 + np.pi / 8 * variance), axis=-1
    )
    scaled = scipy.special.softmax(found, axis=-1)
    np.testing.assert_allclose(scaled, expected, atol=0.01)


def linear_regression(prior, noise):
    """Returns a model whose last layer is the ridge regression, and its parts."""
    model = network(2)
    features = features_of(model, X)
    precision = features.T @ features / noise + prior * np.eye(features.shape[1])
    covariance = np.linalg.inv(precision)
    weights = covariance @ features.T @ TARGETS / noise
    first = model.get_weights()[:2]
    model.set_weights([*first, weights[:-1], weights[-1]])
    return model, features, covariance


def log_evidence(features, prior, noise):
    """Returns the log marginal likelihood of a Bayesian linear regression."""
    covariance = features @ features.T / prior + noise * np.eye(len(features))
    density = scipy.stats.multivariate_normal(np.zeros(len(features)), covariance)
    return density.logpdf(TARGETS.T).sum()


def test_regression_is_the_bayesian_linear_one():
    prior, noise = 0.7, 0.3
    model, features, covariance = linear_regression(prior, noise)
    options = {"prior_precision": prior, "noise_variance": noise}
    laplace = Laplace(model, "regression", "full", **options).fit(X, TARGETS)
    expected = log_evidence(features, prior, noise)
    assert laplace.log_marginal_likelihood() == pytest.approx(expected, abs=1e-3)
    predictor = laplace.predictor("closed_form")
    found, new = predictor.predict(HELD_OUT), features_of(model, HELD_OUT)
    variance = np.einsum("nf,fg,ng->n", new, covariance, new)
    np.testing.assert_allclose(found.mean, new @ last_weights(model), atol=1e-5)
    np.testing.assert_allclose(found.epistemic.T, [variance] * 2, rtol=1e-4)
    np.testing.assert_allclose(found.variance, found.epistemic + noise, rtol=1e-6)
    # The scores are those of this Gaussian.
    density = scipy.stats.norm(found.mean, np.sqrt(found.variance))
    targets = np.zeros((9, 2))
    scores = predictor.evaluate(HELD_OUT, targets)
    assert scores["nll"] == pytest.approx(-density.logpdf(targets).mean(), rel=1e-5)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.square(found.mean).mean()))


def test_marginal_likelihood_chooses_prior_and_noise():
    model, features, _ = linear_regression(0.7, 0.3)
    laplace = Laplace(model, "regression", "full").fit(X, TARGETS)
    weights, errors = last_weights(model), TARGETS - features @ last_weights(model)
    values = np.linalg.eigvalsh(features.T @ features)

    def surprise(logs):
        prior, noise = np.exp(logs)
        ratio = np.log1p(values / (noise * prior)).sum() * 2
        scatter = np.square(errors).sum() / noise + prior * np.square(weights).sum()
        return 0.5 * (errors.size * np.log(2 * np.pi * noise) + ratio + scatter)

    expected = scipy.optimize.minimize(surprise, np.zeros(2))
    laplace.fit_prior_precision()
    found = laplace.prior_precision, laplace.noise_variance
    np.testing.assert_allclose(found, np.exp(expected.x), rtol=1e-3)
    assert laplace.log_marginal_likelihood() == pytest.approx(-expected.fun, abs=1e-3)
    laplace.noise_variance = 0.5
    laplace.fit_prior_precision(fit_noise=False)
    one = scipy.optimize.minimize_scalar(lambda x: surprise([x, np.log(0.5)]))
    assert laplace.noise_variance == 0.5
    assert laplace.prior_precision == pytest.approx(np.exp(one.x), rel=1e-3)


@pytest.mark.parametrize("hessian", HESSIANS)
def test_no_other_prior_has_a_larger_marginal_likelihood(hessian):
    laplace = Laplace(network(), hessian=hessian, prior_precision=[1.0, 1.0])
    laplace.fit(X, CLASSES).fit_prior_precision()
    best, at = laplace.log_marginal_likelihood(), np.array(laplace.prior_precision)
    for factor in ([1.2, 1.0], [1 / 1.2, 1.0], [1.0, 1.2], [1.0, 1 / 1.2]):
        laplace.prior_precision = list(at * factor)
        assert laplace.log_marginal_likelihood() < best


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_validation_chooses_the_least_surprise(likelihood):
    classes = likelihood == "classification"
    model, labels = (network(), CLASSES) if classes else (network(2), TARGETS)
    laplace = Laplace(model, likelihood).fit(X[:20], labels[:20])
    grid = [0.01, 1.0, 100.0]
    nll = []
    for value in grid:
        laplace.prior_precision = value
        predictor = laplace.predictor("closed_form")
        nll.append(predictor.evaluate(X[20:], labels[20:])["nll"])
    laplace.fit_prior_precision("validation", X[20:], labels[20:], grid=grid)
    assert laplace.prior_precision == grid[int(np.argmin(nll))]


def test_temperature_and_repeated_data_are_the_same():
    once = Laplace(network(), temperature=0.5).fit(X, CLASSES)
    twice = Laplace(network()).fit(np.concatenate([X, X]), np.tile(CLASSES, 2))
    weighted = Laplace(network()).fit(X, CLASSES, sample_weight=np.full(40, 2.0))
    found = [
        x.predictor("closed_form").predict(HELD_OUT) for x in (once, twice, weighted)
    ]
    np.testing.assert_allclose(found[0].mean, found[1].mean, atol=1e-6)
    np.testing.assert_allclose(found[0].mean, found[2].mean, atol=1e-6)
    assert once.log_marginal_likelihood() == pytest.approx(
        weighted.log_marginal_likelihood()
    )


@pytest.mark.parametrize("hessian", HESSIANS)
def test_weights_of_zero_leave_out(hessian):
    weights = (np.arange(40) < 25).astype(float)
    some = Laplace(network(), hessian=hessian).fit(X[:25], CLASSES[:25])
    weighted = Laplace(network(), hessian=hessian).fit(
        X, CLASSES, sample_weight=weights
    )
    assert some.log_marginal_likelihood() == pytest.approx(
        weighted.log_marginal_likelihood()
    )


def test_a_dataset_gives_what_arrays_give():
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, CLASSES)).batch(7)
    found = Laplace(network()).fit(data).log_marginal_likelihood()
    expected = Laplace(network()).fit(X, CLASSES).log_marginal_likelihood()
    assert found == pytest.approx(expected)


SAME = {
    "softmax inside": lambda: network(activation="softmax"),
    "softmax behind": lambda: network(tail=[keras.layers.Softmax()]),
    "activation behind": lambda: network(
        tail=[keras.layers.Activation("softmax", dtype="float32")]
    ),
    "nested": lambda: keras.Sequential([keras.Input((4,)), network()]),
}


@pytest.mark.parametrize("name", SAME)
def test_where_the_activation_stands_makes_no_difference(name):
    plain = Laplace(network()).fit(X, CLASSES)
    laplace = Laplace(SAME[name]()).fit(X, CLASSES)
    assert laplace.log_marginal_likelihood() == pytest.approx(
        plain.log_marginal_likelihood(), rel=1e-5
    )
    for predictive in ("mc", "closed_form"):
        expected = plain.predictor(predictive).predict(HELD_OUT)
        found = laplace.predictor(predictive).predict(HELD_OUT)
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)


def test_no_bias_and_inputs_as_features():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    laplace = Laplace(model, hessian="full").fit(X, CLASSES)
    kernel = model.get_weights()[0].astype(float)
    loss = loss_of("logits", X.astype(float), CLASSES)
    precision = finite_differences(loss, kernel.ravel()) + np.eye(12)
    expected = -loss(kernel.ravel()) - 0.5 * (
        np.linalg.slogdet(precision)[1] + np.square(kernel).sum()
    )
    assert laplace.log_marginal_likelihood() == pytest.approx(expected, abs=1e-3)
    assert laplace.predictor().predict(HELD_OUT).members.shape == (32, 9, 3)


def test_positions_are_examples_and_ignored_ones_are_none():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
    model.compile("sgd", loss)
    labels = CLASSES.reshape(8, 5).copy()
    labels[:, 3:] = -1
    x = X.reshape(8, 5, 4)
    laplace = Laplace(model).fit(x, labels)
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    flat.set_weights(model.get_weights())
    rows = labels.ravel() != -1
    expected = Laplace(flat).fit(X[rows], labels.ravel()[rows])
    assert laplace.log_marginal_likelihood() == pytest.approx(
        expected.log_marginal_likelihood()
    )
    found = laplace.predictor("closed_form").predict(x).mean.reshape(-1, 3)
    np.testing.assert_allclose(
        found, expected.predictor("closed_form").predict(X).mean, atol=1e-6
    )


def test_padding_counts_for_nothing():
    keras.utils.set_random_seed(0)
    masked = keras.Sequential(
        [keras.Input((5, 4)), keras.layers.Masking(), keras.layers.Dense(3)]
    )
    x = X.reshape(8, 5, 4).copy()
    x[:, 4] = 0.0
    labels = CLASSES.reshape(8, 5)
    laplace = Laplace(masked).fit(x, labels)
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    flat.set_weights(masked.get_weights())
    rows = x[:, :4].reshape(-1, 4), labels[:, :4].ravel()
    assert laplace.log_marginal_likelihood() == pytest.approx(
        Laplace(flat).fit(*rows).log_marginal_likelihood()
    )


def test_one_label_of_two_classes():
    model = network(1, "sigmoid")
    laplace = Laplace(model, hessian="full").fit(X, LABELS[:, 0])
    found = laplace.predictor("closed_form").predict(HELD_OUT).mean
    # As two classes, of which one has no weights of its own.
    features, mean = features_of(model, X), last_weights(model)
    probs = scipy.special.expit(features @ mean)
    precision = (features * probs * (1 - probs)).T @ features + np.eye(len(mean))
    new = features_of(model, HELD_OUT)
    variance = np.einsum("nf,fg,ng->n", new, np.linalg.inv(precision), new)
    expected = scipy.special.expit(
        new @ mean / np.sqrt(1 + np.pi / 8 * variance[:, None])
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        tail = [keras.layers.Activation("softmax", dtype="float32")]
        model = network(tail=tail)
    finally:
        keras.config.set_dtype_policy("float32")
    expected = Laplace(network()).fit(X, CLASSES)
    laplace = Laplace(model).fit(X, CLASSES)
    assert laplace.log_marginal_likelihood() == pytest.approx(
        expected.log_marginal_likelihood(), rel=0.01
    )
    for predictive in ("mc", "closed_form"):
        found = laplace.predictor(predictive).predict(HELD_OUT)
        other = expected.predictor(predictive).predict(HELD_OUT)
        np.testing.assert_allclose(found.mean, other.mean, atol=0.02)


def pooled():
    return keras.Sequential(
        [
            keras.Input((6, 4)),
            keras.layers.Dense(3),
            keras.layers.GlobalAveragePooling1D(name="pool"),
        ]
    )


def shared():
    dense = keras.layers.Dense(4, name="last")
    inputs = keras.Input((4,))
    return keras.Model(inputs, dense(dense(inputs)))


def bayesian(units=3):
    return keras.Sequential(
        [
            keras.Input((4,)),
            tfhyper.layers.BayesDense(units, kl_weight=0.1, name="last"),
        ]
    )


def diverged():
    model = network()
    model.set_weights([np.full_like(x, np.nan) for x in model.get_weights()])
    return model


def wide():
    return keras.Sequential([keras.Input((9000,)), keras.layers.Dense(2)])


def fitted(**options):
    return Laplace(network(), **options).fit(X, CLASSES)


# What is wrong -> (what raises, what it says).
WRONG = {
    "model": (lambda: Laplace("net"), "`model` must be a Keras model"),
    "likelihood": (lambda: Laplace(network(), "poisson"), "`likelihood`"),
    "hessian": (lambda: Laplace(network(), hessian="low"), "`hessian`"),
    "prior": (lambda: Laplace(network(), prior_precision=0.0), "`prior_precision`"),
    "priors": (lambda: Laplace(network(), prior_precision=[1.0]), "two of them"),
    "negative prior": (
        lambda: Laplace(network(), prior_precision=[1.0, -1.0]),
        "`prior_precision`",
    ),
    "temperature": (lambda: Laplace(network(), temperature=0), "`temperature`"),
    "noise": (
        lambda: Laplace(network(), noise_variance=1.0),
        "`noise_variance` is for",
    ),
    "no noise": (
        lambda: Laplace(network(2), "regression", noise_variance=0.0),
        "`noise_variance`",
    ),
    "outputs": (
        lambda: Laplace(network(), outputs="mean"),
        "`likelihood` must go with",
    ),
    "softmax of targets": (
        lambda: Laplace(network(activation="softmax"), "regression"),
        "no activation behind its last layer",
    ),
    "relu": (
        lambda: Laplace(network(activation="relu")),
        "ends in 'last' .Dense. with activation='relu'",
    ),
    "pooling": (
        lambda: Laplace(pooled()),
        "must end in a `keras.layers.Dense`.*'pool' .GlobalAveragePooling1D",
    ),
    "twice": (lambda: Laplace(shared()), "call its last layer once"),
    "density": (
        lambda: Laplace(tfhyper.PosteriorPredictor(bayesian(), 2)),
        "without a posterior of its own",
    ),
    "draws": (lambda: Laplace(bayesian()), "must be a PosteriorPredictor"),
    "variational": (
        lambda: Laplace(tfhyper.Variational(network(), 40)),
        "must not be a `Variational`",
    ),
    "large": (
        lambda: Laplace(network(1700), hessian="full"),
        '`hessian` must be "kron" or "diag".*6 x 1700 weights, 10200 rows',
    ),
    "many features": (lambda: Laplace(wide()), '`hessian` must be "diag".*9001 x 2'),
    "many features of targets": (
        lambda: Laplace(wide(), "regression", "full"),
        '`hessian` must be "diag".*9001 rows',
    ),
    "NaN in weights": (
        lambda: Laplace(diverged()).fit(X, CLASSES),
        "`model` must be f",
    ),
    "empty": (lambda: Laplace(network()).fit(X[:0], CLASSES[:0]), "at least one"),
    "no labels": (lambda: Laplace(network()).fit(X), "`y` must hold the labels"),
    "NaN": (lambda: Laplace(network()).fit(X * np.nan, CLASSES), "`x` must be finite"),
    "NaN targets": (
        lambda: Laplace(network(2), "regression").fit(X, TARGETS * np.nan),
        "`y`",
    ),
    "range": (lambda: Laplace(network()).fit(X, CLASSES + 1), "`y`"),
    "one class": (
        lambda: Laplace(network()).fit(X, 0 * CLASSES),
        "two classes or more",
    ),
    "no weight": (
        lambda: Laplace(network()).fit(X, CLASSES, sample_weight=np.zeros(40)),
        "labels that count|sample_weight",
    ),
    "weights of targets": (
        lambda: Laplace(network(2), "regression").fit(
            X, TARGETS, sample_weight=np.arange(80.0).reshape(40, 2)
        ),
        "same for all targets",
    ),
    "features": (
        lambda: Laplace(network()).fit(X[:, :3], CLASSES),
        "`x` must have the",
    ),
    "batch size": (lambda: Laplace(network()).fit(X, CLASSES, 0), "`batch_size`"),
    "not fitted": (lambda: Laplace(network()).predictor(), "`fit` must be called"),
    "no evidence": (
        lambda: Laplace(network()).log_marginal_likelihood(),
        "`fit` must be called",
    ),
    "no curvature": (
        lambda: Laplace(network()).fit_prior_precision(),
        "`fit` must be called",
    ),
    "predictive": (lambda: fitted().predictor("glm"), "`predictive`"),
    "draws of it": (lambda: fitted().predictor(num_draws=0), "`num_draws`"),
    "draws of one": (
        lambda: fitted().predictor("closed_form", num_draws=2),
        "`num_draws` is for",
    ),
    "seed": (lambda: fitted().predictor(seed=-1), "`seed`"),
    "new features": (
        lambda: fitted().predictor().predict(HELD_OUT[:, :3]),
        "`x` must have the shape",
    ),
    "method": (lambda: fitted().fit_prior_precision("grid"), "`method`"),
    "validation without data": (
        lambda: fitted().fit_prior_precision("validation"),
        "`x` must be held-out",
    ),
    "grid": (
        lambda: fitted().fit_prior_precision("validation", X, CLASSES, grid=[0.0]),
        "`grid`",
    ),
    "grid of the other method": (
        lambda: fitted().fit_prior_precision(grid=[1.0]),
        "`grid` is for",
    ),
    "noise of classes": (
        lambda: fitted().fit_prior_precision(fit_noise=True),
        "`fit_noise` is for",
    ),
    "rejection": (
        lambda: (
            fitted()
            .predictor("closed_form")
            .fit_rejection(X, coverage=0.5, score="epistemic")
        ),
        "`score`",
    ),
    "moments": (
        lambda: fitted().predictor().estimate_batch_norm(X),
        "before `Laplace` is made",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name):
    call, said = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=said):
        call()


def test_a_model_that_was_trained_since():
    model = network()
    laplace = Laplace(model).fit(X, CLASSES)
    predictor = laplace.predictor()
    model.set_weights([x + 0.1 for x in model.get_weights()])
    for call in (laplace.predictor, lambda: laplace.fit(X, CLASSES)):
        with pytest.raises(ValueError, match="was trained"):
            call()
    with pytest.raises(ValueError, match="was trained"):
        predictor.predict(HELD_OUT)


def test_a_singular_precision_is_an_error():
    keras.utils.set_random_seed(0)
    same = keras.layers.Concatenate()
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(same([inputs, inputs])))
    laplace = Laplace(model, "regression", "full", prior_precision=1e-18)
    with pytest.raises(ValueError, match="`prior_precision` must be large enough"):
        laplace.fit(1e3 * X, TARGETS[:, 0]).predictor()
