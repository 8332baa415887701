"""The categorical distribution: classes."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer
from tfhyper.heads.family import Components, Family
from tfhyper.heads.parameters import LogProbabilities, Parameter
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class Categorical(Family):
    """One of several classes, which have no order.

    Layout of the last axis: `log_probs` of the classes, normalised logits: the softmax
    of them is their exponential, so that what takes logits takes them as they are.
    Targets are class indices, (...) or (..., 1). One that is no class, such as -1, has
    a log-probability of 0 in tensors: it is ignored; `check_targets` refuses it.

    Args:
        classes: int > 1, how many there are.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.Categorical(4)
    >>> log_probs = family.link(np.zeros((1, 4), "float32"))
    >>> round(float(family.log_prob(np.array([2]), log_probs)[0]), 4)
    -1.3863
    """

    def __init__(self, classes: int):
        super().__init__()
        self.classes = check_integer("classes", classes, 2)

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The logarithms of the probabilities."""
        return (Parameter("log_probs", self.classes, LogProbabilities()),)

    def log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the log-probabilities of classes, (...)."""
        labels = ops.cast(self.expand(targets, parameters), "int32")[..., 0]
        chosen = ops.one_hot(labels, self.classes, dtype=parameters.dtype)
        return ops.sum(chosen * parameters, axis=-1)

    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Raises ValueError: classes have no order."""
        raise ValueError(
            "`family` must be of numbers: classes have no order, and no CRPS. "
            f"Received: family={self!r}"
        )

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the probabilities, (..., classes)."""
        return ops.exp(parameters)

    def variance(self, parameters: Tensor) -> Tensor:
        """Returns p (1 - p) of each class, (..., classes)."""
        probs = ops.exp(parameters)
        return probs * (1 - probs)

    def components(self, parameters: np.ndarray) -> Components:
        """Raises ValueError: averages of classes are a classification's."""
        raise ValueError(
            '`family` must be of numbers: classes are averaged with `outputs="logits"` '
            f"of a predictor. Received: family={self!r}"
        )

    def check_targets(
        self, targets: ArrayLike, leading: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Returns class indices in float64; see `Family.check_targets`."""
        array = super().check_targets(targets, leading)
        bad = array[(array < 0) | (array >= self.classes) | (array != np.floor(array))]
        if bad.size:
            raise ValueError(
                f"`targets` must be class indices, whole numbers from 0 to "
                f"{self.classes - 1}. Received: targets with the value {bad[0]}"
            )
        return array

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that the family can be made from."""
        return {"classes": self.classes}
