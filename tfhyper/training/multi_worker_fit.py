"""`model.fit` on several machines, where Keras 3 fails in two places."""

from __future__ import annotations

from typing import Any

import keras

from tfhyper.tensor_types import Tensor
from tfhyper.training.fast_generator import check_compiled


@keras.saving.register_keras_serializable("tfhyper")
class MultiWorkerModel(keras.Model):
    """What `for_multi_worker_fit` returns: its steps return vectors of one number.

    A file of it is read as a `keras.Model` of the same layers.
    """

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Trains on a batch, and returns the metrics."""
        return _as_vectors(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Evaluates a batch, and returns the metrics."""
        return _as_vectors(super().test_step(data))

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> keras.Model:
        """Returns a `keras.Model` of a config, for one machine."""
        return keras.Model.from_config(config, custom_objects)


def for_multi_worker_fit(model: keras.Model) -> keras.Model:
    """Returns a model of the same layers that `model.fit` trains on several workers.

    `tfhyper.training.Trainer` needs none of this. Under
    `tf.distribute.MultiWorkerMirroredStrategy`, `fit` of Keras 3 fails twice: as a
    model that was made in the scope builds its metrics, and as the scalars that a step
    returns are averaged over the workers. The model that is returned is made outside
    of the scope, around layers that were made in it, and its steps return vectors. It
    shares weights and optimizer with the first, which is trained as it is.

    Train and evaluate it in the scope. Each worker reads the whole dataset and keeps
    its part (`AutoShardPolicy.DATA`); batches are those of all workers together. The
    progress bar and callbacks run on all workers: let the chief alone write
    (`tfhyper.training.is_chief`). Under other strategies it works, too.

    Args:
        model: a functional or Sequential model, made and compiled in the scope of
            `tfhyper.training.make_strategy("multi_worker")`.

    Returns:
        A compiled `keras.Model`. The fast generator is in use if it was.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: if the model is not compiled, or has a `train_step` or a `call` of
            its own; or in the scope of a strategy.

    Example:

    >>> strategy = tfhyper.training.make_strategy("multi_worker")
    >>> with strategy.scope():
    ...     model = tfhyper.models.wide_resnet(10, 1)
    ...     tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=391)
    >>> outer = tfhyper.training.for_multi_worker_fit(model)
    >>> with strategy.scope():
    ...     outer.fit(dataset, epochs=20, steps_per_epoch=391)
    >>> model.save("trained.keras")
    """
    import tensorflow as tf

    check_compiled(model)
    if type(model).train_step is not keras.Model.train_step or not getattr(
        model, "inputs", None
    ):
        raise ValueError(
            "`model` must be a functional or Sequential model without a `train_step` "
            f"of its own. Received: a {type(model).__name__}"
        )
    if tf.distribute.has_strategy():
        raise ValueError(
            "`for_multi_worker_fit` must be called outside of the scope of a strategy. "
            f"Received: a call in the scope of {tf.distribute.get_strategy()}"
        )
    outer = MultiWorkerModel(model.inputs, model.outputs, name=model.name)
    config = keras.saving.deserialize_keras_object(model.get_compile_config())
    with model.distribute_strategy.scope():
        # The optimizer itself, with its state, in place of a copy. One that unpacks
        # gradients asks for packed ones here, too.
        outer.compile(**{**config, "optimizer": model.optimizer})
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    return outer


def _as_vectors(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[None] for name, value in logs.items()}
