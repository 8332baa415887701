"""How logits become class probabilities, where it is not by a softmax."""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_finite
from tfhyper.metrics._checks import as_float_array

# Below it, log softplus(l) = l - exp(l) / 2 + ... equals l in float64.
_LINEAR_BELOW = -40.0


def normalized_softplus(logits: ArrayLike) -> np.ndarray:
    """Turns logits into probabilities that grow linearly with large logits.

    `p_c = softplus(l_c) / sum_k softplus(l_k)`, with `softplus(l) = log(1 + exp(l))`

    Less sure than the softmax where logits are large, and equal to it in the limit of
    logits far below zero. Unlike the softmax it changes when all logits of a row are
    shifted by a constant: a network trained with the softmax leaves that free.

    Args:
        logits: finite numbers of shape `(..., classes)`.

    Returns:
        float64 of the same shape, whose last axis sums to one.

    Raises:
        ValueError: if `logits` has no last axis of classes, or is not finite.
        TypeError: if `logits` are not real numbers.

    Reference:
        Shridhar et al., "Uncertainty estimations by softplus normalization in Bayesian
        convolutional neural networks with variational inference", arXiv:1806.05978,
        2018, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.normalized_softplus([[-1000.0, -1000.0]]).tolist()
        [[0.5, 0.5]]
    """
    array = check_finite("logits", as_float_array("logits", logits)).astype(np.float64)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(
            "`logits` must have the axes (..., classes), with at least one class. "
            f"Received: logits.shape={array.shape}"
        )
    # Logarithms are normalised: that of softplus does not vanish far below zero.
    softplus = np.logaddexp(0.0, np.maximum(array, _LINEAR_BELOW))
    logs = np.where(array < _LINEAR_BELOW, array, np.log(softplus))
    scaled = np.exp(logs - np.max(logs, axis=-1, keepdims=True))
    return scaled / np.sum(scaled, axis=-1, keepdims=True)
