"""Temperature scaling: all logits divided by one number."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.checks import check_bool, check_number
from tfhyper.scaling.base import LOG_ROUNDING, Scaling, log_of, softmax
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import (
    LARGEST,
    negative_log_likelihood,
    warn_of_ends,
)
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


@dataclasses.dataclass(frozen=True)
class Temperature(Scaling):
    """Divides logits by a temperature T (Guo et al., 2017).

        q = softmax(log p / T)

    which is softmax(z / T) of logits z, and sigmoid(z / T) of a column of one. Above 1
    it makes predictions less sure, below 1 surer; which class is likeliest stays.
    One number is fitted well by some hundred examples. It is the T in [0.01, 100] of
    the least NLL.

    Args:
        temperature: T, float > 0.
        per_draw: bool, scale each draw and then average: see `Scaling`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> predictor.scaling = tfhyper.scaling.Temperature(1.7)
    >>> cooler = predictor.predict(x_test)
    >>> predictor.scaling = None
    >>> warmer = predictor.predict(x_test)
    >>> bool((cooler.total >= warmer.total).all())
    True

    Reference:
        Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks, ICML
        2017, section 4.2.
    """

    method: ClassVar[str] = "temperature"
    scales_draws: ClassVar[bool] = True

    temperature: float
    per_draw: bool = False

    def __post_init__(self) -> None:
        found = check_number("temperature", self.temperature, positive=True)
        # Its inverse is a number, too.
        check_number("temperature", 1.0 / found, positive=True)
        object.__setattr__(self, "temperature", found)
        object.__setattr__(self, "per_draw", check_bool("per_draw", self.per_draw))

    @property
    def classes(self) -> int | None:
        """`None`: it is for any number of classes."""
        return None

    @property
    def rounding(self) -> float:
        """See the base class."""
        return LOG_ROUNDING / self.temperature

    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(log p / T), see the base class."""
        return self.of_log_probabilities(log_of(probs, xp), xp)

    def of_log_probabilities(self, log_probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(log p / T), see the base class."""
        return softmax(xp.multiply(log_probs, 1.0 / self.temperature), xp)

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the temperature of the least NLL, see the base class."""
        from scipy.optimize import minimize_scalar

        def loss(log_temperature: float) -> float:
            logits = data.log_probs / math.exp(log_temperature)
            return negative_log_likelihood(logits, data.labels, data.weights)[0]

        end = math.log(LARGEST)
        found = minimize_scalar(
            loss, bounds=(-end, end), method="bounded", options={"xatol": 1e-9}
        )
        # The search comes near to an end, and does not try it.
        warn_of_ends(np.array([found.x]), end * (1 - 1e-4))
        return cls(math.exp(found.x), per_draw)

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"temperature {self.temperature:.4g}{', per draw' * self.per_draw}"
