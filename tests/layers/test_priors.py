"""Priors as data: what survives, what is refused, and their KL divergences."""

import json

import keras
import numpy as np
import pytest

from tests.helpers.bayes import softplus, spread, weights_of
from tests.helpers.layers import BACKEND, normal, to_numpy
from tfhyper.layers import BayesConv2D, BayesDense, priors, scale_mixture

if BACKEND == "tensorflow":
    import tensorflow as tf
    import tensorflow_probability as tfp

    tfd, tfb = tfp.distributions, tfp.bijectors

needs_probability = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow Probability"
)


def mixture():
    return scale_mixture(0.25, 1.0, 0.05)


# Functions, because there is no TensorFlow Probability on every backend.
PRIORS = {
    "normal": lambda: tfd.Normal(0.5, 2.0),
    "normal_of_float64": lambda: tfd.Normal(np.zeros(3), 1.5),
    "laplace": lambda: tfd.Laplace([0.0, 1.0, 2.0], 1.5),
    "student": lambda: tfd.StudentT(3.0, 0.0, 0.5),
    "cauchy": lambda: tfd.Cauchy(0.0, 0.1),
    "horseshoe": lambda: tfd.Horseshoe(0.3),
    "scale_mixture": mixture,
    "mixture": lambda: tfd.Mixture(
        tfd.Categorical(probs=[0.3, 0.7]), [tfd.Normal(0.0, 1.0), tfd.Laplace(0.0, 0.1)]
    ),
    "independent": lambda: tfd.Independent(tfd.Laplace(np.zeros((2, 3), "f"), 1.0), 1),
    "diagonal": lambda: tfd.MultivariateNormalDiag([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]),
    "full": lambda: tfd.MultivariateNormalTriL(
        [0.0, 1.0, 2.0], [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.3, 2.0]]
    ),
    "sample": lambda: tfd.Sample(tfd.Normal(0.0, 2.0), (3,)),
    "transformed": lambda: tfd.TransformedDistribution(
        tfd.StudentT(4.0, 0.0, 1.0), tfb.Chain([tfb.Shift(0.3), tfb.Scale(0.5)])
    ),
    "sinh_arcsinh": lambda: tfd.SinhArcsinh(0.0, 1.0, skewness=0.5),
}


@needs_probability
@pytest.mark.parametrize("name", PRIORS)
def test_distributions_survive_as_json(name):
    prior = PRIORS[name]()
    config = priors.serialize(prior)
    copy = priors.deserialize(json.loads(json.dumps(config)))
    assert type(copy) is type(prior)
    assert (copy.event_shape, copy.batch_shape) == (
        prior.event_shape,
        prior.batch_shape,
    )
    values = prior.sample(50, seed=1)
    np.testing.assert_allclose(copy.log_prob(values), prior.log_prob(values), rtol=1e-6)
    assert priors.serialize(copy) == config
    assert priors.serialize(config) == config
    # A layer takes either, and gives the same divergence.
    losses = []
    for given in (prior, config):
        layer = BayesDense(3, prior=given, seed=1, kl_weight=1.0)
        layer.build((None, 2))
        keras.utils.set_random_seed(0)
        spread(layer)
        layer.trainable_weights[0].assign(normal(2, 3))
        losses.append(float(layer.losses[0]))
    assert losses[0] == losses[1] and np.isfinite(losses[0])


def posterior_of(layer):
    weights = weights_of(layer)
    return weights["kernel_mean"], softplus(weights["kernel_rho"])


@needs_probability
@pytest.mark.parametrize("name", ["normal", "normal_of_float64"])
def test_kl_is_tfps_where_it_has_a_formula(name):
    layer = BayesDense(3, prior=PRIORS[name](), kl_weight=1.0)
    layer.build((None, 4))
    spread(layer)
    mean, scale = posterior_of(layer)
    parameters = {"normal": (0.5, 2.0), "normal_of_float64": (0.0, 1.5)}[name]
    prior = tfd.Normal(*map(np.float64, parameters))
    expected = float(np.sum(tfd.kl_divergence(tfd.Normal(mean, scale), prior)))
    for training in (True, False):  # exact, not one draw's estimate
        layer(normal(2, 4), training=training)
        assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-6)


@needs_probability
def test_kl_of_a_prior_over_vectors_is_exact_where_tfp_has_a_formula():
    prior = tfd.Independent(tfd.Normal([0.0, 1.0, 2.0], 0.5), 1)
    layer = BayesConv2D(3, 2, prior=prior, kl_weight=1.0)
    layer.build((None, 4, 4, 2))
    spread(layer)
    mean, scale = posterior_of(layer)
    reference = tfd.Normal(np.array([0.0, 1.0, 2.0]), np.float64(0.5))
    expected = float(np.sum(tfd.kl_divergence(tfd.Normal(mean, scale), reference)))
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-6)


def integrals(mean, scale, log_prior):
    """KL(N(mean, scale^2) || prior) of each weight, by quadrature over 12 sigma."""
    integrate = pytest.importorskip("scipy.integrate")
    grid = np.linspace(-12, 12, 20001)
    log_q = -(grid**2) / 2 - np.log(2 * np.pi) / 2
    weights = mean[..., None] + scale[..., None] * grid
    gap = log_q - np.log(scale)[..., None] - log_prior(weights)
    return integrate.simpson(np.exp(log_q) * gap, x=grid, axis=-1)


@needs_probability
@pytest.mark.parametrize(
    "name", ["student", "cauchy", "scale_mixture", "mixture", "transformed"]
)
def test_estimates_average_to_the_integral(name):
    prior = PRIORS[name]()
    layer = BayesDense(3, prior=prior, seed=4)
    layer.build((None, 4))
    spread(layer)
    mean, scale = posterior_of(layer)
    expected = integrals(
        mean, scale, lambda w: np.asarray(prior.log_prob(w.astype("f")), "float64")
    ).sum()

    # One estimate for each count of the draws.
    @tf.function
    def estimate(count):
        layer.draws.assign([count, 0])
        return layer.kl_divergence()

    found = np.array([float(estimate(tf.constant(i))) for i in range(1000)])
    assert len(np.unique(found)) > 990
    # Five standard errors of a mean of 1000.
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 5 * error
    assert error < 0.05 * abs(expected)


@needs_probability
def test_estimate_is_of_one_draw_for_a_step():
    layer = BayesDense(3, prior=mixture(), seed=4, kl_weight=1.0)
    x = normal(2, 4)
    layer(x, training=True)
    first, again = float(layer.losses[0]), float(layer.losses[0])
    layer(x, training=False)
    assert first == again == float(layer.losses[0])
    layer(x, training=True)
    assert float(layer.losses[0]) != first


@needs_probability
@pytest.mark.parametrize("parameters", [(0.5, 1.0, 0.0025), (0.25, 0.4, 0.002)])
def test_scale_mixture_is_blundells_formula(parameters):
    share, scale_1, scale_2 = parameters
    w = np.concatenate([normal(50), 0.01 * normal(50, seed=1), [0.0]])

    def density(scale):
        return np.exp(-(w.astype("float64") ** 2) / (2 * scale**2)) / scale

    expected = share * density(scale_1) + (1 - share) * density(scale_2)
    expected = np.log(expected / np.sqrt(2 * np.pi))
    found = scale_mixture(*parameters).log_prob(w.astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mixture": 0}, "`mixture` must be in 0 < mixture < 1.*mixture=0"),
        ({"mixture": 1.0}, "`mixture` must be.*mixture=1.0"),
        ({"scale_1": 0.0}, "`scale_1` must be a finite number > 0.*scale_1=0.0"),
        ({"scale_2": float("inf")}, "`scale_2` must be.*scale_2=inf"),
        ({"scale_2": float("nan")}, "`scale_2` must be.*scale_2=nan"),
    ],
)
def test_scale_mixture_checks_its_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        scale_mixture(**arguments)


def distribution(class_name, **parameters):
    return {
        "kind": "distribution",
        "class_name": class_name,
        "parameters": parameters,
    }


HOSTILE = {
    "empty": {},
    "no kind": {"class_name": "Normal", "parameters": {"loc": 0.0, "scale": 1.0}},
    "unknown kind": {**distribution("Normal"), "kind": "layer"},
    "kind of another type": {**distribution("Normal"), "kind": ["distribution"]},
    "unknown class": distribution("Gaussian"),
    "dotted": distribution("Distribution.__init__"),
    "dunder": distribution("__loader__"),
    "a function": distribution("kl_divergence", distribution_a=1, distribution_b=2),
    "a module's": distribution("normal"),
    "a base class": distribution("Distribution"),
    "a bijector's name": distribution("Exp"),
    "class of another type": {**distribution("Normal"), "class_name": None},
    "no parameters": {"kind": "distribution", "class_name": "Normal"},
    "list of parameters": {**distribution("Normal"), "parameters": [0.0, 1.0]},
    "unknown parameter": distribution("Normal", loc=0.0, scale=1.0, shape=3),
    "objects": distribution(
        "Normal", loc={"kind": "array", "dtype": "O", "values": [1.0]}, scale=1.0
    ),
    "array alone": {"kind": "array", "dtype": "float32", "values": [1.0]},
    "bijector alone": {"kind": "bijector", "class_name": "Exp", "parameters": {}},
    "a Keras config": {"module": "os", "class_name": "system", "config": "true"},
    "inner": distribution(
        "Independent", distribution={"module": "os", "class_name": "system"}
    ),
}


@needs_probability
@pytest.mark.parametrize("config", HOSTILE.values(), ids=HOSTILE)
def test_hostile_configs_are_refused(config):
    with pytest.raises(TypeError):
        BayesDense(3, prior=config)
    layer = {
        "module": "tfhyper.layers",
        "class_name": "BayesDense",
        "registered_name": "tfhyper>BayesDense",
        "config": {"units": 3, "prior": config},
    }
    with pytest.raises(TypeError):
        keras.saving.deserialize_keras_object(layer)


NOT_DATA = {
    "number": lambda: 1.0,
    "name": lambda: "normal",
    "array": lambda: np.ones(3),
    "list": lambda: [tfd.Normal(0.0, 1.0)],
    "class": lambda: tfd.Normal,
    "function": lambda: lambda: tfd.Normal(0.0, 1.0),
    "bijector": lambda: tfb.Exp(),
    "variable": lambda: tfd.Normal(tf.Variable(0.0), 1.0),
    "transformed variable": lambda: tfd.Normal(
        0.0, tfp.util.TransformedVariable(1.0, tfb.Softplus())
    ),
    "inner variable": lambda: tfd.Independent(tfd.Normal(tf.Variable([0.0]), 1.0), 1),
    "inner function": lambda: tfd.TransformedDistribution(
        tfd.Normal(0.0, 1.0),
        tfb.Inline(
            forward_fn=lambda x: x,
            inverse_fn=lambda x: x,
            inverse_log_det_jacobian_fn=lambda x: 0.0,
            forward_min_event_ndims=0,
        ),
    ),
    "autoregressive": lambda: tfd.Autoregressive(
        lambda x: tfd.Normal(x, 1.0), sample0=0.0, num_steps=2
    ),
    "own class": lambda: type("Mine", (tfd.Normal,), {})(0.0, 1.0),
    "integers": lambda: tfd.Categorical(probs=[0.5, 0.5]),
    "several": lambda: tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0)] * 2),
}


@needs_probability
@pytest.mark.parametrize("name", NOT_DATA)
def test_what_cannot_be_saved_is_refused(name):
    # A word may be one that is known.
    error = ValueError if name == "name" else TypeError
    with pytest.raises(error, match="`prior.* must be"):
        BayesDense(3, prior=NOT_DATA[name]())


@needs_probability
@pytest.mark.parametrize(
    "name, prior",
    [
        ("event", lambda: tfd.MultivariateNormalDiag([0.0, 0.0])),
        ("event", lambda: tfd.Sample(tfd.Normal(0.0, 1.0), (2, 4, 3))),
        ("batch", lambda: tfd.Normal([0.0, 0.0], 1.0)),
        ("batch", lambda: tfd.Normal(np.zeros((2, 4, 3), "f"), 1.0)),
        ("batch", lambda: tfd.MultivariateNormalDiag(np.zeros((3, 3), "f"))),
    ],
)
def test_priors_of_another_shape_are_refused(name, prior):
    layer = BayesDense(3, prior=prior())
    with pytest.raises(ValueError, match="`prior` must have an event shape.*kernel"):
        layer.build((None, 4))


@needs_probability
def test_prior_of_the_bias_is_checked_too():
    prior = tfd.Normal(np.zeros((4, 1), "f"), 1.0)
    BayesDense(3, prior=prior).build((None, 4))
    layer = BayesDense(3, prior=prior, bias_posterior="gaussian")
    with pytest.raises(ValueError, match="`prior` must have an event shape.*bias"):
        layer.build((None, 4))


@needs_probability
@pytest.mark.parametrize(
    "options", [{"prior_mean": "weight"}, {"trainable_prior_scale": True}]
)
def test_a_prior_has_its_own_mean_and_scale(options):
    with pytest.raises(ValueError, match="`prior` has its own mean and scale"):
        BayesDense(3, prior=tfd.Laplace(0.0, 1.0), **options)


@needs_probability
@pytest.mark.parametrize("name", ["scale_mixture", "diagonal", "transformed"])
def test_saved_model_with_a_prior_loads_in_safe_mode(tmp_path, name):
    layer = BayesDense(3, prior=PRIORS[name](), kl_weight=0.1)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    x, y = normal(6, 4), normal(6, 3)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for _ in range(2):
        losses = [[float(loss) for loss in m.losses] for m in (model, copy)]
        assert losses[0] == losses[1] and len(losses[0]) == 1
        histories = [
            m.fit(x, y, shuffle=False, verbose=0).history for m in (model, copy)
        ]
        assert histories[0] == histories[1]


def test_without_the_library_a_prior_is_an_import_error(monkeypatch):
    config = distribution("Normal", loc=0.0, scale=1.0)
    monkeypatch.setattr(priors, "probability_library", lambda: None)
    with pytest.raises(
        ImportError, match="needs TensorFlow Probability.*`prior_scale`"
    ):
        BayesDense(3, prior=config)
    with pytest.raises(ImportError, match="needs TensorFlow Probability"):
        scale_mixture()
    # The Gaussian prior has its formula.
    layer = BayesDense(3, prior_scale=0.5, kl_weight=1.0)
    layer.build((None, 4))
    mean, scale = posterior_of(layer)
    expected = np.sum((scale**2 + mean**2) / (2 * 0.5**2) - 0.5 - np.log(scale / 0.5))
    assert float(to_numpy(layer.losses[0])) == pytest.approx(expected, rel=1e-6)


@needs_probability
@pytest.mark.parametrize(
    "make",
    [
        lambda: tfd.HalfNormal(1.0),
        lambda: tfd.Uniform(-5.0, 5.0),
        lambda: tfd.LogNormal(0.0, 1.0),
        lambda: tfd.Independent(tfd.HalfCauchy(np.zeros(4, "f"), 1.0), 1),
    ],
)
def test_a_prior_that_is_0_somewhere_is_refused(make):
    layer = BayesDense(4, prior=make())
    with pytest.raises(ValueError, match="a density above 0 for every real weight"):
        layer.build((None, 3))
