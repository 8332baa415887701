"""`load_super_resolution`: folders of pictures, and small ones they are made of."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_instance,
    check_integer,
    check_number,
    check_path,
)
from tfhyper.data.pairs import ENDINGS, image_files, read_image, split_files
from tfhyper.data.specs import DatasetSpec
from tfhyper.luma import luma_of

if TYPE_CHECKING:
    from tfhyper.data.pipeline import Data

Colors: TypeAlias = Literal["rgb", "luma"]
COLORS: tuple[Colors, ...] = get_args(Colors)
Folder: TypeAlias = str | os.PathLike
# What scales there are: of networks, and of tests with others.
_LARGEST_SCALE = 16


@dataclasses.dataclass(frozen=True, eq=False)
class PicturePair:
    """A picture, and the small one that a network is to make it of.

    Args:
        path: The file.
        low: uint8 `(height, width, channels)`.
        high: uint8 `(scale height, scale width, channels)`.

    Example:
        >>> high = np.zeros((4, 6, 3), "uint8")
        >>> PicturePair("a.png", reduce_picture(high, 2), high).low.shape
        (2, 3, 3)
    """

    path: str
    low: np.ndarray
    high: np.ndarray


def read_picture(path: str | os.PathLike, colors: Colors = "rgb") -> np.ndarray:
    """Reads a picture of any size.

    A grey picture gets three equal channels, a palette its colours, and an alpha
    channel that is opaque everywhere is left out. One with an EXIF orientation is
    turned, as viewers show it.

    Args:
        path: PNG, JPEG, BMP, GIF, TIFF or WebP, of 8 bits a channel.
        colors: `"rgb"`, or `"luma"` for the brightness alone: Y of ITU-R BT.601, as
            `tfhyper.metrics.luma` has it, rounded to 8 bits.

    Returns:
        uint8 `(height, width, 3)`, or `(height, width, 1)`.

    Raises:
        ImportError: If Pillow is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: For a file that cannot be read; more than 8 bits a channel; CMYK or
            other colours than grey and RGB; transparent pixels; or several frames. The
            message has the file. And for other `colors`.
        TypeError: If `path` is none.

    Example:
        ```python
        picture = data.read_picture("holiday.jpg")
        ```
    """
    path = check_path("path", path)
    check_choice("colors", colors, COLORS)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`path` must be a file. Received: path={path!r}")
    pixels = read_image(path, turn=True)
    if colors == "rgb":
        return pixels
    return _luma(pixels)


def reduce_picture(picture: np.ndarray, scale: int = 2) -> np.ndarray:
    """Returns a picture of 1 / scale of the height and width.

    By the bicubic filter of Pillow, with Keys' parameter of -1/2 and widened by `scale`
    against aliasing, and rounded to 8 bits, as the studies' `imresize` of MATLAB does
    but within two pixels of the edge. Rows at the bottom and columns on the right that
    `scale` does not divide are left out before.

    Args:
        picture: uint8 `(height, width, channels)`, of 1 or 3 channels.
        scale: An integer from 2 to 16, and at most height and width.

    Returns:
        uint8 `(height // scale, width // scale, channels)`.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If a scale is out of its range, or the picture of another shape.
        TypeError: If the picture is not of uint8.

    Example:
        >>> from tfhyper import data
        >>> data.reduce_picture(np.full((6, 9, 3), 7, "uint8"), 3).shape
        (2, 3, 3)
    """
    picture = _check_picture(picture)
    scale = check_integer("scale", scale, 2, _LARGEST_SCALE)
    if min(picture.shape[:2]) < scale:
        raise ValueError(
            f"`picture` must have {scale} rows and columns or more for a scale of "
            f"{scale}. Received: picture.shape={picture.shape}"
        )
    return _reduced(_cut(picture, scale), scale)


def picture_pairs(
    images_dir: Folder | Sequence[Folder], scale: int = 2, colors: Colors = "rgb"
) -> list[PicturePair]:
    """Reads folders of pictures, each with the small one that it is to be made of.

    The small one is `reduce_picture` of what `read_picture` gives, and the large one is
    without the rows and columns that `scale` does not divide. Of `colors="luma"` both
    are the Y of what is in colour, the reduction being in colour too.

    Args:
        images_dir: A folder, or several. Files of other kinds are left alone.
        scale: An integer from 2 to 16.
        colors: `"rgb"` or `"luma"`, as of `read_picture`.

    Returns:
        A `PicturePair` of each file, by folder and name.

    Raises:
        ImportError: If Pillow is not installed.
        FileNotFoundError: If a folder is not there.
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of its range, a folder has no picture, or a
            file is none that `read_picture` reads, or smaller than `scale`.

    Example:
        ```python
        for pair in data.picture_pairs("Set5", scale=3):
            print(pair.path, pair.low.shape, pair.high.shape)
        ```
    """
    scale = check_integer("scale", scale, 2, _LARGEST_SCALE)
    check_choice("colors", colors, COLORS)
    return [
        _read_pair(path, scale, colors) for path in _files("images_dir", images_dir)
    ]


def load_super_resolution(
    images_dir: Folder | Sequence[Folder],
    scale: int = 2,
    *,
    patch: int = 24,
    stride: int | None = None,
    colors: Colors = "rgb",
    test_images_dir: Folder | Sequence[Folder] | None = None,
    test_fraction: float = 0.2,
    batch_size: int = 16,
    augment: bool = True,
    seed: int = 0,
) -> Data:
    """Loads folders of pictures as `tf.data` pipelines, for super-resolution.

    Each picture is reduced (`picture_pairs`), and both are cut into patches: of `patch`
    x `patch` pixels of the small one, and `scale` times that of the large one. What a
    row of patches leaves over at the edge is in none. All are held in memory, a byte
    for each channel of a pixel. Training patches are turned and mirrored, both alike:
    one of the eight symmetries of a square.

    Networks of `tfhyper.models.SUPER_RESOLVERS` learn of patches and enlarge pictures
    of any size; `picture_pairs` has whole ones to score them by.

    Args:
        images_dir: A folder of pictures of any sizes, or several folders: PNG, JPEG,
            BMP, GIF, TIFF or WebP, grey or RGB, 8 bits a channel.
        scale: How many times as many rows and columns, an integer from 2 to 16.
        patch: Side of a patch of the small picture, in pixels; a positive integer.
        stride: Pixels of the small picture from a patch to the next; a positive
            integer. `None`: `patch`, so that none overlap.
        colors: `"rgb"`, three channels, or `"luma"`, one: see `read_picture`.
        test_images_dir: Folder of the pictures to test on, or several. `None`: they are
            drawn from the others.
        test_fraction: Fraction of the pictures to test on where that is `None`, drawn
            by `seed` (`split_rows`), in 0 < test_fraction < 1.
        batch_size: Patches in a batch; a positive integer.
        augment: Whether training patches are turned and mirrored. They are shuffled
            either way.
        seed: Seed of order, augmentation and the test pictures; an integer from 0 to
            2 ** 31 - 1.

    Returns:
        A `Data` of small patches, float32 in 0 to 1, whose labels are the large ones.

    Raises:
        ImportError: If Pillow is not installed.
        FileNotFoundError: If a folder is not there.
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of its range, and as `picture_pairs`; or if
            no training picture, or none to test on, holds a patch.

    Example:
        ```python
        data = load_super_resolution("photos", scale=2, test_images_dir="Set5")
        model.fit(data.train, epochs=10)
        ```
    """
    scale = check_integer("scale", scale, 2, _LARGEST_SCALE)
    patch = check_integer("patch", patch, 1)
    stride = patch if stride is None else check_integer("stride", stride, 1)
    check_choice("colors", colors, COLORS)
    check_number("test_fraction", test_fraction, positive=True, below=1)
    batch_size = check_integer("batch_size", batch_size, 1)
    check_bool("augment", augment)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    files = _files("images_dir", images_dir)
    if test_images_dir is not None:
        test_files = _files("test_images_dir", test_images_dir)
    else:
        files, test_files = split_files(
            files, "pictures", images_dir, seed, test_fraction
        )
    parts = {
        part: _patches(paths, scale, patch, stride, colors)
        for part, paths in (("train", files), ("test", test_files))
    }
    shape = parts["train"][0].shape[1:]
    first = images_dir if isinstance(images_dir, str | os.PathLike) else images_dir[0]
    spec = DatasetSpec(
        name=os.path.basename(os.path.normpath(os.fsdecode(first))),
        image_shape=shape,
        num_classes=0,
        mean=(0.0,) * shape[-1],
        std=(1.0,) * shape[-1],
        flip=True,
    )
    # Not at the top: these need TensorFlow, and files are read without it.
    from tfhyper.data import streams
    from tfhyper.data.pipeline import of_streams

    def stream(part: str) -> Any:
        low, high = parts[part]
        return streams.Stream(
            spec,
            streams.from_memory(low, high, batch_size),
            len(low),
            batch_size,
            augment and part == "train",
            seed,
            prepare=streams.of_pictures,
        )

    return of_streams(stream("train"), stream("test"))


def _files(name: str, folders: Any) -> list[str]:
    """Returns the pictures of a folder or several, each with one or more."""
    rule = "a folder, or a list of folders"
    check_instance(name, folders, str | os.PathLike | list | tuple, rule)
    several = folders if isinstance(folders, list | tuple) else [folders]
    if not several:
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={folders!r}")
    found = []
    for folder in several:
        paths = image_files(name, folder)
        if not paths:
            raise ValueError(
                f"`{name}` must hold pictures ({', '.join(ENDINGS)}). "
                f"Received: {name}={os.fsdecode(folder)!r} without any"
            )
        found += paths
    return found


def _read_pair(path: str, scale: int, colors: Colors) -> PicturePair:
    pixels = read_picture(path)
    height, width = pixels.shape[:2]
    if min(height, width) < scale:
        raise ValueError(
            f"{path} must have {scale} rows and columns or more for a scale of {scale}."
            f" Received: {height} x {width} (height x width)"
        )
    high = _cut(pixels, scale)
    pair = (_reduced(high, scale), high)
    if colors == "luma":
        return PicturePair(path, *map(_luma, pair))
    return PicturePair(path, *pair)


def _luma(pixels: np.ndarray) -> np.ndarray:
    return np.rint(luma_of(pixels / 255)[..., None] * 255).astype(np.uint8)


def _patches(
    files: Sequence[str], scale: int, patch: int, stride: int, colors: Colors
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the patches of small and of large pictures, both with the patch first."""
    lows: list[np.ndarray] = []
    highs: list[np.ndarray] = []
    for path in files:
        pair = _read_pair(path, scale, colors)
        rows, columns = (
            range(0, size - patch + 1, stride) for size in pair.low.shape[:2]
        )
        for i in rows:
            for j in columns:
                for found, pixels, factor in (
                    (lows, pair.low, 1),
                    (highs, pair.high, scale),
                ):
                    side = slice(i * factor, (i + patch) * factor)
                    other = slice(j * factor, (j + patch) * factor)
                    found.append(pixels[side, other])
    if not lows:
        raise ValueError(
            "`patch` must fit into a small picture, both of the training and of the "
            f"test pictures. Received: patch={patch}, scale={scale}, and "
            f"{files[0]} and {len(files) - 1} more without one"
        )
    return np.stack(lows), np.stack(highs)


def _cut(pixels: np.ndarray, scale: int) -> np.ndarray:
    height, width = (size - size % scale for size in pixels.shape[:2])
    return pixels[:height, :width]


def _reduced(pixels: np.ndarray, scale: int) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pictures are reduced by Pillow, which is not installed: pip install pillow"
        ) from error

    height, width, channels = pixels.shape
    image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    size = (width // scale, height // scale)  # Pillow has the width first
    small = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
    return small.reshape(size[1], size[0], channels)


def _check_picture(picture: Any) -> np.ndarray:
    array = picture if isinstance(picture, np.ndarray) else np.empty(0)
    if array.dtype != np.uint8:
        raise TypeError(
            "`picture` must be an array of uint8, 0 to 255. "
            f"Received: picture={picture!r}"
        )
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise ValueError(
            "`picture` must have the axes (height, width, channels), with 1 or 3 "
            f"channels. Received: picture.shape={array.shape}"
        )
    return array
