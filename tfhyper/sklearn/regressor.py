"""A regressor for scikit-learn."""

from statistics import NormalDist
from typing import TYPE_CHECKING

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from tfhyper import heads, metrics
from tfhyper.checks import check_bool, check_number
from tfhyper.posterior import DistributionPrediction, RegressionPrediction
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.distribution import Distribution
from tfhyper.posterior.tasks.regression import Regression
from tfhyper.sklearn.estimator import Estimator, body, standardization
from tfhyper.tensor_types import Shape

if TYPE_CHECKING:
    from typing_extensions import Self


class Regressor(RegressorMixin, Estimator):
    """A network whose draws are averaged, as a regressor of scikit-learn.

    Targets are trained on with mean 0 and deviation 1, and predicted in their own unit.

    Args:
        network: function (shape of an input, number of targets) -> a Keras model that
            ends in a `tfhyper.heads` layer, or gives the targets' means. One that it
            compiles is trained as it is; else Adam minimises the negative
            log-likelihood of the head, or squared errors, and the noise is what the
            training targets leave (`fit_noise`): too little where the network
            overfits. `None` for two `BayesDense` layers of 64 units and a `NormalHead`.
        num_draws: int > 0, how many draws are averaged over; `None` for the
            predictor's own number.
        epochs: int > 0.
        batch_size: int > 0.
        learning_rate: float > 0, of Adam.
        standardize: bool, whether each column of tables gets mean 0 and deviation 1 by
            what training shows, and the targets likewise. Inputs with more axes stay as
            they are.
        random_state: as scikit-learn has it: first weights, batches and draws.
        verbose: 0, 1 or 2, of `fit`.

    Attributes:
        predictor_: the `tfhyper.PosteriorPredictor`, of scaled inputs and targets.
        n_features_in_: int, the size of the inputs' second axis.
        offset_, scale_: what inputs are standardised by.
        target_offset_, target_scale_: what targets are standardised by, (targets,).

    Raises:
        TypeError, ValueError: by `fit`, for arguments out of range, for data as
            scikit-learn refuses them.

    Example:

    >>> from tfhyper.sklearn import Regressor
    >>> rng = np.random.default_rng(0)
    >>> inputs = rng.normal(size=(200, 1))
    >>> targets = 100 * inputs[:, 0] + 5 * rng.normal(size=200)
    >>> regressor = Regressor(epochs=30, random_state=0).fit(inputs, targets)
    >>> mean, std = regressor.predict(inputs[:3], return_std=True)
    >>> mean.shape, std.shape
    ((3,), (3,))
    >>> regressor.score(inputs, targets) > 0.9
    True
    """

    _tasks = (Regression, Distribution)
    _tasks_in_words = "a regression, of means or distributions"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self,
        X: ArrayLike,  # noqa: N803  # scikit-learn's name
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Trains the network.

        Args:
            X: array (examples, features) or (examples, ...).
            y: array (examples,) or (examples, targets).
            sample_weight: array (examples,), or `None`.
        """
        self._check()
        inputs, targets = validate_data(
            self,
            X,
            y,
            allow_nd=True,
            dtype="float32",
            multi_output=True,
            y_numeric=True,
        )
        self._flat = targets.ndim == 1
        targets = np.asarray(targets, "float64").reshape(len(targets), -1)
        self.target_offset_ = np.zeros(targets.shape[1])
        self.target_scale_ = np.ones(targets.shape[1])
        if self.standardize:
            self.target_offset_, self.target_scale_ = standardization(targets)
        targets = (targets - self.target_offset_) / self.target_scale_
        self._train(
            inputs,
            targets.astype("float32"),
            self._weights(sample_weight, inputs),
            lambda shape: self._make(shape, targets.shape[1]),
            _loss,
        )
        if isinstance(self.predictor_.task, Regression):
            self.predictor_.fit_noise(self._scaled(inputs), targets, verbose=0)
        return self

    def _make(self, shape: Shape, count: int) -> keras.Model:
        if self.network is not None:
            return self.network(shape, count)
        inputs, head = keras.Input(shape), heads.NormalHead(count)
        return keras.Model(inputs, head(keras.layers.Dense(head.units)(body(inputs))))

    def prediction(
        self,
        X: ArrayLike,  # noqa: N803
    ) -> RegressionPrediction | DistributionPrediction:
        """Returns all that the draws say of inputs, of standardised targets."""
        return self._predict(X)

    def predict(
        self,
        X: ArrayLike,  # noqa: N803
        return_std: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Returns the means over the draws, in the shape of the targets of `fit`.

        Args:
            X: inputs.
            return_std: whether standard deviations, of the data's noise and the draws
                together, come along.
        """
        check_bool("return_std", return_std)
        found = self.prediction(X)
        mean = self._in_unit(found.mean)
        if not return_std:
            return mean
        return mean, self._shaped(_rows(found.std) * self.target_scale_)

    def predict_interval(
        self,
        X: ArrayLike,  # noqa: N803
        level: float = 0.9,
    ) -> metrics.PredictiveInterval:
        """Returns central intervals, in the unit of the targets.

        Args:
            X: inputs.
            level: float in (0, 1), the probability inside.
        """
        found = self.prediction(X).interval(level)
        return metrics.PredictiveInterval(*map(self._in_unit, found))

    def predict_quantile(self, X: ArrayLike, level: float) -> np.ndarray:  # noqa: N803
        """Returns a quantile of each target, in its unit.

        Of a head's distributions it is that of their mixture over the draws, of means
        that of the normal distribution with the prediction's mean and variance.

        Args:
            X: inputs.
            level: float in (0, 1), the probability below.

        Raises:
            ValueError: for a level out of range.
        """
        check_number("level", level, positive=True, below=1)
        found = self.prediction(X)
        if isinstance(found, DistributionPrediction):
            return self._in_unit(found.mixture.quantile(level))
        return self._in_unit(found.mean + NormalDist().inv_cdf(level) * found.std)

    def _in_unit(self, values: np.ndarray) -> np.ndarray:
        return self._shaped(_rows(values) * self.target_scale_ + self.target_offset_)

    def _shaped(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] if self._flat and rows.shape[1] == 1 else rows

    @classmethod
    def from_predictor(cls, predictor: BasePredictor) -> "Self":
        """Returns a regressor of a predictor that is there: it needs no `fit`.

        Inputs and targets are those of the predictor. `fit` would train anew, and not
        the predictor's network. Of one target, arrays are (examples,).

        Raises:
            TypeError: for something that is no predictor.
            ValueError: for a predictor of classes or labels, or of several outputs.
        """
        estimator = cls._around(predictor)
        estimator.target_offset_, estimator.target_scale_ = np.zeros(1), np.ones(1)
        estimator._flat = True
        return estimator


def _loss(model: keras.Model) -> keras.losses.Loss:
    """Returns what a network is trained by: its head's likelihood, or squares."""
    for layer in reversed(model.layers):
        if isinstance(layer, heads.Head):
            return heads.NegativeLogLikelihood(layer)
    return keras.losses.MeanSquaredError()


def _rows(values: np.ndarray) -> np.ndarray:
    """Returns what a prediction holds as (examples, targets)."""
    return values.reshape(len(values), -1)
