"""Calibration errors of other bins and classes, without bins, and a test of them."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool, check_choice, check_integer
from tfhyper.metrics._checks import Labelled, read_labelled
from tfhyper.metrics.calibration import check_num_bins, inner_bin_edges

# Whose probability is compared with how often it is right.
Of: TypeAlias = Literal["confidence", "top_label", "classes"]
Bins: TypeAlias = Literal["width", "mass"]
Norm: TypeAlias = Literal["l1", "l2"]
# The cells in which examples are taken together, where there are no bins.
_CELLS = 2**14
# The narrowest kernel that these cells resolve.
_NARROWEST = 1e-3


class CalibrationTest(NamedTuple):
    """Whether predictions may be calibrated, by labels drawn from themselves.

    Attributes:
        error: float, the `calibration_error` of the predictions.
        p_value: float in (0, 1], how often it would be as large if they were
            calibrated. A small one speaks against it.
        expected: float, the mean error if they were calibrated: what the size of the
            data alone makes of it.

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.9, 0.1]] * 100
        >>> metrics.calibration_test([0] * 50 + [1] * 50, probs).p_value < 0.01
        True
    """

    error: float
    p_value: float
    expected: float


class _Binned(NamedTuple):
    """Probabilities of events in bins, for one kind of event.

    Attributes:
        values: float64 (events,), the probabilities.
        bins: int64 (events,), the bin of each.
        num_bins: how many bins there are.
        hits: function of labels (examples,) that gives which events happened.
        weights: float64 (events,).
        share: how much the kind counts.
    """

    values: np.ndarray
    bins: np.ndarray
    num_bins: int
    hits: Callable[[np.ndarray], np.ndarray]
    weights: np.ndarray
    share: float


def calibration_error(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    of: Of = "confidence",
    bins: Bins = "mass",
    norm: Norm = "l1",
    debiased: bool = False,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Gap between probabilities and frequencies, in bins of your choice.

    With `m` the bins, `n_m` their weights, `n` the sum of these, and `conf_m` and
    `acc_m` the mean probability of an event and how often it happens,

    `l1 = sum_m n_m / n |acc_m - conf_m|`

    `l2 = sqrt(sum_m n_m / n (acc_m - conf_m)^2)`

    and debiased, with `n_m` numbers of examples, without the error of `acc_m` itself

    `l2 = sqrt(max(0, sum_m n_m / n ((acc_m - conf_m)^2 - acc_m (1 - acc_m) /
    (n_m - 1))))`

    where a bin of one example counts as 0. There is no such formula for `l1`, which
    is too large by what the noise of `acc_m` adds: `calibration_test` says how much
    that is. With `of="confidence", bins="width", norm="l1"` it is
    `expected_calibration_error`.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first. Rows
            sum to one.
        num_bins: positive integer, up to 100,000.
        of: the event. `"confidence"`: the likeliest class is right; `"top_label"`: the
            same in bins of each likeliest class by itself, by the shares of these;
            `"classes"`: the label is class c, the mean over the classes (classwise;
            of `l2` the root of the mean square).
        bins: `"width"` for bins of equal width, `(m / num_bins, (m + 1) / num_bins]`;
            `"mass"` for bins that hold equally much (adaptive), where equal
            probabilities share the bin in which the first of them is.
        norm: `"l1"` or `"l2"`.
        debiased: bool, for `"l2"` without weights.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`, 0 for calibrated predictions.

    Raises:
        ValueError: if an argument breaks its rule, or `debiased` goes with `"l1"` or
            with weights.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Nguyen and O'Connor, "Posterior calibration and exploratory analysis for
        natural language processing models", EMNLP 2015 (bins of equal mass). Nixon et
        al., "Measuring calibration in deep learning", CVPR workshops 2019 (classes).
        Gupta and Ramdas, "Top-label calibration and multiclass-to-binary reductions",
        ICLR 2022. Kumar, Liang and Ma, "Verified uncertainty calibration", NeurIPS
        2019, section 5 (debiased).

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.75, 0.25], [0.75, 0.25]]
        >>> metrics.calibration_error([0, 1], probs)
        0.25
        >>> metrics.calibration_error([0, 1], probs, norm="l2", debiased=True)
        0.0
    """
    num_bins = check_num_bins(num_bins)
    check_choice("of", of, get_args(Of))
    check_choice("bins", bins, get_args(Bins))
    check_choice("norm", norm, get_args(Norm))
    if check_bool("debiased", debiased) and norm == "l1":
        raise ValueError(
            '`debiased` must be False with `norm="l1"`, which has no such estimate. '
            "Received: debiased=True, norm='l1'"
        )
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    if debiased and data.weights is not None:
        raise ValueError(
            "`debiased` must be False with weights: it counts examples. "
            "Received: debiased=True with a `sample_weight`"
        )
    kinds = _binned(data, num_bins, of, bins)
    return _error(kinds, data.labels, norm, debiased)


def _binned(data: Labelled, num_bins: int, of: str, bins: str) -> list[_Binned]:
    """Returns the kinds of events, with their probabilities in bins."""
    probs = data.probs
    count, classes = probs.shape
    weights = np.ones(count) if data.weights is None else data.weights
    weights = weights / weights.max()  # whose sum is a number
    found: list[_Binned] = []

    def add(values: np.ndarray, hits: Callable, rows: Any, share: float) -> None:
        if not np.any(weights[rows] > 0):
            return
        own = weights[rows]
        where = _bins_of(values, own, num_bins, bins)
        found.append(_Binned(values, where, num_bins, hits, own, share))

    best = probs.argmax(axis=1)
    every = slice(None)
    if of == "confidence":
        add(probs.max(axis=1), lambda y: y == best, every, 1.0)
    elif of == "classes":
        for c in range(classes):
            add(probs[:, c], lambda y, c=c: y == c, every, 1.0 / classes)
    else:
        for c in np.unique(best):
            rows = best == c
            share = weights[rows].sum() / weights.sum()
            add(probs[rows, c], lambda y, c=c, r=rows: y[r] == c, rows, share)
    return found


def _bins_of(
    values: np.ndarray, weights: np.ndarray, num_bins: int, bins: str
) -> np.ndarray:
    """Returns the bin of each value."""
    # As float32 softmaxes give them, see `inner_bin_edges`.
    single = values.astype(np.float32)
    if bins == "width":
        return np.searchsorted(inner_bin_edges(num_bins), single)
    _, group = np.unique(single, return_inverse=True)
    mass = np.bincount(group, weights)
    below = np.cumsum(mass) - mass
    # What rounding takes of a whole number is not to stay in the last bin.
    place = np.floor(below / mass.sum() * num_bins + 1e-9).astype(np.int64)
    return np.clip(place, 0, num_bins - 1)[group]


def _error(
    kinds: list[_Binned], labels: np.ndarray, norm: str, debiased: bool
) -> float:
    """Returns the calibration error of labels."""
    total = 0.0
    for kind in kinds:
        weights = kind.weights
        hits = kind.hits(labels)
        mass = np.bincount(kind.bins, weights, kind.num_bins)
        there = mass > 0
        divisor = np.where(there, mass, 1.0)
        frequency = np.bincount(kind.bins, weights * hits, kind.num_bins) / divisor
        mean = np.bincount(kind.bins, weights * kind.values, kind.num_bins) / divisor
        gaps = np.abs(frequency - mean)
        if norm == "l2":
            gaps = gaps**2
        if debiased:
            noise = frequency * (1 - frequency) / np.maximum(mass - 1, 1.0)
            gaps = np.where(mass > 1, gaps - noise, 0.0)
        total += kind.share * float(np.sum(mass * gaps) / mass.sum())
    return total if norm == "l1" else float(np.sqrt(max(total, 0.0)))


def calibration_test(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    of: Of = "confidence",
    bins: Bins = "mass",
    num_samples: int = 1000,
    seed: int = 0,
    ignore_class: int | None = None,
) -> CalibrationTest:
    """Tests whether predictions are calibrated, by consistency resampling.

    Labels are drawn from the predictions themselves, which are calibrated for these,
    and the `calibration_error` of many such labels is compared with that of the true
    ones:

    `p_value = (1 + |{s: error of labels s >= error}|) / (1 + num_samples)`

    It is a number of how well data and calibration go together, and none of how far
    off the predictions are: of many examples a small error gives a small p-value.

    Args:
        labels: as of `calibration_error`.
        probs: as of `calibration_error`.
        num_bins: positive integer, up to 100,000.
        of: the event, as of `calibration_error`.
        bins: the bins, as of `calibration_error`.
        num_samples: integer from 1 to 1,000,000, how often labels are drawn.
        seed: integer in `[0, 2**31)`, of the draws.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A `CalibrationTest`.

    Raises:
        ValueError: if an argument breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Broecker and Smith, "Increasing the reliability of reliability diagrams",
        Weather and Forecasting 22, 2007. Vaicenavicius et al., "Evaluating
        model calibration in classification", AISTATS 2019.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> probs = np.tile([[0.7, 0.3]], (200, 1))
        >>> found = metrics.calibration_test([0] * 140 + [1] * 60, probs)
        >>> found.error < 1e-6, found.p_value
        (True, 1.0)
    """
    num_bins = check_num_bins(num_bins)
    check_choice("of", of, get_args(Of))
    check_choice("bins", bins, get_args(Bins))
    num_samples = check_integer("num_samples", num_samples, 1, 1_000_000)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    data = read_labelled(labels, probs, None, ignore_class)
    kinds = _binned(data, num_bins, of, bins)
    error = _error(kinds, data.labels, "l1", False)
    rng = np.random.default_rng(seed)
    steps = np.cumsum(data.probs, axis=1)
    steps /= steps[:, -1:]
    errors = np.empty(num_samples)
    for i in range(num_samples):
        drawn = np.sum(rng.random((len(steps), 1)) >= steps, axis=1)
        errors[i] = _error(kinds, drawn, "l1", False)
    # Errors that are equal but for rounding are equal.
    above = np.sum(errors >= error - 1e-12)
    p_value = float((1 + above) / (1 + num_samples))
    return CalibrationTest(error, p_value, float(errors.mean()))


def smooth_calibration_error(
    labels: ArrayLike,
    probs: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Calibration error of the confidence without bins: smECE.

    With `f` the confidence, `y` whether it is right, and `K_s` the Gaussian kernel of
    deviation `s`, reflected at 0 and at 1,

    `smECE_s = integral over t in [0, 1] of |E[K_s(t, f) (y - f)]|`

    and the error is that of the one `s` with `smECE_s = s`. It has nothing to choose,
    and does not jump when predictions move a little. Examples are taken together in
    16,384 cells of `[0, 1]`, and errors below 0.001 are those of `s = 0.001`.

    Args:
        labels: as of `calibration_error`.
        probs: as of `calibration_error`.
        sample_weight: as of `calibration_error`.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`.

    Raises:
        ValueError: if an argument breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Blasiok and Nakkiran, "Smooth ECE: principled reliability diagrams via kernel
        smoothing", ICLR 2024 (arXiv 2309.12236).

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.75, 0.25], [0.75, 0.25]]
        >>> round(metrics.smooth_calibration_error([0, 1], probs), 3)
        0.25
    """
    from scipy.fft import dct, idct
    from scipy.optimize import brentq

    data = read_labelled(labels, probs, sample_weight, ignore_class)
    confidence = np.clip(data.probs.max(axis=1), 0.0, 1.0)
    gaps = (data.probs.argmax(axis=1) == data.labels) - confidence
    weights = np.ones(len(gaps)) if data.weights is None else data.weights
    weights = weights / weights.max()
    cells = np.minimum((confidence * _CELLS).astype(np.int64), _CELLS - 1)
    sums = np.bincount(cells, weights * gaps, _CELLS) / weights.sum()
    # The reflected Gaussian multiplies the wave cos(pi k t) by exp(-(pi k s)^2 / 2).
    waves, number = dct(sums), np.arange(_CELLS)

    def smoothed(deviation: float) -> float:
        factor = np.exp(-0.5 * np.square(np.pi * deviation * number))
        return float(np.abs(idct(waves * factor)).sum())

    if smoothed(_NARROWEST) <= _NARROWEST:
        return smoothed(_NARROWEST)
    return float(brentq(lambda s: smoothed(s) - s, _NARROWEST, 1.0 + 1e-9, xtol=1e-9))
