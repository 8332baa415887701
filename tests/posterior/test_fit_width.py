"""The width of a posterior of all weights, chosen by held-out examples."""

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.ivon import to_numpy
from tfhyper.posterior.width import best_factor
from tfhyper.variational import SWAGPosterior

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 5)).astype("float32")
# One in seven is wrong, so that a network without noise is too sure.
LABELS = ((X[:, 0] > 0) ^ (np.arange(200) % 7 == 0)).astype("int32")
DRAWS = 6


def network(norm=False):
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((5,))
    x = keras.layers.Dense(8, activation="tanh", name="hidden")(x)
    if norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def variational(norm=False, temperature=1.0):
    """Returns one whose kernels are right for the labels, and whose noise is wide."""
    model = network(norm)
    kernel = np.zeros((5, 8), "float32")
    kernel[0] = 0.5
    model.get_layer("hidden").kernel.assign(kernel)
    last = np.stack([-np.ones(8), np.ones(8)], -1).astype("float32")
    model.get_layer("logits").kernel.assign(last)
    return tfhyper.Variational(model, 20, temperature=temperature, seed=3)


def predictor_of(model, num_draws=DRAWS, **options):
    return tfhyper.PosteriorPredictor(
        model, num_draws, seed=4, outputs="logits", **options
    )


def nll_of(predictor):
    """Returns the NLL of the mean of the draws' probabilities, by NumPy."""
    mean = predictor.predict(X).members.astype("float64").mean(0)
    return -np.log(mean[np.arange(len(X)), LABELS]).mean()


@pytest.mark.parametrize(
    "best, tried",
    [
        (1.0, [1, 0.5, 2]),
        (0.25, [1, 0.5, 0.25, 0.125]),
        (8.0, [1, 0.5, 2, 4, 8, 16]),
    ],
)
def test_the_search_goes_downhill(best, tried):
    found = best_factor(lambda factor: abs(np.log(factor / best)))
    assert list(found) == tried
    assert min(found, key=found.get) == best


def test_the_search_ends():
    assert min(best_factor(lambda factor: factor)) == 2.0**-10
    assert max(best_factor(lambda factor: -factor)) == 2.0**10


def test_deviations_go_with_the_root_of_the_factor():
    model = variational(temperature=0.5)
    model.noise.curvature.assign(np.linspace(0.1, 2, model.noise.size))
    narrow = model.widened(0.25)
    ratio = to_numpy(narrow.noise.scale()) / to_numpy(model.noise.scale())
    np.testing.assert_allclose(ratio, 0.5, rtol=1e-6)
    assert (narrow.temperature, model.temperature) == (0.125, 0.5)
    assert narrow.model is model.model
    # Draws of one seed lie on one line through the mean.
    mean = model.model.get_weights()
    wide, near = (predictor_of(m).materialize(1).get_weights() for m in (model, narrow))
    for a, b, c in zip(mean, wide, near, strict=True):
        np.testing.assert_allclose(c - a, 0.5 * (b - a), atol=1e-6)


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
def test_the_width_with_the_best_likelihood_is_kept(norm, capsys):
    model = variational(norm, temperature=8.0)
    moments = X[:64] if norm else None
    predictor = predictor_of(model)
    assert predictor.fit_width(X, LABELS, moments=moments) is predictor
    lines = capsys.readouterr().out.splitlines()
    expected = {}
    for power in range(4, -3, -1):
        one = predictor_of(variational(norm, temperature=2.0**power))
        if norm:
            one.estimate_batch_norm(moments, verbose=0)
        expected[2.0**power] = nll_of(one)
    best = predictor.model.temperature
    assert best < 8  # the noise was too wide
    assert expected[best] < min(expected[2 * best], expected[best / 2])
    assert nll_of(predictor) == pytest.approx(expected[best], abs=1e-6)
    printed = [float(line.split()[-1]) for line in lines if line.startswith("width")]
    wanted = [expected[8 * 2.0**-i] for i in range(len(printed))]
    np.testing.assert_allclose(printed, wanted, atol=1e-4)
    assert len(printed) == 2 + np.log2(8 / best)
    assert model.temperature == 8


def test_a_posterior_that_is_too_narrow_is_widened():
    posterior = variational(temperature=2.0**-14)
    before = nll_of(predictor_of(posterior))
    predictor = predictor_of(posterior).fit_width(X, LABELS, verbose=0)
    assert predictor.model.temperature > 2.0**-12
    assert nll_of(predictor) < before - 0.01


def test_it_is_saved_and_loaded(tmp_path):
    predictor = predictor_of(variational(True))
    predictor.fit_width(X, LABELS, moments=X[:64], verbose=0)
    members = predictor.predict(X).members
    predictor.save(tmp_path / "fitted.tfhyper")
    loaded = tfhyper.PosteriorPredictor.load(tmp_path / "fitted.tfhyper")
    assert loaded.model.temperature == predictor.model.temperature != 1
    np.testing.assert_array_equal(loaded.predict(X).members, members)
    # More training is seen, as of any model.
    variable = predictor.model.means[0]
    variable.assign(variable + 1.0)
    with pytest.raises(ValueError, match="trained since"):
        predictor.predict(X)


def test_other_posteriors_have_a_width_too():
    model = network()
    mean = model.get_weights()
    swag = SWAGPosterior(model, mean, [np.ones(x.shape) for x in mean], scale=2.0)
    narrow = swag.widened(0.25)
    assert narrow.noise.scale == 0.5 and narrow.model is model
    wide, near = (predictor_of(m).materialize(0).get_weights() for m in (swag, narrow))
    for a, b, c in zip(mean, wide, near, strict=True):
        np.testing.assert_allclose(c - a, 0.5 * (b - a), atol=1e-6)
    inner = variational(temperature=16.0)
    shifted = [x + 0.1 for x in inner.get_weights()]
    kept = tfhyper.KeptWeights(inner, [inner.get_weights(), shifted])
    narrow = kept.widened(0.25)
    assert narrow.model.temperature == 4
    for new, old in zip(narrow.noise.stacks, kept.noise.stacks, strict=True):
        np.testing.assert_array_equal(to_numpy(new), to_numpy(old))
    predictor = predictor_of(kept).fit_width(X, LABELS, verbose=0)
    assert predictor.model.model.temperature < 16


@pytest.mark.parametrize(
    "make, options, message",
    [
        (lambda: predictor_of(variational(True)), {}, "`moments` must be training"),
        (lambda: predictor_of(variational()), {"moments": X}, "`moments` must be"),
        (
            lambda: tfhyper.PosteriorPredictor(network(), outputs="logits"),
            {},
            "`fit_width` needs draws of a posterior",
        ),
        (
            lambda: tfhyper.PosteriorPredictor(
                variational(), deterministic=True, outputs="logits"
            ),
            {},
            "deterministic=True",
        ),
        (
            lambda: predictor_of(variational(), rejection=tfhyper.Rejection(0.3)),
            {},
            "Received: a predictor with rejection",
        ),
        (lambda: predictor_of(variational()), {"y": LABELS[:5]}, "same length"),
        (lambda: predictor_of(variational()), {"y": LABELS + 7}, "`y` must lie"),
        (lambda: predictor_of(variational()), {"y": None}, "[Ll]abels"),
        (lambda: predictor_of(variational()), {"batch_size": 0}, "`batch_size`"),
        (
            lambda: predictor_of(
                tfhyper.KeptWeights(network(), [network().get_weights()]), 1
            ),
            {},
            "have no width",
        ),
    ],
)
def test_errors_name_what_is_wrong(make, options, message):
    predictor = make()
    source = predictor.source
    with pytest.raises(ValueError, match=message):
        predictor.fit_width(X, **{"y": LABELS, "verbose": 0, **options})
    assert predictor.source is source


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_factors_are_above_zero(factor):
    with pytest.raises(ValueError, match="`factor` must be"):
        variational().widened(factor)
    assert float(ops.min(variational().noise.scale())) > 0
