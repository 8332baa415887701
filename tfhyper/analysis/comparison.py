"""Figures of predictors side by side."""

from typing import TYPE_CHECKING

from tfhyper.analysis._figures import COLORS, figure_for, tidy
from tfhyper.checks import check_instance
from tfhyper.comparison import ComparisonTable
from tfhyper.comparison.table import TITLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# The scores that are drawn, where there are such.
_DRAWN = ("error", "rmse", "nll", "ece", "crps")


def comparison_plot(
    table: ComparisonTable,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws scores of predictors with their intervals, and scores by severity.

    One axes for each of error (or RMSE), NLL and ECE (or CRPS), with a dot and its
    interval for each predictor; where there are shifted inputs, another for the NLL
    against the severity, means over the kinds.

    Args:
        table: what `tfhyper.evaluate` returns.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `table` is no `ComparisonTable`.

    Example:
        >>> from tfhyper import analysis, comparison, metrics
        >>> interval = metrics.BootstrapInterval(0.9, 0.85, 0.94, 0.02)
        >>> table = comparison.ComparisonTable(
        ...     {"mine": {"nll": interval}}, {}, {}, {}, {"test": 9}, 0.95)
        >>> figure = analysis.comparison_plot(table)
        >>> figure.axes[0].get_xlabel()
        'NLL, nats'
    """
    rule = "what `tfhyper.evaluate` returns"
    check_instance("table", table, ComparisonTable, rule)
    names = list(table.scores)
    drawn = [score for score in _DRAWN if score in table.scores[names[0]]]
    means = {name: found for name, found in table.severity_means().items() if found}
    columns = len(drawn) + bool(means)
    size = (2.3 * columns + 1.0, 1.1 + max(0.28 * len(names), 1.3))
    figure = figure_for(figure, size, title)
    every = figure.subplots(1, columns, squeeze=False)[0]
    colors = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
    for column, score in enumerate(drawn):
        axes = every[column]
        for row, name in enumerate(names):
            found = table.scores[name][score]
            # The interval need not hold the value, as that of the ECE does not.
            axes.plot([found.lower, found.upper], [row, row], color=colors[name])
            axes.plot(found.value, row, "o", color=colors[name], markersize=4)
        axes.set_yticks(range(len(names)), names if not column else [], fontsize=8)
        axes.set(xlabel=TITLES[score], ylim=(len(names) - 0.5, -0.5))
        axes.tick_params(axis="x", labelsize=8)
        tidy(axes)
        axes.grid(axis="x", color="0.9", linewidth=0.6)
    if means:
        axes = every[-1]
        for name, by_severity in means.items():
            values = [scores["nll"] for scores in by_severity.values()]
            label, color = (name, colors[name])
            axes.plot(
                list(by_severity), values, "o-", ms=3, lw=1.2, color=color, label=label
            )
        axes.set(xlabel="Severity of the shift", ylabel=TITLES["nll"])
        axes.set_xticks(sorted({n for found in means.values() for n in found}))
        axes.tick_params(labelsize=8)
        axes.legend(frameon=False, fontsize=7)
        tidy(axes)
    return figure
