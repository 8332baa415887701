"""What a distribution that a network gives is made of: the contract of a family."""

import abc
import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer, check_numbers, check_positive_integer
from tfhyper.heads.parameters import Parameter, split
from tfhyper.tensor_types import Tensor

_NAMES = ("targets", "parameters")


@dataclasses.dataclass(frozen=True)
class Components:
    """Distributions of SciPy whose weighted mean is the distribution of a prediction.

    Attributes:
        weights: float64 (components, ..., 1), which sum to one along the first axis.
        distribution: a distribution of `scipy.stats`, such as `scipy.stats.norm`.
        arguments: its arguments by name, each float64 (components, ..., targets).

    Example:

    >>> parts = tfhyper.heads.Normal().components(np.array([[0.5, 2.0]]))
    >>> parts.distribution.name, parts.arguments["scale"].shape
    ('norm', (1, 1, 1))
    """

    weights: np.ndarray
    distribution: Any
    arguments: dict[str, np.ndarray]


class Family(abc.ABC):
    """A kind of distribution, its parameters one after the other on the last axis.

    A head (`tfhyper.heads.Head`) makes such parameters of any numbers, a
    loss compares them with targets, and `tfhyper.heads.DrawMixture` averages those of
    many draws. A new family is a subclass in a file of its own, registered with
    `keras.saving.register_keras_serializable`; where its numbers are real, one of
    `RealFamily`.

    Methods take tensors of any backend, save `components`, `check_parameters` and
    `check_targets`, which take arrays and compute in float64.

    Attributes:
        targets: int > 0, how many numbers an example, a pixel or a token has.
        layout: tuple of the parameters, in their order.

    Example:

    >>> family = tfhyper.heads.Normal(targets=2)
    >>> isinstance(family, tfhyper.heads.Family)
    True
    >>> [parameter.name for parameter in family.layout], family.units
    (['loc', 'scale'], 4)
    """

    targets: int

    def __init__(self, targets: int = 1):
        self.targets = check_positive_integer("targets", targets)

    @property
    @abc.abstractmethod
    def layout(self) -> tuple[Parameter, ...]:
        """The parameters, in their order on the last axis."""

    @abc.abstractmethod
    def log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the joint log-density of an example's targets, in nats.

        Args:
            targets: (..., targets).
            parameters: (..., units).

        Returns:
            Tensor (...).
        """

    @abc.abstractmethod
    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the continuous ranked probability score, summed over the targets.

        Args:
            targets: (..., targets).
            parameters: (..., units).

        Returns:
            Tensor (...), in the unit of the targets; smaller is better.
        """

    @abc.abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the means, (..., targets), of parameters (..., units)."""

    @abc.abstractmethod
    def variance(self, parameters: Tensor) -> Tensor:
        """Returns the variances, (..., targets), of parameters (..., units)."""

    @abc.abstractmethod
    def components(self, parameters: np.ndarray) -> Components:
        """Returns the same distribution in SciPy, of an array (..., units)."""

    @property
    def units(self) -> int:
        """How many numbers the parameters are: the units of the layer before a head."""
        return sum(parameter.size for parameter in self.layout)

    def link(self, raw: Tensor) -> Tensor:
        """Returns parameters (..., units) made of any numbers (..., units)."""
        parts = split(self.layout, raw)
        linked = [p.constraint.link(parts[p.name]) for p in self.layout]
        return ops.concatenate(linked, axis=-1) if len(linked) > 1 else linked[0]

    def split(self, parameters: Any) -> dict[str, Any]:
        """Returns the parameters by name, each (..., its size), of (..., units)."""
        return split(self.layout, parameters)

    def expand(
        self, targets: Tensor, parameters: Tensor, names: tuple[str, str] = _NAMES
    ) -> Tensor:
        """Returns targets (..., targets), of these or, if there is one, of (...).

        Args:
            targets: tensor of one of these shapes.
            parameters: tensor (..., units).
            names: what errors call both.

        Raises:
            ValueError: for a shape that does not fit.
        """
        shape, other = tuple(targets.shape), tuple(parameters.shape)
        if not other or other[-1] != self.units:
            sizes = ", ".join(f"{p.size} of {p.name}" for p in self.layout)
            raise ValueError(
                f"`{names[1]}` must have {self.units} numbers on the last axis "
                f"({sizes}). Received: {names[1]} of the shape {other}"
            )
        if len(shape) == len(other) - 1 and self.targets == 1:
            return ops.expand_dims(targets, -1)
        if len(shape) != len(other) or shape[-1] != self.targets:
            also = " or (...)" if self.targets == 1 else ""
            raise ValueError(
                f"`{names[0]}` must have the shape (..., {self.targets}){also}, where "
                f"`{names[1]}` has (..., {self.units}). Received: {names[0]} of the "
                f"shape {shape}, {names[1]} of the shape {other}"
            )
        return targets

    def check_parameters(self, parameters: ArrayLike) -> np.ndarray:
        """Returns parameters (..., units) as an array of float64.

        Raises:
            ValueError: for another last axis, numbers that are not finite, or one that
                is out of its range, such as a scale that is not above 0.
            TypeError: if they are no real numbers.
        """
        array = check_numbers("parameters", parameters)
        if not array.ndim or not array.size or array.shape[-1] != self.units:
            names = ", ".join(f"{p.size} of {p.name}" for p in self.layout)
            raise ValueError(
                f"`parameters` must have {self.units} numbers on the last axis "
                f"({names}). Received: parameters.shape={array.shape}"
            )
        for parameter, values in zip(
            self.layout, self.split(array).values(), strict=True
        ):
            parameter.constraint.check(parameter.name, values)
        return array

    def check_targets(
        self, targets: ArrayLike, leading: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Returns targets (..., targets) as an array of float64.

        Args:
            targets: that shape, or (...) if there is one target. (Without `leading`
                the last axis tells: of the size 1 it is that of the targets.)
            leading: the axes before, or `None` for any.

        Raises:
            ValueError: for another shape, or a target out of the support.
            TypeError: if they are no real numbers.
        """
        array = check_numbers("targets", targets)
        if self.targets == 1:
            alone = array.shape[-1:] != (1,) if leading is None else False
            if alone or array.shape == leading:
                array = array[..., np.newaxis]
        expected = array.shape[:-1] if leading is None else leading
        if array.shape != (*expected, self.targets) or not array.size:
            axes = ", ".join(map(str, ["..."] if leading is None else leading))
            raise ValueError(
                f"`targets` must have the shape ({axes}, {self.targets}). "
                f"Received: targets.shape={np.shape(targets)}"
            )
        return array

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that the family can be made from."""
        return {"targets": self.targets}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Family":
        """Returns the family of such arguments."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Family):
            return NotImplemented
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self.get_config().items())))

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({given})"


class RealFamily(Family):
    """A family of real numbers whose samples have gradients.

    Its CRPS is estimated by samples, where a subclass has no closed form.

    Example:

    >>> family = tfhyper.heads.Laplace()
    >>> isinstance(family, tfhyper.heads.RealFamily)
    True
    >>> family.sample(np.array([[0.0, 1.0]], "float32"), 5, seed=1).shape
    (5, 1, 1)
    """

    @abc.abstractmethod
    def sample(self, parameters: Tensor, num_samples: int, seed: Any = None) -> Tensor:
        """Returns samples of targets, a differentiable function of the parameters.

        Args:
            parameters: tensor (..., units).
            num_samples: int > 0.
            seed: int or `keras.random.SeedGenerator`, as `keras.random` takes it.

        Returns:
            Tensor (samples, ..., targets).
        """

    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the score; see `Family.crps`.

        Raises:
            ValueError: if it has no closed form.
        """
        raise ValueError(
            f"`num_samples` must say by how many samples the CRPS of "
            f"`{type(self).__name__}`, which has no closed form, is estimated. "
            "Received: num_samples=None"
        )

    def sample_crps(
        self, targets: Tensor, parameters: Tensor, num_samples: int, seed: Any = None
    ) -> Tensor:
        """Returns an estimate of the score by samples x, without bias.

            sum_targets (mean_s |x_s - y| - sum_{s,t} |x_s - x_t| / (2 S (S - 1)))

        Args:
            targets: tensor (..., targets).
            parameters: tensor (..., units).
            num_samples: int > 1, S.
            seed: as for `sample`.

        Returns:
            Tensor (...); it may be below 0.

        Example:

        >>> family = tfhyper.heads.Normal()
        >>> parameters = np.array([[0.0, 1.0]], "float32")
        >>> score = family.sample_crps(np.zeros((1, 1)), parameters, 1000, seed=1)
        >>> abs(float(score[0]) - 0.2337) < 0.05
        True
        """
        check_integer("num_samples", num_samples, 2)
        samples = ops.sort(self.sample(parameters, num_samples, seed), axis=0)
        error = ops.mean(ops.abs(samples - targets), axis=0)
        # In order, each sample is the larger of as many pairs as there are before it.
        signs = 2.0 * np.arange(num_samples) - (num_samples - 1)
        signs = signs.reshape(-1, *[1] * (len(samples.shape) - 1)) / num_samples
        signs = ops.convert_to_tensor(signs / (num_samples - 1), samples.dtype)
        return ops.sum(error - ops.sum(signs * samples, axis=0), axis=-1)


def as_family(value: Any) -> Any:
    """Returns the object that Keras wrote as a dict, or the value as it is."""
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return value
