"""What a predictor gives: draws that are networks, their mean, its arguments."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.predictors import (
    IMAGE,
    calibrated,
    gaussian_network,
    hyper_resnet,
    images,
    next_code,
    numpy,
    randomise,
    small_network,
    softmax,
)
from tfhyper import kits, layers, metrics, models
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.posterior import PointNetwork, PosteriorPredictor
from tfhyper.posterior.running import weight_cache

# One draw is the network itself.


@pytest.mark.parametrize("sharing", sorted(kits.SHARING))
def test_one_draw_is_the_model_with_that_code(sharing):
    model, x = hyper_resnet(sharing), images()
    codes = {x.name: x for x in model.layers if isinstance(x, layers.LatentCode)}
    assert len(codes) == {"all_in_one": 1, "block_wise": 3, "layer_wise": 8}[sharing]
    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    assert set(predictor.draws[0].noise) == set(codes)
    for _ in range(2):  # two codes after one another
        predictor.draws[0].noise = {n: next_code(c) for n, c in codes.items()}
        members = predictor.predict(x).members
        expected = softmax(model(x, training=False))
        np.testing.assert_allclose(members[0], expected, atol=1e-5)
    # Far more than the tolerance lies between the images.
    assert np.ptp(expected, axis=0).max() > 1e-4


def test_one_draw_is_the_sequential_model_with_its_own_code():
    model, x = small_network(), images()
    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    hyper = model.layers[0]
    predictor.draws[0].noise = {hyper.name: next_code(hyper.latent_code)}
    members = predictor.predict(x).members
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)
    other = softmax(model(x, training=False))  # the next code
    assert np.abs(other - expected).max() > 1e-3


def test_a_deterministic_network_gives_the_model_itself():
    keras.utils.set_random_seed(0)
    model = randomise(
        models.wide_resnet(10, 1, num_classes=3, input_shape=IMAGE, kit="deterministic")
    )
    x = images()
    with pytest.raises(ValueError, match="draw nothing.*num_draws=4"):
        PosteriorPredictor(model, num_draws=4)
    predictor = PosteriorPredictor(model, batch_norm="moving_average")
    assert predictor.num_draws == len(predictor.draws) == 1
    prediction = predictor.predict(x)
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(prediction.mean, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, 0, atol=1e-12)
    np.testing.assert_allclose(prediction.variance.epistemic, 0, atol=1e-12)
    assert prediction.aleatoric.max() > 1e-2


# What an ensemble is.


def test_members_differ_and_the_mean_is_theirs():
    prediction = calibrated(hyper_resnet(), num_draws=4).predict(images())
    members = prediction.members
    assert members.shape == (4, 10, 3) and members.dtype == np.float32
    for i in range(4):
        for j in range(i):
            assert np.abs(members[i] - members[j]).max() > 1e-3
    assert prediction.mean.dtype == np.float32
    np.testing.assert_allclose(prediction.mean, members.mean(0, "float64"), rtol=1e-6)
    np.testing.assert_allclose(members.sum(-1), 1, rtol=1e-5)


def test_a_draw_is_one_network_whatever_the_batches():
    predictor, x = calibrated(hyper_resnet()), images(70)
    whole = predictor.predict(x, batch_size=64).members
    np.testing.assert_array_equal(predictor.predict(x, batch_size=64).members, whole)
    for batch_size in (3, 1, 500):
        other = predictor.predict(x[:10], batch_size=batch_size).members
        np.testing.assert_allclose(other, whole[:, :10], atol=1e-6)
    backwards = predictor.predict(x[::-1]).members[:, ::-1]
    np.testing.assert_allclose(backwards, whole, atol=1e-6)


def test_the_seed_fixes_the_predictions():
    model, x = hyper_resnet("block_wise"), images()
    first = calibrated(model, seed=11).predict(x).members
    model(x, training=False)  # the model's own stream goes on; draws do not care
    np.testing.assert_array_equal(calibrated(model, seed=11).predict(x).members, first)
    other = calibrated(model, seed=12).predict(x).members
    for one in first:
        for two in other:
            assert np.abs(one - two).max() > 1e-3


def test_more_draws_begin_with_the_same():
    model, x = small_network(), images()
    few = calibrated(model, num_draws=2).predict(x).members
    many = calibrated(model, num_draws=4).predict(x).members
    # Kernels of more draws come out of one product, in which sums may round otherwise.
    np.testing.assert_allclose(many[:2], few, atol=1e-6)


def test_draws_that_are_put_in_place_are_all_averaged_over():
    predictor, x = calibrated(num_draws=2), images(6)
    more = calibrated(predictor.model, num_draws=3)
    predictor.draws = more.draws
    expected = more.predict(x)
    assert predictor.num_networks == 3
    np.testing.assert_array_equal(predictor.predict(x).members, expected.members)
    average = predictor.materialize_average().predict(x, verbose=0)
    np.testing.assert_allclose(average, expected.mean, atol=1e-6)


def test_uncertainty_is_that_of_the_metrics():
    predictor, x = calibrated(hyper_resnet(), num_draws=4), images()
    kept = predictor.predict(x)
    members = kept.members
    options = {"rtol": 1e-7, "atol": 1e-9}
    np.testing.assert_allclose(
        kept.total, metrics.predictive_entropy(members), **options
    )
    np.testing.assert_allclose(
        kept.aleatoric, metrics.expected_entropy(members), **options
    )
    np.testing.assert_allclose(
        kept.epistemic, metrics.mutual_information(members), **options
    )
    for found, expected in zip(
        kept.variance, metrics.variance_decomposition(members), strict=True
    ):
        np.testing.assert_allclose(found, expected, **options)
        assert found.shape == (10, 3) and found.min() >= 0
    np.testing.assert_allclose(kept.total, kept.aleatoric + kept.epistemic, atol=1e-12)
    assert kept.epistemic.min() > 1e-5 and kept.aleatoric.min() > 0

    thrown = predictor.predict(x, keep_members=False)
    assert thrown.members is None
    for field in ("mean", "total", "aleatoric", "epistemic"):
        np.testing.assert_array_equal(getattr(thrown, field), getattr(kept, field))
    np.testing.assert_array_equal(thrown.variance, kept.variance)


def test_covariances_are_those_of_the_metrics():
    predictor, x = calibrated(), images()
    prediction = predictor.predict(x)
    parts = prediction.covariance()
    expected = metrics.covariance_decomposition(prediction.members)
    np.testing.assert_array_equal(parts, expected)
    for found, variance in zip(parts, prediction.variance, strict=True):
        diagonals = np.diagonal(found, axis1=1, axis2=2)
        np.testing.assert_allclose(diagonals, variance, atol=1e-12)
    thrown = predictor.predict(x, keep_members=False)
    with pytest.raises(ValueError, match="`covariance` needs .*keep_members=True"):
        thrown.covariance()


def test_evaluate_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    predictor, x = calibrated(), images(40)
    labels = np.random.default_rng(1).integers(0, 3, 40)
    mean = predictor.predict(x).mean
    scores = predictor.evaluate(x, labels, batch_size=7)
    assert list(scores) == ["error", "nll", "brier", "ece"]
    accuracy = sklearn.accuracy_score(labels, mean.argmax(-1))
    assert scores["error"] == pytest.approx(1 - accuracy) and 0 < accuracy < 1
    wide = mean.astype(np.float64)
    wide /= wide.sum(-1, keepdims=True)
    loss = sklearn.log_loss(labels, wide, labels=[0, 1, 2])
    assert scores["nll"] == pytest.approx(loss, rel=1e-5)
    squares = np.square(np.eye(3)[labels] - mean).sum(-1).mean()
    assert scores["brier"] == pytest.approx(squares, rel=1e-6)
    assert scores["ece"] == pytest.approx(
        metrics.expected_calibration_error(labels, mean)
    )


def test_kernels_are_generated_in_one_product_and_kept(monkeypatch):
    products = []  # the number of codes of each

    def counted(layer, features, training=False):
        products.append(features.shape[0])
        return ops.matmul(features, layer.generator_output)

    model, x = hyper_resnet(), images(60)
    monkeypatch.setattr(GeneratedKernel, "output_product", counted)
    predictor = PosteriorPredictor(model, num_draws=3)
    assert products == []
    predictor.calibrate(x, batch_size=4, verbose=0)  # 15 batches
    generated = sum(isinstance(layer, GeneratedKernel) for layer in model.layers)
    assert generated == 8 and products == [1] * 3 * generated
    products.clear()
    first = predictor.predict(x, batch_size=16).members
    assert products == [3] * generated
    np.testing.assert_array_equal(predictor.predict(x, batch_size=16).members, first)
    assert products == [3] * generated
    # Other moments, or another draw, and all is made anew.
    predictor.calibrate(x[:30], verbose=0)
    products.clear()
    assert np.abs(predictor.predict(x).members - first).max() > 1e-4
    assert products == [3] * generated
    other = PosteriorPredictor(model, num_draws=1, seed=9)
    other.calibrate(x, verbose=0)
    predictor.draws[1] = other.draws[0]
    found = predictor.predict(x).members[1]
    np.testing.assert_allclose(found, other.predict(x).members[0], atol=1e-6)


def test_kernels_above_the_limit_are_made_anew(monkeypatch):
    model, x = hyper_resnet(), images(20)
    predictor = PosteriorPredictor(model, num_draws=5)
    expected = predictor.calibrate(x, verbose=0).predict(x).members
    size = predictor.source.point.drawn_bytes
    monkeypatch.setattr(weight_cache, "KEPT_BYTES", 4 * size)
    monkeypatch.setattr(weight_cache, "_MADE_BYTES", 2 * size)
    predictor.source.weights.forget()
    made, values_of_draws = [], weight_cache.values_of_draws

    def counted(point, draws):
        made.append(len(draws))
        return values_of_draws(point, draws)

    monkeypatch.setattr(weight_cache, "values_of_draws", counted)
    for _ in range(2):
        found = predictor.predict(x).members
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert made == [2, 2, 1] * 2


# How logits become probabilities.


def test_normalized_softplus_as_the_link():
    model, x = small_network(), images()
    predictor = calibrated(model, link="normalized_softplus")
    prediction = predictor.predict(x)
    assert prediction.members.dtype == np.float32
    for i, member in enumerate(prediction.members):
        softplus = np.log1p(np.exp(predictor.materialize(i).predict(x, verbose=0)))
        expected = softplus / softplus.sum(-1, keepdims=True)
        np.testing.assert_allclose(member, expected, atol=1e-6)
    soft = calibrated(model).predict(x).members
    assert np.abs(soft - prediction.members).max() > 1e-2


def test_unknown_links_and_links_of_probabilities_are_refused():
    with pytest.raises(ValueError, match="`link` must be one of.*link='probit'"):
        PosteriorPredictor(small_network(), link="probit")
    for options in ({"outputs": "probabilities"}, {}):
        head = [keras.layers.Dense(3, activation=None if options else "softmax")]
        with pytest.raises(ValueError, match='`link` must be "softmax" where'):
            PosteriorPredictor(
                small_network(head), link="normalized_softplus", **options
            )


# The posterior's mean.


def test_the_deterministic_prediction_is_that_of_the_mean_kernels():
    model = gaussian_network()
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    predictor = PosteriorPredictor(model, deterministic=True)
    assert predictor.num_draws == len(predictor.draws) == 1
    predictor.calibrate(x, batch_size=30, verbose=0)

    def dense(layer, x):
        return x @ numpy(layer.kernel_posterior.mean) + numpy(layer.bias)

    hidden = dense(model.get_layer("one"), x)
    gamma, beta = (numpy(w) for w in model.get_layer("norm").trainable_weights)
    scale = gamma / np.sqrt(hidden.var(0) + 1e-3)
    hidden = np.maximum((hidden - hidden.mean(0)) * scale + beta, 0)
    expected = softmax(dense(model.get_layer("two"), hidden))
    prediction = predictor.predict(x)
    np.testing.assert_allclose(prediction.members, expected[None], atol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, 0, atol=1e-12)
    drawn = calibrated(model, x, num_draws=1).predict(x).members
    assert np.abs(drawn - expected).max() > 0.05


def test_the_deterministic_prediction_of_a_plain_network_is_its_own():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    found = PosteriorPredictor(model, deterministic=True, num_draws=1).predict(x).mean
    np.testing.assert_allclose(found, softmax(model(x)), atol=1e-6)


@pytest.mark.parametrize("num_draws", [2, 16])
def test_there_is_one_mean(num_draws):
    with pytest.raises(ValueError, match="`num_draws` must be 1, or left out"):
        PosteriorPredictor(gaussian_network(), deterministic=True, num_draws=num_draws)


def test_generated_kernels_have_no_known_mean():
    message = "layer '{}' .*{}.*, whose mean kernel has no closed form"
    for model in (small_network(), hyper_resnet()):
        name = next(iter(PosteriorPredictor(model, num_draws=1).draws[0].noise))
        kind = type(model.get_layer(name)).__name__
        with pytest.raises(ValueError, match=message.format(name, kind)):
            PosteriorPredictor(model, deterministic=True)


# Arguments.


def test_sixteen_draws_by_default():
    predictor = PosteriorPredictor(small_network())
    assert predictor.num_draws == len(predictor.draws) == 16


@pytest.mark.parametrize("num_draws", [0, -1, 2.5, True, "3"])
def test_the_number_of_draws_is_a_positive_integer(num_draws):
    with pytest.raises(ValueError, match="`num_draws` must be a positive integer"):
        PosteriorPredictor(small_network(), num_draws=num_draws)


@pytest.mark.parametrize("name", ["averaging", "batch_norm", "outputs"])
def test_unknown_choices_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be one of .*'nonsense'"):
        PosteriorPredictor(small_network(), **{name: "nonsense"})


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        PosteriorPredictor(small_network(), seed=seed)


@pytest.mark.parametrize("batch_size", [0, -3, 2.0, True])
def test_bad_batch_sizes_are_refused(batch_size):
    predictor = calibrated()
    for method in (predictor.calibrate, predictor.predict, predictor.evaluate):
        with pytest.raises(ValueError, match="`batch_size` must be a positive"):
            method(images(), batch_size=batch_size)


def test_calibration_must_come_first():
    predictor = PosteriorPredictor(small_network(), num_draws=2)
    for use in (
        lambda: predictor.predict(images()),
        lambda: predictor.evaluate(images(), np.zeros(10, int)),
        lambda: predictor.materialize(0),
    ):
        with pytest.raises(
            ValueError, match=r"Call `estimate_batch_norm\(training inputs\)`"
        ):
            use()
    predictor.calibrate(images(), verbose=0)
    assert np.isfinite(predictor.predict(images()).mean).all()


def test_moving_averages_need_no_calibration():
    predictor = PosteriorPredictor(small_network(), batch_norm="moving_average")
    with pytest.raises(ValueError, match="nothing to estimate"):
        predictor.calibrate(images(), verbose=0)


def test_progress_is_shown_when_asked(capfd):
    predictor = PosteriorPredictor(small_network(), num_draws=2)
    predictor.calibrate(images(), verbose=0).predict(images())
    assert capfd.readouterr().out == ""
    predictor.calibrate(images())
    assert "estimate_batch_norm: 2 draws" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["frozen_norms", "sample_dropout"])
@pytest.mark.parametrize("value", [1, "yes", None, np.ones(2)])
def test_switches_of_a_point_network_are_bools(name, value):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be"):
        PointNetwork(small_network(), **{name: value})


def test_a_fresh_seed_is_kept():
    model = small_network()
    first, second = (PosteriorPredictor(model, 2, seed=None) for _ in range(2))
    assert isinstance(first.seed, int) and first.seed != second.seed


@pytest.mark.parametrize("print_fn", [None, "print", 3])
def test_a_summary_is_printed_by_a_function(print_fn):
    predictor = PosteriorPredictor(small_network(), 2)
    with pytest.raises(TypeError, match="`print_fn` must be"):
        predictor.summary(print_fn)
