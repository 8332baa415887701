"""The count of a layer's draws, which is a weight of the layer."""

import keras
from keras import ops

from tfhyper.keras_private import rematerialized
from tfhyper.layers.mixin import LayerMixin
from tfhyper.tensor_types import Tensor

# Calls with training=False count from here, so that the two streams of one
# seed do not meet within the first thousand million draws.
_INFERENCE_OFFSET = 2**30


class DrawCounter(LayerMixin):
    """Part of a layer that draws: counts its draws, in training and outside.

    The two counts are one non-trainable weight of the layer. So a saved and
    reloaded network goes on with the draw that the first would have made next,
    and evaluating a network between training steps does not change its training.
    """

    def build_counter(self) -> None:
        """Makes the weight `draws`.

        Raises:
            ValueError: within a `keras.RematScope` that is of this layer.
        """
        if mode := rematerialized(self):
            raise ValueError(
                "`keras.RematScope` must leave out layers that draw: run a second time "
                "for the gradient they would draw other noise, of which the gradient "
                'is none. Give mode="list_of_layers" with layers that do not draw. '
                f"Received: layer '{self.name}' ({type(self).__name__}) in a scope of "
                f"mode {mode!r}"
            )
        self.draws = keras.Layer.add_weight(
            self,
            shape=(2,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="none",
            name="draws",
        )

    def current_count(self, training: bool | None) -> Tensor:
        """Returns the number of the next draw, an int32 scalar tensor."""
        # A sum in both cases: in Torch an entry is a view, which counting changes.
        if training:
            return self.draws[0] + 0
        return self.draws[1] + _INFERENCE_OFFSET

    def last_count(self) -> Tensor:
        """Returns the number of the last draw in training, 0 before the first one.

        What the loss says of a draw, such as an estimate of its KL divergence, it
        can say with the same noise: a regularizer is called after the layer.
        """
        return ops.maximum(self.draws[0] - 1, 0)

    def next_count(self, training: bool | None) -> Tensor:
        """Returns the number of the next draw, and counts it as made."""
        count = self.current_count(training)
        step = [1, 0] if training else [0, 1]
        self.draws.assign(self.draws + ops.convert_to_tensor(step, dtype="int32"))
        return count
