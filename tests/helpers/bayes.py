"""What the tests of layers with a Gaussian posterior need."""

import keras
import numpy as np

from tests.helpers.layers import to_numpy
from tfhyper import layers

ESTIMATORS = ("reparameterization", "local_reparameterization", "flipout")


def bayes_class(name):
    return getattr(layers, f"Bayes{name}")


def weights_of(layer):
    """Returns name -> value of a layer's weights, float64, without the path."""
    return {
        weight.path.rsplit("/", 1)[-1]: to_numpy(weight).astype("float64")
        for weight in layer.weights
    }


def set_weight(layer, name, value):
    found = [w for w in layer.weights if w.path.rsplit("/", 1)[-1] == name]
    (variable,) = found
    variable.assign(np.broadcast_to(value, variable.shape))


def softplus(x):
    return np.logaddexp(0.0, x)


def inverse_softplus(scale):
    return np.log(np.expm1(scale))


def spread(layer, low=0.1, high=0.5, seed=0):
    """Gives each weight a standard deviation of its own, uniform in a range."""
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_weights:
        if variable.name in ("kernel_rho", "bias_rho"):
            scales = rng.uniform(low, high, variable.shape)
            variable.assign(inverse_softplus(scales))


def stock_layer(name, options, inputs_shape, kernel, bias=None):
    """Returns the stock layer of Keras with these weights."""
    layer = getattr(keras.layers, name)(**options)
    layer.build(inputs_shape)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer


def normal_kl(mean, scale, prior_mean, prior_scale):
    """KL(N(mean, scale^2) || N(prior_mean, prior_scale^2)), summed, in float64."""
    ratio = np.asarray(scale, "float64") / prior_scale
    shift = (np.asarray(mean, "float64") - prior_mean) / prior_scale
    return np.sum((ratio**2 + shift**2 - 1) / 2 - np.log(ratio))
