"""How draws come to BatchNorm moments of their own."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import numpy as np
from keras import ops

from tfhyper.checks import Verbose, check_choice, check_integer, check_positive_integer
from tfhyper.posterior.networks.batch_norm import PooledMoments
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batches import Batch, Batches, MiniBatches
from tfhyper.posterior.running.loop import progress
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.weight_cache import DrawnWeights, RunnableNetwork
from tfhyper.tensor_types import Structure

BatchNormMoments: TypeAlias = Literal["reestimate", "minibatch", "moving_average"]
BATCH_NORM: tuple[BatchNormMoments, ...] = get_args(BatchNormMoments)


class BatchNormStatistics:
    """Whose moments the draws have, and the pass over data that estimates them.

    Args:
        batch_norm: a name of `BATCH_NORM`, see `PosteriorPredictor`.
        batch_size: int > 1, of the mini-batches of `"minibatch"`, else `None`.
        point: the network of the draws.

    Attributes:
        needed: bool, whether a draw predicts only with moments of its own.

    Raises:
        ValueError: if moments of the network cannot be taken.
    """

    def __init__(
        self, batch_norm: BatchNormMoments, batch_size: int | None, point: PointNetwork
    ):
        self.batch_norm, self.batch_size = batch_norm, batch_size
        self._point = point
        self.needed = batch_norm != "moving_average" and bool(point.batch_norms)
        if batch_norm == "moving_average":
            return
        point.check_batch_norms()
        if batch_norm == "minibatch" and not point.batch_norms:
            raise ValueError(
                '`batch_norm="minibatch"` needs a model with BatchNorm layers, not '
                "called with `training=False`. Received: "
                f"model={point.model.name!r} without any"
            )

    def estimate(
        self,
        weights: DrawnWeights,
        draws: list[Draw],
        inputs: Structure,
        batch_size: int | None,
        taken: ModelInputs,
        seed: int,
        verbose: Verbose = 0,
    ) -> list[Draw]:
        """Returns the draws with the moments of a pass over training inputs.

        The network of the draws takes the model's present weights.

        Args:
            weights: the weights of the draws.
            draws: the draws.
            inputs: what is sent through each draw.
            batch_size: int > 0, for arrays; `None` for 128, and with `"minibatch"`.
            taken: what the model takes.
            seed: int, by which mini-batches are drawn.
            verbose: 0 for silence, 1 for a progress bar.

        Raises:
            ValueError: for other inputs, for moments that are not finite, or if there
                is nothing to estimate. The network of the draws is as before then.
        """
        passes = self._passes(inputs, batch_size, taken, len(draws), seed)
        weights.forget()
        own = self._point.own_variables
        before = [ops.convert_to_numpy(x) for x in own]
        self._point.copy_weights()
        try:
            todo = progress("estimate_batch_norm", draws, len(draws), verbose)
            if not self._point.batch_norms:
                return [dataclasses.replace(draw, moments={}) for draw in todo]
            runs = weights.runs_for_moments(draws)
            return [
                dataclasses.replace(draw, moments=self._moments(run, data))
                for draw, run, data in zip(todo, runs, passes, strict=False)
            ]
        except BaseException:
            # All or nothing: the network is as it was.
            for variable, value in zip(own, before, strict=True):
                variable.assign(value)
            raise

    def _passes(
        self,
        inputs: Structure,
        batch_size: int | None,
        taken: ModelInputs,
        num_draws: int,
        seed: int,
    ) -> Iterable[Iterable[Batch]]:
        """Returns, for one draw after another, what is to be sent through it."""
        if self.batch_norm == "moving_average":
            raise ValueError(
                '`batch_norm="moving_average"` uses the model\'s own statistics: '
                'there is nothing to estimate. Use `batch_norm="reestimate"`.'
            )
        if self.batch_norm == "minibatch":
            if batch_size is not None:
                raise ValueError(
                    "`batch_size` is the predictor's own with `batch_norm="
                    f'"minibatch"`: leave it out. Received: batch_size={batch_size}'
                )
            size = check_positive_integer("batch_size", self.batch_size)
            found = MiniBatches("inputs", inputs, size, taken, seed)
            return ([Batch(x, count=size)] for x in found.take(num_draws))
        batch_size = 128 if batch_size is None else batch_size
        check_positive_integer("batch_size", batch_size)
        return itertools.repeat(Batches("inputs", inputs, batch_size, taken))

    def _moments(
        self, run: RunnableNetwork, data: Iterable[Batch]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns BatchNorm layer's name -> (mean, variance) of a draw's batches."""
        pools = {name: PooledMoments() for name in self._point.batch_norms}
        for batch in data:
            outputs = iter(run(batch.inputs, batch.start))
            for pool in pools.values():
                mean, variance, count = (next(outputs)[0] for _ in range(3))
                pool.add(float(count[0]), mean, variance)
        return {name: self._result(name, pool) for name, pool in pools.items()}

    def _result(self, name: str, pool: PooledMoments) -> tuple:
        """Returns the moments of all examples, or raises ValueError."""
        if not pool.count:
            raise ValueError(
                "`inputs` must not be masked as a whole before BatchNorm layer "
                f"'{name}'."
            )
        found = pool.result(self._point.batch_norms[name].moving_mean.dtype)
        if not np.isfinite(found).all():
            raise ValueError(
                f"The moments of BatchNorm layer '{name}' are not finite: the "
                "weights of this draw overflow, or training diverged."
            )
        return found


def check_batch_norm(
    batch_norm: BatchNormMoments, batch_size: int | None, deterministic: bool
) -> int | None:
    """Returns the size of MCBN's mini-batches, `None` if there are none.

    Args:
        batch_norm: a name of `BATCH_NORM`.
        batch_size: as for `PosteriorPredictor`.
        deterministic: whether there is one draw, at the mean of the posterior.

    Raises:
        ValueError: for arguments out of range, or that do not go together.
    """
    check_choice("batch_norm", batch_norm, BATCH_NORM)
    if batch_norm != "minibatch":
        if batch_size is not None:
            raise ValueError(
                '`batch_size` is for `batch_norm="minibatch"`; give that of a pass to '
                f"`estimate_batch_norm`. Received: batch_size={batch_size!r}"
            )
        return None
    if deterministic:
        raise ValueError(
            '`deterministic=True` needs one network: `batch_norm="reestimate"` or '
            '"moving_average". Received: batch_norm="minibatch"'
        )
    if batch_size is None:
        raise ValueError(
            '`batch_size` must be given with `batch_norm="minibatch"`: that of '
            "training."
        )
    # One example alone has no variance.
    return check_integer("batch_size", batch_size, 2)
