"""Variational Bayesian last layers by NumPy, one output after the other."""

import numpy as np

from tests.helpers.bayes import softplus
from tests.helpers.layers import normal, to_numpy

FORMS = {
    "dense": {},
    "diagonal": {"covariance": "diagonal"},
    "low_rank": {"covariance": "low_rank", "rank": 2},
    "known": {"noise_scale": 0.7},
}


def randomise(layer):
    """Gives a built layer weights as after a training, none at its start."""
    for i, variable in enumerate(layer.trainable_variables):
        values = 0.4 * normal(*variable.shape, seed=i)
        variable.assign(values - 1 if "rho" in variable.name else values)


def moments(layer):
    """Returns the means of the kernel's columns and their covariances, in float64."""
    mean = to_numpy(layer.kernel_mean).astype("float64").T
    scales = softplus(to_numpy(layer.kernel_rho).astype("float64")).T
    covariances = []
    for k, scale in enumerate(scales):
        if layer.covariance == "dense":
            lower = np.tril(to_numpy(layer.kernel_lower)[k].astype("float64"), -1)
            lower = lower + np.diag(scale)
            covariances.append(lower @ lower.T)
        else:
            covariance = np.diag(scale**2)
            if layer.covariance == "low_rank":
                factor = to_numpy(layer.kernel_factor)[k].astype("float64")
                covariance = covariance + factor @ factor.T
            covariances.append(covariance)
    return mean, np.array(covariances)


def noise_variance(layer):
    if layer.noise_scale is not None:
        return np.full(layer.units, layer.noise_scale**2)
    return softplus(to_numpy(layer.noise_rho).astype("float64")) ** 2


def outputs(layer, x):
    """Returns means and variances without the noise, (examples, units)."""
    mean, covariances = moments(layer)
    bias = 0 if layer.bias is None else to_numpy(layer.bias)
    variance = np.einsum("bd,kde,be->bk", x, covariances, x)
    return x @ mean.T + bias, variance


def kl(layer):
    """Returns KL(q || p), by determinants and traces."""
    total, (mean, covariances) = 0.0, moments(layer)
    size = mean.shape[1]
    prior = layer.prior_scale**2 * 2 / size
    for m, covariance in zip(mean, covariances, strict=True):
        total += np.trace(covariance) / prior + m @ m / prior - size
        total += size * np.log(prior) - np.linalg.slogdet(covariance)[1]
    return total / 2


def noise_penalty(layer):
    """Returns -log of the noise's inverse Wishart density, up to a constant."""
    if layer.noise_scale is not None:
        return 0.0
    covariance = np.diag(noise_variance(layer))
    dof, size = layer.noise_dof, layer.units
    log_density = -(dof + size + 1) / 2 * np.linalg.slogdet(covariance)[1]
    trace = np.trace(layer.noise_prior_scale * np.linalg.inv(covariance))
    return -(log_density - trace / 2)
