"""Digital: what cameras, files and screens do to an image."""

import io
from typing import Any

import numpy as np


def brightness(
    image: np.ndarray, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns x whose value, of hue, saturation and value, is larger by an amount.

    The value of a pixel is its largest channel; hue and saturation stay as they are
    where all channels are multiplied alike.
    """
    value = image.max(axis=-1, keepdims=True)
    larger = np.minimum(value + amount, 1.0)
    black = value == 0
    return np.where(black, larger, image * larger / np.where(black, 1.0, value))


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Returns m + factor (x - m), m the mean of each channel."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return mean + factor * (image - mean)


def elastic_transform(
    image: np.ndarray, numbers: tuple[float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """Returns x moved by a random affine map, and then pixel by pixel.

    Args:
        image: (height, width, channels).
        numbers: how far pixels move, how smoothly that changes (the deviation of a
            Gaussian), and how far three points are moved that make the affine map, as
            parts of the shorter side.
        rng: draws both.
    """
    from scipy import ndimage

    height, width, _ = image.shape
    amount, smooth, far = (min(height, width) * x for x in numbers)
    centre = np.array([height // 2, width // 2], float)
    third = min(height, width) // 3
    points = centre + third * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + rng.uniform(-far, far, points.shape)
    # Where each pixel comes from: the map that takes the moved points back.
    back = np.linalg.solve(np.c_[moved, np.ones(3)], points)
    grid = np.moveaxis(np.mgrid[:height, :width], 0, -1).astype(float)
    found = _looked_up(image, grid @ back[:2] + back[2], "mirror")
    noise = rng.uniform(-1, 1, (2, height, width))
    near = [amount * ndimage.gaussian_filter(x, smooth, truncate=3.0) for x in noise]
    return _looked_up(found, grid + np.stack(near, axis=-1), "reflect")


def pixelate(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Returns x made smaller by a factor, and as large as before, both by boxes.

    By Pillow, in 8 bits.
    """
    pillow = _pillow()
    picture = _picture(image)
    small = picture.resize([int(n * factor) for n in picture.size], pillow.BOX)
    return _values(small.resize(picture.size, pillow.BOX), image.shape)


def jpeg_compression(
    image: np.ndarray, quality: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns x after it was a JPEG file of a quality, by Pillow, in 8 bits."""
    file = io.BytesIO()
    _picture(image).save(file, "JPEG", quality=quality)
    return _values(_pillow().open(file), image.shape)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as missing:
        raise ImportError(
            "Pixelated images and JPEGs are made by Pillow, which is not installed: "
            "pip install pillow"
        ) from missing
    return Image


def _picture(image: np.ndarray) -> Any:
    pixels = np.rint(image * 255).astype(np.uint8)
    return _pillow().fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _values(picture: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(picture).reshape(shape) / 255.0


def _looked_up(image: np.ndarray, places: np.ndarray, mode: str) -> np.ndarray:
    """Returns an image at places (height, width, 2), interpolated linearly."""
    from scipy import ndimage

    rows_columns = np.moveaxis(places, -1, 0)
    channels = [
        ndimage.map_coordinates(image[..., i], rows_columns, order=1, mode=mode)
        for i in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)
