"""Multiplicative normalizing flows in NumPy, from the formulas of the paper."""

import numpy as np

from tests.helpers.bayes import normal_kl, softplus, weights_of


class FixedNoise:
    """A source of noise that gives the same arrays for a stream, whenever asked."""

    def __init__(self, seed=0):
        self.seed, self.given = seed, {}

    def normal(self, stream, shape):
        return self._keep(stream, lambda rng: rng.normal(size=shape))

    def masks(self, stream, shape):
        return self._keep(stream, lambda rng: rng.integers(0, 2, shape) * 1.0)

    def _keep(self, stream, draw):
        if stream not in self.given:
            rng = np.random.default_rng([self.seed, *stream.encode()])
            self.given[stream] = draw(rng).astype("float32")
        return self.given[stream]


def sigmoid(x):
    return np.exp(-softplus(-x))


def flow(weights, name, z, masks):
    """Equations 9 and 10, one step for each mask; z is (n, size)."""
    log_det = np.zeros(len(z))
    for i, m in enumerate(masks):

        def linear(part, x, i=i):
            kernel = weights[f"{name}_{i}_{part}"]
            return x @ kernel + weights[f"{name}_{i}_{part}_bias"]

        h = np.tanh(linear("hidden", m * z))
        shift, gate = linear("shift", h), sigmoid(linear("gate", h))
        z = m * z + (1 - m) * (z * gate + (1 - gate) * shift)
        log_det += ((1 - m) * np.log(gate)).sum(-1)
    return z, log_det


def along(z, kernel, axis):
    """z with the shape that multiplies a kernel along an axis, for each row of z."""
    shape = [len(z)] + [1] * kernel.ndim
    shape[1 + axis % kernel.ndim] = -1
    return z.reshape(shape)


def multiplier(weights, normal, masks):
    """z, and log |dz / dz_0|."""
    z_0 = weights["multiplier_mean"] + softplus(weights["multiplier_rho"]) * normal
    return flow(weights, "multiplier_flow", z_0, masks)


def log_normal(x, mean, variance):
    return -0.5 * (np.log(2 * np.pi * variance) + (x - mean) ** 2 / variance)


def log_auxiliary(weights, z, products, masks):
    """log r(z | W) for c . W, whose axes follow that of the draws."""
    feature = np.tanh(products).reshape(len(z), -1).mean(-1, keepdims=True)
    z_b, log_det = flow(weights, "multiplier_auxiliary", z, masks)
    mean = weights["multiplier_auxiliary_mean"] * feature
    variance = np.exp(weights["multiplier_auxiliary_log_variance"] * feature)
    return log_normal(z_b, mean, variance).sum(-1) + log_det


def bound(layer, noise):
    """KL(q(W | z) || p(W)) + log q(z) - log r(z | W), for a layer's noise."""
    weights, axis = weights_of(layer), layer.multiplier_axis
    mean, scale = weights["kernel_mean"], softplus(weights["kernel_rho"])
    z, log_det = multiplier(weights, noise["kl_multiplier"], noise["kl_masks"])
    location = along(z, mean, axis)[0] * mean
    entropy = np.log(softplus(weights["multiplier_rho"])) + (1 + np.log(2 * np.pi)) / 2
    c = along(weights["multiplier_auxiliary_projection"][None], mean, axis)[0]
    products = (c * location).sum(axis)
    deviation = np.sqrt(((c * scale) ** 2).sum(axis))
    products = (products + deviation * noise["kl_projection"])[None]
    masks = noise["kl_auxiliary_masks"]
    kl = normal_kl(location, scale, 0.0, layer.prior_scale)
    log_r = log_auxiliary(weights, z, products, masks)[0]
    return kl - entropy.sum() - log_det[0] - log_r


def sampled_bounds(layer, num_draws, seed=0):
    """The same with nothing but densities of drawn weights, one value each."""
    rng = np.random.default_rng(seed)
    weights, axis = weights_of(layer), layer.multiplier_axis
    mean, scale = weights["kernel_mean"], softplus(weights["kernel_rho"])
    size, steps = mean.shape[axis], layer.num_flows
    shape = (steps, num_draws, size)
    normal = rng.normal(size=(num_draws, size))
    z, log_det = multiplier(weights, normal, rng.integers(0, 2, shape))
    log_q_z = log_normal(normal, 0, 1) - np.log(softplus(weights["multiplier_rho"]))
    location = along(z, mean, axis) * mean
    kernels = location + scale * rng.normal(size=location.shape)
    c = along(weights["multiplier_auxiliary_projection"][None], mean, axis)
    products = (c * kernels).sum(1 + axis % mean.ndim)
    log_r = log_auxiliary(weights, z, products, rng.integers(0, 2, shape))
    log_q = log_normal(kernels, location, scale**2)
    log_p = log_normal(kernels, 0.0, layer.prior_scale**2)
    log_ratio = (log_q - log_p).reshape(num_draws, -1).sum(-1)
    return log_ratio + log_q_z.sum(-1) - log_det - log_r


def kernel_of_draw(layer, noise):
    """The kernel of a draw, by NumPy: z's noise, masks and the kernel's in turn."""
    rng = np.random.default_rng(noise)
    weights = weights_of(layer)
    mean, scale = weights["kernel_mean"], softplus(weights["kernel_rho"])
    size = mean.shape[layer.multiplier_axis]
    normal = rng.standard_normal((1, size), "float32")
    masks = rng.random((layer.num_flows, 1, size), "float32") < 0.5
    z, _ = multiplier(weights, normal, masks)
    eps = rng.standard_normal(mean.shape, "float32")
    return along(z, mean, layer.multiplier_axis)[0] * mean + scale * eps


def randomise(layer, seed=0):
    """Gives a layer weights as after a training: of a size, deviations too."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_weights:
        values = rng.normal(0, 0.7, variable.shape)
        if variable.name.endswith("_rho"):
            values = rng.uniform(-1.5, 0.0, variable.shape)
        elif variable.name == "multiplier_mean":
            values += 1.0
        variable.assign(values)
