"""The energy of logits made of features that are cut."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.checks import check_number
from tfhyper.detection._arrays import check_features, free_energy
from tfhyper.detection.feature_scorer import FeatureScorer, Seen
from tfhyper.posterior.tasks.foreign_scores import Arrays


@dataclasses.dataclass(eq=False)
class ReAct(FeatureScorer):
    """The energy of logits made of rectified features (Sun et al., 2021).

        s(x) = 1/N sum_n E(W_n^T min(f_n, c_n) + b_n),    E = -T log sum_c exp(l_c / T)

    with c_n the percentile of all features of training inputs: foreign inputs have a
    few features that are large, and logits that these make large. It needs a network
    that ends in a Dense layer (W_n, b_n), and no labels.

    Args:
        percentile: number in 0 < percentile <= 100; 90 in the paper.
        temperature: T, float > 0.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> whole = tfhyper.detection.ReAct(percentile=100.0).fit(predictor, x_train)
    >>> energy = tfhyper.detection.Energy().fit(predictor)
    >>> bool(np.allclose(whole.score(x_train), energy.score(x_train), atol=1e-4))
    True

    Reference:
        Sun, Guo, Li: ReAct: Out-of-distribution detection with rectified activations,
        NeurIPS 2021, section 3.
    """

    name: ClassVar[str] = "react"
    needs_head: ClassVar[bool] = True

    percentile: float = 90.0
    temperature: float = 1.0
    num_draws: int | None = None

    def __post_init__(self) -> None:
        self._check_arguments()
        self.percentile = check_number("percentile", self.percentile, positive=True)
        if self.percentile > 100:
            raise ValueError(
                "`percentile` must be in 0 < percentile <= 100. "
                f"Received: percentile={self.percentile}"
            )
        self.temperature = check_number("temperature", self.temperature, positive=True)

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns where features are cut, see the base class."""
        features = seen.features
        check_features(features)
        return {"cut": np.asarray(np.percentile(features, self.percentile))}

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        return {"cut": ()}

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns the energy of what is left, see the base class."""
        features, head = seen.features, seen.head
        cut = xp.minimum(features, fitted["cut"])
        return free_energy(head(cut), self.temperature, xp)
