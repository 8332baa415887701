"""The arguments by which draws are made, in one place."""

import dataclasses
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_instance,
    check_positive_integer,
)
from tfhyper.layers import Augment
from tfhyper.layers.seeds import check_seed
from tfhyper.posterior.networks.averaging import AVERAGING, Averaging
from tfhyper.posterior.running.batch_norm_statistics import (
    BatchNormMoments,
    check_batch_norm,
)

Dropout: TypeAlias = Literal["off", "sample"]
DROPOUT: tuple[Dropout, ...] = get_args(Dropout)


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """How draws of a model are made, by arguments that `PosteriorPredictor` describes.

    A new argument is a field here, with its check, and a parameter there: files, copies
    and pickles have it by its name.

    Raises:
        ValueError: for a value out of its range, or values that do not go together.
        TypeError: for a value of another type.
    """

    num_draws: int | None = None
    averaging: Averaging = "branching"
    batch_norm: BatchNormMoments = "reestimate"
    seed: int | None = 0
    deterministic: bool = False
    batch_size: int | None = None
    dropout: Dropout | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        check_bool("deterministic", self.deterministic)
        check_choice("averaging", self.averaging, AVERAGING)
        if self.num_draws is not None:
            check_positive_integer("num_draws", self.num_draws)
        if self.deterministic and self.num_draws not in (None, 1):
            raise ValueError(
                "`num_draws` must be 1, or left out, with `deterministic=True`: there "
                f"is one mean. Received: num_draws={self.num_draws}"
            )
        if self.dropout is not None:
            check_choice("dropout", self.dropout, DROPOUT)
        object.__setattr__(self, "augment", _check_augment(self.augment))
        object.__setattr__(self, "seed", check_seed(self.seed))
        size = check_batch_norm(self.batch_norm, self.batch_size, self.deterministic)
        object.__setattr__(self, "batch_size", size)

    def settle(self) -> "SettledDraws":
        """Returns them with what they leave to a source of draws: its defaults."""
        given = self._values()
        given["num_draws"] = self.num_draws or (1 if self.deterministic else 16)
        given["dropout"] = self.dropout or "off"
        return SettledDraws(**given)

    def to_json(self) -> dict[str, Any]:
        """Returns the arguments by their names, JSON values all."""
        found = self._values()
        if self.augment is not None:
            found["augment"] = keras.saving.serialize_keras_object(self.augment)
        return found

    def _values(self) -> dict[str, Any]:
        # Not those of `asdict`, which copies a layer.
        return {x.name: getattr(self, x.name) for x in dataclasses.fields(self)}

    @property
    def inside(self) -> bool:
        """Whether one network is to hold all the draws."""
        return self.averaging != "branching" and self.num_draws != 1


@dataclasses.dataclass(frozen=True)
class SettledDraws(DrawSettings):
    """The settings of draws that are there: none of them is left open."""

    num_draws: int = 1
    seed: int = 0
    dropout: Dropout = "off"


def _check_augment(augment: Any) -> Augment | None:
    """Returns an `Augment`: the one given, of a layer that draws, or of JSON values."""
    if isinstance(augment, dict):  # of a file or a copy
        try:
            augment = keras.saving.deserialize_keras_object(augment)
        except Exception as error:  # which one depends on what is wrong
            raise ValueError(
                "`augment` must be the config of a `tfhyper.layers.Augment`. Received: "
                f"augment={str(augment):.80}"
            ) from error
    if augment is None or isinstance(augment, Augment):
        return augment
    rule = "a `tfhyper.layers.Augment`, or a Keras layer that draws"
    return Augment([check_instance("augment", augment, keras.Layer, rule)])
