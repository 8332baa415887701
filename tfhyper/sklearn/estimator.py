"""What the estimators share: their arguments, training, and how inputs are scaled."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from tfhyper.checks import (
    check_bool,
    check_instance,
    check_integer,
    check_number,
    check_positive_integer,
)
from tfhyper.layers import BayesDense
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Shape

if TYPE_CHECKING:
    from typing_extensions import Self

# (shape of an input, numbers to give) -> a network, compiled or not.
Network: TypeAlias = Callable[[Shape, int], keras.Model]
_HIDDEN = 64


def body(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Returns what the networks of those who give none have in common.

    Two `BayesDense` layers of 64 units, of all numbers of an input in a row.
    """
    x = keras.layers.Flatten()(inputs)
    for _ in range(2):
        x = BayesDense(_HIDDEN, activation="relu")(x)
    return x


class Estimator(BaseEstimator):
    """Trains a network, and keeps the predictor of its draws.

    `Classifier` and `Regressor` say what of.
    """

    # Of the predictors that it may stand around.
    _tasks: ClassVar[tuple[type[Task], ...]]
    _tasks_in_words: ClassVar[str]

    predictor_: BasePredictor

    def __init__(
        self,
        network: Network | None = None,
        *,
        num_draws: int | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.network = network
        self.num_draws = num_draws
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.standardize = standardize
        self.random_state = random_state
        self.verbose = verbose

    def _check(self) -> None:
        if self.network is not None and not callable(self.network):
            raise TypeError(
                "`network` must be a function (input shape, numbers to give) -> "
                f"keras.Model, or None. Received: network={self.network!r}"
            )
        if self.num_draws is not None:
            check_positive_integer("num_draws", self.num_draws)
        check_positive_integer("epochs", self.epochs)
        check_positive_integer("batch_size", self.batch_size)
        check_number("learning_rate", self.learning_rate, positive=True)
        check_bool("standardize", self.standardize)
        check_integer("verbose", self.verbose, 0, 2)

    def _train(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        make: Callable[[Shape], keras.Model],
        loss_of: Callable[[keras.Model], keras.losses.Loss],
    ) -> None:
        """Trains what a function makes, and keeps the predictor of it."""
        self._take_scale(inputs)
        inputs = self._scaled(inputs)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(seed):
            model = make(inputs.shape[1:])
            if not getattr(model, "compiled", False):
                optimizer = keras.optimizers.Adam(self.learning_rate)
                model.compile(optimizer, loss_of(model))
            model.fit(
                inputs,
                targets,
                batch_size=self.batch_size,
                epochs=self.epochs,
                sample_weight=weights,
                verbose=self.verbose,
            )
        predictor = PosteriorPredictor(model, self.num_draws, seed=seed)
        if predictor.source.point.batch_norms:
            predictor.estimate_batch_norm(inputs, self.batch_size, verbose=0)
        self.predictor_ = predictor

    def _weights(
        self, sample_weight: ArrayLike | None, inputs: np.ndarray
    ) -> np.ndarray | None:
        """Returns weights as Keras takes them.

        Raises:
            ValueError: for another shape than (examples,), numbers below zero or not
                finite, or none above zero.
        """
        if sample_weight is None:
            return None
        check_consistent_length(inputs, sample_weight)
        weights = check_array(
            sample_weight, ensure_2d=False, input_name="sample_weight"
        )
        if weights.ndim != 1 or (weights < 0).any() or not (weights > 0).any():
            raise ValueError(
                "`sample_weight` must be an array (examples,) of numbers, none below "
                f"zero and not all zero. Received: sample_weight.ndim={weights.ndim}, "
                f"from {weights.min()} to {weights.max()}"
            )
        return weights.astype("float32")

    def _take_scale(self, inputs: np.ndarray) -> None:
        self.offset_, self.scale_ = np.zeros(1, "float32"), np.ones(1, "float32")
        if self.standardize and inputs.ndim == 2:
            self.offset_, scale = standardization(inputs)
            self.scale_ = scale.astype("float32")

    def _scaled(self, inputs: np.ndarray) -> np.ndarray:
        return ((inputs - self.offset_) / self.scale_).astype("float32")

    def _predict(self, inputs: ArrayLike) -> Any:
        """Returns what the predictor says of inputs as `fit` takes them."""
        check_is_fitted(self, "predictor_")
        arrays = validate_data(
            self, inputs, allow_nd=True, dtype="float32", reset=False
        )
        return self.predictor_.predict(self._scaled(arrays), verbose=0)

    @classmethod
    def _around(cls, predictor: BasePredictor) -> "Self":
        """Returns an estimator that is fitted: the predictor is there.

        Raises:
            TypeError: for something that is no predictor.
            ValueError: for one of another task than `cls` is for.
        """
        rule = "a PosteriorPredictor or a DeepEnsemble"
        check_instance("predictor", predictor, BasePredictor, rule)
        if not isinstance(predictor.task, cls._tasks):
            raise ValueError(
                f"`predictor` must be one of {cls._tasks_in_words}. "
                f"Received: outputs={predictor.outputs!r}"
            )
        estimator = cls(num_draws=predictor.num_draws, standardize=False)
        estimator.predictor_ = predictor
        estimator.offset_ = np.zeros(1, "float32")
        estimator.scale_ = np.ones(1, "float32")
        return estimator


def standardization(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of each column, 1 for one that is constant."""
    scale = columns.std(axis=0)
    return columns.mean(axis=0), np.where(scale > 0, scale, 1)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy and Keras, and gives Python and NumPy back their states.

    Keras has no way to tell its state: its global generator goes on from this seed.
    """
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
