"""The Mahalanobis distance of the last features from the nearest class."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.detection._arrays import (
    check_features,
    check_shrinkage,
    class_means,
    covariance_of,
    squared_distances,
    whitening,
)
from tfhyper.detection.feature_scorer import FeatureScorer, Seen
from tfhyper.posterior.tasks.foreign_scores import Arrays


@dataclasses.dataclass(eq=False)
class Mahalanobis(FeatureScorer):
    """Distance of the last features from the nearest class (Lee et al., 2018).

        s(x) = 1/N sum_n min_c (f_n - m_nc)^T S_n^-1 (f_n - m_nc)

    with f_n the features that the network of draw n gives, m_nc the mean of class c
    over training inputs, and S_n one covariance within the classes. Each draw has
    features of its own, and so means and a covariance of its own.

    Args:
        layer: name of the layer whose output are the features; `None` for what the
            last Dense layer takes. Of maps the mean over positions.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.
        shrinkage: number >= 0, s in S + s tr(S) / size I, which keeps features that
            are always 0 from having no variance; or `None` for the mixture of S and
            its mean variance that Ledoit and Wolf choose. With fewer examples than
            features it has to be `None`, or 0.001 or more.

    Raises:
        ValueError: for an argument out of range.
        TypeError: for a `layer` that is no text.

    Example:

    >>> scorer = tfhyper.detection.Mahalanobis().fit(predictor, x_train, y_train)
    >>> known, noise = scorer.score(x_test), scorer.score(9 * x_test)
    >>> bool(np.median(noise) > np.median(known))
    True

    Reference:
        Lee, Lee, Lee, Shin: A simple unified framework for detecting
        out-of-distribution samples and adversarial attacks, NeurIPS 2018, equations 1
        and 2, of the last features alone.
    """

    name: ClassVar[str] = "mahalanobis"
    needs_labels: ClassVar[bool] = True

    layer: str | None = None
    num_draws: int | None = None
    shrinkage: float | None = 1e-6

    def __post_init__(self) -> None:
        self._check_arguments()
        self.shrinkage = check_shrinkage(self.shrinkage)

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns the means of the classes, and what whitens, see the base class."""
        features, labels = seen.features, seen.labels
        check_features(features)
        found, means, centred = class_means(features, labels)
        covariance = covariance_of(
            centred, self.shrinkage, len(found), "less the classes' means"
        )
        root, _ = whitening(covariance)
        return {"means": means, "root": root}

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        # Not all classes need have been there.
        present = len(fitted.get("means", ()))
        return {"means": (min(present, classes), size), "root": (size, size)}

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns the least squared distance of each example, see the base class."""
        means, root = fitted["means"], fitted["root"]
        return xp.min(squared_distances(seen.features, means, root, xp), axis=-1)
