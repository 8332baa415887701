"""Student's t-distribution."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.heads.family import Components
from tfhyper.heads.location_scale import LocationScale
from tfhyper.heads.parameters import Parameter, Positive
from tfhyper.heads.special import log_gamma_half_step, log_t_peak, t_two_sided
from tfhyper.tensor_types import Tensor

# The variance is finite above 2 degrees of freedom.
_MIN_DF = 2.001


@keras.saving.register_keras_serializable("tfhyper")
class StudentT(LocationScale):
    """Independent t-distributions: targets with outliers.

    Layout of the last axis: `loc`, `scale` and `df` (degrees of freedom), each of all
    targets. df = 2.001 + softplus(raw), so that the variance, scale^2 df / (df - 2), is
    finite.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.StudentT()
    >>> parameters = np.array([[0.0, 1.0, 4.0]], "float32")
    >>> round(float(family.log_prob(np.array([[0.0]]), parameters)[0]), 4)
    -0.9808
    >>> float(family.variance(parameters)[0, 0])
    2.0
    """

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The locations, the scales, the degrees of freedom."""
        return (*super().layout, Parameter("df", self.targets, Positive(_MIN_DF)))

    def standard_log_prob(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns the log-density of t with `df`."""
        df = shape["df"]
        return log_t_peak(df) - (df + 1) / 2 * ops.log1p(ops.square(z) / df)

    def standard_crps(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns the score of t with `df` (Jordan et al., 2019)."""
        df = shape["df"]
        tail = (df + ops.square(z)) * ops.exp(self.standard_log_prob(z, df=df))
        spread = ops.exp(
            2 * log_gamma_half_step(df / 2)
            - log_gamma_half_step(df - 0.5)
            - math.log(math.pi) / 2
        )
        return z * t_two_sided(z, df) + 2 / (df - 1) * (tail - ops.sqrt(df) * spread)

    def standard_variance(self, **shape: Tensor) -> Tensor:
        """Returns df / (df - 2)."""
        return shape["df"] / (shape["df"] - 2)

    def standard_sample(
        self, size: tuple, dtype: str, seed: Any, **shape: Tensor
    ) -> Tensor:
        """Returns samples, differentiable by `df` (Bailey, 1994)."""
        df = shape["df"]
        u = keras.random.uniform((2, *size), dtype=dtype, seed=seed)
        smallest = float(np.finfo(keras.backend.standardize_dtype(dtype)).tiny)
        radius = ops.expm1(-2 / df * ops.log(ops.maximum(u[0], smallest)))
        return ops.sqrt(df * ops.maximum(radius, smallest)) * ops.cos(
            2 * math.pi * u[1]
        )

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.t`."""
        from scipy import stats

        parts = self.split(parameters)
        arguments = {name: values[np.newaxis] for name, values in parts.items()}
        return Components(np.ones((1, *parameters.shape[:-1], 1)), stats.t, arguments)
