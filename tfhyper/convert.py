"""A trained Keras model made stochastic."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph, kits
from tfhyper.checks import check_bool, check_instance, check_number, check_text
from tfhyper.kits.kit import Apply, Replace
from tfhyper.layers import StochasticLayer
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.live_config import live_config
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.tensor_types import Structure, Tensor

# Layers with weights that no kit draws: norms, and what was adapted to data.
COPIED = tuple(
    getattr(keras.layers, name)
    for name in (
        "BatchNormalization",
        "Discretization",
        "GroupNormalization",
        "LayerNormalization",
        "Normalization",
        "RMSNormalization",
    )
    if hasattr(keras.layers, name)
)


def convert(
    model: keras.Model,
    kit: str | kits.LayerKit,
    *,
    keep: Iterable[str] | Callable[[keras.Layer], bool] = (),
    moped: bool = False,
    moped_delta: float = 0.1,
) -> keras.Model:
    """Returns a stochastic copy of a trained model, layers of a kit in its graph.

    Every layer of a class in `kit.replaces` is replaced by the kit's. Its trained
    kernel w becomes the mean of a Gaussian posterior, the mean kernel beside
    which a generated one has a deviation, or the kernel of code z = 0 of a Bayesian
    hypernetwork; MC dropout keeps the layer and puts masks before it. Biases, and
    all other layers, are copied with their weights. At the posterior's mean, or
    that code, the copy predicts what `model` does.

    A kit with a head of its own, `kits.sngp` or `kits.vbll`, puts that in place of each
    `keras.layers.Dense` at the end, behind which there are no weights. That of
    `kits.vbll` has the trained kernel as its mean, and all other layers are left as
    they are. That of `kits.sngp` is of other features and starts anew, and kernels of a
    norm above the bound become smaller: train the copy.

    Layers without weights, norms and layers adapted to data are copied, as are
    layers of this package that are in the model already. A shared layer stays one
    shared layer. Frozen layers (`trainable=False`) are replaced and stay frozen:
    their posterior does not learn. Leave them out by
    `keep=lambda layer: not layer.trainable`. Nested models come out flat; layers
    keep their names, and get a `_` where two models had one name. `model` is not
    changed and shares no variable with the copy, which is not compiled. (But for a
    layer that cannot be copied, as its config leaves something of it out, such as a
    `Lambda` or a class with an attribute that was set later: it is the same in both.)

    With `moped` (Krishnan et al., 2020) posterior and prior come from the trained
    weights,

        q(weight) = N(w, (delta max(|w|, h / 100))^2)
        p(weight) = N(w, prior_scale^2)

    where h = sqrt(2 / fan_in) gives weights near 0 a scale, too. Without it the
    scale is the kit's `initial_scale` and the prior that of the kit.

    Args:
        model: a functional or Sequential model that is built, with nested models
            of these kinds or without, such as one of `keras.applications`.
        kit: a `LayerKit`, or the name of one in `kits.KITS`. That of `kits.hyper`
            needs `mean_kernel=True`; its `deviation_scale` is how far a draw is
            from the trained network at first, and each layer is a block to it.
        keep: names of layers or nested models to leave as they are, or a function
            that says so of a layer or nested model.
        moped: bool, for `kits.bayes` alone.
        moped_delta: finite float > 0, delta.

    Returns:
        A functional `keras.Model` of the same name, inputs and outputs.

    Raises:
        ValueError: for a layer with weights that the kit cannot replace, such as
            LSTM, or a layer around other layers; a kit that keeps no trained
            weights; a name in `keep` that no layer has; a model with nothing to
            replace, or without a layer at its end that the kit's head stands for;
            MOPED with another kit or with a `prior` of its own.
        TypeError: for a model whose graph is not known (a subclass with its own
            `call`).

    Example:

    >>> model = keras.applications.ResNet50(weights="imagenet")
    >>> kit = tfhyper.kits.bayes(num_examples=50_000)
    >>> bayesian = tfhyper.convert(model, kit, keep=["conv1_conv"], moped=True)

    Reference:
        Krishnan, Subedar, Tickoo: Specifying weight priors in Bayesian deep
        neural networks with empirical Bayes, AAAI 2020.
    """
    keras_graph.check_graph(model)
    kit = kits.get(kit)
    check_bool("moped", moped)
    check_number("moped_delta", moped_delta, positive=True)
    replaced = _find_replaced(model, kit, keep)

    def make(operation: keras.Operation, name: str) -> keras.Operation | Apply:
        if id(operation) in replaced:
            # Its class is a stock layer's: the config is all that it is.
            layer = keras_graph.renamed(operation, name)
            return _replace(replaced[id(operation)], layer, name, moped, kit.name)
        return keras_graph.copy_or_use(operation, name)

    copies = keras_graph.Copies(make)

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        copy = copies.of(operation)
        if id(operation) not in replaced:
            return copy(*args, **kwargs)
        # The inputs alone: a mode given in the call is not for the kit's layers.
        return copy(args[0] if args else next(iter(kwargs.values())))

    inputs, outputs = keras_graph.rebuild(model, call)
    converted = keras.Model(inputs, outputs, name=model.name)
    for operation, name, copy in copies.made():
        if id(operation) in replaced:
            _carry(operation, converted.get_layer(name), moped_delta if moped else None)
        elif isinstance(operation, keras.Layer):
            keras_graph.copy_weights(operation, copy)
    return converted


def _find_replaced(
    model: keras.Model,
    kit: kits.LayerKit,
    keep: Iterable[str] | Callable[[keras.Layer], bool],
) -> dict[int, Replace]:
    """Returns what replaces layers, by their ids, or raises ValueError."""
    found = list(keras_graph.walk(model))
    if not callable(keep):
        keep = _by_name(keep, {x.name for line in found for x in line})
    kept = {id(line[-1]) for line in found if any(map(keep, line))}
    layers = {id(line[-1]): line[-1] for line in found if id(line[-1]) not in kept}
    replaced = {
        key: kit.replace for key, x in layers.items() if type(x) in kit.replaces
    }
    if kit.heads:
        at_end = [x for x in keras_graph.layers_at_end(model) if id(x) in layers]
        heads = {id(x) for x in at_end if type(x) in kit.heads}
        if not heads:
            classes = sorted(cls.__name__ for cls in kit.heads)
            raise ValueError(
                f"`model` must end in a layer that the head of the kit '{kit.name}' "
                f"stands for, one of {classes}, with no weights behind it. Received: "
                f"model '{model.name}', at whose end are {[x.name for x in at_end]}"
            )
        replaced |= dict.fromkeys(heads, kit.replace_head or kit.replace)
    takes_all = bool(kit.replaces) or not kit.heads
    stuck = [
        layer
        for key, layer in layers.items()
        if key not in replaced
        and takes_all
        and not _is_copied(layer)
        or _is_quantized(layer)
    ]
    if stuck:
        listed = ", ".join(f"'{x.name}' ({type(x).__name__})" for x in stuck)
        raise ValueError(
            f"`kit` must replace every layer with weights. The kit '{kit.name}' cannot "
            f"replace: {listed}. To leave them deterministic, give "
            f"keep={[x.name for x in stuck]}."
        )
    if not replaced:
        classes = sorted(cls.__name__ for cls in kit.replaces)
        raise ValueError(
            f"`model` must have layers to convert. The kit '{kit.name}' replaces "
            f"{classes}. Received: model '{model.name}' with {len(kept)} layers kept"
        )
    return replaced


def _by_name(keep: Iterable[str], known: set[str]) -> Callable[[keras.Layer], bool]:
    """Returns the function that says whether a layer's name is among `keep`."""
    rule = "names of layers, or a function of a layer"
    names = (
        [keep]
        if isinstance(keep, str)
        else check_instance("keep", keep, Iterable, rule)
    )
    names = [check_text("keep", name) for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            "`keep` must be names of layers of the model, or a function of a layer. "
            f"Received: keep={keep!r}, of which the model has no {unknown}"
        )
    return lambda layer: layer.name in names


def _is_copied(layer: keras.Layer) -> bool:
    return not layer.weights or isinstance(layer, (*COPIED, StochasticLayer))


def _is_quantized(layer: keras.Layer) -> bool:
    return getattr(layer, "quantization_mode", None) is not None


def _replace(
    replace: Replace, layer: keras.Layer, path: str, moped: bool, kit: str
) -> Apply:
    """Returns what takes a layer's place: something to call on a tensor."""
    layer = replace(layer, path)
    if moped:
        if not isinstance(layer, GaussianKernel):
            raise ValueError(
                "`moped` must be False for a kit other than `tfhyper.kits.bayes`: it "
                f"sets Gaussian posteriors. Received: moped=True, kit '{kit}'"
            )
        config = {**live_config(layer), "prior_mean": "weight"}
        layer = type(layer).from_config(config)
    return layer


def _carry(
    original: keras.Layer, layer: keras.Layer, moped_delta: float | None
) -> None:
    """Gives a kit's layer the trained weights of the one it replaces."""
    if isinstance(layer, StochasticKernel):
        # Copies: on some backends arrays share the memory of variables.
        weights = (original.kernel, original.bias)
        layer.set_mean(*(None if w is None else _to_numpy(w) for w in weights))
        if moped_delta is not None:
            layer.set_moped(moped_delta)
    elif original.weights and not getattr(layer, "starts_anew", False):
        keras_graph.copy_weights(original, layer)


def _to_numpy(variable: Tensor) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))
