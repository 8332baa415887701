"""The largest logit."""

import dataclasses
from typing import Any, ClassVar

from tfhyper.detection.logit_scorer import LogitScorer
from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(eq=False)
class MaxLogit(LogitScorer):
    """Minus the largest logit, averaged over the draws (Hendrycks et al., 2022).

        s(x) = -1/N sum_n max_c l_nc

    Logits say more than probabilities, whose softmax leaves out how large all of them
    are. It needs no training data.

    Example:

    >>> scorer = tfhyper.detection.MaxLogit().fit(predictor)
    >>> scorer.of_logits([[2.0, -1.0], [0.5, 0.0]]).tolist()
    [-2.0, -0.5]
    >>> scorer.score(x_test).shape
    (2000,)

    Reference:
        Hendrycks et al.: Scaling out-of-distribution detection for real-world
        settings, ICML 2022, section 3.
    """

    name: ClassVar[str] = "max_logit"

    def formula(self, logits: Tensor, xp: Any) -> Tensor:
        """Returns minus the largest of logits, see the base class."""
        return -xp.max(logits, axis=-1)
