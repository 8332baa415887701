"""A figure of whether a regression errs where it is uncertain."""

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import BLUE, GREY, VERMILION, figure_for, tidy
from tfhyper.checks import check_integer, check_number
from tfhyper.metrics._checks import check_variance
from tfhyper.metrics.regression import errors_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Half the width of the central intervals of 50 % and 95 %, in standard deviations.
_BANDS = ((0.95, "#D6E6F2"), (0.5, "#9CC3E0"))


def uncertainty_error_plot(
    targets: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    constant_variance: float | None = None,
    window: int | None = None,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws absolute errors in the order of the predicted uncertainty.

    Examples stand from the most certain to the least. Dots are absolute errors, the
    line their running mean: the mean over `window` neighbours, at their middle. The
    shaded bands reach up to where 50 % and 95 % of the errors should lie if the
    target is normal with this mean and variance: 0.674 and 1.960 standard deviations.
    An uncertainty that tells something has a line that rises with the bands.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        variance: the predictive variances, not below zero, of shape `(batch,)`, noise
            included.
        constant_variance: that of a constant uncertainty to compare with; its 95 %
            are a dashed line. `None` for no line.
        window: int from 1 to `batch`, examples that are averaged; `None` for a tenth
            of them.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if a shape does not fit, a value is not finite, a variance below
            zero or `window` out of range.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., "Bayesian uncertainty estimation for batch normalized deep
        networks", ICML 2018: the uncertainty-error plots.

    Example:
        >>> from tfhyper import analysis
        >>> figure = analysis.uncertainty_error_plot(
        ...     targets=[0.0, 3.0], mean=[0.1, 1.0], variance=[0.01, 4.0])
        >>> figure.axes[0].get_ylabel()
        'Absolute error'
    """
    errors = np.abs(errors_of(targets, mean))
    variance = check_variance("variance", variance, errors.shape)
    std = np.sqrt(np.broadcast_to(variance, errors.shape))
    if constant_variance is not None:
        constant_variance = check_number("constant_variance", constant_variance)
    if window is None:
        window = max(1, len(errors) // 10)
    window = check_integer("window", window, 1, len(errors))

    order = np.argsort(std, kind="stable")
    errors, std = errors[order], std[order]
    figure = figure_for(figure, (4.6, 3.2), title)
    axes = figure.subplots()
    places = np.arange(1, len(errors) + 1)
    for level, color in _BANDS:
        axes.fill_between(
            places,
            _half_width(level) * std,
            color=color,
            linewidth=0,
            label=f"{100 * level:.0f} % of the prediction",
        )
    axes.plot(places, errors, ".", color=GREY, markersize=3, alpha=0.6, label="Error")
    axes.plot(
        places[: len(errors) - window + 1] + (window - 1) / 2,
        np.convolve(errors, np.full(window, 1 / window), mode="valid"),
        color=VERMILION,
        linewidth=1.6,
        label=f"Mean of {window}",
    )
    if constant_variance is not None:
        axes.axhline(
            _half_width(_BANDS[0][0]) * float(np.sqrt(constant_variance)),
            linestyle="--",
            color=BLUE,
            linewidth=1,
            label="95 %, constant",
        )
    axes.set(
        xlabel="Examples, by predicted uncertainty",
        ylabel="Absolute error",
        xlim=(1, max(2, len(errors))),
    )
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False, fontsize=7)
    tidy(axes)
    return figure


def _half_width(level: float) -> float:
    """Returns half the width of a central interval, in standard deviations."""
    return NormalDist().inv_cdf((1 + level) / 2)
