"""Intervals that hold a target with a stated probability."""

import dataclasses
from statistics import NormalDist
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose, check_choice
from tfhyper.conformal.base import (
    ConformalRule,
    cells_of,
    check_groups,
    thresholds_of,
)
from tfhyper.conformal.labelled import predict_labelled
from tfhyper.conformal.quantile import check_alpha
from tfhyper.metrics import PredictiveInterval
from tfhyper.metrics._checks import as_array, check_vector
from tfhyper.tensor_types import Structure, Tensor

IntervalMethod: TypeAlias = Literal["split", "normalized", "quantile"]
INTERVAL_METHODS: tuple[IntervalMethod, ...] = get_args(IntervalMethod)
# Lower ends, upper ends, and the unit of what is added to them.
Ends: TypeAlias = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class ConformalIntervals(ConformalRule):
    """A rule: the interval of an input, from what is predicted and a threshold q.

    With the prediction's mean m and standard deviation s, and its quantiles a and b of
    the levels alpha / 2 and 1 - alpha / 2,

        "split"       [m - q, m + q]
        "normalized"  [m - q s, m + q s]
        "quantile"    [a - q, b + q]

    Of `"quantile"` q may be below 0, where predicted intervals are too wide; where the
    ends would cross, both are in the middle. Intervals of `"split"` have one width;
    the others are wide where the prediction says so. Of several targets each has a
    threshold: each is covered so often by itself, and all together less often.

    Args:
        alpha: float in (0, 1), the fraction of new examples whose target may be missed.
        thresholds: one number, or one for each target, in the targets' unit, and of
            `"normalized"` without one; or rows of these for groups.
        groups: the names of groups, or `None`: see `ConformalRule`.
        method: `"split"`, `"normalized"` or `"quantile"`.

    Raises:
        ValueError: for arguments out of range.
        TypeError: for arguments of another type.

    Example:

    >>> from tfhyper import conformal
    >>> regressor = tfhyper.PosteriorPredictor(regression, outputs="mean")
    >>> rule = conformal.ConformalIntervals(0.1, 2.0, method="split")
    >>> prediction = regressor.predict(np.zeros((5, 3)))
    >>> lower, upper = rule(prediction)
    >>> bool(np.allclose(upper - lower, 4.0))
    True

    Reference:
        Lei, G'Sell, Rinaldo, Tibshirani, Wasserman: Distribution-free predictive
        inference for regression, JASA 2018, sections 2.2 and 5.2. Romano, Patterson,
        Candes: Conformalized quantile regression, NeurIPS 2019.
    """

    method: IntervalMethod = "split"

    field: ClassVar[str] = "method"
    methods: ClassVar[tuple[str, ...]] = INTERVAL_METHODS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("method", self.method, INTERVAL_METHODS)
        if self.method != "quantile" and np.min(self.thresholds) < 0:
            raise ValueError(
                '`thresholds` must be >= 0 but with `method="quantile"`. '
                f"Received: thresholds={self.thresholds!r:.80}"
            )

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        found = f"{self.method} intervals that miss {self.alpha:g} at most"
        if self.groups is not None:
            found += f" in each of {len(self.groups)} groups"
        return found

    def __call__(
        self, prediction: Any, groups: ArrayLike | None = None
    ) -> PredictiveInterval:
        """Returns intervals, lower and upper ends in the shape of the targets.

        Args:
            prediction: of a regression or a distribution.
            groups: the group of each example, (examples,), of a rule with groups.

        Raises:
            ValueError: for another number of targets, for groups that are missing or
                too many, for a deviation of 0 with `"normalized"`, and for a
                distribution without members with `"quantile"`.
        """
        check_numbers_predicted(prediction)
        ends = ends_of(prediction, self.method, self.alpha)
        targets = np.shape(prediction.mean)[1:] or (1,)
        if len(self.thresholds[0]) not in (1, targets[0]):
            raise ValueError(
                f"`prediction` must be of {len(self.thresholds[0])} targets, for which "
                f"there are thresholds. Received: {targets[0]} targets"
            )
        rows = self.rows_for(groups, len(prediction.mean))
        if np.ndim(prediction.mean) == 1:
            rows = rows[:, 0]
        lower, upper, unit = ends
        q = rows * unit
        # So that what is at the threshold stays inside when it is rounded.
        room = 4 * np.finfo(np.float64).eps * (np.abs(lower) + np.abs(upper) + abs(q))
        return PredictiveInterval(*_apart(lower, upper, q + room, np))

    def of_moments(self, mean: Tensor, variance: Tensor, xp: Any) -> dict[str, Tensor]:
        """Returns the ends "lower" and "upper" of normal predictions, of tensors.

        Args:
            mean: (examples,) or (examples, targets).
            variance: of that shape.
            xp: `keras.ops`.
        """
        std = xp.sqrt(variance)
        lower = upper = mean
        q = xp.add(self.rows_for(None, 1, xp)[0], xp.zeros_like(mean))
        if self.method == "normalized":
            q = xp.multiply(q, std)
        if self.method == "quantile":
            half = NormalDist().inv_cdf(1 - self.alpha / 2)
            lower = xp.subtract(mean, xp.multiply(half, std))
            upper = xp.add(mean, xp.multiply(half, std))
        ends = _apart(lower, upper, q, xp)
        return dict(zip(("lower", "upper"), ends, strict=True))


def _apart(lower: Tensor, upper: Tensor, q: Tensor, xp: Any) -> tuple[Tensor, Tensor]:
    """Returns ends that are q further apart on each side, and do not cross."""
    middle = xp.multiply(0.5, xp.add(lower, upper))
    return (
        xp.minimum(xp.subtract(lower, q), middle),
        xp.maximum(xp.add(upper, q), middle),
    )


def ends_of(prediction: Any, method: str, alpha: float) -> Ends:
    """Returns the ends that a threshold is added to, and its unit.

    Raises:
        ValueError: for a deviation of 0 with `"normalized"`, and for a distribution
            without members with `"quantile"`.
    """
    mean = np.asarray(prediction.mean, np.float64)
    if method == "quantile":
        lower, upper = prediction.interval(1 - alpha)
        return lower, upper, np.ones(())
    if method == "split":
        return mean, mean, np.ones(())
    std = np.sqrt(np.asarray(prediction.variance, np.float64))
    if not (std > 0).all():
        raise ValueError(
            '`method="normalized"` needs predictions with a standard deviation above 0 '
            'throughout: take "split", or choose the noise by `fit_noise` before. '
            f"Received: a deviation of {std.min()}"
        )
    return mean, mean, std


def check_numbers_predicted(prediction: Any) -> None:
    """Raises an error unless it is a prediction of one row of numbers each.

    Raises:
        TypeError: for something else than a prediction of numbers.
        ValueError: for one of maps.
    """
    if not hasattr(prediction, "interval"):
        raise TypeError(
            "`prediction` must be one of a regression or a distribution. "
            f"Received: prediction of type {type(prediction).__name__}"
        )
    if np.ndim(prediction.mean) > 2:
        raise ValueError(
            "`prediction` must have the axes (examples,) or (examples, targets): the "
            "positions of a map are not independent of each other. "
            f"Received: a mean of shape {np.shape(prediction.mean)}"
        )


def fit_intervals(
    targets: ArrayLike,
    prediction: Any,
    alpha: float,
    method: IntervalMethod = "split",
    *,
    groups: ArrayLike | None = None,
) -> ConformalIntervals:
    """Returns the rule that calibration targets choose, of a prediction that is there.

    Its threshold is the ceil((n + 1) (1 - alpha))-th smallest of the n scores: of a
    target y,

        "split"       |y - m|
        "normalized"  |y - m| / s
        "quantile"    max(a - y, y - b)

    with the names of `ConformalIntervals`. If examples of calibration and new ones come
    in an order that says nothing (if they are exchangeable), the interval of a new one
    misses its target with a probability of at most alpha: over both, and not for each
    calibration; with `groups` in each of them. Nothing tells targets that trained the
    network from others: of these intervals come out too narrow.

    Args:
        targets: finite numbers in the shape of `prediction.mean`, of data that trained
            nothing, no noise either.
        prediction: of a regression or a distribution; with `"quantile"` of a
            distribution with its members.
        alpha: float in (0, 1), the fraction that may be missed.
        method: `"split"`, `"normalized"` or `"quantile"`.
        groups: the group of each example, integers or texts (examples,), to choose a
            threshold for each; or `None`.

    Raises:
        ValueError: for targets of another shape or not finite; fewer than `alpha` needs
            (`least_examples`), of all or of a group; and for arguments out of range.
        TypeError: for what holds no numbers, or no prediction of numbers.

    Example:

    >>> from tfhyper import conformal
    >>> regressor = tfhyper.PosteriorPredictor(regression, outputs="mean")
    >>> rng = np.random.default_rng(0)
    >>> prediction = regressor.predict(rng.normal(size=(50, 3)))
    >>> targets = prediction.mean + rng.normal(size=50)
    >>> rule = conformal.fit_intervals(targets, prediction, alpha=0.2)
    >>> lower, upper = rule(prediction)
    >>> int(((lower <= targets) & (targets <= upper)).sum())  # ceil(51 * 0.8)
    41

    Reference:
        See `ConformalIntervals`.
    """
    alpha = check_alpha(alpha)
    check_choice("method", method, INTERVAL_METHODS)
    check_numbers_predicted(prediction)
    ends = ends_of(prediction, method, alpha)
    array = as_array("targets", targets)
    mean = np.asarray(prediction.mean)
    if array.ndim == 2 and array.shape[1] == 1 and mean.ndim == 1:
        array = array[:, 0]
    if array.shape != mean.shape:
        raise ValueError(
            f"`targets` must have the shape {mean.shape} of the prediction. "
            f"Received: targets.shape={array.shape}"
        )
    y = check_vector("targets", array.reshape(-1)).reshape(array.shape)
    return _fitted(y, ends, alpha, method, groups)


def _fitted(
    targets: np.ndarray,
    ends: Ends,
    alpha: float,
    method: IntervalMethod,
    groups: ArrayLike | None,
) -> ConformalIntervals:
    lower, upper, unit = ends
    scores = np.maximum(lower - targets, targets - upper) / unit
    scores = scores.reshape(len(targets), -1)
    count = scores.shape[1]
    found = None if groups is None else check_groups(groups, len(targets))
    names = [""] if count == 1 else [f"target {i}" for i in range(count)]
    known, cells, words = cells_of(found, None, names)
    rows = thresholds_of(scores, alpha, cells, words)
    return ConformalIntervals(alpha, rows, known, method)


def conformal_intervals(
    predictor: Any,
    x: Structure,
    y: ArrayLike | None = None,
    alpha: float = 0.1,
    method: IntervalMethod = "split",
    *,
    groups: ArrayLike | None = None,
    batch_size: int = 128,
    verbose: Verbose = "auto",
) -> ConformalIntervals:
    """Returns the rule that calibration data choose for what a predictor says.

    As `fit_intervals`, of inputs. A predictor's `fit_conformal` keeps the rule, so that
    predictions, files and exports have it.

    Args:
        predictor: a `PosteriorPredictor` or `DeepEnsemble` of numbers.
        x: inputs as an array, or a dataset of (inputs, targets), of data that trained
            nothing. A dataset's sample weights may leave examples out, by 0, and say
            nothing else.
        y: targets, where `x` is an array, as for `evaluate`.
        alpha: float in (0, 1), the fraction of new examples that may be missed.
        method: `"split"`, `"normalized"` or `"quantile"`: see `ConformalIntervals`.
        groups: the group of each example, in the order of the data; or `None`.
        batch_size: int > 0, for arrays.
        verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes longer
            than some seconds and a terminal or a notebook shows it.

    Raises:
        TypeError: for something that is no predictor.
        ValueError: as `fit_intervals` and `evaluate`; and for a predictor of classes,
            of several outputs or of maps.

    Example:

    >>> from tfhyper import conformal
    >>> regressor = tfhyper.PosteriorPredictor(regression, outputs="mean")
    >>> rng = np.random.default_rng(0)
    >>> inputs, targets = rng.normal(size=(50, 3)), rng.normal(size=50)
    >>> rule = conformal.conformal_intervals(regressor, inputs, targets, alpha=0.2)
    >>> lower, upper = rule(regressor.predict(inputs))
    >>> int(((lower <= targets) & (targets <= upper)).sum())
    41
    """
    alpha = check_alpha(alpha)
    check_choice("method", method, INTERVAL_METHODS)
    keep = method == "quantile"
    parts = predict_labelled(predictor, method, x, y, batch_size, verbose, keep)
    targets, ends, counts = [], [], []
    for of_part, prediction, kept in parts:
        targets.append(of_part)
        shape = np.shape(of_part)
        found = ends_of(prediction, method, alpha)
        ends.append([np.broadcast_to(x, shape) for x in found])
        counts.append(kept)
    kept = np.concatenate(counts)
    if groups is not None:
        of_examples = check_groups(groups, len(kept))
        groups = [x for x, keep in zip(of_examples, kept, strict=True) if keep]
    if not kept.any():
        raise ValueError("`y` must hold targets that count. Received: none")
    lower, upper, unit = (np.concatenate(x)[kept] for x in zip(*ends, strict=True))
    all_targets = np.concatenate(targets)[kept]
    return _fitted(all_targets, (lower, upper, unit), alpha, method, groups)
