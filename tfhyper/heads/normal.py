"""The normal distribution."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.heads.family import Components
from tfhyper.heads.location_scale import LocationScale
from tfhyper.heads.special import LOG_SQRT_2PI, mean_distance
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class Normal(LocationScale):
    """Independent normal distributions: a mean and a standard deviation per target.

    Layout of the last axis: `loc` of all targets, `scale` of all targets.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.Normal()
    >>> parameters = np.array([[0.0, 1.0]], "float32")
    >>> round(float(family.log_prob(np.array([[1.0]]), parameters)[0]), 4)
    -1.4189
    """

    def standard_log_prob(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns the log-density of N(0, 1)."""
        return -ops.square(z) / 2 - LOG_SQRT_2PI

    def standard_crps(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns E |e - z| - E |e - e'| / 2 (Gneiting and Raftery, 2007)."""
        return mean_distance(z, ops.ones_like(z)) - 1 / math.sqrt(math.pi)

    def standard_variance(self, **shape: Tensor) -> float:
        """Returns 1."""
        return 1.0

    def standard_sample(
        self, size: tuple, dtype: str, seed: Any, **shape: Tensor
    ) -> Tensor:
        """Returns samples of N(0, 1)."""
        return keras.random.normal(size, dtype=dtype, seed=seed)

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.norm`."""
        from scipy import stats

        parts = self.split(parameters)
        arguments = {name: values[np.newaxis] for name, values in parts.items()}
        return Components(
            np.ones((1, *parameters.shape[:-1], 1)), stats.norm, arguments
        )
