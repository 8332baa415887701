"""Averaging predictions over networks that were trained apart."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from tfhyper.checks import check_bool, check_positive_integer
from tfhyper.conformal import ConformalRule
from tfhyper.layers import Augment
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.draw_settings import DrawSettings, Dropout
from tfhyper.posterior.member_models import MemberModels
from tfhyper.posterior.running.batch_norm_statistics import BatchNormMoments
from tfhyper.posterior.tasks.classification import Link
from tfhyper.posterior.tasks.registry import make_task
from tfhyper.posterior.tasks.rejection import Rejection
from tfhyper.posterior.tasks.task import Task
from tfhyper.scaling import Scaling

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


class DeepEnsemble(BasePredictor):
    """An ensemble of networks that were trained apart, from different weights.

    Its prediction is the mean of theirs (Lakshminarayanan et al., 2017),

        p(y | x) = 1/M sum_m p(y | x, w_m)

    and of a regression whose networks give mean mu_m and variance s_m^2 it is that
    mixture's mean and variance, mu = 1/M sum_m mu_m and
    1/M sum_m (s_m^2 + mu_m^2) - mu^2. Training all of them costs M times what one
    costs; `tfhyper.training.train_ensemble` does it. Trained without weight decay
    the networks are Ensemble-MLE, and with it Ensemble-MAP, of Ukai et al. (2019,
    section 4.4, Table IV). The paper of 2017 trains with adversarial examples too;
    that is left to the training.

    The members may have random layers, as those of `PosteriorPredictor`: member i
    then stands for `draws_per_member` draws, those of a `PosteriorPredictor` whose
    seed is derived from `seed` and i. All draws count the same.

    Models given as paths are read when their turn comes, in each pass over data,
    and then let go: memory is that of one or two members. It is faster to give the
    models themselves, which are held together with a plain copy of each.

    Args:
        models: sequence of trained functional or Sequential Keras models, or of
            paths of `.keras` files, which are read in Keras' safe mode. Their
            inputs and outputs have the same shapes; what is between may differ.
            The ensemble is that of their weights as they are now: after more
            training, make another.
        draws_per_member: int > 0, draws of each model; more than 1 is for models
            with random layers, or for `"minibatch"`.
        batch_norm: `"moving_average"`, the models' own statistics; `"reestimate"`,
            which models of generated kernels need, or `"minibatch"`: as for
            `PosteriorPredictor`, by `estimate_batch_norm`.
        seed: int in 0 <= seed < 2**31, from which draws are made, or `None` for a
            fresh one.
        outputs: what every model gives, as for `PosteriorPredictor`.
        link: how logits become probabilities, as for `PosteriorPredictor`.
        deterministic: bool, True for each network at its posterior's mean, as for
            `PosteriorPredictor`; `draws_per_member` is 1 then.
        batch_size: int > 1, of the mini-batches of `"minibatch"`.
        noise_variance: float >= 0, variance of the targets around the mean, for
            `outputs="mean"`, or one for each target. `fit_noise` chooses it.
        dropout: `"off"`, `"sample"` or `None`, as for `PosteriorPredictor`.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
            `fit_rejection` chooses it.
        augment: how draws see the inputs, as for `PosteriorPredictor`: draw i of each
            model sees view i, so that `draws_per_member` is to be their number.
        ignore_class: the label that counts in no score, as for `PosteriorPredictor`.
        scaling: how probabilities are scaled, as for `PosteriorPredictor`.
        conformal: by what rule there are sets or intervals, as for
            `PosteriorPredictor`.

    Attributes:
        num_members: int, M.
        num_draws: int, networks that are averaged: M times `draws_per_member`.

    Raises:
        TypeError: if `models` is no sequence of models and paths, or a model's
            graph is not known.
        FileNotFoundError: if there is no file at a path.
        ValueError: if there are no models, the same one twice, one of other shapes
            or outputs than the first, or a file that is no `.keras` file; for
            arguments out of range, as `PosteriorPredictor`.

    Example:

    >>> paths
    ['a.keras', 'b.keras', 'c.keras']
    >>> ensemble = tfhyper.DeepEnsemble(paths)
    >>> prediction = ensemble.predict(x_test)
    >>> prediction.mean.shape, prediction.members.shape
    ((2000, 10), (3, 2000, 10))

    Reference:
        Lakshminarayanan, Pritzel, Blundell: Simple and scalable predictive
        uncertainty estimation using deep ensembles, NeurIPS 2017.
    """

    kind = "DeepEnsemble"

    source: MemberModels

    def __init__(
        self,
        models: Sequence[keras.Model | str],
        draws_per_member: int = 1,
        batch_norm: BatchNormMoments = "moving_average",
        seed: int | None = 0,
        outputs: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
        link: Link = "softmax",
        deterministic: bool = False,
        batch_size: int | None = None,
        noise_variance: float | Sequence[float] = 0.0,
        dropout: Dropout | None = None,
        rejection: Rejection | None = None,
        augment: Augment | keras.Layer | None = None,
        ignore_class: int | None = None,
        scaling: Scaling | Mapping[str, Any] | None = None,
        conformal: ConformalRule | None = None,
    ):
        check_positive_integer("draws_per_member", draws_per_member)
        check_bool("deterministic", deterministic)
        if deterministic and draws_per_member != 1:
            raise ValueError(
                "`draws_per_member` must be 1 with `deterministic=True`: a member has "
                f"one mean. Received: draws_per_member={draws_per_member}"
            )
        settings = DrawSettings(
            num_draws=draws_per_member,
            batch_norm=batch_norm,
            seed=seed,
            deterministic=deterministic,
            batch_size=batch_size,
            dropout=dropout,
            augment=augment,
        )

        def task(model: keras.Model) -> Task:
            return make_task(
                model,
                outputs,
                link=link,
                noise_variance=noise_variance,
                ignore_class=ignore_class,
                scaling=scaling,
            )

        source = MemberModels(models, settings, task)
        super().__init__(source, source.task, rejection, conformal)

    @classmethod
    def of_models(
        cls, models: Sequence[keras.Model | str], settings: dict[str, Any]
    ) -> "Self":
        """Returns an ensemble of `models`."""
        return cls(models, **settings)

    def draw_settings(self) -> dict[str, Any]:
        """Returns the arguments of the draws, by their names here: JSON values."""
        found = self.source.settings.to_json()
        found["draws_per_member"] = found.pop("num_draws")
        del found["averaging"]  # networks that were trained apart have one form
        return found

    @property
    def num_members(self) -> int:
        """How many models there are."""
        return len(self.source)

    @property
    def draws_per_member(self) -> int:
        """How many draws each model has."""
        return self.source.settings.num_draws

    def materialize(self, draw: int = 0) -> keras.Model:
        """Returns a plain Keras model with the weights of one draw.

        As `PosteriorPredictor.materialize`; draw k is of member
        k // draws_per_member.

        Args:
            draw: int, the index of one of the `num_draws` draws.

        Raises:
            ValueError: if `draw` is out of range, or if `estimate_batch_norm` is due.
        """
        return super().materialize(draw)
