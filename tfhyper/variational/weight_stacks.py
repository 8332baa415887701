"""Variables that hold several values of others."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_positive_integer
from tfhyper.tensor_types import Tensor
from tfhyper.variational.weight_posterior import NoiseOfWeights


class WeightStacks(NoiseOfWeights, keras.layers.Layer):
    """What layers have in common that hold values of a model's variables.

    The values are variables that training leaves alone. Whose they are, `belong_to`
    tells; a layer alone does not know.
    """

    def take_shapes(self, shapes: Sequence[Sequence[int]]) -> None:
        """Takes the shapes of the variables, or raises ValueError or TypeError."""
        self.shapes = [
            tuple(check_positive_integer("shapes", size) for size in shape)
            for shape in shapes
        ]
        self._variables: Callable[[], list[keras.Variable]] = list

    def add_stacks(self, name: str, count: int | None = None) -> list[keras.Variable]:
        """Makes a variable for each of the others, with an axis of `count` in front."""
        front = () if count is None else (count,)
        return [
            self.add_weight(
                shape=(*front, *shape),
                initializer="zeros",
                trainable=False,
                autocast=False,
                name=f"{name}{i}",
            )
            for i, shape in enumerate(self.shapes)
        ]

    def belong_to(self, variables: Sequence[keras.Variable]) -> None:
        """Tells whose the values are: variables of the shapes."""
        found = list(variables)
        # In a function: a layer's variables are its own.
        self._variables = lambda: found

    @property
    def variables_drawn(self) -> list[keras.Variable]:
        """The variables that a draw gives other values."""
        return self._variables()

    @property
    def size(self) -> int:
        """How many numbers they are together."""
        return sum(math.prod(shape) for shape in self.shapes)

    def beside(self, values: Iterable[Tensor]) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each variable with a value, in its type."""
        return [
            (variable, ops.cast(value, variable.dtype))
            for variable, value in zip(self.variables_drawn, values, strict=True)
        ]

    def stack_config(self) -> dict[str, Any]:
        """Returns the part of the config that all such layers have."""
        config = keras.layers.Layer.get_config(self)
        del config["dtype"]
        return {**config, "shapes": [list(shape) for shape in self.shapes]}
