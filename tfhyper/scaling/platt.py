"""Platt scaling: a logistic curve of the log-odds of each class."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.checks import check_bool
from tfhyper.scaling.arrays import as_tuple, check_numbers
from tfhyper.scaling.base import LOG_ROUNDING, constant, log_of
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import likeliest
from tfhyper.scaling.one_versus_rest import OneVersusRest, check_count, maps_of
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


@dataclasses.dataclass(frozen=True)
class Platt(OneVersusRest):
    """A logistic curve of the log-odds of a class (Platt, 1999).

        q = sigmoid(a s + b),   s = log p - log (1 - p)

    so that s is the logit of a column of one. Of two classes or a column of one it is
    for class 1; of more classes each has an a and a b against all others, and the q
    are divided by their sum. Of `fit`, a and b are those of the least NLL with
    Platt's targets, (N1 + 1) / (N1 + 2) and 1 / (N0 + 2) in place of 1 and 0 where N1
    examples are of the class and N0 are not. That is `CalibratedClassifierCV` of
    scikit-learn with `method="sigmoid"`, of the decision function s.

    Args:
        slopes: a, one float, or one for each of three classes or more.
        intercepts: b, as many.
        per_draw: bool, scale each draw and then average: see `Scaling`.

    Raises:
        ValueError: for numbers that are not finite, or not as many.
        TypeError: for what are no numbers.

    Example:

    >>> scaling = tfhyper.scaling.Platt([0.5], [0.0])
    >>> scaling([[0.1, 0.9]]).round(2).tolist()
    [[0.25, 0.75]]

    Reference:
        Platt: Probabilistic outputs for support vector machines, 1999. Zadrozny,
        Elkan: Transforming classifier scores into accurate multiclass probability
        estimates, KDD 2002.
    """

    method: ClassVar[str] = "platt"
    scales_draws: ClassVar[bool] = True

    slopes: Sequence[float]
    intercepts: Sequence[float]
    per_draw: bool = False

    def __post_init__(self) -> None:
        slopes = check_numbers("slopes", self.slopes, 1)
        intercepts = check_numbers("intercepts", self.intercepts, 1)
        check_count("slopes", len(slopes))
        if intercepts.shape != slopes.shape:
            raise ValueError(
                "`intercepts` must be as many as `slopes`. "
                f"Received: {len(slopes)} slopes, {len(intercepts)} intercepts"
            )
        object.__setattr__(self, "slopes", as_tuple(slopes))
        object.__setattr__(self, "intercepts", as_tuple(intercepts))
        object.__setattr__(self, "per_draw", check_bool("per_draw", self.per_draw))

    @property
    def count(self) -> int:
        """How many curves there are."""
        return len(self.slopes)

    @property
    def rounding(self) -> float:
        """See the base class."""
        return LOG_ROUNDING * float(np.max(np.abs(self.slopes)))

    def of_each(self, values: Tensor, xp: Any) -> Tensor:
        """Returns the curves of log-odds (..., curves)."""
        scaled = xp.multiply(values, constant(self.slopes, xp))
        scaled = xp.add(scaled, constant(self.intercepts, xp))
        # The sigmoid, without a product that overflows.
        return xp.multiply(xp.add(xp.tanh(xp.multiply(scaled, 0.5)), 1.0), 0.5)

    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns the scaled probabilities, see the base class."""
        return self.of_log_probabilities(log_of(probs, xp), xp)

    def of_log_probabilities(self, log_probs: Tensor, xp: Any) -> Tensor:
        """Returns the scaled probabilities, see the base class."""
        odds = log_odds(log_probs, self.classes, xp)
        return self.joined(self.of_each(odds, xp), xp)

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the curves of the least NLL, see the base class."""
        data.check_every_class(cls.method)
        odds = log_odds(data.log_probs, data.classes, np)
        found = [
            _curve(odds[..., i], data.labels == c, data.weights)
            for i, c in enumerate(maps_of(data.classes))
        ]
        slopes, intercepts = np.transpose(found)
        return cls(slopes, intercepts, per_draw)

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"Platt's, of {self.classes} classes{', per draw' * self.per_draw}"


def log_odds(log_probs: Tensor, classes: int, xp: Any) -> Tensor:
    """Returns log p - log (1 - p) of the classes that have a map, (..., maps)."""
    if classes == 2:
        return xp.subtract(log_probs[..., 1:], log_probs[..., :1])
    # The sum of the other classes has more digits than 1 - p.
    others = constant(1.0 - np.eye(classes), xp)
    rest = xp.matmul(xp.exp(log_probs), others)
    return xp.subtract(log_probs, log_of(rest, xp))


def _curve(
    odds: np.ndarray, is_class: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Returns a and b of one class, of its log-odds (draws, rows)."""
    weights = np.ones(len(is_class)) if weights is None else weights
    inside, outside = weights[is_class].sum(), weights[~is_class].sum()
    target = np.where(is_class, (inside + 1) / (inside + 2), 1 / (outside + 2))
    # Each row stands twice: as one of the class, and as none, by its target.
    twice = np.concatenate([odds, odds], axis=1)
    data = CalibrationData(
        np.stack([np.zeros_like(twice), twice], axis=-1),
        np.repeat([1, 0], len(is_class)),
        np.concatenate([weights * target, weights * (1 - target)]),
    )

    def logits(numbers: np.ndarray) -> np.ndarray:
        slope, intercept = numbers
        return data.log_probs * slope + np.array([0.0, intercept])

    def pull(gradient: np.ndarray) -> np.ndarray:
        of_class = gradient[..., 1]
        return np.array([np.sum(of_class * data.log_probs[..., 1]), of_class.sum()])

    return likeliest(data, logits, pull, [1.0, 0.0])
