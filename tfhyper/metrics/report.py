"""The scores that every evaluation of a classifier or a regression reports."""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import check_members, read_labelled
from tfhyper.metrics.calibration import check_num_bins
from tfhyper.metrics.running import (
    ClassificationSums,
    RegressionSums,
    read_regression,
)


def classification_report(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """Error, negative log-likelihood, Brier score and calibration error at once.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first, so that
            the scores are the ensemble's. Rows sum to one.
        num_bins: positive integer, the number of bins of the calibration error.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A dict of floats, whose keys are always these, in this order:

        - `"error"`: fraction of wrong predictions, in `[0, 1]`
        - `"nll"`: mean negative log-likelihood, in nats
        - `"brier"`: Brier score summed over the classes, in `[0, 2]`
        - `"ece"`: expected calibration error, in `[0, 1]`

    Raises:
        ValueError: if `num_bins` is not a positive integer up to 100,000, `probs` is
            not finite or does not hold probabilities, the shapes do not fit, a label
            is no class, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> report = metrics.classification_report([0, 1], [[1.0, 0.0], [0.5, 0.5]])
        >>> report["error"], report["brier"], report["ece"]
        (0.5, 0.25, 0.25)
    """
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    sums = ClassificationSums(check_num_bins(num_bins))
    sums.add(data)
    return sums.result()


def single_draw_report(
    labels: ArrayLike,
    members: ArrayLike,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """What one draw achieves: the median over draws of each score.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        members: probabilities of shape `(draws, batch, classes)`, with the labels'
            axes. Rows sum to one.
        num_bins: positive integer, the number of bins of the calibration error.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        The dict of `classification_report`, each score the median of the draws'.

    Raises:
        ValueError: as `classification_report`, or if `members` has no axis of draws.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Ukai et al., NOLTA 10(1), 2019, section 4.1: five draws, their median.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]]
        >>> metrics.single_draw_report([0], members)["error"]
        1.0
    """
    reports = [
        classification_report(
            labels,
            member,
            num_bins,
            sample_weight=sample_weight,
            ignore_class=ignore_class,
        )
        for member in check_members(members, any_axes=True)
    ]
    return {key: float(np.median([r[key] for r in reports])) for key in reports[0]}


def regression_report(
    targets: ArrayLike,
    members: ArrayLike,
    noise_variance: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> dict[str, float]:
    """Error, CRPS, likelihood and coverage of the draws of a regression at once.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        members: each draw's means, of shape `(draws, batch)` or `(draws, batch, ...)`.
        noise_variance: the variance of the targets around them (`1 / tau`, see
            `fit_noise_variance`), above zero: a number, `(batch,)` or
            `(draws, batch)`, or other last axes of `members`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the targets; `None` for
            equal ones.

    Returns:
        A dict of floats, whose keys are always these, in this order:

        - `"rmse"`: root mean squared error of the members' mean
        - `"crps"`: `crps_gaussian` of the `predictive_moments`
        - `"nll"`: `predictive_log_likelihood` with the opposite sign, in nats
        - `"coverage_90"`: fraction of the targets in the central 90 % interval of the
          normal of the `predictive_moments`
        - `"width_90"`: mean width of these intervals

        RMSE, CRPS and width are in the unit of the targets.

    Raises:
        ValueError: if a value is not finite, a shape does not fit, a variance is
            not above zero, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> report = metrics.regression_report([0.0, 4.0], [[1.0, 1.0]], 1.0)
        >>> round(report["rmse"], 4), report["coverage_90"]
        (2.2361, 0.5)
    """
    data = read_regression(targets, members, noise_variance, sample_weight)
    sums = RegressionSums()
    sums.add(data)
    return sums.result()
