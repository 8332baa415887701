"""The prior precision, and the noise, of the largest evidence."""

from collections.abc import Callable

import numpy as np

# Between which they are looked for, log10.
_RANGE = (-6.0, 8.0)


def best_of_evidence(
    evidence: Callable[[float | list[float], float], float],
    prior: float | list[float],
    noise: float,
    fit_noise: bool,
) -> tuple[float | list[float], float]:
    """Returns prior precision and noise variance where the evidence is largest.

    Args:
        evidence: the log evidence of a prior precision and a noise variance.
        prior: one precision or two, to begin with; as many are chosen.
        noise: the noise variance, to begin with.
        fit_noise: bool, whether to choose it, too.
    """
    import scipy.optimize

    def read(point: np.ndarray) -> tuple[float | list[float], float]:
        found = np.power(10.0, np.clip(point, *_RANGE)).tolist()
        best = found.pop() if fit_noise else noise
        return (found if isinstance(prior, list) else found[0]), best

    def surprise(point: np.ndarray) -> float:
        return -evidence(*read(np.atleast_1d(point)))

    # The evidence has one maximum along each line of one precision.
    if not isinstance(prior, list) and not fit_noise:
        found = scipy.optimize.minimize_scalar(surprise, bounds=_RANGE)
        return read(np.array([found.x]))
    start = np.log10([*np.atleast_1d(prior), *([noise] if fit_noise else [])])
    found = scipy.optimize.minimize(
        surprise,
        np.clip(start, *_RANGE),
        method="Nelder-Mead",
        bounds=[_RANGE] * len(start),
        options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000},
    )
    return read(found.x)
