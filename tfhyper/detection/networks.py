"""The networks of a predictor's draws, run for what their last layer takes."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_integer, check_text
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import (
    PointNetwork,
    by_network,
    layer_behind_masks,
)
from tfhyper.posterior.running.batches import Batch, Batches, Part, checksum
from tfhyper.posterior.running.fingerprint import Fingerprint
from tfhyper.posterior.running.loop import check_same, finite_outputs
from tfhyper.posterior.running.weight_cache import (
    BoundNetwork,
    DrawnWeights,
    draws_key,
)
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.foreign_scores import Arrays
from tfhyper.tensor_types import Tensor

# How far the last layer's product may be from what the network gives, of its size.
_ROUNDING = 2e-2


@dataclasses.dataclass(frozen=True)
class Head:
    """The last layer of a draw: logits are features @ kernel + bias.

    Args:
        kernel: float64 (features, classes), or a tensor.
        bias: float64 (classes,), or a tensor.
    """

    kernel: Any
    bias: Any

    def __call__(self, features: Any) -> Any:
        """Returns logits (examples, classes) of features (examples, features)."""
        return features @ self.kernel + self.bias

    def arrays(self) -> Arrays:
        """Returns both by their names."""
        return {"kernel": self.kernel, "bias": self.bias}


class DrawFeatures:
    """The network of one draw, which gives features and outputs.

    Args:
        run: what runs it, with the features first among its outputs.
        last: the last layer and its variables, see `Features`; `None` without one.
        network: the network.

    Attributes:
        network: the network.
    """

    def __init__(self, run: BoundNetwork, last: Any, network: keras.Model):
        self._run, self._last, self.network = run, last, network

    def batch(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Returns features (examples, size) in float64, and the outputs, of a batch.

        Raises:
            ValueError: if a feature is not finite.
        """
        features, outputs = self._run(batch.inputs, batch.start)
        found = np.asarray(features, np.float64)
        if found.ndim > 2:
            # Of maps, the mean over positions.
            found = found.mean(axis=tuple(range(1, found.ndim - 1)))
        if not np.isfinite(found).all():
            raise ValueError(
                "The features of a draw must be finite. Received: NaN or infinite "
                "ones: training diverged, or the inputs are far outside of what the "
                "network was trained on"
            )
        return found, np.asarray(outputs)

    def __call__(self, data: Batches | Part) -> tuple[np.ndarray, Any, list]:
        """Returns features of all data, labels (`None` without), and checksums."""
        parts, labels, seen = [], [], []
        for batch in data:
            parts.append(self.batch(batch)[0])
            labels.append(batch.labels)
            seen.append(None if data.fixed else checksum(batch.inputs))
        there = [x for x in labels if x is not None]
        if there and len(there) < len(labels):
            raise ValueError(
                "`x_train` must bring labels with all of its batches, or with none. "
                f"Received: {len(there)} of {len(labels)} batches with labels"
            )
        joined = np.concatenate([np.asarray(x) for x in there]) if there else None
        return np.concatenate(parts), joined, seen

    def head(self) -> Head:
        """Returns the last layer with the weights of the draw.

        Raises:
            ValueError: if there is no kernel to be found.
        """
        values = {
            id(variable): value
            for variable, value in zip(
                self.network.variables, self._run.all_weights(), strict=True
            )
        }
        kernel = values.get(id(getattr(self._last, "kernel", None)))
        if kernel is None:
            raise ValueError(
                "`predictor` must have networks that end in a Dense layer, of which "
                "logits are made. Received: networks with the last layer "
                f"{self._last!r}"
            )
        kernel = _array(kernel)
        bias = values.get(id(self._last.bias))
        return Head(kernel, np.zeros(kernel.shape[1]) if bias is None else _array(bias))

    def check_head(self, head: Head, batch: Batch, task: Classification) -> None:
        """Raises ValueError unless the head's product is what the network gives."""
        features, outputs = self.batch(batch)
        (expected,) = task.read(finite_outputs(outputs))
        logits = head(features)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        found = powers / powers.sum(-1, keepdims=True)
        wanted = np.asarray(expected, np.float64)
        if task.name == "logits":
            found, wanted = logits, np.asarray(outputs, np.float64)
        fits = found.shape == wanted.shape
        if not fits or not np.allclose(found, wanted, _ROUNDING, _ROUNDING):
            raise ValueError(
                "`predictor` must have networks that end in a Dense layer, with a "
                "softmax behind it or none: logits are made of its inputs. "
                "Received: networks whose last Dense layer gives something else"
            )


class Features:
    """Last features of inputs, by the network of each draw.

    The features of a draw are what the last Dense layer of its network takes, or what
    a layer with a name gives; of maps (examples, ..., channels) the mean over
    positions.

    Args:
        predictor: the predictor.
        layer: name of the layer whose output they are; `None` for the input of the
            last Dense layer.
        num_draws: of how many draws at most, the first ones; `None` for all.

    Attributes:
        size: how many features there are, of each draw.

    Raises:
        ValueError: if there is no such layer, or it is called more than once.
    """

    def __init__(
        self, predictor: BasePredictor, layer: str | None, num_draws: int | None
    ):
        self.size: list[int] = []
        self._groups: list[tuple[DrawnWeights, list[Draw], Any, keras.Model]] = []
        for point, draws in by_network(predictor.networks()[:num_draws]):
            tensor, last = _find(point, layer)
            network = point.with_outputs([tensor, point.network.outputs[0]])
            found = DrawnWeights(point, network), draws, last, network
            self._groups.append(found)
            self.size += [int(tensor.shape[-1])] * len(draws)

    def __len__(self) -> int:
        """Of how many draws they are."""
        return len(self.size)

    def draws(self) -> Iterator[DrawFeatures]:
        """Yields the network of each draw, in their order."""
        for weights, draws, last, network in self._groups:
            for run in weights.runs(draws):
                yield DrawFeatures(run, last, network)

    def of_all(
        self, data: Batches
    ) -> Iterator[tuple[DrawFeatures, np.ndarray, np.ndarray | None]]:
        """Yields the network, the features and the labels of data, draw by draw.

        Raises:
            ValueError: if the data are not the same in every reading.
        """
        first = None
        for draw in self.draws():
            features, labels, seen = draw(data)
            first = check_same(seen, first)
            yield draw, features, labels


def features_of(point: PointNetwork, layer: str | None = None) -> Tensor:
    """Returns the features of a network as a symbolic tensor (batch, size).

    Args:
        point: the network of a draw.
        layer: as of `Features`. Of maps it is the mean over positions.
    """
    tensor, _ = _find(point, layer)
    middle = tuple(range(1, len(tensor.shape) - 1))
    return ops.mean(tensor, axis=middle) if middle else tensor


def made_up_batch(network: keras.Model) -> Batch:
    """Returns one random example of what a network takes, texts empty."""
    rng = np.random.default_rng(0)

    def one(tensor: Tensor) -> np.ndarray:
        shape = [1, *(size or 16 for size in tensor.shape[1:])]
        if tensor.dtype == "string":
            return np.full(shape, "")
        return rng.integers(0, 2, shape).astype(tensor.dtype)

    return Batch(keras.tree.map_structure(one, network.input), count=1)


def _array(value: Tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(value).astype(np.float64)


def _find(point: PointNetwork, layer: str | None) -> tuple[Tensor, Any]:
    """Returns the symbolic features of a network, and its last Dense layer."""
    pairs = list(point.pairs())
    if layer is None:
        found = [(*pair, _dense_of(*pair)) for pair in pairs]
        dense = [x for x in found if x[-1] is not None]
        if not dense:
            raise ValueError(
                "`layer` must name the layer whose output are the features, where the "
                "network has no Dense layer. Received: layer=None, "
                f"model={point.model.name!r}"
            )
        original, copy, last = dense[-1]
        return _only(copy, "input", original), last
    check_text("layer", layer)
    named = [x for x in pairs if x[0].name == layer and isinstance(x[0], keras.Layer)]
    if not named:
        names = [x[0].name for x in pairs if isinstance(x[0], keras.Layer)]
        raise ValueError(
            f"`layer` must be the name of a layer of the model: one of {names}. "
            f"Received: layer={layer!r}"
        )
    tensor = _only(named[0][1], "output", named[0][0])
    if len(tensor.shape) < 2 or tensor.shape[-1] is None:
        raise ValueError(
            "`layer` must give (batch, ..., features). "
            f"Received: layer={layer!r}, which gives {tuple(tensor.shape)}"
        )
    return tensor, None


def _dense_of(
    original: keras.Operation, copy: keras.Operation
) -> keras.layers.Dense | None:
    """Returns the Dense layer that a layer is in the network of a draw, if it is one.

    One that is used, and not copied, has the weights of the model's own layer; one with
    a relaxed mask before it is inside of what has the mask.
    """
    both = (layer_behind_masks(copy), original)
    layers = (x for x in both if isinstance(x, keras.layers.Dense))
    return next(layers, None)


def _only(copy: keras.Operation, side: str, original: keras.Layer) -> Tensor:
    """Returns the input or the output of a layer that is called once."""
    try:
        tensor = getattr(copy, side)
    except AttributeError:
        tensor = None
    if not isinstance(tensor, keras.KerasTensor):
        raise ValueError(
            "`layer` must be called once, on one tensor, and give one. Received: layer "
            f"{original.name!r} ({type(original).__name__})"
        )
    return tensor


def as_predictor(value: Any) -> BasePredictor:
    """Returns a classifier's predictor, or that of a plain model.

    Raises:
        TypeError: for what is neither.
        ValueError: for a model that draws, which needs a predictor of its own; and
            for what is no classifier of one class for each example.
    """
    found = predictor_of(value)
    classifier_of(found)
    return found


def predictor_of(value: Any, name: str = "predictor") -> BasePredictor:
    """Returns a predictor, or that of a plain model.

    Args:
        value: the predictor or the model.
        name: the argument's name, for errors.

    Raises:
        TypeError: for what is neither.
        ValueError: for a model that draws, which needs a predictor of its own.
    """
    if isinstance(value, keras.Model):
        made = PosteriorPredictor(value, batch_norm="moving_average")
        if made.num_draws > 1:
            raise ValueError(
                f"`{name}` must be a `tfhyper.PosteriorPredictor` where layers of "
                "the model draw: it says how many draws there are, and of which "
                f"moments. Received: {name}={value.name!r}, a model that draws"
            )
        value = made
    if not isinstance(value, BasePredictor):
        raise TypeError(
            f"`{name}` must be a `tfhyper.PosteriorPredictor`, a "
            "`tfhyper.DeepEnsemble` or a Keras model. "
            f"Received: {name}={value!r} of type {type(value).__name__}"
        )
    return value


def classifier_of(predictor: BasePredictor) -> Classification:
    """Returns the task of a classifier.

    Raises:
        ValueError: for what is no classifier of one class for each example.
    """
    task = predictor.task
    if not isinstance(task, Classification) or task.rank != 2:
        raise ValueError(
            "`predictor` must be a classifier that gives (batch, classes), a class for "
            f"each input. Received: outputs={predictor.outputs!r}"
            + (f", of {task.rank} axes" if isinstance(task, Classification) else "")
        )
    return task


def check_weights(predictor: BasePredictor) -> None:
    """Raises ValueError if a model has other weights than its draws were made of."""
    if not any(isinstance(x, str) for x in predictor.source.held_models()):
        # A file that was read has no other weights; a model may.
        predictor.networks()


def key_of(predictor: BasePredictor) -> list[int]:
    """Returns numbers that other draws or other weights would change."""
    count, noise = draws_key(predictor.source.draws)
    weights = [Fingerprint(model).checksum for model in predictor.source.models()]
    return [count, noise, *weights]


def check_optional(name: str, value: Any) -> int | None:
    """Returns an integer of 1 or more, or `None`; raises ValueError for all else."""
    return None if value is None else check_integer(name, value, 1)
