"""Error, top-k error, negative log-likelihood and Brier score of a classifier.

Every function takes `labels` and `probs`:

- `labels`: class indices of shape `(batch,)` or `(batch, 1)`, integers or whole floats,
  each in `[0, classes)`; or one-hot rows of shape `(batch, classes)`.
- `probs`: probabilities of shape `(batch, classes)`, or `(draws, batch, classes)`. The
  latter are first averaged over the draws: the score is that of the ensemble's
  prediction, not the mean of its members' scores.
- `sample_weight`: `None`, or the examples' weights of shape `(batch,)` or `(batch, 1)`,
  finite, not below zero and not all 0. The mean over the examples `mean_b s_b` is then
  `sum_b w_b s_b / sum_b w_b`: a weight of 2 counts as two equal examples, and one of 0
  leaves an example out.
- `ignore_class`: `None`, or an integer outside of `[0, classes)`, such as 255 for void
  pixels or -1 for padding: what has this label is left out of every mean.

More axes may stand behind that of the batch, in the labels and the probabilities alike:
those of maps `(batch, height, width)` with `(batch, height, width, classes)`, or of
tokens `(batch, time)`. Each label then counts as one example, and weights have the
shape `(batch,)` or that of the labels (bools make a mask). The shape of the labels
tells draws from such axes; if both readings fit, as of one-hot labels `(5, 5)` and
probabilities `(5, 5, 5)`, the first axis is draws.

They raise a `ValueError` when `probs` is not finite, holds a value below zero or a row
that does not sum to one within 1e-3 (0.004 for numbers of float16's precision and 0.03
for those of bfloat16's, which round so), when the shapes do not fit, a label is out of
range or no whole number, one-hot rows hold anything but one 1 and zeros, or weights
break their rule; and a `TypeError` when an argument does not hold real numbers.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_positive_integer
from tfhyper.metrics._checks import (
    read_labelled,
    weighted_mean,
)

SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


def error(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Fraction of examples whose most probable class is not the label.

    `error = mean_b [argmax_c probs[b, c] != labels[b]]`. Of equally probable classes
    the one with the lowest index is predicted.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`: 0.05 for five wrong predictions in a hundred.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.error([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        0.5
    """
    return top_k_error(
        labels, probs, k=1, sample_weight=sample_weight, ignore_class=ignore_class
    )


def top_k_accuracy(
    labels: ArrayLike,
    probs: ArrayLike,
    k: int,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Fraction of examples whose label is among the `k` most probable classes.

    Equally probable classes are ranked by their index, lowest first, so that
    `top_k_accuracy(..., k=1) == 1 - error(...)`.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first.
        k: positive integer, at most the number of classes.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`.

    Raises:
        ValueError: if `k` is not an integer in `[1, classes]`, or another
            argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.top_k_accuracy([2, 2], [[0.5, 0.2, 0.3], [0.5, 0.4, 0.1]], k=2)
        0.5
    """
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    k = check_positive_integer("k", k)
    classes = data.probs.shape[1]
    if k > classes:
        raise ValueError(
            f"`k` must be at most the number of classes, {classes}. Received: k={k}"
        )
    return weighted_mean(_ranks(data.labels, data.probs) < k, data.weights)


def top_k_error(
    labels: ArrayLike,
    probs: ArrayLike,
    k: int,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Fraction of examples whose label is not among the `k` most probable classes.

    `top_k_error = 1 - top_k_accuracy`; `k=5` is the customary one on ImageNet.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first.
        k: positive integer, at most the number of classes.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`.

    Raises:
        ValueError: if `k` is not an integer in `[1, classes]`, or another
            argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.top_k_error([2, 2], [[0.5, 0.2, 0.3], [0.5, 0.4, 0.1]], k=1)
        1.0
    """
    return 1.0 - top_k_accuracy(
        labels, probs, k, sample_weight=sample_weight, ignore_class=ignore_class
    )


def negative_log_likelihood(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Mean negative log-probability of the labels, in nats.

    `nll = mean_b -log(max(probs[b, labels[b]], 2**-126))`.

    A probability below `2**-126` (about 1.2e-38, the smallest normal float32) counts
    as `2**-126`, so that one certain and wrong prediction costs 87.3 nats and not
    infinity. The clip is the same for inputs of every precision.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 87.34]`, up to the tolerance of the rows' sums; `log(classes)`
        for uniform predictions.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.negative_log_likelihood([0], [[0.5, 0.5]]), 4)
        0.6931
    """
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    return weighted_mean(log_losses(data.labels, data.probs), data.weights)


def brier_score(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Mean squared distance between the predictions and the one-hot labels.

    `brier = mean_b sum_c (probs[b, c] - [c == labels[b]])**2`, the definition of Brier
    (1950, eq. 2), summed over all classes, so that two classes score twice the
    single-probability form that some packages use.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 2]`: 0 for certain and right, 2 for certain and wrong.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Brier, "Verification of forecasts expressed in terms of probability", Monthly
        Weather Review 78, 1950.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.brier_score([0], [[0.5, 0.5]])
        0.5
    """
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    return weighted_mean(brier_scores(data.labels, data.probs), data.weights)


def is_right(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns whether the label is the most probable class, `(examples,)` bools."""
    return _ranks(labels, probs) < 1


def log_losses(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns the negative log-likelihood of each example, in nats."""
    true_probs = _true_class_probabilities(labels, probs)
    return -np.log(np.maximum(true_probs, SMALLEST_PROBABILITY))


def brier_scores(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns the Brier score of each example."""
    one_hot = labels[:, np.newaxis] == np.arange(probs.shape[1])
    return np.sum(np.square(probs - one_hot), axis=1)


def _ranks(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Returns how many classes come before the label's, by probability and index."""
    true_probs = _true_class_probabilities(labels, probs)[:, np.newaxis]
    earlier = np.arange(probs.shape[1]) < labels[:, np.newaxis]
    before = (probs > true_probs) | ((probs == true_probs) & earlier)
    return np.sum(before, axis=1)


def _true_class_probabilities(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    return np.take_along_axis(probs, labels[:, np.newaxis], axis=1)[:, 0]
