"""One compiled network that gives the predictions of all draws, for few inputs.

For few inputs most of the time of a network goes into starting its operations and
into bringing its weights into the order that they are multiplied in, and less into
the products. What is fastest then was measured, for 16 draws of WRN-16-2 on two CPU
cores: on TensorFlow and JAX all draws' networks in one graph with their weights as
constants, which the backend brings into order once (grouped convolutions take 1.1 to
2.4 times as long as one network after another on TensorFlow, up to 9 times on JAX);
on Torch, which has no graph, one network with N times the channels.
"""

import threading
from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfhyper.layers.fixed_noise import FixedNoise
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.networks.segments import Calls
from tfhyper.posterior.networks.stacked_network import StackedNetwork
from tfhyper.posterior.networks.stacked_tensor import StackedTensor
from tfhyper.posterior.running.batches import Batches, Part
from tfhyper.posterior.running.weight_cache import (
    DrawnWeights,
    RunnableNetwork,
    call_with,
    draws_key,
    noisy_layers,
)
from tfhyper.tensor_types import Structure, Tensor

# Weights of so many bytes at most are held as constants. TensorFlow needs some ten
# times as much memory for each of at most two graphs.
_CONSTANT_BYTES = 3 * 2**24


class UnrolledNetwork:
    """The networks of all draws in one graph, their weights its constants.

    Args:
        point: the network that draws are given to.
        weights: the weights of the draws.
        draws: the draws.

    Raises:
        ValueError: if the weights are more than constants should be.
    """

    # The inputs of a batch, at most, and how often their number has to come up
    # before building it pays: it takes as long as a hundred predictions.
    largest = 16 if keras.backend.backend() == "tensorflow" else 1
    pays_after = 64

    def __init__(self, point: PointNetwork, weights: DrawnWeights, draws: list[Draw]):
        _check_no_noise_inside(point)
        network = point.network
        needed = 4 * network.count_params() * len(draws)
        if needed > _CONSTANT_BYTES:
            raise ValueError(f"{needed} bytes of weights are too many for constants.")
        values = [
            [ops.convert_to_numpy(value) for value in run.all_weights()]
            for run in weights.runs(draws)
        ]
        self._model, self.count = _AllDraws(network, values), len(draws)
        self.by_place = bool(noisy_layers(network))

    def __call__(self, x: Structure, first: int = 0) -> Structure:
        """Returns the outputs, those of draw 0 first, (draws batch, ...)."""
        return self._model.predict_on_batch((x, np.int32(first)))


class _AllDraws(keras.Model):
    def __init__(self, network: keras.Model, weights: Sequence[Sequence[Tensor]]):
        super().__init__(name=f"{network.name}_draws", dtype="float32")
        self.autocast = False
        self.built = True

        # In a function, so that the network's variables are not those of the model:
        # it needs none of them.
        def run(x: Structure, first: Tensor) -> Structure:
            outputs = [call_with(network, values, x, first) for values in weights]
            return keras.tree.map_structure(
                lambda *parts: ops.concatenate(parts), *outputs
            )

        self._run = run

    def call(self, inputs: tuple[Structure, Tensor]) -> Structure:
        return self._run(*inputs)


class ConcatenatedDraws(StackedNetwork):
    """One network with N times the channels, and the copies one after the other.

    Args:
        point: the network that draws are given to.
        weights: the weights of the draws.
        draws: the draws.

    Raises:
        ValueError: if nothing draws, if there is not enough memory, or if the draws
            have moments of their own for a BatchNorm that comes before all that is
            random, of which there is one.
    """

    averaging = "branching"
    largest = 8
    pays_after = 4

    def __init__(self, point: PointNetwork, weights: DrawnWeights, draws: list[Draw]):
        _check_no_noise_inside(point)
        if not weights.keeps(draws):
            raise ValueError("The weights are more than is kept.")
        self._point = {id(original): copy for original, copy in point.pairs()}
        super().__init__(point.model, len(draws), **point.options)
        self.count = len(draws)
        self.set(self._joined(draws))
        self.by_place = bool(noisy_layers(self.network))

    @classmethod
    def ends(cls, calls: Calls) -> set[int]:
        """Returns the numbers of the calls that are averaged behind: none."""
        return set()

    def _mean(self, x: Tensor | StackedTensor, name: str) -> Tensor:
        if not isinstance(x, StackedTensor):
            # It is the same for all draws.
            return ops.concatenate([x] * self.num_copies)
        return ops.concatenate(x.split())

    def _copy_layer_weights(self, original: keras.Layer, copy: keras.Layer) -> None:
        # What the draws one by one have: the model's averages may have moved on.
        super()._copy_layer_weights(self._point[id(original)], copy)

    def _joined(self, draws: Sequence[Draw]) -> Draw:
        """Returns the draws as one, for this network."""
        noise = {
            name: np.stack([draw.noise[name] for draw in draws])
            for name in draws[0].noise
        }
        moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        stand_for = [(x, [copy]) for x, copy in PointNetwork.pairs(self)]
        stand_for += [(made.original, made.layers) for made in self._made.values()]
        for original, copies in stand_for:
            name = self._point[id(original)].name if id(original) in self._point else ""
            if copies[0].name not in self.batch_norms or not draws[0].moments:
                continue
            found = [np.stack(draw.moments[name]) for draw in draws]
            if copies[0].moving_mean.shape[0] > found[0].shape[1]:
                found = [np.concatenate(found, axis=1)]
            elif len(copies) == 1 and not all((x == found[0]).all() for x in found):
                raise ValueError(f"Each draw has other moments of BatchNorm '{name}'.")
            moments.update(
                (copy.name, (x[0], x[1]))
                for copy, x in zip(copies, found, strict=False)
            )
        return Draw(noise, moments)

    def __call__(self, x: Structure, first: int = 0) -> Structure:
        """Returns the outputs, those of draw 0 first, (draws batch, ...)."""
        self.start_at(first)
        return self.network.predict_on_batch(x)


def _check_no_noise_inside(point: PointNetwork) -> None:
    # XLA and Torch may draw other numbers for another number of examples.
    if any(isinstance(layer, FixedNoise) for layer in point.network.layers):
        raise ValueError("A layer draws its noise itself.")


# Name of a backend -> the network in which all draws predict a small batch.
FORMS: dict[str, type[UnrolledNetwork] | type[ConcatenatedDraws]] = {
    "tensorflow": UnrolledNetwork,
    "jax": UnrolledNetwork,
    "torch": ConcatenatedDraws,
}


class SmallBatchPath:
    """Chooses whether all draws predict together, by the sizes of batches.

    A network for all draws is built when so many batches of one size came that it
    pays, by their number and not by the clock: so that the same calls give the same
    numbers. It is kept until other draws, or other moments, come.

    Args:
        point: the network that draws are given to.
        weights: the weights of the draws.

    Attributes:
        network: the network for all draws, `None` until it pays.
    """

    def __init__(self, point: PointNetwork, weights: DrawnWeights):
        self._point, self._weights = point, weights
        self._form = FORMS.get(keras.backend.backend())
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Lets go of the network."""
        with self._lock:
            self.network: RunnableNetwork | None = None
            self._key: tuple | None = None
            self._refused = False
            self._seen: Counter[int] = Counter()

    def network_for(
        self, draws: list[Draw], data: Batches | Part
    ) -> RunnableNetwork | None:
        """Returns what predicts with all draws, or `None` for one after the other.

        Args:
            draws: the draws.
            data: what is to be predicted.
        """
        if not data.fixed:
            return None
        size = min(data.num_examples, data.batch_size)
        count = -(-data.num_examples // size)
        form = self._form
        if form is None or len(draws) < 2 or size > form.largest:
            return None
        key = draws_key(draws)
        with self._lock:
            if key != self._key:
                self.forget()
                self._key = key
            if self._refused:
                return None
            self._seen[size] += count
            if self._seen[size] < form.pays_after:
                return None
            if self.network is None:
                try:
                    self.network = form(self._point, self._weights, draws)
                except ValueError:
                    self._refused = True
            return self.network
