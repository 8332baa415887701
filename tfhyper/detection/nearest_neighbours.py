"""The distance of the last features from their k-th neighbour."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tfhyper.checks import check_integer
from tfhyper.detection._arrays import check_features, length
from tfhyper.detection.feature_scorer import FeatureScorer, Seen
from tfhyper.detection.networks import check_optional
from tfhyper.posterior.tasks.foreign_scores import Arrays
from tfhyper.tensor_types import Tensor

# Features that are all 0 have no direction.
_TINY = 1e-10


@dataclasses.dataclass(eq=False)
class NearestNeighbours(FeatureScorer):
    """Distance from the k-th nearest training input (Sun et al., 2022).

        s(x) = 1/N sum_n |z_n(x) - z_n(k)|,    z_n = f_n / |f_n|,

    with z_n(k) the k-th nearest of the training inputs to z_n(x), by draw n's own
    features. From 0 to 2. It assumes no distribution, needs no labels, and keeps the
    features of the training inputs that it is fitted to: draws x examples x features x
    4 bytes.

    Args:
        k: int > 0. The paper takes 50 for CIFAR-10, 200 for CIFAR-100, and 1000 for
            ImageNet: about 1 % of the examples of a class.
        max_examples: int > 0, of how many training inputs at most, drawn at random;
            `None` for all. (The paper finds 1 % of ImageNet nearly as good, k = 10.)
        seed: int in 0 <= seed < 2**31, of that choice.
        layer: name of the layer whose output are the features; `None` for what the
            last Dense layer takes. Of maps the mean over positions.
        num_draws: int > 0, of how many draws at most, the first ones; `None` for all.

    Raises:
        ValueError: for an argument out of range.
        TypeError: for a `layer` that is no text.

    Example:

    >>> scorer = tfhyper.detection.NearestNeighbours(k=10).fit(predictor, x_train)
    >>> found = scorer.score(x_test)
    >>> bool((found >= 0).all() and (found <= 2).all())
    True

    Reference:
        Sun, Ming, Zhu, Li: Out-of-distribution detection with deep nearest neighbors,
        ICML 2022, section 3.
    """

    name: ClassVar[str] = "nearest_neighbours"

    k: int = 50
    max_examples: int | None = None
    seed: int = 0
    layer: str | None = None
    num_draws: int | None = None

    def __post_init__(self) -> None:
        self._check_arguments()
        self.k = check_integer("k", self.k, 1)
        self.max_examples = check_optional("max_examples", self.max_examples)
        self.seed = check_integer("seed", self.seed, 0, 2**31 - 1)

    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns the directions of the training inputs' features."""
        features = seen.features
        check_features(features)
        if self.max_examples is not None and self.max_examples < len(features):
            rng = np.random.default_rng(self.seed)
            rows = rng.choice(len(features), self.max_examples, replace=False)
            features = features[np.sort(rows)]
        if len(features) < self.k:
            raise ValueError(
                "`k` must not be above the number of training inputs. "
                f"Received: k={self.k}, {len(features)} inputs"
            )
        return {"directions": _directions(features).astype(np.float32)}

    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the arrays, see the base class."""
        count = len(fitted.get("directions", ()))
        return {"directions": (max(count, self.k), size)}

    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns the distances of the k-th neighbours, see the base class."""
        directions, known = _directions(seen.features, xp), fitted["directions"]
        if xp is not np:
            # Sorted by cosines, whose roundings are large beside small distances.
            _, places = xp.top_k(directions @ xp.transpose(known), self.k)
            apart = xp.take(known, places, axis=0) - xp.expand_dims(directions, 1)
            return xp.max(length(apart, xp), axis=-1)
        from sklearn.neighbors import NearestNeighbors

        found = NearestNeighbors(n_neighbors=self.k).fit(known.astype(np.float64))
        distances, _ = found.kneighbors(directions)
        return distances[:, -1]


def _directions(features: Tensor, xp: Any = np) -> Tensor:
    return features / (xp.expand_dims(length(features, xp), -1) + _TINY)
