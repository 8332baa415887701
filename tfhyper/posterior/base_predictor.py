"""What every predictor does with labels: evaluate, choose, decide early."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import (
    Verbose,
    check_bool,
    check_choice,
    check_integer,
    check_number,
    check_reading,
)
from tfhyper.conformal import (
    ConformalRule,
    ConformalSets,
    conformal_intervals,
    conformal_sets,
)
from tfhyper.conformal.registry import ConformalMethod
from tfhyper.metrics.bounds import SCORES, Score
from tfhyper.metrics.rejection import check_rule
from tfhyper.posterior.averager import Averager
from tfhyper.posterior.running import anytime, loop
from tfhyper.posterior.running.batches import Batches
from tfhyper.posterior.tasks import foreign_scores
from tfhyper.posterior.tasks.foreign_scores import ForeignScorer
from tfhyper.posterior.tasks.positions import check_weights
from tfhyper.posterior.tasks.rejection import (
    FOREIGN,
    Foreign,
    Rejection,
    Uncertainty,
)
from tfhyper.posterior.tasks.rejection import (
    SCORES as UNCERTAINTIES,
)
from tfhyper.posterior.tasks.scaled_task import (
    ScaledTask,
    calibration_data,
    reader_for,
)
from tfhyper.scaling.registry import METHODS, Method, check_method, chosen
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

_NO_LABELS = "`y` must hold the labels where `x` brings none. Received: y=None"


class BasePredictor(Averager):
    """Base class of predictors: averages over a source of draws, for a task.

    `tfhyper.PosteriorPredictor` and `tfhyper.DeepEnsemble` differ in the source. A
    predictor over another source is a subclass that makes the source and the task, and
    says how it is made of its models.

    Args:
        source: what is averaged over.
        task: what the networks' outputs mean.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
        conformal: `tfhyper.conformal.ConformalRule`, by which predictions have sets or
            intervals, or `None`.

    Attributes:
        source: the `DrawSource`.
        task: the `Task`.
    """

    def predict_anytime(
        self,
        x: Structure,
        confidence: float = 0.99,
        min_draws: int = 2,
        batch_size: int = 128,
        check: bool = False,
        verbose: Verbose = "auto",
    ) -> anytime.AnytimePrediction:
        """Returns a classifier's labels, each from as few draws as it needs.

        The draws are taken in their order. An input is left out of the draws that
        follow, and has its label, when this is the label of all N draws for certain,
        because those to come cannot turn it, or at `confidence`:

            P(label is another than that of the mean of all N draws)
                <= 1 - confidence,   for each input, over the order of the draws.

        The formula and its reasons are in `tfhyper.posterior.running.race`. It holds
        for every N and all distributions of the draws, and assumes only that their
        order is random, as that of `draws` is, and as the order of a `DeepEnsemble`'s
        models is unless they were sorted; there the draws of one model count as one.
        Inputs share the draws, so that in one ensemble they err together: it is in
        the mean over ensembles that a fraction of 1 - `confidence` may err.

        No label is unknown, whatever `rejection` says: what is rejected is decided by
        the uncertainty of the full average, which few draws do not give.

        What it can save is bounded: no such rule can stop before 6 of 16 draws, or
        7 of many, at a confidence of 0.99, even if all are sure and agree.

        Args:
            x: as for `predict`. A dataset is read anew for each draw that any input
                needs, its batches put together from the inputs that are left.
                With dropout that draws, whose masks go by the place of an input, a
                batch is left out only as a whole.
            confidence: float in 0 < confidence <= 1; 1 for what is certain alone.
            min_draws: int from 1 to `num_draws`, the fewest draws of an input. Of a
                `DeepEnsemble`, each model gives all its draws or none.
            batch_size: int > 0, for arrays and for what is left of a dataset.
            check: bool, go on to all N draws of all inputs, to compare with the full
                average; saves nothing.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: as `predict`; for arguments out of range, for a regression,
                for one draw, for draws that are averaged inside of one network, and
                for a model with `outputs="probabilities"` that are not in [0, 1].

        Example:

        >>> prediction = predictor.predict_anytime(x_test, check=True)
        >>> bool(prediction.num_draws.max() <= predictor.num_draws)
        True
        >>> bool(prediction.agreement > 0.9)
        True

        Reference:
            Waudby-Smith, Ramdas: Confidence sequences for sampling without
            replacement, NeurIPS 2020.
        """
        confidence = check_number("confidence", confidence, positive=True)
        if confidence > 1:
            raise ValueError(
                "`confidence` must be in 0 < confidence <= 1. "
                f"Received: confidence={confidence}"
            )
        self.task.check_decides()
        if self.num_networks == 1:
            raise ValueError(
                "`predict_anytime` needs two draws or more, each a network of its own "
                '(`averaging="branching"`). '
                f"Received: num_draws={self.num_draws}, in one network"
            )
        check_integer("min_draws", min_draws, 1, self.num_draws)
        check_reading(batch_size, verbose, check=check)
        return anytime.predict(
            loop.progress("predict", self.runs(), self.num_networks, verbose),
            Batches("x", x, batch_size, self.source.inputs),
            self.task,
            num_draws=self.num_draws,
            confidence=confidence,
            min_draws=min_draws,
            draws_in_row=self.source.draws_in_row,
            check=check,
        )

    def evaluate(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
    ) -> dict[str, float]:
        """Returns the scores of the averaged prediction.

        Of a classifier, and of labels each by itself, error, nll (nats), brier and
        ece; of a regression rmse, crps, nll (nats), coverage_90 and width_90. Every
        label or target counts as one, each pixel, token or column. Of maps there is a
        mean_iou too, and of labels each by itself auroc, average_precision and others,
        means over the labels as `tfhyper.metrics.multilabel_report` has them. Scores of
        several outputs begin with the output's name. With weights w_b a
        score that is a mean over these is sum_b w_b s_b / sum_b w_b. With a `rejection`
        also what that leaves: coverage, the fraction that is not rejected, and the
        selective_error (or selective_rmse) among these, which is left out if all are
        rejected. The other scores are those of all examples. With a `conformal` rule
        also set_coverage and set_size, the fraction of sets that hold their class and
        their mean number of classes, or conformal_coverage and conformal_width.

        Positions that a mask of Keras leaves out, from `Masking` or
        `Embedding(mask_zero=True)` to the output, count in no score, as in Keras'
        `evaluate`; nor do they in `fit_noise` and `fit_rejection`.

        Args:
            x: inputs as an array, or a dataset of (inputs, labels) or of (inputs,
                labels, sample weights).
            y: labels of classes, where `x` is an array: integers (examples, ...) or
                (examples, ..., 1), the same as whole floats, or one-hot rows (examples,
                ..., classes). Labels each by itself, 0 or 1, and targets have the shape
                of what the network gives; of one column (examples,) too.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights, finite and >= 0, (examples,) or one for each label,
                where `x` is an array. A mask is of this kind, 0 for what is left out.

        Raises:
            ValueError: as `predict`; where labels are missing or out of range, or
                targets not finite or not one for each example; and for a
                regression without a noise variance.
        """
        self.task.check_scores()
        scores = self.task.new_scores()
        keep = self.task.keeps_members
        for part in self.predict_labelled(
            x, y, batch_size, verbose, sample_weight, keep_members=keep
        ):
            scores.update(*part)
        return scores.result()

    def predict_labelled(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
        keep_members: bool = False,
    ) -> Iterator[tuple[Any, Any, np.ndarray | None]]:
        """Yields predictions with their labels, for scores of your own.

        The parts that `evaluate` adds its scores up of: a few batches together, so
        that no more is held at once. Each is read once.

        Args:
            x: as for `evaluate`, as the next.
            y: labels, where `x` is an array.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights, where `x` is an array.
            keep_members: bool, keep what each draw says.

        Yields:
            Labels as arrays (examples, ...), what `predict` gives of these examples,
            and weights, one for each label, or `None`.

        Raises:
            ValueError: as `evaluate`.

        Example:

        >>> surprises = [
        ...     -np.log(prediction.mean[np.arange(len(labels)), labels])
        ...     for labels, prediction, _ in predictor.predict_labelled(x_val, y_val)
        ... ]
        >>> bool(
        ...     abs(
        ...         np.concatenate(surprises).mean()
        ...         - predictor.evaluate(x_val, y_val)["nll"]
        ...     )
        ...     < 1e-5
        ... )
        True
        """
        check_bool("keep_members", keep_members)
        data = self._labelled(x, y, sample_weight, batch_size, verbose)
        parts = self._in_parts(data, keep_members, verbose, "evaluate")
        return (
            self._checked(labels, prediction, weights)
            for prediction, labels, weights in parts
        )

    def fit_noise(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        score: Score = "crps",
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
        per_target: bool = False,
    ) -> "Self":
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
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights (examples,), finite and >= 0, where `x` is an array.
            per_target: bool, choose one variance for each target of the last axis, or
                each channel of an image, and not one for all.

        Returns:
            The predictor.

        Raises:
            ValueError: as `predict`; for targets as `evaluate`, or if they are all
                the same and predicted without an error; for any other `outputs`.
        """
        self.task.check_fits_noise()
        check_choice("score", score, SCORES)
        check_bool("per_target", per_target)
        data = self._labelled(x, y, sample_weight, batch_size, verbose)
        prediction, labels, weights = self._predict(data, True, verbose)
        found = self._checked(labels, prediction, weights)
        self.task.fit_noise(*found, score, per_target)
        if self.conformal is not None and self.conformal.method != "split":
            self._drop_conformal("another noise")
        return self

    def fit_rejection(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        *,
        coverage: float | None = None,
        error: float | None = None,
        score: Uncertainty | Foreign | str | ForeignScorer = "total",
        confidence: float | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Chooses `rejection`, from where on the answer is *unknown*, by held-out data.

        For a stated coverage, the fraction of these examples that keep their answer,
        or a stated error among those that do: see
        `tfhyper.metrics.rejection_threshold`. From then on predictions have the rule
        (`prediction.rejected`, and a `label` of -1), `evaluate` counts by it, `save`
        and the files of `tfhyper.export` hold it.

        What it promises is for inputs like those it was chosen on. Of others, noise
        say, it rejects those that `score` puts above the threshold: look at how many
        these are. Choose anew after `estimate_batch_norm` or `fit_noise`.

        Args:
            x: inputs as an array, or a dataset of inputs, of (inputs, labels) or of
                (inputs, labels, sample weights), best of data that trained nothing:
                of training images too few would be rejected.
            y: labels (examples,), where `x` is an array. A coverage needs none.
            coverage: float in 0 < coverage <= 1, or `None`.
            error: float in 0 <= error < 1, of a classifier, or `None`. One of the two
                is given.
            score: `"total"`, `"aleatoric"`, `"epistemic"` or, of a classifier,
                `"confidence"`: see `Prediction.uncertainty`. Of a classifier of one
                class for each input also a fitted `tfhyper.detection.Scorer`, or the
                name of one that needs no training data, such as "energy": it is the
                predictor's `scorer` from then on. "foreign" is the present one.
            confidence: with `error`, the probability at which new examples of the same
                distribution keep to it; `None` for the error of these as it is.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
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
        scorer = None
        if not isinstance(score, str) or score not in (*UNCERTAINTIES, FOREIGN):
            scorer, score = self._scorer_for(score), FOREIGN
        else:
            self._check_score(score)
        name: Any = score
        check_rule(coverage, error, confidence)
        if error is not None and not self.task.decides:
            raise ValueError(
                "`error` is for classifiers: give the `coverage` of a regression. "
                f"Received: error={error}, outputs={self.outputs!r}"
            )
        decided = error is not None
        data = self._labelled(x, y, sample_weight, batch_size, verbose, decided)
        found: list[dict[str, np.ndarray | None]] = []
        parts = self._in_parts(data, False, verbose, "fit", scorer=scorer)
        for prediction, y_part, weights in parts:
            if confidence is not None and prediction.uncertainty(name).ndim > 1:
                raise ValueError(
                    "`confidence` must be None where an example has several answers, "
                    "which are not independent of each other. "
                    f"Received: confidence={confidence}"
                )
            labels, _, weights = self._checked(y_part, prediction, weights, decided)
            found.append(
                self.task.rejection_data(prediction, name, labels, weights, decided)
            )
        joined: dict[str, Any] = {
            name: None if found[0][name] is None else _concatenated(found, name)
            for name in found[0]
        }
        threshold = metrics.rejection_threshold(
            coverage=coverage, error=error, confidence=confidence, **joined
        )
        if scorer is not None:
            self.rejection = None
            self.scorer = scorer
        self.rejection = Rejection(threshold, name)
        return self

    def fit_conformal(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        alpha: float = 0.1,
        method: ConformalMethod | None = None,
        *,
        by_class: bool = False,
        penalty: float | None = None,
        free_classes: int | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
    ) -> "Self":
        """Chooses `conformal`: sets or intervals that miss a fraction alpha at most.

        The draws predict once, and a threshold is chosen by `tfhyper.conformal`. From
        then on predictions have `sets`, the classes that are not to be ruled out, or a
        `conformal_interval`; `evaluate` says how often they cover, and `save` and the
        files of `tfhyper.export` hold the rule. What it promises is of all examples
        like these, and of those that a `rejection` keeps it promises nothing.

        First `fit_scaling` and `fit_noise`, then this, then `fit_rejection`; each on
        data that trained nothing, and this one on data that chose neither scaling nor
        noise. What changes the predictions that the threshold was chosen for, a
        scaling, other BatchNorm moments, other draws or another noise, drops the rule
        with a warning. A rejection changes no set.

        Rules of groups, and those that draw, are not for a predictor:
        `tfhyper.conformal.conformal_sets` makes them.

        Args:
            x: inputs as an array, or a dataset of (inputs, labels), of data that
                trained nothing. A dataset's sample weights, and a mask of Keras, may
                leave examples out, by 0, and say nothing else.
            y: labels, where `x` is an array, as for `evaluate`.
            alpha: float in (0, 1), the fraction of new examples that may be missed.
            method: of classes and of one label `"lac"`, `"aps"` or `"raps"`, see
                `tfhyper.conformal.ConformalSets`; of numbers `"split"`,
                `"normalized"` or `"quantile"`, see
                `tfhyper.conformal.ConformalIntervals`. `None` for the first of these.
            by_class: bool, choose a threshold for each class, so that no class is
                missed more often than others.
            penalty: float >= 0, of `"raps"`; `None` for 0.01.
            free_classes: int >= 0, of `"raps"`; `None` for 1.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Returns:
            The predictor.

        Raises:
            ValueError: as `evaluate`; for fewer labels than `alpha` needs, labels of
                one class, and arguments that are out of range or do not go together;
                and for a predictor of maps, of several labels or of several outputs.

        Example:

        >>> predictor = predictor.fit_conformal(x_val, y_val, alpha=0.1)
        >>> scores = predictor.evaluate(x_test, y_test)
        >>> scores["set_coverage"] > 0.85
        True
        >>> predictor.predict(x_test).sets.shape
        (2000, 10)
        """
        known = self.task.conforms or ConformalSets.methods
        chosen_method: Any = known[0] if method is None else method
        self.task.check_conforms(chosen_method)
        check_bool("by_class", by_class)
        told: dict[str, Any] = {"batch_size": batch_size, "verbose": verbose}
        if chosen_method in ConformalSets.methods:
            options: dict[str, Any] = {
                "by_class": by_class,
                "penalty": penalty,
                "free_classes": free_classes,
            }
            rule: ConformalRule = conformal_sets(
                self, x, y, alpha, chosen_method, **options, **told
            )
        else:
            if by_class or penalty is not None or free_classes is not None:
                raise ValueError(
                    "`by_class`, `penalty` and `free_classes` are of sets of classes. "
                    f"Received: by_class={by_class}, penalty={penalty}, "
                    f"free_classes={free_classes}, outputs={self.outputs!r}"
                )
            rule = conformal_intervals(self, x, y, alpha, chosen_method, **told)
        self.conformal = rule
        return self

    def _scorer_for(self, score: Any) -> ForeignScorer:
        """Returns the scorer that is meant; names the scores if there is none."""
        if isinstance(score, str):
            known = foreign_scores.names()
            check_choice("score", score, (*self.task.uncertainties, FOREIGN, *known))
        return foreign_scores.scorer_for(self, score)

    def fit_scaling(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        method: Method = "temperature",
        *,
        per_draw: bool | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
        **options: Any,
    ) -> "Self":
        """Chooses `scaling`, by which probabilities are calibrated, by held-out data.

        The draws predict once, and a method of `tfhyper.scaling` is fitted to what
        they say. From then on predictions are scaled: `predict` and `evaluate` say so,
        `save` and the files of `tfhyper.export` hold it. A scaling that was there is
        replaced, not applied twice: the new one is fitted to what the networks say.

        Choose it on data that trained nothing, and `fit_conformal` and `fit_rejection`
        after it. Choose anew after `estimate_batch_norm`. For classifiers, also of
        pixels and tokens, each of which counts as one, and for one label
        (`"label_logits"` of a column).

        Args:
            x: inputs as an array, or a dataset of (inputs, labels) or of (inputs,
                labels, sample weights), best of data that trained nothing: networks
                are surer of those that did.
            y: labels, where `x` is an array, as for `evaluate`.
            method: `"temperature"`, one number, which suits few examples; `"vector"`
                and `"matrix"`, numbers for each class; `"platt"`; `"isotonic"` and
                `"histogram"`, which need many examples. See the classes of
                `tfhyper.scaling`.
            per_draw: bool, scale each draw and then average; else the average is
                scaled. `None` to scale the average, but of a single network, where
                both are the same and its own logits have more digits, that one. Not
                for `"isotonic"` and `"histogram"`. `tfhyper.scaling.Scaling` says
                which is better for what.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights, finite and >= 0, (examples,) or one for each label,
                where `x` is an array.
            **options: what the method takes: `regularization` of `"matrix"`,
                `num_bins` of `"histogram"`.

        Returns:
            The predictor.

        Raises:
            ValueError: as `predict`, and as `evaluate` for labels and weights; for
                labels of one class, or without one of the classes where the method has
                numbers for each; for arguments out of range; and for a regression,
                several labels or several outputs.

        Example:

        >>> predictor = predictor.fit_scaling(x_val, y_val)
        >>> scaled = predictor.evaluate(x_val, y_val)["nll"]
        >>> predictor.scaling = None
        >>> scaled <= predictor.evaluate(x_val, y_val)["nll"]
        True

        Reference:
            Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks,
            ICML 2017. Rahaman, Thiery: Uncertainty quantification and deep ensembles,
            NeurIPS 2021.
        """
        self.task.check_fits_scaling()
        check_choice("method", method, METHODS)
        if per_draw is None:
            per_draw = METHODS[method].scales_draws and self.num_networks == 1
        check_method(method, per_draw, options)
        data = self._labelled(x, y, sample_weight, batch_size, verbose)
        # What passes the check above.
        task = cast(ScaledTask, self.task)
        reader = reader_for(task, per_draw)
        found, labels, weights = self._predict(data, False, verbose, reader)
        if labels is None:
            raise ValueError(_NO_LABELS)
        labels = task.check_labels(labels)
        weights = check_weights(weights, task.label_shape(labels))
        rows = calibration_data(task, found, per_draw, labels, weights)
        self.scaling = chosen(rows, method, per_draw, options)
        return self

    def _labelled(
        self,
        x: Structure,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        batch_size: int,
        verbose: Verbose,
        needs_labels: bool = True,
    ) -> Batches:
        """Returns labelled data, checked as far as they are there already.

        Labels may be missing, unless they are needed.
        """
        check_reading(batch_size, verbose)
        task = self.task
        taken, arrange = self.source.inputs, task.arrange_labels
        weigh = task.weigh()
        data = Batches("x", x, batch_size, taken, y, sample_weight, arrange, weigh)
        if data.labels is not None:
            # At the door, before the draws predict.
            data.labels = task.check_labels(data.labels)
        elif data.fixed and needs_labels:
            raise ValueError(_NO_LABELS)
        if (weights := data.weights) is not None:
            shape = weights.shape
            if data.labels is not None:
                shape = task.label_shape(data.labels)
            check_weights(weights, shape, may_be_zero=False)
        return data

    def _checked(
        self,
        labels: Any,
        prediction: Any,
        weights: np.ndarray | None,
        needs_labels: bool = True,
    ) -> tuple[Any, Any, np.ndarray | None]:
        """Returns labels, prediction with the rule, and weights of a part of data.

        Labels may be missing, and are `None` then, unless they are needed.
        """
        prediction = self._with_rules(prediction)
        if labels is None:
            if needs_labels:
                raise ValueError(_NO_LABELS)
            shape = prediction.uncertainty().shape
        else:
            labels = self.task.check_labels(labels)
            shape = self.task.label_shape(labels)
        return labels, prediction, check_weights(weights, shape)


def _concatenated(parts: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts])
