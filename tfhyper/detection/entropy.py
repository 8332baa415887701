"""The entropy of the mean prediction."""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.detection.scorer import ProbabilityScorer
from tfhyper.metrics._checks import check_members
from tfhyper.posterior.tasks.classification import entropy_of
from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(eq=False)
class Entropy(ProbabilityScorer):
    """The entropy of the mean of the draws' probabilities.

        s(x) = H[pbar] = -sum_c pbar_c log pbar_c,    pbar = 1/N sum_n p_n

    in nats, from 0 to log(classes): the total uncertainty of a prediction. It needs no
    training data.

    Example:

    >>> scorer = tfhyper.detection.Entropy().fit(predictor)
    >>> total = predictor.predict(x_test).total
    >>> bool(np.allclose(scorer.score(x_test), total, atol=1e-5))
    True

    Reference:
        Lakshminarayanan, Pritzel, Blundell: Simple and scalable predictive uncertainty
        estimation using deep ensembles, NeurIPS 2017, section 3.5.
    """

    name: ClassVar[str] = "entropy"

    @staticmethod
    def of_members(members: ArrayLike) -> np.ndarray:
        """Returns the scores of probabilities (draws, examples, classes).

        Args:
            members: probabilities of each draw, whose rows sum to one.

        Returns:
            Scores in nats, float64 (examples,).

        Raises:
            ValueError: for other axes, or what are no probabilities.
            TypeError: for what is no array of real numbers.
        """
        return metrics.predictive_entropy(check_members(members))

    @staticmethod
    def of_tensors(members: Tensor) -> Tensor:
        """Returns the scores of a tensor, see the base class."""
        return entropy_of(ops.mean(members, axis=0))
