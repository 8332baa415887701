"""The plain network that a draw makes of a stochastic one."""

import keras

from tfhyper.layers import LatentCode, StochasticLayer
from tfhyper.layers.noise import derive_seed
from tfhyper.posterior import graph
from tfhyper.posterior.batch_norm import BatchMoments
from tfhyper.posterior.draws import Draw


class PointNetwork:
    """A network of stock Keras layers beside a stochastic one.

    Stochastic layers become what `point_layer` says, latent codes vanish, all
    else is copied. `set(draw)` then gives it the weights of one draw, so that
    averaging over draws costs what plain networks cost: kernels are generated
    once per draw, never per batch.

    Args:
        model: a functional or built Sequential model.

    Attributes:
        network: the plain `keras.Model`.
        batch_norms: name -> BatchNorm layer of `network`, those that are
            frozen (`trainable=False`) left out, as in training.

    Raises:
        TypeError: if the graph of `model` is not known.
        ValueError: if a layer's code does not come straight from a LatentCode.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self._copies = {}  # id of a layer of model -> (layer, its copy)
        self._sources = {}  # id of a stochastic layer -> name of its noise
        self._noise_layers = {}  # name of a noise -> layer that samples it
        self._codes = {}  # id of a placeholder -> (placeholder, name of its noise)
        inputs, outputs = graph.rebuild(model, self._call)
        self.network = keras.Model(inputs, outputs, name=f"{model.name}_point")
        # Reported names are unique also across nested models.
        self.batch_norms = {
            name: copy
            for name, copy in _unique_names(c for _, c in self._copies.values())
            if isinstance(copy, keras.layers.BatchNormalization) and copy.trainable
        }
        self._moments_network = None
        self.copy_weights()

    def _call(self, operation, *args, **kwargs):
        if isinstance(operation, LatentCode):
            name = self._noise_of(operation)
            placeholder = keras.KerasTensor((1, operation.units), name=name)
            self._codes[id(placeholder)] = (placeholder, name)
            return placeholder
        if id(operation) not in self._copies:
            stochastic = isinstance(operation, StochasticLayer)
            copy = operation.point_layer() if stochastic else graph.clone(operation)
            self._copies[id(operation)] = (operation, copy)
        copy = self._copies[id(operation)][1]
        if not isinstance(operation, StochasticLayer):
            return copy(*args, **kwargs)
        inputs, *rest = args
        self._find_source(operation, rest[0] if rest else kwargs.get("code"))
        return copy(inputs)

    def _noise_of(self, layer):
        """Returns the name under which draws hold this layer's noise."""
        for name, known in self._noise_layers.items():
            if known is layer:
                return name
        name = layer.name
        while name in self._noise_layers:
            name += "_"
        self._noise_layers[name] = layer
        return name

    def _find_source(self, layer, code):
        if code is None:
            source = self._noise_of(layer)
        elif id(code) in self._codes:
            source = self._codes[id(code)][1]
        else:
            raise ValueError(
                f"The code of layer '{layer.name}' must come straight from a "
                "tfhyper.layers.LatentCode of the same model, so that a draw can "
                f"fix it. Received: code={code!r}"
            )
        if self._sources.setdefault(id(layer), source) != source:
            raise ValueError(
                f"Layer '{layer.name}' is called with two codes; a draw has one "
                "kernel for each layer. Use one layer for each code."
            )

    def copy_weights(self) -> None:
        """Copies the model's present weights, all but those that are drawn."""
        for original, copy in self._copies.values():
            if isinstance(original, keras.Layer) and not isinstance(
                original, StochasticLayer
            ):
                copy.set_weights(original.get_weights())
                if hasattr(copy, "finalize_state"):  # keras.layers.Normalization
                    copy.finalize_state()

    def sample(self, seed: int, index: int) -> Draw:
        """Returns draw number `index` of the ensemble of `seed`, without moments."""
        return Draw(
            noise={
                name: layer.sample_noise(derive_seed(seed, index, i))
                for i, (name, layer) in enumerate(self._noise_layers.items())
            }
        )

    def set(self, draw: Draw) -> None:
        """Gives `network` the kernels and the BatchNorm moments of a draw.

        Raises:
            ValueError: if the draw was made for another network.
        """
        if set(draw.noise) != set(self._noise_layers):
            raise ValueError(
                "The draw was made for another network: it holds noise for "
                f"{sorted(draw.noise)}, the network draws {sorted(self._noise_layers)}."
            )
        for original, copy in self._copies.values():
            if isinstance(original, StochasticLayer):
                noise = draw.noise[self._sources[id(original)]]
                for variable, value in zip(
                    copy.weights, original.point_weights(noise), strict=True
                ):
                    variable.assign(value)
        for name, (mean, variance) in draw.moments.items():
            self.batch_norms[name].moving_mean.assign(mean)
            self.batch_norms[name].moving_variance.assign(variance)

    @property
    def moments_network(self) -> keras.Model:
        """The same layers, BatchNorm by the batch, that gives all its moments.

        Outputs one (1, channels) mean and variance for each of `batch_norms`,
        in order. Dropout and the like are off, as they are in prediction.
        """
        if self._moments_network is None:
            names = {id(layer): name for name, layer in self.batch_norms.items()}
            found = {}

            def call(operation, *args, **kwargs):
                if id(operation) not in names:
                    same = isinstance(operation, keras.Layer)
                    operation = operation if same else graph.clone(operation)
                    return operation(*args, **kwargs)
                name = names[id(operation)]
                if name in found:
                    raise ValueError(
                        f"BatchNorm layer '{name}' is called more than once; its "
                        "moments would be those of one call. Use one layer a call."
                    )
                outputs, *found[name] = BatchMoments(operation)(args[0])
                return outputs

            inputs, _ = graph.rebuild(self.network, call)
            self._moments_network = keras.Model(
                inputs, [found[name] for name in self.batch_norms]
            )
        return self._moments_network


def _unique_names(layers):
    taken = set()
    for layer in layers:
        name = layer.name
        while name in taken:
            name += "_"
        taken.add(name)
        yield name, layer
