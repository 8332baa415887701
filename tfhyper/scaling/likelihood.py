"""Numbers of a formula of logits that make held-out labels likeliest."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from tfhyper.scaling.base import log_softmax
from tfhyper.scaling.calibration_data import CalibrationData

# No number of a scaling is larger: labels that are told without an error, or not at
# all, have no likeliest scale.
LARGEST = 100.0


class CalibrationWarning(UserWarning):
    """Held-out data leave a scaling less certain than it looks.

    Example:

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     scaling = tfhyper.scaling.fit([0, 1], [[0.6, 0.4], [0.4, 0.6]], "isotonic")
    >>> issubclass(found[0].category, tfhyper.scaling.CalibrationWarning)
    True
    """


def negative_log_likelihood(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """Returns the NLL of draws' mean probabilities, and its gradient.

        nll = -sum_i w_i log(1/N sum_t softmax(z_ti)[y_i]) / sum_i w_i

    Args:
        logits: z, float64 (draws, rows, classes).
        labels: y, (rows,).
        weights: w, (rows,), or `None`.

    Returns:
        The NLL, and its gradient by the logits.
    """
    logs = log_softmax(logits, np)
    of_label = logs[:, np.arange(len(labels)), labels]
    highest = of_label.max(axis=0)
    shares = np.exp(of_label - highest)
    total = shares.sum(axis=0)
    parts = np.full(len(labels), 1.0) if weights is None else weights
    parts = parts / parts.sum()
    nll = -np.sum(parts * (highest + np.log(total / len(logs))))
    gradient = np.exp(logs)
    gradient[:, np.arange(len(labels)), labels] -= 1.0
    gradient *= (parts * shares / total)[..., None]
    return float(nll), gradient


def likeliest(
    data: CalibrationData,
    logits: Callable[[np.ndarray], np.ndarray],
    pull: Callable[[np.ndarray], np.ndarray],
    start: Sequence[float] | np.ndarray,
    penalty: Callable[[np.ndarray], tuple[float, np.ndarray]] | None = None,
) -> np.ndarray:
    """Returns the numbers that give the labels the least NLL, by L-BFGS.

    Args:
        data: held-out data.
        logits: function of the numbers that gives logits (draws, rows, classes).
        pull: function of the gradient by the logits that gives that by the numbers.
        start: where the search starts.
        penalty: function of the numbers that gives what is added to the NLL, and its
            gradient.
    """
    from scipy.optimize import minimize

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        nll, of_logits = negative_log_likelihood(
            logits(numbers), data.labels, data.weights
        )
        gradient = pull(of_logits)
        if penalty is not None:
            more, slope = penalty(numbers)
            nll, gradient = nll + more, gradient + slope
        return nll, gradient

    start = np.asarray(start, np.float64)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-LARGEST, LARGEST)] * len(start),
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-12, "gtol": 1e-7},
    )
    warn_of_ends(found.x, LARGEST)
    return found.x


def warn_of_ends(numbers: np.ndarray, largest: float) -> None:
    """Warns if a number is as large as any may be."""
    if np.max(np.abs(numbers)) >= largest * (1 - 1e-6):
        warnings.warn(
            "The labels have no likeliest scaling: a number of it is at the end of "
            "its range. So it is with labels that are told almost without an error, as "
            "those of training data, or not at all",
            CalibrationWarning,
            stacklevel=2,
        )
