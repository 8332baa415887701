"""Single weights set to zero."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_choice, check_number
from tfhyper.layers import priors
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.pruning import kernels

Criterion: TypeAlias = Literal["magnitude", "signal_to_noise"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
Scope: TypeAlias = Literal["global", "layer"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


def prune(
    model: keras.Model,
    *,
    threshold: float | None = None,
    fraction: float | None = None,
    criterion: Criterion = "magnitude",
    scope: Scope = "global",
    keep: Iterable[str] = (),
) -> keras.Model:
    """Returns a copy of a model, its least important weights set to zero.

    A weight w, or one with the posterior N(mean, sigma^2), has the score

        magnitude          |w|, or |mean|        L1 pruning
        signal_to_noise    |mean| / sigma        Gaussian posteriors alone

    and the weights with the smallest scores go. Kernels are pruned: those of
    Conv, ConvTranspose, DepthwiseConv and Dense layers, stock ones and Bayes*.
    Biases, BatchNorm, layers of other kinds and layers inside of other layers
    (in a `TimeDistributed`, say) stay as they are; with `signal_to_noise` so do
    stock layers.

    A Bayes* layer comes out with `pruned=True`: its mask holds the weight at 0
    in every draw and in further training, and its KL divergence counts the
    weights that are left. Stock layers have no mask: train on and their zeros
    fill, so prune last.

    Args:
        model: a functional or built Sequential model, without Hyper* layers. It
            is left as it is. A model that was pruned before can be again: its
            zeros stay, and count.
        threshold: float >= 0; the weights with a score <= threshold go.
        fraction: float in 0 < fraction < 1; the round(fraction x weights)
            smallest go, of equal ones the first in the order of the graph. Give
            it or `threshold`. Weights of layers in `keep` are not counted.
        criterion: `"magnitude"` or `"signal_to_noise"`.
        scope: `"global"`, one ranking of the network's weights, or `"layer"`,
            `fraction` of each layer.
        keep: names of layers that stay whole.

    Returns:
        A functional model of the same name and trainable layers, not compiled;
        nested models come out flat.

    Raises:
        TypeError: if the model's graph is not known.
        ValueError: for an argument out of range, both or none of `threshold`
            and `fraction`, an unknown name in `keep`, a model without kernels to
            prune, Hyper* layers, a prior over several weights together; or if
            nothing would be left of a layer.

    Example:

    >>> small = tfhyper.pruning.prune(
    ...     model, fraction=0.5, criterion="signal_to_noise", keep=["logits"]
    ... )
    >>> [(row.name, row.kept / row.weights)
    ...     for row in tfhyper.pruning.report(model, small).layers]
    [('conv', 0.5), ('logits', 1.0)]

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015,
        section 5.1. Han et al.: Learning both weights and connections for
        efficient neural networks, NeurIPS 2015.
    """
    kernels.check_model(model)
    _check_amount(threshold, fraction)
    check_choice("criterion", criterion, CRITERIA)
    check_choice("scope", scope, SCOPES)
    keep = kernels.check_keep(keep, model)
    by_noise = criterion == "signal_to_noise"

    def goes(layer: keras.Layer) -> bool:
        gaussian = isinstance(layer, GaussianKernel)
        takes_part = gaussian or (kernels.has_kernel(layer) and not by_noise)
        return takes_part and layer.name not in keep

    def changes(layer: keras.Layer) -> dict[str, Any]:
        if not (goes(layer) and isinstance(layer, GaussianKernel)):
            return {}
        _check_prior(layer)
        return {"pruned": True}

    pruned, pairs = kernels.rebuild_with(model, changes)
    layers = [layer for layer, _ in pairs if goes(layer)]
    if not layers:
        kind = "a Gaussian posterior" if by_noise else "a kernel"
        raise ValueError(
            f"`model` must have a layer with {kind} that is not in `keep`, for "
            f"`criterion={criterion!r}`. Received: model={model.name!r}, "
            f"keep={sorted(keep)}"
        )
    scores = [_scores(layer, by_noise) for layer in layers]
    if threshold is not None:
        masks = [score > threshold for score in scores]
    else:
        share = kernels.check_fraction(fraction)
        groups = [[score] for score in scores] if scope == "layer" else [scores]
        masks = [mask for group in groups for mask in _largest(group, share)]
    for layer, mask in zip(layers, masks, strict=True):
        if not mask.any():
            raise ValueError(
                f"Nothing would be left of layer '{layer.name}': all its {mask.size} "
                "weights are among the smallest. Prune less, with "
                '`scope="layer"`, or give its name in `keep`. Received: '
                f"threshold={threshold!r}, fraction={fraction!r}"
            )
    found = {id(layer): mask for layer, mask in zip(layers, masks, strict=True)}
    for layer, copy in pairs:
        _fill(layer, copy, found.get(id(layer)))
    return pruned


def _check_amount(threshold: float | None, fraction: float | None) -> None:
    if (threshold is None) == (fraction is None):
        raise ValueError(
            "Exactly one of `threshold` and `fraction` must be given. "
            f"Received: threshold={threshold!r}, fraction={fraction!r}"
        )
    if fraction is not None:
        kernels.check_fraction(fraction)
        return
    check_number("threshold", threshold)


def _check_prior(layer: keras.Layer) -> None:
    try:
        priors.check_single("pruned", True, layer.prior)
    except ValueError as error:
        raise ValueError(
            f"Layer '{layer.name}' cannot be pruned; give its name in `keep`: {error}"
        ) from error


def _scores(layer: keras.Layer, by_noise: bool) -> np.ndarray:
    scores = kernels.magnitudes(layer)
    if by_noise:
        # In float64, whose softplus is above 0 wherever float32's rho is sensible.
        rho = ops.convert_to_numpy(layer.kernel_posterior.rho).astype("float64")
        scores /= np.maximum(np.logaddexp(0, rho), np.finfo("float64").tiny)
    return scores


def _largest(scores: Sequence[np.ndarray], fraction: float) -> list[np.ndarray]:
    """Returns masks of arrays: False for the smallest of all their values."""
    values = np.concatenate([score.ravel() for score in scores])
    mask = np.ones(values.size, bool)
    # A stable sort: of equal values the first come first.
    order = np.argsort(values, kind="stable")
    mask[order[: round(fraction * values.size)]] = False
    ends = np.cumsum([score.size for score in scores])[:-1]
    parts = np.split(mask, ends)
    return [part.reshape(score.shape) for part, score in zip(parts, scores)]


def _fill(layer: keras.Layer, copy: keras.Layer, mask: np.ndarray | None) -> None:
    """Copies the weights of a layer, and prunes them if there is a mask."""
    if mask is None:
        kernels.copy_weights(layer, copy, lambda name, value: value)
        return
    # What was pruned before stays so.
    mask &= kernels.kept_weights(layer)

    def edit(name: str, value: np.ndarray) -> np.ndarray:
        # Kernel, mean and rho, prior mean, mask: what is pruned is 0 in the file.
        if not name.startswith("kernel"):
            return value
        return np.where(mask, value, np.zeros((), value.dtype))

    kernels.copy_weights(layer, copy, edit)
    if isinstance(copy, GaussianKernel):
        copy.kernel_posterior.set_mask(mask)
