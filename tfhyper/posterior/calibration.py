"""How draws come to BatchNorm moments of their own."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from tfhyper.checks import check_choice, check_integer, check_positive_integer
from tfhyper.posterior.batch_norm import PooledMoments
from tfhyper.posterior.batches import Batches, MiniBatches, count_examples
from tfhyper.posterior.draws import Draw
from tfhyper.posterior.passes import located
from tfhyper.posterior.point_network import PointNetwork

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

    def passes(self, inputs, batch_size, num_draws: int, seed: int) -> Iterator:
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
            found = MiniBatches("inputs", inputs, self.batch_size, seed)
            return ([(x, None)] for x in found.take(num_draws))
        batch_size = 128 if batch_size is None else batch_size
        check_positive_integer("batch_size", batch_size)
        return itertools.repeat(Batches("inputs", inputs, batch_size))

    def check_done(self, point: PointNetwork, draws: list[Draw]) -> None:
        """Raises ValueError if a draw that needs moments has none."""
        due = self.batch_norm != "moving_average" and point.batch_norms
        if due and not all(draw.moments for draw in draws):
            raise ValueError(
                "Call `calibrate(training inputs)` first: each draw needs BatchNorm "
                'statistics of its own. (`batch_norm="moving_average"` does without '
                "and predicts worse.)"
            )


def moments(point: PointNetwork, draw: Draw, data: Iterable) -> dict:
    """Returns BatchNorm layer's name -> (mean, variance) of a pass through a draw.

    Raises:
        ValueError: if they are not finite.
    """
    names = list(point.batch_norms)
    if not names:
        return {}
    point.set(Draw(draw.noise))
    pools = [PooledMoments() for _ in names]
    for start, x, _ in located(data):
        point.start_at(start)
        batch = point.moments_network.predict_on_batch(x)
        for pool, mean, variance in zip(pools, batch[::2], batch[1::2], strict=True):
            pool.add(count_examples(x), mean[0], variance[0])
    found = {name: pool.result() for name, pool in zip(names, pools, strict=True)}
    for name, values in found.items():
        if not np.isfinite(values).all():
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
