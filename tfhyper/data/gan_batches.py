"""Batches of images, with or without labels, for generative adversarial networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfhyper.checks import check_finite, check_integer

if TYPE_CHECKING:
    import tensorflow as tf

# Which random numbers of an epoch: the order of all images, or that of the labelled.
_ALL, _LABELLED = 0, 1


class GANBatches:
    """Images in another order in each epoch, beside labelled ones if there are some.

    What `tfhyper.training.fit_in_workdir` trains a `tfhyper.gan.BayesianGAN` on: the
    order is a function of the seed and the epoch, so that a training that was killed
    goes on as it would have. All batches are whole: images that are left over at the
    end of an epoch wait for another one.

    Args:
        images: floats of shape (examples, height, width, channels), finite, in the
            range of the generator's images, [-1, 1] for a DCGAN.
        batch_size: int > 0, at most the number of images.
        labelled: images of which the classes are known, or `None`. They go round and
            round, `batch_size` in a step, or all of them where they are fewer.
        labels: ints >= 0 of shape (labelled examples,), with `labelled` alone.
        seed: int in 0 <= seed < 2**31, of the order.

    Attributes:
        steps_per_epoch: whole batches of `images`.

    Raises:
        TypeError: for images that are no numbers.
        ValueError: for shapes that do not fit or arguments out of range.

    Example:
        >>> images = np.zeros((10, 8, 8, 1))
        >>> batches = GANBatches(images, 4)
        >>> batches.steps_per_epoch
        2
        >>> (first,) = next(iter(batches.train_from(0)))
        >>> tuple(first.shape)
        (4, 8, 8, 1)
    """

    def __init__(
        self,
        images: Any,
        batch_size: int = 64,
        *,
        labelled: Any = None,
        labels: Any = None,
        seed: int = 0,
    ):
        self._images = _check_images("images", images)
        count = len(self._images)
        self._batch_size = check_integer("batch_size", batch_size, 1, count)
        self.seed = check_integer("seed", seed, 0, 2**31 - 1)
        self.steps_per_epoch = count // self._batch_size
        self._labelled = self._labels = None
        if (labelled is None) != (labels is None):
            raise ValueError(
                "`labels` must be given with `labelled`, and it alone. Received: "
                f"labelled={'None' if labelled is None else 'images'}, "
                f"labels={'None' if labels is None else 'ints'}"
            )
        if labelled is not None:
            self._labelled = _check_images("labelled", labelled)
            if self._labelled.shape[1:] != self._images.shape[1:]:
                raise ValueError(
                    "`labelled` must have images of the shape of `images`, "
                    f"{self._images.shape[1:]}. Received: "
                    f"labelled.shape={self._labelled.shape}"
                )
            self._labels = _check_labels(labels, len(self._labelled))

    def train_from(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches from an epoch on, without end.

        Elements are `(images,)`, or with labels `(dict,)` of `images`, `labelled` and
        `labels`: the inputs of a `BayesianGAN`.

        Args:
            epoch: int >= 0.
        """
        import tensorflow as tf

        check_integer("epoch", epoch, 0)
        shape = self._images.shape[1:]
        spec: Any = tf.TensorSpec((self._batch_size, *shape), "float32")
        if self._labelled is not None:
            size = min(self._batch_size, len(self._labelled))
            spec = {
                "images": spec,
                "labelled": tf.TensorSpec((size, *shape), "float32"),
                "labels": tf.TensorSpec((size,), "int32"),
            }
        found = tf.data.Dataset.from_generator(
            lambda: self._batches(epoch), output_signature=(spec,)
        )
        return found.prefetch(2)

    def _batches(self, epoch: int) -> Iterator[tuple[Any]]:
        while True:
            labelled = self._labelled_batches(epoch)
            order = self._order(epoch, _ALL, len(self._images))
            for step in range(self.steps_per_epoch):
                start = step * self._batch_size
                images = self._images[order[start : start + self._batch_size]]
                yield (
                    (images,)
                    if labelled is None
                    else ({"images": images, **next(labelled)},)
                )
            epoch += 1

    def _labelled_batches(self, epoch: int) -> Iterator[dict[str, np.ndarray]] | None:
        if self._labelled is None or self._labels is None:
            return None
        images, labels = self._labelled, self._labels
        size = min(self._batch_size, len(images))
        rounds = -(-self.steps_per_epoch * size // len(images))
        order = np.concatenate(
            [self._order(epoch, _LABELLED + i, len(images)) for i in range(rounds)]
        )
        parts = (order[i * size : (i + 1) * size] for i in range(self.steps_per_epoch))
        return ({"labelled": images[p], "labels": labels[p]} for p in parts)

    def _order(self, epoch: int, use: int, count: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch, use)).permutation(count)


def _check_images(name: str, images: Any) -> np.ndarray:
    array = check_finite(name, _as_array(name, images))
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {name} of the dtype "
            f"{array.dtype}"
        )
    if array.ndim != 4 or not array.size:
        raise ValueError(
            f"`{name}` must have the axes (examples, height, width, channels), none "
            f"empty. Received: {name}.shape={array.shape}"
        )
    return array.astype("float32")


def _as_array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise TypeError(f"`{name}` must be an array. Received: {error}") from error


def _check_labels(labels: Any, count: int) -> np.ndarray:
    array = _as_array("labels", labels)
    fits = array.shape == (count,) and array.dtype.kind in "iu"
    if not fits or array.min() < 0 or array.max() >= 2**31:
        raise ValueError(
            f"`labels` must hold {count} ints from 0 on, one for each of `labelled`. "
            f"Received: labels of the shape {array.shape} and dtype {array.dtype}"
        )
    return array.astype("int32")
