"""Which variables of a model are kept, and a posterior around a model of such."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_instance, check_integer
from tfhyper.divergence import DivergedError
from tfhyper.saving.arrays import plain_array
from tfhyper.tensor_types import Structure
from tfhyper.variational.weight_posterior import (
    WeightPosterior,
    check_finite,
    duplicate,
)
from tfhyper.variational.weight_stacks import WeightStacks

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


def kept_places(model: keras.Model) -> list[int]:
    """Returns the places in `model.weights` of what draws may give values.

    All floating-point ones but BatchNorm's moving averages, which are estimated for
    each draw anew: weights, and what else training changes, such as norms of kernels.
    """
    averages = set()
    for layer in keras_private.flatten_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            averages |= {id(layer.moving_mean), id(layer.moving_variance)}
    return [
        i
        for i, variable in enumerate(model.weights)
        if "float" in variable.dtype and id(variable) not in averages
    ]


def check_sets(
    name: str, model: keras.Model, sets: Sequence[Sequence[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Returns sets of weights, or raises an error that names the first bad one.

    Raises:
        TypeError: for a model that is none, or what is no sequence.
        ValueError: for a model that is not built, or weights of another model.
        DivergedError: for weights that are not finite.
    """
    check_instance("model", model, keras.Model, "a Keras model")
    if not model.built:
        raise ValueError(
            "`model` must be built: give it a keras.Input or call it once. "
            f"Received: model={model.name!r}"
        )
    rule = "a sequence of lists as `model.get_weights()` gives them"
    check_instance(name, sets, Sequence, rule)
    if not len(sets):
        raise ValueError(f"`{name}` must hold a set of weights. Received: none")
    wanted = [tuple(variable.shape) for variable in model.weights]
    found = []
    for i, one in enumerate(sets):
        check_instance(f"{name}[{i}]", one, Sequence, "a list of arrays")
        arrays = [np.asarray(x) for x in one]
        shapes = [x.shape for x in arrays]
        if shapes != wanted:
            number = next(
                (k for k, pair in enumerate(zip(shapes, wanted)) if pair[0] != pair[1]),
                min(len(shapes), len(wanted)),
            )
            of = shapes[number] if number < len(shapes) else "nothing"
            to = wanted[number] if number < len(wanted) else "nothing"
            raise ValueError(
                f"`{name}` must be weights of `model`. Received: {name}[{i}] of "
                f"{len(shapes)} arrays for {len(wanted)} variables, number {number} of "
                f"shape {of} for {to}"
            )
        for variable, array in zip(model.weights, arrays, strict=True):
            if "float" in variable.dtype and not np.isfinite(plain_array(array)).all():
                raise DivergedError(
                    f"{name}[{i}] holds NaN or infinite values of '{variable.path}'"
                )
        found.append(arrays)
    return found


def check_places(model: keras.Model, varying: Sequence[int]) -> list[int]:
    """Returns places in `model.weights`, or raises ValueError or TypeError."""
    known = kept_places(model)
    rule = "a sequence of places in `model.weights`"
    for place in check_instance("varying", varying, list | tuple, rule):
        if check_integer("varying", place, 0) not in known:
            raise ValueError(
                "`varying` must be places of floating-point weights, other than "
                f"BatchNorm's averages, in `model.weights`. Received: {place}"
            )
    return list(varying)


def differing(model: keras.Model, sets: list[list[np.ndarray]]) -> list[int]:
    """Returns the places of variables that are not in all sets as in the model.

    Raises:
        ValueError: if two sets are the same.
    """
    places = []
    for place in kept_places(model):
        present = np.asarray(ops.convert_to_numpy(model.weights[place]))
        if not all(np.array_equal(one[place], present) for one in sets):
            places.append(place)
    for i, one in enumerate(sets):
        for k in range(i):
            if all(np.array_equal(one[x], sets[k][x]) for x in places):
                raise ValueError(
                    "`weight_sets` must be different ones: each counts once in the "
                    f"mean. Received: weight_sets[{k}] and weight_sets[{i}] are the "
                    "same"
                )
    return places


class KeptPosterior(WeightPosterior):
    """A model whose draws have weights that a layer made of kept ones gives.

    Args:
        model: a built Keras model. It is used and not copied.
        noise: the layer.
        varying: places in `model.weights` of the variables that are its.
        suffix: of the name of the model, where `kwargs` has no name.
        **kwargs: `keras.Model` arguments.
    """

    noise: WeightStacks
    noise_name = "kept"
    needs_moments = True

    def __init__(
        self,
        model: keras.Model,
        noise: WeightStacks,
        varying: list[int],
        suffix: str,
        /,
        **kwargs: Any,
    ):
        kwargs.setdefault("name", f"{model.name}_{suffix}")
        kwargs.setdefault("dtype", model.dtype_policy)
        super().__init__(**kwargs)
        self.autocast = False
        self.noise = noise
        noise.build()
        noise.belong_to([model.weights[place] for place in varying])
        self.model = model
        self.varying = list(varying)
        self.built = True

    def call(self, inputs: Structure, training: bool | None = None) -> Structure:
        """Returns the outputs of the model with its own weights.

        Raises:
            ValueError: in training.
        """
        if training:
            raise ValueError(
                f"`{type(self).__name__}` cannot be trained, whose weights were kept. "
                "Train its `model`, and keep other weights. Received: training=True"
            )
        return self.model(inputs, training=False)

    def check_finite(self) -> None:
        """Raises `tfhyper.training.DivergedError` for weights that are not finite."""
        check_finite(self.noise.weights)

    def arguments(self) -> dict[str, Any]:
        """Returns what `empty` takes beside the model, places and name."""
        raise NotImplementedError

    @classmethod
    def empty(cls, model: keras.Model, varying: list[int], **arguments: Any) -> "Self":
        """Returns one whose kept values are to be set."""
        raise NotImplementedError

    def duplicate(self) -> "KeptPosterior":
        """Returns an uncompiled copy, with the same weights."""
        return self._around(duplicate(self.model), **self.arguments())

    def _around(self, model: keras.Model, **arguments: Any) -> "Self":
        """Returns one with the same kept values, around this or another model.

        Args:
            model: of the same architecture.
            **arguments: what `empty` takes beside model, places and name.
        """
        found = self.empty(model, self.varying, name=self.name, **arguments)
        for new, old in zip(found.noise.weights, self.noise.weights, strict=True):
            new.assign(ops.convert_to_numpy(old))
        return found

    def get_config(self) -> dict[str, Any]:
        """Returns what the model can be made from."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "varying": self.varying,
            **self.arguments(),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "KeptPosterior":
        """Returns the model of a config; its values are those of a file to be read."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls.empty(**{**config, "model": model})
