"""How many members of an ensemble err on the same examples: table and figure."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.analysis._figures import check_named, figure_for, tidy
from tfhyper.checks import check_instance
from tfhyper.summary import Summarized, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


@dataclasses.dataclass(frozen=True, repr=False)
class FaultTable(Summarized):
    """Examples that exactly `k` of N members misclassify. It shows itself as a table.

    Attributes:
        methods: tuple of names, one for each row.
        times: int64 `(N,)`, the `k` of the columns: N, N - 1, ..., 1.
        counts: int64 `(methods, N)`, how many examples.
        per_10000: float64 `(methods, N)`, the same of every 10,000 examples.

    Example:
        >>> from tfhyper import analysis
        >>> members = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.7, 0.3]]]
        >>> analysis.fault_table([0, 0], {"MAP": members}).per_10000
        array([[   0., 5000.]])
    """

    methods: tuple[str, ...]
    times: np.ndarray
    counts: np.ndarray
    per_10000: np.ndarray

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each method."""
        head = ("misclassified, of 10,000", *(f"{k} times" for k in self.times))
        rows = zip(self.methods, self.per_10000, strict=True)
        return Summary("", head, [(m, *(f"{x:.0f}" for x in row)) for m, row in rows])


def fault_table(labels: ArrayLike, members: Mapping[str, ArrayLike]) -> FaultTable:
    """Counts the examples that N, N - 1, ..., 1 of N members misclassify.

    With four members this is the quadruple fault of the paper's Table V. Examples
    that all get wrong gain little from averaging; many that few get wrong are a sign
    of members that differ. The mean over the members of their error is
    `sum_k k per_10000_k / (10000 N)`.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        members: method's name -> probabilities of shape `(N, batch, classes)`, the
            draws of one posterior or networks trained apart; N the same for all.

    Returns:
        A `FaultTable`.

    Raises:
        ValueError: if `members` is empty, holds arrays of different numbers of
            members, or labels and probabilities break the rules of
            `tfhyper.metrics.fault_counts`.
        TypeError: if `labels` are no class indices.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 5.2 and Table V.

    Example:
        >>> from tfhyper import analysis
        >>> members = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.7, 0.3]]]
        >>> print(analysis.fault_table([0, 0], {"N(0, 1)": members}))
        misclassified, of 10,000  2 times  1 times
        N(0, 1)                         0     5000
    """
    members = check_named("members", members)
    # The most faults first, as in the paper; no fault is left out.
    rows = [metrics.fault_counts(labels, x)[:0:-1] for x in members.values()]
    sizes = [len(row) for row in rows]
    if len(set(sizes)) > 1:
        raise ValueError(
            "`members` must hold the same number of members for each method. "
            f"Received: members of the numbers {dict(zip(members, sizes))}"
        )
    counts = np.array(rows)
    return FaultTable(
        methods=tuple(members),
        times=np.arange(sizes[0], 0, -1),
        counts=counts,
        per_10000=counts * (10_000 / len(np.asarray(labels))),
    )


def fault_plot(
    table: FaultTable,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws a fault table: a bar for each method, stacked from N faults up to one.

    The darkest part, at the bottom, is what every member gets wrong. The height of a
    bar is the number of examples that any member gets wrong.

    Args:
        table: what `fault_table` returns.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `table` is not a `FaultTable`.

    Example:
        >>> from tfhyper import analysis
        >>> members = [[[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.7, 0.3]]]
        >>> table = analysis.fault_table([0, 0], {"N(0, 1)": members, "MAP": members})
        >>> figure = analysis.fault_plot(table)
        >>> len(figure.axes[0].patches)
        4
    """
    check_instance("table", table, FaultTable, "what `fault_table` returns")
    figure = figure_for(figure, (1.6 + 0.9 * len(table.methods), 3.2), title)
    axes = figure.subplots()
    bottom = np.zeros(len(table.methods))
    shades = np.linspace(0.2, 0.85, len(table.times))
    for times, column, shade in zip(table.times, table.per_10000.T, shades):
        label = f"{times} of {len(table.times)}"
        # Bars are placed by number: two methods' must not fall together, whatever
        # their names.
        places = range(len(bottom))
        axes.bar(places, column, 0.6, bottom=bottom, color=f"{shade:.3f}", label=label)
        bottom = bottom + column
    axes.set_xticks(range(len(table.methods)), table.methods)
    axes.set(ylabel="Misclassified, of 10,000")
    axes.legend(
        title="Members wrong",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        fontsize=8,
        title_fontsize=8,
    )
    tidy(axes)
    return figure
