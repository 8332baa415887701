"""Networks that end in a head: the mixture of the draws' distributions."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from scipy import integrate, special, stats

import tfhyper
from tfhyper import heads

N, DRAWS = 12, 3
RNG = np.random.default_rng(0)
# Name -> head, shape of inputs, targets of that many examples.
HEADS = {
    "normal": (heads.NormalHead(), (4,), RNG.normal(size=N)),
    "vector": (heads.NormalHead(2), (4,), RNG.normal(size=(N, 2))),
    "image": (heads.LaplaceHead(), (3, 2, 4), RNG.normal(size=(N, 3, 2))),
    "student": (heads.StudentTHead(), (4,), RNG.normal(size=(N, 1))),
    "mixture": (heads.MixtureHead(3), (4,), RNG.normal(size=N)),
    "poisson": (heads.PoissonHead(), (4,), RNG.poisson(2.0, size=N)),
    "binomial": (heads.NegativeBinomialHead(), (4,), RNG.poisson(2.0, size=N)),
}


def predictor_of(head, shape, **options):
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape)
    hidden = tfhyper.layers.BayesDense(
        6, activation="tanh", rho_initializer=keras.initializers.Constant(-0.5)
    )(inputs)
    outputs = type(head).from_config(head.get_config())(L.Dense(head.units)(hidden))
    return tfhyper.PosteriorPredictor(keras.Model(inputs, outputs), DRAWS, **options)


@pytest.mark.parametrize("name", HEADS)
def test_a_prediction_is_the_mixture_of_plain_networks(name, tmp_path):
    head, shape, y = HEADS[name]
    predictor = predictor_of(head, shape)
    assert predictor.outputs == predictor.settings["outputs"] == "distribution"
    x = np.random.default_rng(1).normal(size=(N, *shape)).astype("float32")
    found = predictor.predict(x, batch_size=5)
    plain = [predictor.materialize(i)(x) for i in range(DRAWS)]
    plain = np.array([keras.ops.convert_to_numpy(z) for z in plain])
    np.testing.assert_allclose(found.members, plain, rtol=1e-6, atol=1e-6)
    family = predictor.task.family
    means = np.array([keras.ops.convert_to_numpy(family.mean(z)) for z in plain])
    noise = np.array([keras.ops.convert_to_numpy(family.variance(z)) for z in plain])
    np.testing.assert_allclose(found.mean, means.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.aleatoric, noise.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.epistemic, means.var(0), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.variance, found.aleatoric + found.epistemic)
    scores = predictor.evaluate(x, y, batch_size=5)
    targets = np.reshape(y, found.mean.shape)
    assert scores["nll"] == pytest.approx(-found.mixture.log_prob(targets).mean())
    assert scores["crps"] == pytest.approx(found.mixture.crps(targets).mean())
    assert scores["rmse"] == pytest.approx(
        np.sqrt(np.mean((targets - found.mean) ** 2))
    )
    low, high = found.interval(0.9)
    inside = np.mean((low <= targets) & (targets <= high))
    assert scores["coverage_90"] == pytest.approx(inside)
    path = str(tmp_path / "distribution.tfhyper")
    predictor.save(path)
    again = tfhyper.PosteriorPredictor.load(path).predict(x, batch_size=5)
    np.testing.assert_array_equal(again.members, found.members)
    mean, variance = predictor.materialize_average()(x)
    np.testing.assert_allclose(mean, found.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, found.variance, rtol=1e-4, atol=1e-6)


def test_scores_of_a_normal_head_are_those_of_scipy():
    head, shape, y = HEADS["normal"]
    predictor = predictor_of(head, shape)
    x = np.random.default_rng(2).normal(size=(N, *shape)).astype("float32")
    weights = np.arange(N) % 3.0
    scores = predictor.evaluate(x, y, sample_weight=weights)
    loc, scale = np.float64(predictor.predict(x).members).transpose(2, 0, 1)
    logs = special.logsumexp(stats.norm.logpdf(y, loc, scale), axis=0) - np.log(DRAWS)
    nll = -np.sum(weights * logs) / weights.sum()
    assert scores["nll"] == pytest.approx(nll, rel=1e-6)
    grid = np.linspace(-12, 12, 4001)[:, None]
    below = np.mean([stats.norm.cdf(grid, *x) for x in zip(loc, scale)], axis=0)
    integrals = integrate.trapezoid(np.square(below - (grid >= y)), grid, axis=0)
    crps = np.sum(weights * integrals) / weights.sum()
    assert scores["crps"] == pytest.approx(crps, abs=1e-3)


def test_what_is_too_uncertain_is_rejected():
    predictor = predictor_of(*HEADS["vector"][:2])
    y = HEADS["vector"][2]
    x = np.random.default_rng(3).normal(size=(N, 4)).astype("float32")
    predictor.fit_rejection(x, coverage=0.5)
    found = predictor.predict(x)
    assert found.rejected.shape == (N, 2) and found.rejected.mean() == 0.5
    scores = predictor.evaluate(x, y)
    errors = np.square(y - found.mean)[~found.rejected]
    assert scores["coverage"] == pytest.approx(0.5)
    assert scores["selective_rmse"] == pytest.approx(np.sqrt(errors.mean()))
    assert found.selective_scores(y) == pytest.approx(
        {name: scores[name] for name in ("coverage", "selective_rmse")}
    )


def test_a_saved_model_has_the_moments_and_the_parameters(tmp_path):
    tf = pytest.importorskip("tensorflow")
    for name in ("mixture", "image"):
        head, shape, _ = HEADS[name]
        predictor = predictor_of(head, shape)
        x = np.random.default_rng(4).normal(size=(N, *shape)).astype("float32")
        found = predictor.predict(x)
        path = str(tmp_path / name)
        tfhyper.export.saved_model(predictor, path)
        loaded = tf.saved_model.load(path)
        served = loaded.signatures["serving_default"](inputs=tf.constant(x))
        for part in ("mean", "variance", "aleatoric", "epistemic"):
            expected = getattr(found, part)
            np.testing.assert_allclose(served[part], expected, rtol=1e-4, atol=1e-6)
        members = loaded.signatures["members"](inputs=tf.constant(x))["members"]
        np.testing.assert_allclose(members, found.members.swapaxes(0, 1), atol=1e-6)


def test_categories_are_classes_and_other_words_are_refused():
    predictor = predictor_of(heads.CategoricalHead(3), (4,))
    assert predictor.outputs == "logits"
    x = np.random.default_rng(5).normal(size=(N, 4)).astype("float32")
    raw = keras.ops.convert_to_numpy(predictor.materialize(0)(x))
    found = predictor.predict(x)
    np.testing.assert_allclose(found.members[0], np.exp(raw), rtol=1e-5)
    for name in ("mean_and_variance", "mean", "logits"):
        with pytest.raises(ValueError, match='must be "distribution".*Normal'):
            predictor_of(*HEADS["normal"][:2], outputs=name)
    plain = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    with pytest.raises(ValueError, match="must end in a layer of `tfhyper.heads`"):
        tfhyper.PosteriorPredictor(plain, outputs="distribution")
    counts = predictor_of(*HEADS["poisson"][:2])
    with pytest.raises(ValueError, match="`y` must hold targets that"):
        counts.evaluate(x, np.full(N, 0.5))
    with pytest.raises(ValueError, match="`y` must hold targets that"):
        counts.evaluate(x, np.zeros((N, 2)))
    with pytest.raises(ValueError, match="must have members"):
        _ = counts.predict(x, keep_members=False).mixture
    inner = keras.Sequential([keras.Input((4,)), L.Dense(2), heads.NormalHead()])
    inputs = keras.Input((4,))
    nested = keras.Model(inputs, inner(inputs))
    assert tfhyper.PosteriorPredictor(nested, 1).outputs == "distribution"
