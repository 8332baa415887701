"""The density of the last features, a Gaussian for each class."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.detection._arrays import (
    check_features,
    check_shrinkage,
    class_means,
    covariance_of,
    log_sum_exp,
    squared_distances,
    whitening,
)
from tfhyper.detection.feature_scorer import FeatureScorer, Seen
from tfhyper.posterior.tasks.foreign_scores import Arrays


@dataclasses.dataclass(eq=False)
class FeatureDensity(FeatureScorer):
    """Minus the log density of the last features (Mukhoti et al., 2023).

        s(x) = -1/N sum_n log q_n(f_n),    q_n(f) = sum_c pi_c N(f; m_nc, S_nc)

    Gaussian discriminant analysis: each class has a mean and a covariance of its own
    over training inputs, and pi_c is its share of these. In nats; a density of many
    features, of any sign. `tfhyper.detection.DDU` takes it for the epistemic
    uncertainty. Best where the features tell inputs apart that are far from each
    other: the paper trains with residual connections and spectral normalization.

    Args:
        layer: name of the layer whose output are the features; `None` for what the
            last Dense layer takes. Of maps the mean over positions.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.
        shrinkage: `None` for the mixture of each covariance and its mean variance that
            Ledoit and Wolf choose, which fewer examples than features need; or as of
            `Mahalanobis`.

    Raises:
        ValueError: for an argument out of range.
        TypeError: for a `layer` that is no text.

    Example:

    >>> scorer = tfhyper.detection.FeatureDensity().fit(predictor, x_train, y_train)
    >>> known, noise = scorer.score(x_test), scorer.score(9 * x_test)
    >>> bool(np.median(noise) > np.median(known))
    True

    Reference:
        Mukhoti et al.: Deep deterministic uncertainty: a new simple baseline, CVPR
        2023, algorithm 1. Ledoit, Wolf: A well-conditioned estimator for
        large-dimensional covariance matrices, Journal of Multivariate Analysis 88,
        2004.
    """

    name: ClassVar[str] = "feature_density"
    needs_labels: ClassVar[bool] = True

    layer: str | None = None
    num_draws: int | None = None
    shrinkage: float | None = None

    def __post_init__(self) -> None:
        self._check_arguments()
        self.shrinkage = check_shrinkage(self.shrinkage)

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns the Gaussians of the classes, see the base class."""
        features, labels = seen.features, seen.labels
        check_features(features)
        found, means, centred = class_means(features, labels)
        roots, constants = [], []
        for c in found:
            own = centred[labels == c]
            if len(own) < 2 or not own.any():
                raise ValueError(
                    "`y_train` must hold two examples or more of each class that is "
                    "there, with features that differ: each class has a covariance of "
                    f"its own. Received: {len(own)} examples of class {c}"
                )
            covariance = covariance_of(own, self.shrinkage, 1, f"of class {c}")
            root, log_det = whitening(covariance)
            roots.append(root)
            share = len(own) / len(labels)
            log_norm = 0.5 * (features.shape[1] * math.log(2 * math.pi) + log_det)
            constants.append(math.log(share) - log_norm)
        return {
            "means": means,
            "roots": np.stack(roots),
            "constants": np.array(constants),
        }

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        present = min(len(fitted.get("means", ())), classes)
        return {
            "means": (present, size),
            "roots": (present, size, size),
            "constants": (present,),
        }

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns minus the log density, see the base class."""
        means, roots = fitted["means"], fitted["roots"]
        squares = [
            squared_distances(seen.features, means[i : i + 1], roots[i], xp)[:, 0]
            for i in range(means.shape[0])
        ]
        logs = fitted["constants"] - 0.5 * xp.stack(squares, axis=-1)
        return -log_sum_exp(logs, xp)
