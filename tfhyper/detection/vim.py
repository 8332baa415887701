"""Virtual-logit matching: features off the main directions, beside the logits."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.detection._arrays import check_features, free_energy, length
from tfhyper.detection.feature_scorer import FeatureScorer, Seen
from tfhyper.detection.networks import check_optional
from tfhyper.posterior.tasks.foreign_scores import Arrays

# Features -> main dimensions that the paper takes for so many or more.
_DIMENSIONS = ((2048, 1000), (768, 512))


@dataclasses.dataclass(eq=False)
class ViM(FeatureScorer):
    """Virtual-logit matching (Wang et al., 2022).

        s(x) = 1/N sum_n (a_n |r_n(x)| - log sum_c exp(l_nc))

    r_n is the part of the features, taken from o_n = -(W_n^T)^+ b_n on, that lies off
    the D main directions of the training inputs' features; a_n scales it to a logit:
    the mean of the training inputs' largest logits over the mean of their |r_n|. So it
    has both what features and what logits say. It needs a network that ends in a Dense
    layer (W_n, b_n), and no labels.

    Args:
        dimensions: int > 0, D, less than the number of features; `None` for 1000 of
            2048 features or more and 512 of 768 or more, as in the paper, and half of
            fewer.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> scorer = tfhyper.detection.ViM(dimensions=4).fit(predictor, x_train)
    >>> scorer.score(x_test).shape
    (2000,)

    Reference:
        Wang, Li, Feng, Zhang: ViM: Out-of-distribution with virtual-logit matching,
        CVPR 2022, equations 4 to 8; the logarithm of the odds of its virtual class.
    """

    name: ClassVar[str] = "vim"
    needs_head: ClassVar[bool] = True

    dimensions: int | None = None
    num_draws: int | None = None

    def __post_init__(self) -> None:
        self._check_arguments()
        self.dimensions = check_optional("dimensions", self.dimensions)

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns the origin, the minor directions and the scale of a draw."""
        features, head = seen.features, seen.head
        check_features(features)
        size = features.shape[1]
        main = self._main(size)
        origin = -np.linalg.pinv(head.kernel.T) @ head.bias
        moved = features - origin
        # In the order of growing eigenvalues.
        _, directions = np.linalg.eigh(moved.T @ moved / len(moved))
        minor = directions[:, : size - main]
        residual = np.linalg.norm(moved @ minor, axis=-1).mean()
        if residual <= 1e-9 * np.linalg.norm(moved, axis=-1).mean():
            raise ValueError(
                "`dimensions` must leave out directions in which training inputs "
                f"differ. Received: dimensions={main}, which hold all of {size} "
                "features"
            )
        scale = head(features).max(-1).mean() / residual
        return {"origin": origin, "minor": minor, "scale": np.asarray(scale)}

    def _main(self, size: int) -> int:
        """Returns how many main directions there are of so many features."""
        if self.dimensions is None:
            found = [main for least, main in _DIMENSIONS if size >= least]
            main = found[0] if found else size // 2
        else:
            main = self.dimensions
        if not 0 < main < size:
            raise ValueError(
                "`dimensions` must be from 1 to one less than the number of features. "
                f"Received: dimensions={self.dimensions}, {size} features"
            )
        return main

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        minor = size - self._main(size)
        return {"origin": (size,), "minor": (size, minor), "scale": ()}

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns the virtual logit less the other logits' energy."""
        features, head = seen.features, seen.head
        residual = (features - fitted["origin"]) @ fitted["minor"]
        virtual = fitted["scale"] * length(residual, xp)
        return virtual + free_energy(head(features), 1.0, xp)
