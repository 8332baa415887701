"""A draw: all that fixes the randomness of one network of the ensemble."""

import dataclasses
import re

import numpy as np

from tfhyper.tensor_types import Tensor

_KEY = re.compile(r"(0|[1-9]\d{0,8})/(noise|mean|variance)/(.+)", re.DOTALL)


@dataclasses.dataclass
class Draw:
    """What makes one plain network out of a stochastic one.

    Small: the codes z (or other noise) and BatchNorm's moments, not weights.

    Attributes:
        noise: stochastic layer's name -> its noise, such as z of shape
            (1, code_units): an array, or in a traced function a tensor. Empty for
            a network of plain layers.
        moments: BatchNorm layer's name -> (mean, variance), each (channels,).
            Empty where the model's moving averages are to be used.

    Example:

    >>> draw = predictor.draws[0]
    >>> network = predictor.materialize(draw)
    >>> network.predict(x_test, verbose=0).shape
    (2000, 10)
    """

    noise: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    moments: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(
        default_factory=dict
    )


def to_arrays(draws: list[Draw]) -> dict[str, np.ndarray]:
    """Returns draws as named arrays, for `numpy.savez`."""
    arrays = {}
    for i, draw in enumerate(draws):
        for name, noise in draw.noise.items():
            arrays[f"{i}/noise/{name}"] = noise
        for name, (mean, variance) in draw.moments.items():
            arrays[f"{i}/mean/{name}"] = mean
            arrays[f"{i}/variance/{name}"] = variance
    return arrays


def from_arrays(arrays: dict[str, np.ndarray], num_draws: int) -> list[Draw]:
    """Undoes `to_arrays`.

    Raises:
        ValueError: for a name that `to_arrays` does not give to so many draws, or a
            mean without its variance.
    """
    draws = [Draw() for _ in range(num_draws)]
    for key, array in arrays.items():
        found = _KEY.fullmatch(key)
        if found is None or int(found[1]) >= num_draws:
            raise ValueError(f"{key!r} is not of one of {num_draws} draws")
        index, kind, name = found.groups()
        if kind == "noise":
            draws[int(index)].noise[name] = array
            continue
        other = "variance" if kind == "mean" else "mean"
        if f"{index}/{other}/{name}" not in arrays:
            raise ValueError(f"{key!r} is there without the {other}")
        if kind == "mean":
            variance = arrays[f"{index}/variance/{name}"]
            draws[int(index)].moments[name] = (array, variance)
    return draws
