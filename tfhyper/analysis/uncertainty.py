"""A figure of where in the plane a classifier is uncertain, and why."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.analysis._figures import COLORS, figure_for
from tfhyper.checks import check_numbers
from tfhyper.metrics._checks import check_labels, check_members

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


def uncertainty_map(
    members: ArrayLike,
    x1: ArrayLike,
    x2: ArrayLike,
    points: ArrayLike,
    labels: ArrayLike,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws total, aleatoric and epistemic uncertainty of the plane, under the data.

    Three panels share one scale, in nats from 0 to the largest total: the entropy
    `H[pbar]`, `mean_t H[p_t]`, and their difference, as `tfhyper.metrics` has them.

    For the uncertainty of each pixel of an image see `segmentation_map`.

    Args:
        members: probabilities of shape `(draws, len(x2) * len(x1), classes)` at the
            points of the grid, `x1` the faster: those that `numpy.meshgrid(x1, x2)`
            gives, each ravelled.
        x1: two or more evenly spaced increasing numbers, the grid's first coordinate.
        x2: likewise, the second.
        points: the data, numbers of shape `(examples, 2)`.
        labels: their classes, integers of shape `(examples,)`, each in
            `[0, classes)`.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure: axes of the three panels, then that of the colour bar.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.
        TypeError: if `labels` are no class indices.

    Reference:
        Depeweg et al., "Decomposition of uncertainty in Bayesian deep learning for
        efficient and risk-sensitive learning", ICML 2018, section 3.

    Example:
        >>> import numpy as np
        >>> from tfhyper import analysis
        >>> x1, x2 = np.linspace(-2, 2, 30), np.linspace(-1, 1, 20)
        >>> grid = np.stack([a.ravel() for a in np.meshgrid(x1, x2)], axis=-1)
        >>> right = [1 / (1 + np.exp(-s * grid[:, 0])) for s in (1, 4)]
        >>> members = np.stack([[1 - p, p] for p in right]).swapaxes(1, 2)
        >>> figure = analysis.uncertainty_map(
        ...     members, x1, x2, points=[[-1, 0], [1, 0]], labels=[0, 1])
        >>> [axes.get_title() for axes in figure.axes[:3]]
        ['Total', 'Aleatoric', 'Epistemic']
    """
    members = check_members(members)
    x1, x2 = _check_axis("x1", x1), _check_axis("x2", x2)
    _, size, classes = members.shape
    if size != len(x1) * len(x2):
        raise ValueError(
            f"`members` must have one row for each of the {len(x2)} x {len(x1)} points "
            f"of the grid. Received: members.shape={members.shape}"
        )
    points = check_numbers("points", points)
    if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] != 2:
        raise ValueError(
            "`points` must have the axes (examples, 2), with at least one example. "
            f"Received: points.shape={points.shape}"
        )
    labels = check_labels(labels, len(points), classes)

    panels = {
        "Total": metrics.predictive_entropy(members),
        "Aleatoric": metrics.expected_entropy(members),
        "Epistemic": metrics.mutual_information(members),
    }
    figure = figure_for(figure, (9.6, 3.0), title)
    row = figure.subplots(1, 3, sharex=True, sharey=True)
    top = panels["Total"].max()
    for axes, (name, values) in zip(row, panels.items(), strict=True):
        image = axes.imshow(
            values.reshape(len(x2), len(x1)),
            origin="lower",
            extent=(*_edges(x1), *_edges(x2)),
            aspect="auto",
            interpolation="bilinear",
            cmap="Greys",
            vmin=0.0,
            vmax=top if top > 0 else 1.0,
        )
        axes.scatter(
            *points.T,
            s=9,
            c=[COLORS[label % len(COLORS)] for label in labels],
            edgecolors="white",
            linewidths=0.3,
        )
        axes.set(title=name, xlim=_edges(x1), ylim=_edges(x2))
    figure.colorbar(image, ax=list(row), label="nats", fraction=0.04, pad=0.01)
    return figure


def _check_axis(name: str, values: ArrayLike) -> np.ndarray:
    array = check_numbers(name, values)
    steps = np.diff(array) if array.ndim == 1 else np.zeros(0)
    if not (steps.size and steps.min() > 0 and np.allclose(steps, steps[0])):
        raise ValueError(
            f"`{name}` must be two or more evenly spaced increasing numbers. "
            f"Received: {name} of shape {array.shape}"
        )
    return array


def _edges(values: np.ndarray) -> tuple[float, float]:
    """Returns the ends of the row of pixels whose centres are `values`."""
    half = (values[1] - values[0]) / 2
    return float(values[0] - half), float(values[-1] + half)
