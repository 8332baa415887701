"""Vector scaling: a scale and a bias for each class."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.checks import check_bool
from tfhyper.scaling.arrays import as_tuple, check_numbers
from tfhyper.scaling.base import LOG_ROUNDING, Scaling, constant, log_of, softmax
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import likeliest
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


@dataclasses.dataclass(frozen=True)
class Vector(Scaling):
    """Scales and shifts the log-probability of each class (Guo et al., 2017).

        q = softmax(w * log p + b)

    with a number w and b for each class, those of the least NLL. The paper has logits
    in place of log p, which are log p and any number that an example's classes have in
    common: it means nothing, and is left out. Of two classes, or of a column of one,
    this is beta calibration (Kull et al., 2017).

    Args:
        weights: w, a float for each class.
        biases: b, as many.
        per_draw: bool, scale each draw and then average: see `Scaling`.

    Raises:
        ValueError: for numbers that are not finite, or not as many.
        TypeError: for what are no numbers.

    Example:

    >>> predictor = predictor.fit_scaling(x_val, y_val, "vector")
    >>> len(predictor.scaling.weights)
    10
    >>> predictor.scaling = None

    Reference:
        Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks, ICML
        2017, section 4.2. Kull, Silva Filho, Flach: Beta calibration, AISTATS 2017.
    """

    method: ClassVar[str] = "vector"
    scales_draws: ClassVar[bool] = True

    weights: Sequence[float]
    biases: Sequence[float]
    per_draw: bool = False

    def __post_init__(self) -> None:
        weights = check_numbers("weights", self.weights, 1)
        biases = check_numbers("biases", self.biases, 1)
        if len(weights) < 2 or biases.shape != weights.shape:
            raise ValueError(
                "`biases` must be as many as `weights`, one for each of two classes or "
                f"more. Received: {len(weights)} weights, {len(biases)} biases"
            )
        object.__setattr__(self, "weights", as_tuple(weights))
        object.__setattr__(self, "biases", as_tuple(biases))
        object.__setattr__(self, "per_draw", check_bool("per_draw", self.per_draw))

    @property
    def classes(self) -> int:
        """How many classes it is for."""
        return len(self.weights)

    @property
    def rounding(self) -> float:
        """See the base class."""
        return LOG_ROUNDING * float(np.max(np.abs(self.weights)))

    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(w * log p + b), see the base class."""
        return self.of_log_probabilities(log_of(probs, xp), xp)

    def of_log_probabilities(self, log_probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(w * log p + b), see the base class."""
        scaled = xp.multiply(log_probs, constant(self.weights, xp))
        return softmax(xp.add(scaled, constant(self.biases, xp)), xp)

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the numbers of the least NLL, see the base class."""
        data.check_every_class(cls.method)
        classes = data.classes

        def logits(numbers: np.ndarray) -> np.ndarray:
            return data.log_probs * numbers[:classes] + numbers[classes:]

        def pull(gradient: np.ndarray) -> np.ndarray:
            of_weights = np.sum(gradient * data.log_probs, axis=(0, 1))
            return np.concatenate([of_weights, gradient.sum(axis=(0, 1))])

        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        found = likeliest(data, logits, pull, start)
        return cls(as_tuple(found[:classes]), as_tuple(found[classes:]), per_draw)

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"vector of {self.classes} classes{', per draw' * self.per_draw}"
