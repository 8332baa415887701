"""A predictor as one function of its inputs that TensorFlow can trace.

What every format is made from: `EnsembleFunction` holds the weights as variables of
TensorFlow and gives the predictions of all draws, in plain operations without
control flow.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhyper.checks import check_choice
from tfhyper.export.arguments import FORMS, Form
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork, by_network
from tfhyper.posterior.networks.stacked_network import StackedNetwork
from tfhyper.posterior.tasks.foreign_scores import (
    Arrays,
    GraphOfDraws,
    GraphOfMembers,
)
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Structure, Tensor

# A variable of a network, and the value that it has in a draw.
Assignment: TypeAlias = tuple[keras.Variable, tf.Tensor]


class Said(NamedTuple):
    """What all draws say of inputs.

    Attributes:
        members: float32 tensor (batch, draws, classes) of probabilities, or of a
            regression (batch, draws, 2) of means and variances.
        foreign: float32 tensor (batch,), scores of the predictor's scorer; `None`
            without one.
    """

    members: tf.Tensor
    foreign: tf.Tensor | None


class EnsembleFunction:
    """The predictions of all draws of a predictor, as a function of the inputs.

    `said(inputs)` is a `Said`. Call it in a `tf.function`; the object must live as
    long as what was traced.

    Args:
        predictor: a `tfhyper.PosteriorPredictor` or `tfhyper.DeepEnsemble`.
        form: `"materialized"`: the kernels of all draws are variables;
            `"generator"`: what they are made of is, and each call makes them.
            `None` for the latter where the posterior allows it.

    Attributes:
        form: the form, as a name.
        specs: name -> `tf.TensorSpec` of each input, the batch of any size:
            "inputs" if there is one, else the names in the model.
        networks: list of `DrawnNetwork`.
        task: the predictor's `Task`.

    Raises:
        ValueError: for another form, or one that the posterior does not allow; if
            `estimate_batch_norm` is due.

    Example:

    >>> said = EnsembleFunction(predictor, "materialized")
    >>> tf.function(said)(tf.zeros((2, 8, 8, 1))).members.shape  # with 8 draws
    TensorShape([2, 8, 10])
    """

    def __init__(self, predictor: BasePredictor, form: Form | None = None):
        if form is not None:
            check_choice("form", form, FORMS)
        self.task = predictor.task
        pairs = predictor.networks()
        found = by_network(pairs)
        seeded = [x for point, draws in found for x in point.seeded(draws[0])]
        if form == "generator" and seeded:
            raise ValueError(
                '`form="generator"` needs a posterior whose draws are codes, masks or '
                "moments. A draw of a Gaussian kernel is as many numbers as the kernel "
                'has: use form="materialized". Received: form="generator", a model '
                f"whose layer {seeded[0]!r} has one"
            )
        self.form = form or ("materialized" if seeded else "generator")
        graph = None if predictor.scorer is None else predictor.scorer.graph()
        self._of_members = graph if isinstance(graph, GraphOfMembers) else None
        scores = {}
        if isinstance(graph, GraphOfDraws):
            # The first draws alone may have arrays.
            points = [point for point, _ in pairs]
            fitted = by_network(zip(points, graph.arrays, strict=False))
            scores = {id(point): _DrawScore(point, graph, own) for point, own in fitted}
        self.networks = [
            DrawnNetwork(point, draws, self.task, self.form, scores.get(id(point)))
            for point, draws in found
        ]
        self._structure = self.networks[0].point.network.input
        leaves = keras.tree.flatten(self._structure)
        self.specs = {
            "inputs" if len(leaves) == 1 else x.name: tf.TensorSpec(
                (None, *x.shape[1:]), x.dtype
            )
            for x in leaves
        }

    def __call__(self, inputs: Structure) -> Said:
        """Returns what the draws say of inputs."""
        said = [of_draw for network in self.networks for of_draw in network(inputs)]
        members = tf.stack([member for member, _ in said], axis=1)
        if self._of_members is not None:
            by_draws = tf.transpose(members, (1, 0, 2))
            return Said(members, self._of_members.of_members(by_draws))
        scores = [score for _, score in said if score is not None]
        return Said(members, tf.add_n(scores) / len(scores) if scores else None)

    def pack(self, named: dict[str, Tensor]) -> Structure:
        """Returns the inputs of the networks from tensors by the names of `specs`."""
        flat = [named[name] for name in self.specs]
        return keras.tree.pack_sequence_as(self._structure, flat)


class DrawnNetwork:
    """One network and its draws: the function of inputs and a draw, traced once.

    Args:
        point: the `PointNetwork`.
        draws: list of `Draw`.
        task: what the network's outputs mean.
        form: a name of `FORMS`.
        score: how foreign inputs are to a draw, or `None`.
    """

    def __init__(
        self,
        point: PointNetwork,
        draws: list[Draw],
        task: Task,
        form: Form,
        score: "_DrawScore | None" = None,
    ):
        self.point, self.count, self._task = point, len(draws), task
        self._score = score
        self._parts = (_Weights if form == "materialized" else _Sources)(point)
        arrays = [self._parts.take(draw) for draw in draws]
        # One column for each array of a draw.
        self._columns = [_Column(values) for values in zip(*arrays, strict=True)]
        # Its graph is in a file once, and not once for each draw.
        self._predict = tf.function(self._predict_draw, autograph=False)
        self._predict_scored = tf.function(self._predict_scored_draw, autograph=False)

    def __call__(self, inputs: Structure) -> list[tuple[tf.Tensor, tf.Tensor | None]]:
        """Returns predictions (batch, values) and scores (batch,) of the draws."""
        columns = [
            column.tensors(self.count)
            for column in self._columns
            if column.variable is not None
        ]
        drawn = [[column[i] for column in columns] for i in range(self.count)]
        if self._score is None:
            return [(self._predict(inputs, tensors), None) for tensors in drawn]
        fitted = self._score.tensors()
        # The first draws alone may have a score.
        said = [
            self._predict_scored(inputs, *of_draw)
            for of_draw in zip(drawn, fitted, strict=False)
        ]
        rest = drawn[len(fitted) :]
        return [*said, *((self._predict(inputs, tensors), None) for tensors in rest)]

    def predict_with(
        self, inputs: Structure, values: Iterable[Assignment]
    ) -> tf.Tensor:
        """Returns the network's prediction with other values of its variables.

        Args:
            inputs: what the network takes.
            values: pairs of a variable of the network and a tensor.
        """
        network = self.point.network
        return self._task.tensor(call_with(self.point, network, inputs, values))

    def _predict_draw(
        self, inputs: Structure, tensors: Iterable[tf.Tensor]
    ) -> tf.Tensor:
        return self.predict_with(inputs, self._values(tensors))

    def _predict_scored_draw(
        self,
        inputs: Structure,
        tensors: Iterable[tf.Tensor],
        fitted: dict[str, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self._score is None:
            raise ValueError("`score` must be given.")
        network, values = self._score.network, self._values(tensors)
        seen, raw = call_with(self.point, network, inputs, values)
        return self._task.tensor(raw), self._score.of_draw(seen, fitted)

    def _values(self, tensors: Iterable[tf.Tensor]) -> list[Assignment]:
        tensors = iter(tensors)
        parts = [
            column.constant if column.variable is None else next(tensors)
            for column in self._columns
        ]
        return self._parts.values(parts)


class _DrawScore:
    """How foreign inputs are to each of a network's draws, and what was fitted.

    Args:
        point: the network.
        graph: the scorer's.
        arrays: those of the network's draws, or of the first ones.
    """

    def __init__(self, point: PointNetwork, graph: GraphOfDraws, arrays: list[Arrays]):
        output = point.network.outputs[0]
        seen = graph.seen(point)
        self.network = point.with_outputs([output if seen is None else seen, output])
        self._of_draw, self._count = graph.of_draw, len(arrays)
        self._columns = {
            name: _Column([np.asarray(x[name], np.float32) for x in arrays])
            for name in arrays[0]
        }

    def tensors(self) -> list[dict[str, tf.Tensor]]:
        """Returns what was fitted to each draw, by name."""
        if not self._columns:
            return [{}] * self._count
        columns = [column.tensors(self._count) for column in self._columns.values()]
        return [
            dict(zip(self._columns, of_draw, strict=True))
            for of_draw in zip(*columns, strict=True)
        ]

    def of_draw(self, seen: tf.Tensor, fitted: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns the scores (batch,) of what the network makes of inputs."""
        return self._of_draw(tf.cast(seen, tf.float32), fitted)


def call_with(
    point: PointNetwork,
    network: keras.Model,
    inputs: Structure,
    values: Iterable[Assignment],
) -> Structure:
    """Returns what a network gives with other values of some of its variables.

    Args:
        point: the `PointNetwork`, for what its copies have in common.
        network: its `network` or `moments_network`.
        inputs: what it takes.
        values: pairs of a variable and a tensor.
    """
    # A BatchNorm of a copy has moments of its own: the last value counts.
    with keras.StatelessScope(state_mapping=[*point.repeats(), *values]):
        return network(inputs, training=False)


class _Weights:
    """What a file holds of a draw: kernels and moments."""

    def __init__(self, point: PointNetwork):
        self._point = point

    def take(self, draw: Draw) -> list[np.ndarray]:
        """Returns the arrays of a draw."""
        pairs = list(self._point.values(draw))
        self._variables = [variable for variable, _ in pairs]
        return [np.asarray(value) for _, value in pairs]

    def values(self, parts: Sequence[tf.Tensor]) -> list[Assignment]:
        """Returns the network's variables and what a draw makes of them."""
        return list(zip(self._variables, parts, strict=True))


class _Sources:
    """What a file holds of a draw: noise, of which kernels are made, and moments."""

    def __init__(self, point: PointNetwork):
        self._point = point

    def take(self, draw: Draw) -> list[np.ndarray]:
        """Returns the arrays of a draw."""
        self._structure = [draw.noise, draw.moments]
        return keras.tree.flatten(self._structure)

    def values(self, parts: Sequence[tf.Tensor]) -> list[Assignment]:
        """Returns the network's variables and what a draw makes of them."""
        noise, moments = keras.tree.pack_sequence_as(self._structure, parts)
        if isinstance(self._point, StackedNetwork):  # that of several draws
            noise = {
                name: tf.unstack(x) if tf.is_tensor(x) else x
                for name, x in noise.items()
            }
        return list(self._point.values(Draw(noise, moments)))


class _Column:
    """One array of each draw, as one variable.

    Arrays of no size, which say that nothing is drawn, stay what they are.
    """

    def __init__(self, values: Sequence[np.ndarray]):
        first = self.constant = np.asarray(values[0])
        self._same = all(np.array_equal(first, value) for value in values)
        self.variable = None
        if first.size:
            stacked = first if self._same else np.stack(values)
            self.variable = tf.Variable(stacked, trainable=False)

    def tensors(self, count: int) -> list[tf.Tensor]:
        """Returns the arrays of the draws."""
        if self._same:
            return [tf.convert_to_tensor(self.variable)] * count
        return tf.unstack(self.variable)
