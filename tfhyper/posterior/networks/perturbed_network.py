"""The plain network of a draw that fixes all weights."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from tfhyper import keras_graph
from tfhyper.layers import StochasticLayer
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.tensor_types import Tensor
from tfhyper.variational.weight_posterior import NoiseOfWeights, WeightPosterior


class PerturbedNetwork(PointNetwork):
    """A network of stock layers whose weights a draw fixes.

    A draw holds, beside what the layers of the model draw themselves, the noise of
    all weights that have any. Generated kernels are made of generators with the
    weights of the draw.

    Args:
        posterior: a `WeightPosterior` of a functional or built Sequential model, such
            as a `tfhyper.Variational`, or of another `WeightPosterior`.
        **options: as for `PointNetwork`, and its `own`.

    Raises:
        TypeError: if the graph of the model is not known.
        ValueError: as `PointNetwork`; if a weight with noise belongs to none of the
            layers of the graph; or if training diverged.
    """

    def __init__(self, posterior: WeightPosterior, **options: Any):
        # The innermost last, whose noise is about what the others drew.
        posteriors = list(posterior.chain())
        for one in posteriors:
            one.check_finite()
        super().__init__(posteriors[-1].model, **options)
        # What is drawn of the layers that do not draw themselves: id of what stands
        # for one -> its variables, and those of the model that they stand for.
        self._drawn: dict[int, tuple[list[keras.Variable], list[keras.Variable]]] = {}
        noises = [one.noise for one in posteriors]
        noisy = [x for noise in noises for x in noise.variables_drawn]
        known = {id(variable) for variable in noisy}
        self._size = sum(math.prod(x.shape) for x in {id(x): x for x in noisy}.values())
        placed = set()
        for original, copy in self.pairs():
            if isinstance(original, StochasticLayer):
                placed |= {id(x) for x in getattr(original, "weights", ())}
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
        # What one posterior draws of another's noise, such as its scale.
        for layer in [*self._noise_layers.values(), *noises]:
            placed |= {id(x) for x in getattr(layer, "weights", ())}
        for variable in noisy:
            if id(variable) not in placed:
                raise ValueError(
                    "`model` must have its trained weights in the layers of its graph, "
                    f"where a draw can set them. Received: model={self.model.name!r} "
                    f"with '{variable.path}' elsewhere"
                )
        self._noises: dict[str, NoiseOfWeights] = {}
        for one in posteriors:
            name = keras_graph.free_name(one.noise_name, self._noise_layers)
            self._noises[name] = self._noise_layers[name] = one.noise

    def drawn_variables(self, layer: keras.Layer) -> list[keras.Variable]:
        """Returns the variables of a layer of `network` that a draw fixes."""
        if id(layer) in self._drawn:
            return self._drawn[id(layer)][0]
        return super().drawn_variables(layer)

    def weights_of_draws(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[keras.Layer, list[list]]]:
        """Yields layers of `network`, and the weights that each draw has there."""
        values = [self._values_of(draw) for draw in draws]
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

    def _values_of(self, draw: Draw) -> dict[int, tuple[keras.Variable, Tensor]]:
        """Returns id of a variable -> the variable, and its value in a draw."""
        values: dict[int, tuple[keras.Variable, Tensor]] = {}
        for name, noise in self._noises.items():
            with keras.StatelessScope(list(values.values())):
                pairs = noise.weights_of(draw.noise[name])
            values.update((id(pair[0]), pair) for pair in pairs)
        return values

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
        return super().drawn_bytes + 4 * self._size

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
        model: a functional or built Sequential model, or a `WeightPosterior` of one.
        **options: as for `PointNetwork`.

    Raises:
        TypeError: if the model's graph is not known.
        ValueError: as the classes.
    """
    if isinstance(model, WeightPosterior):
        return PerturbedNetwork(model, **options)
    return PointNetwork(model, **options)
