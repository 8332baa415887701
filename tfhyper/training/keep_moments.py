"""Callbacks that keep moments of the weights along the end of a training."""

import os

import keras
import numpy as np

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.training.keep_weights import KeepWeights
from tfhyper.variational import KeptWeights, SWAGPosterior
from tfhyper.variational.swag_posterior import check_rank


class KeepMoments(KeepWeights):
    """What callbacks have in common that average weights from some epoch on.

    Memory is that of the mean, whatever the number of epochs; a folder has the weights
    of each, which a training that goes on begins with.

    Args:
        start: float in 0 <= start < 1, the part of the epochs before the first whose
            weights count.
        every: int > 0, epochs from one to the next.
        folder: see `KeepWeights`.

    Raises:
        ValueError: for an argument out of range; at the start of training if no epoch
            is left.
    """

    def __init__(
        self,
        start: float = 0.75,
        every: int = 1,
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(folder)
        self.start = check_number("start", start, below=1)
        self.every = check_positive_integer("every", every)

    @property
    def _least(self) -> int:
        """How many sets of weights there have to be."""
        return 1

    def due(self, epochs: int) -> list[int]:
        """Returns the epochs from `start` on."""
        first = round(self.start * epochs)
        found = list(range(first + self.every, epochs + 1, self.every))
        if len(found) < self._least:
            raise ValueError(
                f"`start` and `every` must leave {self._least} epochs or more whose "
                f"weights count. Received: start={self.start}, every={self.every}, "
                f"{len(found)} of {epochs} epochs"
            )
        return found

    def reset(self) -> None:
        """Forgets what was taken."""
        self.count = 0
        self.mean: list[np.ndarray] = []

    def take(self, weights: list[np.ndarray]) -> None:
        """Takes the weights of one more of the epochs."""
        wide = [x.astype("float64") for x in weights]
        self.count += 1
        if self.count == 1:
            self.mean = wide
        else:
            for mean, x in zip(self.mean, wide, strict=True):
                mean += (x - mean) / self.count


class WeightAverage(KeepMoments):
    """Averages the weights along the end of a training: SWA (Izmailov et al., 2018).

    The mean of weights that a high rate keeps moving (`AveragingRate`) lies nearer to
    the middle of a flat region than any of them: one network, for the price of one.

    Args:
        start: float in 0 <= start < 1, the part of the epochs before the first whose
            weights count.
        every: int > 0, epochs from one to the next.
        folder: where to keep them, see `KeepWeights`; `None` for memory.

    Raises:
        ValueError: for an argument out of range; at the start of training if no epoch
            is left.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(),
    ...     keras.layers.Dense(10, activation="softmax")])
    >>> average = tfhyper.training.WeightAverage(start=0.5)
    >>> rate = tfhyper.training.AveragingRate(0.1, start=2 * 7, final=0.05)
    >>> model.compile(
    ...     keras.optimizers.SGD(rate, 0.9), "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     x_train, y_train, batch_size=32, epochs=4, callbacks=[average], verbose=0)
    >>> predictor = tfhyper.PosteriorPredictor(average.posterior())
    >>> predictor = predictor.estimate_batch_norm(x_train, verbose=0)
    >>> predictor.num_draws
    1

    Reference:
        Izmailov et al.: Averaging weights leads to wider optima and better
        generalization, UAI 2018.
    """

    def posterior(self, model: keras.Model | None = None) -> KeptWeights:
        """Returns the `tfhyper.KeptWeights` of one set, the mean.

        Args:
            model: the model that it is of; `None` for the one that was trained.

        Raises:
            ValueError: if the training has not come to its end, if there is no model,
                or for one of another architecture.
        """
        return KeptWeights(self.whole(model), [self.mean])


class SWAG(KeepMoments):
    """Takes mean and covariance of the weights along the end of a training: SWAG.

    The weights that a high rate keeps moving (`AveragingRate`) have, at the ends of
    epochs, a mean, a variance each, and a covariance of low rank by the last K of their
    deviations from the mean so far (Maddox et al., 2019, algorithm 1): the posterior is
    the Gaussian with these, `tfhyper.variational.SWAGPosterior`.

    Args:
        rank: int >= 0 and not 1, K.
        start: float in 0 <= start < 1, the part of the epochs before the first whose
            weights count.
        every: int > 0, epochs from one to the next.
        folder: where to keep them, see `KeepWeights`; `None` for memory.

    Raises:
        ValueError: for an argument out of range; at the start of training if fewer
            epochs than two, or than K, are left.

    Example:

    >>> swag = tfhyper.training.SWAG(rank=2, start=0.5)
    >>> rate = tfhyper.training.AveragingRate(0.1, start=2 * 7, final=0.05)
    >>> model.compile(
    ...     keras.optimizers.SGD(rate, 0.9), "sparse_categorical_crossentropy")
    >>> history = model.fit(
    ...     x_train, y_train, batch_size=32, epochs=4, callbacks=[swag], verbose=0)
    >>> predictor = tfhyper.PosteriorPredictor(swag.posterior(), num_draws=8)
    >>> predictor = predictor.estimate_batch_norm(x_train, verbose=0)
    >>> predictor.predict(x_test).mean.shape
    (2000, 10)

    Reference:
        Maddox et al.: A simple baseline for Bayesian uncertainty in deep learning,
        NeurIPS 2019.
    """

    def __init__(
        self,
        rank: int = 20,
        start: float = 0.75,
        every: int = 1,
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(start, every, folder)
        self.rank = check_rank(rank)

    @property
    def _least(self) -> int:
        return max(2, self.rank)

    def reset(self) -> None:
        """Forgets what was taken."""
        super().reset()
        self.squares: list[np.ndarray] = []
        self.deviations: list[list[np.ndarray]] = []

    def take(self, weights: list[np.ndarray]) -> None:
        """Takes the weights of one more of the epochs."""
        before = [x.copy() for x in self.mean]
        super().take(weights)
        wide = [x.astype("float64") for x in weights]
        if self.count == 1:
            self.squares = [np.zeros_like(x) for x in wide]
        else:
            # Welford's sum of squared deviations: no difference of large numbers.
            for total, x, old, mean in zip(
                self.squares, wide, before, self.mean, strict=True
            ):
                total += (x - old) * (x - mean)
        if self.rank:
            deviation = [
                (x - mean).astype("float32")
                for x, mean in zip(wide, self.mean, strict=True)
            ]
            self.deviations = [*self.deviations, deviation][-self.rank :]

    def posterior(
        self, model: keras.Model | None = None, scale: float = 1.0
    ) -> SWAGPosterior:
        """Returns the `tfhyper.variational.SWAGPosterior` of the moments.

        Args:
            model: the model that they are of; `None` for the one that was trained.
            scale: float > 0, by which the covariance is multiplied.

        Raises:
            ValueError: if the training has not come to its end, if there is no model,
                for one of another architecture, or for a scale out of range.
        """
        model = self.whole(model)
        variance = [total / self.count for total in self.squares]
        return SWAGPosterior(model, self.mean, variance, self.deviations, scale)
