"""An optimizer that asks for packed gradients, and unpacks them in its updates."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tfhyper import keras_private
from tfhyper.layers.packed_product import (
    PackedForm,
    ask_for_packed,
    ask_no_more,
    is_packed,
    unpacked,
)
from tfhyper.tensor_types import Tensor
from tfhyper.training.strategies import local_devices


class Packing:
    """What an optimizer asks of the generators of a model.

    Attributes:
        forms: `id` of output weights -> the form of their gradient.
        hidden: `id` of output weights -> the generator's hidden weights.
    """

    def __init__(
        self, generators: Iterable[tuple[keras.Variable, keras.Variable, PackedForm]]
    ):
        """Takes output weights, hidden weights and the form, of each generator."""
        generators = list(generators)
        self.forms = {id(output): form for output, _, form in generators}
        self.hidden = {id(output): hidden for output, hidden, _ in generators}
        self._means = {
            id(form.mean) for form in self.forms.values() if form.mean is not None
        }
        # (`id` of a mean kernel, device) -> its gradient, until it is used.
        self._mean_gradients: dict[tuple[int, str], Tensor] = {}

    def keep_if_mean(
        self, gradient: Tensor, variable: keras.Variable, device: str
    ) -> None:
        """Keeps the gradient of a mean kernel, if a short form needs it."""
        if id(variable) in self._means:
            self._mean_gradients[id(variable), device] = gradient

    def mean_gradient(self, variable: keras.Variable, device: str) -> Tensor | None:
        """Returns what was kept for some output weights, if their form is short."""
        form = self.forms.get(id(variable))
        if form is None or form.mean is None:
            return None
        return self._mean_gradients.pop((id(form.mean), device), None)


class UnpackingOptimizer(keras.optimizers.Optimizer):
    """What `unpacking` adds to the class of an optimizer.

    Keras' training step lets the optimizer scale the loss, takes gradients of what it
    gives, and hands them to the optimizer: as a `LossScaleOptimizer` has scaled
    gradients in between, this one has packed ones. Gradients of a loss that it did not
    scale are ordinary, and it takes them, too.

    Attributes:
        packing: what it asks for.
        plain_class: the class of the optimizer that it was made of.
    """

    packing: Packing
    plain_class: type[keras.optimizers.Optimizer]

    @property  # type: ignore[misc]  # nobody sets it
    def __class__(self) -> type[keras.optimizers.Optimizer]:
        # Whoever asks, as Keras does before it writes a file, is told the optimizer's.
        return self.plain_class

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Returns the loss to take gradients of, which will be packed."""
        ask_for_packed(self.packing.forms)
        return super().scale_loss(loss)

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Updates variables by gradients, packed or not."""
        ask_no_more()
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            grads = self._after_reads(list(grads), trainable_variables)
        super().apply(grads, trainable_variables)

    def _after_reads(
        self, grads: list[Tensor | None], variables: list[keras.Variable]
    ) -> list[Tensor | None]:
        """Returns gradients that are there once nothing else reads their variables.

        Only then is the update of a variable in place. The gradient of the hidden
        weights is calculated with the output weights, and is there afterwards.
        """
        import tensorflow as tf

        by_variable = {id(v): g for v, g in zip(variables, grads, strict=True)}
        for i, (variable, gradient) in enumerate(zip(variables, grads, strict=True)):
            if id(variable) not in self.packing.hidden or gradient is None:
                continue
            last = by_variable.get(id(self.packing.hidden[id(variable)]))
            if last is not None:
                with tf.control_dependencies([last]):
                    grads[i] = tf.identity(gradient)
        return grads

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Any
    ) -> None:
        """Updates one variable; by a packed gradient in one operation of XLA."""
        import tensorflow as tf

        trained = keras_private.trained_variable(self, variable)
        self.packing.keep_if_mean(gradient, trained, variable.device)
        rest = self.packing.mean_gradient(trained, variable.device)
        plain_update = super().update_step
        if not is_packed(gradient, variable):
            return plain_update(gradient, variable, learning_rate)

        def update(packed: Tensor, rest: Tensor | None, rate: Tensor) -> None:
            # The product is never in memory, where XLA compiles this.
            whole = unpacked(packed, variable.shape[0], rest)
            plain_update(whole, variable, rate)

        if len(local_devices(tf.distribute.get_strategy())) > 1:
            # XLA cannot reach the variables of a second CPU: the product is made.
            return update(gradient, rest, learning_rate)
        rate = tf.convert_to_tensor(learning_rate)
        return tf.function(update, jit_compile=True)(gradient, rest, rate)


class UnpackingLossScale(UnpackingOptimizer, keras.optimizers.LossScaleOptimizer):
    """A `LossScaleOptimizer` around an optimizer that unpacks.

    Attributes:
        unpacking_inner: that optimizer.
    """

    unpacking_inner: keras.optimizers.Optimizer

    @property
    def inner_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer whose gradients are scaled."""
        return self.unpacking_inner


def unpacking(
    optimizer: keras.optimizers.Optimizer, packing: Packing
) -> keras.optimizers.Optimizer:
    """Returns an optimizer that unpacks, with the state of another one.

    It is no copy: all attributes and variables of the two are the same ones, also those
    that are set later. Its class is made of `UnpackingOptimizer` and the optimizer's,
    whose updates it uses; it is written to files as the optimizer is. The optimizer
    stays as it is.

    Args:
        optimizer: of Keras, or one that this function has made.
        packing: what it asks for.
    """
    cls = optimizer.__class__  # the plain one, of one that unpacks already
    attributes: dict[str, Any] = {"packing": packing, "plain_class": cls}
    added = UnpackingOptimizer
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        added = UnpackingLossScale
        inner = vars(optimizer)["inner_optimizer"]
        attributes["unpacking_inner"] = unpacking(inner, packing)
    made = types.new_class(
        cls.__name__, (added, cls), {}, lambda names: names.update(attributes)
    )
    return _with_state_of(optimizer, made)


def plain(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the optimizer of one that unpacks, with the same state; others as is."""
    if not unpacks(optimizer):
        return optimizer
    return _with_state_of(optimizer, optimizer.__class__)


def unpacks(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Returns whether an optimizer was made by `unpacking`."""
    return isinstance(optimizer, UnpackingOptimizer)


def _with_state_of(
    optimizer: keras.optimizers.Optimizer, cls: type[keras.optimizers.Optimizer]
) -> keras.optimizers.Optimizer:
    made = object.__new__(cls)
    # Keras' own way to set attributes looks for variables in them.
    object.__setattr__(made, "__dict__", vars(optimizer))
    return made
