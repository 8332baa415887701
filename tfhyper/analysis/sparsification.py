"""A figure of the error that is left when the least sure places are removed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfhyper.analysis._figures import COLORS, GREY, check_named, figure_for, tidy
from tfhyper.metrics import SparsificationCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def sparsification_plot(
    curves: Mapping[str, SparsificationCurve],
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws the error that is left against the fraction removed, for each method.

    The solid line of a method is its error when the places of the largest uncertainty
    are removed, the dashed one in its colour the oracle's, which removes those of the
    largest loss. The legend gives the mean distance of the two, the AUSE. An
    uncertainty that knows nothing stays on the dotted line at 1.

    Args:
        curves: method's name -> what `tfhyper.metrics.sparsification_curve` returns. Of
            curves for each example, `(batch, points)`, the mean is drawn; examples
            without any place, which are NaN, are left out of it.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `curves` is empty or holds something else, or a curve is of no
            place.

    Reference:
        Ilg et al., "Uncertainty estimates and multi-hypotheses networks for optical
        flow", ECCV 2018, figure 4.

    Example:
        >>> from tfhyper import analysis, metrics
        >>> losses, uncertainty = [0.0, 1.0, 2.0, 1.0], [0.1, 0.3, 0.2, 0.4]
        >>> curve = metrics.sparsification_curve(losses, uncertainty, points=4)
        >>> figure = analysis.sparsification_plot({"MC dropout": curve})
        >>> [line.get_label() for line in figure.axes[0].lines[:2]]
        ['MC dropout, AUSE 0.208', 'MC dropout, oracle']
    """
    lines = {
        name: _mean_lines(name, curve)
        for name, curve in check_named("curves", curves, SparsificationCurve).items()
    }
    figure = figure_for(figure, (4.6, 3.2), title)
    axes = figure.subplots()
    for i, (name, (fraction, error, oracle)) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        area = np.mean(error - oracle)
        # Dots too, for a single fraction has no line.
        axes.plot(fraction, error, ".-", color=color, label=f"{name}, AUSE {area:.3f}")
        axes.plot(fraction, oracle, "--", color=color, label=f"{name}, oracle")
    axes.axhline(1.0, linestyle=":", color=GREY, linewidth=1)
    axes.set(xlabel="Fraction removed", ylabel="Error of the rest, relative")
    axes.set(xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=7)
    tidy(axes)
    return figure


def _mean_lines(
    name: str, curve: SparsificationCurve
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns fractions, error and oracle `(points,)`, the mean of those of examples.

    Raises:
        ValueError: if the curve is of no place.
    """
    error, oracle = np.atleast_2d(curve.error), np.atleast_2d(curve.oracle)
    known = ~np.any(np.isnan(error), axis=-1)
    if not known.any():
        raise ValueError(
            "`curves` must each be of one place or more. "
            f"Received: {name!r} with NaN in all of its curves"
        )
    return curve.fraction, error[known].mean(axis=0), oracle[known].mean(axis=0)
