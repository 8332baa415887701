"""Whether the patches of a map that are predicted wrong are those that are unsure."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer
from tfhyper.metrics._checks import (
    as_float_array,
    check_map,
    check_vector,
    read_class_maps,
)


@dataclasses.dataclass(frozen=True)
class PatchCounts:
    """Numbers of patches, accurate or not and certain or not, at each threshold.

    All arrays have the shape `(thresholds,)`. Counts of batches add up, by `+`, if
    their thresholds are the same. A ratio whose patches do not exist is NaN.

    Attributes:
        thresholds: float64, above which a patch is uncertain.
        accurate_certain: int64, the number of patches that are both.
        accurate_uncertain: int64, as above.
        inaccurate_certain: int64, as above.
        inaccurate_uncertain: int64, as above.

    Example:
        >>> from tfhyper import metrics
        >>> counts = metrics.patch_counts([[0, 1]], [[0, 0]], 2, [[0.1, 0.9]], [0.5], 1)
        >>> (counts + counts).inaccurate_uncertain.tolist(), counts.pavpu.tolist()
        ([2], [1.0])
    """

    thresholds: np.ndarray
    accurate_certain: np.ndarray
    accurate_uncertain: np.ndarray
    inaccurate_certain: np.ndarray
    inaccurate_uncertain: np.ndarray

    def __add__(self, other: "PatchCounts") -> "PatchCounts":
        if not isinstance(other, PatchCounts):
            return NotImplemented
        if not np.array_equal(self.thresholds, other.thresholds):
            raise ValueError(
                "`thresholds` must be those of both counts to be added. Received: "
                f"thresholds={self.thresholds} and {other.thresholds}"
            )
        names = [field.name for field in dataclasses.fields(self)[1:]]
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return dataclasses.replace(self, **sums)

    @property
    def accurate_if_certain(self) -> np.ndarray:
        """`p(accurate | certain)`, the fraction of certain patches that are right."""
        return _share(self.accurate_certain, self.inaccurate_certain)

    @property
    def uncertain_if_inaccurate(self) -> np.ndarray:
        """`p(uncertain | inaccurate)`, the fraction of wrong patches that is told."""
        return _share(self.inaccurate_uncertain, self.inaccurate_certain)

    @property
    def pavpu(self) -> np.ndarray:
        """Patch accuracy vs. patch uncertainty: right and certain, or neither."""
        good = self.accurate_certain + self.inaccurate_uncertain
        return _share(good, self.accurate_uncertain + self.inaccurate_certain)


def patch_counts(
    labels: ArrayLike,
    predicted: ArrayLike,
    num_classes: int,
    uncertainty: ArrayLike,
    thresholds: ArrayLike,
    patch_size: int = 4,
    *,
    accuracy: float = 0.5,
    ignore_class: int | None = None,
) -> PatchCounts:
    """Counts patches of maps by whether they are right and whether they are certain.

    Maps are cut into patches of `patch_size` places along each axis, the last of which
    may be smaller. A patch is accurate if more than the fraction `accuracy` of its
    places are predicted right, and uncertain if the mean of its uncertainties is above
    a threshold. Only places whose label is not ignored count; a patch without any is
    left out.

    Args:
        labels: class indices `(batch, height, width)`; also of volumes, or of tokens
            `(batch, time)`.
        predicted: the predicted classes, of the same shape.
        num_classes: integer from 1 to 10,000, the number of classes.
        uncertainty: finite numbers of the same shape, larger for less sure, such as
            `prediction.total` or `prediction.epistemic`.
        thresholds: finite numbers of shape `(thresholds,)`, or one, in the unit of the
            uncertainty. Mukhoti and Gal take them between the least and the largest
            uncertainty of held-out maps.
        patch_size: positive integer, the length of a patch's sides in places; 1 for
            single pixels.
        accuracy: number in `[0, 1)`.
        ignore_class: integer outside of the classes, such as 255 for void pixels.

    Returns:
        `PatchCounts`, whose `pavpu`, `accurate_if_certain` and
        `uncertain_if_inaccurate` are the scores.

    Raises:
        ValueError: if the shapes differ or have one axis alone, a value is no class or
            not finite, `ignore_class` is a class, or a number is out of its range.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Mukhoti and Gal, "Evaluating Bayesian deep learning methods for semantic
        segmentation", arXiv:1811.12709, 2018, section 3.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> labels = np.zeros((1, 4, 4), int)
        >>> predicted = np.kron([[[0, 1], [0, 0]]], np.ones((2, 2), int))
        >>> uncertainty = 0.8 * predicted + 0.1
        >>> counts = metrics.patch_counts(labels, predicted, 2, uncertainty, 0.5, 2)
        >>> counts.accurate_certain.tolist(), counts.uncertain_if_inaccurate.tolist()
        ([3], [1.0])
    """
    maps = read_class_maps(labels, predicted, num_classes, ignore_class, min_axes=2)
    uncertainty = check_map("uncertainty", uncertainty, maps.labels.shape, "labels")
    thresholds = as_float_array("thresholds", thresholds, np.float64)
    thresholds = thresholds.reshape(1) if thresholds.ndim == 0 else thresholds
    thresholds = check_vector("thresholds", thresholds)
    patch_size = check_integer("patch_size", patch_size, 1, 2**31 - 1)
    least = as_float_array("accuracy", accuracy, np.float64)
    if least.ndim != 0 or not 0 <= least < 1:
        raise ValueError(
            f"`accuracy` must be a number in [0, 1). Received: accuracy={accuracy!r}"
        )

    is_right = (maps.labels == maps.predicted) & maps.counts
    sizes = _patch_sums(maps.counts, patch_size)
    kept = sizes > 0
    sizes = sizes[kept]
    is_accurate = _patch_sums(is_right, patch_size)[kept] / sizes > least
    means = np.where(maps.counts, uncertainty, 0.0)
    means = _patch_sums(means, patch_size)[kept] / sizes

    def count_above(values: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(values), thresholds, side="right")
        return (len(values) - below).astype(np.int64)

    accurate, inaccurate = means[is_accurate], means[~is_accurate]
    accurate_uncertain = count_above(accurate)
    inaccurate_uncertain = count_above(inaccurate)
    return PatchCounts(
        thresholds=thresholds,
        accurate_certain=len(accurate) - accurate_uncertain,
        accurate_uncertain=accurate_uncertain,
        inaccurate_certain=len(inaccurate) - inaccurate_uncertain,
        inaccurate_uncertain=inaccurate_uncertain,
    )


def _patch_sums(values: np.ndarray, size: int) -> np.ndarray:
    """Returns the sums over patches of all axes but the first, float64."""
    values = values.astype(np.float64)
    for axis in range(1, values.ndim):
        starts = np.arange(0, values.shape[axis], size)
        values = np.add.reduceat(values, starts, axis=axis)
    return values


def _share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
    whole = part + rest
    nothing = np.full(whole.shape, np.nan)
    return np.divide(part, whole, out=nothing, where=whole > 0)
