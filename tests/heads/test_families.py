"""Families of distributions in tensors, against SciPy and TensorFlow Probability."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import integrate, stats

from tests.helpers.heads import (
    FAMILIES,
    NUMBERS,
    REAL,
    parameters_of,
    raw_of,
    scipy_cdf,
    scipy_of,
    targets_of,
    values_of,
)
from tests.helpers.layers import BACKEND, gradients, to_numpy
from tfhyper import heads


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x, "float32"))


@pytest.mark.parametrize("name", NUMBERS)
def test_densities_and_moments_are_scipys(name):
    found, family = values_of(name), FAMILIES[name]
    weights, frozen = scipy_of(name, found["parameters"])
    y = targets_of(family, 7).astype("float64")
    logs = (frozen.logpmf if hasattr(frozen.dist, "pmf") else frozen.logpdf)(y)
    logs = np.log(weights[..., 0]) + logs.sum(axis=-1)
    logs = np.logaddexp.reduce(logs.reshape(-1, 7), axis=0)
    np.testing.assert_allclose(found["log_prob"], logs, rtol=2e-5, atol=2e-5)
    mean = np.sum(weights * frozen.mean(), axis=0).reshape(7, 2)
    square = frozen.var() + (frozen.mean() - mean) ** 2
    np.testing.assert_allclose(found["mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found["variance"], np.sum(weights * square, axis=0).reshape(7, 2), rtol=1e-5
    )


def test_classes_have_log_softmax():
    found, family = values_of("categorical"), FAMILIES["categorical"]
    raw, labels = raw_of(family, 7).astype("float64"), targets_of(family, 7)[:, 0]
    expected = raw - np.logaddexp.reduce(raw, axis=-1, keepdims=True)
    np.testing.assert_allclose(found["parameters"], expected, atol=1e-5)
    np.testing.assert_allclose(found["mean"], np.exp(expected), atol=1e-6)
    chosen = expected[np.arange(7), labels.astype(int)]
    np.testing.assert_allclose(found["log_prob"], chosen, atol=1e-5)
    # Without the axis of one target, and ignored where there is no such class.
    again = family.log_prob(tensor([*labels[:6], -1]), tensor(expected))
    np.testing.assert_allclose(to_numpy(again), [*chosen[:6], 0], atol=1e-5)


@pytest.mark.parametrize("name", NUMBERS)
def test_crps_is_the_integral_of_squared_differences(name):
    found, family = values_of(name), FAMILIES[name]
    y = targets_of(family, 7).astype("float64")
    cdf = scipy_cdf(name, found["parameters"])
    if isinstance(family, heads.CountFamily):
        k = np.arange(5000)[:, None, None]
        cdf_at = np.stack([cdf(x).reshape(7, 2) for x in range(5000)])
        expected = np.sum(np.square(cdf_at - (k >= y)), axis=(0, 2))
    else:
        # x = y -+ sinh(u)
        def tail(u, side):
            x = y + side * np.sinh(u)
            beyond = cdf(x).reshape(7, 2) if side < 0 else 1 - cdf(x).reshape(7, 2)
            return np.square(beyond) * np.cosh(u)

        expected = sum(
            integrate.quad_vec(lambda u, s=s: tail(u, s), 0, 14, epsabs=1e-8)[0]
            for s in (-1, 1)
        ).sum(axis=-1)
    np.testing.assert_allclose(found["crps"], expected, rtol=1e-4, atol=1e-5)


def test_densities_of_tensorflow_probability():
    if BACKEND != "tensorflow":
        pytest.skip("TensorFlow Probability needs TensorFlow")
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    y = targets_of(FAMILIES["normal"], 7)
    counts = targets_of(FAMILIES["poisson"], 7)

    def check(name, y, make):
        parameters = values_of(name)["parameters"]
        expected = tfd.Independent(
            make(*tf.split(parameters, len(FAMILIES[name].layout), -1)), 1
        )
        found = FAMILIES[name].log_prob(tensor(y), tensor(parameters))
        np.testing.assert_allclose(found, expected.log_prob(y), rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(
            FAMILIES[name].variance(tensor(parameters)), expected.variance(), rtol=1e-4
        )

    check("normal", y, tfd.Normal)
    check("laplace", y, tfd.Laplace)
    check("student_t", y, lambda loc, scale, df: tfd.StudentT(df, loc, scale))
    check("poisson", counts, tfd.Poisson)
    check(
        "negative_binomial",
        counts,
        lambda mean, total: tfd.NegativeBinomial(
            total, logits=tf.math.log(mean / total)
        ),
    )
    parameters = values_of("mixture")["parameters"]
    loc, scale = (tf.reshape(parameters[:, i : i + 6], (7, 3, 2)) for i in (3, 9))
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=parameters[:, :3]),
        tfd.Independent(tfd.Normal(loc, scale), 1),
    )
    found = FAMILIES["mixture"].log_prob(tensor(y), tensor(parameters))
    np.testing.assert_allclose(found, mixture.log_prob(y), rtol=2e-5, atol=2e-5)


def test_densities_keep_their_digits_far_out():
    # Errors in nats, where gamma functions in float32 would be off by more than one.
    large = np.float32(1e6)
    counts = (large + np.array([-2000, 0, 3000])).astype("float32")[:, None]
    cases = [
        (heads.Poisson(), counts, [large], stats.poisson(1e6).logpmf),
        (
            heads.NegativeBinomial(),
            counts,
            [large, 1e7],
            stats.nbinom(1e7, 1e7 / 1.1e7).logpmf,
        ),
        (
            heads.NegativeBinomial(),
            [[0], [1], [2e5]],
            [3.0, 0.01],
            stats.nbinom(0.01, 0.01 / 3.01).logpmf,
        ),
        (heads.StudentT(), [[0.0], [3.0], [1e3]], [0.0, 1.0, 1e6], stats.t(1e6).logpdf),
        (heads.StudentT(), [[0.0], [3.0], [1e6]], [0.0, 1.0, 2.5], stats.t(2.5).logpdf),
    ]
    for family, y, parameters, log_prob in cases:
        found = family.log_prob(tensor(y), tensor([parameters] * 3))
        expected = log_prob(np.asarray(y, np.float64))[:, 0]
        np.testing.assert_allclose(
            to_numpy(found), expected, rtol=1e-5, atol=1e-3, err_msg=repr(family)
        )


@pytest.mark.parametrize("name", ["student_t", "negative_binomial"])
def test_gradients_of_gamma_functions_are_those_of_scipy(name):
    family, y = FAMILIES[name], targets_of(FAMILIES[name], 7)
    values = parameters_of(family, 7)
    variable = keras.Variable(values)
    (found,) = gradients(
        lambda: ops.sum(family.log_prob(tensor(y), variable.value)), [variable]
    )
    expected = np.zeros(values.shape)
    for i in range(family.units):
        step = np.zeros(values.shape)
        step[:, i] = 1e-4 * np.abs(values[:, i])
        ends = []
        for moved in (values + step, values - step):
            _, frozen = scipy_of(name, moved)
            logs = frozen.logpdf(y) if name == "student_t" else frozen.logpmf(y)
            ends.append(logs.sum(axis=-1))
        expected[:, i] = (ends[0] - ends[1]) / (2 * step[:, i])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", REAL)
def test_samples_are_of_the_distribution(name):
    family = FAMILIES[name]
    parameters = parameters_of(family, 2)
    found = to_numpy(family.sample(tensor(parameters), 4000, seed=3))
    assert found.shape == (4000, 2, 2)
    cdf = scipy_cdf(name, parameters)
    # Probability integral transforms are uniform.
    uniform = np.stack([cdf(x.astype("float64")).reshape(2, 2) for x in found])
    for i in range(4):
        assert stats.kstest(uniform.reshape(-1, 4)[:, i], "uniform").pvalue > 1e-4
    # Targets are independent given a component, and the score by samples is unbiased.
    y = targets_of(family, 2)
    score = family.sample_crps(tensor(y), tensor(parameters), 4000, seed=4)
    exact = to_numpy(family.crps(tensor(y), tensor(parameters)))
    np.testing.assert_allclose(to_numpy(score), exact, rtol=0.1)


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_and_gradients_are_finite_whatever_the_network_gives(name):
    family = FAMILIES[name]
    ends = np.array([-1e6, -100, 0, 30, 1e6], "float32")
    grid = np.stack(np.meshgrid(ends, ends, ends), -1).reshape(125, 3)
    # Every three neighbours of a family's parameters, at all ends.
    raw = grid[:, np.arange(family.units) % 3]
    variable = keras.Variable(raw)
    top = 3 if name == "categorical" else 1e5
    y = np.resize([0, 3, top], (125, family.targets)).astype("float32")
    losses = [heads.NegativeLogLikelihood(family, reduction="sum")]
    if name in NUMBERS:
        losses.append(heads.CRPS(family, reduction="sum"))
    if isinstance(family, heads.LocationScale):
        losses.append(heads.BetaNLL(family, reduction="sum"))
    if name in REAL:
        losses.append(heads.CRPS(family, num_samples=3, seed=0, reduction="sum"))
    for loss in losses:
        # A count of -1 may stand where a mask does.
        assert np.isfinite(float(loss(-y, family.link(variable.value))))
        (found,) = gradients(lambda: loss(y, family.link(variable.value)), [variable])
        assert np.isfinite(found).all(), loss.name


def test_bad_arguments_are_named():
    for family, name in (
        (heads.Normal, "min_scale"),
        (heads.Laplace, "min_scale"),
        (heads.StudentT, "min_scale"),
        (heads.Poisson, "min_mean"),
        (heads.NegativeBinomial, "min_mean"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be.*Received: {name}=0"):
            family(**{name: 0})
        with pytest.raises(ValueError, match="`targets` must be.*targets=0"):
            family(targets=0)
        link = name.replace("min_", "") + "_link"
        with pytest.raises(ValueError, match=f"`{link}` must be one of.*='relu'"):
            family(**{link: "relu"})
    with pytest.raises(ValueError, match="`components` must be.*components=0"):
        heads.NormalMixture(0)
    with pytest.raises(ValueError, match="`classes` must be.*classes=1"):
        heads.Categorical(1)


def test_parameters_and_targets_out_of_range_are_named():
    with pytest.raises(ValueError, match="`parameters`.*scale above 0.*of 0.0"):
        heads.Normal().check_parameters([[1.0, 0.0]])
    with pytest.raises(ValueError, match="`parameters`.*df above 0.*of -1"):
        heads.StudentT().check_parameters([[1.0, 1.0, -1.0]])
    with pytest.raises(ValueError, match="`parameters`.*log_probs.*sum to one.*2.0"):
        heads.Categorical(2).check_parameters([[0.0, 0.0]])
    with pytest.raises(ValueError, match="4 numbers on the last axis.*2 of loc.*3"):
        heads.Normal(2).check_parameters(np.ones((5, 3)))
    with pytest.raises(ValueError, match="`parameters` must be finite.*1 NaN"):
        heads.Normal().check_parameters([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="`targets` must be counts.*value -1"):
        heads.Poisson().check_targets([3, -1])
    with pytest.raises(ValueError, match="`targets` must be counts.*value 0.5"):
        heads.NegativeBinomial(2).check_targets([[0.5, 1]])
    with pytest.raises(ValueError, match="`targets` must be class indices.*value 4"):
        heads.Categorical(4).check_targets([0, 4])
    with pytest.raises(ValueError, match=r"`targets`.*\(\.\.\., 2\).*\(3,\)"):
        heads.Normal(2).check_targets([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`targets`.*\(5, 1\).*\(4,\)"):
        heads.Normal().check_targets(np.zeros(4), (5,))
    assert heads.Normal().check_targets(np.zeros((5, 1)), (5, 1)).shape == (5, 1, 1)
    assert heads.Normal().check_targets(np.zeros((5, 3))).shape == (5, 3, 1)


def test_families_compare_by_their_arguments():
    assert heads.Normal(2) == heads.Normal(2, min_scale=1e-3)
    assert heads.Normal(2) != heads.Laplace(2)
    assert len({heads.Poisson(), heads.Poisson(), heads.Poisson(2)}) == 2
    assert repr(heads.Categorical(3)) == "Categorical(classes=3)"
    for family in FAMILIES.values():
        config = keras.saving.serialize_keras_object(family)
        assert keras.saving.deserialize_keras_object(config) == family
