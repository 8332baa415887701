"""Noise: each value by itself. Images are float64 (height, width, channels) in [0, 1].

What a function returns is cut to [0, 1] by `Corruption`.
"""

import numpy as np


def gaussian_noise(
    image: np.ndarray, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns x + scale n, n normal."""
    return image + scale * rng.standard_normal(image.shape)


def shot_noise(
    image: np.ndarray, photons: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns Poisson(photons x) / photons."""
    return rng.poisson(image * photons) / photons


def impulse_noise(
    image: np.ndarray, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns x, of which a fraction of the values is 0 or 1, as many of each."""
    chosen, value = rng.random(image.shape), rng.random(image.shape)
    return np.where(chosen < amount, np.where(value < 0.5, 0.0, 1.0), image)
