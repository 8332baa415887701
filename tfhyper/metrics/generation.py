"""How near generated examples are to real ones, by features of both."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer, check_number, check_positive_integer
from tfhyper.metrics._checks import as_array, as_float_array, check_map

# Rows whose distances to all others are in memory at once.
_ROWS = 512


class PrecisionRecall(NamedTuple):
    """Parts of generated examples that look real, and of real ones that are made.

    Attributes:
        precision: float in [0, 1].
        recall: float in [0, 1].

    Example:
        >>> from tfhyper import metrics
        >>> metrics.PrecisionRecall(precision=0.9, recall=0.4).recall
        0.4
    """

    precision: float
    recall: float


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """Frechet distance of two Gaussians with the moments of two sets of features.

    `d^2 = |m_1 - m_2|^2 + trace(C_1 + C_2 - 2 (C_1^(1/2) C_2 C_1^(1/2))^(1/2))`

    with the means `m` and the unbiased covariances `C` of the features. It is the FID
    where the features are those of Inception; of features of another network it ranks
    alike, and its numbers compare with none of other features. Zero for equal moments;
    smaller is better. Few examples make it larger: compare sets of equal size.

    Args:
        real: features of real examples, finite numbers of shape `(examples, features)`,
            two examples or more.
        generated: features of generated examples by the same network, `(examples,
            features)`, of any number.

    Returns:
        float >= 0, in the square of the features' unit.

    Raises:
        ValueError: if the shapes do not fit or a number is not finite.
        TypeError: if an argument does not hold real numbers.

    References:
        Dowson, Landau, "The Frechet distance between multivariate normal
        distributions", Journal of Multivariate Analysis 12, 1982; Heusel et al., "GANs
        trained by a two time-scale update rule", NeurIPS 2017, eq. 6.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.frechet_distance([[0.0], [2.0]], [[1.0], [3.0]]), 6)
        1.0
    """
    first, second = _check_features(real, generated, 2)
    means = [x.mean(axis=0) for x in (first, second)]
    covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (first, second)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ covariances[1] @ root)
    shared = np.sqrt(np.maximum(product, 0)).sum()
    spread = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared
    return max(0.0, float(np.square(means[0] - means[1]).sum() + spread))


def sample_precision_recall(
    real: ArrayLike, generated: ArrayLike, k: int = 3
) -> PrecisionRecall:
    """Precision and recall of generated examples, by balls around neighbours.

    A set covers what lies in a ball around one of its examples, whose radius is the
    distance to the k-th nearest of the others. Precision is the part of the generated
    examples that the real ones cover, which is fidelity; recall is the part of the real
    examples that the generated ones cover, which is diversity. Larger is better.

    Args:
        real: features of real examples, finite numbers of shape `(examples, features)`,
            more than `k`.
        generated: features of generated examples by the same network, more than `k`;
            as many as of `real`, so that neither set is the denser one.
        k: int > 0, the neighbour that says the radius.

    Returns:
        `PrecisionRecall` of two floats in [0, 1].

    Raises:
        ValueError: if the shapes do not fit, a number is not finite, or a set has no
            more than `k` examples.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Kynkaanniemi et al., "Improved precision and recall metric for assessing
        generative models", NeurIPS 2019, eq. 1 and 2.

    Example:
        >>> from tfhyper import metrics
        >>> real = [[0.0], [1.0], [10.0], [11.0]]
        >>> metrics.sample_precision_recall(real, [[0.5], [0.6], [0.7]], k=1)
        PrecisionRecall(precision=1.0, recall=0.0)
    """
    k = check_positive_integer("k", k)
    first, second = _check_features(real, generated, 2)
    fewest = min(len(first), len(second))
    if k >= fewest:
        raise ValueError(
            "`k` must be below the number of examples of `real` and of `generated`. "
            f"Received: k={k!r:.40}, the fewest examples={fewest}"
        )
    return PrecisionRecall(_covered(second, first, k), _covered(first, second, k))


def mode_count(
    predicted: ArrayLike, num_classes: int, least_share: float = 0.01
) -> int:
    """Number of classes that generated examples show, by a classifier of real ones.

    A class counts as a mode if at least the part `least_share` of the examples is
    predicted to be of it. A generator that has lost modes shows fewer than there are.

    Args:
        predicted: labels that a classifier gives to generated examples, ints in `0 <=
            predicted < num_classes` of shape `(examples,)`.
        num_classes: int > 0, how many classes there are.
        least_share: float in 0 < least_share <= 1. With the default a tenth of the
            examples that each of ten classes has in balanced data.

    Returns:
        int in `0 <= modes <= num_classes`.

    Raises:
        ValueError: for labels that are no classes, or an argument out of range.
        TypeError: if an argument does not hold numbers.

    Reference:
        Metz et al., "Unrolled generative adversarial networks", ICLR 2017, section 3.3,
        counts the digits of stacked images that a classifier finds.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.mode_count([0, 0, 0, 2], num_classes=3)
        2
    """
    num_classes = check_integer("num_classes", num_classes, 1, 2**31 - 1)
    share = check_number("least_share", least_share, positive=True)
    if share > 1:
        raise ValueError(
            f"`least_share` must be at most 1. Received: least_share={least_share!r}"
        )
    labels = as_array("predicted", predicted)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            "`predicted` must hold ints. Received: predicted of the dtype "
            f"{labels.dtype}"
        )
    if labels.ndim != 1 or not labels.size:
        raise ValueError(
            "`predicted` must have the shape (examples,), one or more. Received: "
            f"predicted.shape={labels.shape}"
        )
    for label in (labels.min(), labels.max()):
        check_integer("predicted", int(label), 0, num_classes - 1)
    counts = np.unique(labels, return_counts=True)[1]
    return int(np.sum(counts >= share * len(labels)))


def _covered(examples: np.ndarray, by: np.ndarray, k: int) -> float:
    """Returns the part of the examples that lie in the balls of a set."""
    radii = []
    for start in range(0, len(by), _ROWS):
        near = np.sort(_distances(by[start : start + _ROWS], by), axis=1)
        radii.append(near[:, k])  # the nearest, at 0, is the example itself
    radius = np.concatenate(radii)
    inside = [
        (_distances(examples[start : start + _ROWS], by) <= radius).any(axis=1)
        for start in range(0, len(examples), _ROWS)
    ]
    return float(np.concatenate(inside).mean())


def _distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(rows, columns)


def _check_features(
    real: ArrayLike, generated: ArrayLike, least: int
) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for name, value in (("real", real), ("generated", generated)):
        array = check_map(name, as_float_array(name, value, np.float64))
        if array.ndim != 2 or len(array) < least:
            raise ValueError(
                f"`{name}` must have the axes (examples, features), with at least "
                f"{least} examples. Received: {name}.shape={array.shape}"
            )
        found.append(array)
    if found[0].shape[1] != found[1].shape[1]:
        raise ValueError(
            "`generated` must have as many features as `real`, "
            f"{found[0].shape[1]}. Received: generated.shape={found[1].shape}"
        )
    return found[0], found[1]
