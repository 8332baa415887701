"""What the figures of this package share: how one is made, its colours, its axes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfhyper.checks import check_instance, check_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
COLORS = (BLUE, VERMILION, GREEN, GREY, "#E69F00", "#56B4E9", "#CC79A7")


def new_figure(figsize: tuple[float, float], title: str | None) -> "Figure":
    """Returns a figure outside pyplot; `figsize` is in inches."""
    _check_title(title)
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError(
            "The figures of `tfhyper.analysis` need matplotlib. Install it with "
            "`pip install tfhyper[plots]`."
        ) from missing
    figure = Figure(figsize=figsize, dpi=150, layout="constrained")
    if title is not None:
        figure.suptitle(title)
    return figure


def figure_for(
    figure: "Figure | SubFigure | None",
    figsize: tuple[float, float],
    title: str | None,
) -> "Figure | SubFigure":
    """Returns the figure that was given, or a new one, under its title."""
    if figure is None:
        return new_figure(figsize, title)
    from matplotlib.figure import FigureBase

    check_instance("figure", figure, FigureBase, "a figure, or a part of one")
    _check_title(title)
    if title is not None:
        figure.suptitle(title)
    return figure


def _check_title(title: str | None) -> None:
    if title is not None:
        check_text("title", title)


def check_named(name: str, value: Any, kind: type | None = None) -> dict[str, Any]:
    """Returns a dict from names of methods, not empty, to what is drawn of each."""
    values = value.values() if isinstance(value, Mapping) else ()
    if not values or not all(kind is None or isinstance(x, kind) for x in values):
        rule = "what is drawn" if kind is None else kind.__name__
        raise ValueError(
            f"`{name}` must be a dict from one name or more to {rule}. "
            f"Received: {name}={value!r}"
        )
    return {str(key): x for key, x in value.items()}


def tidy(axes: "Axes") -> None:
    """Takes away the frame and puts faint horizontal lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
