"""What the tests of kernels with rank-one factors need: their formulas in NumPy."""

import numpy as np

from tests.helpers.bayes import softplus, weights_of
from tests.helpers.layers import normal

# What a layer of each posterior is given besides its sizes.
FORMS = {
    "point": {},
    "gaussian": {"posterior": "gaussian", "kl_weight": 0.01},
    "cauchy": {"posterior": "cauchy", "kl_weight": 0.01},
}


def randomise(layer, seed=0):
    """Gives a built layer weights as after a training."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_weights:
        if variable.name.endswith("_rho"):
            variable.assign(rng.uniform(-3.0, -1.0, variable.shape))
        elif "factors" in variable.name:
            variable.assign(1 + rng.normal(size=variable.shape) / 2)
        elif variable.name == "bias":
            variable.assign(rng.normal(size=variable.shape))


def built(cls, sizes, inputs_shape, **options):
    """Returns a layer with weights as after a training, and its inputs."""
    options = {"members": 2, "seed": 3, **options}
    layer = cls(**sizes, **options)
    layer.build(inputs_shape)
    randomise(layer)
    return layer, normal(*inputs_shape)


def factors_of(layer, noise):
    """Returns r and s of a draw, in float64."""
    weights, member = weights_of(layer), int(noise[0])
    found, rest = [], np.asarray(noise[1:], "float64")
    for name in ("input_factors", "output_factors"):
        if layer.posterior == "point":
            found.append(weights[name][member])
            continue
        location = weights[f"{name}_location"][member]
        scale = softplus(weights[f"{name}_rho"][member])
        here, rest = rest[: location.size], rest[location.size :]
        found.append(np.clip(location + scale * here, -10, 10))
    return found


def kernel_of(layer, noise):
    """Returns the kernel of a draw, entry by entry, in float64."""
    rows, columns = factors_of(layer, noise)
    kernel = weights_of(layer)["shared_kernel"].copy()
    groups = getattr(layer, "groups", 1)
    channels, filters = kernel.shape[-2:]
    for j in range(filters):
        first = channels * (j // (filters // groups))
        for i in range(channels):
            kernel[..., i, j] *= rows[first + i] * columns[j]
    return kernel


def bias_of(layer, noise):
    """Returns the bias of a draw, or `None`."""
    bias = weights_of(layer).get("bias")
    return bias[int(noise[0])] if layer.member_bias and bias is not None else bias


def kernel_of_points(layer, member):
    """Returns the kernel of a member at the locations of its factors."""
    size = layer.input_factors.size + layer.output_factors.size
    return kernel_of(layer, np.array([member, *np.zeros(size)]))
