"""Heads: layers that make the parameters of a distribution of any numbers."""

from typing import Any

import keras

from tfhyper.checks import check_instance
from tfhyper.heads.categorical import Categorical
from tfhyper.heads.counts import NegativeBinomial, Poisson
from tfhyper.heads.family import Family, as_family
from tfhyper.heads.laplace import Laplace
from tfhyper.heads.normal import Normal
from tfhyper.heads.normal_mixture import NormalMixture
from tfhyper.heads.parameters import PositiveLink
from tfhyper.heads.student_t import StudentT
from tfhyper.layers.full_precision import full_precision
from tfhyper.tensor_types import Shape, Tensor


class Head(keras.layers.Layer):
    """The last layer of a network whose output is a distribution: what all heads are.

    A head has no weights, but for `tfhyper.heads.VBLLRegression`. Any layer with
    `head.units` units stands before it: a `keras.layers.Dense`, a layer with a
    posterior such as `tfhyper.layers.BayesDense`, or a convolution with as many
    filters. It computes in float32 under a policy of mixed precision.

    Args:
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        family: `tfhyper.heads.Family`, what the output is; a subclass sets it.

    Input shape:
        (batch, ..., units).

    Output shape:
        (batch, ..., units), the parameters in the order of `family.layout`.

    Example:

    >>> head = tfhyper.heads.PoissonHead()
    >>> isinstance(head, tfhyper.heads.Head), head.family
    (True, Poisson(targets=1, min_mean=1e-06, mean_link='softplus'))
    """

    family: Family

    def __init__(self, **kwargs: Any):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = full_precision()
        super().__init__(**kwargs)
        self.supports_masking = True

    @property
    def units(self) -> int:
        """How many numbers the layer before the head has to give."""
        return self.family.units

    def build(self, input_shape: Shape) -> None:
        """Checks the last axis."""
        if input_shape[-1] != self.units:
            raise ValueError(
                f"`inputs` must have {self.units} numbers on the last axis, the "
                f"parameters of {self.family!r}: put a layer with `head.units` units "
                f"before the head. Received: inputs of the shape {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Returns parameters."""
        return self.family.link(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the same shape."""
        return input_shape


@keras.saving.register_keras_serializable("tfhyper")
class DistributionHead(Head):
    """The head of any family.

    Args:
        family: a `tfhyper.heads.Family`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        family: what the output is.
        units: how many numbers the family's parameters are.

    Input shape:
        (batch, ..., units).

    Output shape:
        (batch, ..., units), the parameters in the order of `family.layout`.

    Raises:
        TypeError: if `family` is none.
        ValueError: for inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.DistributionHead(tfhyper.heads.Laplace(targets=2))
    >>> head(keras.layers.Dense(head.units)(np.zeros((5, 3)))).shape
    (5, 4)
    """

    def __init__(self, family: Family, **kwargs: Any):
        super().__init__(**kwargs)
        rule = "a family of `tfhyper.heads`, such as Normal()"
        self.family = check_instance("family", as_family(family), Family, rule)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        family = keras.saving.serialize_keras_object(self.family)
        return {**super().get_config(), "family": family}


class _NamedHead(Head):
    """A head whose arguments are those of its family."""

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        return {**super().get_config(), **self.family.get_config()}


@keras.saving.register_keras_serializable("tfhyper")
class NormalHead(_NamedHead):
    """Mean and standard deviation of a normal distribution: heteroscedastic regression.

    The output has the means of all targets, then their standard deviations,
    min_scale + softplus(raw). `tfhyper.heads.Head` says more of all heads.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., 2 targets).

    Output shape:
        (batch, ..., 2 targets).

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.NormalHead()
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), head])
    >>> model.compile("adam", tfhyper.heads.NegativeLogLikelihood(head))
    >>> model(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = Normal(targets, min_scale, scale_link)


@keras.saving.register_keras_serializable("tfhyper")
class LaplaceHead(_NamedHead):
    """Location and scale of a Laplace distribution: absolute errors, heteroscedastic.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., 2 targets).

    Output shape:
        (batch, ..., 2 targets): see `tfhyper.heads.Laplace`.

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.LaplaceHead(targets=3)
    >>> head(np.zeros((5, head.units))).shape
    (5, 6)
    """

    def __init__(
        self,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = Laplace(targets, min_scale, scale_link)


@keras.saving.register_keras_serializable("tfhyper")
class StudentTHead(_NamedHead):
    """Location, scale and degrees of freedom of a t-distribution: outliers.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., 3 targets).

    Output shape:
        (batch, ..., 3 targets): see `tfhyper.heads.StudentT`.

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.StudentTHead()
    >>> bool(head(np.zeros((1, 3)))[0, 2] > 2)
    True
    """

    def __init__(
        self,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = StudentT(targets, min_scale, scale_link)


@keras.saving.register_keras_serializable("tfhyper")
class MixtureHead(_NamedHead):
    """Weights, means and scales of a mixture of Gaussians: a mixture density network.

    Args:
        components: int > 0, how many normal distributions are mixed.
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., components (1 + 2 targets)).

    Output shape:
        (batch, ..., components (1 + 2 targets)): see `tfhyper.heads.NormalMixture`.

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.MixtureHead(components=4, targets=2)
    >>> head.units
    20
    """

    def __init__(
        self,
        components: int,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = NormalMixture(components, targets, min_scale, scale_link)


@keras.saving.register_keras_serializable("tfhyper")
class PoissonHead(_NamedHead):
    """The mean of a Poisson distribution: counts.

    Args:
        targets: int > 0, how many targets there are.
        min_mean: float > 0, the least mean.
        mean_link: `"softplus"` or `"exp"`; see `tfhyper.heads.CountFamily`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., targets).

    Output shape:
        (batch, ..., targets).

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.PoissonHead()
    >>> round(float(head(np.zeros((1, 1)))[0, 0]), 4)
    0.6931
    """

    def __init__(
        self,
        targets: int = 1,
        min_mean: float = 1e-6,
        mean_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = Poisson(targets, min_mean, mean_link)


@keras.saving.register_keras_serializable("tfhyper")
class NegativeBinomialHead(_NamedHead):
    """Mean and total count of a negative binomial distribution: scattered counts.

    Args:
        targets: int > 0, how many targets there are.
        min_mean: float > 0, the least mean.
        mean_link: `"softplus"` or `"exp"`; see `tfhyper.heads.CountFamily`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., 2 targets).

    Output shape:
        (batch, ..., 2 targets): see `tfhyper.heads.NegativeBinomial`.

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> head = tfhyper.heads.NegativeBinomialHead(targets=2)
    >>> head(np.zeros((5, 7, head.units))).shape
    (5, 7, 4)
    """

    def __init__(
        self,
        targets: int = 1,
        min_mean: float = 1e-6,
        mean_link: PositiveLink = "softplus",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.family = NegativeBinomial(targets, min_mean, mean_link)


@keras.saving.register_keras_serializable("tfhyper")
class CategoricalHead(_NamedHead):
    """The logarithms of the probabilities of classes: normalised logits.

    Their softmax is their exponential: a predictor with `outputs="logits"` reads them
    as they are.

    Args:
        classes: int > 1, how many there are.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., classes).

    Output shape:
        (batch, ..., classes).

    Raises:
        ValueError: for an argument out of range, or inputs with another last axis.

    Example:

    >>> log_probs = tfhyper.heads.CategoricalHead(4)(np.zeros((1, 4)))
    >>> round(float(keras.ops.exp(log_probs)[0, 0]), 4)
    0.25
    """

    def __init__(self, classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.family = Categorical(classes)
