"""Scorers of foreign inputs, as predictors see them: made a part above, by name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from tfhyper.tensor_types import Tensor

# Arrays by their names.
Arrays: TypeAlias = dict[str, np.ndarray]
# Name and arguments of a scorer as JSON values, and what was fitted.
ScorerState: TypeAlias = tuple[dict[str, Any], Arrays]


@dataclasses.dataclass(frozen=True)
class GraphOfMembers:
    """The score of what all draws say together, in operations on tensors.

    Args:
        of_members: function of probabilities (draws, examples, classes) that gives the
            scores (examples,).
    """

    of_members: Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class GraphOfDraws:
    """The mean of draws' scores, each in operations on tensors.

    Args:
        arrays: what was fitted, by name, of each draw that counts: the first ones.
        seen: function of a draw's `PointNetwork` that gives the symbolic tensor that
            is read of it, or `None` for the network's output.
        of_draw: function of that tensor, (examples, size), and of a draw's arrays as
            tensors of float32, that gives the scores (examples,).
    """

    arrays: list[Arrays]
    seen: Callable[[Any], Tensor | None]
    of_draw: Callable[[Tensor, dict[str, Tensor]], Tensor]


# A scorer as files hold it.
ScoreGraph: TypeAlias = GraphOfMembers | GraphOfDraws


class ForeignScorer(Protocol):
    """What a predictor asks of its `tfhyper.detection.Scorer`.

    Attributes:
        rounding: how far float32 may take a score from that of `of`, relative to the
            largest.
    """

    rounding: ClassVar[float]

    def of(self, data: Any) -> np.ndarray:
        """Returns the scores of `Batches`, or a part of them: float64 (examples,)."""

    def state(self) -> ScorerState:
        """Returns what a file holds of it."""

    def graph(self) -> ScoreGraph:
        """Returns it in operations on tensors, for files without Python.

        Raises:
            ValueError: as `of`.
        """


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
