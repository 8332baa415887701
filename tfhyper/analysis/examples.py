"""A figure of the images that a model is most and least certain about."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.analysis._figures import (
    check_class_names,
    check_images,
    draw_image,
    new_figure,
)
from tfhyper.checks import check_numbers, check_positive_integer
from tfhyper.metrics._checks import check_labels, ensemble_probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_COLUMNS = 8


def extreme_examples(
    images: ArrayLike,
    labels: ArrayLike,
    prediction_mean: ArrayLike,
    uncertainty: ArrayLike,
    class_names: Sequence[str] | None = None,
    num: int = 8,
    title: str | None = None,
) -> "Figure":
    """Draws the images that a model is most certain and least certain about.

    Each image carries its true class, its predicted class and its uncertainty; the
    text of a wrong prediction is red. The most certain image comes first in the upper
    block, the least certain first in the lower.

    Args:
        images: numbers in `[0, 1]` (undo any normalisation first) of shape
            `(batch, height, width)`, or `(batch, height, width, channels)` of 1
            (grey) or 3 (RGB) channels.
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        prediction_mean: probabilities of shape `(batch, classes)`, the mean over draws.
        uncertainty: nats, of shape `(batch,)`, larger for the less certain; for
            instance `tfhyper.metrics.predictive_entropy(members)`.
        class_names: one name per class, or `None` to show class indices.
        num: positive integer at most `batch`, the number of images in each block.
        title: text above the figure, or `None`.

    Returns:
        A `matplotlib.figure.Figure` of `2 * num` axes, the most certain `num` first.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if an argument breaks a rule above.
        TypeError: if `labels` are no class indices.

    Example:
        >>> import numpy as np
        >>> from tfhyper import analysis, metrics
        >>> members = np.array([[[0.9, 0.1], [0.6, 0.4]]])
        >>> figure = analysis.extreme_examples(
        ...     np.zeros((2, 28, 28)), [0, 1], members[0],
        ...     metrics.predictive_entropy(members), ["cat", "dog"], num=1)
        >>> print(figure.axes[1].get_title())
        true: dog
        predicted: cat
        0.67 nats
    """
    probs = ensemble_probabilities(prediction_mean, name="prediction_mean")
    batch, classes = probs.shape
    labels = check_labels(labels, batch, classes)
    images = check_images(images, batch)
    uncertainty = _check_uncertainty(uncertainty, batch)
    names = check_class_names(class_names, classes)
    num = check_positive_integer("num", num)
    if num > batch:
        raise ValueError(
            f"`num` must be at most the number of images, {batch}. Received: num={num}"
        )

    order = np.argsort(uncertainty, kind="stable")
    predicted = np.argmax(probs, axis=1)
    columns = min(num, MAX_COLUMNS)
    rows = -(-num // columns)
    figure = new_figure((max(1.35 * columns, 3.0), 2 * (1.8 * rows + 0.3) + 0.3), title)
    blocks = {"Most certain": order[:num], "Least certain": order[::-1][:num]}
    for block, (heading, chosen) in zip(
        figure.subfigures(2, 1, squeeze=False).ravel(), blocks.items()
    ):
        block.suptitle(heading, fontsize=10, fontweight="bold")
        for position, index in enumerate(chosen, start=1):
            axes = block.add_subplot(rows, columns, position)
            draw_image(axes, images[index])
            axes.set_title(
                f"true: {names[labels[index]]}\npredicted: {names[predicted[index]]}\n"
                f"{uncertainty[index]:.2f} nats",
                fontsize=7,
                color="black" if predicted[index] == labels[index] else "red",
            )
    return figure


def _check_uncertainty(uncertainty: ArrayLike, batch: int) -> np.ndarray:
    array = check_numbers("uncertainty", uncertainty)
    if array.shape != (batch,):
        raise ValueError(
            f"`uncertainty` must have the shape (batch,) = ({batch},). "
            f"Received: uncertainty.shape={array.shape}"
        )
    return array
