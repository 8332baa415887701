"""How well the boundaries between the classes of a map are met."""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_number
from tfhyper.metrics._checks import read_class_maps


def boundary_f1(
    labels: ArrayLike,
    predicted: ArrayLike,
    num_classes: int,
    tolerance: float = 2.0,
    *,
    ignore_class: int | None = None,
) -> np.ndarray:
    """F1 score of each class's boundary pixels in each map, within a tolerance.

    A boundary pixel of a class is one of the class that has a neighbour, up, down, left
    or right, of another class; the margins of the map, and those of ignored regions,
    make no boundary. Precision is the fraction of the predicted boundary pixels that
    lie within `tolerance` of one of the labels', recall the reverse, and

    `f1 = 2 precision recall / (precision + recall)`.

    `class_mean` gives a number for each map, and the mean of these is the score of a
    data set.

    Args:
        labels: class indices `(batch, height, width)`, or `(batch, depth, height,
            width)` and so on.
        predicted: the predicted classes, of the same shape.
        num_classes: integer from 1 to 10,000, the number of classes.
        tolerance: the largest Euclidean distance in pixels, at least 0, at which a
            boundary is met. Csurka et al. take 0.75 % of the diagonal.
        ignore_class: integer outside of the classes: places of this label are no
            boundary, whatever is predicted there.

    Returns:
        float64 of shape `(batch, classes)`, in `[0, 1]`; NaN where neither the labels
        nor the predictions have a boundary of the class, and 0 where only one has.

    Raises:
        ValueError: if the shapes differ or have no height and width, a value is no
            class, `ignore_class` is one, or `tolerance` is below zero.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Csurka et al., "What is a good evaluation measure for semantic segmentation?",
        BMVC 2013, section 2.2.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> labels = np.repeat([[[0, 0, 0, 1, 1, 1]]], 4, axis=1)
        >>> moved = np.repeat([[[0, 0, 1, 1, 1, 1]]], 4, axis=1)
        >>> metrics.boundary_f1(labels, moved, 2, tolerance=1).tolist()
        [[1.0, 1.0]]
        >>> metrics.boundary_f1(labels, moved, 2, tolerance=0).tolist()
        [[0.0, 0.0]]
    """
    maps = read_class_maps(labels, predicted, num_classes, ignore_class, min_axes=3)
    tolerance = check_number("tolerance", tolerance)
    scores = np.full((len(maps.labels), num_classes), np.nan)
    for row, (true, said, counts) in zip(scores, zip(*maps, strict=True), strict=True):
        for c in np.union1d(true[counts], said[counts]):
            row[c] = _f1(
                _boundary(true == c, counts), _boundary(said == c, counts), tolerance
            )
    return scores


def _boundary(is_class: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns which places that count are of the class and beside another class."""
    from scipy.ndimage import binary_erosion

    inner = binary_erosion(is_class | ~counts, border_value=1)
    return is_class & counts & ~inner


def _f1(true: np.ndarray, said: np.ndarray, tolerance: float) -> float:
    from scipy.ndimage import distance_transform_edt

    if not true.any() or not said.any():
        return 0.0 if true.any() or said.any() else float("nan")
    precision = np.mean(distance_transform_edt(~true)[said] <= tolerance)
    recall = np.mean(distance_transform_edt(~said)[true] <= tolerance)
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0
