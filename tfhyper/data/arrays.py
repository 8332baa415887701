"""`load_arrays`: a data set as NumPy arrays; and what `load` shares with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfhyper.checks import check_integer, check_numbers
from tfhyper.data import sources
from tfhyper.data.specs import DatasetSpec

if TYPE_CHECKING:
    from tfhyper.data.segmentation import PairSource

# Examples that the statistics of a set without known ones are taken from.
_STATISTICS_EXAMPLES = 10_000

Arrays = tuple[np.ndarray, np.ndarray]


def load_arrays(
    name: str,
    *,
    data_dir: str | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    download: bool = False,
) -> tuple[Arrays, Arrays]:
    """Loads a data set as normalised NumPy arrays, for any backend of Keras.

    `fashion_mnist_small` is read without TensorFlow; the other sets need it.

    Args:
        name: A key of `DATASETS`, or the name of another image-classification set of
            TensorFlow Datasets whose images have one size, or of one prepared in
            `data_dir`.
        data_dir: The folder of prepared TensorFlow Datasets; `None`: its default.
        train_examples: Use only the first so many training examples, in the order they
            are stored; a positive integer. `None`: all.
        test_examples: Likewise for the test examples.
        mean: Mean of each channel, or one number for all, in units of 0 to 1, instead
            of that of `DATASETS`.
            For a set without known statistics and without `mean` and `std`, they are
            those of the first 10,000 of the training examples used.
        std: Standard deviation of each channel, positive; given if `mean` is given.
        download: Whether to download and prepare a set that is not there.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: images as float32
        `(examples, height, width, channels)`, labels as int32 `(examples,)`.

    Raises:
        TypeError: If `name` is not a string.
        ValueError: If an argument is out of its range, the name is unknown, the set is
            not one of images of one size with one label each, or it is ImageNet, which
            does not fit in memory, or CamVid, which `load` reads.
        FileNotFoundError: If the set is known but not prepared and `download` is false.

    Example:
        >>> (x_train, y_train), _ = load_arrays("fashion_mnist_small")
        >>> x_train.shape, y_train.shape
        ((10000, 28, 28, 1), (10000,))
    """
    if name == "camvid":
        raise ValueError(
            "`name` must be a set with one label for each image; `load` has this. "
            f"Received: name={name!r}"
        )
    source = sources.open_source(name, data_dir, download)
    if source.spec.resize is not None:
        raise ValueError(
            "`name` must be a set that fits in memory; use `load` for this one. "
            f"Received: name={name!r}"
        )
    num_train, num_test = read_sizes(source, train_examples, test_examples)
    x_train, y_train = source.arrays("train", num_train)
    spec = with_statistics(source, mean, std, num_train, (x_train, y_train))
    x_test, y_test = source.arrays("test", num_test)
    return (_normalize(x_train, spec), y_train), (_normalize(x_test, spec), y_test)


def read_sizes(
    source: sources.Source | PairSource,
    train_examples: int | None,
    test_examples: int | None,
) -> tuple[int, int]:
    """Returns how many training and test examples to use.

    Args:
        source: The data set.
        train_examples: Number asked for, or `None` for all.
        test_examples: Likewise.

    Returns:
        The two numbers.

    Raises:
        ValueError: If a number is not a positive integer, or more than the set holds.

    Example:
        >>> read_sizes(sources.open_source("fashion_mnist_small"), 100, None)
        (100, 2500)
    """
    sizes = []
    for argument, value, size in (
        ("train_examples", train_examples, source.num_train),
        ("test_examples", test_examples, source.num_test),
    ):
        if value is not None:
            check_integer(argument, value, 1, size)
        sizes.append(size if value is None else int(value))
    return sizes[0], sizes[1]


def with_statistics(
    source: sources.Source | PairSource,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    num_train: int,
    arrays: Arrays | None,
) -> DatasetSpec:
    """Returns the spec of a set with the statistics that its images are normalised by.

    Args:
        source: The data set.
        mean: Mean asked for, or `None`.
        std: Standard deviation asked for, or `None`.
        num_train: Number of training examples in use.
        arrays: Those examples if they have been read.

    Returns:
        A `DatasetSpec` whose `mean` and `std` are known.

    Raises:
        ValueError: If only one of `mean` and `std` is given, or one does not have a
            number for each channel, or an entry of `std` is not positive.

    Example:
        >>> source = sources.open_source("fashion_mnist_small")
        >>> with_statistics(source, [0.5], [0.25], 10000, None).mean
        (0.5,)
    """
    spec = source.spec
    if (mean is None) != (std is None):
        raise ValueError(
            f"`mean` and `std` must be given together. Received: mean={mean}, std={std}"
        )
    if mean is None or std is None:
        if spec.mean is not None:
            return spec
        count = min(num_train, _STATISTICS_EXAMPLES)
        images = (arrays or source.arrays("train", count))[0][:count]
        mean, std = (found.tolist() for found in _statistics(images))
    channels = spec.image_shape[-1]
    values = {}
    for argument, received in (("mean", mean), ("std", std)):
        array = check_numbers(argument, received)
        if array.shape == (1,):
            array = np.repeat(array, channels)
        if array.shape != (channels,):
            raise ValueError(
                f"`{argument}` must have one finite number for each of the {channels} "
                f"channels, or one for all. Received: {argument}={received}"
            )
        values[argument] = tuple(array.tolist())
    if min(values["std"]) <= 0:
        raise ValueError(f"`std` must be positive. Received: std={std}")
    return dataclasses.replace(spec, mean=values["mean"], std=values["std"])


def _statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of each channel of uint8 images, in 0 to 1."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256))
    # A histogram is exact, and in pieces it needs little memory.
    for start in range(0, len(images), 256):
        piece = images[start : start + 256].reshape(-1, channels)
        for channel in range(channels):
            counts[channel] += np.bincount(piece[:, channel], minlength=256)
    weights = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255.0
    mean = weights @ values
    std = np.sqrt(np.sum(weights * (values - mean[:, None]) ** 2, axis=1))
    # A channel without variation stays at zero rather than dividing by zero.
    return mean, np.where(std > 0, std, 1.0)


def _normalize(images: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Returns `(images / 255 - mean) / std` in float32."""
    images = images.astype(np.float32)
    images /= 255.0
    images -= np.asarray(spec.mean, np.float32)
    images /= np.asarray(spec.std, np.float32)
    return images
