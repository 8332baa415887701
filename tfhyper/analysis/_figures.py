"""What the figures of this package share: how one is made, its colours, its axes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"


def new_figure(figsize: tuple[float, float], title: str | None) -> "Figure":
    """Returns a figure outside pyplot; `figsize` is in inches."""
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


def tidy(axes: "Axes") -> None:
    """Takes away the frame and puts faint horizontal lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
