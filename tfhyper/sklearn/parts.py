"""Parts of what a regressor says, as regressors: what MAPIE and crepes ask for."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from tfhyper.checks import check_instance
from tfhyper.sklearn.regressor import Regressor

if TYPE_CHECKING:
    from typing_extensions import Self


class _Part(RegressorMixin, BaseEstimator):
    """A regressor that says one part of what another says."""

    regressor: Regressor

    def fit(self, X: ArrayLike, y: ArrayLike, **arguments: Any) -> "Self":  # noqa: N803
        """Trains the regressor."""
        self._check().fit(X, y, **arguments)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        try:
            check_is_fitted(self._check(), "predictor_")
        except ValueError:
            return False
        return True

    @property
    def n_features_in_(self) -> int:
        """The regressor's."""
        return self._check().n_features_in_

    def _check(self) -> Regressor:
        return check_instance("regressor", self.regressor, Regressor, "a Regressor")


class Quantile(_Part):
    """The quantiles that a `Regressor` predicts: for `ConformalizedQuantileRegressor`.

    Args:
        regressor: the `Regressor`.
        level: float in (0, 1), the probability below.

    Example:

    >>> from tfhyper.sklearn import Quantile, Regressor
    >>> rng = np.random.default_rng(0)
    >>> inputs, targets = rng.normal(size=(60, 1)), rng.normal(size=60)
    >>> regressor = Regressor(epochs=2, random_state=0).fit(inputs, targets)
    >>> lower, upper = (Quantile(regressor, x).predict(inputs) for x in (0.05, 0.95))
    >>> bool((lower < upper).all())
    True
    """

    def __init__(self, regressor: Regressor, level: float = 0.5):
        self.regressor = regressor
        self.level = level

    def predict(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """Returns the quantile of each target, in its unit.

        Raises:
            ValueError: for a level out of range.
        """
        return self._check().predict_quantile(X, self.level)


class Spread(_Part):
    """The standard deviations that a `Regressor` predicts, of noise and draws together.

    For `ResidualNormalisedScore(Spread(regressor), prefit=True)`, which makes intervals
    that are wide where the regressor says so.

    Args:
        regressor: the `Regressor`.

    Example:

    >>> from tfhyper.sklearn import Regressor, Spread
    >>> rng = np.random.default_rng(0)
    >>> inputs, targets = rng.normal(size=(60, 1)), rng.normal(size=60)
    >>> regressor = Regressor(epochs=2, random_state=0).fit(inputs, targets)
    >>> bool((Spread(regressor).predict(inputs) > 0).all())
    True
    """

    def __init__(self, regressor: Regressor):
        self.regressor = regressor

    def predict(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """Returns the deviation of each target, in its unit."""
        return self._check().predict(X, return_std=True)[1]
