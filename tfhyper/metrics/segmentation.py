"""Intersection over union, Dice and accuracy of label maps, from a confusion matrix.

A confusion matrix counts places (pixels, voxels or tokens) by their label and their
predicted class. Those of batches add up, so that scores of any number of maps need the
memory of one batch. Every score takes a matrix `(classes, classes)`, or one of each
example `(batch, classes, classes)`, and gives a number for each of its classes.

A class that neither a label nor a prediction has shows in no score: its own is NaN, and
`class_mean` leaves it out.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool
from tfhyper.metrics._checks import (
    as_float_array,
    check_finite,
    check_sample_weight,
    read_class_maps,
)


def confusion_matrix(
    labels: ArrayLike,
    predicted: ArrayLike,
    num_classes: int,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
    per_example: bool = False,
) -> np.ndarray:
    """Counts places by their label and their predicted class.

    `matrix[i, j]` is the number of places of label `i` that are predicted to be `j`.
    Matrices of batches add up to that of all.

    Args:
        labels: class indices `(batch, ...)`, integers or whole floats: maps
            `(batch, height, width)`, volumes, tokens `(batch, time)` or `(batch,)`.
        predicted: the predicted classes, of the same shape: the argmax of class
            probabilities, or `prediction.label`.
        num_classes: integer from 1 to 10,000, the number of classes.
        sample_weight: weights, finite, not below zero and not all 0, of shape
            `(batch,)` or `(batch, 1)`, one for each example, or of the labels' shape;
            `None` for equal ones.
        ignore_class: integer outside of the classes, such as 255 for void pixels:
            places of this label are not counted, whatever is predicted there.
        per_example: whether to give a matrix for each example, not their sum.

    Returns:
        int64 of shape `(classes, classes)`, or `(batch, classes, classes)` with
        `per_example`; float64 with weights.

    Raises:
        ValueError: if the shapes differ, a value is no class, `ignore_class` is one,
            or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> labels, predicted = [[0, 1], [1, 255]], [[0, 1], [0, 0]]
        >>> metrics.confusion_matrix(labels, predicted, 2, ignore_class=255).tolist()
        [[1, 0], [1, 1]]
    """
    maps = read_class_maps(labels, predicted, num_classes, ignore_class)
    per_example = check_bool("per_example", per_example)
    weights = check_sample_weight(sample_weight, maps.labels.shape)
    batch = len(maps.labels)
    cells = maps.labels * num_classes + maps.predicted
    shape: tuple[int, ...] = (num_classes, num_classes)
    if per_example:
        cells = cells.reshape(batch, -1)
        cells = cells + np.arange(batch)[:, np.newaxis] * num_classes**2
        shape = (batch, *shape)
    counts = maps.counts.reshape(-1)
    if weights is not None:
        weights = weights[counts]
    cells = cells.reshape(-1)[counts]
    found = np.bincount(cells, weights, minlength=int(np.prod(shape)))
    return found.reshape(shape)


def intersection_over_union(matrix: ArrayLike) -> np.ndarray:
    """Intersection over union of each class: the Jaccard index.

    `iou_c = matrix_cc / (sum_j matrix_cj + sum_i matrix_ic - matrix_cc)`

    the number of places that both labels and predictions give to the class, over the
    number that either gives to it.

    Args:
        matrix: a `confusion_matrix`, `(classes, classes)` or `(batch, classes,
            classes)`.

    Returns:
        float64 of shape `(classes,)` or `(batch, classes)`, in `[0, 1]`; NaN for a
        class that neither labels nor predictions have. `class_mean` is its mean.

    Raises:
        ValueError: if `matrix` is not square, or a number is not finite or below zero.
        TypeError: if `matrix` does not hold real numbers.

    Reference:
        Everingham et al., "The PASCAL visual object classes challenge: a
        retrospective", IJCV 111, 2015, section 4.1.2.

    Example:
        >>> from tfhyper import metrics
        >>> iou = metrics.intersection_over_union([[1, 0, 0], [1, 2, 0], [0, 0, 0]])
        >>> iou.round(4).tolist(), metrics.class_mean(iou).round(4)
        ([0.5, 0.6667, nan], np.float64(0.5833))
    """
    hits, of_label, of_prediction = _margins(matrix)
    return _ratio(hits, of_label + of_prediction - hits)


def dice_score(matrix: ArrayLike) -> np.ndarray:
    """Dice coefficient of each class: the F1 score of its places.

    `dice_c = 2 matrix_cc / (sum_j matrix_cj + sum_i matrix_ic)`

    which is `2 iou_c / (1 + iou_c)`.

    Args:
        matrix: a `confusion_matrix`, `(classes, classes)` or `(batch, classes,
            classes)`.

    Returns:
        float64 of shape `(classes,)` or `(batch, classes)`, in `[0, 1]`; NaN for a
        class that neither labels nor predictions have. `class_mean` is its mean.

    Raises:
        ValueError: if `matrix` is not square, or a number is not finite or below zero.
        TypeError: if `matrix` does not hold real numbers.

    Reference:
        Dice, "Measures of the amount of ecologic association between species", Ecology
        26, 1945.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.dice_score([[1, 0, 0], [1, 2, 0], [0, 0, 0]]).round(4).tolist()
        [0.6667, 0.8, nan]
    """
    hits, of_label, of_prediction = _margins(matrix)
    return _ratio(2 * hits, of_label + of_prediction)


def class_accuracy(matrix: ArrayLike) -> np.ndarray:
    """Fraction of the places of each label that are predicted right: the recall.

    Args:
        matrix: a `confusion_matrix`, `(classes, classes)` or `(batch, classes,
            classes)`.

    Returns:
        float64 of shape `(classes,)` or `(batch, classes)`, in `[0, 1]`; NaN for a
        class that no label has. `class_mean` is its mean.

    Raises:
        ValueError: if `matrix` is not square, or a number is not finite or below zero.
        TypeError: if `matrix` does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.class_accuracy([[3, 1], [0, 0]]).tolist()
        [0.75, nan]
    """
    hits, of_label, _ = _margins(matrix)
    return _ratio(hits, of_label)


def pixel_accuracy(matrix: ArrayLike) -> np.ndarray:
    """Fraction of all places that are predicted right.

    Args:
        matrix: a `confusion_matrix`, `(classes, classes)` or `(batch, classes,
            classes)`.

    Returns:
        float64 of shape `()` or `(batch,)`, in `[0, 1]`; NaN without any place.

    Raises:
        ValueError: if `matrix` is not square, or a number is not finite or below zero.
        TypeError: if `matrix` does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> float(metrics.pixel_accuracy([[1, 0], [1, 2]]))
        0.75
    """
    hits, of_label, _ = _margins(matrix)
    return _ratio(hits.sum(axis=-1), of_label.sum(axis=-1))


def class_mean(scores: ArrayLike) -> np.ndarray:
    """Mean over the classes of a score, without those that are NaN.

    Args:
        scores: numbers of shape `(classes,)` or `(..., classes)`, NaN for a class that
            does not occur.

    Returns:
        float64 of shape `()` or `(...)`; NaN where no class occurs.

    Raises:
        ValueError: if `scores` has no class, or holds infinity.
        TypeError: if `scores` does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> float(metrics.class_mean([0.5, float("nan"), 1.0]))
        0.75
    """
    array = as_float_array("scores", scores, np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            "`scores` must have the axes (..., classes), with at least one class. "
            f"Received: scores.shape={array.shape}"
        )
    known = ~np.isnan(array)
    values = check_finite("scores", np.where(known, array, 0.0))
    return _ratio(values.sum(axis=-1), known.sum(axis=-1))


def segmentation_report(matrix: ArrayLike) -> dict[str, float]:
    """Accuracy, intersection over union and Dice coefficient at once.

    Args:
        matrix: a `confusion_matrix`. One `(classes, classes)` of all maps gives the
            scores of the data set, as they are mostly told; `(batch, classes,
            classes)`, one of each map, gives the mean of the maps' own scores, in which
            small objects and maps of few labels weigh more.

    Returns:
        A dict of floats in `[0, 1]`, whose keys are always these, in this order:

        - `"pixel_accuracy"`: the fraction of places that are predicted right
        - `"mean_accuracy"`: the mean over the classes of `class_accuracy`
        - `"mean_iou"`: the mean over the classes of `intersection_over_union`
        - `"mean_dice"`: the mean over the classes of `dice_score`

        A score of nothing, where every label is ignored, is NaN, and such maps are left
        out of means over maps.

    Raises:
        ValueError: if `matrix` is not square, or a number is not finite or below zero.
        TypeError: if `matrix` does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> report = metrics.segmentation_report([[1, 0], [1, 2]])
        >>> report["pixel_accuracy"], round(report["mean_iou"], 4)
        (0.75, 0.5833)
    """
    scores = {
        "pixel_accuracy": pixel_accuracy(matrix),
        "mean_accuracy": class_mean(class_accuracy(matrix)),
        "mean_iou": class_mean(intersection_over_union(matrix)),
        "mean_dice": class_mean(dice_score(matrix)),
    }
    return {key: float(class_mean(value.reshape(-1))) for key, value in scores.items()}


def _margins(matrix: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the diagonal, the sums of the rows and those of the columns."""
    array = as_float_array("matrix", matrix, np.float64)
    if array.ndim not in (2, 3) or array.shape[-1] != array.shape[-2] or not array.size:
        raise ValueError(
            "`matrix` must be a confusion matrix (classes, classes), or one of each "
            f"example (batch, classes, classes). Received: matrix.shape={array.shape}"
        )
    check_finite("matrix", array)
    if np.min(array) < 0:
        raise ValueError(
            "`matrix` must hold counts, none below zero. "
            f"Received: matrix with the value {np.min(array)}"
        )
    diagonal = np.diagonal(array, axis1=-2, axis2=-1)
    return diagonal, array.sum(axis=-1), array.sum(axis=-2)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns `part / whole`, NaN where the whole is 0."""
    nothing = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)
