"""Blur: each pixel out of its neighbours."""

import math

import numpy as np

# The disc of `defocus_blur` is drawn on so many pixels to each side, at least.
_DISC_SIDE = 8


def defocus_blur(
    image: np.ndarray, numbers: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns x convolved with a disc, whose edge is softened by a Gaussian.

    Args:
        image: (height, width, channels).
        numbers: the radius of the disc, and the deviation of the Gaussian.
        rng: draws nothing.
    """
    from scipy import ndimage

    radius, soft = numbers
    side, reach = (_DISC_SIDE, 1) if radius <= _DISC_SIDE else (int(radius), 2)
    line = np.arange(-side, side + 1)
    disc = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    tap = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * soft**2))
    edge = np.outer(tap, tap) / tap.sum() ** 2
    disc = ndimage.convolve(disc / disc.sum(), edge, mode="mirror")
    return ndimage.convolve(image, disc[..., None], mode="mirror")


def glass_blur(
    image: np.ndarray, numbers: tuple[float, int, int], rng: np.random.Generator
) -> np.ndarray:
    """Returns x with pixels that changed places with near ones, blurred before, after.

    Args:
        image: (height, width, channels).
        numbers: deviation of the blur, farthest move, how often all pixels move.
        rng: draws the moves.
    """
    sigma, reach, times = numbers
    found = blurred(image, sigma)
    height, width, _ = image.shape
    rows = range(height - reach, reach, -1)
    columns = range(width - reach, reach, -1)
    for _ in range(times):
        moves = rng.integers(-reach, reach, (len(rows), len(columns), 2)).tolist()
        for row, of_row in zip(rows, moves, strict=True):
            for column, (down, right) in zip(columns, of_row, strict=True):
                here, there = (row, column), (row + down, column + right)
                # A copy: rows of an array are views of it.
                held = found[here].copy()
                found[here] = found[there]
                found[there] = held
    return blurred(found, sigma)


def motion_blur(
    image: np.ndarray, numbers: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns x blurred along a line, of -45 to 45 degrees.

    Args:
        image: (height, width, channels).
        numbers: radius and deviation, see `streaked`.
        rng: draws the angle.
    """
    return streaked(image, *numbers, rng.uniform(-45, 45))


def zoom_blur(
    image: np.ndarray, numbers: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns the mean of x and of x enlarged about its middle by several factors.

    Args:
        image: (height, width, channels).
        numbers: the factors go from 1 to below the first, in steps of the second.
        rng: draws nothing.
    """
    factors = np.arange(1, *numbers)
    total = image + sum(enlarged(image, float(factor)) for factor in factors)
    return total / (len(factors) + 1)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Returns an image blurred by a Gaussian of a deviation in pixels."""
    from scipy import ndimage

    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def streaked(
    image: np.ndarray, radius: float, sigma: float, degrees: float
) -> np.ndarray:
    """Returns an image blurred along a line to one side, as ImageMagick does it.

    sum_i k_i x(p + i d), with k_i proportional to exp(-i^2 / (2 sigma^2)) for i up to
    2 radius, d of length 1, and whole pixels; beyond the edge is what is at the edge.

    Args:
        image: (height, width, channels).
        radius: half of the length, in pixels.
        sigma: deviation, in pixels.
        degrees: the angle of d.
    """
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = math.radians(degrees)
    right = np.ceil(steps * math.cos(angle) - 0.5).astype(int)
    down = np.ceil(steps * math.sin(angle) - 0.5).astype(int)
    height, width, _ = image.shape
    rows, columns = np.arange(height), np.arange(width)
    found = np.zeros_like(image)
    for weight, dy, dx in zip(weights / weights.sum(), down, right, strict=True):
        row = np.clip(rows + dy, 0, height - 1)
        column = np.clip(columns + dx, 0, width - 1)
        found += weight * image[row[:, None], column]
    return found


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    """Returns the middle of an image, enlarged to its size by linear interpolation."""
    from scipy import ndimage

    sizes = image.shape[:2]
    cut = [math.ceil(size / factor) for size in sizes]
    top, left = ((size - n) // 2 for size, n in zip(sizes, cut, strict=True))
    middle = image[top : top + cut[0], left : left + cut[1]]
    found = ndimage.zoom(middle, (factor, factor, 1), order=1)
    top, left = ((n - size) // 2 for n, size in zip(found.shape, sizes, strict=False))
    return found[top : top + sizes[0], left : left + sizes[1]]
