"""A last layer with a Gaussian posterior, averaged over in closed form."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import keras
from keras import ops

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_positive_integer,
    naming,
)
from tfhyper.laplace.curvature import COVARIANCES, Covariance
from tfhyper.tensor_types import Shape, Tensor

Gives: TypeAlias = Literal["scaled_logits", "mean_and_variance"]
GIVES: tuple[Gives, ...] = get_args(Gives)


@keras.saving.register_keras_serializable("tfhyper")
class MarginalDense(keras.layers.Layer):
    """A dense layer whose weights have a Gaussian posterior, in one pass.

    With features phi, a 1 behind them where there is a bias, its outputs have the
    distribution N(f, v): f those of the mean weights, and v by `covariance`

        "by_output"   v_c = sum_r (phi P_c)_r^2
        "shared"      v_c = sum_r (phi P)_r^2 S_rc
        "diagonal"    v_c = sum_r phi_r^2 S_rc

    It is what a network of `LaplacePredictor` ends in for the predictive
    `"closed_form"`; `Laplace` gives its weights their values. It computes in float32
    whatever the policy, and is for prediction: its weights are not trained.

    Args:
        units: int > 0, the number of outputs.
        covariance: `"by_output"`, `"shared"` or `"diagonal"`.
        gives: `"scaled_logits"`, activation(f / sqrt(1 + pi v / 8)), the probit
            approximation of the mean of a sigmoid or a softmax (MacKay, 1992); or
            `"mean_and_variance"`, f and then v, without an activation.
        activation: as of `keras.layers.Dense`, for `"scaled_logits"`.
        use_bias: bool, whether there is a bias.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., features).

    Output shape:
        (batch, ..., units), or (batch, ..., 2 units) of means and variances.

    Raises:
        ValueError: for an argument out of range, or an activation of what has none.

    Example:

    >>> layer = tfhyper.laplace.MarginalDense(
    ...     2, "diagonal", "mean_and_variance", use_bias=False)
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([[1.0, 2.0]]), np.array([[0.25, 0.5]])])
    >>> keras.ops.convert_to_numpy(layer(np.array([[3.0]]))).tolist()
    [[3.0, 6.0, 2.25, 4.5]]

    Reference:
        MacKay: The evidence framework applied to classification networks, Neural
        Computation 4, 1992, section 4.
    """

    def __init__(
        self,
        units: int,
        covariance: Covariance,
        gives: Gives = "scaled_logits",
        activation: str | Callable | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.units = check_positive_integer("units", units)
        self.covariance = check_choice("covariance", covariance, COVARIANCES)
        self.gives = check_choice("gives", gives, GIVES)
        self.use_bias = check_bool("use_bias", use_bias)
        with naming("activation", "an activation of Keras"):
            self.activation = keras.activations.get(activation)
        linear = self.activation is keras.activations.linear
        if gives != "scaled_logits" and not linear:
            raise ValueError(
                '`activation` is for `gives="scaled_logits"`. '
                f"Received: activation={activation!r}, gives={gives!r}"
            )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Makes the mean weights, and what the variance is made of."""
        features = input_shape[-1]
        if features is None:
            raise ValueError(
                "The last axis of the inputs must have a known size. "
                f"Received: input_shape={input_shape}"
            )
        rows, units = features + self.use_bias, self.units
        zeros: dict[str, Any] = {"initializer": "zeros", "trainable": False}
        self.kernel = self.add_weight(shape=(features, units), name="kernel", **zeros)
        self.bias = self.projection = self.scales = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(units,), name="bias", **zeros)
        if self.covariance != "diagonal":
            count = units if self.covariance == "by_output" else 1
            shape = rows, count * rows
            self.projection = self.add_weight(shape=shape, name="projection", **zeros)
        if self.covariance != "by_output":
            self.scales = self.add_weight(shape=(rows, units), name="scales", **zeros)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Returns activations of scaled logits, or means and variances."""
        mean = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            mean = ops.add(mean, self.bias)
        variance = self._variance(inputs)
        if self.gives == "mean_and_variance":
            return ops.concatenate([mean, variance], axis=-1)
        return self.activation(mean * ops.rsqrt(1.0 + math.pi / 8.0 * variance))

    def _variance(self, features: Tensor) -> Tensor:
        if self.projection is None:
            return self._with_one(ops.square(features), self.scales)
        projected = self._with_one(features, self.projection)
        if self.scales is not None:
            return ops.matmul(ops.square(projected), self.scales)
        rows = self.projection.shape[0]
        shape = (*ops.shape(projected)[:-1], self.units, rows)
        return ops.sum(ops.square(ops.reshape(projected, shape)), axis=-1)

    def _with_one(self, features: Tensor, matrix: keras.Variable) -> Tensor:
        """Returns the product with features, and a 1 behind them if there is a bias."""
        if not self.use_bias:
            return ops.matmul(features, matrix)
        return ops.add(ops.matmul(features, matrix[:-1]), matrix[-1])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the outputs."""
        count = 1 if self.gives == "scaled_logits" else 2
        return (*input_shape[:-1], count * self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "units": self.units,
            "covariance": self.covariance,
            "gives": self.gives,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }
