"""Data sets in `.npz` files, for every backend of Keras: TensorFlow is not needed.

`NAME.npz` holds uint8 images `x_train` and `x_test`, (examples, height, width,
channels), and labels `y_train` and `y_test`, (examples,) or (examples, 1); of a set
with a second training split, such as SVHN's "extra", also `x_extra` and `y_extra`. The
set that is in the package needs no file.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator

import keras
import numpy as np

from tfhyper import data
from tfhyper.data import arrays, sources

PADDING = 4  # pixels on each side, of which a crop is taken: as `tfhyper.data`
Batch = tuple[np.ndarray, np.ndarray]


class Batches:
    """Batches of images and labels that can be read again and again.

    Args:
        make: returns the batch of a number.
        count: how many there are.
    """

    def __init__(self, make: Callable[[int], Batch], count: int):
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make, range(self.count))

    def take(self, count: int) -> "Batches":
        """Returns the first so many."""
        return Batches(self.make, min(count, self.count))


@dataclasses.dataclass(frozen=True, eq=False)
class NpzData:
    """A data set in memory, with the names of `tfhyper.data.Data`.

    The order of an epoch and its crops are a function of seed, epoch and step. They
    are others than those of `tfhyper.data.load`, whose generator is TensorFlow's.

    Attributes:
        spec: what is known of the set, with the mean and deviation in use.
        train_arrays: uint8 images and int32 labels.
        test_arrays: likewise.
        batch_size: examples in a batch; the last one of an epoch may be short.
        seed: of order and augmentation.
        augment: whether training images are cropped, and flipped where `spec` has it.
        crop_padding: what is beyond the edge: "mean", "reflect" or "black"; or "none"
            for no crops.
    """

    spec: data.DatasetSpec
    train_arrays: Batch
    test_arrays: Batch
    batch_size: int
    seed: int
    augment: bool = True
    crop_padding: str = "mean"

    @property
    def num_train(self) -> int:
        """How many training examples there are."""
        return len(self.train_arrays[1])

    @property
    def num_test(self) -> int:
        """How many test examples there are."""
        return len(self.test_arrays[1])

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has, the short one counted."""
        return -(-self.num_train // self.batch_size)

    @property
    def test(self) -> Batches:
        """The test examples in their order, not augmented."""
        images, labels = self.test_arrays
        size = self.batch_size

        def make(step: int) -> Batch:
            part = slice(step * size, (step + 1) * size)
            return self._normalize(images[part]), labels[part]

        return Batches(make, -(-len(labels) // size))

    def epoch(self, epoch: int) -> Batches:
        """Returns the training batches of one epoch."""
        images, labels = self.train_arrays
        order = np.random.default_rng((self.seed, epoch)).permutation(len(labels))
        size = self.batch_size

        def make(step: int) -> Batch:
            rows = order[step * size : (step + 1) * size]
            batch = images[rows]
            if self.augment:
                batch = self._augmented(batch, (self.seed, epoch, step))
            else:
                batch = self._normalize(batch)
            return batch, labels[rows]

        return Batches(make, self.steps_per_epoch)

    def train_from(self, epoch: int):
        """Returns the training batches from an epoch on, without end.

        A generator of arrays; on TensorFlow a `tf.data.Dataset` of the same.
        """
        batches = functools.partial(self._from, epoch)
        if keras.backend.backend() != "tensorflow":
            return batches()
        import tensorflow as tf

        shape = (None, *self.spec.image_shape)
        signature = tf.TensorSpec(shape, tf.float32), tf.TensorSpec((None,), tf.int32)
        found = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return found.prefetch(tf.data.AUTOTUNE)

    def _from(self, epoch: int) -> Iterator[Batch]:
        while True:
            yield from self.epoch(epoch)
            epoch += 1

    def _normalize(self, images: np.ndarray) -> np.ndarray:
        images = images.astype(np.float32) / np.float32(255)
        mean, std = (np.float32(x) for x in (self.spec.mean, self.spec.std))
        return (images - mean) / std

    def _augmented(self, images: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """Returns crops of padded images, normalised, half of them flipped."""
        rng = np.random.default_rng(key)
        count, height, width, _ = images.shape
        # Without a margin, the one window there is is the image.
        margin = 0 if self.crop_padding == "none" else PADDING
        sides = [(0, 0), (margin, margin), (margin, margin), (0, 0)]
        if self.crop_padding in ("mean", "none"):
            padded = np.pad(self._normalize(images), sides)  # zeros are the mean here
        else:
            mode = {"reflect": "reflect", "black": "constant"}[self.crop_padding]
            padded = self._normalize(np.pad(images, sides, mode))
        corners = rng.integers(0, 2 * margin + 1, (2, count, 1))
        rows = corners[0] + np.arange(height)
        columns = corners[1] + np.arange(width)
        if self.spec.flip:
            flips = rng.random((count, 1)) < 0.5
            columns = np.where(flips, columns[:, ::-1], columns)
        examples = np.arange(count)[:, None, None]
        return padded[examples, rows[:, :, None], columns[:, None, :]]


def is_there(name: str, folder: str | None) -> bool:
    """Returns whether a set can be read without TensorFlow."""
    return name == sources.EMBEDDED or os.path.exists(_path(name, folder))


def load(
    name: str,
    *,
    data_dir: str | None,
    batch_size: int,
    train_examples: int | None = None,
    test_examples: int | None = None,
    seed: int = 0,
    augment: bool = True,
    crop_padding: str = "mean",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    color_jitter: float = 0.0,
    resize_method: str = "bilinear",
    train_split: str | None = None,
) -> NpzData:
    """Reads a set from `data_dir/NAME.npz`; the arguments are `tfhyper.data.load`'s.

    Raises:
        ValueError: for a set that is not known, or whose images have many sizes, or
            for arrays that are not its images and labels.
        FileNotFoundError: if there is no such file.
    """
    spec = data.DATASETS.get(name)
    if spec is None or spec.resize is not None or color_jitter:
        known = [s.name for s in data.DATASETS.values() if s.resize is None]
        raise ValueError(
            f"`name` must be one of {known}, and images are not jittered, where data "
            f"come from `.npz`. Received: name={name!r}, color_jitter={color_jitter}"
        )
    if name == sources.EMBEDDED:
        source = sources.open_source(name)
        train = source.arrays("train", source.num_train)
        test = source.arrays("test", source.num_test)
    else:
        path = _path(name, data_dir)
        if not os.path.exists(path):
            raise FileNotFoundError(f"The data set '{name}' is not there: {path}")
        with np.load(path, allow_pickle=False) as file:
            splits = (train_split or spec.train_split).split("+")
            parts = [_read(file, split, spec, path) for split in splits]
            train = tuple(map(np.concatenate, zip(*parts, strict=True)))
            test = _read(file, "test", spec, path)
    train = tuple(x[:train_examples] for x in train)
    test = tuple(x[:test_examples] for x in test)
    source = sources.Source(spec, len(train[1]), len(test[1]))
    spec = arrays.with_statistics(source, mean, std, len(train[1]), train)
    return NpzData(spec, train, test, batch_size, seed, augment, crop_padding)


def _path(name: str, folder: str | None) -> str:
    return os.path.join(folder or "", f"{name}.npz")


def _read(file, split: str, spec: data.DatasetSpec, path: str) -> Batch:
    keys = f"x_{split}", f"y_{split}"
    if not set(keys) <= set(file.files):
        raise ValueError(
            f"{path} must hold {keys[0]!r} and {keys[1]!r}. Received: {file.files}"
        )
    images, labels = (file[key] for key in keys)
    labels = labels.reshape(-1).astype(np.int32)
    if images.dtype != np.uint8 or images.shape != (len(labels), *spec.image_shape):
        raise ValueError(
            f"{path} must hold uint8 images of shape {spec.image_shape}, and a label "
            f"for each. Received: {keys[0]} of shape {images.shape} and type "
            f"{images.dtype}, {len(labels)} labels"
        )
    return images, labels
