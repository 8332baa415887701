"""Layers that users wrote for the version before; this file goes with the next one.

Formerly `sample_noise` took a seed alone and `fresh_noise` no index, an empty noise
said that a layer draws nothing, and `noise_is_seed` said what `noise_kind` says now.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from tfhyper.layers.noise import NoiseKind

# A method -> its arguments besides the layer, and how many of them it formerly had.
_METHODS = {
    "sample_noise": (("seed", "index", "ensemble_seed"), 1),
    "fresh_noise": (("seed", "count", "index"), 2),
}


def adapt_former_methods(cls: type) -> None:
    """Lets a class take what is given today, with a warning if it could not.

    Args:
        cls: a `StochasticLayer` that is being defined: its own methods are looked at.
    """
    own = vars(cls)
    says_kind = "noise_kind" in own or "is_random" in own
    for name, (arguments, former) in _METHODS.items():
        if name not in own or _takes(own[name], len(arguments)):
            continue
        _warn(cls, f"`{name}` must take ({', '.join(arguments)})")
        setattr(cls, name, _with_first(own[name], former))
        if name == "sample_noise" and not says_kind:
            is_random = property(lambda layer: layer.sample_noise(0).size > 0)
            setattr(cls, "is_random", is_random)
    if own.get("noise_is_seed") and "noise_kind" not in own:
        kind = "tfhyper.layers.NoiseKind.SEED"
        _warn(cls, f"`noise_is_seed = True` must be `noise_kind = {kind}`")
        setattr(cls, "noise_kind", NoiseKind.SEED)


def _takes(method: Callable, count: int) -> bool:
    """Whether a method can be called with so many arguments besides its object."""
    try:
        inspect.signature(method).bind(*range(count + 1))
    except TypeError:
        return False
    return True


def _with_first(method: Callable, count: int) -> Callable:
    """Returns a method that hands on its first arguments alone."""

    @functools.wraps(method)
    def adapted(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args[:count], **kwargs)

    return adapted


def _warn(cls: type, rule: str) -> None:
    warnings.warn(
        f"{cls.__name__}: {rule}, see `tfhyper.layers.StochasticLayer`. The next "
        "version no longer takes it as it is.",
        DeprecationWarning,
        stacklevel=4,  # where the class is defined
    )
