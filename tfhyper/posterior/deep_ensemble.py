"""Averaging predictions over networks that were trained apart."""

import copy
from collections.abc import Sequence
from typing import Any

import keras

from tfhyper import keras_graph
from tfhyper.checks import (
    check_bool,
    check_integer,
    check_positive_integer,
    check_verbose,
)
from tfhyper.layers.noise import check_seed
from tfhyper.posterior import archive
from tfhyper.posterior.base_predictor import Averaged
from tfhyper.posterior.member_models import Members
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.exclusive import Exclusive
from tfhyper.posterior.tasks.rejection import Rejection

_KIND = "DeepEnsemble"
# What a file holds besides the models and the draws: arguments, by their names.
_SETTINGS = (
    "draws_per_member",
    "batch_norm",
    "seed",
    "outputs",
    "link",
    "deterministic",
    "batch_size",
    "noise_variance",
    "dropout",
    "rejection",
)


class DeepEnsemble(Averaged):
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
            `PosteriorPredictor`, by `calibrate`.
        seed: int in 0 <= seed < 2**31, from which draws are made.
        outputs: what every model gives, as for `PosteriorPredictor`.
        link: how logits become probabilities, as for `PosteriorPredictor`.
        deterministic: bool, True for each network at its posterior's mean, as for
            `PosteriorPredictor`; `draws_per_member` is 1 then.
        batch_size: int > 1, of the mini-batches of `"minibatch"`.
        noise_variance: float >= 0, variance of the targets around the mean, for
            `outputs="mean"`. `fit_noise` chooses it.
        dropout: `"off"`, `"sample"` or `None`, as for `PosteriorPredictor`.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
            `fit_rejection` chooses it.

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

    _settings = _SETTINGS

    def __init__(
        self,
        models: Sequence[keras.Model | str],
        draws_per_member: int = 1,
        batch_norm: str = "moving_average",
        seed: int = 0,
        outputs: str | None = None,
        link: str = "softmax",
        deterministic: bool = False,
        batch_size: int | None = None,
        noise_variance: float = 0.0,
        dropout: str | None = None,
        rejection: Rejection | None = None,
    ):
        self.draws_per_member = check_positive_integer(
            "draws_per_member", draws_per_member
        )
        self.deterministic = check_bool("deterministic", deterministic)
        if deterministic and self.draws_per_member != 1:
            raise ValueError(
                "`draws_per_member` must be 1 with `deterministic=True`: a member has "
                f"one mean. Received: draws_per_member={draws_per_member}"
            )
        self.seed = check_seed(seed)
        self.batch_norm, self.batch_size = batch_norm, batch_size
        self.dropout = dropout or "off"
        self._members = Members(
            models,
            self.seed,
            num_draws=self.draws_per_member,
            batch_norm=batch_norm,
            outputs=outputs,
            link=link,
            deterministic=self.deterministic,
            batch_size=batch_size,
            noise_variance=noise_variance,
            dropout=dropout,
        )
        self._outputs, self._inputs = self._members.outputs, self._members.inputs
        self._calibrating = Exclusive("calibrate")
        self.num_members = len(self._members)
        self.num_draws = self.num_members * self.draws_per_member
        if self.num_members > 1:
            self._draws_together = self.draws_per_member
        self.rejection = rejection

    def _runs(self):
        # One reading: a calibration meanwhile gives other ones.
        draws = self._members.draws
        for member, own in zip(self._members, draws, strict=True):
            yield from member._runs(own)

    def _networks(self):
        draws = self._members.draws
        return [
            pair
            for member, own in zip(self._members, draws, strict=True)
            for pair in member._networks(own)
        ]

    def calibrate(
        self, inputs: Any, batch_size: int | None = None, verbose: int = 1
    ) -> "DeepEnsemble":
        """Gives each draw of each member BatchNorm moments of its own.

        For `batch_norm="reestimate"` and `"minibatch"`; arguments and errors are
        those of `PosteriorPredictor.calibrate`. After an error every member has the
        moments that it had before.

        Returns:
            The ensemble.

        Example:

        >>> ensemble = tfhyper.DeepEnsemble(paths, batch_norm="reestimate")
        >>> ensemble = ensemble.calibrate(x_train, verbose=0)
        >>> ensemble.predict(x_test).mean.shape
        (2000, 10)
        """
        check_verbose(verbose)
        members = loop.progress(
            "calibrate", self._members, self.num_members, verbose, "member"
        )
        with self._calibrating:
            self._members.draws = [
                member.calibrated(own, inputs, batch_size)
                for member, own in zip(members, self._members.draws, strict=True)
            ]
        return self

    def materialize(self, draw: int = 0) -> keras.Model:
        """Returns a plain Keras model with the weights of one draw.

        As `PosteriorPredictor.materialize`; draw k is of member
        k // draws_per_member.

        Args:
            draw: int, the index of one of the `num_draws` draws.

        Raises:
            ValueError: if `draw` is out of range, or if `calibrate` is due.
        """
        draw = check_integer("draw", draw, 0, self.num_draws - 1)
        member, draw = divmod(draw, self.draws_per_member)
        own = self._members.draws[member]
        found = self._members[member]
        found.check_calibrated(own)
        return found.materialize(own[draw])

    def __deepcopy__(self, memo: dict) -> "DeepEnsemble":
        models = [
            source if isinstance(source, str) else keras_graph.duplicate(source)
            for source in self._members.sources
        ]
        copied = type(self)(models, **self.settings)
        copied._members.set_draws(copy.deepcopy(self._draws(), memo))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # Locks and compiled functions stay: they are made anew.
        for source in self._members.sources:
            if not isinstance(source, str):
                keras_graph.check_saves(source)  # Keras pickles a model as it saves it
        return {
            "models": self._members.sources,
            "settings": self.settings,
            "draws": self._draws(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["models"], **state["settings"])
        self._members.set_draws(state["draws"])

    def save(self, path: str, overwrite: bool = False) -> None:
        """Writes all models, their draws and the settings into one file.

        The file is written whole or not at all. It stands by itself: models that
        were given as paths are in it.

        Args:
            path: where to, best ending in `.tfhyper`.
            overwrite: bool, replace a file that is there.

        Raises:
            FileExistsError: if there is a file and `overwrite` is not set.
            ValueError: if a model changed since its weights were taken.
        """
        settings = {**self.settings, "num_models": self.num_members}
        models = map(self._members.model, range(self.num_members))
        archive.save(path, _KIND, models, self._draws(), settings, overwrite)

    def _draws(self):
        return [draw for draws in self._members.draws for draw in draws]

    @classmethod
    def load(cls, path: str) -> "DeepEnsemble":
        """Returns the ensemble that `save` wrote, all its models held.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if it is torn, or not one of `save`.
        """
        models, draws, settings = archive.load(path, _KIND)
        try:
            settings.pop("num_models", None)
            ensemble = cls(models, **settings)
            ensemble._members.set_draws(draws)
        except Exception as error:  # Each backend has its own, for other shapes.
            raise archive.broken(path, _KIND, error) from error
        return ensemble
