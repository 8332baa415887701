"""Matrix scaling of log-probabilities: Dirichlet calibration."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.checks import check_bool, check_number
from tfhyper.scaling.arrays import as_tuple, check_numbers
from tfhyper.scaling.base import LOG_ROUNDING, Scaling, constant, log_of, softmax
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import likeliest
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# What a file holds; and the squares of more classes are more than held-out data tell.
_MOST_CLASSES = 512


@dataclasses.dataclass(frozen=True)
class Matrix(Scaling):
    """A linear map of the log-probabilities: Dirichlet calibration (Kull et al., 2019).

        q = softmax(W log p + b)

    Of `fit`, W and b are those of the least NLL with the paper's ODIR regularization,
    which pulls what is off the diagonal, and the biases, to 0:

        nll + r / (C (C - 1)) sum_{i != j} W_ij^2 + r / C sum_i b_i^2

    of C classes, with the same r = `regularization` for both. The paper chooses its by
    cross-validation; try 0.001 to 1 on data of their own. For more than 512 classes it
    is refused: Guo et al. found that C^2 numbers then fit what held-out data happen to
    be; take `Vector` or `Temperature`.

    Args:
        weights: W, C rows of C floats, row i for the logit of class i.
        biases: b, C floats.
        per_draw: bool, scale each draw and then average: see `Scaling`.

    Raises:
        ValueError: for numbers that are not finite, or of another shape.
        TypeError: for what are no numbers.

    Example:

    >>> predictor = predictor.fit_scaling(x_val, y_val, "matrix", regularization=0.1)
    >>> np.shape(predictor.scaling.weights)
    (10, 10)
    >>> predictor.scaling = None

    Reference:
        Kull, Perello Nieto, Kaengsepp, Silva Filho, Song, Flach: Beyond temperature
        scaling, NeurIPS 2019: the linear parametrization, and ODIR.
    """

    method: ClassVar[str] = "matrix"
    scales_draws: ClassVar[bool] = True
    options: ClassVar[Mapping[str, Any]] = {"regularization": 0.01}

    weights: Sequence[Sequence[float]]
    biases: Sequence[float]
    per_draw: bool = False

    def __post_init__(self) -> None:
        weights = check_numbers("weights", self.weights, 2)
        biases = check_numbers("biases", self.biases, 1)
        classes = len(biases)
        if not 2 <= classes <= _MOST_CLASSES or weights.shape != (classes, classes):
            raise ValueError(
                "`weights` must have a row and a column for each of the `biases`, of 2 "
                f"to {_MOST_CLASSES} classes. Received: weights.shape={weights.shape}, "
                f"{classes} biases"
            )
        object.__setattr__(self, "weights", as_tuple(weights))
        object.__setattr__(self, "biases", as_tuple(biases))
        object.__setattr__(self, "per_draw", check_bool("per_draw", self.per_draw))

    @property
    def classes(self) -> int:
        """How many classes it is for."""
        return len(self.biases)

    @property
    def rounding(self) -> float:
        """See the base class."""
        return LOG_ROUNDING * float(np.abs(self.weights).sum(axis=1).max())

    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(W log p + b), see the base class."""
        return self.of_log_probabilities(log_of(probs, xp), xp)

    def of_log_probabilities(self, log_probs: Tensor, xp: Any) -> Tensor:
        """Returns softmax(W log p + b), see the base class."""
        columns = constant(np.transpose(self.weights), xp)
        scaled = xp.matmul(log_probs, columns)
        return softmax(xp.add(scaled, constant(self.biases, xp)), xp)

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the numbers of the least regularized NLL, see the base class."""
        rate = check_number("regularization", options["regularization"])
        classes = data.classes
        if classes > _MOST_CLASSES:
            raise ValueError(
                f'`method="matrix"` is for up to {_MOST_CLASSES} classes. '
                f"Received: {classes} classes"
            )
        data.check_every_class(cls.method)
        square = (classes, classes)
        off = ~np.eye(classes, dtype=bool)

        def logits(numbers: np.ndarray) -> np.ndarray:
            weights, biases = numbers[:-classes].reshape(square), numbers[-classes:]
            return data.log_probs @ weights.T + biases

        def pull(gradient: np.ndarray) -> np.ndarray:
            rows = gradient.reshape(-1, classes)
            of_weights = rows.T @ data.log_probs.reshape(-1, classes)
            return np.concatenate([of_weights.reshape(-1), rows.sum(axis=0)])

        def penalty(numbers: np.ndarray) -> tuple[float, np.ndarray]:
            weights, biases = numbers[:-classes].reshape(square), numbers[-classes:]
            scale = rate / (classes * (classes - 1)), rate / classes
            pulled = np.where(off, weights, 0.0)
            value = scale[0] * np.sum(pulled**2) + scale[1] * np.sum(biases**2)
            slope = [2 * scale[0] * pulled.reshape(-1), 2 * scale[1] * biases]
            return float(value), np.concatenate(slope)

        start = np.concatenate([np.eye(classes).reshape(-1), np.zeros(classes)])
        found = likeliest(data, logits, pull, start, penalty)
        weights, biases = found[:-classes].reshape(square), found[-classes:]
        return cls(as_tuple(weights), as_tuple(biases), per_draw)

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"matrix of {self.classes} classes{', per draw' * self.per_draw}"
