"""Regressions: means, variances and noise against NumPy and SciPy."""

import keras
import numpy as np
import pytest

from tests.helpers.layers import normal, to_numpy
from tfhyper import layers
from tfhyper.posterior import PosteriorPredictor, RegressionPrediction
from tfhyper.posterior.tasks.regression import RegressionSum

stats = pytest.importorskip("scipy.stats")


def network(heads="one"):
    """A Gaussian posterior over a small network, with a mean or mean and variance."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    options = {"initial_scale": 0.3, "activation": "tanh", "seed": 1}
    x = layers.BayesDense(8, **options)(inputs)
    mean = keras.layers.Dense(1, bias_initializer="ones", name="mean")(x)
    variance = keras.layers.Dense(1, activation="softplus", name="variance")(x)
    outputs = {
        "one": mean,
        "two": [mean, variance],
        "both": keras.layers.Concatenate()([mean, variance]),
        "dict": {"mean": mean, "variance": variance},
    }
    return keras.Model(inputs, outputs[heads])


def known(offset=0.0):
    """A network whose mean is known: 2 x_0 - x_1 + offset."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[2.0], [-1.0]]), np.array([offset])])
    return model


def known_data(size, deviation, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 2)).astype("float32")
    exact = x.astype("float64") @ [2.0, -1.0] + offset
    return x, exact, exact + deviation * rng.normal(size=size)


def members_of(predictor, x):
    """(means, variances) of the draws in float64, from their plain networks."""
    found = []
    for i in range(predictor.num_draws):
        raw = predictor.materialize(i).predict(x, verbose=0)
        raw = np.concatenate(keras.tree.flatten(raw), -1).astype("float64")
        noise = np.full(len(raw), predictor.noise_variance)
        found.append((raw[:, 0], raw[:, 1] if raw.shape[1] == 2 else noise))
    return np.array(found).transpose(1, 0, 2)


def crps(targets, mean, variance):
    """Of a normal distribution, by its closed form."""
    scale = np.sqrt(variance)
    z = (targets - mean) / scale
    wide = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z)
    return np.mean(scale * (wide - 1 / np.sqrt(np.pi)))


# The law of total variance.


@pytest.mark.parametrize("heads", ["one", "two", "both", "dict"])
def test_mean_and_variances_are_those_of_numpy(heads):
    model, x = network(heads), normal(30, 4)
    options = {"outputs": "mean_and_variance"}
    if heads == "one":
        options = {"outputs": "mean", "noise_variance": 0.25}
    predictor = PosteriorPredictor(model, num_draws=5, **options)
    prediction = predictor.predict(x, batch_size=7)
    assert isinstance(prediction, RegressionPrediction)
    means, variances = members_of(predictor, x)
    assert means.std(0).min() > 1e-3  # draws differ
    for found, expected in [
        (prediction.members, means),
        (prediction.member_variance, variances),
        (prediction.mean, means.mean(0)),
        (prediction.aleatoric, variances.mean(0)),
        (prediction.epistemic, means.var(0)),
        (prediction.variance, variances.mean(0) + means.var(0)),
        # By the mixture's second moment, too.
        (prediction.variance, (variances + means**2).mean(0) - means.mean(0) ** 2),
        (prediction.std, np.sqrt(variances.mean(0) + means.var(0))),
    ]:
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert prediction.members.dtype == np.float32
    assert prediction.mean.dtype == prediction.variance.dtype == np.float64


def test_members_need_not_be_kept():
    predictor = PosteriorPredictor(network("two"), 3, outputs="mean_and_variance")
    x = normal(10, 4)
    kept, thrown = predictor.predict(x), predictor.predict(x, keep_members=False)
    assert thrown.members is None and thrown.member_variance is None
    for name in ("mean", "variance", "aleatoric", "epistemic"):
        np.testing.assert_array_equal(getattr(thrown, name), getattr(kept, name))


def test_one_draw_has_no_epistemic_part():
    predictor = PosteriorPredictor(
        network(), deterministic=True, outputs="mean", noise_variance=0.25
    )
    prediction = predictor.predict(normal(10, 4))
    np.testing.assert_array_equal(prediction.epistemic, 0)
    np.testing.assert_array_equal(prediction.variance, 0.25)


def test_sums_do_not_cancel_at_a_large_offset():
    rng = np.random.default_rng(0)
    means = (1e6 + rng.normal(size=(50, 20))).astype("float32")
    variances = rng.uniform(0.5, 2.0, (50, 20)).astype("float32")
    total = RegressionSum(keep_members=False)
    for mean, variance in zip(means, variances, strict=True):
        total.add(mean, variance)
    prediction = total.result()
    exact = means.astype("float64")
    np.testing.assert_allclose(prediction.mean, exact.mean(0), rtol=1e-14)
    np.testing.assert_allclose(prediction.epistemic, exact.var(0), rtol=1e-10)
    aleatoric = variances.astype("float64").mean(0)
    np.testing.assert_allclose(prediction.aleatoric, aleatoric, rtol=1e-12)
    in_float32 = np.square(means).mean(0) - np.square(means.mean(0))
    assert np.abs(in_float32 - exact.var(0)).max() > 0.1  # what a plain sum gives


# Intervals.


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_intervals_are_those_of_scipy(level):
    predictor = PosteriorPredictor(network("both"), 4, outputs="mean_and_variance")
    prediction = predictor.predict(normal(20, 4))
    expected = stats.norm.interval(
        level, loc=prediction.mean, scale=np.sqrt(prediction.variance)
    )
    np.testing.assert_allclose(prediction.interval(level), expected, rtol=1e-9)


def test_intervals_are_of_ninety_percent_by_default():
    prediction = PosteriorPredictor(
        known(), 1, outputs="mean", noise_variance=4.0
    ).predict(np.zeros((3, 2), "float32"))
    low, high = prediction.interval()
    np.testing.assert_allclose((low, high), [[-3.289707] * 3, [3.289707] * 3], 1e-6)
    with pytest.raises(ValueError, match=r"`level` must be a probability in \(0, 1\)"):
        prediction.interval(1.0)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_cover_at_their_level(level):
    x, _, y = known_data(4000, 0.7)
    predictor = PosteriorPredictor(known(), 1, outputs="mean", noise_variance=0.49)
    low, high = predictor.predict(x).interval(level)
    inside = np.mean((low <= y) & (y <= high))
    # 4 standard errors of the fraction.
    assert abs(inside - level) < 4 * np.sqrt(level * (1 - level) / 4000)


# Scores.


@pytest.mark.parametrize("heads", ["one", "two"])
def test_evaluate_is_that_of_numpy(heads):
    model, x = network(heads), normal(200, 4)
    options = {"outputs": "mean_and_variance"}
    if heads == "one":
        options = {"outputs": "mean", "noise_variance": 0.5}
    predictor = PosteriorPredictor(model, num_draws=4, **options)
    y = 1 + normal(200, seed=1)
    scores = predictor.evaluate(x, y, batch_size=64)
    assert list(scores) == ["rmse", "crps", "nll", "coverage_90", "width_90"]
    means, variances = members_of(predictor, x)
    mean, variance = means.mean(0), means.var(0) + variances.mean(0)
    densities = stats.norm.pdf(y, means, np.sqrt(variances))
    low, high = stats.norm.interval(0.9, mean, np.sqrt(variance))
    expected = {
        "rmse": np.sqrt(np.mean((y - mean) ** 2)),
        "crps": crps(y, mean, variance),
        "nll": -np.mean(np.log(densities.mean(0))),
        "coverage_90": np.mean((low <= y) & (y <= high)),
        "width_90": np.mean(high - low),
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, rel=1e-5), name
    columns = predictor.evaluate(x, y[:, None])  # targets as the network gives them
    assert columns == pytest.approx(scores, rel=1e-5)


def test_datasets_bring_their_targets():
    tf = pytest.importorskip("tensorflow")
    x, _, y = known_data(50, 0.5)
    predictor = PosteriorPredictor(known(), 1, outputs="mean")
    arrays = predictor.fit_noise(x, y).noise_variance
    scores = predictor.evaluate(x, y)
    for targets in (y, y[:, None]):
        dataset = tf.data.Dataset.from_tensor_slices((x, targets)).batch(16)
        assert predictor.fit_noise(dataset).noise_variance == pytest.approx(arrays)
        assert predictor.evaluate(dataset) == pytest.approx(scores, rel=1e-6)


# The noise of the targets.


def test_noise_by_the_likelihood_is_the_mean_squared_error():
    x, exact, y = known_data(4000, 0.7)
    predictor = PosteriorPredictor(known(), 1, outputs="mean")
    assert predictor.noise_variance == 0
    assert predictor.fit_noise(x, y, score="log_likelihood") is predictor
    # Of one draw the best variance is known in closed form.
    expected = np.mean((y - exact) ** 2)
    assert predictor.noise_variance == pytest.approx(expected, rel=1e-4)
    # 4 standard errors, sqrt(2 / 4000) each.
    assert predictor.noise_variance == pytest.approx(0.49, rel=4 * np.sqrt(2 / 4000))


def test_noise_by_the_crps_is_that_of_the_data():
    x, exact, y = known_data(4000, 0.7)
    predictor = PosteriorPredictor(known(), 1, outputs="mean").fit_noise(x, y)
    found = predictor.noise_variance
    # The CRPS is somewhat less efficient than the likelihood: 5 of its errors.
    assert found == pytest.approx(0.49, rel=5 * np.sqrt(2 / 4000))
    best = crps(y, exact, found)
    assert best < min(crps(y, exact, c * found) for c in (0.9, 0.98, 1.02, 1.1))
    assert predictor.evaluate(x, y)["crps"] == pytest.approx(best, rel=1e-6)
    aleatoric = predictor.predict(x[:5]).aleatoric
    np.testing.assert_allclose(aleatoric, found, rtol=1e-6)  # used from now on


def test_noise_of_targets_with_a_large_offset():
    # Powers of two are exact in float32, as are the sums here: errors stay known.
    x, exact, y = known_data(2000, 50.0, offset=2.0**20)
    predictor = PosteriorPredictor(known(2.0**20), 1, outputs="mean")
    predictor.fit_noise(x, y, score="log_likelihood")
    expected = np.mean((y - exact) ** 2)
    assert predictor.noise_variance == pytest.approx(expected, rel=1e-3)
    assert predictor.evaluate(x, y)["rmse"] == pytest.approx(np.sqrt(expected), 1e-3)


def test_draws_that_scatter_enough_leave_the_smallest_noise():
    model = network()
    predictor = PosteriorPredictor(model, num_draws=6, outputs="mean")
    x = normal(40, 4)
    prediction = predictor.predict(x)
    y = prediction.mean + 0.01 * normal(40, seed=1)
    assert np.sqrt(prediction.epistemic).min() > 0.02
    predictor.fit_noise(x, y)
    assert predictor.noise_variance == pytest.approx(1e-4 * y.var(), rel=1e-9)
    assert np.isfinite(predictor.evaluate(x, y)["nll"])


def test_constant_targets_without_an_error_are_refused():
    predictor = PosteriorPredictor(known(3.0), 1, outputs="mean")
    with pytest.raises(ValueError, match="`y` must differ.*y=3.0 throughout"):
        predictor.fit_noise(np.zeros((5, 2), "float32"), np.full(5, 3.0))
    assert predictor.noise_variance == 0


# Files.


def test_noise_and_outputs_survive_the_file(tmp_path):
    x = normal(20, 4)
    first = PosteriorPredictor(network(), 3, outputs="mean").fit_noise(x, x[:, 0])
    second = PosteriorPredictor(network("two"), 3, outputs="mean_and_variance")
    for predictor in (first, second):
        predictor.save(tmp_path / "net.tfhyper", overwrite=True)
        loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
        assert loaded.outputs == predictor.outputs
        assert loaded.noise_variance == predictor.noise_variance
        for name in ("mean", "variance", "members", "member_variance"):
            found = getattr(loaded.predict(x), name)
            expected = getattr(predictor.predict(x), name)
            np.testing.assert_array_equal(found, expected)
    assert first.noise_variance > 0 == second.noise_variance


def test_a_materialized_draw_is_that_member():
    predictor = PosteriorPredictor(network("two"), 2, outputs="mean_and_variance")
    x = normal(6, 4)
    mean, variance = predictor.materialize(1).predict(x, verbose=0)
    prediction = predictor.predict(x)
    np.testing.assert_allclose(prediction.members[1], mean[:, 0], rtol=1e-6)
    np.testing.assert_allclose(prediction.member_variance[1], variance[:, 0], 1e-6)


# Bad input.


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_variances_not_above_zero_are_refused(value):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.set_weights([np.zeros((2, 2)), np.array([1.0, value])])
    predictor = PosteriorPredictor(model, 1, outputs="mean_and_variance")
    with pytest.raises(ValueError, match=f"variance .* must be above 0.*of {value}"):
        predictor.predict(np.ones((3, 2), "float32"))


def test_scores_need_a_noise_variance():
    predictor = PosteriorPredictor(known(), 1, outputs="mean")
    x, _, y = known_data(10, 1.0)
    message = "needs a noise variance above 0: call `fit_noise`.*noise_variance=0.0"
    with pytest.raises(ValueError, match=message):
        predictor.evaluate(x, y)
    np.testing.assert_array_equal(predictor.predict(x).variance, 0)


@pytest.mark.parametrize(
    "heads, outputs, rule",
    [
        ("two", "mean", r"one output \(batch, ..., targets\)"),
        ("one", "mean_and_variance", r"one output \(batch, ..., 2 targets\) or two"),
    ],
)
def test_models_with_other_outputs_are_refused(heads, outputs, rule):
    with pytest.raises(ValueError, match=f"`model` must have {rule}.*shapes"):
        PosteriorPredictor(network(heads), outputs=outputs)


def test_noise_is_one_or_one_for_each_target():
    rng = np.random.default_rng(0)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
    x = rng.normal(size=(400, 3)).astype("float32")
    noise = rng.normal(size=(400, 2)) * [0.5, 2.0]
    y = model.predict(x, verbose=0) + noise
    # Of one draw the most likely variance is the mean square.
    squares = np.square(noise)
    for per_target, expected in [(False, squares.mean()), (True, squares.mean(0))]:
        predictor = PosteriorPredictor(model, outputs="mean")
        predictor.fit_noise(x, y, score="log_likelihood", per_target=per_target)
        noise = np.broadcast_to(predictor.noise_variance, 2)
        np.testing.assert_allclose(noise, expected, rtol=1e-3)
        variance = predictor.predict(x[:5]).variance
        np.testing.assert_allclose(variance, np.tile(noise, (5, 1)), rtol=1e-6)
        again = PosteriorPredictor(model, **predictor.settings)
        assert again.noise_variance == predictor.noise_variance
    with pytest.raises(ValueError, match="one for each of 2 targets"):
        PosteriorPredictor(model, outputs="mean", noise_variance=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`y` must have the shape \('examples', 2\)"):
        predictor.evaluate(x, y[:, 0])


def test_a_link_is_for_classifiers():
    with pytest.raises(ValueError, match="`link` is for classifiers.*softplus"):
        PosteriorPredictor(known(), outputs="mean", link="normalized_softplus")


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "much", None])
def test_bad_noise_variances_are_refused(value):
    with pytest.raises(ValueError, match="`noise_variance` must be a finite number >="):
        PosteriorPredictor(known(), outputs="mean", noise_variance=value)


@pytest.mark.parametrize("outputs", ["mean_and_variance", "logits", None])
def test_noise_is_for_networks_that_give_a_mean(outputs):
    message = '`noise_variance` is for `outputs="mean"`.*noise_variance=0.5'
    with pytest.raises(ValueError, match=message):
        PosteriorPredictor(network("both"), outputs=outputs, noise_variance=0.5)
    predictor = PosteriorPredictor(network("both"), 2, outputs=outputs)
    message = '`fit_noise` needs a predictor with `outputs="mean"`.*outputs='
    with pytest.raises(ValueError, match=message):
        predictor.fit_noise(normal(5, 4), np.zeros(5))


class Batches:
    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_bad_targets_are_refused():
    predictor = PosteriorPredictor(known(), 1, outputs="mean", noise_variance=1.0)
    x, _, y = known_data(6, 1.0)
    nan = np.where(np.arange(6) == 4, np.nan, y)
    for call in (predictor.evaluate, predictor.fit_noise):
        for bad in (nan, nan[:, None], np.where(nan == nan, nan, np.inf)):
            with pytest.raises(ValueError, match="`y` must be finite.*1 NaN or inf"):
                call(x, bad)
        with pytest.raises(ValueError, match="`y` must be finite"):
            call(Batches((x[:3], nan[:3]), (x[3:], nan[3:])))
        with pytest.raises(ValueError, match="same length.*6, y of length 5"):
            call(x, y[:5])
        with pytest.raises(ValueError, match=r"`y` must have the shape.*\(6, 2\)"):
            call(x, np.stack([y, y], 1))
        with pytest.raises(TypeError, match="`y` must hold real numbers"):
            call(x, ["high"] * 6)
        with pytest.raises(ValueError, match="`y` must hold the labels where"):
            call(x)
        with pytest.raises(ValueError, match="`x` is a dataset"):
            call(Batches((x, y)), y)
        with pytest.raises(ValueError, match="6.*5|5.*6"):  # in the dataset itself
            call(Batches((x, y[:5])))
    assert predictor.noise_variance == 1.0


def test_bad_targets_are_refused_before_the_draws_predict(monkeypatch):
    predictor = PosteriorPredictor(known(), 1, outputs="mean", noise_variance=1.0)
    monkeypatch.setattr(predictor, "_predict", None)
    with pytest.raises(ValueError, match="`y` must be finite"):
        predictor.evaluate(np.zeros((3, 2)), np.full(3, np.nan))


def test_unknown_scores_are_refused():
    x, _, y = known_data(6, 1.0)
    with pytest.raises(ValueError, match="`score` must be one of.*'rmse'"):
        PosteriorPredictor(known(), 1, outputs="mean").fit_noise(x, y, score="rmse")


def test_a_diverged_network_is_an_error():
    model = known()
    model.set_weights([np.full((2, 1), np.nan), np.zeros(1)])
    predictor = PosteriorPredictor(model, outputs="mean")
    with pytest.raises(ValueError, match="output is not finite.*diverged"):
        predictor.predict(np.ones((3, 2), "float32"))


def test_batch_norm_by_mini_batches_and_fitted_noise(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    x, _, y = known_data(64, 0.5)
    predictor = PosteriorPredictor(
        model, 4, outputs="mean", batch_norm="minibatch", batch_size=8
    ).calibrate(x, verbose=0)
    predictor.fit_noise(x, y)
    prediction = predictor.predict(x)
    assert prediction.epistemic.min() > 0 < predictor.noise_variance
    means, _ = members_of(predictor, x)
    np.testing.assert_allclose(prediction.epistemic, means.var(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(to_numpy(prediction.members), means, atol=1e-5)
