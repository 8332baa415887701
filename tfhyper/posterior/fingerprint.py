"""Whether a model was trained since its weights were taken."""

import math

import keras
from keras import ops

from tfhyper.posterior.batches import checksum


def fingerprint(model: keras.Model) -> int:
    """Returns a number that training the model, or loading weights, would change."""
    # Both change every weight: the smallest few tell, at a cost that no prediction
    # feels. Counts of draws and moving averages change without training, and the
    # factor of the KL divergence need not change.
    weights = [
        variable
        for variable in model.weights
        if "float" in variable.dtype
        and variable.name not in ("moving_mean", "moving_variance", "kl_factor")
    ]
    weights.sort(key=lambda variable: math.prod(variable.shape))
    return checksum([ops.convert_to_numpy(v) for v in weights[:8]])
