"""The plain network that a draw makes of a stochastic one."""

from collections.abc import Iterator, Sequence

import keras
from keras import ops

from tfhyper.layers import StochasticLayer
from tfhyper.layers.noise import derive_seed
from tfhyper.layers.stock_dropout import as_mc_dropout, drops
from tfhyper.posterior import batch_norm, graph
from tfhyper.posterior.draws import Draw

# Counts that a fresh draw has for its layers: another draw has others.
_MOST_LAYERS = 2**12


class PointNetwork:
    """A network of stock Keras layers beside a stochastic one.

    Stochastic layers become what `point_layer` says, what makes codes for them
    vanishes, all else is copied. `set(draw)` then gives it the weights of one
    draw, so that averaging over draws costs what plain networks cost: kernels are
    generated once per draw, never per batch.

    Args:
        model: a functional or built Sequential model.
        frozen_norms: bool, count frozen BatchNorm layers among `batch_norms` if
            all of them are frozen.
        sample_dropout: bool, make stock dropout layers draw, and
            `tfhyper.layers.Dropout`, if their rate is above 0.

    Attributes:
        options: the two arguments above.
        network: the plain `keras.Model`.
        sampled_dropouts: id of such a layer -> the `MCDropout` that stands for it.
        batch_norms: name -> BatchNorm layer of `network`, those left out that
            keep their averages in training too: frozen (`trainable=False`), or
            called with `training=False`.

    Raises:
        TypeError: if the graph of `model` is not known.
        ValueError: if a layer's code does not come straight from what makes codes,
            or a layer draws inside another layer.

    Example:

    >>> point = tfhyper.posterior.PointNetwork(model)
    >>> point.set(point.sample(seed=0, index=0))
    >>> logits = point.network.predict(x_test)
    """

    def __init__(
        self,
        model: keras.Model,
        frozen_norms: bool = False,
        sample_dropout: bool = False,
    ):
        self.model = model
        self.options = {"frozen_norms": frozen_norms, "sample_dropout": sample_dropout}
        self.sampled_dropouts = {}
        self._sample_dropout = sample_dropout
        self._copies = graph.Copies(self._copy)
        self._sources = {}  # id of a stochastic layer -> name of its noise
        self._noise_layers = {}  # name of a noise -> layer that samples it
        self._codes = {}  # id of a placeholder -> (placeholder, name of its noise)
        self._held = set()  # ids of copies that are called with training=False
        self._inner_batch_norms = []  # names of layers that hold some of their own
        inputs, outputs = graph.rebuild(model, self._call)
        outputs = self._finish(outputs)
        self.network = keras.Model(inputs, outputs, name=f"{model.name}_point")
        norms = [
            copy
            for _, copy in self._pairs()
            if isinstance(copy, keras.layers.BatchNormalization)
            and id(copy) not in self._held
        ]
        trained = [norm for norm in norms if norm.trainable]
        if not trained and frozen_norms:
            trained = norms
        self.batch_norms = {norm.name: norm for norm in trained}
        self._moments_network = None
        self.copy_weights()

    def _call(self, operation, *args, **kwargs):
        if isinstance(operation, StochasticLayer) and operation.point_layer() is None:
            placeholders = operation.compute_output_spec(*args)
            for tensor in keras.tree.flatten(placeholders):
                self._codes[id(tensor)] = (tensor, self._noise_of(operation))
            return placeholders
        # Not asking for `training=False`, which Keras notes of every dropout layer.
        if self._is_sampled(operation):
            if id(operation) not in self.sampled_dropouts:
                self.sampled_dropouts[id(operation)] = as_mc_dropout(operation)
            operation = self.sampled_dropouts[id(operation)]
        if not isinstance(operation, StochasticLayer):
            return self._call_fixed(operation, *args, **kwargs)
        inputs, *rest = args
        self._find_source(operation, rest[0] if rest else kwargs.get("code"))
        return self._call_drawn(operation, inputs)

    def _call_fixed(self, operation, *args, **kwargs):
        """Calls what stands for an operation that does not draw."""
        copy = self._copies.of(operation)
        if kwargs.get("training") is False:
            self._held.add(id(copy))
        return copy(*args, **kwargs)

    def _call_drawn(self, operation, inputs):
        """Calls what stands for a `StochasticLayer`."""
        return self._copies.of(operation)(inputs)

    def _finish(self, outputs):
        """Returns the outputs of `network`, from those of the last calls."""
        return outputs

    def draws(self, operation) -> bool:
        """Whether a draw fixes something of an operation of the graph."""
        source = self._sources.get(id(operation))
        return (
            source is not None and self._noise_layers[source].sample_noise(0).size > 0
        )

    def _pairs(self) -> Iterator[tuple]:
        """Yields operations and what stands for them, in the order of the graph."""
        for original, _, copy in self._copies.made():
            yield original, copy

    def _is_sampled(self, operation) -> bool:
        return self._sample_dropout and drops(operation)

    def _copy(self, operation, name):
        if isinstance(operation, StochasticLayer):
            copy = operation.point_layer()
            return copy if copy.name == name else graph.clone(copy, name)
        if isinstance(operation, keras.Layer):
            self._check_inside(operation)
        return graph.clone(operation, name)

    def _check_inside(self, layer):
        """Looks for what cannot be reached inside a layer made of layers."""
        for inner in layer._flatten_layers(include_self=False):
            draws = isinstance(inner, StochasticLayer) and inner.sample_noise(0).size
            if draws or self._is_sampled(inner):
                raise ValueError(
                    f"Layer '{inner.name}' draws inside of layer '{layer.name}', "
                    "where a draw cannot fix it. Call it on keras.Input tensors of "
                    "the model, or of a functional model inside of it."
                )
            if _is_trained_norm(inner):
                self._inner_batch_norms.append(layer.name)

    def check_batch_norms(self) -> None:
        """Raises ValueError if a BatchNorm is out of reach of `moments_network`."""
        if self._inner_batch_norms:
            raise ValueError(
                f"Layer '{self._inner_batch_norms[0]}' has a BatchNorm layer inside, "
                "whose moments cannot be taken. Call it on keras.Input tensors of the "
                'model, freeze it, or use `batch_norm="moving_average"`.'
            )

    def _noise_of(self, layer):
        """Returns the name under which draws hold this layer's noise."""
        for name, known in self._noise_layers.items():
            if known is layer:
                return name
        name = graph.free_name(layer.name, self._noise_layers)
        self._noise_layers[name] = layer
        return name

    def _find_source(self, layer, code):
        found = {self._codes.get(id(x), (x, None))[1] for x in keras.tree.flatten(code)}
        if code is None:
            source = self._noise_of(layer)
        elif len(found) == 1 and None not in found:
            (source,) = found
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
        """Copies the model's present weights, all but those that are drawn."""
        for original, copy in self._pairs():
            if isinstance(original, keras.Layer) and not isinstance(
                original, StochasticLayer
            ):
                self._copy_layer_weights(original, copy)

    def _copy_layer_weights(self, original, copy):
        graph.copy_weights(original, copy)

    def sample(self, seed: int, index: int) -> Draw:
        """Returns draw number `index` of the ensemble of `seed`, without moments."""
        return Draw(
            noise={
                name: layer.sample_noise(derive_seed(seed, index, i))
                for i, (name, layer) in enumerate(self._noise_layers.items())
            }
        )

    def fresh(self, seed, index) -> Draw:
        """As `sample`, of other draws: in tensors, for functions that are traced.

        Args:
            seed: int32 scalar tensor, 0 <= seed < 2**31.
            index: int32 scalar tensor, 0 <= index < 2**15.
        """
        return Draw(
            noise={
                name: layer.fresh_noise(seed, index * _MOST_LAYERS + i)
                for i, (name, layer) in enumerate(self._noise_layers.items())
            }
        )

    def seeded(self, draw: Draw) -> list[str]:
        """Returns the names of layers whose weights no traced function can make."""
        return [
            layer.name
            for name, layer in self._noise_layers.items()
            if layer.noise_is_seed and draw.noise[name].size
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
            ValueError: if the draw was made for another network.
        """
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

    def values(self, draw: Draw) -> Iterator[tuple]:
        """Yields the variables of `network` that a draw fixes, and their values."""
        for copy, values in self.drawn_weights(draw):
            yield from zip(copy.weights, values, strict=True)
        for name, (mean, variance) in draw.moments.items():
            yield self.batch_norms[name].moving_mean, mean
            yield self.batch_norms[name].moving_variance, variance

    def drawn_weights(self, draw: Draw) -> Iterator[tuple[keras.Layer, list]]:
        """Yields layers of `network` and their weights of a draw, made one by one.

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

    def _weights_of(self, layer, noises):
        """Yields what a `StochasticLayer` is with each noise of its source."""
        source = self._noise_layers[self._sources[id(layer)]]
        return layer.point_weights_of_draws([source.code_of(x) for x in noises])

    def repeats(self) -> Iterator[tuple]:
        """Yields variables of `network`, and others that always have their values."""
        return iter(())

    def start_at(self, index: int) -> None:
        """Tells where in the data the next batch begins.

        Layers whose noise goes by the example, such as dropout, have a variable
        for it; `set` puts it to 0.
        """
        for layer in self.network.layers:
            if hasattr(layer, "first_example"):
                layer.first_example.assign(index)

    @property
    def moments_network(self) -> keras.Model:
        """The same layers, BatchNorm by the batch: `batch_norm.moments_network`."""
        if self._moments_network is None:
            self._moments_network = batch_norm.moments_network(
                self.network, self.batch_norms
            )
        return self._moments_network


def _is_trained_norm(layer):
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
