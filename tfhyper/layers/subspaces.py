"""Lines, curves and simplexes: where in them a draw is, as weights of their corners."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_choice, check_integer
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.tensor_types import Tensor

SubspaceKind: TypeAlias = Literal["line", "curve", "simplex"]
# Defaults of the layers' arguments, and of their kit's.
KIND: SubspaceKind = "line"
SPREAD = 0.1


class _Form(NamedTuple):
    """What the subspaces of one kind are.

    Attributes:
        corners: how many corners there are if nobody says so.
        fixed: whether there are never others.
        coordinates: `(corners, seed)`, returns those of a random point.
        midpoint: `corners`, returns those of the midpoint.
        ends: which corners are ends of the subspace.
    """

    corners: int
    fixed: bool
    coordinates: Callable[[int, StatelessSeed], Tensor]
    midpoint: Callable[[int], list[float]]
    ends: Callable[[int], list[int]]


def _line(corners: int, seed: StatelessSeed) -> Tensor:
    a = keras.random.uniform((), seed=seed)
    return ops.stack([1.0 - a, a])


def _curve(corners: int, seed: StatelessSeed) -> Tensor:
    a = keras.random.uniform((), seed=seed)
    return ops.stack([(1.0 - a) ** 2, 2.0 * a * (1.0 - a), a**2])


def _simplex(corners: int, seed: StatelessSeed) -> Tensor:
    # Exponential numbers over their sum are uniform on the simplex.
    uniform = keras.random.uniform((corners,), seed=seed)
    exponential = -ops.log(ops.maximum(uniform, 1e-30))
    return exponential / ops.sum(exponential)


_FORMS: dict[SubspaceKind, _Form] = {
    "line": _Form(2, True, _line, lambda n: [0.5, 0.5], lambda n: [0, 1]),
    "curve": _Form(3, True, _curve, lambda n: [0.25, 0.5, 0.25], lambda n: [0, 2]),
    "simplex": _Form(
        3, False, _simplex, lambda n: [1 / n] * n, lambda n: list(range(n))
    ),
}


@dataclasses.dataclass(frozen=True)
class Subspace:
    """The points of a subspace of weights, sum_i c_i w_i by their coordinates c.

        line      c = (1 - a, a)                          a ~ U(0, 1)
        curve     c = ((1 - a)^2, 2 a (1 - a), a^2)       a ~ U(0, 1)
        simplex   c uniform on the simplex: c_i >= 0, sum_i c_i = 1

    Attributes:
        kind: `"line"`, `"curve"` or `"simplex"`.
        corners: int > 1, how many w_i there are; the one in the middle of a curve bends
            it.
    """

    kind: SubspaceKind
    corners: int

    def coordinates(self, seed: StatelessSeed) -> Tensor:
        """Returns the coordinates of a random point, a float32 tensor (1, corners).

        Args:
            seed: of `keras.random`.
        """
        return _FORMS[self.kind].coordinates(self.corners, seed)[None]

    @property
    def midpoint(self) -> np.ndarray:
        """The coordinates of the midpoint, a = 1/2 or the centre: (1, corners)."""
        return np.array([_FORMS[self.kind].midpoint(self.corners)], "float32")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Which two corners are ends of the subspace, for all such pairs."""
        ends = _FORMS[self.kind].ends(self.corners)
        return list(itertools.combinations(ends, 2))


def check_subspace(kind: SubspaceKind, corners: int | None) -> Subspace:
    """Returns a subspace of a kind.

    Args:
        kind: `"line"`, `"curve"` or `"simplex"`.
        corners: int > 1, how many corners it has: 2 of a line, 3 of a curve; `None`
            for these, and 3 of a simplex.

    Raises:
        ValueError: for an unknown kind, or corners that do not go with it.
    """
    form = _FORMS[check_choice("kind", kind, _FORMS)]
    if corners is None:
        return Subspace(kind, form.corners)
    corners = check_integer("corners", corners, 2)
    if form.fixed and corners != form.corners:
        raise ValueError(
            f"`corners` must be {form.corners} for a {kind}, or left out: only a "
            f"simplex has others. Received: corners={corners}, kind={kind!r}"
        )
    return Subspace(kind, corners)
