"""Detection of unknown inputs and of wrong predictions by their uncertainty.

An uncertainty is any finite number for each example, larger where the model is less
sure: `predictive_entropy`, `mutual_information`, or minus the confidence. Only its
order counts, and ties are shared out as scikit-learn does.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import check_map, check_vector, read_labelled
from tfhyper.metrics.selective import aurc, excess_aurc

# The fraction of the positives that has to be found: the 95 of FPR95.
_TRUE_POSITIVE_RATE = 0.95


def ood_detection(scores_in: ArrayLike, scores_out: ArrayLike) -> dict[str, float]:
    """How well an uncertainty tells out-of-distribution inputs from known ones.

    An input is taken for out-of-distribution if its uncertainty reaches a threshold.

    Args:
        scores_in: uncertainties of in-distribution examples, of shape `(in_batch,)`.
        scores_out: those of out-of-distribution examples, of shape `(out_batch,)`.

    Returns:
        A dict of floats in `[0, 1]`, whose keys are always these, in this order:

        - `"auroc"`: the probability that an out-of-distribution example is the more
          uncertain of a pair, a tie counting half; 0.5 by chance
        - `"aupr_out"`: average precision where out-of-distribution is positive;
          `out_batch / (in_batch + out_batch)` by chance
        - `"aupr_in"`: the same where in-distribution is positive
        - `"fpr95_out"`: fraction of in-distribution examples taken for
          out-of-distribution, at the highest threshold that finds 95 % of the latter
        - `"fpr95_in"`: fraction of out-of-distribution examples accepted, at the lowest
          threshold that accepts 95 % of the in-distribution ones

        Papers write "FPR95" for either of the last two: Hendrycks et al. for the first,
        Liang et al. for the second.

    Raises:
        ValueError: if a score is not finite, or the scores have more than one axis or
            no values.
        TypeError: if the scores are not real numbers.

    Reference:
        Hendrycks et al., "Deep anomaly detection with outlier exposure", ICLR 2019,
        section 4.1. Liang et al., "Enhancing the reliability of out-of-distribution
        image detection in neural networks", ICLR 2018, section 4.3.

    Example:
        >>> from tfhyper import metrics
        >>> scores = metrics.ood_detection([0.1, 0.2, 0.6], [0.5, 0.9])
        >>> round(scores["auroc"], 4), round(scores["fpr95_out"], 4)
        (0.8333, 0.3333)
    """
    scores_in = check_vector("scores_in", scores_in)
    scores_out = check_vector("scores_out", scores_out)
    return _binary_scores(scores_in, scores_out, negative="in", positive="out")


def misclassification_detection(
    labels: ArrayLike,
    probs: ArrayLike,
    uncertainty: ArrayLike | None = None,
    *,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """How well an uncertainty tells wrong predictions from right ones.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first. Rows
            sum to one.
        uncertainty: finite numbers of the labels' shape, larger for less sure; by
            default minus the largest probability.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A dict of floats in `[0, 1]`, whose keys are always these, in this order:

        - `"auroc"`: the probability that the wrong prediction is the more uncertain of
          a wrong and a right one, a tie counting half; 0.5 by chance
        - `"aupr_error"`: average precision where wrong predictions are positive; the
          error by chance
        - `"aupr_success"`: the same where right predictions are positive
        - `"fpr95_error"`: fraction of right predictions flagged, at the highest
          threshold that flags 95 % of the wrong ones
        - `"fpr95_success"`: fraction of wrong predictions accepted, at the lowest
          threshold that accepts 95 % of the right ones
        - `"aurc"`: area under the risk-coverage curve of the error (see `aurc`)
        - `"excess_aurc"`: its excess over the best order of the same predictions

    Raises:
        ValueError: if an argument breaks these rules, or the predictions are all right
            or all wrong, which leaves nothing to tell apart.
        TypeError: if `labels` are no class indices, or `uncertainty` no real numbers.

    Reference:
        Hendrycks and Gimpel, "A baseline for detecting misclassified and
        out-of-distribution examples in neural networks", ICLR 2017, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]]
        >>> metrics.misclassification_detection([0, 0, 1], probs)["auroc"]
        1.0
    """
    data = read_labelled(labels, probs, ignore_class=ignore_class)
    if uncertainty is None:
        unsure = -np.max(data.probs, axis=1)
    else:
        unsure = data.examples_of(
            check_map("uncertainty", uncertainty, data.shape, "labels")
        )
    wrong = np.argmax(data.probs, axis=1) != data.labels
    if np.all(wrong == wrong[0]):
        raise ValueError(
            "`labels` must make some predictions right and some wrong. "
            f"Received: labels that make {np.sum(wrong)} of {len(wrong)} wrong"
        )
    scores = _binary_scores(
        unsure[~wrong], unsure[wrong], negative="success", positive="error"
    )
    scores["aurc"] = aurc(wrong, unsure)
    scores["excess_aurc"] = excess_aurc(wrong, unsure)
    return scores


def _binary_scores(
    negatives: np.ndarray, positives: np.ndarray, negative: str, positive: str
) -> dict[str, float]:
    """Returns the five scores; the two names end the keys of those with a side."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = np.concatenate([negatives, positives])
    is_positive = np.arange(len(scores)) >= len(negatives)
    return {
        "auroc": float(roc_auc_score(is_positive, scores)),
        f"aupr_{positive}": float(average_precision_score(is_positive, scores)),
        f"aupr_{negative}": float(average_precision_score(~is_positive, -scores)),
        f"fpr95_{positive}": _fpr_at_tpr(is_positive, scores),
        f"fpr95_{negative}": _fpr_at_tpr(~is_positive, -scores),
    }


def _fpr_at_tpr(is_positive: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import roc_curve

    # Points on a straight part of the curve are thresholds, too.
    fpr, tpr, _ = roc_curve(is_positive, scores, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= _TRUE_POSITIVE_RATE)])
