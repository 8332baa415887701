"""Where the last layer of a network is, and the network of a draw of its weights."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfhyper import keras_private
from tfhyper.laplace.curvature import Covariance
from tfhyper.laplace.marginal_dense import Gives, MarginalDense
from tfhyper.layers import StochasticLayer, VariationalLayer
from tfhyper.layers.used_layer import UsedLayer, UsedOperation
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.weight_cache import (
    BoundNetwork,
    WithWeights,
    values_of_draws,
)
from tfhyper.tensor_types import Structure, Tensor

# What the outputs of a network are -> what has to come behind f = phi W.
_ACTIVATIONS = {
    "logits": None,
    "probabilities": "softmax",
    "label_logits": None,
    "label_probabilities": "sigmoid",
    "mean": None,
}


@dataclasses.dataclass(frozen=True)
class LastLayer:
    """The last layer with weights of a network.

    Attributes:
        original: the `keras.layers.Dense` of the model, or a drop-in for it.
        features: the symbolic tensor of its inputs, in the network of draws.
    """

    original: keras.layers.Dense
    features: keras.KerasTensor

    @property
    def rows(self) -> int:
        """How many features it has, and one more for a bias."""
        return self.features.shape[-1] + bool(self.original.use_bias)


def find_last_layer(point: PointNetwork, outputs: str) -> LastLayer:
    """Returns the last layer of the network that draws are given to.

    Args:
        point: the network, of one output.
        outputs: what it gives, a name of a task.

    Raises:
        ValueError: for a network that does not end in a `Dense`, with activations at
            most behind it, that is called once and without a posterior of its own.
    """
    originals = {id(copy): original for original, copy in point.pairs()}
    features, path = _path(
        point, lambda x: isinstance(originals.get(id(x)), keras.layers.Dense)
    )
    operation, *tail = path
    layer = originals[id(operation)]
    known = [_name(layer.activation), *(_activation(_used(x)) for x in tail)]
    if None in known:
        raise _no_dense(point, path[::-1])
    activations = [name for name in known if name and name != "linear"]
    expected = _ACTIVATIONS[outputs]
    if activations != ([] if expected is None else [expected]):
        raise ValueError(
            f"`model` must have {expected or 'no activation'} behind its last layer, "
            f"as it gives {outputs}: what is known in closed form is a Gaussian of "
            f"logits or of means. Received: model={point.model.name!r} with "
            f"{' and '.join(activations) or 'none'}"
        )
    _check_dense(point, layer, operation)
    return LastLayer(layer, features)


def _path(
    point: PointNetwork, is_last: Callable[[keras.Operation], bool]
) -> tuple[keras.KerasTensor, list[keras.Operation]]:
    """Returns what a last layer of a network takes, and the operations from it on.

    Args:
        point: the network, of one output.
        is_last: whether an operation of its graph is that layer.

    Raises:
        ValueError: if an operation behind it takes several tensors, or there is none.
    """
    tensor: keras.KerasTensor = point.network.outputs[0]
    path: list[keras.Operation] = []
    while True:
        operation, node, _ = keras_private.history(tensor) or (None, 0, 0)
        if operation is None or isinstance(operation, keras.layers.InputLayer):
            raise _no_dense(point, path)
        path.append(operation)
        taken = keras_private.inbound_nodes(operation)[node].input_tensors
        if len(taken) != 1:
            raise _no_dense(point, path)
        (tensor,) = taken
        if is_last(operation):
            return tensor, path[::-1]


def _used(operation: Any) -> Any:
    """Returns what an operation of the network calls: itself, or the model's own."""
    if isinstance(operation, UsedLayer):
        return operation.layer
    return operation.operation if isinstance(operation, UsedOperation) else operation


def _name(activation: Any) -> str | None:
    """Returns "linear", "softmax" or "sigmoid", `None` for another function."""
    if isinstance(activation, keras.Layer):
        return _activation(activation)
    functions = keras.activations
    for name in ("linear", "softmax", "sigmoid"):
        if activation is getattr(functions, name):
            return name
    return "linear" if activation is None else None


def _activation(operation: Any) -> str | None:
    """Returns the name of the activation that a layer or an operation is."""
    if isinstance(operation, keras.layers.Activation):
        return _name(operation.activation)
    if isinstance(operation, keras.layers.Identity):
        return "linear"
    function = keras_private.function_name(operation) if operation is not None else None
    if isinstance(operation, keras.layers.Softmax) or function == "Softmax":
        last = operation.axis in (-1, len(operation.output.shape) - 1)
        return "softmax" if last else None
    known = {"Sigmoid": "sigmoid", "Cast": "linear", "Identity": "linear"}
    return known.get(function or "")


def _no_dense(point: PointNetwork, path: list[keras.Operation]) -> ValueError:
    """Returns the error of a network, whose operations are given from its end on."""
    strange = [x for x in map(_used, path) if _activation(x) is None]
    found = "its input"
    if strange:
        found = f"'{strange[0].name}' ({type(strange[0]).__name__})"
        if (activation := getattr(strange[0], "activation", None)) is not None:
            found += f" with activation={keras.activations.serialize(activation)!r}"
    return ValueError(
        "`model` must end in a `keras.layers.Dense` with at most a softmax or a "
        "sigmoid behind it: in the weights of that its outputs are linear. "
        f"Received: model={point.model.name!r}, which ends in {found}"
    )


def _check_dense(
    point: PointNetwork, layer: keras.layers.Dense, operation: keras.Operation
) -> None:
    received = f"Received: layer '{layer.name}' ({type(layer).__name__})"
    if isinstance(layer, VariationalLayer):
        raise ValueError(
            "`model` must have a last layer without a posterior of its own, which "
            f"would be counted twice. {received}, whose weights have a density"
        )
    calls = [
        node
        for node in keras_private.graph_nodes(point.network)
        if node.operation is operation
    ]
    if len(calls) > 1:
        raise ValueError(
            "`model` must call its last layer once: elsewhere its outputs are not "
            f"linear in the weights. {received}, called {len(calls)} times"
        )
    if getattr(layer, "quantization_mode", None) is not None:
        raise ValueError(
            "`model` must have a last layer of real numbers. "
            f"{received}, quantized to {layer.quantization_mode}"
        )


class LastLayerNetwork(PointNetwork):
    """The network of draws, whose last layer is another in each draw.

    A draw holds, beside what the model's own layers draw, the weights of what stands
    for the last layer, by names such as "logits/kernel": of a `keras.layers.Dense` a
    drawn kernel and a bias; of a `MarginalDense` their means, and what variances are
    made of.

    Args:
        model: a functional or built Sequential model.
        dense: its last layer, of `find_last_layer`.
        covariance: that of the `MarginalDense`; `None` for a `keras.layers.Dense`.
        gives: what the `MarginalDense` gives.
        **options: as for `PointNetwork`, and its `own`.

    Attributes:
        last: what stands for the last layer.

    Raises:
        ValueError: as `PointNetwork`.
    """

    last: keras.layers.Dense | MarginalDense

    def __init__(
        self,
        model: keras.Model,
        dense: keras.layers.Dense,
        covariance: Covariance | None,
        gives: Gives,
        **options: Any,
    ):
        self._dense, self._covariance, self._gives = dense, covariance, gives
        super().__init__(model, **options)

    @property
    def last_names(self) -> list[str]:
        """The names by which a draw holds the weights of `last`, in their order."""
        return [f"{self.last.name}/{x.name}" for x in self.last.weights]

    def _copy(self, operation: keras.Operation, name: str) -> keras.Operation:
        if operation is not self._dense:
            return super()._copy(operation, name)
        options: dict[str, Any] = {
            "activation": self._dense.activation,
            "use_bias": self._dense.use_bias,
            "name": name,
        }
        units, covariance = self._dense.units, self._covariance
        if covariance is None:
            policy = self._dense.dtype_policy
            self.last = keras.layers.Dense(units, dtype=policy, **options)
        else:
            self.last = MarginalDense(units, covariance, self._gives, **options)
        return self.last

    def _copy_layer_weights(self, original: keras.Layer, copy: keras.Layer) -> None:
        if copy is not self.last:  # whose weights are those of a draw
            super()._copy_layer_weights(original, copy)

    def check_draw(self, draw: Draw) -> None:
        """Raises ValueError if the draw was made for another network."""
        names = self.last_names
        others = {name: x for name, x in draw.noise.items() if name not in names}
        super().check_draw(Draw(others, draw.moments))
        if missing := [name for name in names if name not in draw.noise]:
            raise ValueError(
                f"The draw was made for another network: it does not hold {missing}."
            )

    def weights_of_draws(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[keras.Layer, list[list]]]:
        """Yields layers of `network`, and the weights that each draw has there."""
        for copy, weights in super().weights_of_draws(draws):
            if copy is not self.last:
                yield copy, weights
        names = self.last_names
        yield self.last, [[draw.noise[name] for name in names] for draw in draws]

    def draws(self, operation: keras.Operation) -> bool:
        """Whether a draw fixes something of an operation of the graph."""
        return operation is self._dense or super().draws(operation)

    @property
    def is_random(self) -> bool:
        """Whether the network of one draw differs from that of another."""
        return self._covariance is None or super().is_random

    def fresh(self, seed: Tensor, index: Tensor) -> Draw:
        """Raises ValueError: a file does not hold what new last layers are drawn of."""
        raise ValueError(
            "`sampling=True` needs layers that draw in the file. Received: a "
            "LaplacePredictor, whose draws of the last layer are made beforehand"
        )

    @property
    def drawn_bytes(self) -> int:
        """How many bytes the weights of one draw have, in float32."""
        own = (
            0 if isinstance(self._dense, StochasticLayer) else self.last.count_params()
        )
        return super().drawn_bytes + 4 * own


class NetworkParts:
    """A network in two: what makes the features, and the last layer.

    Draws that differ in the last layer alone have the same features, which are made
    once for all of them.

    Args:
        point: the network.
        features: the symbolic inputs of its last layer, in its graph.
        head: the operations from the last layer on, in their order; none if only
            features are asked for.
    """

    def __init__(
        self,
        point: PointNetwork,
        features: keras.KerasTensor,
        head: Sequence[keras.Operation] = (),
    ):
        self._point = point
        # NumPy has no bfloat16.
        cast = keras.layers.Activation("linear", dtype="float32", name="features")
        self._body = point.with_outputs(cast(features))
        self._head = None
        if head:
            tensor = inputs = keras.Input(features.shape[1:], dtype="float32")
            for operation in head:
                tensor = operation(tensor)
            self._head = keras.Model(inputs, tensor)
        self._given: tuple[WithWeights, WithWeights | None] | None = None

    @classmethod
    def of(cls, point: LastLayerNetwork) -> "NetworkParts":
        """Returns both parts of the network of a last layer that is drawn."""
        return cls(point, *_path(point, lambda x: x is point.last))

    def features_of(self, draw: Draw) -> BoundNetwork:
        """Returns what makes features of inputs in a draw, float32."""
        return self._bind([draw])[0]

    def run(self, draws: Sequence[Draw]) -> "FeaturesOnce":
        """Returns the network of draws that have the features of the first."""
        return FeaturesOnce(*self._bind(draws))

    def _bind(self, draws: Sequence[Draw]) -> tuple[BoundNetwork, list[BoundNetwork]]:
        variables, values = values_of_draws(self._point, draws)
        used = {id(x) for x in self._body.variables}
        inside = [i for i, x in enumerate(variables) if id(x) in used]
        others = [i for i in range(len(variables)) if i not in set(inside)]
        if self._given is None:  # compiled once for all draws
            body = WithWeights(self._body, [variables[i] for i in inside])
            head = None
            if self._head is not None:
                head = WithWeights(self._head, [variables[i] for i in others])
            self._given = body, head
        body, head = self._given
        features = BoundNetwork(body, body.pack([values[0][i] for i in inside]))
        if head is None:
            return features, []
        packed = [head.pack([one[i] for i in others]) for one in values]
        return features, [BoundNetwork(head, one) for one in packed]


class FeaturesOnce:
    """Draws with the same features, ready to predict: a `RunnableNetwork`.

    Args:
        features: what makes the features.
        heads: what each draw makes of them.
    """

    def __init__(self, features: BoundNetwork, heads: Sequence[BoundNetwork]):
        self._features, self._heads = features, heads
        self.count, self.by_place = len(heads), features.by_place

    def __call__(self, x: Structure, first: int = 0) -> Tensor:
        """Returns the outputs, those of all examples for draw 0 first."""
        features = self._features(x, first)
        outputs = [np.asarray(head(features, first)) for head in self._heads]
        return np.concatenate(outputs)
