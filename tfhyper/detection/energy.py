"""The free energy of logits."""

import dataclasses
from typing import Any, ClassVar

from tfhyper.checks import check_number
from tfhyper.detection._arrays import free_energy
from tfhyper.detection.logit_scorer import LogitScorer
from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(eq=False)
class Energy(LogitScorer):
    """The free energy of the logits, averaged over the draws (Liu et al., 2020).

        s(x) = 1/N sum_n E(x; l_n),    E = -T log sum_c exp(l_nc / T)

    A softmax network is an energy model of its inputs, up to a constant: where the
    energy is large, few inputs were. It needs no training data.

    Args:
        temperature: T, float > 0. The paper finds 1 as good as any.

    Raises:
        ValueError: for a temperature out of range.

    Example:

    >>> scorer = tfhyper.detection.Energy(temperature=1.0).fit(predictor)
    >>> scorer.of_logits([[0.0, 0.0]]).round(4).tolist()  # -log 2
    [-0.6931]
    >>> scorer.score(x_test).shape
    (2000,)

    Reference:
        Liu, Wang, Owens, Li: Energy-based out-of-distribution detection, NeurIPS 2020,
        equation 4.
    """

    name: ClassVar[str] = "energy"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        self.temperature = check_number("temperature", self.temperature, positive=True)

    def formula(self, logits: Tensor, xp: Any) -> Tensor:
        """Returns the free energy of logits, see the base class."""
        return free_energy(logits, self.temperature, xp)
