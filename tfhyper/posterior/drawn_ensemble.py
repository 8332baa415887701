"""The draws of one trained network, as a source of draws."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras

from tfhyper.checks import Verbose, check_integer
from tfhyper.posterior.draw_settings import DrawSettings
from tfhyper.posterior.networks.averaging import AVERAGING
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.perturbed_network import network_of_draws
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batch_norm_statistics import BatchNormStatistics
from tfhyper.posterior.running.batches import Batches, Part
from tfhyper.posterior.running.exclusive import Exclusive
from tfhyper.posterior.running.fingerprint import Fingerprint
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.small_batches import SmallBatchPath
from tfhyper.posterior.running.weight_cache import (
    DrawnWeights,
    RunnableNetwork,
)
from tfhyper.tensor_types import Structure
from tfhyper.variational import WeightPosterior


class DrawnEnsemble:
    """The draws of one trained network, their BatchNorm moments, their networks.

    A `DrawSource`: what `tfhyper.PosteriorPredictor` averages over.

    Args:
        model: a functional or built Sequential model, or a `WeightPosterior` of one,
            such as a `Variational`.
        settings: how draws are made. What is left to the model is settled here.

    Attributes:
        model: the model.
        settings: those given, with what the model settled.
        point: the network that draws are given to.
        inputs: what the model takes.
        weights: the weights that draws have there, kept for the next prediction.
        small_batches: what predicts with all draws at once, for few inputs.
        draws: list of `Draw`; of one, if one network holds them all.

    Raises:
        TypeError: if the graph of the model is not known.
        ValueError: for a model that the settings do not go with.
    """

    draws_in_row = 1

    def __init__(self, model: keras.Model, settings: DrawSettings):
        self.model = model
        self.settings = settings.settle()
        self.point = self._make_point(own=False)
        self.inputs = ModelInputs(model)
        self.weights = DrawnWeights(self.point)
        self.small_batches = SmallBatchPath(self.point, self.weights)
        self._statistics = BatchNormStatistics(
            settings.batch_norm, settings.batch_size, self.point
        )
        self._check_moments(model, settings.batch_norm)
        self._estimating = Exclusive("estimate_batch_norm")
        self._check_dropout(settings.dropout)
        if not self.settings.inside and not self._varies():
            self._check_one_draw(settings.num_draws)
            self.settings = dataclasses.replace(self.settings, num_draws=1)
        elif settings.num_draws is None and not (
            settings.deterministic or self.settings.inside
        ):
            count = self._num_draws()
            self.settings = dataclasses.replace(self.settings, num_draws=count)
        self.draws = self._sample()
        self._looked_at = self._look()

    def around(self, model: keras.Model) -> "DrawnEnsemble":
        """Returns the same draws of another model, without moments of BatchNorm.

        Args:
            model: one of the same architecture, as `WeightPosterior.widened` gives it.
        """
        found = DrawnEnsemble(model, self.settings)
        found.draws = [Draw(noise=draw.noise) for draw in self.draws]
        return found

    @property
    def needs_moments(self) -> bool:
        """Whether each draw has moments of BatchNorm of its own."""
        return self._statistics.needed

    def _make_point(self, own: bool = True) -> PointNetwork:
        """Returns the network that draws are given to, made anew."""
        options: dict[str, Any] = {
            # Those of a model that is frozen as a whole have nothing else to draw.
            "frozen_norms": self.settings.batch_norm == "minibatch",
            "sample_dropout": self.settings.dropout == "sample",
            "augment": self.settings.augment,
        }
        form = AVERAGING[self.settings.averaging]
        if not self.settings.inside or form is None:
            return network_of_draws(self.model, **options, own=own)
        if isinstance(self.model, WeightPosterior):
            raise ValueError(
                f'`averaging` must be "branching" for a `{type(self.model).__name__}` '
                "model, all of whose weights differ from draw to draw. Received: "
                f"averaging={self.settings.averaging!r}"
            )
        return form(self.model, self.settings.num_draws, **options)

    def _check_moments(self, model: keras.Model, batch_norm: str) -> None:
        owners = model.chain() if isinstance(model, WeightPosterior) else ()
        needed = any(owner.needs_moments for owner in owners)
        if needed and batch_norm == "moving_average" and self.point.batch_norms:
            raise ValueError(
                '`batch_norm` must be "reestimate" for a '
                f"`{type(model).__name__}` of a model with BatchNorm, whose moving "
                "averages are of other weights than those of its draws. Received: "
                'batch_norm="moving_average"'
            )

    def _check_dropout(self, given: str | None) -> None:
        stand_ins = self.point.stand_ins
        if given == "sample" and not stand_ins.sampled:
            raise ValueError(
                '`dropout="sample"` needs a model with dropout whose rate is above 0. '
                f"Received: model={self.model.name!r} without any"
            )
        if given is None and stand_ins.switched_on:
            raise ValueError(
                f"`dropout` must be given where a layer, such as "
                f"'{stand_ins.switched_on[0]}', is called with `training=True`, of "
                "which Keras' `predict` takes no notice: "
                '"sample" to draw its dropout, "off" to predict as Keras does. '
                "Received: dropout=None"
            )

    def _varies(self) -> bool:
        """Whether one draw differs from another."""
        return self.settings.batch_norm == "minibatch" or self.point.is_random

    def _num_draws(self) -> int:
        """Returns how many draws to make: all that differ, if these are counted.

        Where something else draws too, the usual number or a little more, so that all
        that is counted comes equally often.
        """
        distinct = [layer.distinct_draws for layer in self.point.random_layers]
        counted = math.lcm(*(count for count in distinct if count is not None))
        if None in distinct or self.settings.batch_norm == "minibatch":
            return -(-self.settings.num_draws // counted) * counted
        return counted

    def _check_one_draw(self, given: int | None) -> None:
        if given is not None and given > 1:
            raise ValueError(
                "`num_draws` must be 1, or left out, for a model whose layers draw "
                "nothing: all draws would be the same. "
                f"Received: num_draws={given}, model={self.model.name!r}"
            )

    def _sample(self) -> list[Draw]:
        if self.settings.deterministic:
            return [self.point.mean()]
        count = 1 if self.settings.inside else self.settings.num_draws
        return [self.point.sample(self.settings.seed, i) for i in range(count)]

    def _look(self) -> Fingerprint:
        """Returns the fingerprint of the weights that draws are made with."""
        # Moments of its own take the place of a BatchNorm's averages.
        own = []
        if self.settings.batch_norm != "moving_average":
            own = self.point.norms_of_model
        averages = [x for n in own for x in (n.moving_mean, n.moving_variance)]
        return Fingerprint(self.model, averages)

    @property
    def num_draws(self) -> int:
        """How many draws are averaged over."""
        return self.settings.num_draws

    def check_weights(self) -> None:
        """Raises ValueError if the model has other weights than its draws have."""
        if changed := self._looked_at.changed():
            raise ValueError(
                "The model was trained since its weights were taken: call "
                "`estimate_batch_norm` again, or make another predictor. Received: a "
                f"model whose variable '{changed[0]}' has other values"
            )

    def weights_changed(self) -> bool:
        """Whether the model has other weights than when they were taken."""
        return bool(self._looked_at.changed())

    def ready(self, draws: list[Draw] | None = None) -> list[Draw]:
        """Returns the present draws, or those given, where they can predict.

        Raises:
            ValueError: if the model's weights changed, or moments are due.
        """
        draws = self.draws if draws is None else draws
        self.check_weights()
        if self._statistics.needed and not all(draw.moments for draw in draws):
            raise ValueError(
                "Call `estimate_batch_norm(training inputs)` first: each draw needs "
                "BatchNorm statistics of its own. "
                '(`batch_norm="moving_average"` does without and predicts worse.)'
            )
        return draws

    def runs(
        self, data: Batches | Part | None = None, draws: list[Draw] | None = None
    ) -> Iterable[RunnableNetwork]:
        """Returns the networks of the draws, or of those given, ready to predict.

        Args:
            data: what is to be predicted, if that may choose: of few examples one
                network of all draws is faster.
            draws: the draws; `None` for the present ones.
        """
        draws = self.ready(draws)
        if data is not None and len(draws) > 1:
            network = self.small_batches.network_for(draws, data)
            if network is not None:
                return [network]
        return self.weights.runs(draws)

    def networks(
        self, draws: list[Draw] | None = None
    ) -> list[tuple[PointNetwork, Draw]]:
        """Returns the one network, beside each draw, or each of those given."""
        return [(self.point, draw) for draw in self.ready(draws)]

    def materialize(self, draw: int | Draw) -> keras.Model:
        """Returns the plain network of a draw, or of the draw with an index."""
        if not isinstance(draw, Draw):
            draws = self.ready()
            draw = draws[check_integer("draw", draw, 0, len(draws) - 1)]
        point = self._make_point()
        point.set(draw)
        return point.network

    def estimate_batch_norm(
        self, inputs: Structure, batch_size: int | None, verbose: Verbose
    ) -> None:
        """Gives each draw the BatchNorm moments of a pass over training inputs."""
        with self._estimating:
            # Who predicts meanwhile has the draws of before, and not some of each.
            self.draws = self.estimated(self.draws, inputs, batch_size, verbose)
            if self.weights_changed():
                self._looked_at = self._look()

    def estimated(
        self,
        draws: list[Draw],
        inputs: Structure,
        batch_size: int | None,
        verbose: Verbose = 0,
    ) -> list[Draw]:
        """Returns draws with moments of their own, of a pass over training inputs."""
        self.small_batches.forget()
        return self._statistics.estimate(
            self.weights,
            draws,
            inputs,
            batch_size,
            self.inputs,
            self.settings.seed,
            verbose,
        )

    def held_models(self) -> list[keras.Model]:
        """Returns the one model."""
        return [self.model]

    def models(self) -> list[keras.Model]:
        """Returns the one model, whose weights are those of the draws."""
        self.check_weights()
        return [self.model]

    def set_draws(self, draws: list[Draw]) -> None:
        """Puts draws of the same network in place of the present ones."""
        for draw in draws:
            self.point.check_values(draw)
        self.draws = draws

    def parameters(self) -> dict[str, int]:
        """Returns how many parameters there are: trained, of a draw, averaged over."""
        one = self.point.network.count_params()
        averaged = one if self.settings.inside else one * self.num_draws
        if self.settings.inside:
            one = PointNetwork(self.model).network.count_params()
        return {"trained": self.model.count_params(), "draw": one, "averaged": averaged}
