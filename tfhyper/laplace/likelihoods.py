"""What the likelihood of a label is at the outputs of a last layer, and its curvature.

Outputs are f, (rows, outputs), and weights say how much each label counts.
"""

import abc
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np

from tfhyper.laplace.curvature import OutputHessian
from tfhyper.posterior.tasks import positions

Name: TypeAlias = Literal["classification", "regression"]
NAMES: tuple[Name, ...] = get_args(Name)


class Likelihood(abc.ABC):
    """A likelihood whose outputs are those of a last layer.

    Attributes:
        name: what `Laplace` calls it.
        decides: whether labels are classes, of which there have to be two.
    """

    name: ClassVar[Name] = "classification"
    decides: ClassVar[bool] = True

    @abc.abstractmethod
    def losses(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns negative log-likelihoods, (rows,) or (rows, outputs), in nats.

        Of targets at a noise variance of 1, without what does not depend on f.
        """

    @abc.abstractmethod
    def hessian(
        self, outputs: np.ndarray, weights: np.ndarray, of_row: np.ndarray
    ) -> OutputHessian:
        """Returns the Hessians of the losses in f.

        Args:
            outputs: f.
            weights: (rows, 1) or (rows, outputs).
            of_row: (rows,), their means.
        """

    @abc.abstractmethod
    def predictive(
        self, mean: np.ndarray, variance: np.ndarray, labels: np.ndarray, noise: float
    ) -> np.ndarray:
        """Returns log-likelihoods as of `losses`, of f in N(mean, variance).

        Args:
            mean: (rows, outputs).
            variance: (rows, outputs).
            labels: as of `losses`.
            noise: the noise variance of targets.
        """

    def rows(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray | None,
        outputs: int,
        ignore_class: int | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns features, labels and weights in rows, of all positions that count.

        Args:
            features: (examples, ..., features).
            labels: (examples, ...), or with an axis of outputs, as a task checked them.
            weights: (labels,), one for each; or `None`.
            outputs: how many there are.
            ignore_class: the label that does not count, or `None`.

        Returns:
            (rows, features); labels as of `losses`; weights (rows, 1) or (rows,
            outputs).

        Raises:
            ValueError: for labels that are none of these features'.
        """
        labels = labels.reshape(-1, outputs)
        rows = features.reshape(-1, features.shape[-1])
        positions.check_positions("y", labels, (len(rows), outputs))
        if weights is None:
            weights = np.ones(labels.size)
        weights = weights.reshape(labels.shape)
        if ignore_class is not None:
            weights = weights * (labels != ignore_class)
        return rows, labels, weights


class Classes(Likelihood):
    """One class of several: the softmax of f."""

    def losses(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns cross-entropies, (rows,)."""
        top = outputs.max(axis=-1, keepdims=True)
        total = np.log(np.exp(outputs - top).sum(axis=-1)) + top[:, 0]
        return total - np.take_along_axis(outputs, labels[:, None], axis=-1)[:, 0]

    def hessian(
        self, outputs: np.ndarray, weights: np.ndarray, of_row: np.ndarray
    ) -> OutputHessian:
        """Returns diag(p) - p p^T of each row."""
        powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        probs = powers / powers.sum(axis=-1, keepdims=True)
        return OutputHessian(weights * probs, np.sqrt(weights) * probs, of_row)

    def predictive(
        self, mean: np.ndarray, variance: np.ndarray, labels: np.ndarray, noise: float
    ) -> np.ndarray:
        """Returns log-likelihoods by the probit approximation, (rows,)."""
        return -self.losses(_scaled(mean, variance), labels)

    def rows(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray | None,
        outputs: int,
        ignore_class: int | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns features, labels (rows,) and weights (rows, 1)."""
        found = positions.rows_that_count(labels, features, weights, ignore_class)
        each = np.ones(len(found.labels)) if found.weights is None else found.weights
        return found.values, found.labels, each.reshape(-1, 1)


class Labels(Likelihood):
    """Labels each by itself, 0 or 1: sigmoids of f."""

    def losses(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns cross-entropies, (rows, outputs)."""
        return np.logaddexp(0.0, np.where(labels == 1, -outputs, outputs))

    def hessian(
        self, outputs: np.ndarray, weights: np.ndarray, of_row: np.ndarray
    ) -> OutputHessian:
        """Returns diag(p (1 - p)) of each row."""
        probs = 0.5 + 0.5 * np.tanh(0.5 * outputs)
        return OutputHessian(weights * probs * (1.0 - probs), None, of_row)

    def predictive(
        self, mean: np.ndarray, variance: np.ndarray, labels: np.ndarray, noise: float
    ) -> np.ndarray:
        """Returns log-likelihoods by the probit approximation, (rows, outputs)."""
        return -self.losses(_scaled(mean, variance), labels)


class Targets(Likelihood):
    """Targets around the means f, with noise of one variance."""

    name = "regression"
    decides = False

    def losses(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns half the squared errors, (rows, outputs)."""
        return 0.5 * np.square(labels - outputs)

    def hessian(
        self, outputs: np.ndarray, weights: np.ndarray, of_row: np.ndarray
    ) -> OutputHessian:
        """Returns the identity of each row."""
        return OutputHessian(np.broadcast_to(weights, outputs.shape), None, of_row)

    def predictive(
        self, mean: np.ndarray, variance: np.ndarray, labels: np.ndarray, noise: float
    ) -> np.ndarray:
        """Returns log-densities of N(mean, variance + noise), (rows, outputs)."""
        variance = variance + noise
        squares = np.square(labels - mean) / variance
        return -0.5 * (np.log(2 * np.pi * variance) + squares)

    def rows(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        weights: np.ndarray | None,
        outputs: int,
        ignore_class: int | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns features, targets (rows, outputs) and weights (rows, 1)."""
        rows, targets, each = super().rows(features, labels, weights, outputs, None)
        if np.ptp(each, axis=1).any():
            raise ValueError(
                "`sample_weight` must be the same for all targets of an example. "
                "Received: another one for each"
            )
        return rows, targets, each[:, :1]


# What a network gives -> the likelihood of its labels.
LIKELIHOODS: dict[str, Likelihood] = {
    "logits": Classes(),
    "probabilities": Classes(),
    "label_logits": Labels(),
    "label_probabilities": Labels(),
    "mean": Targets(),
}


def _scaled(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Returns logits whose softmax or sigmoid is about the mean one (MacKay, 1992)."""
    return mean / np.sqrt(1.0 + np.pi / 8.0 * variance)
