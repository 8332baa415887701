"""A figure of what a network says of each pixel, and how sure it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import (
    check_class_names,
    check_images,
    class_colors,
    draw_image,
    figure_for,
)
from tfhyper.checks import check_instance, check_integer
from tfhyper.metrics._checks import check_labels
from tfhyper.posterior import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_HEADINGS = ("Image", "Truth", "Prediction", "Error", "Aleatoric", "Epistemic")
_RIGHT_AND_WRONG = ["#E6E6E6", "black"]


def segmentation_map(
    images: ArrayLike,
    labels: ArrayLike,
    prediction: Prediction,
    class_names: Sequence[str] | None = None,
    examples: Sequence[int] = (0,),
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws maps of classes with their truth, their error and their uncertainty.

    Six panels for each example: the image, the true classes, the predicted ones, where
    these two differ, and aleatoric and epistemic uncertainty. The panels of one example
    stand in two lines of three, those of several in a line for each. All examples share
    one legend, of the classes that occur in them, and one colour scale of both
    uncertainties, in nats from 0 to the largest.

    Pixels whose label is `prediction.ignore_class` (void) are blank in all panels but
    the image, for they count in no score. Pixels that a rejection leaves unknown are
    blank in prediction and error.

    For the uncertainty of a plane of two inputs see `uncertainty_map`.

    Args:
        images: numbers in `[0, 1]` (undo any normalisation first) of shape
            `(batch, height, width)`, or `(batch, height, width, channels)` of 1
            (grey) or 3 (RGB) channels. Their height and width may be others than those
            of the maps.
        labels: class indices `(batch, height, width)`, or with an axis of 1 behind
            these, each in `[0, classes)` or `prediction.ignore_class`; or one-hot rows
            `(batch, height, width, classes)`.
        prediction: what `predict` gives of a network of maps, with a mean of shape
            `(batch, height, width, classes)`; members need not be kept.
        class_names: one name per class, or `None` to show class indices.
        examples: which of the batch are drawn, integers in `[0, batch)`.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure: six axes of panels for each example, then that of the colour bar.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.
        TypeError: if `prediction` is no `tfhyper.Prediction`, or `labels` are no class
            indices.

    Reference:
        Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for
        computer vision?", NIPS 2017, figure 1.

    Example:
        >>> import keras, tfhyper
        >>> import numpy as np
        >>> from tfhyper import analysis
        >>> model = keras.Sequential([
        ...     keras.Input((8, 8, 3)),
        ...     tfhyper.layers.BayesConv2D(2, 1, kl_weight=0.1, seed=0)])
        >>> images = np.random.default_rng(0).uniform(size=(1, 8, 8, 3))
        >>> labels = (images[..., 0] > 0.5).astype(int)
        >>> labels[:, 0] = 255
        >>> predictor = tfhyper.PosteriorPredictor(model, 4, ignore_class=255)
        >>> figure = analysis.segmentation_map(
        ...     images, labels, predictor.predict(images), ["dark", "bright"])
        >>> [axes.get_title() for axes in figure.axes[:4]]
        ['Image', 'Truth', 'Prediction', 'Error']
    """
    check_instance("prediction", prediction, Prediction, "a `tfhyper.Prediction`")
    shape = prediction.mean.shape
    if len(shape) != 4:
        raise ValueError(
            "`prediction` must be of maps, with a mean of the axes (batch, height, "
            f"width, classes). Received: prediction.mean.shape={shape}"
        )
    *axes_of_maps, classes = shape
    images = check_images(images, len(prediction.mean))
    void = prediction.ignore_class
    truth = check_labels(labels, tuple(axes_of_maps), classes, ignore_class=void)
    names = check_class_names(class_names, classes)
    chosen = _check_examples(examples, len(prediction.mean))

    rejected = prediction.rejected[chosen]
    images, truth, label = images[chosen], truth[chosen], prediction.label[chosen]
    is_void = np.zeros(truth.shape, bool) if void is None else truth == void
    unknown = is_void | rejected
    aleatoric, epistemic = prediction.aleatoric[chosen], prediction.epistemic[chosen]
    # In the order of the headings behind the image.
    panels = [
        np.ma.masked_array(truth, is_void),
        np.ma.masked_array(label, unknown),
        np.ma.masked_array(label != truth, unknown),
        np.ma.masked_array(aleatoric, is_void),
        np.ma.masked_array(epistemic, is_void),
    ]
    occurring = np.union1d(truth[~is_void], label[~unknown])
    nats = np.stack([aleatoric, epistemic])[:, ~is_void]
    largest = float(np.max(nats, initial=0.0))

    alone = len(chosen) == 1
    lines, columns, inches = (2, 3, 2.6) if alone else (len(chosen), 6, 1.9)
    height, width = axes_of_maps[1:]
    high = min(max(height / width, 0.3), 3.0) * inches + 0.3
    figure = figure_for(figure, (inches * columns + 0.8, high * lines + 0.6), title)
    grid = figure.subplots(lines, columns, squeeze=False).reshape(len(chosen), 6)
    # Not at the top: matplotlib is imported when something is drawn.
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colors = class_colors(classes)
    of_classes = {"cmap": ListedColormap(colors), "vmin": -0.5, "vmax": classes - 0.5}
    of_errors = {"cmap": ListedColormap(_RIGHT_AND_WRONG), "vmin": 0, "vmax": 1}
    of_nats = {"cmap": "viridis", "vmin": 0.0, "vmax": largest if largest > 0 else 1.0}
    looks: list[dict[str, Any]] = [of_classes, of_classes, of_errors, of_nats, of_nats]
    for position, row in enumerate(grid):
        draw_image(row[0], images[position])
        for axes, values, look in zip(row[1:], panels, looks, strict=True):
            # A mean of two classes would be a third one.
            shown = axes.imshow(values[position], interpolation="nearest", **look)
            axes.set(xticks=[], yticks=[])
    for axes, heading in zip(grid[0], _HEADINGS, strict=True):
        axes.set_title(heading, fontsize=9)
    # Beside all panels, so that the lines stay as wide as each other.
    figure.colorbar(shown, ax=list(grid.flat), label="nats", fraction=0.03, pad=0.01)
    figure.legend(
        handles=[Patch(color=colors[c], label=names[c]) for c in occurring],
        loc="outside lower center",
        ncols=min(len(occurring), columns + 1) or 1,
        frameon=False,
        fontsize=8,
    )
    return figure


def _check_examples(examples: Sequence[int], batch: int) -> list[int]:
    """Returns which examples are drawn.

    Raises:
        ValueError: if there are none, or one is no integer in `[0, batch)`.
        TypeError: if they are no sequence.
    """
    kinds = (list, tuple, range, np.ndarray)
    check_instance("examples", examples, kinds, "a sequence of integers")
    chosen = [check_integer("examples", i, 0, batch - 1) for i in examples]
    if not chosen:
        raise ValueError(
            f"`examples` must name one example or more. Received: examples={examples!r}"
        )
    return chosen
