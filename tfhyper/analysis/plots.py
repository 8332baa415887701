"""Figures about calibration and training, drawn with matplotlib.

Each function returns a `matplotlib.figure.Figure` and leaves pyplot, its windows and
its global state alone: `figure.savefig("name.png")` works without a display.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.analysis._figures import BLUE, GREEN, GREY, VERMILION, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_diagram(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    title: str | None = None,
) -> "Figure":
    """Draws accuracy against confidence, and how many predictions are so confident.

    Upper axes: a bar per bin up to its accuracy, the gap to its mean confidence shaded
    (one colour for overconfident bins, one for underconfident ones) and the diagonal of
    perfect calibration; the expected calibration error (ECE) in the corner. Lower axes:
    the number of examples in each bin. Bins without examples stay empty.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`;
            the latter is averaged over the draws first. Rows sum to one.
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`.
        title: text above the figure, or `None`.

    Returns:
        A `matplotlib.figure.Figure` of two axes: the diagram, then the histogram.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `num_bins` is not a positive integer, `probs` is not finite or
            does not hold probabilities, the shapes do not fit, or a label is out of
            range.
        TypeError: if `labels` are no class indices.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017, figure 1.

    Example:
        >>> from tfhyper import analysis
        >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]
        >>> figure = analysis.reliability_diagram([0, 1, 1], probs, num_bins=10)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['Accuracy', 'Examples']
    """
    curve = metrics.reliability_curve(labels, probs, num_bins)
    ece = metrics.expected_calibration_error(labels, probs, num_bins)
    figure = new_figure((4.2, 5.0), title)
    diagram, histogram = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
    )

    width = 1.0 / num_bins
    filled = curve.counts > 0
    centres = ((np.arange(num_bins) + 0.5) * width)[filled]
    accuracy, confidence = curve.accuracy[filled], curve.confidence[filled]
    diagram.bar(centres, accuracy, width, color=BLUE, edgecolor="white")
    gap = confidence - accuracy
    for side, color, tint, label in (
        (gap > 0, VERMILION, "#F5D5BF", "Overconfident by"),
        (gap < 0, GREEN, "#BFE7DC", "Underconfident by"),
    ):
        if np.any(side):
            diagram.bar(
                centres[side],
                gap[side],
                width,
                bottom=accuracy[side],
                facecolor=tint,
                edgecolor=color,
                hatch="////",
                linewidth=0.8,
                label=label,
            )
    # The shading of an underconfident bin covers the top of its bar.
    diagram.hlines(
        accuracy,
        centres - width / 2,
        centres + width / 2,
        color="black",
        linewidth=1.8,
        clip_on=False,
        label="Accuracy",
    )
    diagram.plot(
        (0, 1), (0, 1), "--", color=GREY, linewidth=1, label="Perfect calibration"
    )
    diagram.set(xlim=(0, 1), ylim=(0, 1), ylabel="Accuracy")
    diagram.legend(loc="upper left", frameon=False, fontsize=8)
    diagram.text(
        0.97,
        0.04,
        f"ECE = {ece:.4f}",
        transform=diagram.transAxes,
        ha="right",
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": GREY},
    )

    histogram.bar(centres, curve.counts[filled], width, color=GREY, edgecolor="white")
    histogram.set(xlabel="Confidence", ylabel="Examples")
    for axes in (diagram, histogram):
        tidy(axes)
    figure.align_ylabels()
    return figure


def training_curves(history: Any, title: str | None = None) -> "Figure":
    """Draws the loss and every metric of a training run against its epochs.

    A quantity and its validation twin (`"loss"` and `"val_loss"`) share axes.

    Args:
        history: what `model.fit` returns, or a dict from names to one number per epoch.
            A quantity may have fewer numbers than others (an interrupted validation).
        title: text above the figure, or `None`.

    Returns:
        A `matplotlib.figure.Figure` of one axes per quantity, in the history's order.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if `history` is empty, or a curve is not one number per epoch.
        TypeError: if `history` is neither a dict nor has one as its `history`, or does
            not hold real numbers under text.

    Example:
        >>> from tfhyper import analysis
        >>> history = {"loss": [1.0, 0.5], "val_loss": [1.1, 0.8], "error": [0.6, 0.3]}
        >>> [axes.get_ylabel() for axes in analysis.training_curves(history).axes]
        ['loss', 'error']
    """
    curves = getattr(history, "history", history)
    if not isinstance(curves, Mapping):
        raise TypeError(
            "`history` must be a dict or what `model.fit` returns. "
            f"Received: history={history!r}"
        )
    if not curves:
        raise ValueError(
            f"`history` must hold at least one curve. Received: history={curves!r}"
        )
    lines = {name: _check_curve(name, values) for name, values in curves.items()}
    quantities = list(dict.fromkeys(name.removeprefix("val_") for name in lines))
    # Three to a row, but two rows of two rather than three and one.
    columns = 2 if len(quantities) == 4 else min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    figure = new_figure((3.4 * columns, 2.6 * rows), title)
    # Not at the top: matplotlib is imported when something is drawn.
    from matplotlib.ticker import MaxNLocator

    for position, quantity in enumerate(quantities, start=1):
        axes = figure.add_subplot(rows, columns, position)
        for name, label, color in (
            (quantity, "training", BLUE),
            (f"val_{quantity}", "validation", VERMILION),
        ):
            if name in lines:
                values = lines[name]
                epochs = np.arange(1, len(values) + 1)
                # Dots too, for a single epoch has no line.
                axes.plot(epochs, values, ".-", color=color, label=label)
        axes.set(xlabel="Epoch", ylabel=quantity)
        locator = axes.xaxis.get_major_locator()
        if isinstance(locator, MaxNLocator):
            locator.set_params(integer=True)
        if len(axes.lines) > 1:
            axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    return figure


def _check_curve(name: Any, values: Any) -> np.ndarray:
    """Returns one number per epoch; NaN and infinity are what diverged and stay."""
    if not isinstance(name, str):
        raise TypeError(_rule(name, values))
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(_rule(name, values)) from error
    if array.dtype.kind not in "fiub":
        raise TypeError(_rule(name, values))
    if array.ndim != 1:
        raise ValueError(_rule(name, values))
    return array.astype(np.float64)


def _rule(name: str, values: Any) -> str:
    return (
        "`history` must hold one number per epoch under each name. "
        f"Received: history[{name!r}]={values!r}"
    )
