"""How well probabilities order positives and negatives, kept in a histogram."""

import numpy as np

from tfhyper.metrics._checks import RunningSums

# Bins of the logit, each 1 / 400 wide, from the probability 4e-18 to 1 less that.
_NUM_BINS, _LARGEST_LOGIT = 2**15, 40.0


def area_under_roc(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
) -> float:
    """Returns the area under the ROC curve of checked labels, NaN without a pair."""
    from sklearn.metrics import roc_auc_score

    if weights is None:
        has_both = np.any(labels) and not np.all(labels)
    else:
        has_both = np.any(weights[labels]) and np.any(weights[~labels])
    if not has_both:
        return float("nan")
    return float(roc_auc_score(labels, probs, sample_weight=_scaled(weights)))


def average_precision_of(
    labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
) -> float:
    """Returns the average precision of checked labels, NaN without a positive."""
    from sklearn.metrics import average_precision_score

    if not np.any(labels if weights is None else weights[labels]):
        return float("nan")
    return float(average_precision_score(labels, probs, sample_weight=_scaled(weights)))


def _scaled(weights: np.ndarray | None) -> np.ndarray | None:
    """Returns weights that are neither too small nor too large to be multiplied."""
    return None if weights is None else weights / np.max(weights)


class RankSums(RunningSums):
    """Adds up a histogram of positives and negatives over their probabilities.

    Its scores are those of probabilities rounded to 1 / 400 of a logit, equal ones
    tied.
    """

    def __init__(self) -> None:
        super().__init__()
        # Of negatives and of positives, from the least to the largest probability.
        self.sums: np.ndarray = np.zeros((2, _NUM_BINS))

    def add(
        self, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds checked examples."""
        weights = self.scaled(weights, len(labels))
        cells = rank_bins(probs) + np.where(labels, _NUM_BINS, 0)
        found = np.bincount(cells, weights, minlength=2 * _NUM_BINS)
        self.sums = self.sums + found.reshape(2, _NUM_BINS)

    def area_under_roc(self) -> float:
        """Returns the area under the ROC curve, NaN without a pair."""
        negatives, positives = self.sums
        total = negatives.sum() * positives.sum()
        if not total:
            return float("nan")
        below = np.cumsum(negatives) - negatives / 2
        return float(np.sum(positives * below) / total)

    def average_precision(self) -> float:
        """Returns the average precision, NaN without a positive."""
        negatives, positives = self.sums[:, ::-1]
        hits = np.cumsum(positives)
        found = hits + np.cumsum(negatives)
        if not hits[-1]:
            return float("nan")
        precision = hits / np.where(found > 0, found, 1.0)
        return float(np.sum(positives * precision) / hits[-1])


def rank_bins(probs: np.ndarray) -> np.ndarray:
    """Returns the bin of each float64 probability, an integer that grows with it."""
    from scipy.special import logit

    logits = np.clip(logit(probs), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    bins = (logits + _LARGEST_LOGIT) * (_NUM_BINS / (2 * _LARGEST_LOGIT))
    return np.minimum(bins.astype(np.int64), _NUM_BINS - 1)
