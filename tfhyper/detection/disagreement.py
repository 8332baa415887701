"""How often two draws name different classes."""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.detection.scorer import ProbabilityScorer
from tfhyper.metrics._checks import check_members
from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(eq=False)
class Disagreement(ProbabilityScorer):
    """The fraction of pairs of draws that name different classes.

        s(x) = 1 - sum_c v_c (v_c - 1) / (N (N - 1)),

    where v_c of N draws find class c the likeliest. From 0 to 1, in steps: with few
    draws many inputs share a score. Its mean over inputs is
    `tfhyper.metrics.disagreement`. It needs two draws or more, and no training data.

    Example:

    >>> scorer = tfhyper.detection.Disagreement().fit(predictor)
    >>> members = predictor.predict(x_test).members
    >>> mean = tfhyper.metrics.disagreement(members)
    >>> bool(np.isclose(scorer.score(x_test).mean(), mean))
    True

    Reference:
        Fort, Hu, Lakshminarayanan: Deep ensembles: a loss landscape perspective, 2019,
        section 3.
    """

    name: ClassVar[str] = "disagreement"
    least_draws: ClassVar[int] = 2

    @staticmethod
    def of_members(members: ArrayLike) -> np.ndarray:
        """Returns the scores of probabilities (draws, examples, classes).

        Args:
            members: probabilities of each draw, two or more, whose rows sum to one.

        Returns:
            Scores, float64 (examples,).

        Raises:
            ValueError: for other axes, one draw, or what are no probabilities.
            TypeError: for what is no array of real numbers.
        """
        array = check_members(members)
        draws, _, classes = array.shape
        if draws < 2:
            raise ValueError(
                "`members` must hold two draws or more: pairs of them are compared. "
                f"Received: members.shape={array.shape}"
            )
        named = array.argmax(-1)
        votes = np.stack([(named == c).sum(0) for c in range(classes)], axis=-1)
        agree = (votes * (votes - 1)).sum(-1) / (draws * (draws - 1))
        return 1.0 - agree

    @staticmethod
    def of_tensors(members: Tensor) -> Tensor:
        """Returns the scores of a tensor, see the base class."""
        draws, classes = members.shape[0], members.shape[-1]
        # Not `ops.argmax`, whose bit operations not all formats have.
        _, places = ops.top_k(members, 1)
        votes = ops.sum(ops.one_hot(places[..., 0], classes), axis=0)
        agree = ops.sum(votes * (votes - 1.0), axis=-1) / (draws * (draws - 1))
        return 1.0 - agree
