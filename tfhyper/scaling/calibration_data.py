"""Held-out data that choose a scaling: what was said of them, and what they are."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class CalibrationData:
    """Rows of what draws say, with their labels.

    Args:
        log_probs: logarithms of probabilities, float64 (draws, rows, classes); of one
            "draw" where the mean is scaled.
        labels: int64 (rows,).
        weights: float64 (rows,), or `None`.

    Raises:
        ValueError: if there are no rows, if numbers are not finite, or if the labels
            are of one class.
    """

    log_probs: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and not (counts := self.weights > 0).all():
            object.__setattr__(self, "log_probs", self.log_probs[:, counts])
            object.__setattr__(self, "labels", self.labels[counts])
            object.__setattr__(self, "weights", self.weights[counts])
        if not len(self.labels):
            raise ValueError(
                "A scaling needs labels that count. Received: none, or labels that are "
                "all ignored or have a `sample_weight` of 0"
            )
        if not np.isfinite(self.log_probs).all():
            raise ValueError(
                "A scaling needs probabilities that are finite. Received: NaN"
            )
        found = np.unique(self.labels)
        if len(found) == 1:
            raise ValueError(
                "A scaling needs labels of two classes or more: of one class nothing "
                f"tells how sure to be. Received: {len(self.labels)} labels, all of "
                f"them {found[0]}"
            )

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.log_probs.shape[-1]

    @property
    def mean(self) -> np.ndarray:
        """The mean probabilities of the draws, float64 (rows, classes)."""
        return np.exp(self.log_probs).mean(axis=0)

    def check_every_class(self, method: str) -> None:
        """Raises ValueError unless each class has a label.

        Args:
            method: the method that needs it, which has numbers for each class.
        """
        missing = np.setdiff1d(np.arange(self.classes), self.labels)
        if missing.size:
            raise ValueError(
                f'`method="{method}"` has numbers of its own for each class, and needs '
                'labels of every one; "temperature" does not. Received: '
                f"{len(self.labels)} labels, none of the classes "
                f"{missing[:10].tolist()}{' ...' if missing.size > 10 else ''}"
            )
