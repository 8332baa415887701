"""Parameters of a distribution: where they stand on the last axis, and their range."""

import abc
import dataclasses
from typing import Any, Literal, get_args

import numpy as np
from keras import ops

from tfhyper.tensor_types import Tensor

PositiveLink = Literal["softplus", "exp"]
POSITIVE_LINKS = get_args(PositiveLink)
# exp beyond it gives scales whose squares float32 can still hold.
_LARGEST_LOG = 20.0
# How far from one probabilities in float32 may sum.
_SUM_TOLERANCE = 1e-3


class Constraint(abc.ABC):
    """The range of a parameter, and how any number becomes one in it."""

    @abc.abstractmethod
    def link(self, raw: Tensor) -> Tensor:
        """Returns the parameter, from what a network gave."""

    def check(self, name: str, values: np.ndarray) -> None:
        """Raises ValueError unless values, finite ones, lie in the range."""


class Real(Constraint):
    """Any real number, as it is."""

    def link(self, raw: Tensor) -> Tensor:
        """Returns the same."""
        return raw


@dataclasses.dataclass(frozen=True)
class Positive(Constraint):
    """A number above zero: floor + softplus(raw), or floor + exp(raw).

    Attributes:
        floor: the least one, > 0, so that no logarithm or quotient overflows.
        function: `"softplus"` or `"exp"`, whose argument is kept within 20 of 0.
    """

    floor: float
    function: PositiveLink = "softplus"

    def link(self, raw: Tensor) -> Tensor:
        """Returns the floor and what lies above it."""
        if self.function == "exp":
            return self.floor + ops.exp(ops.clip(raw, -_LARGEST_LOG, _LARGEST_LOG))
        return self.floor + ops.softplus(raw)

    def check(self, name: str, values: np.ndarray) -> None:
        """Raises ValueError for a number that is not above zero."""
        if not (values > 0).all():
            raise ValueError(
                f"`parameters` must have a {name} above 0: end the network in a head "
                f"of `tfhyper.heads`. Received: a {name} of {values.min()}"
            )


class LogProbabilities(Constraint):
    """Logarithms of numbers that sum to one along the last axis: log softmax(raw)."""

    def link(self, raw: Tensor) -> Tensor:
        """Returns normalised logits."""
        return ops.log_softmax(raw, axis=-1)

    def check(self, name: str, values: np.ndarray) -> None:
        """Raises ValueError where the exponentials do not sum to one."""
        sums = np.exp(np.logaddexp.reduce(values.astype(np.float64), axis=-1))
        worst = sums.flat[np.argmax(np.abs(sums - 1))]
        if abs(worst - 1) > _SUM_TOLERANCE:
            raise ValueError(
                f"`parameters` must have {name} whose exponentials sum to one. "
                f"Received: a sum of {worst}"
            )


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a distribution.

    Attributes:
        name: what it is called, as in `Family.split`.
        size: how many numbers of the last axis it takes, int > 0.
        constraint: the range of these numbers.
    """

    name: str
    size: int
    constraint: Constraint


def split(layout: tuple[Parameter, ...], values: Any) -> dict[str, Any]:
    """Returns the parts of the last axis by the parameters' names.

    Args:
        layout: the parameters, in their order.
        values: array or tensor (..., units).
    """
    found, start = {}, 0
    for parameter in layout:
        found[parameter.name] = values[..., start : start + parameter.size]
        start += parameter.size
    return found
