"""What the figures of this package share: how one is made, its colours, its axes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_instance, check_numbers, check_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's palette, told apart under every common colour blindness.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
COLORS = (BLUE, VERMILION, GREEN, GREY, "#E69F00", "#56B4E9", "#CC79A7")
_LARGEST_PALETTE = 20  # of matplotlib's "tab20"


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


def draw_image(axes: "Axes", image: np.ndarray) -> None:
    """Draws an image whose numbers lie in [0, 1], without ticks."""
    axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
    axes.set(xticks=[], yticks=[])


def check_images(images: ArrayLike, batch: int) -> np.ndarray:
    """Returns images `(batch, height, width)` or `(batch, height, width, 3)`.

    Raises:
        ValueError: for other axes, or numbers out of [0, 1].
    """
    array = check_numbers("images", images)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    is_grey, is_rgb = array.ndim == 3, array.ndim == 4 and array.shape[-1] == 3
    if not (is_grey or is_rgb) or len(array) != batch:
        raise ValueError(
            f"`images` must have the axes (batch={batch}, height, width), or those and "
            f"1 or 3 channels. Received: images.shape={array.shape}"
        )
    low, high = np.min(array), np.max(array)
    if low < 0 or high > 1:
        raise ValueError(
            "`images` must lie in [0, 1]; undo any normalisation first. "
            f"Received: images from {low} to {high}"
        )
    return array


def check_class_names(class_names: Sequence[str] | None, classes: int) -> Sequence[str]:
    """Returns a name for each class: its index if `class_names` is `None`.

    Raises:
        ValueError: for another number of names.
        TypeError: if they are no sequence of text.
    """
    names = [str(c) for c in range(classes)] if class_names is None else class_names
    check_instance("class_names", names, Sequence, "a sequence of text")
    for name in names:
        check_text("class_names", name)
    if len(names) != classes or isinstance(names, str):
        raise ValueError(
            f"`class_names` must hold one name for each of the {classes} classes. "
            f"Received: class_names of length {len(names)}"
        )
    return names


def class_colors(classes: int) -> list[Any]:
    """Returns a colour for each class, as far apart as their number allows."""
    if classes <= len(COLORS):
        return list(COLORS[:classes])
    from matplotlib import colormaps

    if classes <= _LARGEST_PALETTE:
        return [colormaps["tab20"](i) for i in range(classes)]
    return [colormaps["turbo"](c) for c in np.linspace(0, 1, classes)]
