"""Losses of distributions: what heads are trained by."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_instance, check_integer, check_number, check_text
from tfhyper.heads.family import Family, RealFamily, as_family
from tfhyper.heads.head import Head
from tfhyper.heads.location_scale import LocationScale
from tfhyper.layers.seeds import StatelessSeed, check_seed
from tfhyper.tensor_types import Tensor

_NAMES = ("y_true", "y_pred")


class _DistributionLoss(keras.losses.Loss):
    """A loss of targets and of parameters, the output of a head.

    Args:
        family: a `tfhyper.heads.Family`, or a head, whose family is meant.
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.
    """

    family: Family

    def __init__(self, family: Family | Head, name: str, **kwargs: Any):
        super().__init__(name=check_text("name", name), **kwargs)
        rule = "a family or a head of `tfhyper.heads`"
        family = as_family(family)
        check_instance("family", family, (Family, Head), rule)
        self.family = family.family if isinstance(family, Head) else family

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the loss of each example, pixel or token, `(batch, ...)`."""
        return self.score(self.family.expand(y_true, y_pred, _NAMES), y_pred)

    def score(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the same, of targets (..., targets)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns what the loss can be made from."""
        family = keras.saving.serialize_keras_object(self.family)
        return {**super().get_config(), "family": family}


@keras.saving.register_keras_serializable("tfhyper")
class NegativeLogLikelihood(_DistributionLoss):
    """Minus the log-density of an example's targets, in nats.

        -log p(y)

    joint over the targets: a sum where they are independent. As any loss of Keras it is
    averaged over examples, pixels and tokens, with their weights and masks.

    Args:
        family: a `tfhyper.heads.Family`, or a head, whose family is meant.
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: targets (batch, ..., targets), or (batch, ...) if there is one.
        y_pred: the output of a head, (batch, ..., units).

    Raises:
        TypeError: if `family` is none.
        ValueError: in a call, for shapes that do not fit.

    Example:

    >>> loss = tfhyper.heads.NegativeLogLikelihood(tfhyper.heads.NormalHead())
    >>> round(float(loss(np.array([1.0]), np.array([[0.0, 1.0]]))), 4)
    1.4189
    """

    def __init__(
        self,
        family: Family | Head,
        name: str = "negative_log_likelihood",
        **kwargs: Any,
    ):
        super().__init__(family, name, **kwargs)

    def score(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns minus the log-density, (...)."""
        return -self.family.log_prob(targets, parameters)


@keras.saving.register_keras_serializable("tfhyper")
class CRPS(_DistributionLoss):
    """The continuous ranked probability score, summed over an example's targets.

        integral (F(x) - [x >= y])^2 dx = E |x - y| - E |x - x'| / 2

    In closed form for every family of `tfhyper.heads` but `Categorical`, which has
    none; of counts, those below 1,000 are looked at. A `RealFamily` of your own without
    such a form needs `num_samples`.

    Args:
        family: a `tfhyper.heads.Family` of numbers, or a head, whose family is meant.
        num_samples: `None` for the closed form, or int > 1: by how many samples the
            score is estimated, without bias.
        seed: int, 0 <= seed < 2**31, or `None` for a fresh one. The samples are a
            function of it and of the batch's sum: the same on each call with the same
            numbers.
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: targets (batch, ..., targets), or (batch, ...) if there is one.
        y_pred: the output of a head, (batch, ..., units).

    Raises:
        TypeError: if `family` is none.
        ValueError: for a number out of range, a family without the score, or samples of
            a family that has none; in a call, for shapes that do not fit.

    Example:

    >>> loss = tfhyper.heads.CRPS(tfhyper.heads.NormalHead())
    >>> round(float(loss(np.array([0.0]), np.array([[0.0, 1.0]]))), 4)
    0.2337

    Reference:
        Gneiting and Raftery, JASA 102, 2007, with the opposite sign. Closed forms:
        Jordan, Krüger, Lerch: Evaluating probabilistic forecasts with scoringRules,
        J. Stat. Softw. 90, 2019.
    """

    def __init__(
        self,
        family: Family | Head,
        num_samples: int | None = None,
        seed: int | None = None,
        name: str = "crps",
        **kwargs: Any,
    ):
        super().__init__(family, name, **kwargs)
        self.seed = check_seed(seed)
        self.num_samples = num_samples
        if num_samples is not None:
            check_integer("num_samples", num_samples, 2)
            if not isinstance(self.family, RealFamily):
                raise ValueError(
                    "`num_samples` must be None for a family that is not of real "
                    f"numbers. Received: num_samples={num_samples!r}, "
                    f"family={self.family!r}"
                )
        else:
            # What has no closed form says so now, and not in the first step.
            one = ops.ones((1, self.family.units))
            self.family.crps(ops.ones((1, self.family.targets)), one)

    def score(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the score, (...)."""
        if self.num_samples is None:
            return self.family.crps(targets, parameters)
        family: RealFamily = check_instance(
            "family", self.family, RealFamily, "a family of real numbers"
        )
        # Losses have no state that every backend keeps: the numbers themselves tell
        # one call from the next.
        total = ops.stop_gradient(ops.sum(parameters) + ops.sum(targets))
        count = ops.cast(ops.mod(ops.abs(total) * 1024, 2.0**20), "int32")
        seed = StatelessSeed(self.seed, count)
        return family.sample_crps(targets, parameters, self.num_samples, seed)

    def get_config(self) -> dict[str, Any]:
        """Returns what the loss can be made from."""
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfhyper")
class BetaNLL(_DistributionLoss):
    """The negative log-likelihood, weighted by the variance to a power.

        -sum_targets v^beta log p(y),   v the variance, without its gradient

    The gradient of a normal distribution's mean is (mean - y) / v by the plain loss, so
    that examples which fit badly, and get a large v, hardly count. With beta = 1 it is
    that of the squared error, with 0 the plain one.

    Args:
        family: a family with a location and a scale (`tfhyper.heads.LocationScale`), or
            its head. The paper has `Normal`.
        beta: float in [0, 1].
        name: name of the loss.
        **kwargs: other arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: targets (batch, ..., targets), or (batch, ...) if there is one.
        y_pred: the output of a head, (batch, ..., units).

    Raises:
        TypeError: if `family` is no such family.
        ValueError: for a `beta` out of range; in a call, for shapes that do not fit.

    Example:

    >>> loss = tfhyper.heads.BetaNLL(tfhyper.heads.NormalHead(), beta=0.5)
    >>> round(float(loss(np.array([0.0]), np.array([[0.0, 2.0]]))), 4)
    3.2242

    Reference:
        Seitzer et al.: On the pitfalls of heteroscedastic uncertainty estimation with
        probabilistic neural networks, ICLR 2022.
    """

    def __init__(
        self,
        family: LocationScale | Head,
        beta: float = 0.5,
        name: str = "beta_nll",
        **kwargs: Any,
    ):
        super().__init__(family, name, **kwargs)
        rule = "a family with a location and a scale, such as Normal()"
        check_instance("family", self.family, LocationScale, rule)
        self.beta = check_number("beta", beta)
        if self.beta > 1:
            raise ValueError(f"`beta` must be in [0, 1]. Received: beta={beta!r}")

    def score(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the weighted negative log-likelihood, (...)."""
        family: LocationScale = check_instance(
            "family", self.family, LocationScale, "a family with a location and a scale"
        )
        weights = ops.power(family.variance(parameters), self.beta)
        logs = family.target_log_prob(targets, parameters)
        return -ops.sum(ops.stop_gradient(weights) * logs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns what the loss can be made from."""
        return {**super().get_config(), "beta": self.beta}
