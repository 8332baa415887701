"""Arithmetic that scorers share: logits, covariances, distances.

What takes `xp` works on arrays with NumPy and on tensors with `keras.ops`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_number, check_numbers
from tfhyper.tensor_types import Tensor

# With fewer examples than features, a fixed shrinkage has to be at least that.
_STRONG = 1e-3


def check_logits(logits: ArrayLike) -> np.ndarray:
    """Returns logits (..., classes) in float64.

    Raises:
        TypeError: for what are no real numbers.
        ValueError: for NaN, infinity, or no axis of two classes or more.
    """
    array = check_numbers("logits", logits)
    if array.ndim < 1 or array.shape[-1] < 2 or not array.size:
        raise ValueError(
            "`logits` must have the axes (..., classes), with one row or more "
            "of two classes or more. "
            f"Received: logits.shape={array.shape}"
        )
    return array


def log_sum_exp(values: Tensor, xp: Any) -> Tensor:
    """Returns log sum_c exp(v_c) of values (..., terms)."""
    if xp is np:
        from scipy.special import logsumexp

        return logsumexp(values, axis=-1)
    return xp.logsumexp(values, axis=-1)


def free_energy(logits: Tensor, temperature: float, xp: Any) -> Tensor:
    """Returns -T log sum_c exp(l_c / T) of logits (..., classes)."""
    return -temperature * log_sum_exp(logits / temperature, xp)


def length(vectors: Tensor, xp: Any) -> Tensor:
    """Returns the Euclidean lengths of vectors (..., size)."""
    return xp.sqrt(xp.sum(xp.square(vectors), axis=-1))


def check_shrinkage(value: float | None) -> float | None:
    """Returns a number >= 0, or `None`; raises ValueError for all else."""
    return None if value is None else check_number("shrinkage", value)


def check_features(features: np.ndarray, least: int = 2) -> None:
    """Raises ValueError for too few examples, or features that are all constant."""
    if len(features) < least:
        raise ValueError(
            f"`x_train` must hold {least} examples that count, or more. "
            f"Received: {len(features)}"
        )
    if not np.ptp(features, axis=0).any():
        raise ValueError(
            "`x_train` must give features that differ from input to input. Received: "
            f"{len(features)} examples with the same {features.shape[1]} features"
        )


def class_means(
    features: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the classes that there are, their means, and features around these.

    Args:
        features: (examples, size).
        labels: (examples,).

    Returns:
        (classes,), (classes, size) and (examples, size).
    """
    classes, places = np.unique(labels, return_inverse=True)
    means = np.stack([features[places == c].mean(0) for c in range(len(classes))])
    return classes, means, features - means[places]


def covariance_of(
    centred: np.ndarray, shrinkage: float | None, taken: int, of: str
) -> np.ndarray:
    """Returns a covariance (size, size) that can be inverted.

    S + shrinkage tr(S) / size I, with S = X^T X / examples; or, without a shrinkage,
    the mixture of S and tr(S) / size I of Ledoit and Wolf (2004), to which 0.001
    tr(S) / size I is added for fewer examples than features.

    Args:
        centred: X, features less their means.
        shrinkage: number >= 0, or `None`.
        taken: how many means were taken away.
        of: what they are of, in words.

    Raises:
        ValueError: with a weak shrinkage, for fewer examples than features.
    """
    count, size = centred.shape
    if shrinkage is None:
        from sklearn.covariance import ledoit_wolf

        found = ledoit_wolf(centred, assume_centered=True)[0]
        # Of very few examples it may be as good as none.
        shrinkage = _STRONG if count - taken < size else 0.0
        return found + shrinkage * (np.trace(found) / size + 1e-12) * np.eye(size)
    if count - taken < size and shrinkage < _STRONG:
        raise ValueError(
            f"`shrinkage` must be None, or {_STRONG} or more, for fewer examples than "
            f"features: their covariance has no inverse. Received: shrinkage="
            f"{shrinkage}, {count} examples {of} of {size} features"
        )
    covariance = centred.T @ centred / count
    variance = np.trace(covariance) / size
    # Features that are always 0 have no variance.
    return covariance + shrinkage * (variance + 1e-12) * np.eye(size)


def whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns R with R R^T the inverse of a covariance S, and log det S.

    Raises:
        ValueError: if there is no inverse.
    """
    from scipy.linalg import solve_triangular

    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "`shrinkage` must be None or above 0 for features that are always the "
            "same, or that others give: their covariance has no inverse. "
            f"Received: a covariance of {len(covariance)} features ({error})"
        ) from error
    size = len(covariance)
    root = solve_triangular(lower, np.eye(size), lower=True).T
    return root, 2.0 * float(np.log(np.diag(lower)).sum())


def squared_distances(features: Tensor, means: Tensor, root: Tensor, xp: Any) -> Tensor:
    """Returns (f - m)^T S^-1 (f - m), (examples, means), with `root` of `whitening`."""
    # Distances do not change with the origin, but roundings of float32 do.
    origin = xp.mean(means, axis=0)
    seen, centres = (features - origin) @ root, (means - origin) @ root
    squares = [
        xp.sum(xp.square(seen - centres[i]), axis=-1) for i in range(means.shape[0])
    ]
    return xp.stack(squares, axis=-1)
