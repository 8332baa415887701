"""What runs on the replicas of a strategy: batches, compiled loops, test steps."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfhyper.layers import variational_layers
from tfhyper.layers.replica_streams import replica_streams
from tfhyper.tensor_types import Structure

# The text that errors of such a batch have in common, so that they are recognised.
UNEVEN = "a batch that the replicas do not divide evenly"


def check_dataset(name: str, dataset: tf.data.Dataset, finite: bool = False) -> None:
    """Raises TypeError for no `tf.data.Dataset`, ValueError for one without batches.

    Args:
        name: of the argument.
        dataset: what is checked. Nothing is read of it.
        finite: whether one that is known to have no end is refused, too.
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`{name}` must be a tf.data.Dataset of batches. "
            f"Received: {name}={dataset!r:.200}"
        )
    number = int(dataset.cardinality())
    if number == 0:
        raise ValueError(f"`{name}` must have batches. Received: {name} with none")
    if finite and number == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"`{name}` must end: leave out `repeat`, or take some batches "
            f"(`{name}.take(steps)`). Received: {name} without an end"
        )


def distribute(
    strategy: tf.distribute.Strategy, dataset: tf.data.Dataset, parts: int | None = None
) -> tf.distribute.DistributedDataset:
    """Returns a dataset whose batches are divided between the replicas.

    Each worker reads all of it and keeps its part of each batch.

    Args:
        strategy: the strategy.
        dataset: batches of all replicas together.
        parts: what must divide the size of each batch, or iterating raises an
            `InvalidArgumentError` with the text `UNEVEN`; `None`: any size.
    """

    def check(*batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        even = _size(batch) % parts == 0
        with tf.control_dependencies([tf.debugging.Assert(even, [UNEVEN])]):
            return keras.tree.map_structure(tf.identity, batch)

    if parts is not None and parts > 1:
        dataset = dataset.map(check)
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return strategy.experimental_distribute_dataset(dataset.with_options(options))


def train_loop(
    model: keras.Model,
    step: Callable[[Structure], dict[str, tf.Tensor]],
    per_replica_draws: bool,
) -> tf.types.experimental.PolymorphicFunction:
    """Returns a compiled loop of training steps.

    Args:
        model: compiled in the scope of its strategy.
        step: trains the model on a replica's part of a batch and returns metrics.
        per_replica_draws: whether the codes differ between replicas, too.

    Returns:
        A function of an iterator, the number of steps, and factors of the KL
        divergence, one for each step, if there are some. It gives for each step the
        sum over the replicas of the metric "loss", the mean of the epoch so far: not
        finite from the first loss on that is not.
    """
    strategy = model.distribute_strategy
    layers = variational_layers(model)

    def on_replica(batch: Structure) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        with replica_streams(replica, per_replica_draws):
            logs = step(batch)
        return tf.cast(logs.get("loss", 0.0), "float32")

    if model.jit_compile:
        on_replica = tf.function(on_replica, jit_compile=True, reduce_retracing=True)

    @tf.function(reduce_retracing=True)
    def train(
        iterator: tf.distribute.DistributedIterator,
        steps: tf.Tensor,
        factors: tf.Tensor | None = None,
    ) -> tf.Tensor:
        losses = tf.TensorArray("float32", steps)
        for i in tf.range(steps):
            if factors is not None:
                for layer in layers:
                    layer.kl_factor.assign(factors[i])
            loss = strategy.run(on_replica, args=(next(iterator),))
            losses = losses.write(i, strategy.reduce("SUM", loss, axis=None))
        return losses.stack()

    return train


def test_step(model: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """Returns a compiled function of a divided batch, which updates the metrics."""
    strategy = model.distribute_strategy

    def on_replica(batch: Structure) -> None:
        def evaluate() -> tf.Operation:
            return tf.group(*model.test_step(batch).values())

        def only_draw() -> tf.Operation:
            x, *_ = keras.utils.unpack_x_y_sample_weight(batch)
            one = keras.tree.map_structure(
                lambda t: tf.zeros((1, *t.shape[1:]), t.dtype), x
            )
            model(one, training=False)
            return tf.no_op()

        # The short batch at the end may leave a replica without an example; its layers
        # count the draw all the same, as those of the other replicas.
        tf.cond(_size(batch) > 0, evaluate, only_draw)

    @tf.function(reduce_retracing=True)
    def test(batch: Structure) -> None:
        strategy.run(on_replica, args=(batch,))

    return test


def _size(batch: Structure) -> tf.Tensor:
    return tf.shape(keras.tree.flatten(batch)[0])[0]
