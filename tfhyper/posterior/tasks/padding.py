"""Which of a network's answers are to padding, as Keras' own masks say."""

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.tensor_types import Structure


class Padding:
    """Says which positions of a network's output answer to something.

    `Masking` and `Embedding(mask_zero=True)` give a mask that Keras hands on from layer
    to layer. Where it reaches the output, `fit` and `evaluate` of Keras leave masked
    positions out of the loss and the metrics; so do the scores of a predictor.

    Args:
        model: a functional or built Sequential model, of which one output is meant,
            or several that say the same, as a mean and its variance.
    """

    def __init__(self, model: keras.Model):
        mask = keras_private.mask_of(model.outputs[0])
        self._network = None
        if mask is not None:
            self._network = keras_private.model_of(list(model.inputs), mask)

    def __bool__(self) -> bool:
        """Whether the output has a mask."""
        return self._network is not None

    def weigh(self, inputs: Structure, weights: np.ndarray | None) -> np.ndarray | None:
        """Returns weights that are 0 where inputs are padding.

        Args:
            inputs: a batch, in the structure of the model's inputs.
            weights: (batch,) or with the leading axes of the labels; or `None`.

        Returns:
            The weights as they are where there is no mask; else weights with the axes
            of the mask at least, 1 where nothing was given. Weights of a shape that
            does not fit come back as they are, for their check to refuse.
        """
        if self._network is None:
            return weights
        leaves = [ops.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]
        mask = ops.convert_to_numpy(self._network(leaves)).astype("float32")
        if weights is None:
            return mask
        # One number for an example stands for all of its positions, and the mask of a
        # position for all of its labels.
        if weights.ndim == 2 and weights.shape[1] == 1:
            weights = weights[:, 0]
        shared = min(mask.ndim, weights.ndim)
        if weights.shape[:shared] != mask.shape[:shared]:
            return weights
        axes = max(mask.ndim, weights.ndim)
        mask = mask.reshape(mask.shape + (1,) * (axes - mask.ndim))
        return mask * weights.reshape(weights.shape + (1,) * (axes - weights.ndim))
