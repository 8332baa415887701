"""What a scaling of probabilities is: a map that held-out data chose."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import as_float_array, check_rows_of_probabilities
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.summary import Summary
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# Probabilities are not told from 0 below it: their logarithms are finite.
TINY = 1e-30
# What networks' sums in float32 leave open of a log-probability, and of a probability.
LOG_ROUNDING, ROUNDING = 2e-6, 2.0**-21


class Scaling(abc.ABC):
    """A map from class probabilities to calibrated ones: the base of all methods.

    A subclass is a frozen dataclass of numbers. It says its formula once, of arrays
    and of tensors, and how held-out data choose its numbers.

    Where a predictor averages over draws, a scaling stands in one of two places:

        pooled:     q = g(1/N sum_t p_t)      the mean is scaled
        per draw:   q = 1/N sum_t g(p_t)      each draw is scaled, by the same g

    Either way the numbers of g are those that make the *averaged* prediction best.
    Draws that are calibrated each by itself give a mean that is too unsure, since an
    average is less sure than what it averages (Rahaman and Thiery, 2021: "pool, then
    calibrate"). With a single network both are the same.

    Attributes:
        method: the name of the method, as of `tfhyper.scaling.fit`.
        scales_draws: whether it can be applied to each draw.
        per_draw: whether it is.
        options: what its `fit` takes besides data, with the defaults.

    Example:

    >>> scaling = tfhyper.scaling.Temperature(2.0)
    >>> isinstance(scaling, tfhyper.scaling.Scaling)
    True
    >>> scaling([[0.9, 0.1]]).round(2).tolist()
    [[0.75, 0.25]]

    Reference:
        Rahaman, Thiery: Uncertainty quantification and deep ensembles, NeurIPS 2021.
    """

    method: ClassVar[str]
    scales_draws: ClassVar[bool] = False
    options: ClassVar[Mapping[str, Any]] = {}
    per_draw: bool = False

    @property
    @abc.abstractmethod
    def classes(self) -> int | None:
        """How many classes it is for; `None` for any number."""

    @property
    def rounding(self) -> float:
        """How far what float32 rounds of its inputs may move what it gives, at most.

        A file of `tfhyper.export` may differ from the predictor by that.
        """
        return 0.0

    @abc.abstractmethod
    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns the probabilities that it makes of probabilities.

        Args:
            probs: (..., classes).
            xp: `numpy` for arrays, which are float64, or `keras.ops` for tensors,
                which are float32.
        """

    def of_log_probabilities(self, log_probs: Tensor, xp: Any) -> Tensor:
        """Returns the same, of the logarithms of probabilities.

        For methods that are formulas of these, see `scales_draws`.
        """
        return self.of_probabilities(xp.exp(log_probs), xp)

    @classmethod
    @abc.abstractmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the scaling that held-out data choose.

        Args:
            data: the data; of several draws if `per_draw`.
            per_draw: whether it is applied to each draw.
            options: values of `options`.
        """

    @abc.abstractmethod
    def in_words(self) -> str:
        """Returns what it is, in a few words."""

    def __call__(self, probs: ArrayLike) -> np.ndarray:
        """Returns scaled probabilities, float64 of the same shape.

        Args:
            probs: probabilities (..., classes), whose rows sum to one.

        Raises:
            ValueError: for what are no probabilities, or another number of classes.
            TypeError: for what is no array of real numbers.
        """
        array = as_float_array("probs", probs)
        if array.ndim < 2:
            raise ValueError(
                "`probs` must have the axes (batch, classes), or more before the last. "
                f"Received: probs.shape={array.shape}"
            )
        check_rows_of_probabilities("probs", array)
        self.check_classes("probs", array.shape[-1])
        return self.of_probabilities(array.astype(np.float64), np)

    def check_classes(self, name: str, classes: int | None) -> None:
        """Raises ValueError unless it is for so many classes.

        Args:
            name: the argument that is refused.
            classes: how many there are.
        """
        if self.classes not in (None, classes):
            raise ValueError(
                f"`{name}` must be for the same number of classes. Received: a scaling "
                f"of {self.classes} classes ({self.method}), for {classes} classes"
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the name of its method and its arguments, as JSON values."""
        # Every subclass is a dataclass.
        found = dataclasses.asdict(self)  # type: ignore[call-overload]  # above
        return {"method": self.method, **found}

    def _repr_html_(self) -> str:
        """Returns what notebooks show."""
        return Summary(f"Scaling: {self.in_words()}").html()


def constant(value: ArrayLike, xp: Any) -> Any:
    """Returns numbers as `xp` takes them: float64 arrays, or float32 tensors."""
    if xp is np:
        return np.asarray(value, np.float64)
    return xp.convert_to_tensor(np.asarray(value, np.float32))


def softmax(logits: Tensor, xp: Any) -> Tensor:
    """Returns the softmax along the last axis, of arrays or of tensors."""
    shifted = xp.subtract(logits, xp.max(logits, axis=-1, keepdims=True))
    found = xp.exp(shifted)
    return xp.divide(found, xp.sum(found, axis=-1, keepdims=True))


def log_softmax(logits: Tensor, xp: Any) -> Tensor:
    """Returns the logarithm of the softmax along the last axis."""
    shifted = xp.subtract(logits, xp.max(logits, axis=-1, keepdims=True))
    total = xp.sum(xp.exp(shifted), axis=-1, keepdims=True)
    return xp.subtract(shifted, xp.log(total))


def softplus(values: Tensor, xp: Any) -> Tensor:
    """Returns log(1 + e^x)."""
    return np.logaddexp(values, 0.0) if xp is np else xp.softplus(values)


def log_of(probs: Tensor, xp: Any) -> Tensor:
    """Returns logarithms of probabilities, none below log(1e-30) = -69."""
    return xp.log(xp.maximum(probs, TINY))
