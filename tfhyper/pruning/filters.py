"""Whole filters taken out."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfhyper.pruning import kernels
from tfhyper.pruning.channels import Channels


def prune_filters(
    model: keras.Model, fraction: float, *, keep: Iterable[str] = ()
) -> keras.Model:
    """Returns a smaller model: whole filters, or units, are taken out.

    Of each layer the filters with the smallest mean |w| over their kernel go
    (mean |mean| for a Gaussian posterior; the bias does not count), and with
    them what the layers behind have for their channels: rows of kernels, and
    weights of BatchNorm. So the smaller model gives what `model` would with
    those rows at zero.

    A layer's filters can go where all that reads its channels is Conv,
    ConvTranspose (no groups) or Dense layers, reached through layers that act on
    each channel by itself: BatchNorm, elementwise activations, pooling, dropout,
    padding, cropping, upsampling, Flatten. Channels that are added,
    concatenated, reshaped, an output of the model or sent through a layer of
    another kind stay; `filters_that_stay` says which and why. Channels last.

    Args:
        model: a functional or built Sequential model, without Hyper* layers. It
            is left as it is.
        fraction: float in 0 < fraction < 1; round(fraction x filters) go of each
            layer that can lose some, of equal ones the first; one is left.
        keep: names of layers that keep their filters.

    Returns:
        A functional model of the same name and trainable layers, not compiled;
        nested models come out flat.

    Raises:
        TypeError: if the model's graph is not known.
        ValueError: for a fraction out of range, an unknown name in `keep`, Hyper*
            layers; or if no layer can lose a filter.

    Example:

    >>> small = tfhyper.pruning.prune_filters(model, 0.5)
    >>> small.get_layer("conv").filters / model.get_layer("conv").filters
    0.5

    Reference:
        Li et al.: Pruning filters for efficient ConvNets, ICLR 2017.
    """
    kernels.check_model(model)
    fraction = kernels.check_fraction(fraction)
    channels = Channels(model, kernels.check_keep(keep, model))
    free = [layer for layer in channels.layers if id(layer) not in channels.stays]
    kept = {id(layer): _largest_filters(layer, fraction) for layer in free}
    if all(mask.all() for mask in kept.values()):
        stays = "; ".join(
            f"'{layer.name}': {channels.stays[id(layer)]}"
            for layer in channels.layers
            if id(layer) in channels.stays
        )
        few = "; ".join(f"'{x.name}': {kept[id(x)].size} filters" for x in free)
        raise ValueError(
            f"No layer can lose filters with `fraction={fraction}`. "
            f"Too few: {few or 'none'}. Fixed: {stays or 'none'}."
        )

    def changes(layer: keras.Layer) -> dict[str, Any]:
        mask = kept.get(id(layer))
        if mask is None:
            return {}
        size = "units" if isinstance(layer, keras.layers.Dense) else "filters"
        return {size: int(mask.sum())}

    smaller, pairs = kernels.rebuild_with(model, changes)
    for layer, copy in pairs:
        source = channels.sources.get(id(layer))
        _fill(layer, copy, kept.get(id(layer)), kept.get(id(source)))
    return smaller


def filters_that_stay(model: keras.Model, keep: Iterable[str] = ()) -> dict[str, str]:
    """Returns the layers whose filters `prune_filters` leaves, and why.

    Args:
        model: as for `prune_filters`.
        keep: as for `prune_filters`.

    Returns:
        A dict, name of a layer -> reason, in the order of the graph; the other
        layers with a kernel can lose filters.

    Raises:
        TypeError, ValueError: as `prune_filters`, for its model and `keep`.

    Example:

    >>> tfhyper.pruning.filters_that_stay(model)
    {'logits': 'its channels are an output of the model'}
    """
    kernels.check_model(model)
    channels = Channels(model, kernels.check_keep(keep, model))
    return {
        layer.name: channels.stays[id(layer)]
        for layer in channels.layers
        if id(layer) in channels.stays
    }


def _largest_filters(layer: keras.Layer, fraction: float) -> np.ndarray:
    """Returns a mask of a layer's filters: False for the smallest."""
    scores = kernels.magnitudes(layer)
    axis = _axes(layer)[1]
    scores = np.moveaxis(scores, axis, 0).reshape(scores.shape[axis], -1).mean(axis=1)
    mask = np.ones(scores.size, bool)
    count = min(round(fraction * scores.size), scores.size - 1)
    mask[np.argsort(scores, kind="stable")[:count]] = False
    return mask


def _axes(layer: keras.Layer) -> tuple[int, int]:
    """Returns the axes of a kernel that are the input's and the output's channels."""
    return (-1, -2) if isinstance(layer, kernels.TRANSPOSED) else (-2, -1)


def _fill(
    layer: keras.Layer,
    copy: keras.Layer,
    outputs: np.ndarray | None,
    inputs: np.ndarray | None,
) -> None:
    """Copies the weights of a layer, those of the masks of its channels."""
    has_kernel = kernels.has_kernel(layer)

    def edit(name: str, value: np.ndarray) -> np.ndarray:
        if not has_kernel:
            # BatchNorm's vectors; a layer without a source has none to lose.
            return _select(value, inputs, -1)
        if name.startswith("kernel"):
            into, out = _axes(layer)
            return _select(_select(value, inputs, into), outputs, out)
        return _select(value, outputs, -1) if name.startswith("bias") else value

    kernels.copy_weights(layer, copy, edit)


def _select(value: np.ndarray, mask: np.ndarray | None, axis: int) -> np.ndarray:
    if mask is None:
        return value
    # Behind a Flatten, the channels come again at each position.
    mask = np.tile(mask, value.shape[axis] // mask.size)
    return np.compress(mask, value, axis=axis)
