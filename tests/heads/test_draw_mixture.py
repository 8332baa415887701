"""The mixture of draws against its formulas, with SciPy's functions draw by draw."""

import numpy as np
import pytest
from scipy import stats

from tests.helpers.heads import FAMILIES, NUMBERS, parameters_of, scipy_of, targets_of
from tfhyper import heads, metrics

DRAWS, SHAPE = 5, (3, 2)  # two axes of examples


@pytest.fixture(scope="module", params=NUMBERS)
def case(request):
    """Name, mixture, targets, weights and SciPy's distributions of all draws."""
    family = FAMILIES[request.param]
    parameters = parameters_of(family, DRAWS, *SHAPE).astype("float64")
    mixture = heads.DrawMixture(family, parameters)
    weights, frozen = scipy_of(request.param, parameters)
    y = targets_of(family, *SHAPE).astype("float64")
    # Components of a draw, draws, examples, targets.
    return (
        request.param,
        mixture,
        y,
        np.broadcast_to(weights, (len(weights), DRAWS, *SHAPE, 1)),
        frozen,
    )


def cdf_of(case, x):
    _, _, _, weights, frozen = case
    return np.mean(np.sum(weights * frozen.cdf(x), axis=0), axis=0)


def test_moments_split_by_the_law_of_total_variance(case):
    _, mixture, _, weights, frozen = case
    means = np.sum(weights * frozen.mean(), axis=0)
    squares = np.sum(weights * (frozen.var() + frozen.mean() ** 2), axis=0)
    assert mixture.num_draws == DRAWS and mixture.shape == (*SHAPE, 2)
    np.testing.assert_allclose(mixture.mean, means.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(mixture.epistemic, means.var(axis=0), rtol=1e-9)
    expected = (squares - means**2).mean(axis=0)
    np.testing.assert_allclose(mixture.aleatoric, expected, rtol=1e-6)
    total = squares.mean(axis=0) - means.mean(axis=0) ** 2
    np.testing.assert_allclose(mixture.variance, total, rtol=1e-6)
    np.testing.assert_allclose(mixture.std**2, mixture.variance)


def test_log_densities_are_joint_over_the_targets(case):
    name, mixture, y, weights, frozen = case
    is_count = name in ("poisson", "negative_binomial")
    density = np.prod((frozen.pmf if is_count else frozen.pdf)(y), axis=-1)
    density = np.mean(np.sum(weights[..., 0] * density, axis=0), axis=0)
    found = mixture.log_prob(y)
    assert found.shape == SHAPE
    np.testing.assert_allclose(found, np.log(density), rtol=1e-6)


def test_quantiles_invert_the_distribution_function(case):
    name, mixture, y, _, _ = case
    np.testing.assert_allclose(mixture.cdf(y), cdf_of(case, y), rtol=1e-9)
    np.testing.assert_allclose(mixture.pit(y, seed=0) <= mixture.cdf(y), True)
    for level in (1e-3, 0.3, 0.95):
        found = mixture.quantile(level)
        if name in ("poisson", "negative_binomial"):
            assert (found == np.floor(found)).all()
            assert (cdf_of(case, found) >= level).all()
            assert (cdf_of(case, found - 1) < level).all()
        else:
            np.testing.assert_allclose(cdf_of(case, found), level, atol=1e-8)
    lower, upper = interval = mixture.interval(0.8)
    assert isinstance(interval, metrics.PredictiveInterval)
    np.testing.assert_allclose(lower, mixture.quantile(0.1))
    np.testing.assert_allclose(upper, mixture.quantile(0.9))


def test_samples_have_the_distribution(case):
    name, mixture, _, _, _ = case
    samples = mixture.sample(3000, seed=1)
    assert samples.shape == (3000, *SHAPE, 2)
    np.testing.assert_array_equal(samples[:5], mixture.sample(3000, seed=1)[:5])
    uniform = np.stack([mixture.pit(x, seed=i) for i, x in enumerate(samples[:300])])
    for u in uniform.reshape(300, -1).T:
        assert stats.kstest(u, "uniform").pvalue > 1e-4
    # Targets of a sample are of one draw: they vary together, as its means do.
    if name != "student_t":  # whose fourth moments are infinite
        means = samples.mean(axis=0)
        error = 5 * mixture.std / np.sqrt(3000)
        assert (np.abs(means - mixture.mean) < error).all()


def test_crps_is_that_of_many_samples(case):
    _, mixture, y, _, _ = case
    found = mixture.crps(y)
    assert found.shape == (*SHAPE, 2)
    samples = mixture.sample(3000, seed=2).reshape(3000, -1)
    for value, draws, target in zip(found.flat, samples.T, y.flat, strict=True):
        estimate = metrics.crps_samples([target], draws[:, None], fair=True)
        # Six standard errors, by the spread of parts of the samples.
        parts = [
            metrics.crps_samples([target], part[:, None], fair=True)
            for part in np.split(draws, 10)
        ]
        assert abs(value - estimate) < 6 * np.std(parts) / np.sqrt(10) + 1e-6


def test_crps_is_exact_where_one_draw_is_known():
    y = np.array([-3.0, 0.2, 50.0])
    normal = heads.DrawMixture(heads.Normal(), np.tile([1.0, 2.0], (4, 3, 1)))
    expected = metrics.crps_gaussian(y, np.ones(3), np.full(3, 4.0))
    assert normal.crps(y).mean() == pytest.approx(expected, rel=1e-9)
    laplace = heads.DrawMixture(heads.Laplace(), np.tile([1.0, 2.0], (4, 3, 1)))
    z = np.abs(y - 1) / 2
    np.testing.assert_allclose(
        laplace.crps(y)[:, 0], 2 * (z + np.exp(-z) - 0.75), rtol=1e-9
    )
    # By integration: t with many degrees of freedom is normal.
    parameters = np.tile([1.0, 2.0, 1e9], (4, 3, 1))
    found = heads.DrawMixture(heads.StudentT(), parameters).crps(y)
    np.testing.assert_allclose(found, normal.crps(y), rtol=1e-6)
    # A sum over 60,000 counts, of which blocks are taken together.
    mean, total = 3e3, 0.5
    mixture = heads.DrawMixture(heads.NegativeBinomial(), [[[mean, total]]])
    k = np.arange(100_000)
    cdf = stats.nbinom(total, total / (total + mean)).cdf(k)
    for target in (0, 500, 10_000):
        exact = np.sum(np.square(cdf - (k >= target)))
        assert mixture.crps([target]).item() == pytest.approx(exact, rel=1e-3)


def test_draws_make_targets_depend_on_each_other():
    parameters = np.array([[[-5.0, -5.0, 1.0, 1.0]], [[5.0, 5.0, 1.0, 1.0]]])
    mixture = heads.DrawMixture(heads.Normal(2), parameters)
    samples = mixture.sample(400, seed=0)[:, 0]
    assert np.corrcoef(samples.T)[0, 1] > 0.9
    both, crossed = mixture.log_prob([[5.0, 5.0]]), mixture.log_prob([[5.0, -5.0]])
    assert both.item() == pytest.approx(-np.log(2) - np.log(2 * np.pi), abs=1e-6)
    assert crossed.item() < -40


def test_many_examples_are_taken_in_blocks(monkeypatch):
    family = FAMILIES["mixture"]
    parameters = parameters_of(family, 4, 25)
    y = targets_of(family, 25)
    whole = heads.DrawMixture(family, parameters)
    expected = whole.log_prob(y), whole.quantile(0.2), whole.crps(y)
    big = heads.DrawMixture(family, np.tile(parameters, (1, 2000, 1)))
    assert len(list(big._rows())) > 1
    found = big.log_prob(np.tile(y, (2000, 1)))
    np.testing.assert_array_equal(found[-25:], expected[0])
    assert found.shape == (50_000,)


def test_bad_arguments_are_named():
    one = np.ones((2, 3, 2))
    with pytest.raises(ValueError, match="`family` must be of numbers.*Categorical"):
        heads.DrawMixture(heads.Categorical(2), np.log(one / 2))
    with pytest.raises(TypeError, match="`family` must be a family or a head"):
        heads.DrawMixture("normal", one)
    with pytest.raises(ValueError, match=r"\(draws, batch, \.\.\., units\).*\(3, 2\)"):
        heads.DrawMixture(heads.Normal(), one[0])
    with pytest.raises(ValueError, match="`parameters`.*scale above 0.*-1"):
        heads.DrawMixture(heads.Normal(), -one)
    mixture = heads.DrawMixture(heads.NormalHead(), one)
    for call in (mixture.quantile, mixture.interval):
        with pytest.raises(ValueError, match="`level` must be.*level=1"):
            call(1.0)
    with pytest.raises(ValueError, match=r"`targets`.*\(3, 1\).*\(4,\)"):
        mixture.log_prob(np.zeros(4))
    with pytest.raises(ValueError, match=r"`values`.*\(3, 1\).*\(4,\)"):
        mixture.cdf(np.zeros(4))
    with pytest.raises(ValueError, match="`num_samples` must be.*num_samples=0"):
        mixture.sample(0)
    with pytest.raises(ValueError, match="`seed` must be.*seed=-1"):
        mixture.sample(3, seed=-1)
    counts = heads.DrawMixture(heads.Poisson(), np.ones((2, 3, 1)))
    for call in (counts.log_prob, counts.pit, counts.crps):
        with pytest.raises(ValueError, match="`targets` must be counts.*value -1"):
            call([0, -1, 2])
