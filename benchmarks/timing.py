"""Times of systems that take turns, and their ratios to plain networks."""

import time
from collections.abc import Callable

import keras
import numpy as np


def time_systems(
    systems: dict[str, tuple[Callable, str]], warm_up: int, rounds: int
) -> dict[str, dict]:
    """Returns the time of each system, and its ratio to that of a plain network.

    The systems take turns, in one process, so that what else the machine does
    falls on all of them.

    Args:
        systems: name -> (function without arguments, name of the system that it
            is measured against, which may be itself).
        warm_up: int >= 0, rounds that are not timed.
        rounds: int > 0, rounds that are.

    Returns:
        Name -> "seconds", the median over the rounds; "against"; "ratio", the
        median of the ratio in one round; "ratio_quartiles" of it.
    """
    functions = {name: step for name, (step, _) in systems.items()}
    seconds = take_turns(functions, warm_up, rounds)
    return time_rows(seconds, {name: plain for name, (_, plain) in systems.items()})


def take_turns(
    functions: dict[str, Callable], warm_up: int, rounds: int
) -> dict[str, np.ndarray]:
    """Returns the seconds of each function in each of the rounds after the warm-up."""
    bar = keras.utils.Progbar(warm_up + rounds, unit_name="round")
    seconds = {name: [] for name in functions}
    for i in range(warm_up + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
        bar.update(i + 1)
    return {name: np.array(s[warm_up:]) for name, s in seconds.items()}


def time_rows(seconds: dict[str, np.ndarray], against: dict[str, str]) -> dict:
    """Returns what `time_systems` does, from the seconds of each round."""
    return {
        name: {
            "seconds": float(np.median(seconds[name])),
            "against": plain,
            **ratio(seconds[name], seconds[plain]),
        }
        for name, plain in against.items()
    }


def ratio(seconds: np.ndarray, plain: np.ndarray) -> dict:
    """Returns median and quartiles of the ratio in one round."""
    low, middle, high = np.quantile(seconds / plain, [0.25, 0.5, 0.75])
    return {"ratio": float(middle), "ratio_quartiles": [float(low), float(high)]}
