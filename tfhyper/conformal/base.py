"""What sets and intervals share: thresholds, groups, and how a file holds them."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_numbers
from tfhyper.conformal.quantile import check_alpha, check_enough, threshold_of
from tfhyper.scaling.base import constant
from tfhyper.summary import Summary
from tfhyper.tensor_types import Tensor

# What names a group of examples.
Group: TypeAlias = int | str


@dataclasses.dataclass(frozen=True)
class ConformalRule(abc.ABC):
    """Base class of `ConformalSets` and `ConformalIntervals`.

    Args:
        alpha: float in (0, 1), the fraction of new examples that may be missed.
        thresholds: one number; or one for each class or target; or a row of these for
            each group.
        groups: the names of the groups, integers or texts, or `None` for one threshold
            for all examples.

    Raises:
        ValueError: for numbers out of range or not finite, or another number of rows
            than groups.
        TypeError: for names of groups of another type.

    Example:

    >>> from tfhyper import conformal
    >>> isinstance(conformal.ConformalSets(0.1, 0.6), conformal.ConformalRule)
    True
    """

    alpha: float
    thresholds: Any
    groups: tuple[Group, ...] | None = None

    # Name of the field that tells the methods of a kind apart, and their names.
    field: ClassVar[str]
    methods: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", check_alpha(self.alpha))
        array = check_numbers("thresholds", self.thresholds)
        if array.ndim > 2 or not array.size:
            raise ValueError(
                "`thresholds` must be a number, a row, or a row for each group. "
                f"Received: thresholds={self.thresholds!r:.80}"
            )
        rows = tuple(map(tuple, np.atleast_2d(array).tolist()))
        object.__setattr__(self, "thresholds", rows)
        if self.groups is not None:
            object.__setattr__(self, "groups", tuple(_check_names(self.groups)))
        if len(rows) != len(self.groups or (None,)):
            raise ValueError(
                "`thresholds` must have a row for each group, or one without groups. "
                f"Received: {len(rows)} rows, groups={self.groups!r:.80}"
            )

    @property
    def method(self) -> str:
        """Returns the name of the method."""
        return getattr(self, self.field)

    @property
    def held(self) -> str | None:
        """Returns why no predictor can hold it, in words; `None` if one can."""
        if self.groups is not None:
            return (
                "`groups`: a predictor sees inputs and no groups. Call the rule with "
                "what it predicts, rule(prediction, groups)"
            )
        return None

    @abc.abstractmethod
    def in_words(self) -> str:
        """Returns what it is, in a few words."""

    def _repr_html_(self) -> str:
        """Returns what notebooks show."""
        return Summary(f"Conformal: {self.in_words()}").html()

    def to_json(self) -> dict[str, Any]:
        """Returns its arguments by their names, as JSON values."""
        return dataclasses.asdict(self)

    def rows_for(self, groups: ArrayLike | None, count: int, xp: Any = np) -> Tensor:
        """Returns thresholds for examples, (examples or 1, columns).

        Args:
            groups: the group of each example, of a rule with groups; else `None`.
            count: how many examples there are.
            xp: `numpy`, or `keras.ops`.

        Raises:
            ValueError: for groups that are missing, not known, or not one for each
                example; or for any, of a rule that has none.
        """
        if self.groups is None:
            if groups is not None:
                raise ValueError(
                    "`groups` must be None: the rule has one threshold for all of "
                    f"them. Received: groups of type {type(groups).__name__}"
                )
            return constant(self.thresholds, xp)
        if groups is None:
            raise ValueError(
                "`groups` must hold the group of each example: the rule has a "
                "threshold for each. Received: groups=None"
            )
        found = check_groups(groups, count)
        place = {name: i for i, name in enumerate(self.groups)}
        if unknown := [name for name in dict.fromkeys(found) if name not in place]:
            raise ValueError(
                "`groups` must be among those of the calibration, "
                f"{list(place)!r:.80}. Received: {unknown[0]!r}"
            )
        return np.asarray(self.thresholds)[[place[name] for name in found]]


def _check_names(names: Any) -> list[Group]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(
            "`groups` must be a sequence of integers or texts. "
            f"Received: groups={names!r:.80}"
        )
    return check_groups(names, None)


def check_groups(groups: ArrayLike, count: int | None) -> list[Group]:
    """Returns the group of each example.

    Args:
        groups: integers or texts, (examples,).
        count: how many examples there are; `None` for any number.

    Raises:
        ValueError: for another shape.
        TypeError: for names of another type.
    """
    try:
        array = np.asarray(groups)
    except ValueError:  # rows of different lengths
        array = np.zeros((0, 0))
    if array.ndim != 1 or not array.size or count not in (None, len(array)):
        rule = "a group for each example" if count is None else f"{count} groups"
        raise ValueError(
            f"`groups` must be a row of {rule}. Received: groups of shape {array.shape}"
        )
    found = array.tolist()
    if all(isinstance(x, int) and not isinstance(x, bool) for x in found) or all(
        isinstance(x, str) for x in found
    ):
        # Of [1, "a"], NumPy makes texts.
        if array.dtype.kind != "U" or all(isinstance(x, str) for x in groups):  # type: ignore[union-attr]  # a row
            return found
    raise TypeError(
        "`groups` must hold integers, or texts. "
        f"Received: groups of the dtype {array.dtype}"
    )


def cells_of(
    groups: list[Group] | None, columns: np.ndarray | None, names: Sequence[str]
) -> tuple[tuple[Group, ...] | None, list[list[np.ndarray]], list[list[str]]]:
    """Returns which examples choose each threshold, (groups, columns).

    Args:
        groups: the group of each example, or `None`.
        columns: for each example the column that it is of; `None` for every one.
        names: of the columns, in words.

    Returns:
        The names of the groups, the examples of each cell, and what it is called.
    """
    known = None if groups is None else tuple(sorted(set(groups)))
    found: list[list[np.ndarray]] = []
    words: list[list[str]] = []
    array = None if groups is None else np.asarray(groups)
    for group in known or (None,):
        of_group = np.array(True) if array is None else array == group
        row, said = [], []
        for i, name in enumerate(names):
            chosen = of_group if columns is None else of_group & (columns == i)
            row.append(chosen)
            of = "" if group is None else f"group {group!r}"
            said.append(" in ".join(x for x in (name, of) if x))
        found.append(row)
        words.append(said)
    return known, found, words


def thresholds_of(
    scores: np.ndarray,
    alpha: float,
    cells: list[list[np.ndarray]],
    words: list[list[str]],
) -> list[list[float]]:
    """Returns a threshold for each cell of `cells_of`.

    Args:
        scores: (examples, 1), or of columns that are scored apart (examples, columns).
        alpha: the miscoverage.
        cells: which examples are of each.
        words: what each is called.

    Raises:
        ValueError: if a cell has fewer examples than `alpha` needs.
    """
    count = len(scores)
    masks = [[np.broadcast_to(x, count) for x in row] for row in cells]
    named = [
        (name, int(mask.sum()))
        for row, said in zip(masks, words, strict=True)
        for mask, name in zip(row, said, strict=True)
    ]
    check_enough(named, alpha)
    return [
        [
            threshold_of(scores[mask, min(i, scores.shape[1] - 1)], alpha)
            for i, mask in enumerate(row)
        ]
        for row in masks
    ]
