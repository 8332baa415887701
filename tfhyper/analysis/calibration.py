"""Figures of whether predicted distributions hold: PIT histograms and coverage."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tfhyper.analysis._figures import COLORS, GREY, check_named, figure_for, tidy
from tfhyper.metrics import CoverageCurve, PitHistogram

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def pit_plot(
    histograms: Mapping[str, PitHistogram],
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws densities of the probability integral transform, steps for each method.

    The dashed line at 1 is that of calibrated predictions. Steps are higher at both
    ends for predictions that are too sure, in the middle for those that are not sure
    enough, and at one end for those that are too low or too high. A single method's
    steps are filled.

    Args:
        histograms: method's name -> what `tfhyper.metrics.pit_histogram` returns, of
            `pit_mixture` for the members of a regression, of `prediction.mixture.pit`
            for a distribution. Numbers of bins may differ.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `histograms` is empty or holds something else.

    Reference:
        Gneiting et al., "Probabilistic forecasts, calibration and sharpness", J. R.
        Stat. Soc. B 69, 2007, section 3.1.

    Example:
        >>> from tfhyper import analysis, metrics
        >>> pit = metrics.pit_mixture([0.0, 2.0], [[0.0, 1.0], [0.5, 1.0]], 1.0)
        >>> figure = analysis.pit_plot({"normal": metrics.pit_histogram(pit)})
        >>> figure.axes[0].get_xlabel()
        'Probability integral transform'
    """
    histograms = check_named("histograms", histograms, PitHistogram)
    figure = figure_for(figure, (4.6, 3.2), title)
    axes = figure.subplots()
    for i, (name, histogram) in enumerate(histograms.items()):
        color = COLORS[i % len(COLORS)]
        height, edges = histogram.density, histogram.edges
        if len(histograms) == 1:
            axes.stairs(height, edges, fill=True, color=color, alpha=0.25)
        axes.stairs(height, edges, color=color, linewidth=1.5, label=name)
    axes.axhline(1.0, linestyle="--", color=GREY, linewidth=1, label="Calibrated")
    axes.set(xlabel="Probability integral transform", ylabel="Density", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def coverage_plot(
    curves: Mapping[str, CoverageCurve],
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws the coverage of central intervals against their level, for each method.

    The dashed diagonal is that of calibrated predictions. A line below it is of
    predictions that are too sure: their intervals hold fewer targets than they say.

    Args:
        curves: method's name -> what `tfhyper.metrics.coverage_curve` returns for
            normal predictions, or `pit_coverage_curve` for any distributions.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `curves` is empty or holds something else.

    Reference:
        Kuleshov et al., "Accurate uncertainties for deep learning using calibrated
        regression", ICML 2018, figure 1.

    Example:
        >>> from tfhyper import analysis, metrics
        >>> curve = metrics.coverage_curve([0.5, 1.5], [0.0, 0.0], 1.0)
        >>> figure = analysis.coverage_plot({"normal": curve})
        >>> figure.axes[0].get_ylabel()
        'Targets inside'
    """
    curves = check_named("curves", curves, CoverageCurve)
    figure = figure_for(figure, (3.8, 3.6), title)
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), "--", color=GREY, linewidth=1, label="Calibrated")
    for i, (name, curve) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        axes.plot(curve.level, curve.coverage, ".-", color=color, label=name)
    axes.set(xlabel="Level of the interval", ylabel="Targets inside")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    tidy(axes)
    return figure
