"""Mean and variance of a mixture of draws, from one draw after another."""

from typing import Any

import numpy as np


class RunningMoments:
    """Adds up the means and variances of draws, of any shape.

    Attributes:
        count: how many draws were added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first = self._shift = self._squares = self._noise = np.zeros(0)

    def add(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Adds a draw, both of one shape."""
        wide = mean.astype(np.float64)
        if not self.count:
            # Differences from the first draw, so that squares do not cancel.
            self._first = wide
            self._shift, self._squares, self._noise = np.zeros((3, *wide.shape))
        self.count += 1
        self._shift += wide - self._first
        self._squares += np.square(wide - self._first)
        self._noise += variance

    def result(self) -> dict[str, Any]:
        """Returns the moments by the names that predictions of numbers have.

        By the law of total variance: mean, variance, aleatoric and epistemic.
        """
        shift = self._shift / self.count
        epistemic = np.maximum(self._squares / self.count - np.square(shift), 0.0)
        aleatoric = self._noise / self.count
        return {
            "mean": self._first + shift,
            "variance": aleatoric + epistemic,
            "aleatoric": aleatoric,
            "epistemic": epistemic,
        }
