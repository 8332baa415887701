"""Figures of a posterior's weights: one pair, and the correlations of many."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import (
    BLUE,
    GREY,
    VERMILION,
    check_named,
    figure_for,
    tidy,
)
from tfhyper.analysis.correlation import WeightCorrelation, pearson
from tfhyper.checks import check_instance, check_positive_integer, check_text
from tfhyper.metrics._checks import check_vector

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def weight_pair_plot(
    first: ArrayLike,
    second: ArrayLike,
    names: tuple[str, str] = ("First weight", "Second weight"),
    num_bins: int = 30,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws the draws of two weights as dots, and the histogram of each at its side.

    Their Pearson correlation stands in the corner.

    Args:
        first: finite numbers of shape `(draws,)`, not all the same.
        second: likewise, as many.
        names: of the two weights, such as `weight_pairs` gives.
        num_bins: positive integer, bins of each histogram.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure: axes of the dots, of the histogram above and of that at the right.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        figure 9.

    Example:
        >>> import numpy as np
        >>> from tfhyper import analysis
        >>> z = np.random.default_rng(0).normal(size=(2, 1000))
        >>> figure = analysis.weight_pair_plot(z[0], z[0] + z[1])
        >>> figure.axes[0].texts[0].get_text()
        'r = 0.71'
    """
    first = check_vector("first", first)
    second = check_vector("second", second, len(first))
    for name, values in (("first", first), ("second", second)):
        if np.ptp(values) == 0:
            raise ValueError(
                f"`{name}` must hold numbers that are not all the same. "
                f"Received: {len(values)} times {values[0]}"
            )
    num_bins = check_positive_integer("num_bins", num_bins)
    rule = "a pair of names"
    if len(check_instance("names", names, (tuple, list), rule)) != 2:
        raise ValueError(f"`names` must be {rule}. Received: names={names!r}")
    for name in names:
        check_text("names", name)
    figure = figure_for(figure, (4.0, 4.0), title)
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4))
    dots = figure.add_subplot(grid[1, 0])
    above = figure.add_subplot(grid[0, 0], sharex=dots)
    right = figure.add_subplot(grid[1, 1], sharey=dots)
    dots.plot(first, second, ".", color=BLUE, markersize=3, alpha=0.5)
    dots.text(
        0.03,
        0.97,
        f"r = {pearson(first, second):.2f}",
        transform=dots.transAxes,
        va="top",
        fontsize=8,
    )
    dots.set(xlabel=names[0], ylabel=names[1])
    above.hist(first, num_bins, color=GREY)
    right.hist(second, num_bins, color=GREY, orientation="horizontal")
    for axes in (above, right):
        axes.axis("off")
    tidy(dots)
    return figure


def correlation_plot(
    correlations: Mapping[str, WeightCorrelation],
    num_bins: int = 40,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws how the correlations of pairs of weights lie, within and across blocks.

    Args:
        correlations: method's name -> what `weight_correlation` returns.
        num_bins: positive integer, bins of `[-1, 1]`.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes for each method, three in a row where there are more
        than four. Each holds two histograms, in fractions of the pairs, whose labels
        tell the mean absolute correlation.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 5.6.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> model = models.lenet5(kit=kits.hyper(code_units=4, hidden_units=4))
        >>> found = analysis.weight_correlation(model, num_pairs=20, num_draws=20)
        >>> figure = analysis.correlation_plot({"all-in-one": found})
        >>> figure.axes[0].get_title()
        'all-in-one'
    """
    correlations = check_named("correlations", correlations, WeightCorrelation)
    num_bins = check_positive_integer("num_bins", num_bins)
    count = len(correlations)
    columns = count if count <= 4 else 3
    rows = -(-count // columns)
    size = 0.6 + 3.0 * columns, 0.4 + 2.4 * rows
    figure = figure_for(figure, size, title)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    every = grid.reshape(-1)
    for axes in every[count:]:
        axes.remove()
    for axes, (name, found) in zip(every[:count], correlations.items(), strict=True):
        for values, mean, color, label in (
            (found.within_pairs, found.within, BLUE, "Within blocks"),
            (found.across_pairs, found.across, VERMILION, "Across blocks"),
        ):
            axes.hist(
                values,
                num_bins,
                range=(-1, 1),
                weights=np.full(len(values), 1 / len(values)),
                histtype="stepfilled",
                color=color,
                alpha=0.5,
                label=f"{label}: {mean:.3f}",
            )
        axes.set(title=name, xlabel="Correlation", xlim=(-1, 1))
        axes.legend(
            title="Mean |r|",
            loc="upper right",
            frameon=False,
            fontsize=7,
            title_fontsize=7,
        )
        tidy(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("Fraction of the pairs")
    # Room for the legends, above the highest bar of all.
    every[0].set_ylim(0, 1.4 * every[0].get_ylim()[1])
    return figure
