"""Draws that an exported model makes itself, from a seed of the request."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from tfhyper.export.comparison import inputs_of
from tfhyper.export.functions import (
    Assignment,
    DrawnNetwork,
    EnsembleFunction,
    call_with,
)
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.tensor_types import Structure


class FreshDraws:
    """The predictions of as many draws as a predictor has, others for each seed.

    A draw is a function of the seed and its number, of the same distribution as the
    predictor's. Its BatchNorm moments are those of training inputs, held as a
    variable, that are sent through it: all of them or a random mini-batch, as
    `estimate_batch_norm` takes them.

    Args:
        members: the `EnsembleFunction` of the predictor.
        predictor: the predictor.
        inputs: training inputs, an array, or `None`.

    Raises:
        ValueError: if the predictor draws nothing, or `inputs` are missing or do not
            fit where draws have moments. Elsewhere they are not used.
    """

    def __init__(
        self,
        members: EnsembleFunction,
        predictor: BasePredictor,
        inputs: ArrayLike | None,
    ):
        networks = members.networks
        self._minibatch = predictor.batch_size
        if predictor.deterministic or not (
            self._minibatch or any(network.point.is_random for network in networks)
        ):
            raise ValueError(
                "`sampling=True` needs a predictor whose draws differ. Received: one "
                "that is deterministic, or whose layers draw nothing"
            )
        calibrated = predictor.batch_norm != "moving_average" and any(
            network.point.batch_norms for network in networks
        )
        if calibrated and inputs is None:
            raise ValueError(
                "`sampling_inputs` must hold training inputs, which the file keeps: "
                "fresh draws take their BatchNorm moments from them. Received: "
                f'sampling_inputs=None, batch_norm="{predictor.batch_norm}"'
            )
        # Looked at also where draws need none: what is wrong is wrong.
        if inputs is not None:
            inputs = self._check(inputs, members)
        self._inputs = tf.Variable(inputs, trainable=False) if calibrated else None
        self._networks = [
            (network.count, tf.function(self._function(network), autograph=False))
            for network in networks
        ]

    def __call__(self, inputs: Structure, seed: tf.Tensor) -> tf.Tensor:
        """Returns the draws' predictions, (batch, draws, values), for an int seed."""
        # As in tfhyper, seeds are not negative.
        seed = tf.bitwise.bitwise_and(seed, 2**31 - 1)
        members: list[tf.Tensor] = []
        for count, predict in self._networks:
            for _ in range(count):
                index = tf.constant(len(members), tf.int32)
                members.append(predict(inputs, seed, index))
        return tf.stack(members, axis=1)

    def _function(
        self, network: DrawnNetwork
    ) -> Callable[[Structure, tf.Tensor, tf.Tensor], tf.Tensor]:
        point = network.point

        def predict(inputs: Structure, seed: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
            values = list(point.values(point.fresh(seed, index)))
            if self._inputs is not None and point.batch_norms:
                values += self._moments(point, values, seed, index)
            return network.predict_with(inputs, values)

        return predict

    def _moments(
        self,
        point: PointNetwork,
        values: list[Assignment],
        seed: tf.Tensor,
        index: tf.Tensor,
    ) -> list[Assignment]:
        """Returns the variables of BatchNorm's moments, and those of a draw."""
        inputs = tf.convert_to_tensor(self._inputs)
        if self._minibatch:
            order = tf.random.experimental.stateless_shuffle(
                tf.range(inputs.shape[0]), tf.stack([seed, index])
            )
            inputs = tf.gather(inputs, order[: self._minibatch])
        found = iter(call_with(point, point.moments_network, inputs, values))
        moments = []
        for norm in point.batch_norms.values():
            mean, variance, _ = (next(found) for _ in range(3))
            moments.append((norm.moving_mean, mean[0]))
            moments.append((norm.moving_variance, variance[0]))
        return moments

    def _check(self, inputs: ArrayLike, members: EnsembleFunction) -> np.ndarray:
        spec, *others = members.specs.values()
        array = inputs_of("sampling_inputs", inputs, spec)
        if others or not spec.shape.is_compatible_with(array.shape):
            raise ValueError(
                "`sampling_inputs` must be an array of inputs as the network takes "
                f"them, normalised, of shape {tuple(spec.shape)}. Received: "
                f"sampling_inputs.shape={array.shape}"
            )
        least = self._minibatch or 1
        if len(array) < least:
            raise ValueError(
                f"`sampling_inputs` must hold at least {least} examples. "
                f"Received: {len(array)}"
            )
        return array.astype(spec.dtype.as_numpy_dtype)
