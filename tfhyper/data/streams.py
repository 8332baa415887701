"""The `tf.data` pipelines: the order of the examples, and what is done to each batch.

Order and augmentation come from stateless draws keyed by (seed, epoch), so that any
epoch can be made again without running those before it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import tensorflow as tf

from tfhyper.data import augment, colors, imagenet
from tfhyper.data.sources import Source
from tfhyper.data.specs import DatasetSpec

PADDING = 4
#: What is beyond the edge of an image that is cropped: the mean colour, the image
#: mirrored, or black; or no crops.
CropPadding = Literal["mean", "reflect", "black", "none"]
CROP_PADDINGS: tuple[CropPadding, ...] = get_args(CropPadding)
#: Examples that a set read from disk shuffles at a time. Two such blocks are held, of
#: about 0.25 GB each for ImageNet's compressed images.
SHUFFLE_BLOCK = 2048
#: Files that a set read from disk mixes at a time.
OPEN_FILES = 16

# What a key is folded with for each use, so that the uses draw independently.
_ORDER, _BLOCKS, _WINDOWS, _CROPS, _FLIPS, _JITTER, _LIGHTING = range(7)

# Maps a key of shape (2,), or `None` for the stored order, to uint8 images and labels.
Batches = Callable[[tf.Tensor | None], tf.data.Dataset]
# Gives the key of one use of chance, for a batch.
Draw = Callable[[int], tf.Tensor]
# Maps uint8 images, labels and a `Draw` (`None`: nothing is augmented) to a batch.
Prepare = Callable[[tf.Tensor, tf.Tensor, Draw | None], tuple[tf.Tensor, ...]]


class Stream:
    """Turns batches of raw images into epochs of training or test batches.

    Args:
        spec: Spec with `mean` and `std` known.
        batches: Function from a key to one epoch of `(images, labels)` batches.
        size: Number of examples in an epoch.
        batch_size: Examples in a batch.
        augment: Whether `epochs` and `epoch_by_epoch` augment.
        seed: Seed of order and augmentation.
        color_jitter: Strength of the colour jitter; 0: none.
        crop_padding: Of `CROP_PADDINGS`.
        prepare: What is done to a batch in place of all that `spec`, `color_jitter`
            and `crop_padding` say; `None`: those.

    Attributes:
        spec: as given; `size`, `batch_size` and `seed`, too.
        steps: Batches in an epoch, the short one counted.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        batches: Batches,
        size: int,
        batch_size: int,
        augment: bool,
        seed: int,
        color_jitter: float = 0.0,
        crop_padding: CropPadding = "mean",
        prepare: Prepare | None = None,
    ):
        self.steps = -(-size // batch_size)
        self.spec, self.size, self.batch_size, self.seed = spec, size, batch_size, seed
        self._batches = batches
        self._augment = augment
        self._color_jitter = color_jitter
        self._crop_padding = crop_padding
        self._prepare = prepare
        with tf.device("CPU:0"):
            self._epochs_begun = tf.Variable(0, dtype=tf.int64, trainable=False)

    def plain(self) -> tf.data.Dataset:
        """Returns the examples once, in stored order, normalised only."""
        return self._finish(self._keyed(None), augmented=False)

    def epochs(self, first: int, last: int | None = None) -> tf.data.Dataset:
        """Returns epochs `first` to `last - 1` on end, or without end."""
        stop = np.iinfo(np.int64).max if last is None else last
        dataset = self._train(tf.data.Dataset.range(first, stop))
        return dataset.apply(
            tf.data.experimental.assert_cardinality(
                tf.data.INFINITE_CARDINALITY
                if last is None
                else (last - first) * self.steps
            )
        )

    def epoch_by_epoch(self) -> tf.data.Dataset:
        """Returns a dataset that is the next epoch each time it is iterated."""
        once = tf.data.Dataset.range(1)
        epoch = once.map(lambda _: self._epochs_begun.assign_add(1) - 1)
        return self._train(epoch).apply(
            tf.data.experimental.assert_cardinality(self.steps)
        )

    def then(self, last: Callable[..., tuple]) -> Stream:
        """Returns the stream whose batches go through one more function."""
        if self._prepare is None:
            raise ValueError("`then` is for streams with `prepare`")
        prepare, other = self._prepare, copy.copy(self)
        other._prepare = lambda images, labels, draw: last(
            *prepare(images, labels, draw)
        )
        return other

    def _train(self, epochs: tf.data.Dataset) -> tf.data.Dataset:
        """Maps a dataset of epoch numbers to their batches on end."""

        def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
            return self._keyed(tf.stack([tf.constant(self.seed, tf.int64), epoch]))

        return self._finish(epochs.flat_map(one_epoch), self._augment)

    def _keyed(self, key: tf.Tensor | None) -> tf.data.Dataset:
        """Returns one epoch of `(images, labels, key, step)`."""
        batches = self._batches(key).enumerate()
        if key is None:
            key = tf.zeros((2,), tf.int64)
        return batches.map(lambda step, batch: (*batch, key, step))

    def _finish(self, dataset: tf.data.Dataset, augmented: bool) -> tf.data.Dataset:
        """Normalises and augments; outside of the epochs, so that none waits."""
        spec = self.spec
        mean, std = _statistics_of(spec)

        def finish(
            images: tf.Tensor, labels: tf.Tensor, key: tf.Tensor, step: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            def draw(use: int) -> tf.Tensor:
                return _fold_in(_fold_in(key, use), step)

            if self._prepare is not None:
                return self._prepare(images, labels, draw if augmented else None)
            images = tf.cast(images, tf.float32) / 255.0
            if augmented and self._color_jitter:
                images = colors.random_color_jitter(
                    images, self._color_jitter, draw(_JITTER)
                )
            # Images that were resized have had a random window already.
            if augmented and spec.resize is not None:
                images = colors.random_lighting(images, draw(_LIGHTING))
            crops = augmented and spec.resize is None and self._crop_padding != "none"
            if crops and self._crop_padding == "black":
                images = augment.random_crop(images, PADDING, draw(_CROPS))
            images = augment.normalize(images, mean, std)
            if crops and self._crop_padding != "black":
                # Zeros have the mean colour here.
                reflect = self._crop_padding == "reflect"
                edge: augment.Edge = "reflect" if reflect else "zeros"
                images = augment.random_crop(images, PADDING, draw(_CROPS), edge)
            if augmented and spec.flip:
                images = augment.random_flip(images, draw(_FLIPS))
            return images, labels

        dataset = dataset.map(
            finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return dataset.prefetch(tf.data.AUTOTUNE)


def _statistics_of(spec: DatasetSpec) -> tuple[Sequence[float], Sequence[float]]:
    if spec.mean is None or spec.std is None:
        raise ValueError(f"`spec` must have `mean` and `std`. Received: spec={spec}")
    return spec.mean, spec.std


def of_maps(spec: DatasetSpec, scale: tuple[float, float]) -> Prepare:
    """Returns what prepares images and their maps of classes alike.

    Args:
        spec: Spec with `mean` and `std` known.
        scale: How much larger a window is shown, the lower and the upper factor.
    """
    mean, std = _statistics_of(spec)
    void = 0 if spec.ignore_class is None else spec.ignore_class

    def prepare(
        images: tf.Tensor, labels: tf.Tensor, draw: Draw | None
    ) -> tuple[tf.Tensor, ...]:
        images = augment.normalize(tf.cast(images, tf.float32) / 255.0, mean, std)
        labels = tf.cast(labels, tf.int32)[..., None]
        if draw is not None and tuple(scale) != (1.0, 1.0):
            images, labels = augment.random_windows(
                images, labels, scale, draw(_CROPS), void
            )
        if draw is not None and spec.flip:
            # One seed: the same examples are mirrored.
            images = augment.random_flip(images, draw(_FLIPS))
            labels = augment.random_flip(labels, draw(_FLIPS))
        return images, labels[..., 0]

    return prepare


def of_pictures(
    images: tf.Tensor, labels: tf.Tensor, draw: Draw | None
) -> tuple[tf.Tensor, ...]:
    """Prepares pictures and larger ones of the same alike; see `Prepare`."""
    pair = [tf.cast(x, tf.float32) / 255.0 for x in (images, labels)]
    if draw is not None:
        # One seed: the same examples are turned.
        pair = [augment.random_symmetries(x, draw(_FLIPS)) for x in pair]
    return tuple(pair)


def from_memory(images: np.ndarray, labels: np.ndarray, batch_size: int) -> Batches:
    """Returns the batches of arrays held in memory; see `Batches`."""
    with tf.device("CPU:0"):
        images, labels = tf.constant(images), tf.constant(labels)

    def batches(key: tf.Tensor | None) -> tf.data.Dataset:
        order = tf.range(tf.shape(labels)[0])
        if key is not None:
            order = _shuffled(order, key, _ORDER)
        indices = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return indices.map(lambda i: (tf.gather(images, i), tf.gather(labels, i)))

    return batches


def from_disk(
    source: Source,
    part: str,
    count: int,
    batch_size: int,
    augmented: bool,
    start: int = 0,
) -> Batches:
    """Returns the batches of `count` examples of a part from `start` on, when needed.

    The shuffled order permutes the files, reads `OPEN_FILES` of them by turns and
    permutes each block of `SHUFFLE_BLOCK` examples. `Dataset.shuffle` would not do: its
    order depends on TensorFlow's global seed too.

    Raises:
        ValueError: If the set is not stored as TFRecord files.
    """
    import tensorflow_datasets as tfds

    spec, info = source.spec, source.builder.info
    if info.file_format.value != "tfrecord":
        raise ValueError(
            "`cache` must be True for a set that is not stored as TFRecord files. "
            f"Received: '{spec.name}' stored as {info.file_format.value}"
        )
    pieces = info.splits[source.split(part, count, start)].file_instructions
    paths = tf.constant([str(piece.filename) for piece in pieces])
    ranges = tf.constant([[piece.skip, piece.take] for piece in pieces], tf.int64)

    features = tfds.decode.PartialDecoding(
        {source.image_key: True, source.label_key: True}
    ).extract_features(info.features)
    decoders = {}
    if spec.resize is not None:
        # As bytes: of a training image only the window is decoded.
        decoders[source.image_key] = tfds.decode.SkipDecoding()

    def read(path: tf.Tensor, skip_take: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path).skip(skip_take[0]).take(skip_take[1])

    def batches(key: tf.Tensor | None) -> tf.data.Dataset:
        order = tf.range(len(pieces))
        if key is not None:
            order = _shuffled(order, key, _ORDER)
        files = tf.data.Dataset.from_tensor_slices(
            (tf.gather(paths, order), tf.gather(ranges, order))
        )
        if key is None:
            records = files.flat_map(read)
        else:
            records = files.interleave(
                read,
                cycle_length=OPEN_FILES,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            blocks = records.batch(SHUFFLE_BLOCK).enumerate()
            block_key = _fold_in(key, _BLOCKS)
            records = blocks.map(lambda i, block: _shuffled(block, block_key, i))
            records = records.prefetch(1).unbatch()

        def decode(index: tf.Tensor, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            example = features.deserialize_example(record, decoders=decoders)
            image = example[source.image_key]
            if spec.resize is not None and augmented and key is not None:
                window = _fold_in(_fold_in(key, _WINDOWS), index)
                image = imagenet.random_image(image, spec, window)
            elif spec.resize is not None:
                image = imagenet.central_image(image, spec)
            image = tf.ensure_shape(image, spec.image_shape)
            return image, tf.cast(example[source.label_key], tf.int32)

        return (
            records.enumerate()
            .map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .batch(batch_size)
        )

    return batches


def _fold_in(key: tf.Tensor, data: int | tf.Tensor) -> tf.Tensor:
    """Returns the key `(2,)` of one use among many of `key`."""
    # The type of `data` is that of the new key: 64 bits keep the keys apart.
    data = tf.cast(data, tf.int64)
    return tf.random.experimental.stateless_fold_in(key, data)


def _shuffled(values: tf.Tensor, key: tf.Tensor, use: int | tf.Tensor) -> tf.Tensor:
    """Returns `values` permuted along the first axis by the key."""
    return tf.random.experimental.stateless_shuffle(values, seed=_fold_in(key, use))
