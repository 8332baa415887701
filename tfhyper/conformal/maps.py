"""Maps, whose pixels are not independent: what MAPIE's control of risks takes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfhyper.checks import check_instance, check_integer, check_positive_integer
from tfhyper.conformal.labelled import Labelling
from tfhyper.tensor_types import Structure


def map_probabilities(
    predictor: Any, channel: int = 0, batch_size: int = 128
) -> Callable[[Structure], np.ndarray]:
    """Returns the function that MAPIE's `SemanticSegmentationController` takes.

    The pixels of an image are not independent of each other, so that a set for each of
    them has no guarantee: `conformal_sets` refuses maps. What can be controlled is a
    risk of whole images. MAPIE chooses the probability from which on a pixel counts as
    one of a class, such that the recall of a new image, the fraction of the pixels of
    that class that are found, is at least as large as is asked: in the mean
    (`method="crc"`), or with a stated confidence (`"rcps"`); or its precision
    (`risk="precision"`). That is for one class, and images that show it.

    The controller takes masks of calibration images as rows, 0 or 1 (examples, height
    times width), and gives bools (examples, levels, height, width). It holds the
    predictor; no file of a predictor holds what it finds.

    Args:
        predictor: a `PosteriorPredictor` or `DeepEnsemble` of classes or labels of each
            pixel, (examples, height, width, channels).
        channel: int, the class or the label, by its place in the last axis.
        batch_size: int > 0, of the images that predict together.

    Returns:
        A function of inputs that gives probabilities (examples, 1, height, width).

    Raises:
        TypeError: for something that is no predictor.
        ValueError: for one of something else than maps, or a channel out of range.

    Example:

    >>> from mapie.risk_control import SemanticSegmentationController
    >>> from tfhyper import conformal
    >>> inputs = keras.Input((8, 8, 1))
    >>> pixels = tfhyper.layers.HyperConv2D(2, 1)(inputs)
    >>> mapper = tfhyper.PosteriorPredictor(keras.Model(inputs, pixels), num_draws=2)
    >>> controller = SemanticSegmentationController(
    ...     conformal.map_probabilities(mapper, channel=1),
    ...     target_level=0.8,
    ...     risk="recall",
    ... )
    >>> images = np.random.default_rng(0).normal(size=(20, 8, 8, 1))
    >>> masks = images[..., 0] > 1
    >>> controller = controller.calibrate(images, masks.reshape(20, -1))
    >>> found = controller.predict(images)
    >>> found.shape, bool(found[:, 0][masks].mean() > 0.7)
    ((20, 1, 8, 8), True)

    Reference:
        Bates, Angelopoulos, Lei, Malik, Jordan: Distribution-free, risk-controlling
        prediction sets, JACM 2021. Angelopoulos, Bates, Fisch, Lei, Schuster:
        Conformal risk control, ICLR 2024.
    """
    rule = "a PosteriorPredictor or a DeepEnsemble"
    check_instance("predictor", predictor, Labelling, rule)
    check_positive_integer("batch_size", batch_size)
    shapes = predictor.task.shapes
    if not predictor.task.decides or len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            "`predictor` must be one of classes or labels of pixels, with an output "
            "(examples, height, width, channels). "
            f"Received: outputs={predictor.outputs!r} of the shapes {shapes}"
        )
    place = check_integer("channel", channel, 0, shapes[0][-1] - 1)

    def predict(inputs: Structure) -> np.ndarray:
        found = predictor.predict(inputs, batch_size, keep_members=False, verbose=0)
        return found.mean[:, None, ..., place]

    return predict
