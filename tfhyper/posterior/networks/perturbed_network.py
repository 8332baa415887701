"""The plain network of a draw whose weights all have noise."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfhyper import keras_graph
from tfhyper.layers import StochasticLayer
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.tensor_types import Tensor
from tfhyper.variational import Variational


class PerturbedNetwork(PointNetwork):
    """A network of stock layers whose trained weights with noise a draw fixes.

    A draw holds, beside what the layers of the model draw themselves, the noise of
    all weights that have any: a seed. Generated kernels are made of generators with
    the weights of the draw.

    Args:
        variational: a `tfhyper.Variational` of a functional or built Sequential model.
        **options: as for `PointNetwork`, and its `own`.

    Raises:
        TypeError: if the graph of the model is not known.
        ValueError: as `PointNetwork`; if a trained weight belongs to none of the
            layers of the graph; or if training diverged.
    """

    def __init__(self, variational: Variational, **options: Any):
        variational.check_finite()
        self._noise = variational.noise
        super().__init__(variational.model, **options)
        # What is drawn of the layers that do not draw themselves: id of what stands
        # for one -> its variables, and the means that they stand for.
        self._drawn: dict[int, tuple[list[keras.Variable], list[keras.Variable]]] = {}
        noisy = variational.noise.means
        known = {id(mean) for mean in noisy}
        placed = set()
        for original, copy in self.pairs():
            if isinstance(original, StochasticLayer):
                placed |= {id(x) for x in getattr(original, "trainable_variables", ())}
            elif isinstance(original, keras.Layer):
                pairs = [
                    pair
                    for pair in zip(copy.weights, original.weights, strict=True)
                    if id(pair[1]) in known
                ]
                if pairs:
                    variables, means = map(list, zip(*pairs, strict=True))
                    self._drawn[id(copy)] = variables, means
                    placed |= {id(mean) for mean in means}
        for layer in self._noise_layers.values():
            placed |= {id(x) for x in getattr(layer, "trainable_variables", ())}
        for mean in noisy:
            if id(mean) not in placed:
                raise ValueError(
                    "`model` must have its trained weights in the layers of its graph, "
                    f"where a draw can set them. Received: model={self.model.name!r} "
                    f"with '{mean.path}' elsewhere"
                )
        self._name = keras_graph.free_name("weights", self._noise_layers)
        self._noise_layers[self._name] = self._noise

    def drawn_variables(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables of a layer of `network` that a draw fixes."""
        if id(layer) in self._drawn:
            return self._drawn[id(layer)][0]
        return super().drawn_variables(layer)

    def weights_of_draws(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[keras.Layer, list[list]]]:
        """Yields layers of `network`, and the weights that each draw has there."""
        values = [self._values_of(draw.noise[self._name]) for draw in draws]
        for original, copy in self.pairs():
            if isinstance(original, StochasticLayer):
                source = self._sources[id(original)]
                yield (
                    copy,
                    [
                        self._stochastic_weights(original, draw.noise[source], one)
                        for draw, one in zip(draws, values, strict=True)
                    ],
                )
            elif id(copy) in self._drawn:
                means = self._drawn[id(copy)][1]
                yield copy, [[one[id(x)][1] for x in means] for one in values]

    def _values_of(self, noise: Tensor) -> dict[int, tuple[keras.Variable, Tensor]]:
        """Returns id of a mean -> the mean, and the weight of a draw."""
        deviation = self._noise.deviation_of(noise)
        return {id(pair[0]): pair for pair in self._noise.drawn(deviation)}

    def _stochastic_weights(
        self,
        layer: StochasticLayer,
        noise: Tensor,
        values: dict[int, tuple[keras.Variable, Tensor]],
    ) -> list[Tensor]:
        """Returns the weights of a layer that draws, made of those of a draw."""
        with keras.StatelessScope(list(values.values())):
            (found,) = self._weights_of(layer, [noise])
            return [x.value if isinstance(x, keras.Variable) else x for x in found]

    @property
    def drawn_bytes(self) -> int:
        """How many bytes the weights of one draw have, in float32."""
        return super().drawn_bytes + 4 * self._noise.size

    def set(self, draw: Draw) -> None:
        """Gives `network` the weights and the BatchNorm moments of a draw.

        Raises:
            ValueError: as `PointNetwork.set`, or for a layer that cannot be copied.
        """
        for original, copy in self.pairs():
            if id(copy) in self._drawn and keras_graph.is_used(original, copy):
                raise ValueError(
                    "A network of its own needs copies of all layers with weights. "
                    f"Received: layer '{original.name}' ({type(original).__name__}), "
                    "whose config does not say all that it is"
                )
        super().set(draw)


def network_of_draws(model: keras.Model, **options: Any) -> PointNetwork:
    """Returns the network that draws of a model are given to.

    Args:
        model: a functional or built Sequential model, or a `Variational` of one.
        **options: as for `PointNetwork`.

    Raises:
        TypeError: if the model's graph is not known.
        ValueError: as the classes.
    """
    if isinstance(model, Variational):
        return PerturbedNetwork(model, **options)
    return PointNetwork(model, **options)
