"""The kernels of a model, and copies of the model with other kernels."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph, keras_private
from tfhyper.checks import check_finite, check_instance, check_number, check_text
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.live_config import live_config
from tfhyper.layers.stochastic import StochasticKernel

# Stock layers, by where their kernel has the input's and the output's channels.
FORWARD = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def has_kernel(layer: Any) -> bool:
    """Tells whether a layer has a kernel that can be pruned."""
    return isinstance(layer, FORWARD + TRANSPOSED + DEPTHWISE)


def check_model(model: keras.Model, argument: str = "model") -> None:
    """Raises TypeError or ValueError for a model that cannot be pruned.

    Args:
        model: what was given.
        argument: its name.
    """
    keras_graph.check_graph(model, argument)
    for layer in keras_private.flatten_layers(model, include_self=False):
        name = f"layer '{layer.name}' ({type(layer).__name__})"
        if isinstance(layer, StochasticKernel) and not isinstance(
            layer, GaussianKernel
        ):
            raise ValueError(
                f"`{argument}` must have kernels that are weights, or a Gaussian "
                "posterior of each weight for itself. Received: a model with "
                f"{name}, {layer.kernel_description}. Prune one draw of it: "
                "PosteriorPredictor(model).materialize(0), after `estimate_batch_norm`."
            )
        if getattr(layer, "lora_enabled", False) or getattr(
            layer, "quantization_mode", None
        ):
            raise ValueError(
                f"`{argument}` must have kernels that are plain weights: prune before "
                f"LoRA or quantization. Received: a model with {name}"
            )


def check_keep(keep: Iterable[str], model: keras.Model) -> set[str]:
    """Returns the names of layers to leave whole, each of a layer with a kernel."""
    layers = keras_private.flatten_layers(model, include_self=False)
    known = {layer.name for layer in layers if has_kernel(layer)}
    check_instance("keep", keep, Iterable, "a list of names of layers")
    names = [check_text("keep", name) for name in keep]
    # A string is a collection of strings, too.
    if isinstance(keep, str) or not set(names) <= known:
        raise ValueError(
            "`keep` must be a list of names of layers with a kernel, which are "
            f"{sorted(known)}. Received: keep={keep!r}"
        )
    return set(names)


def check_fraction(fraction: Any) -> float:
    """Returns `fraction`, or raises ValueError unless it is in 0 < fraction < 1."""
    return check_number("fraction", fraction, positive=True, below=1)


def magnitudes(layer: keras.Layer) -> np.ndarray:
    """Returns |w| of a layer's kernel, of a posterior's mean; 0 where pruned."""
    gaussian = isinstance(layer, GaussianKernel)
    kernel = layer.kernel_posterior.location if gaussian else layer.kernel
    kernel = ops.convert_to_numpy(kernel).astype("float64")
    return np.abs(check_finite(f"kernel of layer '{layer.name}'", kernel))


def kept_weights(layer: keras.Layer) -> np.ndarray:
    """Returns which weights of a layer's kernel are in use, a bool array.

    Those that are not 0; of a Gaussian posterior those that its mask keeps,
    since a weight of mean 0 is still a random one.
    """
    if not isinstance(layer, GaussianKernel):
        return ops.convert_to_numpy(layer.kernel) != 0
    posterior = layer.kernel_posterior
    if posterior.mask is None:
        return np.ones(posterior.shape, bool)
    return ops.convert_to_numpy(posterior.mask) != 0


def rebuild_with(
    model: keras.Model, changes: Callable[[keras.Layer], dict[str, Any]]
) -> tuple[keras.Model, list[tuple[keras.Layer, keras.Layer]]]:
    """Returns an uncompiled model of new layers, nested models flat.

    Args:
        model: a functional or built Sequential model.
        changes: gives the arguments of a layer that are to be others.

    Returns:
        The model, with weights as layers start with, and the pairs (layer of
        `model`, new layer) in the order of the graph.
    """
    return keras_graph.remake(model, lambda x, name: _copy(x, name, changes))


def _copy(
    operation: keras.Operation,
    name: str,
    changes: Callable[[keras.Layer], dict[str, Any]],
) -> keras.Operation:
    found = changes(operation) if isinstance(operation, keras.Layer) else {}
    if not found:
        return keras_graph.copy_or_use(operation, name)
    return type(operation).from_config({**live_config(operation), "name": name} | found)


def copy_weights(
    layer: keras.Layer, copy: keras.Layer, edit: Callable[[str, np.ndarray], np.ndarray]
) -> None:
    """Sets every variable of `copy`, random states too, to edit(name, value).

    A mask that `copy` alone has is left to the caller.
    """
    if keras_graph.is_used(layer, copy):
        return
    variables = copy.variables
    if getattr(copy, "pruned", False) and not layer.pruned:
        variables = [x for x in variables if x is not copy.kernel_posterior.mask]
    for variable, old in zip(variables, layer.variables, strict=True):
        variable.assign(edit(old.name, ops.convert_to_numpy(old)))
    keras_graph.finalize(copy)
