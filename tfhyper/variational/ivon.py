"""The optimizer that learns mean and scale of Gaussian weights."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_learning_rate, check_number, check_text
from tfhyper.saving.models import trial_variables
from tfhyper.tensor_types import Tensor
from tfhyper.variational.weight_noise import WeightNoise, noise_of

# Arguments of Keras' optimizers -> why this one cannot take them.
_REFUSED = {
    "clipnorm": "a clipped gradient has another curvature",
    "clipvalue": "a clipped gradient has another curvature",
    "global_clipnorm": "a clipped gradient has another curvature",
    "use_ema": "the mean of the posterior is an average over steps already",
    "weight_decay": "it is a part of the posterior: give it to `tfhyper.Variational`",
}


@keras.saving.register_keras_serializable("tfhyper")
class IVON(keras.optimizers.Optimizer):
    """Improved variational online Newton: learns mean and scale of all weights.

    The optimizer of `tfhyper.Variational`, whose model draws weights
    w = m + sigma eps, sigma^2 = 1 / (lambda (h + delta)), in each step. With the
    gradient g' of the mean loss at w, and step t = 1, 2, ...,

        h' = lambda (h + delta) (w - m) g'                  estimate of the curvature
        g <- beta_1 g + (1 - beta_1) g'
        h <- beta_2 h + (1 - beta_2) h' + (1 - beta_2)^2 (h - h')^2 / (2 (h + delta))
        m <- m - rate (g / (1 - beta_1^t) + delta m) / (h + delta)

    weight by weight. h + delta never falls below a half of what it was, so that it
    stays positive. lambda and delta are the model's. Weights without noise have the
    first h throughout: that is SGD with momentum.

    It takes gradients with respect to m and h, as backpropagation gives them: dL/dm
    is g', and dL/dh is h' but for a factor that is known. So a mean over replicas,
    over parts of a batch or over accumulated steps, each with noise of its own, is
    the mean of the products of noise and gradient.

    Against SGD with momentum it has one more vector of the weights, h. The rate is
    about that of SGD by (1 - momentum), times h.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule. With h it
            makes the length of a step, learning_rate / (h + delta).
        beta_1: float in 0 <= beta_1 < 1, the averaging of the gradient.
        beta_2: float in 0 <= beta_2 < 1, the averaging of the curvature: about
            1 / (1 - beta_2) steps. Nearer to 1, h stays where it began;
            `tfhyper.training.compile_variational_recipe` takes half of all steps.
        name: name of the optimizer.
        **kwargs: `loss_scale_factor` and `gradient_accumulation_steps` of Keras'
            optimizers. The others are refused: clipping, averages and weight decay.

    Raises:
        ValueError: for an argument out of range, or one that is refused; when it is
            built, for variables that are not those of a `tfhyper.Variational`.

    Example:

    >>> network = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    >>> model = tfhyper.Variational(network, num_examples=50_000)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile(tfhyper.training.IVON(0.5, beta_2=0.999), loss)
    >>> model.optimizer.beta_1, model.optimizer.beta_2
    (0.9, 0.999)

    Reference:
        Shen et al.: Variational learning is effective for large deep networks, ICML
        2024, algorithm 1. Made from the equations.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.5,
        beta_1: float = 0.9,
        beta_2: float = 0.9999,
        name: str = "ivon",
        **kwargs: Any,
    ):
        check_learning_rate(learning_rate)
        check_text("name", name)
        for argument, reason in _REFUSED.items():
            if kwargs.get(argument):
                raise ValueError(
                    f"`{argument}` must be left out: {reason}. "
                    f"Received: {argument}={kwargs[argument]!r}"
                )
        super().__init__(learning_rate, name=name, **kwargs)
        self.beta_1 = check_number("beta_1", beta_1, below=1)
        self.beta_2 = check_number("beta_2", beta_2, below=1)
        self._noise: Callable[[], WeightNoise]

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the momentum of each mean.

        Args:
            variables: the `trainable_variables` of a `tfhyper.Variational`.

        Raises:
            ValueError: for others.
        """
        if self.built:
            return
        variables = list(variables)
        noise = noise_of(variables[0]) if variables else None
        places = [] if noise is None else list(map(noise.place_of, variables[1:]))
        covered = sum(end - start for start, end in filter(None, places))
        if noise is None or covered != noise.size:
            raise ValueError(
                "`IVON` needs the trainable variables of a `tfhyper.Variational`, its "
                "curvature first: compile tfhyper.Variational(model, num_examples), "
                f"not the model itself. Received: {len(variables)} variables"
                + (f", the first of them '{variables[0].path}'" if variables else "")
            )
        super().build(variables)
        # In a function: a layer is no part of an optimizer, and not saved with it.
        self._noise = lambda: noise
        self._places = places
        self.momentums = [
            self.add_variable_from_reference(variable, name="momentum")
            for variable in variables[1:]
        ]

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Updates means and curvature by the gradients of both."""
        grads = list(grads)
        if grads and grads[0] is None:
            raise ValueError(
                "`IVON` needs gradients of a loss of `tfhyper.Variational` that was "
                "called with `training=True`. Received: no gradient of the curvature"
            )
        super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Tensor
    ) -> None:
        """Updates the curvature, or one of the means after it."""
        index = keras_private.variable_index(self, variable)
        noise = self._noise()
        gradient = ops.cast(gradient, "float32")
        if index == 0:
            old = ops.convert_to_tensor(variable)
            found = noise.sampled_curvature(gradient, old)
            part = 1 - self.beta_2
            correction = part**2 * ops.square(old - found)
            correction = correction / (2 * (old + noise.weight_decay))
            self.assign(variable, self.beta_2 * old + part * found + correction)
            return
        momentum = self.momentums[index - 1]
        rate = ops.cast(learning_rate, "float32")
        average = self.beta_1 * ops.cast(momentum, "float32")
        # Functions and no operators: an embedding's gradient may hold some rows alone.
        average = ops.add(average, ops.multiply(gradient, 1 - self.beta_1))
        self.assign(momentum, ops.cast(average, momentum.dtype))
        precision = self._precision(index - 1, momentum.shape)
        step = ops.cast(self.iterations + 1, "float32")
        average = average / (1 - ops.power(ops.cast(self.beta_1, "float32"), step))
        mean = ops.cast(ops.convert_to_tensor(variable), "float32")
        change = rate * (average + noise.weight_decay * mean) / precision
        self.assign_sub(variable, ops.cast(change, variable.dtype))

    def _precision(self, number: int, shape: tuple[int, ...]) -> Tensor | float:
        """Returns h + delta of a mean; of one without noise, with the first h."""
        noise, place = self._noise(), self._places[number]
        if place is None:
            return noise.initial_curvature + noise.weight_decay
        curvature = ops.convert_to_tensor(keras_private.trained_variables(self)[0])
        return ops.reshape(curvature[slice(*place)] + noise.weight_decay, shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what the optimizer can be made from."""
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2}
        return {**super().get_config(), **betas}


@trial_variables.register
def _of_noise(optimizer: IVON) -> list[keras.Variable]:
    """Returns a curvature, and a mean that belongs to it."""
    noise = WeightNoise(64, 1.0, 1.0, 1.0, seed=0)
    noise.build()
    mean = keras.Variable("zeros", shape=(8, 8))
    noise.belong_to([mean])
    return [noise.curvature, mean]
