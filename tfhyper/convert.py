"""A trained Keras model made stochastic."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph, kits
from tfhyper.checks import check_bool, check_number
from tfhyper.conversion import (
    NOT_ASKED,
    Keep,
    LayerConversion,
    Where,
    plan,
    replaces,
)
from tfhyper.kits.kit import Apply, Replace
from tfhyper.layers import ConcreteDropout, GaussianPosterior, RandomVariables
from tfhyper.layers.frozen import trainable_inside
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.live_config import live_config
from tfhyper.layers.lora import adapters_of
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.tensor_types import Structure, Tensor


def convert(
    model: keras.Model,
    kit: str | kits.LayerKit,
    *,
    keep: Keep = (),
    where: Where | None = None,
    moped: bool = False,
    moped_delta: float = 0.1,
) -> keras.Model:
    """Returns a stochastic copy of a trained model, layers of a kit in its graph.

    Every layer of a class in `kit.replaces` is replaced by the kit's. Its trained
    kernel w becomes the mean of a Gaussian posterior, the mean kernel beside
    which a generated one has a deviation, or the kernel of code z = 0 of a Bayesian
    hypernetwork; MC dropout and Concrete dropout keep the layer and put masks before
    it, DropConnect puts them on its weights. Biases, and all other layers, are copied
    with their weights. At the posterior's mean, or that code, the copy predicts what
    `model` does.

    With `kits.subspace` the trained weights are those of the midpoint.

    With `kits.bayes`, `kits.variational_dropout`, `kits.drop_connect` and `kits.hyper`
    all other layers that have variables of the roles `kit.wraps` (kernels, recurrent
    kernels and embeddings, unless you say otherwise) are wrapped in
    `tfhyper.layers.RandomVariables`: LSTM, Bidirectional, Embedding,
    MultiHeadAttention, EinsumDense, SeparableConv2D, TimeDistributed and others, those
    of your own too, if their config says all that they are.

    A kit with a head of its own, `kits.sngp` or `kits.vbll`, puts that in place of each
    `keras.layers.Dense` at the end, behind which there are no weights. That of
    `kits.vbll` has the trained kernel as its mean, and all other layers are left as
    they are. That of `kits.sngp` is of other features and starts anew, and kernels of a
    norm above the bound become smaller: train the copy.

    Layers without weights, norms (but with `kits.subspace`, which draws their factors
    and shifts) and layers adapted to data are copied, as are layers of this package
    that are in the model already. A shared layer stays one shared layer. Frozen layers
    (`trainable=False`), and those inside of others, are replaced and stay frozen: their
    posterior does not learn. Leave them out by `keep=lambda layer: not
    layer.trainable`. Nested models come out flat; layers keep their names, and get a
    `_` where two models had one name. `model` is not changed and shares no variable
    with the copy, which is not compiled. (But for a layer that cannot be copied, as its
    config leaves something of it out, such as a `Lambda` or a class with an attribute
    that was set later: it is the same in both.)

    What the kit cannot draw is kept: a layer of another class, a quantized one, one
    whose config leaves something of it out. A warning names those that have weights of
    more than one axis, which stay certain; `keep` says that this is meant. With `where`
    only the layers that it chooses are drawn, and all others are kept.
    `tfhyper.conversion_report` says of each layer what becomes of it, and why.

        where="logits"                   a layer's name or path, or a pattern of these
        where="encoder_*/attention"      a path has the names of nested models, too
        where=keras.layers.LSTM          a class, and its subclasses
        where=["lstm", keras.layers.Embedding]   several of these
        where="last", where="last:3"     the last layers, of those the kit can draw
        where=lambda layer: layer.trainable      a function

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
        where: which layers to draw, as above; `None`: all.
        moped: bool, for `kits.bayes` alone.
        moped_delta: finite float > 0, delta.

    Returns:
        A functional `keras.Model` of the same name, inputs and outputs.

    Raises:
        ValueError: for a layer to be drawn that has a variable of another layer (tied
            weights); a kit that keeps no trained
            weights; a name in `keep`, or a part of `where`, that no layer has; a model
            with nothing to replace, or without a layer at its end that the kit's head
            stands for; a layer that has other weights than its config says; MOPED with
            another kit or with a `prior` of its own.
        TypeError: for a model whose graph is not known (a subclass with its own
            `call`), or a `where` of another kind.

    Example:

    >>> model = keras.applications.ResNet50(weights="imagenet")
    >>> kit = tfhyper.kits.bayes(num_examples=50_000)
    >>> bayesian = tfhyper.convert(model, kit, keep=["conv1_conv"], moped=True)
    >>> last = tfhyper.convert(model, kit, where="last:2")

    Reference:
        Krishnan, Subedar, Tickoo: Specifying weight priors in Bayesian deep
        neural networks with empirical Bayes, AAAI 2020.
    """
    keras_graph.check_graph(model)
    kit = kits.get(kit)
    check_bool("moped", moped)
    check_number("moped_delta", moped_delta, positive=True)
    lines = plan(model, kit, keep, where)
    _check_plan(lines, model, kit.name)
    drawn = {id(line.layer): line for line in lines if line.is_drawn}

    def make(operation: keras.Operation, name: str) -> keras.Operation | Apply:
        if id(operation) not in drawn:
            return keras_graph.copy_or_use(operation, name)
        line = drawn[id(operation)]
        # The config is all that it is: its class is a stock layer's, or it was tried.
        layer = keras_graph.renamed(operation, name)
        made = _replace(replaces(kit, line), layer, name, moped, kit.name)
        if isinstance(made, RandomVariables):
            made.adapters = adapters_of(operation)
            made.inside = trainable_inside(operation)
        return made

    copies = keras_graph.Copies(make)
    # Of each operation: a shared one has several.
    outputs_of: dict[int, list[Structure]] = {}

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        found = call_copy(operation, *args, **kwargs)
        outputs_of.setdefault(id(operation), []).append(found)
        return found

    def call_copy(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        copy = copies.of(operation)
        if id(operation) not in drawn:
            return copy(*args, **kwargs)
        if drawn[id(operation)].action == "wrapped":
            # But for the mode: the kit's layer draws in prediction, too.
            return copy(*args, **{k: x for k, x in kwargs.items() if k != "training"})
        if isinstance(operation, keras.layers.BatchNormalization):
            # Its mode says whether its averages are held.
            return copy(*args, **kwargs)
        # The inputs alone: a mode given in the call is not for the kit's layers.
        return copy(args[0] if args else next(iter(kwargs.values())))

    converted = keras_graph.rebuilt(model, call)
    known = keras_graph.tensors_of(converted)
    for operation, name, copy in copies.made():
        if id(operation) in drawn:
            # Not what gives an output of a nested model that nothing takes.
            if known & {id(x) for x in keras.tree.flatten(outputs_of[id(operation)])}:
                layer = converted.get_layer(name)
                _carry(operation, layer, moped_delta if moped else None)
        elif isinstance(operation, keras.Layer):
            keras_graph.copy_weights(operation, copy)
    return converted


def _asked_for(lines: list[LayerConversion]) -> list[LayerConversion]:
    """Returns those layers of which a person asks first why they are kept."""
    chosen = [x for x in lines if x.reason != NOT_ASKED]
    return sorted(chosen, key=lambda x: not x.layer.weights)


def _first_of(listed: list[str], most: int = 5) -> str:
    """Returns the first of some, and how many more there are."""
    more = [f"and {len(listed) - most} more"] if len(listed) > most else []
    return "; ".join(listed[:most] + more)


def _check_plan(lines: list[LayerConversion], model: keras.Model, kit: str) -> None:
    """Raises ValueError for a plan that cannot be carried out."""
    stuck = [line for line in lines if line.action == "refused"]
    if stuck:
        listed = ", ".join(
            f"'{x.layer.name}' ({type(x.layer).__name__}): {x.reason}" for x in stuck
        )
        raise ValueError(
            f"`kit` must draw a variable for one layer alone. The kit '{kit}' cannot "
            f"draw: {listed}. To leave them deterministic, give "
            f"keep={[x.layer.name for x in stuck]}, or choose layers by `where`."
        )
    if not any(line.is_drawn for line in lines):
        raise ValueError(
            f"`model` must have layers to convert. Received: model '{model.name}' and "
            f"the kit '{kit}', with which all are kept: "
            + _first_of([f"'{x.path}', as {x.reason}" for x in _asked_for(lines)])
            + ". `tfhyper.conversion_report` tells of each layer."
        )
    if left := [line for line in lines if line.is_left]:
        listed = _first_of(
            [f"'{x.path}' ({type(x.layer).__name__}): {x.reason}" for x in left]
        )
        warnings.warn(
            f"The kit '{kit}' keeps layers with weights as they are: {listed}. "
            "Name them in `keep` if that is meant; `tfhyper.conversion_report` tells "
            "what becomes of each layer.",
            stacklevel=3,
        )


def _replace(
    replace: Replace, layer: keras.Layer, path: str, moped: bool, kit: str
) -> Apply:
    """Returns what takes a layer's place: something to call on a tensor."""
    layer = replace(layer, path)
    if moped:
        wrapped = isinstance(layer, RandomVariables)
        posterior = layer.posterior if wrapped else layer
        if not isinstance(posterior, GaussianKernel | GaussianPosterior):
            raise ValueError(
                "`moped` must be False for a kit other than `tfhyper.kits.bayes`: it "
                f"sets Gaussian posteriors. Received: moped=True, kit '{kit}'"
            )
        config = {**live_config(posterior), "prior_mean": "weight"}
        posterior = type(posterior).from_config(config)
        if not wrapped:
            return posterior
        layer = RandomVariables(layer.layer, posterior, layer.where, name=layer.name)
    return layer


def _carry(
    original: keras.Layer, layer: keras.Layer, moped_delta: float | None
) -> None:
    """Gives a kit's layer the trained weights of the one it replaces."""
    if isinstance(layer, RandomVariables | ConcreteDropout):
        try:
            keras_graph.copy_weights(original, layer.layer)
        except ValueError as error:
            raise ValueError(
                f"Layer '{original.name}' ({type(original).__name__}) must have all "
                "its weights from its config: its copy has others. Give "
                f"keep=['{original.name}']. Received: {error}"
            ) from error
        if isinstance(layer, RandomVariables):
            layer.posterior.set_mean()
            if moped_delta is not None:
                layer.posterior.set_moped(moped_delta)
        else:
            keras_graph.carry_trainable(original, layer.layer)
    elif isinstance(layer, StochasticKernel):
        # Copies: on some backends arrays share the memory of variables.
        weights = (original.kernel, original.bias)
        layer.set_mean(*(None if w is None else _to_numpy(w) for w in weights))
        if moped_delta is not None:
            layer.set_moped(moped_delta)
    elif original.weights and not getattr(layer, "starts_anew", False):
        keras_graph.copy_weights(original, layer)


def _to_numpy(variable: Tensor) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))
