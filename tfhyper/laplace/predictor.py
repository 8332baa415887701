"""Averaging predictions over a posterior of the last layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from tfhyper.checks import check_choice
from tfhyper.laplace.drawn_last_layers import DrawnLastLayers, Predictive
from tfhyper.laplace.task import MarginalRegression
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.draw_settings import SettledDraws
from tfhyper.posterior.tasks.registry import OPTIONS, make_task
from tfhyper.posterior.tasks.task import Task

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


class LaplacePredictor(BasePredictor):
    """Averages over the Laplace approximation of a last layer.

    `Laplace.predictor` makes one. It predicts, evaluates, rejects, is saved, loaded
    (`LaplacePredictor.load`), exported and served as `tfhyper.PosteriorPredictor` is.
    What it holds are its draws: a file has the last layers that were drawn, or for
    `"closed_form"` the Gaussian of each network, but not what `Laplace` was fitted to.

    `materialize` and `materialize_average` return models of stock layers for `"mc"`;
    for `"closed_form"` they have a `MarginalDense`, and need tfhyper to load. Files of
    `tfhyper.export` need nothing of it.

    Args:
        source: the `DrawnLastLayers`.
        task: what the outputs mean.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
        conformal: `tfhyper.conformal.ConformalRule`, by which predictions have sets or
            intervals, or `None`.

    Example:

    >>> laplace = tfhyper.Laplace(digits).fit(x_train, y_train, verbose=0)
    >>> laplace.predictor(num_draws=8).save("digits.tfhyper")
    >>> predictor = tfhyper.LaplacePredictor.load("digits.tfhyper")
    >>> predictor.predict(x_test).members.shape
    (8, 2000, 10)
    """

    kind = "LaplacePredictor"

    source: DrawnLastLayers

    @classmethod
    def of_models(
        cls, models: Sequence[keras.Model | str], settings: dict[str, Any]
    ) -> "Self":
        """Returns a predictor of the only one of `models`, whose draws are to come."""
        (model,) = models
        given = dict(settings)
        rejection, conformal = given.pop("rejection"), given.pop("conformal", None)
        outputs = given.pop("outputs")
        options = {name: given.pop(name) for name in OPTIONS}
        predictive, covariance = given.pop("predictive"), given.pop("covariance")
        return cls.of_source(
            DrawnLastLayers(
                model, SettledDraws(**given), outputs, predictive, covariance
            ),
            outputs,
            options,
            rejection,
            conformal,
        )

    @classmethod
    def of_source(
        cls,
        source: DrawnLastLayers,
        outputs: str,
        options: dict[str, Any],
        rejection: Any = None,
        conformal: Any = None,
    ) -> "Self":
        """Returns the predictor of a source of draws.

        Args:
            source: the source.
            outputs: what its model gives, the name of a task.
            options: arguments of the task, by their names.
            rejection: as the class takes it.
            conformal: likewise.
        """
        task: Task
        if outputs == "mean" and source.predictive == "closed_form":
            task = MarginalRegression(source.model, options["noise_variance"])
        else:
            task = make_task(source.model, outputs, **options)
        return cls(source, task, rejection, conformal)

    def draw_settings(self) -> dict[str, Any]:
        """Returns the arguments of the source, by their names: JSON values."""
        return {
            **self.source.settings.to_json(),
            "predictive": self.source.predictive,
            "covariance": self.source.covariance,
        }

    @property
    def predictive(self) -> Predictive:
        """How the posterior is averaged over: see `Laplace.predictor`."""
        return self.source.predictive

    def _check_score(self, score: str) -> None:
        if isinstance(self.task, MarginalRegression):  # one network knows its own
            check_choice("score", score, self.task.uncertainties)
            return
        super()._check_score(score)
