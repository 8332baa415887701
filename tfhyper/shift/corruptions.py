"""Images made worse, by the name of a kind and a severity."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_choice, check_function, check_integer, check_numbers
from tfhyper.shift.registry import CORRUPTIONS, SEVERITIES

# The least side of an image, in pixels: JPEG's blocks, and a third of a side to move.
_LEAST_SIDE = 8
_NO_CHANNELS, _CHANNELS = 3, 4


def corrupt(
    images: ArrayLike, kind: str, severity: int = 3, seed: int = 0
) -> np.ndarray:
    """Returns images made worse in a named way: their labels stay what they are.

    The 15 kinds of `CORRUPTIONS`, by their definitions, with the numbers that small and
    large images have in CIFAR-10-C and ImageNet-C. What differs from the published
    files: pixels of `glass_blur` change places (in the published code one of two is
    lost); `frost` is drawn, as its photographs are not here; grey images have the same
    done to their one channel. The squared distance from the image grows with the
    severity, but for `glass_blur`, `frost` and `elastic_transform` (of large images
    `snow` and `fog`, of some sizes `pixelate`, too), by whose published numbers an
    image may look worse and have pixels that differ less.

    Args:
        images: (batch, height, width) of grey images or (batch, height, width,
            channels) with 1 or 3 channels, red, green and blue: floats in [0, 1], not
            normalised, or uint8. Both sides have 8 pixels or more.
        kind: a name of `CORRUPTIONS`.
        severity: integer from 1 to 5.
        seed: integer in `[0, 2**31)`. What is drawn for an image depends on it, on the
            kind and on the image's place among `images`, and not on the severity.

    Returns:
        An array of the shape and the type of `images`, in the same range.

    Raises:
        ValueError: for images of other axes or out of range, an unknown kind, or a
            number out of range.
        TypeError: for images that are no real numbers.
        ImportError: for "pixelate" and "jpeg_compression" without Pillow.

    Example:

    >>> images = np.full((2, 28, 28, 1), 0.5)
    >>> noisy = tfhyper.shift.corrupt(images, "gaussian_noise", severity=5)
    >>> noisy.shape, round(float(noisy.std()), 1)
    ((2, 28, 28, 1), 0.1)

    Reference:
        Hendrycks, Dietterich: Benchmarking neural network robustness to common
        corruptions and perturbations, ICLR 2019.
    """
    array = _check_images(images)
    check_choice("kind", kind, CORRUPTIONS)
    severity = check_integer("severity", severity, *SEVERITIES[:: len(SEVERITIES) - 1])
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    found = np.empty_like(array)
    number = zlib.crc32(kind.encode())
    for place, image in enumerate(array):
        rng = np.random.default_rng([seed, number, place])
        scaled = image.astype(np.float64).reshape(*image.shape[:2], -1)
        if array.dtype == np.uint8:
            worse = np.rint(CORRUPTIONS[kind](scaled / 255, severity, rng) * 255)
        else:
            worse = CORRUPTIONS[kind](scaled, severity, rng)
        found[place] = worse.reshape(image.shape)
    return found


def corruptions(
    images: ArrayLike,
    kinds: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    *,
    seed: int = 0,
    prepare: Callable[[np.ndarray], Any] | None = None,
) -> dict[str, dict[int, Callable[[], Any]]]:
    """Returns test images under many corruptions, as `tfhyper.evaluate` takes them.

    Each is made when its function is called, so that not all are held at once.

    Args:
        images: as of `corrupt`, of which `evaluate` has the labels.
        kinds: names of `CORRUPTIONS`; `None` for all 15.
        severities: integers from 1 to 5.
        seed: as of `corrupt`.
        prepare: function of corrupted images that gives what networks take: the
            normalisation of the training; `None` for the images themselves.

    Returns:
        Kind -> severity -> a function without arguments that gives the inputs.

    Raises:
        ValueError: as `corrupt`, and for no kind or severity.
        TypeError: for images that are no real numbers, or `prepare` that is no
            function.

    Example:

    >>> images = np.zeros((2, 28, 28, 1), "uint8")
    >>> made = tfhyper.shift.corruptions(
    ...     images, ["fog", "snow"], [1, 5], prepare=lambda x: x / 255 - 0.5
    ... )
    >>> made["snow"][5]().shape
    (2, 28, 28, 1)
    """
    array = _check_images(images)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    if prepare is not None:
        check_function("prepare", prepare)
    named, degrees = chosen(kinds, severities, CORRUPTIONS)

    def made(kind: str, severity: int) -> Any:
        found = corrupt(array, kind, severity, seed)
        return found if prepare is None else prepare(found)

    return {
        kind: {n: functools.partial(made, kind, n) for n in degrees} for kind in named
    }


def chosen(
    kinds: Sequence[str] | None, severities: Sequence[int], known: Mapping[str, Any]
) -> tuple[list[str], list[int]]:
    """Returns kinds, all that are known for `None`, and severities, as they should be.

    Raises:
        ValueError: for others, or none.
    """
    named = _several("kinds", list(known) if kinds is None else kinds)
    degrees = _several("severities", severities)
    for kind in named:
        check_choice("kinds", kind, known)
    for severity in degrees:
        check_choice("severities", severity, SEVERITIES)
    return named, degrees


def _several(name: str, value: Any) -> list[Any]:
    """Returns a sequence as a list; raises ValueError for an empty one or none."""
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
    if not is_sequence or not len(value):
        raise ValueError(
            f"`{name}` must be a sequence of one or more. Received: {name}={value!r}"
        )
    return list(value)


def _check_images(images: ArrayLike) -> np.ndarray:
    check_numbers("images", images)
    array = np.asarray(images)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise TypeError(
            "`images` must hold floats in [0, 1] or uint8. "
            f"Received: images of the dtype {array.dtype}"
        )
    grey = array.ndim == _NO_CHANNELS
    if not grey and not (array.ndim == _CHANNELS and array.shape[-1] in (1, 3)):
        raise ValueError(
            "`images` must have the axes (batch, height, width), or those and 1 or 3 "
            f"channels. Received: images.shape={array.shape}"
        )
    if not len(array) or min(array.shape[1:3]) < _LEAST_SIDE:
        raise ValueError(
            f"`images` must be one or more, of {_LEAST_SIDE} pixels or more to each "
            f"side. Received: images.shape={array.shape}"
        )
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # NaN is neither.
            raise ValueError(
                "`images` must lie in [0, 1]; undo any normalisation first. "
                f"Received: images from {low} to {high}"
            )
    return array
