"""How draws come to BatchNorm moments of their own."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from tfhyper.checks import check_choice, check_integer, check_positive_integer
from tfhyper.posterior.networks.batch_norm import PooledMoments
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batches import Batch, Batches, MiniBatches
from tfhyper.posterior.running.loop import located
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.weight_cache import Run

BATCH_NORM = ("reestimate", "minibatch", "moving_average")


class Calibration:
    """What is sent through the draws for their moments.

    Args:
        batch_norm: a name of `BATCH_NORM`, see `PosteriorPredictor`.
        batch_size: int > 1, of the mini-batches of `"minibatch"`, else `None`.
        deterministic: bool, whether the one draw is the posterior's mean.

    Raises:
        ValueError: for arguments out of range, or that do not go together.
    """

    def __init__(self, batch_norm, batch_size, deterministic):
        self.batch_norm = check_choice("batch_norm", batch_norm, BATCH_NORM)
        self.batch_size = _check_batch_size(batch_norm, batch_size, deterministic)

    @property
    def with_frozen(self) -> bool:
        """Whether the norms of a model that is frozen as a whole take part."""
        return self.batch_norm == "minibatch"

    def check_network(self, point: PointNetwork) -> None:
        """Raises ValueError if moments of the network cannot be taken."""
        if self.batch_norm == "moving_average":
            return
        point.check_batch_norms()
        if self.batch_norm == "minibatch" and not point.batch_norms:
            raise ValueError(
                '`batch_norm="minibatch"` needs a model with BatchNorm layers, not '
                "called with `training=False`. Received: "
                f"model={point.model.name!r} without any"
            )

    def passes(
        self, inputs, batch_size, taken: ModelInputs, num_draws: int, seed: int
    ) -> Iterator:
        """Returns, for one draw after another, what is to be sent through it."""
        if self.batch_norm == "moving_average":
            raise ValueError(
                '`batch_norm="moving_average"` uses the model\'s own statistics: '
                'there is nothing to calibrate. Use `batch_norm="reestimate"`.'
            )
        if self.batch_norm == "minibatch":
            if batch_size is not None:
                raise ValueError(
                    "`batch_size` is the predictor's own with `batch_norm="
                    f'"minibatch"`: leave it out. Received: batch_size={batch_size}'
                )
            found = MiniBatches("inputs", inputs, self.batch_size, taken, seed)
            return ([Batch(x)] for x in found.take(num_draws))
        batch_size = 128 if batch_size is None else batch_size
        check_positive_integer("batch_size", batch_size)
        return itertools.repeat(Batches("inputs", inputs, batch_size, taken))

    def check_done(self, point: PointNetwork, draws: list[Draw]) -> None:
        """Raises ValueError if a draw that needs moments has none."""
        due = self.batch_norm != "moving_average" and point.batch_norms
        if due and not all(draw.moments for draw in draws):
            raise ValueError(
                "Call `calibrate(training inputs)` first: each draw needs BatchNorm "
                'statistics of its own. (`batch_norm="moving_average"` does without '
                "and predicts worse.)"
            )


def moments(point: PointNetwork, runs: Iterable[Run], passes: Iterable) -> Iterator:
    """Yields BatchNorm layer's name -> (mean, variance), of one draw after another.

    Args:
        point: the network of the draws.
        runs: its `moments_network` with the weights of each draw.
        passes: what is sent through each.

    Raises:
        ValueError: if they are not finite.
    """
    if not point.batch_norms:
        yield from itertools.repeat({})
    for run, data in zip(runs, passes, strict=False):
        pools = {name: PooledMoments() for name in point.batch_norms}
        for start, batch in located(data):
            outputs = iter(run(batch.inputs, start))
            for pool in pools.values():
                mean, variance, count = (next(outputs)[0] for _ in range(3))
                pool.add(float(count[0]), mean, variance)
        yield {name: _result(point, name, pool) for name, pool in pools.items()}


def _result(point, name, pool):
    if not pool.count:
        raise ValueError(
            f"`inputs` must not be masked as a whole before BatchNorm layer '{name}'."
        )
    found = pool.result(point.batch_norms[name].moving_mean.dtype)
    if not np.isfinite(found).all():
        raise ValueError(
            f"The moments of BatchNorm layer '{name}' are not finite: the "
            "weights of this draw overflow, or training diverged."
        )
    return found


def _check_batch_size(batch_norm, batch_size, deterministic):
    """Returns the size of MCBN's mini-batches, `None` if there are none."""
    if batch_norm != "minibatch":
        if batch_size is not None:
            raise ValueError(
                '`batch_size` is for `batch_norm="minibatch"`; give that of a pass to '
                f"`calibrate`. Received: batch_size={batch_size!r}"
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
