"""Scorers of foreign inputs, as predictors see them: made a part above, by name."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

# Name and arguments of a scorer as JSON values, and what was fitted.
ScorerState = tuple[dict[str, Any], dict[str, np.ndarray]]


class ForeignScorer(Protocol):
    """What a predictor asks of its `tfhyper.detection.Scorer`."""

    def of(self, data: Any) -> np.ndarray:
        """Returns the scores of `Batches`, or a part of them: float64 (examples,)."""

    def state(self) -> ScorerState:
        """Returns what a file holds of it."""


def scorer_for(predictor: Any, score: Any, name: str = "score") -> ForeignScorer:
    """Returns a scorer that is fitted to a predictor, from one or from its name.

    Errors name the argument, `name`.

    Raises:
        ValueError: for one that is not fitted, or to another predictor; for a name of
            none, or of one that needs training data.
    """
    from tfhyper.detection import registry

    return registry.scorer_for(predictor, score, name)


def names() -> list[str]:
    """Returns the names of all scorers."""
    from tfhyper.detection import registry

    return list(registry.SCORERS)


def restored(
    predictor: Any, about: Any, arrays: Mapping[str, np.ndarray]
) -> ForeignScorer:
    """Returns the scorer of a state, for a predictor with the same draws.

    Raises:
        ValueError: for what is no state of a scorer of this predictor.
    """
    from tfhyper.detection import registry

    return registry.restored(predictor, about, arrays)
