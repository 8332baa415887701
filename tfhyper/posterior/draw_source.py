"""What a predictor averages over: a source of draws, whatever they come from."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import keras

from tfhyper.checks import Verbose
from tfhyper.posterior.draw_settings import SettledDraws
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batches import Batches, Part
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.weight_cache import RunnableNetwork
from tfhyper.tensor_types import Structure


class DrawSource(Protocol):
    """Networks to average over: how many, and how to run, save and make them anew.

    A predictor has one. `DrawnEnsemble` draws from the posterior of one model,
    `MemberModels` from models that were trained apart; another source (weights kept
    along one training, say) has these names.

    Attributes:
        settings: how the draws are made.
        inputs: what every network takes.
        num_draws: how many draws are averaged over.
        draws_in_row: draws in a row that are more alike than others, and count as one
            where the order of draws has to be random: those of one model of several.
        draws: the draws, in their order: a network for each. One that holds all the
            draws inside is one of these.
    """

    @property
    def settings(self) -> SettledDraws:
        """How the draws are made: see above."""

    @property
    def inputs(self) -> ModelInputs:
        """What every network takes: see above."""

    @property
    def num_draws(self) -> int:
        """How many draws are averaged over: see above."""

    @property
    def draws_in_row(self) -> int:
        """Draws in a row that are more alike than others: see above."""

    @property
    def draws(self) -> list[Draw]:
        """The draws, in their order: see above."""

    def runs(self, data: Batches | Part | None = None) -> Iterable[RunnableNetwork]:
        """Returns the networks in the order of the draws, ready to predict.

        Args:
            data: what is to be predicted, where the source may choose networks of
                several draws by it; `None` for a network for each draw.

        Raises:
            ValueError: if they are due to be estimated or their weights changed.
        """

    def networks(self) -> list[tuple[PointNetwork, Draw]]:
        """Returns each network as a draw and what the draw is to be given to.

        Raises:
            ValueError: as `runs`.
        """

    def materialize(self, index: int) -> keras.Model:
        """Returns the plain network of a draw, which shares nothing with the model.

        Raises:
            ValueError: as `runs`.
        """

    def estimate_batch_norm(
        self, inputs: Structure, batch_size: int | None, verbose: Verbose
    ) -> None:
        """Gives each draw BatchNorm moments of a pass over training inputs.

        Raises:
            ValueError: for inputs that the models do not take, or if there is
                nothing to estimate. All draws are as before then.
        """

    def held_models(self) -> Sequence[keras.Model | str]:
        """Returns the models, or the paths of some, of which the draws are."""

    def models(self) -> Iterable[keras.Model]:
        """Yields the models one at a time, to be saved.

        Raises:
            ValueError: if one has other weights than its draws were made of.
        """

    def set_draws(self, draws: list[Draw]) -> None:
        """Puts draws in place of the present ones, as from a file.

        Raises:
            ValueError: if they were made for other networks, or are not as many.
        """
