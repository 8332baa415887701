"""The mutual information of label and weights."""

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
class MutualInformation(ProbabilityScorer):
    """The mutual information of label and draw.

        s(x) = H[pbar] - 1/N sum_n H[p_n]

    in nats, from 0 to log(classes): the epistemic uncertainty of a prediction, what
    the draws disagree about. It needs two draws or more, and no training data.

    Example:

    >>> scorer = tfhyper.detection.MutualInformation().fit(predictor)
    >>> epistemic = predictor.predict(x_test).epistemic
    >>> bool(np.allclose(scorer.score(x_test), epistemic, atol=1e-5))
    True

    Reference:
        Depeweg et al.: Decomposition of uncertainty in Bayesian deep learning for
        efficient and risk-sensitive learning, ICML 2018, section 3. Malinin, Gales:
        Predictive uncertainty estimation via prior networks, NeurIPS 2018, section 2.
    """

    name: ClassVar[str] = "mutual_information"
    least_draws: ClassVar[int] = 2

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
        return metrics.mutual_information(check_members(members))

    @staticmethod
    def of_tensors(members: Tensor) -> Tensor:
        """Returns the scores of a tensor, see the base class."""
        total = entropy_of(ops.mean(members, axis=0))
        # Below zero by rounding alone.
        return ops.maximum(total - ops.mean(entropy_of(members), axis=0), 0.0)
