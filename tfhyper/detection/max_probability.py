"""The largest probability: the baseline of all scores."""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.detection.scorer import ProbabilityScorer
from tfhyper.metrics._checks import check_members
from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(eq=False)
class MaxProbability(ProbabilityScorer):
    """One less the largest of the mean probabilities (Hendrycks and Gimpel, 2017).

        s(x) = 1 - max_c pbar_c,    pbar = 1/N sum_n p_n

    From 0 to 1 - 1/classes. It needs no training data.

    Example:

    >>> scorer = tfhyper.detection.MaxProbability().fit(predictor)
    >>> found = scorer.score(x_test)
    >>> expected = 1 - predictor.predict(x_test).mean.max(-1)
    >>> bool(np.allclose(found, expected, atol=1e-6))
    True

    Reference:
        Hendrycks, Gimpel: A baseline for detecting misclassified and
        out-of-distribution examples in neural networks, ICLR 2017, section 2.
    """

    name: ClassVar[str] = "max_probability"

    @staticmethod
    def of_members(members: ArrayLike) -> np.ndarray:
        """Returns the scores of probabilities (draws, examples, classes).

        Args:
            members: probabilities of each draw, whose rows sum to one.

        Returns:
            Scores, float64 (examples,).

        Raises:
            ValueError: for other axes, or what are no probabilities.
            TypeError: for what is no array of real numbers.
        """
        return 1.0 - check_members(members).mean(0, dtype=np.float64).max(-1)

    @staticmethod
    def of_tensors(members: Tensor) -> Tensor:
        """Returns the scores of a tensor, see the base class."""
        return 1.0 - ops.max(ops.mean(members, axis=0), axis=-1)
