"""Figures of scores of foreign inputs: how they lie apart, and which finds which."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import COLORS, GREY, check_named, figure_for, tidy
from tfhyper.checks import check_instance, check_integer, check_numbers, check_text
from tfhyper.detection import DetectionTable
from tfhyper.metrics._checks import check_vector

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# What lies beyond these percentiles of scores stands at the edges, and so does what is
# farther from those of known inputs than so many times their distance.
_EDGES, _REACH = (0.5, 99.5), 2.0


def foreign_score_plot(
    known: ArrayLike,
    foreign: Mapping[str, ArrayLike],
    threshold: float | None = None,
    xlabel: str = "Score",
    bins: int = 40,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws how the scores of known and of foreign inputs are distributed.

    A histogram of each group, in fractions of its own inputs. Scores that are far off
    are counted in the outermost bins, so that they leave room for the others: beyond
    the 0.5th and 99.5th percentile of all, or farther from these of the known ones
    than twice their distance.

    Args:
        known: scores of known inputs, finite numbers `(examples,)`.
        foreign: name of a kind -> scores `(examples,)` of its inputs.
        threshold: a number above which inputs are taken for foreign, a dashed line; or
            `None`.
        xlabel: text below the axis: what the scores are.
        bins: positive integer, of the histograms.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `foreign` is empty, or scores are not finite or of another shape.
        TypeError: if scores are no real numbers, or a text is none.

    Example:
        >>> from tfhyper import analysis
        >>> figure = analysis.foreign_score_plot(
        ...     [0.1, 0.2, 0.2], {"noise": [0.8, 0.9]}, threshold=0.5)
        >>> figure.axes[0].get_legend_handles_labels()[1]
        ['Known', 'noise', 'Threshold 0.5']
    """
    groups = {"Known": check_vector("known", known)}
    for name, values in check_named("foreign", foreign).items():
        groups[name] = check_vector("foreign", values)
    check_text("xlabel", xlabel)
    check_integer("bins", bins, 1)
    if threshold is not None:
        threshold = float(check_numbers("threshold", threshold).reshape(()))
    low, high = np.percentile(np.concatenate(list(groups.values())), _EDGES)
    known_low, known_high = np.percentile(groups["Known"], _EDGES)
    if (reach := _REACH * (known_high - known_low)) > 0:
        low, high = max(low, known_low - reach), min(high, known_high + reach)
    edges = np.histogram_bin_edges([], bins, (low, high))
    figure = figure_for(figure, (4.8, 3.0), title)
    axes = figure.subplots()
    for i, (name, values) in enumerate(groups.items()):
        counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
        color = GREY if not i else COLORS[(i - 1) % len(COLORS)]
        axes.stairs(
            counts / len(values),
            edges,
            fill=not i,
            color=color,
            alpha=0.35 if not i else 1.0,
            linewidth=1.4,
            label=name,
        )
    if threshold is not None:
        label = f"Threshold {threshold:.3g}"
        axes.axvline(threshold, color="black", linestyle="--", lw=1, label=label)
    axes.set(xlabel=xlabel, ylabel="Fraction of the inputs")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    tidy(axes)
    return figure


def detection_plot(
    table: DetectionTable,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws the AUROC of each scorer on each kind of foreign inputs, as a heat table.

    0.5 is chance, white; blue is better, and red worse: foreign inputs have the lower
    scores there.

    Args:
        table: what `tfhyper.detection.table` returns.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure: the table's axes, then that of the colour bar.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `table` is no `DetectionTable`.

    Example:
        >>> import numpy as np
        >>> from tfhyper import analysis, detection, metrics
        >>> interval = metrics.BootstrapInterval(0.9, 0.85, 0.94, 0.02)
        >>> table = detection.DetectionTable(
        ...     {"energy": {"noise": {"auroc": interval}}}, {"noise": "far"}, {}, {},
        ...     0.95)
        >>> figure = analysis.detection_plot(table)
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['0.90']
    """
    check_instance(
        "table", table, DetectionTable, "what `tfhyper.detection.table` returns"
    )
    values = np.array(
        [
            [of_kinds[kind]["auroc"].value for kind in table.kinds]
            for of_kinds in table.found.values()
        ]
    )
    rows, columns = values.shape
    figure = figure_for(figure, (2.6 + 0.95 * columns, 1.0 + 0.3 * rows), title)
    axes = figure.subplots()
    image = axes.imshow(values, cmap="RdBu", vmin=0.0, vmax=1.0, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "white" if abs(value - 0.5) > 0.35 else "black"
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", color=color, size=8
        )
    names = [f"{kind}\n({where})" for kind, where in table.kinds.items()]
    axes.set_xticks(range(columns), names, fontsize=8)
    axes.set_yticks(range(rows), list(table.found), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="AUROC", fraction=0.05, pad=0.02)
    return figure
