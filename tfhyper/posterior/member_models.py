"""Models that were trained apart, as a source of draws."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras

from tfhyper.checks import Verbose
from tfhyper.layers.seeds import derive_seed
from tfhyper.posterior.draw_settings import DrawSettings
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running.batches import Batches, Part
from tfhyper.posterior.running.exclusive import Exclusive
from tfhyper.posterior.running.fingerprint import Fingerprint
from tfhyper.posterior.running.loop import progress
from tfhyper.posterior.running.weight_cache import RunnableNetwork
from tfhyper.posterior.tasks.task import Task
from tfhyper.saving.models import describe, read_model
from tfhyper.tensor_types import Structure


class MemberModels:
    """Models that were trained apart, each with draws of its own.

    A `DrawSource`: what `tfhyper.DeepEnsemble` averages over, where arguments and
    errors are described. Of a model that was given as a path, only its draws and a
    checksum of its weights are kept.

    Args:
        models: sequence of models and paths.
        settings: how the draws of each member are made; the members' seeds are derived
            from the one there, and `num_draws` is that of each.
        make_task: function of a model that gives its task.

    Attributes:
        sources: list of the models and of the paths of models.
        inputs: what every model takes.
        task: the task of the first model, which is that of all.
        num_draws: the draws of all members together.
    """

    def __init__(
        self,
        models: Sequence[keras.Model | str],
        settings: DrawSettings,
        make_task: Callable[[keras.Model], Task],
    ):
        self.settings = settings.settle()
        self._given = settings
        self.sources = _check_models(models)
        # index -> member whose model was given itself
        self._held: dict[int, DrawnEnsemble] = {}
        # index -> checksum of the weights of a path's model
        self._checksums: dict[int, int] = {}
        # the list of draws of each member
        self._draws: list[list[Draw]] = []
        self._estimating = Exclusive("estimate_batch_norm")
        for i, source in enumerate(self.sources):
            model = _load(source)
            member, task = self._make(i, model), make_task(model)
            if i == 0:
                first = _description(model, task)
                self.task, self.inputs = task, member.inputs
            _check_alike(i, _description(model, task), first)
            self._draws.append(member.draws)
            if model is source:
                self._held[i] = member
            else:  # of which the whole fingerprint would hold the weights
                self._checksums[i] = Fingerprint(model).checksum
        self.num_draws = len(self) * self.settings.num_draws
        # The order of one model's draws is as random as that of any.
        self.draws_in_row = self.settings.num_draws if len(self) > 1 else 1

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[DrawnEnsemble]:
        """Yields the members, one at a time."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> DrawnEnsemble:
        """Returns a member: its model, and the settings of its draws.

        Raises:
            ValueError: if its weights are not those that it had at first.
        """
        model = self.model(index)
        return self._held.get(index) or self._make(index, model)

    def model(self, index: int) -> keras.Model:
        """Returns a member's model; raises as `[index]` does."""
        source = self.sources[index]
        model = _load(source)
        if index in self._held:
            changed, what = self._held[index].weights_changed(), "model was trained"
        else:
            changed = Fingerprint(model).checksum != self._checksums[index]
            what = "file was written"
        if changed:
            raise ValueError(
                f"The {what} since its weights were taken: make another "
                f"DeepEnsemble. Received: models[{index}]={source!r}"
            )
        return model

    @property
    def draws(self) -> list[Draw]:
        """The draws, those of the first member first."""
        return [draw for own in self._draws for draw in own]

    def runs(self, data: Batches | Part | None = None) -> Iterator[RunnableNetwork]:
        """Yields the networks, a member's model read when its turn comes."""
        # One reading: an estimate meanwhile gives other ones.
        for member, own in zip(self, self._draws, strict=True):
            yield from member.runs(draws=own)

    def networks(self) -> list[tuple[PointNetwork, Draw]]:
        """Returns the network of each member, beside each of its draws."""
        pairs = zip(self, self._draws, strict=True)
        return [pair for member, own in pairs for pair in member.networks(own)]

    def materialize(self, index: int) -> keras.Model:
        """Returns the plain network of a draw."""
        index, draw = divmod(index, self.settings.num_draws)
        member, own = self[index], self._draws[index]
        return member.materialize(member.ready(own)[draw])

    def estimate_batch_norm(
        self, inputs: Structure, batch_size: int | None, verbose: Verbose
    ) -> None:
        """Gives each draw of each member the moments of a pass, all or none."""
        members = progress("estimate_batch_norm", self, len(self), verbose, "member")
        with self._estimating:
            self._draws = [
                member.estimated(own, inputs, batch_size)
                for member, own in zip(members, self._draws, strict=True)
            ]

    def held_models(self) -> list[keras.Model | str]:
        """Returns the models, and the paths of those that were given by path."""
        return self.sources

    def models(self) -> Iterable[keras.Model]:
        """Yields the models, read one at a time."""
        return map(self.model, range(len(self)))

    def set_draws(self, draws: list[Draw]) -> None:
        """Gives the members other draws, those of the first member first.

        Raises:
            ValueError: if they were made for other networks, or are not as many.
        """
        count = self.settings.num_draws
        if len(draws) != self.num_draws:
            raise ValueError(f"{len(self)} members of {count} draws, {len(draws)} held")
        found = [draws[i * count : (i + 1) * count] for i in range(len(self))]
        for member, own in zip(self, found, strict=True):
            for draw in own:
                member.point.check_values(draw)
        self._draws = found

    def _make(self, index: int, model: keras.Model) -> DrawnEnsemble:
        seed = derive_seed(self.settings.seed, index)
        return DrawnEnsemble(model, dataclasses.replace(self._given, seed=seed))


def _check_models(
    models: Sequence[keras.Model | str | os.PathLike],
) -> list[keras.Model | str]:
    """Returns the models as they are, and paths as what they stand for."""
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise TypeError(
            "`models` must be a sequence of Keras models or of paths of .keras files. "
            f"Received: models={models!r}"
        )
    if not models:
        raise ValueError(f"`models` must not be empty. Received: models={models!r}")
    found: list[keras.Model | str] = []
    seen: dict[int | str, int] = {}
    for i, model in enumerate(models):
        if isinstance(model, str | os.PathLike):
            model = os.path.realpath(model)
            # Other formats of Keras have no safe mode.
            if not model.endswith(".keras"):
                raise ValueError(
                    "`models` must be paths of .keras files. "
                    f"Received: models[{i}]={model!r}"
                )
            if not os.path.exists(model):
                raise FileNotFoundError(
                    "`models` must be paths of files that are there. "
                    f"Received: models[{i}]={model!r}, where there is no model"
                )
        elif not isinstance(model, keras.Model):
            raise TypeError(
                "`models` must be Keras models or paths of .keras files. "
                f"Received: models[{i}]={model!r} of type {type(model).__name__}"
            )
        first = seen.setdefault(model if isinstance(model, str) else id(model), i)
        if first != i:
            raise ValueError(
                "`models` must be different ones: each counts once in the mean. "
                f"Received: models[{first}] and models[{i}] are the same, {model!r}"
            )
        found.append(model)
    return found


def _load(source: keras.Model | str) -> keras.Model:
    """Returns the model of a path; a model as it is."""
    if not isinstance(source, str):
        return source
    try:
        return read_model(source)
    except Exception as error:  # zipfile, h5py, Keras: each has its own.
        raise ValueError(
            "`models` must be files of Keras models that load in safe mode. "
            f"Received: {source!r} ({describe(error)})"
        ) from error


def _description(model: keras.Model, task: Task) -> str:
    """Returns what a member takes and gives, in words."""
    inputs, outputs = (
        [tuple(tensor.shape[1:]) for tensor in tensors]
        for tensors in (model.inputs, model.outputs)
    )
    return f"inputs {inputs}, outputs {outputs}, {task.name}"


def _check_alike(index: int, description: str, first: str) -> None:
    """Raises ValueError unless a member takes and gives what the first one does."""
    if description != first:
        raise ValueError(
            "`models` must have inputs and outputs of the same shapes, and all give "
            "logits or all probabilities. Received: "
            f"models[0] with {first}; models[{index}] with {description}"
        )
