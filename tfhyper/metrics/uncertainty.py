"""How uncertain an ensemble is, and whether the data or the model is to blame.

Every function takes `members`, the probabilities `p_t` of each draw `t`, of shape
`(draws, batch, classes)`, or with more axes behind that of the batch, as of maps
`(draws, batch, height, width, classes)`: what is returned has them, too. Each row is
finite, not below zero and sums to one within 1e-3, or a `ValueError` says which rule is
broken. `pbar = mean_t p_t` is the ensemble's prediction. Entropies are in nats, and
`0 log 0 = 0`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import SUM_TOLERANCE, check_members


def predictive_entropy(members: ArrayLike) -> np.ndarray:
    """Total uncertainty: the entropy of the ensemble's prediction.

    `H[pbar] = -sum_c pbar_c log pbar_c`

    Args:
        members: probabilities of shape `(draws, batch, classes)` or
            `(draws, batch, ..., classes)`.

    Returns:
        float64 of shape `(batch,)` or `(batch, ...)`, in nats, in `[0, log(classes)]`.

    Raises:
        ValueError: if `members` breaks the rules at the top of this module.

    Reference:
        Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning for
        efficient and risk-sensitive learning", ICML 2018, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]]]  # two draws that disagree
        >>> metrics.predictive_entropy(members).round(4).tolist()
        [0.6931]
    """
    mean = np.mean(check_members(members, any_axes=True), axis=0, dtype=np.float64)
    return entropy(np.asarray(mean))


def expected_entropy(members: ArrayLike) -> np.ndarray:
    """Aleatoric uncertainty: the mean entropy of the members' predictions.

    `mean_t H[p_t] = -mean_t sum_c p_tc log p_tc`, the uncertainty that stays when the
    weights are known: noise in the data.

    Args:
        members: probabilities of shape `(draws, batch, classes)` or
            `(draws, batch, ..., classes)`.

    Returns:
        float64 of shape `(batch,)` or `(batch, ...)`, in nats, in `[0, log(classes)]`.

    Raises:
        ValueError: if `members` breaks the rules at the top of this module.

    Reference:
        Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning for
        efficient and risk-sensitive learning", ICML 2018, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]]]  # each draw is certain
        >>> metrics.expected_entropy(members).tolist()
        [0.0]
    """
    members = check_members(members, any_axes=True)
    # A draw at a time: float64 copies of all draws at once can outgrow the memory.
    return np.mean([entropy(p.astype(np.float64)) for p in members], axis=0)


def mutual_information(members: ArrayLike) -> np.ndarray:
    """Epistemic uncertainty: what knowing the weights would tell about the label.

    `I[label; weights] = H[pbar] - mean_t H[p_t]`, the total uncertainty less the
    aleatoric; 0 when all draws agree. Rounding that would make it negative is clipped.

    Args:
        members: probabilities of shape `(draws, batch, classes)` or
            `(draws, batch, ..., classes)`.

    Returns:
        float64 of shape `(batch,)` or `(batch, ...)`, in nats, in
        `[0, log(min(draws, classes))]`.

    Raises:
        ValueError: if `members` breaks the rules at the top of this module.

    Reference:
        Houlsby et al., "Bayesian active learning for classification and preference
        learning", arXiv:1112.5745, 2011, eq. 2. Depeweg et al., ICML 2018, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]]]  # two draws that disagree
        >>> metrics.mutual_information(members).round(4).tolist()
        [0.6931]
    """
    return np.maximum(predictive_entropy(members) - expected_entropy(members), 0.0)


class VarianceDecomposition(NamedTuple):
    """Variance of the one-hot label and its two parts, each `(batch, classes)` float64.

    `total = aleatoric + epistemic`. The unit is a squared probability, and every value
    lies in `[0, 0.25]`.

    Attributes:
        total: the variance of each class's indicator under the ensemble's prediction.
        aleatoric: the part that stays when the weights are known.
        epistemic: the part that comes from not knowing the weights.

    Example:
        >>> from tfhyper import metrics
        >>> parts = metrics.variance_decomposition([[[0.9, 0.1]], [[0.9, 0.1]]])
        >>> parts.epistemic.tolist()
        [[0.0, 0.0]]
    """

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


def variance_decomposition(members: ArrayLike) -> VarianceDecomposition:
    """Splits the variance of the one-hot label by the law of total variance.

    For each example and class:

    - `total = pbar (1 - pbar)`
    - `aleatoric = mean_t p_t (1 - p_t)`, the mean variance given the weights
    - `epistemic = mean_t (p_t - pbar)**2`, the variance of the mean over the weights

    These are the diagonals of `covariance_decomposition`, the matrices of Kwon et al.,
    eq. 4. The sum over the classes is `1 - sum_c pbar_c**2` for the total.

    Args:
        members: probabilities of shape `(draws, batch, classes)` or
            `(draws, batch, ..., classes)`.

    Returns:
        A `VarianceDecomposition` of three float64 arrays of shape `(batch, classes)`
        or `(batch, ..., classes)`.

    Raises:
        ValueError: if `members` breaks the rules at the top of this module.

    Reference:
        Kwon et al., "Uncertainty quantification using Bayesian neural networks in
        classification", MIDL 2018, eq. 4. Depeweg et al., ICML 2018, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]]]  # certain draws that disagree
        >>> total, aleatoric, epistemic = metrics.variance_decomposition(members)
        >>> total.tolist(), aleatoric.tolist(), epistemic.tolist()
        ([[0.25, 0.25]], [[0.0, 0.0]], [[0.25, 0.25]])
    """
    return VarianceDecomposition(
        *_decompose(check_members(members, any_axes=True), lambda p: p, np.square)
    )


class CovarianceDecomposition(NamedTuple):
    """Covariance of the one-hot label and its two parts, as matrices over classes.

    Each is float64 of shape `(batch, classes, classes)`, and `total = aleatoric +
    epistemic`. The matrices are symmetric and positive semi-definite, their rows sum
    to zero (a label of one class more is one of another less), all to the rounding of
    the members. Their diagonals are the `VarianceDecomposition`.

    Attributes:
        total: the covariance of the label under the ensemble's prediction.
        aleatoric: the part that stays when the weights are known.
        epistemic: the part that comes from not knowing the weights: the covariance of
            the members.

    Example:
        >>> from tfhyper import metrics
        >>> parts = metrics.covariance_decomposition([[[0.5, 0.5]], [[0.5, 0.5]]])
        >>> parts.aleatoric[0].tolist()
        [[0.25, -0.25], [-0.25, 0.25]]
    """

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


def covariance_decomposition(members: ArrayLike) -> CovarianceDecomposition:
    """Splits the covariance of the one-hot label by the law of total covariance.

    For each example, with `diag(p)` the matrix that has `p` on its diagonal:

    - `total = diag(pbar) - pbar pbar^T`
    - `aleatoric = mean_t (diag(p_t) - p_t p_t^T)`
    - `epistemic = mean_t (p_t - pbar) (p_t - pbar)^T`

    The trace of `epistemic` is one number for each example, 0 where all draws agree.
    `variance_decomposition` gives the diagonals alone, without the memory for
    `batch * classes**2` numbers.

    Args:
        members: probabilities of shape `(draws, batch, classes)` or
            `(draws, batch, ..., classes)`.

    Returns:
        A `CovarianceDecomposition` of three float64 arrays of shape
        `(batch, classes, classes)` or `(batch, ..., classes, classes)`.

    Raises:
        ValueError: if `members` breaks the rules at the top of this module.

    Reference:
        Kwon et al., "Uncertainty quantification using Bayesian neural networks in
        classification", MIDL 2018, eq. 4.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]]]  # certain draws that disagree
        >>> total, aleatoric, epistemic = metrics.covariance_decomposition(members)
        >>> epistemic[0].tolist()
        [[0.25, -0.25], [-0.25, 0.25]]
    """
    return CovarianceDecomposition(
        *_decompose(
            check_members(members, any_axes=True), _diagonal_matrix, _outer_square
        )
    )


def _decompose(
    members: np.ndarray,
    diagonal: Callable[[np.ndarray], np.ndarray],
    square: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns total, aleatoric and epistemic part of the label's (co)variance.

    The label's covariance under `p` is `diagonal(p) - square(p)`.
    """
    mean = np.asarray(np.mean(members, axis=0, dtype=np.float64))
    aleatoric, epistemic = np.zeros((2, *square(mean).shape))
    # A draw at a time: float64 copies of all draws at once can outgrow the memory.
    for member in members:
        member = member.astype(np.float64)
        aleatoric += diagonal(member) - square(member)
        epistemic += square(member - mean)
    draws = len(members)
    return diagonal(mean) - square(mean), aleatoric / draws, epistemic / draws


def _diagonal_matrix(probs: np.ndarray) -> np.ndarray:
    return probs[..., np.newaxis] * np.eye(probs.shape[-1])


def _outer_square(values: np.ndarray) -> np.ndarray:
    return values[..., np.newaxis] * values[..., np.newaxis, :]


def entropy(probs: np.ndarray) -> np.ndarray:
    """Returns the entropy in nats of each row of probabilities, unchecked."""
    # Where p is 0 the clipped logarithm is finite, so that p log p is 0.
    logs = np.log(np.maximum(probs, np.finfo(np.float64).tiny))
    # A row that sums to slightly more than one can give -1e-8 where it should give 0.
    return np.maximum(-np.sum(probs * logs, axis=-1), 0.0)


def sum_to_one(probs: np.ndarray) -> np.ndarray:
    """Returns class probabilities that sum to one.

    Those of half precision do so within its rounding, which is too far for scores.
    """
    sums = probs.sum(-1, keepdims=True, dtype=np.float64)
    return probs if np.abs(sums - 1).max() <= SUM_TOLERANCE else probs / sums


def entropy_of_one(probs: np.ndarray) -> np.ndarray:
    """Returns the entropy in nats of each row, brought to a sum of one."""
    return entropy(sum_to_one(probs))
