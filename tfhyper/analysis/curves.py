"""The error of averaged draws against their number, and against hidden units."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.analysis._figures import COLORS, check_named, figure_for, tidy
from tfhyper.checks import (
    check_choice,
    check_instance,
    check_integer,
    check_numbers,
)
from tfhyper.metrics._checks import check_labels, check_members
from tfhyper.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Name of a metric -> (what its axis says, the function of labels and probabilities).
METRICS: dict[str, tuple[str, Callable]] = {
    "error": ("Error", metrics.error),
    "nll": ("NLL (nats)", metrics.negative_log_likelihood),
    "log_likelihood": (
        "Log-likelihood (nats)",
        lambda labels, probs: -metrics.negative_log_likelihood(labels, probs),
    ),
    "brier": ("Brier score", metrics.brier_score),
    "ece": ("ECE", metrics.expected_calibration_error),
}


class ErrorCurve(NamedTuple):
    """Scores of averages over `n` draws.

    Attributes:
        sizes: int64 `(sizes,)`, the numbers of draws `n`.
        median: float64 `(sizes,)`, the median over the groups of `n` draws.
        scores: float64 `(repeats, sizes)`, the score of each group.
        label: what was scored, for the axis of a figure.

    Example:
        >>> from tfhyper import analysis
        >>> curve = analysis.error_curve([0], [[[0.6, 0.4]], [[0.3, 0.7]]])
        >>> curve.sizes.tolist(), curve.label
        ([1, 2], 'Error')
    """

    sizes: np.ndarray
    median: np.ndarray
    scores: np.ndarray
    label: str

    def __repr__(self) -> str:
        return self.to_summary().text()

    def _repr_html_(self) -> str:
        """Returns what notebooks show."""
        return self.to_summary().html()

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each number of draws."""
        low, high = self.scores.min(axis=0), self.scores.max(axis=0)
        columns = zip(self.sizes, self.median, low, high, strict=True)
        rows = [(f"{n}", *(f"{x:.4g}" for x in found)) for n, *found in columns]
        head = ("draws", f"{self.label}, median", "smallest", "largest")
        return Summary("", head, rows)


def error_curve(
    labels: ArrayLike,
    members: ArrayLike,
    metric: str | Callable[[np.ndarray, np.ndarray], float] = "error",
    sizes: Sequence[int] | None = None,
    repeats: int | None = None,
    seed: int = 0,
) -> ErrorCurve:
    """Scores the average of `n` draws for growing `n`, in several groups of draws.

    The draws are put into a random order. Group r of `repeats` goes through it from
    place `floor(r draws / repeats)` on, round the end, and its first `n` draws are
    averaged. So the groups hold no draw in common while `n` is at most
    `floor(draws / repeats)`, and as few as can be after; at `n = draws` they are the
    same, and their spread says nothing. For a spread up to `n` give
    `repeats * n` draws.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        members: probabilities of shape `(draws, batch, classes)`.
        metric: `"error"`, `"nll"`, `"log_likelihood"` (the mean log-probability of
            the labels), `"brier"`, `"ece"`, or a function of labels and
            probabilities `(batch, classes)` that returns a number.
        sizes: the `n`, increasing integers from 1 to `draws`; `None` for 1, 2, 4, 8
            ... and `draws` itself.
        repeats: integer from 1 to `draws`; `None` for 5, the paper's, or `draws` if
            there are fewer.
        seed: non-negative integer that the order comes from.

    Returns:
        An `ErrorCurve`.

    Raises:
        ValueError: if an argument breaks a rule above.
        TypeError: if `labels` are no class indices.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 4.1 and figures 6 and 7: the median of five runs.

    Example:
        >>> from tfhyper import analysis
        >>> members = [[[0.9, 0.1]], [[0.4, 0.6]], [[0.7, 0.3]], [[0.8, 0.2]]]
        >>> curve = analysis.error_curve([0], members, repeats=4)
        >>> curve.sizes.tolist(), curve.scores.mean(axis=0).tolist()
        ([1, 2, 4], [0.25, 0.0, 0.0])
    """
    members = check_members(members)
    draws, batch, classes = members.shape
    labels = check_labels(labels, batch, classes)
    if callable(metric):
        label, score = getattr(metric, "__name__", "Score"), metric
    else:
        label, score = METRICS[check_choice("metric", metric, METRICS)]
    sizes = _check_sizes(sizes, draws)
    repeats = min(5, draws) if repeats is None else repeats
    repeats = check_integer("repeats", repeats, 1, draws)
    order = np.random.default_rng(check_integer("seed", seed, 0)).permutation(draws)

    scores = np.empty((repeats, len(sizes)))
    for r in range(repeats):
        group = np.roll(order, -(r * draws // repeats))
        total = np.zeros((batch, classes))
        for column, (start, stop) in enumerate(itertools.pairwise([0, *sizes])):
            for i in group[start:stop]:
                total += members[i]
            scores[r, column] = score(labels, total / stop)
    return ErrorCurve(np.array(sizes), np.median(scores, axis=0), scores, label)


def error_curve_plot(
    curves: Mapping[str, ErrorCurve],
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws scores against the number of draws averaged, a line for each method.

    The line is the median of the groups, the band around it reaches from the smallest
    to the largest. The number of draws is on a scale of doublings.

    Args:
        curves: method's name -> what `error_curve` returns, all by one metric.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `curves` is empty, holds something else or several metrics.

    Example:
        >>> from tfhyper import analysis
        >>> curve = analysis.error_curve([0], [[[0.6, 0.4]], [[0.3, 0.7]]], "nll")
        >>> figure = analysis.error_curve_plot({"U(0, 1)": curve})
        >>> figure.axes[0].get_ylabel()
        'NLL (nats)'
    """
    curves = check_named("curves", curves, ErrorCurve)
    labels = sorted({curve.label for curve in curves.values()})
    if len(labels) > 1:
        raise ValueError(f"`curves` must be of one metric. Received: {labels}")
    figure = figure_for(figure, (4.6, 3.2), title)
    axes = figure.subplots()
    _draw_lines(axes, {name: (c.sizes, c.scores) for name, c in curves.items()})
    axes.set(xlabel="Draws averaged", ylabel=labels[0])
    return figure


def hidden_units_plot(
    errors: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws errors against the generators' hidden units, a line for each method.

    Several errors for one number of units, of trainings or draws, are a line through
    their medians and a band from the smallest to the largest. The units are on a scale
    of doublings.

    Args:
        errors: method's name -> `(units, errors)`: increasing positive numbers of
            shape `(sizes,)`, and finite numbers of shape `(sizes,)` or
            `(repeats, sizes)`.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        figure 8.

    Example:
        >>> from tfhyper import analysis
        >>> figure = analysis.hidden_units_plot(
        ...     {"WRN-28-1": ([8, 16, 32], [0.066, 0.062, 0.061])})
        >>> figure.axes[0].get_xscale()
        'log'
    """
    lines = {
        name: _check_line(name, pair)
        for name, pair in check_named("errors", errors).items()
    }
    figure = figure_for(figure, (4.6, 3.2), title)
    axes = figure.subplots()
    _draw_lines(axes, lines)
    axes.set(xlabel="Hidden units of each generator", ylabel="Error")
    return figure


def _draw_lines(axes: "Axes", lines: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draws medians and ranges of `(repeats, sizes)` values, sizes by doublings."""
    for i, (name, (x, values)) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        axes.plot(x, np.median(values, axis=0), "o-", color=color, ms=4, label=name)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    # Every number only where they are few; doublings of the axis' own otherwise.
    ticks = np.unique(np.concatenate([x for x, _ in lines.values()]))
    if len(ticks) <= 10:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    else:
        axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    if len(lines) <= 4:
        axes.legend(frameon=False, fontsize=8)
    else:  # more would hide the lines
        axes.figure.legend(
            loc="outside lower center", ncols=2, frameon=False, fontsize=7
        )
    tidy(axes)


def _check_sizes(sizes: Sequence[int] | None, draws: int) -> list[int]:
    if sizes is None:
        return sorted({2**i for i in range(draws.bit_length())} | {draws})
    kinds = (list, tuple, range, np.ndarray)
    check_instance("sizes", sizes, kinds, "a sequence of integers")
    sizes = [check_integer("sizes", n, 1, draws) for n in sizes]
    if not sizes or sizes != sorted(set(sizes)):
        raise ValueError(
            f"`sizes` must be increasing integers. Received: sizes={sizes}"
        )
    return sizes


def _check_line(name: str, pair: Any) -> tuple[np.ndarray, np.ndarray]:
    rule = (
        "`errors` must hold, for each name, a pair of increasing positive units "
        "(sizes,) and errors (sizes,) or (repeats, sizes). "
    )
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{rule}Received: {name!r} with {pair!r}")
    units, errors = (check_numbers("errors", part) for part in pair)
    rising = units.ndim == 1 and units.size and np.all(np.diff(units, prepend=0) > 0)
    fits = errors.ndim in (1, 2) and errors.size and errors.shape[-1:] == units.shape
    if not (rising and fits):
        raise ValueError(
            f"{rule}Received: {name!r} with units={units.tolist()}, "
            f"errors.shape={errors.shape}"
        )
    return units, np.atleast_2d(errors)
