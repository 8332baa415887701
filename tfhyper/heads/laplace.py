"""The Laplace distribution."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.heads.family import Components
from tfhyper.heads.location_scale import LocationScale
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class Laplace(LocationScale):
    """Independent Laplace distributions, exp(-|y - loc| / scale) / (2 scale).

    Layout of the last axis: `loc` of all targets, `scale` of all targets. The variance
    is 2 scale^2.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.Laplace()
    >>> float(family.crps(np.array([[0.0]]), np.array([[0.0, 1.0]], "float32"))[0])
    0.25
    """

    def standard_log_prob(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns -|z| - log 2."""
        return -ops.abs(z) - math.log(2)

    def standard_crps(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns |z| + exp(-|z|) - 3 / 4 (Jordan et al., 2019)."""
        distance = ops.abs(z)
        return distance + ops.exp(-distance) - 0.75

    def standard_variance(self, **shape: Tensor) -> float:
        """Returns 2."""
        return 2.0

    def standard_sample(
        self, size: tuple, dtype: str, seed: Any, **shape: Tensor
    ) -> Tensor:
        """Returns samples, by the inverse of the distribution function."""
        u = keras.random.uniform(size, -1.0, 1.0, dtype=dtype, seed=seed)
        # -1 itself may come, of which the logarithm is not finite.
        smallest = float(np.finfo(keras.backend.standardize_dtype(dtype)).tiny)
        return -ops.sign(u) * ops.log(ops.maximum(1 - ops.abs(u), smallest))

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.laplace`."""
        from scipy import stats

        parts = self.split(parameters)
        arguments = {name: values[np.newaxis] for name, values in parts.items()}
        return Components(
            np.ones((1, *parameters.shape[:-1], 1)), stats.laplace, arguments
        )
