"""Families of distributions, and what SciPy says of each, from its own arguments."""

import numpy as np
from keras import ops
from scipy import stats

from tests.helpers.layers import BACKEND, to_numpy
from tfhyper import heads

FAMILIES = {
    "normal": heads.Normal(2),
    "laplace": heads.Laplace(2, scale_link="exp"),
    "student_t": heads.StudentT(2),
    "mixture": heads.NormalMixture(3, 2),
    "poisson": heads.Poisson(2),
    "negative_binomial": heads.NegativeBinomial(2, mean_link="exp"),
    "categorical": heads.Categorical(4),
}
# Class of a head, its arguments.
HEADS = {
    "normal": (heads.NormalHead, {"targets": 2}),
    "laplace": (heads.LaplaceHead, {"targets": 2, "scale_link": "exp"}),
    "student_t": (heads.StudentTHead, {"targets": 2}),
    "mixture": (heads.MixtureHead, {"components": 3, "targets": 2}),
    "poisson": (heads.PoissonHead, {"targets": 2}),
    "negative_binomial": (
        heads.NegativeBinomialHead,
        {"targets": 2, "mean_link": "exp"},
    ),
    "categorical": (heads.CategoricalHead, {"classes": 4}),
}
NUMBERS = [name for name in FAMILIES if name != "categorical"]
REAL = ["normal", "laplace", "student_t", "mixture"]


def raw_of(family, *leading, seed=0):
    """Returns what a layer before a head might give, float32."""
    rng = np.random.default_rng(seed)
    return (2 * rng.normal(size=(*leading, family.units))).astype("float32")


def parameters_of(family, *leading, seed=0):
    """Returns parameters in float32."""
    return to_numpy(family.link(ops.convert_to_tensor(raw_of(family, *leading))))


def targets_of(family, *leading, seed=1):
    """Returns targets in the support, float32."""
    rng = np.random.default_rng(seed)
    size = (*leading, family.targets)
    if isinstance(family, heads.Categorical):
        return rng.integers(0, family.classes, size).astype("float32")
    if isinstance(family, heads.CountFamily):
        return rng.integers(0, 6, size).astype("float32")
    return (3 * rng.normal(size=size)).astype("float32")


def values_of(name):
    """Returns what a family makes of the same numbers on any backend, by name."""
    family = FAMILIES[name]

    def compute(raw, targets):
        parameters = family.link(raw)
        found = {
            "parameters": parameters,
            "log_prob": family.log_prob(targets, parameters),
            "mean": family.mean(parameters),
            "variance": family.variance(parameters),
        }
        if name in NUMBERS:
            found["crps"] = family.crps(targets, parameters)
        return found

    if BACKEND == "jax":
        import jax

        compute = jax.jit(compute)  # one by one, each operation is compiled
    given = ops.convert_to_tensor(raw_of(family, 7)), targets_of(family, 7)
    found = compute(given[0], ops.convert_to_tensor(given[1]))
    return {key: to_numpy(value) for key, value in found.items()}


def scipy_of(name, parameters):
    """Returns weights (components, ..., 1), and SciPy's distribution of each target."""
    p = np.asarray(parameters, np.float64)
    one = np.ones((1, *p.shape[:-1], 1))
    if name == "mixture":
        loc, scale = (p[..., i : i + 6].reshape(*p.shape[:-1], 3, 2) for i in (3, 9))
        frozen = stats.norm(np.moveaxis(loc, -2, 0), np.moveaxis(scale, -2, 0))
        weights = np.exp(p[..., :3]) / np.exp(p[..., :3]).sum(axis=-1, keepdims=True)
        return np.moveaxis(weights, -1, 0)[..., None], frozen
    first, second, third = p[..., :2], p[..., 2:4], p[..., 4:]
    return one, {
        "normal": lambda: stats.norm(first, second),
        "laplace": lambda: stats.laplace(first, second),
        "student_t": lambda: stats.t(third, first, second),
        "poisson": lambda: stats.poisson(first),
        "negative_binomial": lambda: stats.nbinom(second, second / (first + second)),
    }[name]()


def scipy_cdf(name, parameters):
    """Returns the function of x that is the mean of SciPy's cdf over leading draws."""
    weights, frozen = scipy_of(name, parameters)
    return lambda x: np.sum(weights * frozen.cdf(x), axis=0)
