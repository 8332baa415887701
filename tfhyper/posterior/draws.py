"""A draw: all that fixes the randomness of one network of the ensemble."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Draw:
    """What makes one plain network out of a stochastic one.

    Small: the codes z (or other noise) and BatchNorm's moments, not weights.

    Attributes:
        noise: stochastic layer's name -> its noise, such as z of shape
            (1, code_units). Empty for a network of plain layers.
        moments: BatchNorm layer's name -> (mean, variance), each (channels,).
            Empty where the model's moving averages are to be used.

    Example:

    >>> draw = predictor.draws[0]
    >>> network = predictor.materialize(draw)
    """

    noise: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
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
    """Undoes `to_arrays`."""
    draws = [Draw() for _ in range(num_draws)]
    for key, array in arrays.items():
        index, kind, name = key.split("/", 2)
        draw = draws[int(index)]
        if kind == "noise":
            draw.noise[name] = array
        elif kind == "mean":
            draw.moments[name] = (array, arrays[f"{index}/variance/{name}"])
    return draws
