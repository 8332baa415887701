"""A classifier for scikit-learn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from tfhyper.posterior import Prediction
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.sklearn.estimator import Estimator, body
from tfhyper.tensor_types import Shape

if TYPE_CHECKING:
    from typing_extensions import Self


class Classifier(ClassifierMixin, Estimator):
    """A network whose draws are averaged, as a classifier of scikit-learn.

    Args:
        network: function (shape of an input, number of classes) -> a Keras model that
            gives logits. One that it compiles is trained as it is; else Adam minimises
            the cross-entropy. `None` for two `BayesDense` layers of 64 units.
        num_draws: int > 0, how many draws are averaged over; `None` for the
            predictor's own number.
        epochs: int > 0.
        batch_size: int > 0.
        learning_rate: float > 0, of Adam.
        standardize: bool, whether each column of tables gets mean 0 and deviation 1 by
            what training shows. Inputs with more axes stay as they are.
        random_state: as scikit-learn has it: first weights, batches and draws.
        verbose: 0, 1 or 2, of `fit`.

    Attributes:
        classes_: array (classes,), the labels in their order.
        predictor_: the `tfhyper.PosteriorPredictor`.
        n_features_in_: int, the size of the inputs' second axis.
        offset_, scale_: what inputs are standardised by.

    Raises:
        TypeError, ValueError: by `fit`, for arguments out of range, for labels of one
            class, for data as scikit-learn refuses them.

    Example:

    >>> from tfhyper.sklearn import Classifier
    >>> inputs = np.random.default_rng(0).normal(size=(200, 3))
    >>> labels = np.where(inputs[:, 0] > 0, "yes", "no")
    >>> classifier = Classifier(epochs=20, random_state=0).fit(inputs, labels)
    >>> classifier.classes_.tolist(), classifier.predict_proba(inputs[:5]).shape
    (['no', 'yes'], (5, 2))
    >>> classifier.score(inputs, labels) > 0.9
    True
    """

    _tasks = (Classification,)
    _tasks_in_words = "classes, with outputs of logits or probabilities"

    classes_: np.ndarray

    def fit(
        self,
        X: ArrayLike,  # noqa: N803  # scikit-learn's name
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Trains the network.

        Args:
            X: array (examples, features) or (examples, ...).
            y: array (examples,), labels of any type that can be sorted.
            sample_weight: array (examples,), or `None`.
        """
        self._check()
        inputs, labels = validate_data(self, X, y, allow_nd=True, dtype="float32")
        check_classification_targets(labels)
        encoder = LabelEncoder().fit(labels)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(
                "`y` must have labels of two classes or more. "
                f"Received: one class, {self.classes_[0]!r}"
            )
        self._train(
            inputs,
            encoder.transform(labels).astype("int32"),
            self._weights(sample_weight, inputs),
            self._make,
            lambda _: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return self

    def _make(self, shape: Shape) -> keras.Model:
        if self.network is not None:
            return self.network(shape, len(self.classes_))
        inputs = keras.Input(shape)
        logits = keras.layers.Dense(len(self.classes_))(body(inputs))
        return keras.Model(inputs, logits)

    def prediction(self, X: ArrayLike) -> Prediction:  # noqa: N803
        """Returns all that the draws say of inputs, uncertainties among it."""
        return self._predict(X)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """Returns probabilities (examples, classes), the mean over the draws."""
        return self.prediction(X).mean

    def predict(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """Returns the most probable labels, (examples,)."""
        chosen = self.predict_proba(X).argmax(axis=-1)
        return self.classes_[chosen]

    @classmethod
    def from_predictor(
        cls, predictor: BasePredictor, classes: Sequence[Any] | None = None
    ) -> "Self":
        """Returns a classifier of a predictor that is there: it needs no `fit`.

        Inputs are those that the predictor takes. `fit` would train anew, and not the
        predictor's network.

        Args:
            predictor: a `PosteriorPredictor` or `DeepEnsemble` of classes.
            classes: the labels in the order of the network's outputs; `None` for 0, 1,
                ...

        Raises:
            TypeError: for something that is no predictor.
            ValueError: for one of another kind, or another number of labels.

        Example:

        >>> classifier = tfhyper.sklearn.Classifier.from_predictor(predictor)
        >>> classifier.predict(x_test[:3]).shape
        (3,)
        """
        estimator = cls._around(predictor)
        # One column is the probability of the second of two classes.
        count = max(2, cast(Classification, predictor.task).classes)
        labels = np.arange(count) if classes is None else np.asarray(classes)
        if labels.shape != (count,):
            raise ValueError(
                f"`classes` must hold a label for each of the {count} classes of the "
                f"predictor. Received: classes={classes!r}"
            )
        estimator.classes_ = labels
        return estimator
