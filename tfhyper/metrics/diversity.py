"""How differently the members of an ensemble err.

Both functions take `members`, probabilities of shape `(draws, batch, classes)`, whose
rows are finite, not below zero and sum to one within 1e-3.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import check_labels, check_members


def fault_counts(labels: ArrayLike, members: ArrayLike) -> np.ndarray:
    """Number of examples that exactly `k` of the draws misclassify, for every `k`.

    With two draws the last entry is the double fault, with four the "quadruple fault"
    of the paper, whose Table V lists entries 1 to 4 for 10,000 test images. Examples
    that every draw gets wrong gain little from averaging; those that few get wrong are
    what an ensemble mends.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        members: probabilities of shape `(draws, batch, classes)`.

    Returns:
        int64 of shape `(draws + 1,)`. Entry `k` counts the examples misclassified by
        exactly `k` draws; the entries sum to `batch`.

    Raises:
        ValueError: if `members` does not hold probabilities on three axes, or `labels`
            does not fit them.
        TypeError: if `labels` are no class indices.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        Table V.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.7, 0.3]]]
        >>> metrics.fault_counts([0, 0], members).tolist()
        [1, 1, 0]
    """
    members = check_members(members)
    labels = check_labels(labels, *members.shape[1:])
    faults = np.sum(np.argmax(members, axis=-1) != labels, axis=0)
    return np.bincount(faults, minlength=len(members) + 1)


def disagreement(members: ArrayLike) -> float:
    """Mean fraction of examples on which two draws predict different classes.

    The mean is over all pairs of draws and all examples. No labels are needed.

    Args:
        members: probabilities of shape `(draws, batch, classes)`, of at least 2 draws.

    Returns:
        A float in `[0, 1]`, 0 when every draw predicts the same classes.

    Raises:
        ValueError: if `members` holds fewer than two draws, or does not hold
            probabilities on three axes.

    Reference:
        Fort et al., "Deep ensembles: a loss landscape perspective", arXiv:1912.02757,
        2019, section 4, the disagreement of predictions.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.7, 0.3]]]
        >>> metrics.disagreement(members)
        0.5
    """
    members = check_members(members)
    draws, batch, classes = members.shape
    if draws < 2:
        raise ValueError(
            "`members` must hold at least two draws to compare. "
            f"Received: members.shape={members.shape}"
        )
    votes = np.zeros((batch, classes), dtype=np.int64)
    for predicted in np.argmax(members, axis=-1):
        votes[np.arange(batch), predicted] += 1
    agreeing_pairs = np.sum(votes * (votes - 1), axis=1)
    return float(1.0 - np.mean(agreeing_pairs) / (draws * (draws - 1)))
