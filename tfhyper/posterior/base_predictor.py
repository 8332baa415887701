"""What is done with networks whose predictions are averaged."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import (
    check_bool,
    check_choice,
    check_positive_integer,
    check_verbose,
)
from tfhyper.metrics._checks import check_sample_weight
from tfhyper.metrics.bounds import SCORES
from tfhyper.metrics.rejection import check_rule
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.anytime import Anytime
from tfhyper.posterior.running.batches import Batches
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.weight_cache import Run
from tfhyper.posterior.tasks.outputs import REGRESSION
from tfhyper.posterior.tasks.prediction import Prediction, RegressionPrediction
from tfhyper.posterior.tasks.rejection import (
    CLASS_SCORES,
    REGRESSION_SCORES,
    Rejection,
    check_rejection,
)


class Averaged(Anytime):
    """Prediction and scores of some networks, wherever they come from.

    What `tfhyper.PosteriorPredictor` and `tfhyper.DeepEnsemble` share.

    Attributes:
        num_draws: int, how many draws are averaged over.
    """

    # What reads the networks' outputs: see `posterior.outputs`.
    _outputs = None
    # What the networks take.
    _inputs: ModelInputs
    # The arguments that a file holds, by their names.
    _settings = ()
    _rejection = None

    @property
    def num_networks(self) -> int:
        """How many networks predict."""
        return self.num_draws

    def _networks(self) -> list[tuple[PointNetwork, Draw]]:
        """Returns the networks, each as a draw and what it is to be given to.

        Raises:
            ValueError: if `calibrate` is due.
        """
        raise NotImplementedError

    def _runs(self) -> Iterable[Run]:
        """Returns the networks of the draws, ready to predict.

        Raises:
            ValueError: if `calibrate` is due.
        """
        raise NotImplementedError

    def materialize(self, draw: int = 0) -> keras.Model:
        """Returns a plain Keras model with the weights of one draw."""
        raise NotImplementedError

    def materialize_average(self) -> keras.Model:
        """Returns one plain Keras model that gives the averaged prediction.

        All the networks of the draws side by side, and the mean of what they give:
        class probabilities (batch, classes) in float32, or of a regression a list of
        mean and variance, (batch, 1) each. It needs nothing of tfhyper to load, but
        where dropout draws (see `materialize`). It rejects nothing.

        Raises:
            ValueError: if `calibrate` is due.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(
        ...     residual, num_draws=4, averaging="widening"
        ... ).calibrate(x_train, verbose=0)
        >>> model = predictor.materialize_average()
        >>> model.save("average.keras")
        >>> keras.saving.load_model("average.keras").predict(x_test, verbose=0).shape
        (2000, 10)
        """
        networks = [self.materialize(i) for i in range(self.num_networks)]
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
            networks[0].input,
        )
        for i, network in enumerate(networks):
            network.name = f"draw{i}"
        outputs = self._outputs.average([network(inputs) for network in networks])
        return keras.Model(inputs, outputs, name="average")

    def predict(
        self,
        x: Any,
        batch_size: int = 128,
        keep_members: bool = True,
        verbose: int = 0,
    ) -> Prediction | RegressionPrediction:
        """Returns the mean over the draws, and its uncertainty.

        A `Prediction` of a classifier, a `RegressionPrediction` of a regression; with
        a `rejection`, it says what is unknown.

        The draws' kernels are generated once and kept for the next call, if those of
        all draws are not above 1 GiB (of one model, in a `DeepEnsemble`). Then
        one draw after another predicts as a plain network does, and no more than
        one draw's activations are in memory.

        For few inputs a `PosteriorPredictor` has a second form, in which all draws
        predict together, their activations in memory at once: on TensorFlow for up to
        16 inputs in a batch and on JAX for one, after 64 batches of that size, if the
        N networks are not above 48 MiB, with some ten times that in memory; on Torch
        for up to 8, after 4. It is built once, which takes seconds, and again when
        draws or moments change. The numbers are the same up to rounding.

        Args:
            x: inputs, an array or a `tf.data.Dataset` of batches, with or
                without labels. A dataset is read once for each draw and must
                give the same examples in the same order each time.
            batch_size: int > 0, for arrays.
            keep_members: bool, keep the N predictions: draws x examples x
                classes x 4 bytes.
            verbose: 0 for silence, 1 for a progress bar.

        Raises:
            ValueError: if `x` is empty, not finite or comes in another order
                for another draw; if `calibrate` is due; or if a draw's output
                is not finite.
        """
        check_positive_integer("batch_size", batch_size)
        check_bool("keep_members", keep_members)
        check_verbose(verbose)
        data = Batches("x", x, batch_size, self._inputs)
        return self._rejecting(self._predict(data, keep_members, verbose)[0])

    def evaluate(
        self,
        x: Any,
        y: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: int = 0,
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Returns the scores of the averaged prediction.

        Of a classifier error, nll (nats), brier and ece; of a regression rmse,
        crps, nll (nats), coverage_90 and width_90. With weights w_b a score that is
        a mean over examples is sum_b w_b s_b / sum_b w_b. With a `rejection` also what
        that leaves: coverage, the fraction that is not rejected, and the
        selective_error (or selective_rmse) among these, which is left out if all are
        rejected. The other scores are those of all examples.

        Args:
            x: inputs as an array, or a dataset of (inputs, labels) or of (inputs,
                labels, sample weights).
            y: labels of classes, where `x` is an array: integers (examples,) or
                (examples, 1), the same as whole floats, or one-hot rows (examples,
                classes). Of a regression, targets (examples,) or (examples, 1).
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar.
            sample_weight: weights (examples,), finite and >= 0, where `x` is an array.

        Raises:
            ValueError: as `predict`; where labels are missing or out of range, or
                targets not finite or not one for each example; and for a
                regression without a noise variance.
        """
        if self.outputs == "mean" and not self.noise_variance:
            raise ValueError(
                "The likelihood of targets needs a noise variance above 0: call "
                "`fit_noise` with held-out data, or give `noise_variance`. "
                f"Received: noise_variance={self.noise_variance}"
            )
        labels, prediction, weights = self._labelled(
            x, y, sample_weight, batch_size, verbose
        )
        scores = self._outputs.report(labels, prediction, weights)
        if self.rejection is not None:
            rejecting = self._rejecting(prediction)
            scores.update(rejecting.selective_scores(labels, weights))
        return scores

    def fit_noise(
        self,
        x: Any,
        y: ArrayLike | None = None,
        score: str = "crps",
        batch_size: int = 128,
        verbose: int = 0,
        sample_weight: ArrayLike | None = None,
    ) -> "Averaged":
        """Chooses `noise_variance`, that of the targets, by held-out data.

        For `outputs="mean"`. The draws predict once; the variance is then found
        by a search along one line (`tfhyper.metrics.fit_noise_variance`). It is
        at least 0.0001 times the variance of `y`, so that there is a likelihood.

        Args:
            x: inputs as an array, or a dataset of (inputs, targets) or of (inputs,
                targets, sample weights).
            y: targets (examples,), where `x` is an array.
            score: `"crps"` or `"log_likelihood"`, the score to make best.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar.
            sample_weight: weights (examples,), finite and >= 0, where `x` is an array.

        Returns:
            The predictor.

        Raises:
            ValueError: as `predict`; for targets as `evaluate`, or if they are all
                the same and predicted without an error; for any other `outputs`.
        """
        if self.outputs != "mean":
            raise ValueError(
                '`fit_noise` needs a predictor with `outputs="mean"`. '
                f"Received: outputs={self.outputs!r}"
            )
        check_choice("score", score, SCORES)
        found = self._labelled(x, y, sample_weight, batch_size, verbose)
        self._outputs.fit_noise(*found, score)
        return self

    def fit_rejection(
        self,
        x: Any,
        y: ArrayLike | None = None,
        *,
        coverage: float | None = None,
        error: float | None = None,
        score: str = "total",
        confidence: float | None = None,
        batch_size: int = 128,
        verbose: int = 0,
        sample_weight: ArrayLike | None = None,
    ) -> "Averaged":
        """Chooses `rejection`, from where on the answer is *unknown*, by held-out data.

        For a stated coverage, the fraction of these examples that keep their answer,
        or a stated error among those that do: see
        `tfhyper.metrics.rejection_threshold`. From then on predictions have the rule
        (`prediction.rejected`, and a `label` of -1), `evaluate` counts by it, `save`
        and the files of `tfhyper.export` hold it.

        What it promises is for inputs like those it was chosen on. Of others, noise
        say, it rejects those that `score` puts above the threshold: look at how many
        these are. Choose anew after `calibrate` or `fit_noise`.

        Args:
            x: inputs as an array, or a dataset of inputs, of (inputs, labels) or of
                (inputs, labels, sample weights), best of data that trained nothing:
                of training images too few would be rejected.
            y: labels (examples,), where `x` is an array. A coverage needs none.
            coverage: float in 0 < coverage <= 1, or `None`.
            error: float in 0 <= error < 1, of a classifier, or `None`. One of the two
                is given.
            score: `"total"`, `"aleatoric"`, `"epistemic"` or, of a classifier,
                `"confidence"`: see `Prediction.uncertainty`.
            confidence: with `error`, the probability at which new examples of the same
                distribution keep to it; `None` for the error of these as it is.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar.
            sample_weight: weights (examples,), finite and >= 0, where `x` is an array,
                by which examples count in the coverage and the error. None with
                `confidence`, whose guarantee is of examples that count alike.

        Returns:
            The predictor.

        Raises:
            ValueError: as `predict`, and as `evaluate` for labels and weights; for
                arguments out of range or that do not go together; if the error cannot
                be reached; for the `error` of a regression, which has none; and for
                "epistemic" of one network, which is 0 throughout.

        Example:

        >>> predictor = predictor.fit_rejection(x_val, coverage=0.95)
        >>> rejected = predictor.predict(x_val).rejected
        >>> bool(abs(rejected.mean() - 0.05) < 0.01)
        True
        """
        self._check_score(score)
        check_rule(coverage, error, confidence)
        if error is not None and self.outputs in REGRESSION:
            raise ValueError(
                "`error` is for classifiers: give the `coverage` of a regression. "
                f"Received: error={error}, outputs={self.outputs!r}"
            )
        labels, prediction, weights = self._labelled(
            x, y, sample_weight, batch_size, verbose, needs_labels=error is not None
        )
        options = {}
        if error is not None:
            options = {"labels": labels, "probs": prediction.mean}
        threshold = metrics.rejection_threshold(
            prediction.uncertainty(score),
            coverage=coverage,
            error=error,
            confidence=confidence,
            sample_weight=weights,
            **options,
        )
        self.rejection = Rejection(threshold, score)
        return self

    @property
    def rejection(self) -> Rejection | None:
        """The rule by which predictions are unknown, or `None`: see the argument.

        It can be set.
        """
        return self._rejection

    @rejection.setter
    def rejection(self, value):
        value = check_rejection(value)
        if value is not None:
            self._check_score(value.score)
        self._rejection = value

    def _check_score(self, score):
        """Raises ValueError for a score that these networks do not have."""
        regression = self.outputs in REGRESSION
        check_choice("score", score, REGRESSION_SCORES if regression else CLASS_SCORES)
        if score == "epistemic" and self.num_networks == 1:
            raise ValueError(
                '`score` must be another than "epistemic", which is 0 throughout for '
                "one network, also for one that holds all draws. "
                f"Received: score={score!r}, num_draws={self.num_draws}"
            )

    def _rejecting(self, prediction):
        """Returns a prediction with the rule, if there is one."""
        if self.rejection is None:
            return prediction
        return prediction.reject(self.rejection.threshold, self.rejection.score)

    def _together(self, data: Batches):
        """Returns the one network that predicts with all draws, `None` for no such."""
        return None

    def _labelled(self, x, y, sample_weight, batch_size, verbose, needs_labels=True):
        """Returns labels, prediction and weights of labelled data, all checked.

        Labels may be missing, and are `None` then, unless they are needed.
        """
        check_positive_integer("batch_size", batch_size)
        check_verbose(verbose)
        data = Batches("x", x, batch_size, self._inputs, y, sample_weight)
        if data.labels is not None:
            # At the door, before the draws predict.
            data.labels = self._outputs.check_labels(data.labels)
        elif data.fixed and needs_labels:
            raise ValueError(
                "`y` must hold the labels where `x` brings none. Received: y=None"
            )
        if data.weights is not None:
            data.weights = check_sample_weight(data.weights, len(data.weights))
        keep_members = self.outputs in REGRESSION
        prediction, labels, weights = self._predict(data, keep_members, verbose)
        if labels is None:
            if not needs_labels:
                return None, prediction, weights
            raise ValueError(
                "`y` must hold the labels where `x` brings none. Received: y=None"
            )
        return self._outputs.check_labels(labels), prediction, weights

    def _predict(self, data, keep_members, verbose):
        if (form := self._together(data)) is not None:
            return loop.predict_together(
                form, data, self._outputs, keep_members, self.num_networks, verbose
            )
        runs = loop.progress("predict", self._runs(), self.num_networks, verbose)
        return loop.predict(runs, data, self._outputs, keep_members)

    @property
    def settings(self) -> dict:
        """The arguments besides the models, by their names: JSON values."""
        found = {name: getattr(self, name) for name in self._settings}
        if self.rejection is not None:
            found["rejection"] = dataclasses.asdict(self.rejection)
        # What is not certain yet is for the file's reader to find out, too.
        return found if self._outputs.known else {**found, "outputs": None}

    @property
    def outputs(self) -> str:
        """What the model gives: see the argument."""
        return self._outputs.name

    @property
    def link(self) -> str:
        """How logits become probabilities: see the argument."""
        return getattr(self._outputs, "link", "softmax")

    @property
    def noise_variance(self) -> float:
        """Variance of the targets around the mean: see the argument."""
        return getattr(self._outputs, "noise_variance", 0.0)
