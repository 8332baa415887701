"""What is measured of maps beside `evaluate`: patches, sparsification, borders."""

from collections.abc import Iterable

import numpy as np

from tfhyper import metrics

# Pixels along a side of a patch, and the uncertainty of one that is uncertain, in nats.
PATCH, UNCERTAIN = 4, 0.4
# Every so many pixels, along both sides, count where all would be too many.
STRIDE = 4


class MapScores:
    """Adds up the scores of maps, batch by batch.

    Args:
        classes: how many there are.
        void: the label of pixels without a class.
        unseen: the class that the training was not told of, or `None`. It counts in
            nothing but in how well it is told from the others.
    """

    def __init__(self, classes: int, void: int, unseen: int | None = None):
        self._classes, self._void, self._unseen = classes, void, unseen
        self._patches: metrics.PatchCounts | None = None
        self._areas: list[np.ndarray] = []
        # Of some pixels: label, whether it is at a border, total, epistemic.
        self._pixels: list[np.ndarray] = []

    def add(self, labels: np.ndarray, prediction) -> None:
        """Adds a batch of labels (maps, height, width) and its prediction."""
        void = self._void
        counted = labels
        if self._unseen is not None:
            counted = np.where(labels == self._unseen, void, labels)
        patches = metrics.patch_counts(
            counted,
            prediction.label,
            self._classes,
            prediction.total,
            UNCERTAIN,
            PATCH,
            ignore_class=void,
        )
        self._patches = patches if self._patches is None else self._patches + patches
        wrong = (prediction.label != counted).astype(float)
        areas = metrics.ause(
            wrong, prediction.total, mask=counted != void, per_example=True
        )
        self._areas.append(areas)
        found = [labels, _at_border(labels, void), prediction.total]
        some = np.stack([*found, prediction.epistemic])[:, :, ::STRIDE, ::STRIDE]
        self._pixels.append(some.reshape(4, -1))

    def result(self) -> dict[str, float]:
        """Returns the scores of all batches."""
        patches = self._patches
        if patches is None:
            raise ValueError("There are no maps.")
        labels, border, total, epistemic = np.concatenate(self._pixels, axis=1)
        known = (labels != self._void) & (labels != self._unseen)
        found = {
            "pavpu": float(patches.pavpu[0]),
            "accurate_if_certain": float(patches.accurate_if_certain[0]),
            "uncertain_if_inaccurate": float(patches.uncertain_if_inaccurate[0]),
            "ause": float(np.nanmean(np.concatenate(self._areas))),
            "total_of_void": float(total[labels == self._void].mean()),
        }
        for name, of in (("total", total), ("epistemic", epistemic)):
            at, within = of[known & (border > 0)], of[known & (border == 0)]
            found[f"{name}_at_borders"] = float(at.mean())
            found[f"{name}_within"] = float(within.mean())
            found |= _auroc(f"{name}_auroc_of_borders", within, at)
            if self._unseen is not None:
                unseen = of[labels == self._unseen]
                found |= _auroc(f"{name}_auroc_of_unseen", of[known], unseen)
        return found


def _auroc(name: str, known: Iterable[float], other: Iterable[float]) -> dict:
    return {name: metrics.ood_detection(known, other)["auroc"]}


def _at_border(labels: np.ndarray, void: int) -> np.ndarray:
    """Returns which pixels have a neighbour of another class, besides void."""
    found = np.zeros(labels.shape, bool)
    for axis in (1, 2):
        first = np.take(labels, range(labels.shape[axis] - 1), axis)
        second = np.take(labels, range(1, labels.shape[axis]), axis)
        differs = (first != second) & (first != void) & (second != void)
        none = np.zeros_like(np.take(found, [0], axis))
        found |= np.concatenate([differs, none], axis)
        found |= np.concatenate([none, differs], axis)
    return found
