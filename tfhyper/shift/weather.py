"""Weather: snow, frost and fog between the image and the one who looks.

The frost of the study is cut out of six photographs. Here it is drawn: feathers of ice
on a cloudy pane (`ice`). Its figures are not to be compared with published ones.
"""

import math

import numpy as np

from tfhyper.shift.blur import enlarged, streaked

# The lightness of colours, as ITU-R BT.601 has it, and the colour of ice.
_LIGHTNESS = (0.299, 0.587, 0.114)
_ICE = (0.86, 0.94, 1.0)
# Feathers of ice: how many of the pixels they start from, and their angles, degrees.
_SEEDS, _ANGLES = 0.03, (-75, -45, -15, 15, 45, 75)
# How much of the pane is cloud, and how fast its clouds become finer.
_CLOUD, _CLOUD_DECAY = 0.5, 1.6


def snow(
    image: np.ndarray, numbers: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Returns x whitened, with flakes that fall, and those turned by half a turn.

    Args:
        image: (height, width, channels).
        numbers: mean and deviation of the noise that flakes are made of, by how much
            it is enlarged, from where on it is a flake, radius and deviation of its
            fall, and the part of x that is not whitened.
        rng: draws the noise and the angle.
    """
    mean, deviation, factor, least, radius, sigma, kept = numbers
    noise = mean + deviation * rng.standard_normal(image.shape[:2])
    layer = enlarged(noise[..., None], factor)
    layer = np.clip(np.where(layer < least, 0.0, layer), 0, 1)
    layer = streaked(layer, radius, sigma, rng.uniform(-135, -45))
    white = np.maximum(image, 1.5 * _grey(image) + 0.5)
    found = kept * image + (1 - kept) * white
    return found + layer + np.rot90(layer, 2)


def frost(
    image: np.ndarray, numbers: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns a x + b ice, see `ice`.

    Args:
        image: (height, width, channels).
        numbers: a and b.
        rng: draws the ice.
    """
    own, other = numbers
    pane = ice(image.shape[0], image.shape[1], rng)[..., None]
    color = np.array(_ICE) if image.shape[-1] == 3 else np.mean(_ICE)
    return own * image + other * pane * color


def fog(
    image: np.ndarray, numbers: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns (x + a clouds) m / (m + a), m the largest value of x.

    Args:
        image: (height, width, channels).
        numbers: a, and how much finer clouds are fainter, see `clouds`.
        rng: draws the clouds.
    """
    amount, decay = numbers
    largest = image.max()
    if largest == 0:
        return image
    height, width, _ = image.shape
    found = image + amount * clouds(height, width, decay, rng)[..., None]
    return found * largest / (largest + amount)


def clouds(
    height: int, width: int, decay: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns plasma, (height, width) in [0, 1], by the diamond-square algorithm.

    A grid that closes on itself is refined: a new point is the mean of its four
    neighbours and a uniform number, whose range falls by decay^2 with each halving.

    Reference:
        Fournier, Fussell, Carpenter: Computer rendering of stochastic models,
        Communications of the ACM 25(6), 1982.
    """
    side = 1 << max(1, math.ceil(math.log2(max(height, width))))
    grid, spread, step = np.zeros((side, side)), 1.0, side
    while step > 1:
        half = step // 2
        corners = grid[::step, ::step]
        beside = corners + np.roll(corners, -1, 1)
        middle = _near(beside + np.roll(beside, -1, 0), spread, rng)
        grid[half::step, half::step] = middle
        above = middle + np.roll(middle, 1, 0) + corners + np.roll(corners, -1, 1)
        grid[::step, half::step] = _near(above, spread, rng)
        left = middle + np.roll(middle, 1, 1) + corners + np.roll(corners, -1, 0)
        grid[half::step, ::step] = _near(left, spread, rng)
        step, spread = half, spread / decay**2
    grid -= grid.min()
    return grid[:height, :width] / grid.max()


def ice(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a frozen pane, (height, width) in [0, 1]: feathers on clouds."""
    size = max(height, width)
    starts = (rng.random((height, width)) < _SEEDS) * rng.random((height, width))
    feathers = np.zeros((height, width))
    for degrees in _ANGLES:
        angle = degrees + rng.uniform(-10, 10)
        grown = streaked(starts[..., None], size / 6, size / 10, angle)[..., 0]
        feathers = np.maximum(feathers, grown)
    feathers = np.sqrt(feathers / max(feathers.max(), 1e-6))
    pane = clouds(height, width, _CLOUD_DECAY, rng)
    return _CLOUD * pane + (1 - _CLOUD) * feathers


def _near(total: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    return total / 4 + spread * rng.uniform(-1, 1, total.shape)


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.shape[-1] == 1 else (image @ _LIGHTNESS)[..., None]
