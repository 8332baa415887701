"""Stochastic gradient descent with the weight decay of the papers."""

import keras
from keras import ops

from tfhyper.checks import check_number


@keras.saving.register_keras_serializable("tfhyper")
class CoupledDecaySGD(keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient.

        g = dL/dw + coupled_decay w        and then Keras' SGD with g,

    the gradient of the penalty coupled_decay / 2 |w|^2, as in the papers and in
    Torch. The `weight_decay` of Keras' optimizers is another thing: it passes
    by the momentum, so that with momentum 0.9 it decays ten times less for the
    same number. As a penalty it would also be added to the reported loss; here
    the loss stays the negative log-likelihood.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule.
        momentum: float in [0, 1].
        nesterov: bool.
        coupled_decay: float >= 0.
        no_decay: strings; a variable with one of them in its path is not
            decayed.
        **kwargs: other arguments of `keras.optimizers.SGD`.

    Raises:
        ValueError: for a negative `coupled_decay`.

    Example:

    >>> optimizer = tfhyper.training.CoupledDecaySGD(
    ...     0.1, momentum=0.9, nesterov=True, coupled_decay=5e-4)
    """

    def __init__(
        self,
        learning_rate=0.1,
        momentum: float = 0.9,
        nesterov: bool = True,
        coupled_decay: float = 0.0,
        no_decay: tuple[str, ...] = (),
        name: str = "coupled_decay_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate, momentum, nesterov, name=name, **kwargs)
        self.coupled_decay = check_number("coupled_decay", coupled_decay)
        self.no_decay = tuple(no_decay)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, with the penalty's gradient added to its own."""
        # Here, not in `apply`: gradients of several replicas are summed by now.
        if self.coupled_decay and self._decays(variable):
            decay = ops.cast(self.coupled_decay, gradient.dtype)
            gradient = gradient + decay * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def _decays(self, variable):
        # `variable` is the backend's own; the path is that of the Keras one.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        return not any(part in path for part in self.no_decay)

    def get_config(self):
        """Returns what the optimizer can be made from."""
        return {
            **super().get_config(),
            "coupled_decay": self.coupled_decay,
            "no_decay": list(self.no_decay),
        }
