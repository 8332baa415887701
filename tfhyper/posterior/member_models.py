"""The models of an ensemble: held, or read from files when their turn comes."""

import os
from collections.abc import Iterator, Sequence

import keras

from tfhyper.layers.seeds import derive_seed
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.predictor import PosteriorPredictor
from tfhyper.posterior.running.fingerprint import Fingerprint
from tfhyper.saving.models import describe, read_model


class Members:
    """The models of a `tfhyper.DeepEnsemble`, each with a predictor of its own.

    Arguments and errors are described there. Of a model that was given as a path,
    only its draws and a fingerprint of its weights are kept.

    Args:
        models: sequence of models and paths.
        seed: int, from which the members' seeds are derived.
        **options: the other arguments of each member's `PosteriorPredictor`.

    Attributes:
        sources: list of the models and of the paths of models.
        draws: list of the list of `Draw` of each member.
        outputs: what reads the outputs of every model, see `posterior.outputs`.
        inputs: what every model takes, a `ModelInputs`.
    """

    def __init__(self, models, seed, **options):
        self.sources = _check_models(models)
        self._seed, self._options = seed, options
        self._held = {}  # index -> member whose model was given itself
        self._checksums = {}  # index -> that of the weights of a path's model
        self.draws = []
        for i, source in enumerate(self.sources):
            model = _load(source)
            member = self._make(i, model)
            if i == 0:
                first = _description(member)
                self.outputs, self.inputs = member._outputs, member._inputs
            _check_alike(i, _description(member), first)
            self.draws.append(member.draws)
            if model is source:
                self._held[i] = member
            else:  # of which the whole fingerprint would hold the weights
                self._checksums[i] = Fingerprint(model).checksum

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[PosteriorPredictor]:
        """Yields the members, one at a time."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> PosteriorPredictor:
        """Returns a member. Its draws are those of `draws`.

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

    def set_draws(self, draws: list[Draw]) -> None:
        """Gives the members other draws, those of the first member first.

        Raises:
            ValueError: if they were made for other networks, or are not as many.
        """
        count = self._options["num_draws"]
        if len(draws) != len(self) * count:
            raise ValueError(f"{len(self)} members of {count} draws, {len(draws)} held")
        found = [draws[i * count : (i + 1) * count] for i in range(len(self))]
        for member, own in zip(self, found, strict=True):
            for draw in own:
                member._point.check_values(draw)
        self.draws = found

    def _make(self, index, model):
        seed = derive_seed(self._seed, index)
        return PosteriorPredictor(model, seed=seed, **self._options)


def _check_models(models):
    """Returns the models as they are, and paths as what they stand for."""
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise TypeError(
            "`models` must be a sequence of Keras models or of paths of .keras files. "
            f"Received: models={models!r}"
        )
    if not models:
        raise ValueError(f"`models` must not be empty. Received: models={models!r}")
    found, seen = [], {}
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
                    f"There is no model at {model!r}, which is models[{i}]."
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


def _load(source):
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


def _description(member):
    """Returns what a member takes and gives, in words."""
    inputs, outputs = (
        [tuple(tensor.shape[1:]) for tensor in tensors]
        for tensors in (member.model.inputs, member.model.outputs)
    )
    return f"inputs {inputs}, outputs {outputs}, {member.outputs}"


def _check_alike(index, description, first):
    """Raises ValueError unless a member takes and gives what the first one does."""
    if description != first:
        raise ValueError(
            "`models` must have inputs and outputs of the same shapes, and all give "
            "logits or all probabilities. Received: "
            f"models[0] with {first}; models[{index}] with {description}"
        )
