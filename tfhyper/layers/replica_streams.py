"""Which noise differs between the replicas of a distributed training."""

import contextlib
import threading
from collections.abc import Iterator

from keras import ops

from tfhyper.tensor_types import Tensor

# The replica at work: each thread has one, as `tf.distribute` runs them.
_replicas = threading.local()


@contextlib.contextmanager
def replica_streams(index: Tensor, everything: bool) -> Iterator[None]:
    """Within it, noise that belongs to examples differs from replica to replica.

    Args:
        index: int or int32 scalar tensor, the number of the replica. The noise of
            replica 0 is that of a training on one device.
        everything: bool, all other noise differs too.
    """
    before = getattr(_replicas, "now", None)
    _replicas.now = index, everything
    try:
        yield
    finally:
        _replicas.now = before


def replica_seed(seed: Tensor, by_example: bool) -> Tensor:
    """Returns the seed of a draw on the replica at work: int, or int32 scalar.

    Args:
        seed: int or int32 scalar, the seed on one device.
        by_example: bool, whether the noise belongs to examples.
    """
    index, everything = getattr(_replicas, "now", None) or (None, False)
    if index is None or not (everything or by_example):
        return seed
    # Far apart: the layers' own seeds are random. Not negative, as all seeds.
    mixed = ops.cast(seed, "int32") + ops.cast(index, "int32") * 0x1E3779B9
    return ops.bitwise_and(mixed, 2**31 - 1)
