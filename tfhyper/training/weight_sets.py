"""Steps of training with several weight sets: a batch in parts, each its draw."""

from collections.abc import Callable

import keras

from tfhyper.layers.packed_product import is_packed
from tfhyper.tensor_types import Structure, Tensor


def step_of_parts(
    model: keras.Model, num: int
) -> Callable[[Structure], dict[str, Tensor]]:
    """Returns a `train_step` that gives each part of a batch its own draw.

    The batch is split into `num` equal parts. Each goes through the network with
    its own codes and noise (and BatchNorm statistics of its own); the gradient is
    the mean of theirs. Different codes take turns in the gradient of the generators
    instead of one setting it, which lowers its variance.

    Args:
        model: a compiled model. Its own `train_step` is not used.
        num: int > 1, the parts of a batch.

    Returns:
        A function of a batch, `(x, y)` or `(x, y, sample_weight)`, that updates the
        weights and returns the metrics.

    Example:

    >>> model.train_step = step_of_parts(model, 2)
    >>> history = model.fit(x_train, y_train, batch_size=50, verbose=0)
    >>> "loss" in history.history
    True
    """
    import tensorflow as tf

    def train_step(data: Structure) -> dict[str, Tensor]:
        parts = _split(data, num)
        gradients = []
        for x, y, weight in map(keras.utils.unpack_x_y_sample_weight, parts):
            with tf.GradientTape() as tape:
                prediction = model(x, training=True)
                loss = model.compute_loss(x, y, prediction, weight, training=True)
                scaled = model.optimizer.scale_loss(loss / num)
            gradients.append(tape.gradient(scaled, model.trainable_weights))
            tracker = next(m for m in model.metrics if m.name == "loss")
            # Keras divides losses by the replicas, whose gradients are summed.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            examples = tf.shape(keras.tree.flatten(x)[0])[0]
            tracker.update_state(loss * replicas, sample_weight=examples)
            logs = model.compute_metrics(x, y, prediction, weight)
        weights = model.trainable_weights
        columns = zip(weights, *gradients, strict=True)
        model.optimizer.apply([_total(*column) for column in columns], weights)
        return logs

    return train_step


def _split(data: Structure, num: int) -> list[Structure]:
    import tensorflow as tf

    size = tf.shape(keras.tree.flatten(data)[0])[0]
    tf.debugging.assert_equal(
        size % num, 0, f"A batch must be divided evenly by {num} weight sets."
    )
    part = size // num

    def cut(i: int) -> Structure:
        return keras.tree.map_structure(lambda x: x[i * part : (i + 1) * part], data)

    return [cut(i) for i in range(num)]


def _total(weight: keras.Variable, *gradients: Tensor | None) -> Tensor | None:
    import tensorflow as tf

    if any(gradient is None for gradient in gradients):
        return None
    if is_packed(gradients[0], weight):
        return tf.stack(gradients)  # of different codes
    return tf.add_n(gradients)
