"""A figure of what is predicted of one example, by all draws and by each of them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    check_class_names,
    check_images,
    class_colors,
    draw_image,
    figure_for,
    tidy,
)
from tfhyper.checks import check_instance, check_integer, naming
from tfhyper.heads import Family, Normal
from tfhyper.posterior import (
    AnytimePrediction,
    DistributionPrediction,
    LabelsPrediction,
    Prediction,
    Predictions,
    RegressionPrediction,
    Rejection,
)
from tfhyper.posterior.tasks.rejection import FOREIGN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_KINDS = (
    Prediction,
    LabelsPrediction,
    RegressionPrediction,
    DistributionPrediction,
    AnytimePrediction,
    Predictions,
)
# What is predicted of numbers.
_Numbers: TypeAlias = RegressionPrediction | DistributionPrediction
# The most bars of classes, labels or targets, and rows of panels.
_MOST_BARS, _MOST_ROWS = 12, 4
# Level of an interval -> its colour, the widest first; and those of an unknown answer.
_BANDS = {0.9: "#D6E6F2", 0.5: "#9CC3E0"}
_GREY_BANDS = {0.9: "#ECECEC", 0.5: "#CFCFCF"}
# The probability that the axis of a density spans, and its points.
_SPAN, _POINTS = 0.995, 400


def prediction_plot(
    prediction: (
        Prediction
        | LabelsPrediction
        | RegressionPrediction
        | DistributionPrediction
        | AnytimePrediction
        | Predictions
    ),
    example: int = 0,
    image: ArrayLike | None = None,
    names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws what is predicted of one example, and how sure the prediction is.

    - A class: a bar for each class up to its mean probability, a dot for each draw,
      and the aleatoric and the epistemic part of the entropy. Of more than twelve
      classes the likeliest are drawn.
    - A class for each position of a sequence: the probabilities, and both parts, along
      the positions. For each pixel: a map of the classes and of each part, as
      `segmentation_map` has them, without the truth.
    - Labels each by itself: a bar for each label, with both parts beside it.
    - A number: the density of each draw and of the prediction, over its central
      intervals of 50 % and 90 %, with both parts of the variance. Without noise the
      draws are dots.
    - Several numbers: a line for each with both intervals and the draws' means; more
      than twelve, and sequences, as a curve with bands; images as maps.
    - Several outputs: one below the other.

    What a rejection leaves unknown is grey, or blank in a map, and said in words.

    Args:
        prediction: what `predict` or `predict_anytime` of a predictor gives. Dots and
            densities of draws need its members.
        example: int, the index of the example, in `[0, batch)`.
        image: the example's image, numbers in `[0, 1]` of shape `(height, width)` or
            `(height, width, channels)` with 1 or 3 channels, to stand beside; or
            `None`.
        names: a name for each class, label or target, or `None` for indices; of several
            outputs a dict from names of outputs to these.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above; for more than two axes of
            positions; for a distribution whose members were not kept.
        TypeError: if `prediction` is none.

    Example:
        >>> import keras, tfhyper
        >>> import numpy as np
        >>> from tfhyper import analysis
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), tfhyper.layers.BayesDense(3, seed=0)])
        >>> predictor = tfhyper.PosteriorPredictor(model, num_draws=8)
        >>> prediction = predictor.predict(np.zeros((5, 4)))
        >>> figure = analysis.prediction_plot(prediction, 2, names=["a", "b", "c"])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['a', 'b', 'c']
    """
    rule = "what `predict` of a predictor returns"
    check_instance("prediction", prediction, _KINDS, rule)
    if isinstance(prediction, Predictions):
        return _draw_several(prediction, example, image, names, title, figure)
    example = check_integer("example", example, 0, len(prediction.mean) - 1)
    shown = None
    if image is not None:
        rule = "one image (height, width), or that and 1 or 3 channels, in [0, 1]"
        with naming("image", rule):
            shown = check_images(np.asarray(image)[np.newaxis], 1)[0]
    page = _Page(figure, title, shown, names)
    _draw(prediction.take([example]), page)
    return page.figure


@dataclasses.dataclass
class _Page:
    """Where a prediction of one example is drawn, and what stands beside it."""

    figure: Any  # `None` until something is drawn, if none was given
    title: str | None
    image: np.ndarray | None
    names: Any

    def names_of(self, count: int) -> Sequence[str]:
        """Returns a name for each class, label or target."""
        with naming("names", f"a text for each of {count} classes, labels or targets"):
            return check_class_names(self.names, count)

    def open(self, width: float, height: float) -> "Figure | SubFigure":
        """Returns the figure, or its part beside the image; sizes are in inches."""
        beside = 0.0 if self.image is None else 2.0
        size = (width + beside, max(height, 1.9) if beside else height)
        self.figure = figure_for(self.figure, size, self.title)
        if self.image is None:
            return self.figure
        left, right = self.figure.subfigures(1, 2, width_ratios=(beside, width))
        draw_image(left.subplots(), self.image)
        return right

    def panels(self, lines: int, headings: Sequence[str], shape: Sequence[int]) -> Any:
        """Returns axes (lines, headings) of maps of a shape, behind the image's."""
        headings = headings if self.image is None else ("Image", *headings)
        height, width = shape
        high = min(max(height / width, 0.3), 3.0) * 2.2 + 0.3
        size = (2.2 * len(headings) + 0.8, high * lines + 0.4)
        self.figure = figure_for(self.figure, size, self.title)
        grid = self.figure.subplots(lines, len(headings), squeeze=False)
        for axes, heading in zip(grid[0], headings, strict=True):
            axes.set_title(heading, fontsize=9)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
        if self.image is None:
            return grid
        for i, axes in enumerate(grid[:, 0]):
            draw_image(axes, self.image) if i == 0 else axes.set_axis_off()
        return grid[:, 1:]


@functools.singledispatch
def _draw(one: Any, page: _Page) -> None:
    """Draws a prediction of one example."""
    raise AssertionError(type(one))


@_draw.register
def _(one: Prediction, page: _Page) -> None:
    mean = one.mean[0]
    if mean.ndim == 1:
        _draw_class(one, page)
    elif mean.ndim == 2:
        _draw_tokens(one, page, one.total[0], one.rejected[0])
    elif mean.ndim == 3:
        label = np.ma.masked_array(one.label[0], one.rejected[0])
        parts = {"Aleatoric": one.aleatoric[0], "Epistemic": one.epistemic[0]}
        _draw_class_maps(label, parts, "nats", mean.shape[-1], page)
    else:
        raise _too_many_axes(one.mean)


@_draw.register
def _(one: LabelsPrediction, page: _Page) -> None:
    mean = one.mean[0]
    if mean.ndim == 1:
        _draw_labels(one, page)
    elif mean.ndim == 2:
        rejected = one.rejected[0].any(axis=-1)
        _draw_tokens(one, page, one.total[0].sum(axis=-1), rejected)
    elif mean.ndim == 3:
        blank = np.ma.masked_array(mean, one.rejected[0])
        look = {"vmin": 0.0, "vmax": 1.0, "cmap": "Blues"}
        both = one.aleatoric[0], one.epistemic[0]
        _draw_number_maps("Probability", blank, look, *both, "nats", page)
    else:
        raise _too_many_axes(one.mean)


@_draw.register(RegressionPrediction)
@_draw.register(DistributionPrediction)
def _(one: _Numbers, page: _Page) -> None:
    shape = one.mean.shape[1:]
    if shape in ((), (1,)):
        _draw_density(one, page)
    elif len(shape) == 1 and shape[0] <= _MOST_BARS:
        _draw_targets(one, page)
    elif len(shape) <= 2:
        _draw_curves(one, page)
    elif len(shape) == 3:
        blank = np.ma.masked_array(one.mean[0], one.rejected[0])
        both = np.sqrt(one.aleatoric[0]), np.sqrt(one.epistemic[0])
        unit = "standard deviation"
        _draw_number_maps("Mean", blank, {"cmap": "gray"}, *both, unit, page)
    else:
        raise _too_many_axes(one.mean)


@_draw.register
def _(one: AnytimePrediction, page: _Page) -> None:
    mean, used = one.mean[0], one.num_draws[0]
    if used.ndim == 0:
        axes, _ = _draw_bars(mean, None, page, 0.0)
        name = page.names_of(len(mean))[int(one.label[0])]
        axes.set_title(f"{name}: decided by {used} of {one.total_draws} draws")
    elif used.ndim == 1:
        places = np.arange(len(used))
        figure = page.open(5.6, 0.25 * len(used) + 1.0)
        bars, draws = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        chosen = mean if mean.ndim == 1 else mean.max(axis=-1)
        bars.barh(places, chosen, 0.7, color=BLUE)
        bars.set(xlim=(0, 1), xlabel="Probability")
        draws.barh(places, used, 0.7, color=GREY)
        draws.set(xlim=(0, one.total_draws), xlabel="Draws used")
        _name_rows(bars, page.names_of(len(used)) if mean.ndim == 1 else places)
        for axes in (bars, draws):
            _tidy_bars(axes)
    elif used.ndim == 2 and mean.ndim == 3:
        parts = {"Draws used": used}
        label = np.ma.masked_array(one.label[0], False)
        _draw_class_maps(label, parts, "draws", mean.shape[-1], page)
    else:
        raise _too_many_axes(one.mean)


def _draw_several(
    predictions: Predictions,
    example: int,
    image: ArrayLike | None,
    names: Any,
    title: str | None,
    figure: "Figure | SubFigure | None",
) -> "Figure | SubFigure":
    """Draws each output into a part of the figure, under its name."""
    check_instance("names", names, (Mapping, type(None)), "a dict of names, or None")
    given = {} if names is None else dict(names)
    if not set(given) <= set(predictions):
        raise ValueError(
            f"`names` must have names of the outputs, {list(predictions)}, as keys. "
            f"Received: names={names!r}"
        )
    figure = figure_for(figure, (6.4, 2.9 * len(predictions)), title)
    parts: Any = figure.subfigures(len(predictions), 1, squeeze=False)[:, 0]
    for part, (output, found) in zip(parts, predictions.items(), strict=True):
        prediction_plot(found, example, image, given.get(output), output, part)
    return figure


def _too_many_axes(mean: np.ndarray) -> ValueError:
    return ValueError(
        "`prediction` must have at most two axes of positions to be drawn. "
        f"Received: prediction.mean.shape={('batch', *mean.shape[1:])}"
    )


def _draw_class(one: Prediction, page: _Page) -> None:
    """Draws bars of classes, above both parts of the entropy."""
    rejected = bool(one.rejected[0])
    color = GREY if rejected else BLUE
    axes, split = _draw_bars(one.mean[0], one.members, page, 0.9, color)
    names = page.names_of(one.mean.shape[-1])
    best = int(one.mean[0].argmax())
    said = f"{names[best]}, {one.mean[0, best]:.0%}"
    axes.set_title(f"unknown (likeliest: {said})" if rejected else said)
    _draw_split(split, one, np.log(one.mean.shape[-1]), "nats")


def _draw_bars(
    mean: np.ndarray,
    members: np.ndarray | None,
    page: _Page,
    below: float,
    color: str = BLUE,
) -> tuple["Axes", Any]:
    """Draws mean probabilities and those of the draws, (draws, 1, classes).

    Returns:
        The axes, and others below it of so many inches, `None` for 0.
    """
    names = page.names_of(len(mean))
    places = _most_probable(mean)
    height = 0.28 * len(places) + 0.8
    figure = page.open(4.8, height + below)
    split = None
    if below:
        axes, split = figure.subplots(2, 1, height_ratios=(height, below))
    else:
        axes = figure.subplots()
    axes.barh(range(len(places)), mean[places], 0.7, color=color, alpha=0.75)
    if members is not None:
        _draw_dots(axes, members[:, 0, places])
    _name_rows(axes, [names[i] for i in places])
    of = "Probability" if members is None else "Probability (dots: draws)"
    axes.set(xlim=(0, 1), xlabel=of)
    if len(places) < len(mean):
        axes.set_xlabel(f"{of}; {len(mean) - len(places)} others are below")
    _tidy_bars(axes)
    return axes, split


def _most_probable(mean: np.ndarray) -> np.ndarray:
    """Returns the places of bars: all, or those of the largest means in their order."""
    if len(mean) <= _MOST_BARS:
        return np.arange(len(mean))
    return np.argsort(-mean, kind="stable")[:_MOST_BARS]


def _draw_dots(axes: "Axes", members: np.ndarray) -> None:
    """Draws the draws' values (draws, rows) as dots, each at a height of its own."""
    draws, rows = members.shape
    heights = np.linspace(-0.25, 0.25, draws) if draws > 1 else np.zeros(1)
    for row in range(rows):
        axes.plot(
            members[:, row],
            row + heights,
            ".",
            color="black",
            alpha=max(0.25, min(0.8, 8 / draws)),
            markersize=5,
            markeredgewidth=0,
            label="Draws" if row == 0 else None,
        )


def _name_rows(axes: "Axes", names: Sequence[Any] | np.ndarray) -> None:
    """Names rows, the first of them at the top."""
    axes.set_yticks(range(len(names)), [str(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _tidy_bars(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def _legend_above(axes: "Axes") -> None:
    """Draws the legend above the axes, where nothing else stands."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 0.97),
        ncols=4,
        frameon=False,
        fontsize=7,
        borderpad=0,
        columnspacing=1,
        handlelength=1.2,
    )


def _draw_split(axes: "Axes", one: Any, most: float | None, unit: str) -> None:
    """Draws both parts of one uncertainty as a stacked bar, and a rule's threshold."""
    aleatoric, epistemic = float(np.sum(one.aleatoric)), float(np.sum(one.epistemic))
    axes.barh(0, aleatoric, color=GREEN, label=f"Aleatoric {aleatoric:.3g}")
    axes.barh(
        0,
        epistemic,
        left=aleatoric,
        color=VERMILION,
        label=f"Epistemic {epistemic:.3g}",
    )
    _draw_threshold(axes, one.rejection)
    axes.set(yticks=[], xlabel=f"Uncertainty ({unit})")
    if most is not None:
        axes.set_xlim(0, most)
    _legend_above(axes)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_threshold(axes: "Axes", rejection: Rejection | None) -> None:
    """Draws the threshold of a rule that is of a part of the uncertainty."""
    if rejection is not None and rejection.score not in ("confidence", FOREIGN):
        label = f"Threshold {rejection.threshold:.3g} ({rejection.score})"
        axes.axvline(
            rejection.threshold, color="black", linestyle="--", lw=1, label=label
        )


def _draw_labels(one: LabelsPrediction, page: _Page) -> None:
    """Draws bars of labels, with both parts of each one's entropy beside them."""
    mean = one.mean[0]
    names, places = page.names_of(len(mean)), _most_probable(mean)
    rows = range(len(places))
    rejected = one.rejected[0][places]
    figure = page.open(5.8, 0.28 * len(places) + 1.1)
    bars, split = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    colors = [GREY if x else BLUE for x in rejected]
    bars.barh(rows, mean[places], 0.7, color=colors, alpha=0.75)
    if one.members is not None:
        _draw_dots(bars, one.members[:, 0, places])
    bars.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    of = "Probability" if one.members is None else "Probability (dots: draws)"
    bars.set(xlim=(0, 1), xlabel=of)
    if len(places) < len(mean):
        bars.set_xlabel(f"{of}; {len(mean) - len(places)} others are below")
    _name_rows(
        bars,
        [names[i] + " (unknown)" * bool(x) for i, x in zip(places, rejected)],
    )
    left = one.aleatoric[0][places]
    split.barh(rows, left, 0.7, color=GREEN, label="Aleatoric")
    split.barh(
        rows, one.epistemic[0][places], 0.7, left, color=VERMILION, label="Epistemic"
    )
    _draw_threshold(split, one.rejection)
    split.set(xlim=(0, np.log(2)), xlabel="Uncertainty (nats)")
    _legend_above(split)
    for axes in (bars, split):
        _tidy_bars(axes)


def _draw_tokens(
    one: Prediction | LabelsPrediction,
    page: _Page,
    total: np.ndarray,
    rejected: np.ndarray,
) -> None:
    """Draws probabilities, and both parts of the entropy, along positions."""
    mean = one.mean[0]
    length, classes = mean.shape
    names = page.names_of(classes)
    places = np.sort(_most_probable(mean.max(axis=0)))
    height = 0.22 * len(places) + 0.6
    figure = page.open(min(2.5 + 0.25 * length, 9.0), height + 1.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(height, 1.5))
    shown = upper.imshow(
        mean[:, places].T, aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0
    )
    _name_rows(upper, [names[i] for i in places])
    figure.colorbar(shown, ax=upper, label="Probability", pad=0.01)
    aleatoric = one.aleatoric[0].reshape(length, -1).sum(axis=-1)
    at = np.arange(length)
    lower.bar(at, aleatoric, 0.8, color=GREEN, label="Aleatoric")
    lower.bar(at, total - aleatoric, 0.8, aleatoric, color=VERMILION, label="Epistemic")
    for i, place in enumerate(np.flatnonzero(rejected)):
        label = "Unknown" if i == 0 else None
        lower.axvspan(
            place - 0.5, place + 0.5, color=GREY, alpha=0.2, lw=0, label=label
        )
    lower.set(xlabel="Position", ylabel="nats", xlim=(-0.5, length - 0.5))
    _legend_above(lower)
    tidy(lower)


def _draw_class_maps(
    label: np.ma.MaskedArray,
    parts: dict[str, np.ndarray],
    unit: str,
    classes: int,
    page: _Page,
) -> None:
    """Draws a map of classes, blank where unknown, and maps of other numbers."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    names, colors = page.names_of(classes), class_colors(classes)
    first, *others = page.panels(1, ("Prediction", *parts), label.shape)[0]
    look = {"cmap": ListedColormap(colors), "vmin": -0.5, "vmax": classes - 0.5}
    # A mean of two classes would be a third one.
    first.imshow(label, interpolation="nearest", **look)
    largest = max(float(np.max(part)) for part in parts.values())
    for axes, values in zip(others, parts.values(), strict=True):
        shown = axes.imshow(
            values, interpolation="nearest", vmin=0.0, vmax=largest or 1.0
        )
    page.figure.colorbar(shown, ax=others, label=unit, fraction=0.05, pad=0.02)
    handles = [
        Patch(color=colors[c], label=names[c]) for c in np.unique(label.compressed())
    ]
    if np.ma.getmaskarray(label).any():
        handles.append(Patch(facecolor="white", edgecolor=GREY, label="unknown"))
    page.figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 6) or 1,
        frameon=False,
        fontsize=8,
    )


def _draw_number_maps(
    heading: str,
    values: np.ndarray,
    look: dict[str, Any],
    aleatoric: np.ndarray,
    epistemic: np.ndarray,
    unit: str,
    page: _Page,
) -> None:
    """Draws maps (height, width, channels) and both parts, a line for each channel."""
    channels = values.shape[-1]
    names = page.names_of(channels)
    lines = min(channels, _MOST_ROWS)
    headings = (heading, "Aleatoric", "Epistemic")
    grid = page.panels(lines, headings, values.shape[:2])
    largest = max(float(np.max(x[..., :lines])) for x in (aleatoric, epistemic))
    of_parts = {"vmin": 0.0, "vmax": largest or 1.0}
    figure = page.figure
    for i, row in enumerate(grid):
        first = row[0].imshow(values[..., i], interpolation="nearest", **look)
        for axes, part in zip(row[1:], (aleatoric, epistemic), strict=True):
            shown = axes.imshow(part[..., i], interpolation="nearest", **of_parts)
        if channels > 1:
            row[0].set_ylabel(names[i], fontsize=8)
        figure.colorbar(first, ax=row[0], fraction=0.05, pad=0.02)
    figure.colorbar(
        shown, ax=list(grid[:, 1:].flat), label=unit, fraction=0.04, pad=0.02
    )


def _bands(one: _Numbers) -> dict[float, str]:
    return _GREY_BANDS if bool(np.all(one.rejected)) else _BANDS


def _means_of_draws(one: _Numbers) -> np.ndarray | None:
    """Returns the mean of each draw, (draws, 1, ...), or `None` if not kept."""
    if one.members is None or isinstance(one, RegressionPrediction):
        return one.members
    return ops.convert_to_numpy(one.family.mean(one.members))


def _intervals(one: _Numbers) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """Returns level -> the ends of the central interval of the example."""
    if not np.all(one.variance > 0):
        # Draws that agree, without noise: a point.
        half = np.sqrt(one.variance)
        return {level: ((one.mean - half)[0], (one.mean + half)[0]) for level in _BANDS}
    found = {level: one.interval(level) for level in _BANDS}
    return {level: (low[0], high[0]) for level, (low, high) in found.items()}


def _draw_density(one: _Numbers, page: _Page) -> None:
    """Draws the densities of one number, above both parts of its variance."""
    rejected = bool(np.all(one.rejected))
    figure = page.open(4.8, 3.5)
    axes, split = figure.subplots(2, 1, height_ratios=(2.6, 0.9))
    said = f"{one.mean.item():.3g} ± {np.sqrt(one.variance).item():.3g}"
    axes.set_title(f"unknown (would be {said})" if rejected else said, pad=16)
    drawn = _draws_of_density(one)
    if drawn is None:
        _draw_normal(axes, one)
    else:
        _draw_mixture(axes, one, *drawn)
    axes.axvline(one.mean.item(), color=BLUE, linewidth=1, linestyle=":")
    name = page.names_of(1)[0] if page.names is not None else "Target"
    axes.set(xlabel=name, yticks=[])
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    _legend_above(axes)
    _draw_split(split, one, None, "variance, square of the target's unit")


def _draws_of_density(one: _Numbers) -> tuple[Family, np.ndarray] | None:
    """Returns a family and the draws' parameters (draws, 1, units), if they are kept.

    `None` for draws without noise, which have no density.
    """
    if isinstance(one, DistributionPrediction):
        return None if one.members is None else (one.family, one.members)
    if one.members is None or one.member_variance is None:
        return None
    if not np.all(one.member_variance > 0):
        return None
    parts = (one.members, np.sqrt(one.member_variance))
    return Normal(), np.stack([x.reshape(-1, 1) for x in parts], axis=-1)


def _draw_mixture(
    axes: "Axes", one: _Numbers, family: Family, parameters: np.ndarray
) -> None:
    from scipy import stats

    intervals = _intervals(one)
    parts = family.components(parameters)
    counts = isinstance(parts.distribution, stats.rv_discrete)
    low, high = (float(x) for x in _ends(one, _SPAN))
    if counts:
        step = max(1, int((high - low) // _POINTS))
        x = np.arange(np.floor(low), np.ceil(high) + 2, step)
    else:
        x = np.linspace(low, high, _POINTS)
    # Components of draws, (components, draws, 1), against the points of the axis.
    density = parts.distribution.pmf if counts else parts.distribution.pdf
    of_draws = np.sum(
        parts.weights[:, :, 0, :]
        * density(
            x, **{name: value[:, :, 0, :] for name, value in parts.arguments.items()}
        ),
        axis=0,
    )
    mean = of_draws.mean(axis=0)
    look: dict[str, Any] = {"drawstyle": "steps-mid"} if counts else {}
    for level, color in _bands(one).items():
        ends = [float(np.ravel(end)[0]) for end in intervals[level]]
        inside = (x >= ends[0]) & (x <= ends[1])
        axes.fill_between(
            x,
            mean,
            where=inside,
            step="mid" if counts else None,
            color=color,
            linewidth=0,
            label=f"{level:.0%} of the prediction",
        )
    alpha = max(0.15, min(0.6, 6 / len(of_draws)))
    for i, line in enumerate(of_draws):
        label = "Draws" if i == 0 else None
        axes.plot(x, line, color="black", alpha=alpha, lw=0.7, label=label, **look)
    color = GREY if bool(np.all(one.rejected)) else BLUE
    axes.plot(x, mean, color=color, linewidth=2, label="Prediction", **look)


def _ends(one: _Numbers, level: float) -> tuple[float, float]:
    """Returns what an axis spans: an interval, and all draws' means."""
    low, high = (x.item() for x in one.interval(level))
    means = _means_of_draws(one)
    if means is not None:
        low, high = min(low, float(means.min())), max(high, float(means.max()))
    return low, high


def _draw_normal(axes: "Axes", one: _Numbers) -> None:
    """Draws the normal of mean and variance, and draws without noise as dots."""
    intervals = _intervals(one)
    top = 1.0
    if one.variance.item() > 0:
        low, high = _ends(one, _SPAN)
        x = np.linspace(low, high, _POINTS)
        square = np.square(x - one.mean.item()) / one.variance.item()
        density = np.exp(-0.5 * square)
        for level, color in _bands(one).items():
            left, right = (float(np.ravel(end)[0]) for end in intervals[level])
            inside = (x >= left) & (x <= right)
            label = f"{level:.0%} of the prediction"
            axes.fill_between(
                x, density, where=inside, color=color, linewidth=0, label=label
            )
        axes.plot(x, density, color=BLUE, linewidth=2, label="Normal of mean, variance")
    if (means := _means_of_draws(one)) is not None:
        heights = np.linspace(0.03, 0.12, means.size) * top
        axes.plot(means.ravel(), heights, ".", color="black", ms=4, label="Draws")


def _draw_targets(one: _Numbers, page: _Page) -> None:
    """Draws a line for each target: intervals, mean, and the draws' means."""
    targets = one.mean.shape[1]
    names = page.names_of(targets)
    rejected = one.rejected[0]
    figure = page.open(5.8, 0.32 * targets + 1.1)
    axes, split = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    rows = np.arange(targets)
    for level, (low, high) in _intervals(one).items():
        colors = [(_GREY_BANDS if x else _BANDS)[level] for x in rejected]
        label = f"{level:.0%}"
        axes.barh(rows, high - low, 0.6, low, color=colors, label=label)
    if (means := _means_of_draws(one)) is not None:
        _draw_dots(axes, means[:, 0])
    axes.plot(one.mean[0], rows, "|", color=BLUE, ms=12, mew=2, label="Mean")
    _name_rows(axes, [n + " (unknown)" * bool(x) for n, x in zip(names, rejected)])
    axes.set(xlabel="Target")
    left = one.aleatoric[0]
    split.barh(rows, left, 0.6, color=GREEN, label="Aleatoric")
    split.barh(rows, one.epistemic[0], 0.6, left, color=VERMILION, label="Epistemic")
    _draw_threshold(split, one.rejection)
    split.set(xlabel="Variance")
    for part in (axes, split):
        _tidy_bars(part)
        _legend_above(part)


def _draw_curves(one: _Numbers, page: _Page) -> None:
    """Draws numbers along positions, with bands, axes for each target."""
    mean = one.mean[0].reshape(len(one.mean[0]), -1)
    channels = mean.shape[1]
    lines = min(channels, _MOST_ROWS)
    names = page.names_of(channels) if one.mean.ndim > 2 else ("Target",)
    figure = page.open(5.6, 1.9 * lines + 0.5)
    grid = figure.subplots(lines, 1, sharex=True, squeeze=False)[:, 0]
    at = np.arange(len(mean))
    intervals = _intervals(one)
    means, rejected = _means_of_draws(one), one.rejected[0].reshape(mean.shape)
    for i, axes in enumerate(grid):
        for level, color in _BANDS.items():
            low, high = (x.reshape(mean.shape)[:, i] for x in intervals[level])
            axes.fill_between(at, low, high, color=color, lw=0, label=f"{level:.0%}")
        if means is not None:
            lines_of = means.reshape(len(means), *mean.shape)[..., i]
            alpha = max(0.1, min(0.5, 4 / len(lines_of)))
            axes.plot(at, lines_of.T, color="black", alpha=alpha, linewidth=0.6)
        axes.plot(at, mean[:, i], color=BLUE, linewidth=1.6, label="Mean")
        for j, place in enumerate(np.flatnonzero(rejected[:, i])):
            label = "Unknown" if j == 0 else None
            axes.axvspan(
                place - 0.5, place + 0.5, color=GREY, alpha=0.25, lw=0, label=label
            )
        axes.set_ylabel(names[i])
        tidy(axes)
    grid[-1].set(xlabel="Position", xlim=(0, len(mean) - 1))
    _legend_above(grid[0])
