"""Losses that Keras does not have."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_number, check_text
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits and integer labels that are smoothed.

        -sum_c q_c log p_c,   q_c = (1 - s) [c == label] + s / classes

    with s = `label_smoothing` (Szegedy et al., 2016).

    Args:
        label_smoothing: float in 0 <= label_smoothing < 1.
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.

    Raises:
        ValueError: for a `label_smoothing` out of range.

    Example:

    >>> loss = tfhyper.training.SmoothedCrossentropy(0.1)
    >>> logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    >>> round(float(loss(np.array([0, 1]), logits)), 4)
    0.2269

    Reference:
        Szegedy et al.: Rethinking the Inception architecture for computer vision,
        CVPR 2016, section 7.
    """

    def __init__(
        self, label_smoothing: float, name: str = "smoothed_crossentropy", **kwargs: Any
    ):
        super().__init__(name=check_text("name", name), **kwargs)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, below=1)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each example, `(batch,)`."""
        labels = ops.reshape(ops.cast(y_true, "int32"), ops.shape(y_pred)[:-1])
        return keras.losses.categorical_crossentropy(
            ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype),
            y_pred,
            from_logits=True,
            label_smoothing=self.label_smoothing,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns what the loss can be made from."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
