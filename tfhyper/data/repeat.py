"""Batches that hold each example once for each of several members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfhyper.checks import check_instance, check_positive_integer
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    import tensorflow as tf


def repeat_batches(data: tf.data.Dataset, members: int) -> tf.data.Dataset:
    """Returns batches that are `members` times as long: the batch, over and over.

    For layers whose members divide a batch among them, such as
    `tfhyper.layers.RankOneConv2D` with `batch="divided"`: with it each member sees all
    examples of a step, as in the code of BatchEnsemble and of rank-1 BNNs. A step then
    costs `members` times as much, in time and in memory.

    Args:
        data: `tf.data.Dataset` of batches, (inputs, labels) or any structure of tensors
            whose first axis is that of the examples.
        members: int > 0, K.

    Returns:
        A `tf.data.Dataset` of as many batches, K copies of each one after another: of
        B examples, number i is at the places i, B + i, 2 B + i ...

    Raises:
        TypeError: for data of another kind.
        ValueError: for `members` out of range.

    Example:

    >>> data = tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(32)
    >>> images, labels = next(iter(tfhyper.data.repeat_batches(data, members=4)))
    >>> len(images), len(labels)
    (128, 128)

    Reference:
        Wen, Tran, Ba: BatchEnsemble, ICLR 2020. Dusenberry et al.: Efficient and
        scalable Bayesian neural nets with rank-1 factors, ICML 2020.
    """
    import tensorflow as tf

    check_instance("data", data, tf.data.Dataset, "a `tf.data.Dataset` of batches")
    check_positive_integer("members", members)

    def repeat(*batch: Structure) -> Structure:
        def copies(x: tf.Tensor) -> tf.Tensor:
            return tf.concat([x] * members, axis=0)

        found = tf.nest.map_structure(copies, batch)
        return found if len(found) > 1 else found[0]

    return data.map(repeat, num_parallel_calls=tf.data.AUTOTUNE)
