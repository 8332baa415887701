"""Variational dropout: the log-uniform prior, against integrals by SciPy."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor, kits
from tfhyper.layers import (
    BayesConv2D,
    BayesDense,
    GaussianPosterior,
    RandomVariables,
    variational_layers,
)
from tfhyper.layers.priors import log_uniform_kl


def divergence(mean, scale):
    """Equation 14 of Molchanov et al., in NumPy."""
    log_alpha = 2 * np.log(scale) - np.log(np.square(mean))
    log_alpha = np.clip(log_alpha, -20, 8)
    negative = 0.63576 / (1 + np.exp(-1.87320 - 1.48695 * log_alpha))
    negative += -0.5 * np.log1p(np.exp(-log_alpha)) - 0.63576
    return -negative


def exact(alpha):
    """KL by its integral: E log |x| of x ~ N(1, alpha), less that of no mean.

    KL(N(m, s^2) || 1 / |w|) = E log |w| - log s + constant, which is 0 for m = 0.
    """
    from scipy import integrate, stats

    normal = stats.norm(1, np.sqrt(alpha))
    ends = normal.ppf(1e-13), normal.ppf(1 - 1e-13)
    parts = [ends[0], *(x for x in (0.0, 1.0) if ends[0] < x < ends[1]), ends[1]]
    total = sum(
        integrate.quad(lambda x: np.log(abs(x)) * normal.pdf(x), a, b, limit=400)[0]
        for a, b in zip(parts, parts[1:], strict=False)
    )
    return total - 0.5 * np.log(alpha) + 0.5 * (np.euler_gamma + np.log(2))


def test_kl_is_the_integral_to_the_accuracy_of_the_paper():
    pytest.importorskip("scipy")
    log_alphas = np.arange(-8.0, 8.1, 1.0)
    for log_alpha in log_alphas:
        scale = np.float32([np.exp(log_alpha / 2) * 0.3])
        found = float(log_uniform_kl(np.float32([-0.3]), scale))
        assert found == pytest.approx(exact(np.exp(log_alpha)), abs=0.01)


def test_kl_is_equation_14_and_is_clipped():
    mean = np.float32([[0.5, -2.0, 1e-9, 0.0], [0.1, 3.0, -0.2, 1.0]])
    scale = np.float32([[0.1, 1e-7, 0.3, 0.1], [0.7, 0.2, 5.0, 1.0]])
    with np.errstate(divide="ignore"):
        expected = divergence(mean.astype("float64"), scale.astype("float64"))
    assert np.isfinite(expected).all()
    found = float(log_uniform_kl(mean, scale))
    assert found == pytest.approx(expected.sum(), rel=1e-5)
    mask = np.float32([[1, 0, 1, 0], [0, 1, 1, 1]])
    found = float(log_uniform_kl(mean, scale, mask))
    assert found == pytest.approx((expected * mask).sum(), rel=1e-5)
    zeros = np.zeros((3,), "float32")
    assert 0 < float(log_uniform_kl(zeros, zeros + 0.1)) < 1e-3


@pytest.mark.parametrize("bias", ["point", "gaussian"])
def test_layers_have_it_in_the_loss(bias):
    layer = BayesConv2D(
        4, 3, prior="log_uniform", kl_weight=0.5, bias_posterior=bias, initial_scale=0.2
    )
    layer.build((None, 6, 6, 2))
    parts = [layer.kernel_posterior, *([layer._bias_posterior] * (bias == "gaussian"))]
    expected = sum(
        divergence(
            to_numpy(x.mean).astype("float64") + (1e-15 if x is not parts[0] else 0),
            to_numpy(x.scale).astype("float64"),
        ).sum()
        for x in parts
    )
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.5 * expected, rel=1e-4)
    # The noise is mean (1 + sqrt(alpha) eps).
    noise = np.random.default_rng([5]).standard_normal((3, 3, 2, 4), "float32")
    mean, scale = to_numpy(parts[0].mean), to_numpy(parts[0].scale)
    alpha = np.square(scale / mean)
    sign = np.sign(mean)
    drawn = to_numpy(layer.point_weights(layer.sample_noise(5))[0])
    expected = mean * (1 + np.sqrt(alpha) * sign * noise)
    np.testing.assert_allclose(drawn, expected, atol=1e-5)


def test_posteriors_of_other_layers_have_it():
    posterior = GaussianPosterior(prior="log_uniform", kl_weight=1.0)
    layer = RandomVariables(L.GRU(3), posterior)
    layer.build((None, 5, 4))
    expected = sum(
        divergence(
            to_numpy(x.variable).astype("float64"), to_numpy(scale).astype("float64")
        ).sum()
        for x, scale in zip(posterior.chosen, posterior.scales, strict=True)
    )
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-4)


def test_a_weight_without_use_becomes_noise_and_a_useful_one_does_not():
    keras.utils.set_random_seed(0)
    x = normal(64, 2)
    y = x[:, :1]
    layer = BayesDense(
        1,
        prior="log_uniform",
        estimator="local_reparameterization",
        kl_weight=1 / 64,
        initial_scale=0.1,
        use_bias=False,
        seed=1,
    )
    model = keras.Sequential([keras.Input((2,)), layer])

    def nll(y, p):  # of N(p, 0.3^2)
        return keras.ops.sum(keras.ops.square(y - p) / 0.18, axis=-1)

    model.compile(keras.optimizers.Adam(0.05), nll)
    data = [np.tile(part, (250, 1)) for part in (x, y)]
    model.fit(*data, batch_size=64, verbose=0)
    posterior = layer.kernel_posterior
    mean, scale = to_numpy(posterior.mean), to_numpy(posterior.scale)
    useful, useless = np.log(np.square(scale / mean)).ravel()
    assert useful < -4 and useless > 0
    assert mean[0, 0] == pytest.approx(1, abs=0.1)
    # Molchanov et al. drop what is above log alpha = 3: a ratio of exp(-1.5) = 0.22.
    posterior.mean.assign([[1.0], [0.01]])
    posterior.rho.assign([[-3.0], [-1.0]])
    small = tfhyper.pruning.prune(model, criterion="signal_to_noise", threshold=0.22)
    (pruned,) = [x for x in small.layers if isinstance(x, BayesDense)]
    assert to_numpy(pruned.kernel_posterior.mask).ravel().tolist() == [1, 0]
    kept = divergence(1.0, np.log1p(np.exp(-3.0)))
    assert float(pruned.kl_divergence()) == pytest.approx(kept, rel=1e-4)


def test_the_kit_through_conversion_prediction_and_files(tmp_path):
    keras.utils.set_random_seed(0)
    plain = keras.Sequential(
        [keras.Input((5, 4)), L.Conv1D(4, 2, activation="relu"), L.GRU(4), L.Dense(3)]
    )
    x = normal(3, 5, 4)
    model = tfhyper.convert(plain, kits.variational_dropout(100, seed=1))
    found = variational_layers(model)
    assert {layer.prior for layer in found} == {"log_uniform"} and len(found) == 3
    assert {found[0].estimator, found[-1].estimator} == {"local_reparameterization"}
    assert {layer.kl_weight for layer in found} == {0.01}
    predictor = PosteriorPredictor(model, 2)
    members = predictor.predict(x).members
    assert np.abs(members[0] - members[1]).max() > 1e-3
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(copy.losses, model.losses, strict=True):
        assert float(a) == pytest.approx(float(b), rel=1e-5)
    mean = PosteriorPredictor(model, deterministic=True).predict(x).mean
    expected = to_numpy(keras.ops.softmax(plain(x)))
    np.testing.assert_allclose(mean, expected, atol=1e-5)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: BayesDense(2, prior="uniform"), ValueError, "`prior` must be.*'unif"),
        (
            lambda: BayesDense(2, prior="log_uniform", trainable_prior_scale=True),
            ValueError,
            "`prior` has its own mean and scale",
        ),
        (
            lambda: GaussianPosterior(prior="log_uniform", prior_mean="weight"),
            ValueError,
            "`prior` has its own mean and scale",
        ),
        (
            kits.variational_dropout,
            ValueError,
            r"kits.variational_dropout\(num_examples=len",
        ),
        (
            lambda: kits.variational_dropout(9, estimator="local"),
            ValueError,
            "`estimator` must be one of",
        ),
        (
            lambda: kits.variational_dropout(9, initial_scale=0),
            ValueError,
            "`initial_scale` must",
        ),
    ],
    ids=list("abcdef"),
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
