"""The plain network that a draw makes of a stochastic one."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import keras
from keras import ops

from tfhyper import keras_graph, keras_private
from tfhyper.checks import check_bool, check_instance
from tfhyper.layers import Augment, RandomVariables, StochasticLayer
from tfhyper.layers.concrete_dropout import RelaxedMasks
from tfhyper.layers.fixed_noise import (
    FixedNoise,
    LayerNoise,
    NoiseAndWeights,
    NoiseOfExamples,
)
from tfhyper.layers.noise import NoiseKind, is_mean
from tfhyper.layers.one_pass import LastLayer
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.used_layer import UsedLayer
from tfhyper.posterior.networks import batch_norm
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.foreign_noise import StandIns
from tfhyper.tensor_types import Structure, Tensor

# Counts that a fresh draw has for its layers: another draw has others.
_MOST_LAYERS = 2**12

# What goes with a network in `by_network`.
Item = TypeVar("Item")


class PointNetwork:
    """A network of stock Keras layers beside a stochastic one.

    Stochastic layers become what `point_layer` says, what makes codes for them
    vanishes, and all else is copied, or with `own=False` used as it is. A draw's
    weights, `values(draw)`, then make it that draw's network, so that averaging over
    draws costs what plain networks cost: kernels are generated once per draw, never
    per batch.

    Args:
        model: a functional or built Sequential model.
        frozen_norms: bool, count frozen BatchNorm layers among `batch_norms` if
            all of them are frozen.
        sample_dropout: bool, make dropout draw that is off in prediction, wherever it
            is: see `foreign_noise`.
        augment: `tfhyper.layers.Augment` that stands in front of the network, or
            `None`. The model has one input then.
        own: bool, True for a network that shares no variable with the model, and can
            be `set`. (A layer that cannot be copied, because its config leaves
            something out, is used all the same.) False for one whose other layers are
            the model's own: it always has their present weights.

    Attributes:
        options: the three of these arguments before `own`.
        network: the plain `keras.Model`.
        stand_ins: the `StandIns` for what draws and is no `StochasticLayer`.
        batch_norms: name -> BatchNorm layer, those left out that keep their averages
            in training too: frozen (`trainable=False`), or called with
            `training=False`.
        norms_of_model: list of the layers of `model` that they stand for.

    Raises:
        TypeError: if the graph of `model` is not known.
        ValueError: if a layer's code does not come straight from what makes codes,
            or a layer draws inside another layer, or what no draw can fix.

    Example:

    >>> point = tfhyper.posterior.PointNetwork(model)
    >>> point.set(point.sample(seed=0, index=0))
    >>> point.network.predict(x_test, verbose=0).shape
    (2000, 10)
    """

    def __init__(
        self,
        model: keras.Model,
        frozen_norms: bool = False,
        sample_dropout: bool = False,
        augment: Augment | None = None,
        own: bool = True,
    ):
        check_bool("frozen_norms", frozen_norms)
        check_bool("sample_dropout", sample_dropout)
        rule = "a `tfhyper.layers.Augment`, or None"
        check_instance("augment", augment, Augment | None, rule)
        self.model = model
        self.options: dict[str, Any] = {
            "frozen_norms": frozen_norms,
            "sample_dropout": sample_dropout,
            "augment": augment,
        }
        self.stand_ins = StandIns(sample_dropout)
        self._own = check_bool("own", own)
        self._copies = keras_graph.Copies(self._copy)
        # id of a stochastic layer -> name of its noise
        self._sources: dict[int, str] = {}
        # name of a noise -> layer that samples it
        self._noise_layers: dict[str, StochasticLayer] = {}
        # id of a placeholder -> (placeholder, name of its noise)
        self._codes: dict[int, tuple[keras.KerasTensor, str]] = {}
        # ids of copies that are called with training=False
        self._held: set[int] = set()
        self._norms = batch_norm.NormCalls()
        begin = None if augment is None else self._augmented
        inputs, outputs = keras_graph.rebuild(model, self._call, begin)
        _check_last(model)
        outputs = self._finish(outputs)
        name = f"{model.name}_point"
        self.network = keras_private.model_of(inputs, outputs, name)
        # What stands for a BatchNorm in the graph, and the layer that has its moments.
        norms = [
            (copy, original if isinstance(copy, UsedLayer) else copy)
            for original, copy in self.pairs()
            if _norm_of(original) is not None and id(copy) not in self._held
        ]
        trained = [pair for pair in norms if pair[1].trainable]
        if not trained and frozen_norms:
            trained = norms
        self.batch_norms = {copy.name: norm for copy, norm in trained}
        names = {id(copy) for copy, _ in trained}
        known = [_norm_of(x) for x, copy in self.pairs() if id(copy) in names]
        self.norms_of_model = [norm for norm in known if norm is not None]
        self._norm_calls = {id(copy): copy.name for copy, _ in trained}
        self._moments_network = None
        self.copy_weights()

    def _augmented(self, inputs: Structure) -> Structure:
        """Returns the inputs as a draw sees them."""
        augment = self.options["augment"]
        if len(keras.tree.flatten(inputs)) != 1:
            raise ValueError(
                "`augment` needs a model of one input. Received: "
                f"model={self.model.name!r} with {len(self.model.inputs)}"
            )
        augment.build(self.model.inputs[0].shape)
        return keras.tree.map_structure(lambda x: self._call(augment, x), inputs)

    def _call(self, operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        if _makes_codes(operation):
            placeholders = operation.compute_output_spec(*args)
            for tensor in keras.tree.flatten(placeholders):
                self._codes[id(tensor)] = (tensor, self._noise_of(operation))
            return placeholders
        operation = self.stand_ins.of(operation, args, kwargs)
        if isinstance(operation, LayerNoise):
            if isinstance(operation, NoiseAndWeights):
                self._check_random(operation.drawn)
            self._sources[id(operation)] = self._noise_of(operation)
            return self._call_noise(operation, args, kwargs)
        if not isinstance(operation, StochasticLayer):
            self._norms.note(operation, kwargs)
            return self._call_fixed(operation, *args, **kwargs)
        if operation.takes_all_arguments:
            # The mode of a call in the graph is that of training alone.
            arguments = {k: x for k, x in kwargs.items() if k != "training"}
            self._find_source(operation, arguments.pop("code", None))
            if (norm := _norm_of(operation)) is not None:
                self._norms.note(norm, kwargs)
                if kwargs.get("training") is False:
                    arguments["training"] = False
            return self._call_drawn(operation, args, arguments)
        inputs, *rest = args
        self._find_source(operation, rest[0] if rest else kwargs.get("code"))
        return self._call_drawn(operation, (inputs,), {})

    def _call_noise(
        self, operation: keras.Operation, args: tuple, kwargs: dict[str, Any]
    ) -> Structure:
        """Calls what stands for a layer with random generators of its own."""
        return self._copies.of(operation)(*args, **kwargs)

    def _call_fixed(
        self, operation: keras.Operation, *args: Any, **kwargs: Any
    ) -> Structure:
        """Calls what stands for an operation that does not draw."""
        copy = self._copies.of(operation)
        if kwargs.get("training") is False:
            self._held.add(id(copy))
        return copy(*args, **kwargs)

    def _call_drawn(
        self, operation: StochasticLayer, args: tuple, kwargs: dict[str, Any]
    ) -> Structure:
        """Calls what stands for a `StochasticLayer`."""
        copy = self._copies.of(operation)
        if kwargs.get("training") is False:  # a BatchNorm with drawn factors
            self._held.add(id(copy))
        return copy(*args, **kwargs)

    def _finish(self, outputs: Structure) -> Structure:
        """Returns the outputs of `network`, from those of the last calls."""
        return outputs

    def draws(self, operation: keras.Operation) -> bool:
        """Whether a draw fixes something of an operation of the graph."""
        source = self._sources.get(id(operation))
        return source is not None and self._noise_layers[source].is_random

    @property
    def is_random(self) -> bool:
        """Whether the network of one draw differs from that of another."""
        return bool(self.random_layers)

    @property
    def random_layers(self) -> list[StochasticLayer]:
        """The layers in which one draw differs from another."""
        return [x for x in self._noise_layers.values() if x.is_random]

    def with_outputs(self, outputs: Structure) -> keras.Model:
        """Returns a model of the same layers that gives other tensors of the network.

        Args:
            outputs: symbolic tensors of `network`, or made of these.
        """
        return keras_private.model_of(self.network.input, outputs)

    def pairs(self) -> Iterator[tuple]:
        """Yields operations and what stands for them, in the order of the graph."""
        for original, _, copy in self._copies.made():
            yield original, copy

    def _copy(self, operation: keras.Operation, name: str) -> keras.Operation:
        if isinstance(operation, LayerNoise):
            layer = operation.layer
            copy = keras_graph.clone(layer, layer.name) if self._own else None
            if copy is not None:
                copy.build_from_config(layer.get_build_config() or {})
                keras_graph.copy_weights(layer, copy)
            return operation.point_layer(copy, name=name)
        if isinstance(operation, StochasticLayer):
            copy = self._point_layer(operation)
            return copy if copy.name == name else keras_graph.renamed(copy, name)
        if isinstance(operation, keras.Layer):
            self._check_inside(operation)
        if self._own and batch_norm.is_normal(operation):
            return batch_norm.copy_of(operation, name)
        if self._own:
            return keras_graph.copy_or_use(operation, name)
        return keras_graph.use(operation, name)

    def _point_layer(self, layer: StochasticLayer) -> keras.Layer:
        """Returns what stands for a layer that does more than to make codes."""
        if isinstance(layer, RandomVariables):
            self._check_random(layer)
        found = layer.point_layer()
        if found is None:
            raise TypeError(f"Layer '{layer.name}' makes codes: it has no copy.")
        return found

    def _check_random(self, layer: RandomVariables) -> None:
        """Looks at what is inside of a layer with random variables."""
        drawn = _norm_of(layer)
        for inner in keras_private.flatten_layers(layer.layer):
            if inner is not drawn:
                self._norms.note_inside(inner, layer)
        if keras_graph.clone(layer.layer) is None:
            raise ValueError(
                f"Layer '{layer.layer.name}' ({type(layer.layer).__name__}) has no "
                "plain layer of a draw, as its config does not say all that it is. Let "
                "`get_config` hold what it does, and name functions that Keras knows"
            )

    def _check_inside(self, layer: keras.Layer) -> None:
        """Looks for what cannot be reached inside a layer made of layers."""
        for inner in keras_private.flatten_layers(layer, include_self=False):
            draws = isinstance(inner, StochasticLayer) and inner.is_random
            if draws or self.stand_ins.is_sampled(inner):
                raise ValueError(
                    f"Layer '{inner.name}' draws inside of layer '{layer.name}' "
                    f"({type(layer).__name__}), where a draw cannot fix it. Make the "
                    "outer layer a functional model, keras.Model(inputs, outputs), "
                    "inside of which the inner one is called."
                )
            self._norms.note_inside(inner, layer)

    def check_batch_norms(self) -> None:
        """Raises ValueError if moments of a BatchNorm cannot be taken."""
        self._norms.check()

    def _noise_of(self, layer: StochasticLayer) -> str:
        """Returns the name under which draws hold this layer's noise."""
        for name, known in self._noise_layers.items():
            if known is layer:
                return name
        name = keras_graph.free_name(layer.name, self._noise_layers)
        self._noise_layers[name] = layer
        return name

    def _find_source(self, layer: StochasticLayer, code: Structure) -> None:
        leaves = [id(x) for x in keras.tree.flatten(code)]
        found = {self._codes[x][1] if x in self._codes else None for x in leaves}
        if code is None:
            source = self._noise_of(layer)
        elif len(found) == 1 and (known := found.pop()) is not None:
            source = known
        else:
            raise ValueError(
                f"The code of layer '{layer.name}' must come straight from one "
                "tfhyper.layers.LatentCode of the same model, or from one "
                "tfhyper.layers.KernelGenerator, so that a draw can "
                f"fix it. Received: code={code!r}"
            )
        if self._sources.setdefault(id(layer), source) != source:
            raise ValueError(
                f"Layer '{layer.name}' is called with two codes; a draw has one "
                "kernel for each layer. Use one layer for each code."
            )

    def copy_weights(self) -> None:
        """Copies the model's present weights, all but those drawn and those used."""
        for original, copy in self.pairs():
            if isinstance(original, keras.Layer) and not isinstance(
                original, StochasticLayer
            ):
                self._copy_layer_weights(original, copy)

    def _copy_layer_weights(self, original: keras.Layer, copy: keras.Layer) -> None:
        keras_graph.copy_weights(original, copy)

    def sample(self, seed: int, index: int) -> Draw:
        """Returns draw number `index` of the ensemble of `seed`, without moments.

        Each layer gets a seed of its own, by its place among those that draw, and what
        all layers have in common: the number of the draw and the ensemble's seed.
        """
        return Draw(
            noise={
                name: layer.sample_noise(derive_seed(seed, index, i), index, seed)
                for i, (name, layer) in enumerate(self._noise_layers.items())
            }
        )

    def fresh(self, seed: Tensor, index: Tensor) -> Draw:
        """As `sample`, of other draws: in tensors, for functions that are traced.

        Args:
            seed: int32 scalar tensor, 0 <= seed < 2**31.
            index: int32 scalar tensor, 0 <= index < 2**15.
        """
        return Draw(
            noise={
                name: layer.fresh_noise(seed, index * _MOST_LAYERS + i, index)
                for i, (name, layer) in enumerate(self._noise_layers.items())
            }
        )

    def seeded(self, draw: Draw) -> list[str]:
        """Returns the names of layers whose weights no traced function can make."""
        return [
            layer.name
            for name, layer in self._noise_layers.items()
            if layer.noise_kind is NoiseKind.SEED and not is_mean(draw.noise[name])
        ]

    def mean(self) -> Draw:
        """Returns the draw of the posterior's mean, without moments.

        Raises:
            ValueError: if a layer does not know the noise of its mean.
        """
        draw = Draw({name: x.mean_noise() for name, x in self._noise_layers.items()})
        for name, noise in draw.noise.items():
            if noise is None:
                layer = self._noise_layers[name]
                raise ValueError(
                    "`deterministic=True` needs layers whose mean kernel is known. "
                    f"Received: layer '{layer.name}' ({type(layer).__name__}), whose "
                    "mean kernel has no closed form."
                )
        return draw

    def set(self, draw: Draw) -> None:
        """Gives `network` the kernels and the BatchNorm moments of a draw.

        Raises:
            ValueError: if the draw was made for another network, or the network uses
                the model's own layers.
        """
        if not self._own:
            raise ValueError("`set` needs a network that was made with `own=True`.")
        self.check_draw(draw)
        for variable, value in self.values(draw):
            # A copy: JAX gives the memory of a network's variables away
            # in prediction, and the model's bias must not go with it.
            variable.assign(ops.copy(value))

    def check_draw(self, draw: Draw) -> None:
        """Raises ValueError if the draw was made for another network."""
        if set(draw.noise) != set(self._noise_layers):
            raise ValueError(
                "The draw was made for another network: it holds noise for "
                f"{sorted(draw.noise)}, the network draws {sorted(self._noise_layers)}."
            )
        unknown = sorted(set(draw.moments) - set(self.batch_norms))
        if unknown:
            raise ValueError(
                "The draw was made for another network: it holds moments for the "
                f"BatchNorm layers {unknown}, which this one has not."
            )

    def check_values(self, draw: Draw) -> None:
        """Raises an error, ValueError or the backend's, for values that do not fit.

        Looks at all of a draw, as one that comes from a file needs it.
        """
        self.check_draw(draw)
        for variable, value in self.values(draw):
            if tuple(variable.shape) != tuple(value.shape):
                raise ValueError(
                    f"The draw was made for another network: it has {value.shape} "
                    f"values of '{variable.path}', which is {variable.shape}."
                )

    def values(self, draw: Draw) -> Iterator[tuple]:
        """Yields the variables of `network` that a draw fixes, and their values."""
        for copy, values in self.drawn_weights(draw):
            yield from zip(self.drawn_variables(copy), values, strict=True)
        for name, (mean, variance) in draw.moments.items():
            yield self.batch_norms[name].moving_mean, mean
            yield self.batch_norms[name].moving_variance, variance

    def drawn_variables(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables of a layer of `network` that a draw fixes."""
        return drawn_variables(layer)

    def drawn_weights(self, draw: Draw) -> Iterator[tuple[keras.Layer, list]]:
        """Yields layers of `network`, their `drawn_variables`' values, one by one.

        All that stand for a `StochasticLayer`, in the order of the graph. The
        network is not changed.
        """
        for copy, (weights,) in self.weights_of_draws([draw]):
            yield copy, weights

    def weights_of_draws(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[keras.Layer, list[list]]]:
        """Yields what `drawn_weights` does, of each layer those of all draws.

        Generated kernels of several draws are made together, in less time.
        """
        for original, _, copy in self._copies.made():
            if isinstance(original, StochasticLayer):
                noises = [draw.noise[self._sources[id(original)]] for draw in draws]
                yield copy, list(self._weights_of(original, noises))

    def _weights_of(
        self, layer: StochasticLayer, noises: Sequence[Tensor]
    ) -> Iterator[list[Tensor]]:
        """Yields what a `StochasticLayer` is with each noise of its source."""
        source = self._noise_layers[self._sources[id(layer)]]
        return layer.point_weights_of_draws([source.code_of(x) for x in noises])

    @property
    def drawn_bytes(self) -> int:
        """How many bytes the weights of one draw have, in float32: at least 4."""
        layers = [
            copy
            for original, copy in self.pairs()
            if isinstance(original, StochasticLayer)
        ]
        variables = [x for layer in layers for x in self.drawn_variables(layer)]
        variables += [x for norm in self.batch_norms.values() for x in norm.weights]
        return 4 * max(1, sum(math.prod(x.shape) for x in variables))

    @property
    def own_variables(self) -> list[keras.Variable]:
        """The variables of `network` that are none of the model's."""
        used = {id(variable) for variable in self.model.variables}
        return [x for x in self.network.variables if id(x) not in used]

    def repeats(self) -> Iterator[tuple]:
        """Yields variables of `network`, and others that always have their values."""
        return iter(())

    def start_at(self, index: int) -> None:
        """Tells where in the data the next batch begins.

        Layers whose noise goes by the example, such as dropout, have a variable
        for it; `set` puts it to 0.
        """
        for layer in self.network.layers:
            if isinstance(layer, NoiseOfExamples):
                layer.first_example.assign(index)

    @property
    def moments_network(self) -> keras.Model:
        """The same layers, BatchNorm by the batch: `batch_norm.moments_network`."""
        if self._moments_network is None:
            self._moments_network = batch_norm.moments_network(
                self.network, self._norm_calls, self.batch_norms
            )
        return self._moments_network


def _makes_codes(operation: keras.Operation) -> bool:
    """Whether an operation is a layer that only makes codes for others."""
    if not isinstance(operation, StochasticLayer) or operation.takes_all_arguments:
        return False
    return operation.point_layer() is None


def _norm_of(operation: keras.Operation) -> keras.layers.BatchNormalization | None:
    """Returns the BatchNorm that an operation is, perhaps with drawn factors."""
    if isinstance(operation, RandomVariables):
        operation = operation.layer
    stock = keras.layers.BatchNormalization
    return operation if isinstance(operation, stock) else None


def _check_last(model: keras.Model) -> None:
    """Raises ValueError if something with weights stands behind a `LastLayer`."""
    lines = list(keras_graph.walk(model))
    if not any(isinstance(line[-1], LastLayer) for line in lines):
        return
    last = {id(layer) for layer in keras_graph.layers_at_end(model)}
    for *_, layer in lines:
        if isinstance(layer, LastLayer) and id(layer) not in last:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) must be the last one "
                "with weights: its outputs go to the loss. Received: "
                f"model '{model.name}', in which others stand behind it"
            )


def by_network(
    pairs: Iterable[tuple[PointNetwork, Item]],
) -> list[tuple[PointNetwork, list[Item]]]:
    """Returns each network once, with what goes with it, such as its draws.

    Args:
        pairs: of a network and what goes with it, as a predictor's `networks()`.
    """
    found: dict[int, tuple[PointNetwork, list[Item]]] = {}
    for point, item in pairs:
        found.setdefault(id(point), (point, []))[1].append(item)
    return list(found.values())


def layer_behind_masks(operation: keras.Operation) -> keras.Operation:
    """Returns an operation of a network, or the layer that it puts its masks before."""
    return operation.layer if isinstance(operation, RelaxedMasks) else operation


def drawn_variables(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the variables of a layer of a network that a draw fixes."""
    return layer.drawn_variables if isinstance(layer, FixedNoise) else layer.weights
