"""The forms of model averaging: where the draws of a network are averaged."""

from typing import Literal, TypeAlias

from tfhyper.posterior.networks.segments import Calls, Segment
from tfhyper.posterior.networks.stacked_network import StackedNetwork


class Parallelizing(StackedNetwork):
    """Each residual block N times, the mean of its outputs behind it.

    A block is what lies between two points that all paths through the network
    meet in, and which has more than one path. Copy i of each block has the weights
    of draw i. Random layers outside of blocks are averaged as they come.
    """

    averaging = "parallelizing"

    @classmethod
    def ends(cls, calls: Calls) -> set[int]:
        """Returns the ends of what draws."""
        drawn = _drawn(cls.averaging, calls)
        if not any(branches for branches, _, _ in drawn):
            raise ValueError(
                '`averaging="parallelizing"` needs a model with residual blocks, '
                "whose paths part and meet, and layers that draw in them. "
                f"Received: model={calls.model.name!r} without any"
            )
        return {end for *_, end in drawn if end is not None}


class Widening(StackedNetwork):
    """N times the channels, the mean of the copies behind the last random layer.

    The kernel between two tensors of N copies has N^2 draws,

        output_j = 1/N sum_i W_ij * input_i,    i, j = 1 ... N.
    """

    averaging = "widening"
    mixes = True

    @classmethod
    def ends(cls, calls: Calls) -> set[int]:
        """Returns the end of the last part that draws."""
        drawn = _drawn(cls.averaging, calls)
        end = drawn[-1][-1]
        return set() if end is None else {end}


def _drawn(averaging: str, calls: Calls) -> list[Segment]:
    """Returns the segments that draw, or raises ValueError if there are none."""
    drawn = [segment for segment in calls.segments() if segment[1]]
    if not drawn:
        raise ValueError(
            f'`averaging="{averaging}"` needs a model with layers that draw. '
            f"Received: model={calls.model.name!r}, whose layers have fixed weights"
        )
    return drawn


# Name -> the network that holds all draws; with branching each has its own.
Averaging: TypeAlias = Literal["branching", "parallelizing", "widening"]
AVERAGING: dict[Averaging, type[StackedNetwork] | None] = {
    "branching": None,
    "parallelizing": Parallelizing,
    "widening": Widening,
}
