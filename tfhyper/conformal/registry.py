"""The kinds of rules, as files hold them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from tfhyper.conformal.base import ConformalRule
from tfhyper.conformal.intervals import ConformalIntervals, IntervalMethod
from tfhyper.conformal.sets import ConformalSets, SetScore

ConformalMethod: TypeAlias = SetScore | IntervalMethod
# Each is known by the name of the field that tells its methods apart.
KINDS: tuple[type[ConformalRule], ...] = (ConformalSets, ConformalIntervals)


def check_conformal(value: Any) -> ConformalRule | None:
    """Returns a rule from one, `None`, or the mapping that a file holds of it.

    Raises:
        TypeError: for another type, or another mapping.
        ValueError: for numbers out of range, or a rule that no predictor can hold.
    """
    if isinstance(value, Mapping):
        for kind in KINDS:
            names = {field.name for field in dataclasses.fields(kind)}
            if set(value) == names:
                value = kind(**value)
                break
    if value is None:
        return None
    if not isinstance(value, ConformalRule):
        raise TypeError(
            "`conformal` must be a tfhyper.conformal.ConformalSets or "
            f"ConformalIntervals, or None. Received: conformal={value!r:.80}"
        )
    if value.held is not None:
        raise ValueError(
            f"`conformal` must be without {value.held}. Received: {value!r:.200}"
        )
    return value
