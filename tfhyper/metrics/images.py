"""How near an image is to another: peak signal-to-noise ratio and SSIM; and luma."""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_finite, check_integer
from tfhyper.luma import luma_of
from tfhyper.metrics._checks import as_array, as_float_array, check_map, check_no_bools

# Wang et al., section III.C: the constants, and the window of 11 x 11 pixels.
_K1, _K2, _SIGMA = 0.01, 0.03, 1.5


def psnr(
    targets: ArrayLike, predicted: ArrayLike, max_value: float = 1.0, border: int = 0
) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, in decibels.

    `psnr = 10 log10(max_value**2 / mean((targets - predicted)**2))`

    with the mean over all numbers of an image. Larger is better.

    Args:
        targets: finite numbers of shape `(batch, ...)`: images, volumes or signals.
        predicted: finite numbers of the same shape, such as the mean of a prediction.
        max_value: the difference between the largest and the least value that images
            can have, above zero: 1 for `[0, 1]`, 255 for bytes.
        border: non-negative integer, pixels at each edge of axes 1 and 2 that do not
            count, as many as the scale in studies of super-resolution.

    Returns:
        float64 of shape `(batch,)`, in decibels; infinity for images that are equal.

    Raises:
        ValueError: if the shapes differ, a number is not finite, `max_value` is not
            above zero, or `border` leaves nothing.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.psnr([[0.0, 1.0]], [[0.1, 0.9]]).round(4).tolist()
        [20.0]
    """
    targets = check_map("targets", targets)
    predicted = check_map("predicted", predicted, targets.shape, "targets")
    largest = _check_max_value(max_value)
    targets, predicted = _without_border(border, targets, predicted)
    squares = np.square(targets - predicted).reshape(len(targets), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return 20 * np.log10(largest) - 10 * np.log10(squares)


def ssim(
    targets: ArrayLike,
    predicted: ArrayLike,
    max_value: float = 1.0,
    window: int = 11,
    border: int = 0,
) -> np.ndarray:
    """Structural similarity of each image, the mean over its places and channels.

    Around each place whose window lies within the image, with means `m`, variances
    `v` and the covariance `c` under a Gaussian window of standard deviation 1.5,

    `ssim = (2 m_x m_y + c1) (2 c + c2) / ((m_x**2 + m_y**2 + c1) (v_x + v_y + c2))`

    where `c1 = (0.01 max_value)**2` and `c2 = (0.03 max_value)**2`. Larger is better.

    Args:
        targets: finite numbers of shape `(batch, height, width)` or `(batch, height,
            width, channels)`.
        predicted: finite numbers of the same shape.
        max_value: the difference between the largest and the least value that images
            can have, above zero: 1 for `[0, 1]`, 255 for bytes.
        window: positive integer, the length in pixels of the sides of the window, at
            most height and width without the border.
        border: non-negative integer, pixels at each edge of height and width that do
            not count, as many as the scale in studies of super-resolution.

    Returns:
        float64 of shape `(batch,)`, in `[-1, 1]` for images of values in `[0,
        max_value]`; 1 for images that are equal.

    Raises:
        ValueError: if the shapes differ or are no images', a number is not finite, the
            window is larger than an image, `max_value` is not above zero, or `border`
            leaves nothing.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Wang et al., "Image quality assessment: from error visibility to structural
        similarity", IEEE Transactions on Image Processing 13, 2004, eq. 13.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> images = np.random.default_rng(0).uniform(size=(1, 16, 16))
        >>> metrics.ssim(images, images).tolist()
        [1.0]
    """
    targets = check_map("targets", targets)
    if targets.ndim not in (3, 4):
        raise ValueError(
            "`targets` must have the axes (batch, height, width) or (batch, height, "
            f"width, channels). Received: targets.shape={targets.shape}"
        )
    predicted = check_map("predicted", predicted, targets.shape, "targets")
    largest = _check_max_value(max_value)
    targets, predicted = _without_border(border, targets, predicted)
    window = check_integer("window", window, 1, min(targets.shape[1:3]))

    places = np.arange(window) - (window - 1) / 2
    weights = np.exp(-np.square(places / _SIGMA) / 2)
    weights /= weights.sum()

    def smooth(values: np.ndarray) -> np.ndarray:
        for axis in (1, 2):
            views = np.lib.stride_tricks.sliding_window_view(values, window, axis)
            values = views @ weights
        return values

    c1, c2 = (_K1 * largest) ** 2, (_K2 * largest) ** 2
    x, y = smooth(targets), smooth(predicted)
    luminance = (2 * x * y + c1) / (x**2 + y**2 + c1)
    covariance = smooth(targets * predicted) - x * y
    variances = smooth(targets**2 + predicted**2) - x**2 - y**2
    similarity = luminance * (2 * covariance + c2) / (variances + c2)
    return similarity.reshape(len(targets), -1).mean(axis=1)


def luma(images: ArrayLike, max_value: float = 1.0) -> np.ndarray:
    """Brightness of colour images, Y of ITU-R BT.601: what studies score.

    `Y = max_value / 255 * (16 + (65.481 R + 128.553 G + 24.966 B) / max_value)`

    as `rgb2ycbcr` of MATLAB has it, and `skimage.color.rgb2ycbcr`: of black it is 16,
    of white 235 of 255. It is not rounded.

    Args:
        images: finite numbers `(..., 3)`: red, green and blue.
        max_value: the largest value that images can have, above zero: 1 for `[0, 1]`,
            255 for bytes.

    Returns:
        float64 of shape `(...)`, in the unit of the images.

    Raises:
        ValueError: if the last axis is not of 3, a number is not finite, or `max_value`
            is not above zero.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.luma([[0, 0, 0], [255, 255, 255]], max_value=255).tolist()
        [16.0, 235.0]
    """
    array = check_no_bools("images", as_array("images", images))
    array = check_finite("images", as_float_array("images", array, np.float64))
    if array.ndim == 0 or array.shape[-1] != 3:
        raise ValueError(
            "`images` must have red, green and blue on the last axis. "
            f"Received: images.shape={array.shape}"
        )
    largest = _check_max_value(max_value)
    return luma_of(array / largest) * largest


def _without_border(border: int, *images: np.ndarray) -> list[np.ndarray]:
    """Returns images without so many pixels at each edge of axes 1 and 2."""
    sizes = images[0].shape[1:3]
    border = check_integer("border", border, 0)
    if border and (len(sizes) < 2 or 2 * border >= min(sizes)):
        raise ValueError(
            "`border` must leave a pixel of height and width. "
            f"Received: border={border}, targets.shape={images[0].shape}"
        )
    inside = slice(border, -border or None)
    return [x[:, inside, inside] if border else x for x in images]


def _check_max_value(value: float) -> float:
    array = check_no_bools("max_value", as_array("max_value", value))
    array = as_float_array("max_value", array, np.float64)
    if array.ndim != 0 or not 1e-100 <= array <= 1e100:
        raise ValueError(
            "`max_value` must be a number above zero, from 1e-100 to 1e100. "
            f"Received: max_value={value!r}"
        )
    return float(array)
