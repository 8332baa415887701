"""The Mahalanobis distance, less that from all training inputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.detection._arrays import covariance_of, squared_distances, whitening
from tfhyper.detection.feature_scorer import Seen
from tfhyper.detection.mahalanobis import Mahalanobis
from tfhyper.posterior.tasks.foreign_scores import Arrays


@dataclasses.dataclass(eq=False)
class RelativeMahalanobis(Mahalanobis):
    """Distance from the nearest class, less that from all data (Ren et al., 2021).

        s(x) = 1/N sum_n (min_c M_nc(x) - M_n0(x))

    with M_nc the squared distance of `Mahalanobis`, and M_n0 that of a Gaussian of all
    training inputs without their classes. Directions in which known inputs differ
    alike in all classes cancel: it is better for foreign inputs that are near, such as
    other classes of the same kind. It may be below 0.

    Args:
        layer: name of the layer whose output are the features; `None` for what the
            last Dense layer takes. Of maps the mean over positions.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.
        shrinkage: as of `Mahalanobis`, of both covariances.

    Raises:
        ValueError: for an argument out of range.
        TypeError: for a `layer` that is no text.

    Example:

    >>> scorer = tfhyper.detection.RelativeMahalanobis()
    >>> scorer.fit(predictor, x_train, y_train).score(x_test).shape
    (2000,)

    Reference:
        Ren et al.: A simple fix to Mahalanobis distance for improving near-OOD
        detection, 2021, section 3.
    """

    name: ClassVar[str] = "relative_mahalanobis"

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns means and what whitens, of classes and of all, see the base class."""
        of_classes = super().fit_draw(seen)
        mean = seen.features.mean(0)
        centred = seen.features - mean
        whole = covariance_of(centred, self.shrinkage, 1, "less their mean")
        return {**of_classes, "mean": mean, "root_of_all": whitening(whole)[0]}

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        of_classes = super().shapes(size, classes, fitted)
        return {**of_classes, "mean": (size,), "root_of_all": (size, size)}

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns the difference of the distances, see the base class."""
        mean, root = fitted["mean"][None], fitted["root_of_all"]
        whole = squared_distances(seen.features, mean, root, xp)[:, 0]
        return super().score_draw(seen, fitted, xp) - whole
