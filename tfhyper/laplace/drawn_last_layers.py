"""Networks that differ in their last layer, as a source of draws."""

import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper.checks import Verbose, check_choice
from tfhyper.laplace.curvature import COVARIANCES, Covariance
from tfhyper.laplace.last_layer import (
    FeaturesOnce,
    LastLayerNetwork,
    NetworkParts,
    find_last_layer,
)
from tfhyper.posterior.draw_settings import DrawSettings, SettledDraws
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batches import Batches, Part
from tfhyper.posterior.running.weight_cache import (
    KEPT_BYTES,
    DrawnWeights,
    RunnableNetwork,
    draws_key,
)
from tfhyper.tensor_types import Structure
from tfhyper.variational import WeightPosterior

Predictive: TypeAlias = Literal["mc", "closed_form"]
PREDICTIVES: tuple[Predictive, ...] = get_args(Predictive)


class DrawnLastLayers:
    """Draws of the last layer of a network, or of the network of each of its draws.

    A `DrawSource`: what `LaplacePredictor` averages over. Draws in a row that differ
    in the last layer alone have their features made once.

    Args:
        model: a functional or built Sequential model.
        settings: how the model's own draws are made; `num_draws` is that of all.
        outputs: what the model gives, the name of a task.
        predictive: `"mc"` or `"closed_form"`, see `Laplace.predictor`.
        covariance: the form of the posterior, see `Gaussian`.

    Attributes:
        model: the model.
        settings: as given.
        predictive: as given.
        covariance: as given.
        point: the network that draws are given to.
        inputs: what the model takes.
        draws: list of `Draw`, empty ones at first: see `set_draws`.

    Raises:
        TypeError: if the graph of the model is not known.
        ValueError: for a model whose last layer is no `keras.layers.Dense`.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: SettledDraws,
        outputs: str,
        predictive: Predictive,
        covariance: Covariance,
    ):
        self.settings = settings
        self.predictive = check_choice("predictive", predictive, PREDICTIVES)
        self.covariance = check_choice("covariance", covariance, COVARIANCES)
        # What its own draws are is in the draws: it is asked for the rest.
        given = {**vars(settings), "num_draws": None}
        self._plain = plain_ensemble(model, DrawSettings(**given))
        self.model, self.inputs = model, self._plain.inputs
        self._last = find_last_layer(self._plain.point, outputs)
        self._gives: Any = "mean_and_variance" if outputs == "mean" else "scaled_logits"
        self.point = self._make_point(own=False)
        self.draws = [Draw()] * settings.num_draws
        self.draws_in_row = 1
        self._weights = DrawnWeights(self.point)
        self._lock = threading.RLock()
        self._parts: NetworkParts | None = None
        self._kept: list[FeaturesOnce] = []

    def _make_point(self, own: bool = True) -> LastLayerNetwork:
        covariance = self.covariance if self.predictive == "closed_form" else None
        return LastLayerNetwork(
            self.model,
            self._last.original,
            covariance,
            self._gives,
            **self._plain.point.options,
            own=own,
        )

    @property
    def num_draws(self) -> int:
        """How many draws are averaged over."""
        return self.settings.num_draws

    def ready(self) -> list[Draw]:
        """Returns the draws, if the model has the weights that they were made of.

        Raises:
            ValueError: if it has others.
        """
        if self._plain.weights_changed():
            raise ValueError(
                "The model was trained since its last layer was looked at: make "
                "another `Laplace`. Received: a model with other weights"
            )
        return self.draws

    def runs(self, data: Batches | Part | None = None) -> Iterable[RunnableNetwork]:
        """Returns the networks, ready to predict.

        Args:
            data: what is to be predicted; `None` for a network for each draw, which
                makes its own features.
        """
        draws = self.ready()
        if data is None:
            return self._weights.runs(draws)
        if not self._weights.keeps(draws):
            return self._runs(draws)
        with self._lock:
            if not self._kept:
                self._kept = list(self._runs(draws))
            return self._kept

    def _runs(self, draws: list[Draw]) -> Iterator[FeaturesOnce]:
        most = max(1, KEPT_BYTES // self.point.drawn_bytes)
        for group in self._alike(draws):
            for start in range(0, len(group), most):
                with self._lock:
                    self._parts = self._parts or NetworkParts.of(self.point)
                yield self._parts.run(group[start : start + most])

    def _alike(self, draws: list[Draw]) -> list[list[Draw]]:
        """Returns the draws in groups, of those in a row with the same features."""
        names = set(self.point.last_names)

        def key(draw: Draw) -> tuple:
            others = {k: x for k, x in draw.noise.items() if k not in names}
            return draws_key([Draw(others, draw.moments)])

        return [list(group) for _, group in itertools.groupby(draws, key)]

    def networks(self) -> list[tuple[PointNetwork, Draw]]:
        """Returns the one network, beside each draw."""
        return [(self.point, draw) for draw in self.ready()]

    def materialize(self, index: int) -> keras.Model:
        """Returns the plain network of a draw."""
        point = self._make_point()
        point.set(self.ready()[index])
        return point.network

    def estimate_batch_norm(
        self, inputs: Structure, batch_size: int | None, verbose: Verbose
    ) -> None:
        """Raises ValueError: the last layers were made for the moments of before."""
        raise ValueError(
            "`estimate_batch_norm` is to be called on the PosteriorPredictor, before "
            "`Laplace` is made of it: other moments are other features. Received: a "
            "LaplacePredictor"
        )

    def held_models(self) -> list[keras.Model]:
        """Returns the one model."""
        return [self.model]

    def models(self) -> list[keras.Model]:
        """Returns the one model, whose weights are those of the draws."""
        self.ready()
        return [self.model]

    def set_draws(self, draws: list[Draw]) -> None:
        """Puts draws of the same network in place of the present ones."""
        if len(draws) != self.num_draws:
            raise ValueError(f"{self.num_draws} draws, {len(draws)} held")
        for draw in draws:
            self.point.check_values(draw)
        groups = self._alike(draws)
        with self._lock:
            self.draws, self._kept = draws, []
            # Where the order of draws has to be random.
            self.draws_in_row = len(groups[0]) if len(groups) > 1 else 1


def plain_ensemble(model: Any, settings: DrawSettings) -> DrawnEnsemble:
    """Returns the draws of a model as they are without a posterior of its last layer.

    Raises:
        TypeError: if the graph of the model is not known.
        ValueError: for a model with a posterior of all its weights.
    """
    if isinstance(model, WeightPosterior):
        raise ValueError(
            f"`model` must not be a `{type(model).__name__}`, all of whose weights "
            "have a posterior already, those of the last layer too. "
            f"Received: model={model.name!r}"
        )
    return DrawnEnsemble(model, settings)
