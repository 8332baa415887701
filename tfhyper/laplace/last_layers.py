"""The last layers of the networks of a model's draws, and what data are to them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose, check_finite, check_reading
from tfhyper.laplace.last_layer import NetworkParts, find_last_layer
from tfhyper.laplace.likelihoods import Likelihood
from tfhyper.layers import StochasticLayer
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.running.batches import Batches
from tfhyper.posterior.tasks import positions
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Structure

_NO_LABELS = "`y` must hold the labels where `x` brings none. Received: y=None"


class LastLayers:
    """What features the networks have, and which weights take them.

    Args:
        ensemble: the draws of the model.
        task: what its outputs mean.
        likelihood: that of the task's labels.

    Attributes:
        ensemble: as given.
        task: as given.
        draws: the draws as they are now.
        rows: features, and one more for a bias.
        outputs: classes, labels or targets.
        use_bias: whether there is a bias.

    Raises:
        ValueError: if the draws are not ready, or the last layer is of another kind.
    """

    def __init__(self, ensemble: DrawnEnsemble, task: Task, likelihood: Likelihood):
        self.ensemble, self.task, self._likelihood = ensemble, task, likelihood
        self.draws = ensemble.ready()
        self._last = find_last_layer(ensemble.point, task.name)
        self.rows, self.outputs = self._last.rows, int(self._last.original.units)
        self.use_bias = bool(self._last.original.use_bias)
        self._parts: NetworkParts | None = None

    def check(self) -> None:
        """Raises ValueError if the networks are others than they were."""
        # An estimate puts others in their place.
        same = self.ensemble.draws is self.draws
        if not same or self.ensemble.weights_changed():
            raise ValueError(
                "The model was trained, or estimated anew, since `Laplace` was made of "
                "it: make another. Received: a model with other weights or moments"
            )

    def means(self) -> list[np.ndarray]:
        """Returns kernel and bias in each network, float64 (rows, outputs).

        Raises:
            ValueError: if they are not finite.
        """
        layer, point = self._last.original, self.ensemble.point
        if isinstance(layer, StochasticLayer):
            copy = next(copy for original, copy in point.pairs() if original is layer)
            found: list[list[Any]] = dict(
                (id(drawn), weights)
                for drawn, weights in point.weights_of_draws(self.draws)
            )[id(copy)]
        else:
            own = [layer.kernel, *([layer.bias] if self.use_bias else [])]
            found = [own] * len(self.draws)
        return [check_finite("model", np.concatenate(self._wide(x))) for x in found]

    def _wide(self, weights: list[Any]) -> list[np.ndarray]:
        return [
            ops.convert_to_numpy(x).astype(np.float64).reshape(-1, self.outputs)
            for x in weights
        ]

    def split(self, matrix: np.ndarray) -> list[np.ndarray]:
        """Returns the kernel, and the bias if there is one."""
        return [matrix[:-1], matrix[-1]] if self.use_bias else [matrix]

    def prior(self, kernel: float, bias: float) -> np.ndarray:
        """Returns the prior precision of each row of the weights, (rows,)."""
        found = np.full(self.rows, kernel)
        if self.use_bias:
            found[-1] = bias
        return found

    def data(
        self,
        x: Structure,
        y: ArrayLike | None,
        batch_size: int,
        verbose: Verbose,
        sample_weight: ArrayLike | None,
    ) -> Batches:
        """Returns labelled data, checked as far as they are there already.

        Raises:
            ValueError: for data that the model does not take, or without labels.
        """
        check_reading(batch_size, verbose)
        task, taken = self.task, self.ensemble.inputs
        arrange, weigh = task.arrange_labels, task.weigh()
        found = Batches("x", x, batch_size, taken, y, sample_weight, arrange, weigh)
        if found.labels is not None:
            found.labels = task.check_labels(found.labels)
        elif found.fixed:
            raise ValueError(_NO_LABELS)
        return found

    def read(
        self, data: Batches, draw: Draw
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields features, labels and weights in rows, batch by batch.

        As of `Likelihood.rows`, features in float64 and with the 1 of a bias.

        Args:
            data: of `data`.
            draw: the draw whose features they are.

        Raises:
            ValueError: for features that are not finite, and labels as a task has it.
        """
        task = self.task
        if self._parts is None:
            self._parts = NetworkParts(self.ensemble.point, self._last.features)
        network = self._parts.features_of(draw)
        for batch in data:
            if batch.labels is None:
                raise ValueError(_NO_LABELS)
            features = np.asarray(network(batch.inputs, batch.start), np.float64)
            if not np.isfinite(features).all():
                raise ValueError(
                    "The features before the last layer must be finite. Received: "
                    "others, of a training that diverged or of inputs far off"
                )
            labels = task.check_labels(batch.labels)
            weights = positions.check_weights(batch.weights, task.label_shape(labels))
            if self.use_bias:
                ones = np.ones((*features.shape[:-1], 1))
                features = np.concatenate([features, ones], axis=-1)
            yield self._likelihood.rows(
                features, labels, weights, self.outputs, task.ignore_class
            )
