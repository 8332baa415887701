"""Dropout whose rate is learned: Concrete dropout (Gal, Hron and Kendall, 2017)."""

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from tfhyper.checks import check_number
from tfhyper.layers.gaussian_weights import PRIOR_SCALE
from tfhyper.layers.live_config import layer_inside, live_config
from tfhyper.layers.masks import uniform_numbers
from tfhyper.layers.masks_of_examples import FixedMasksOfExamples, MasksOfExamples
from tfhyper.layers.noise import keys_of
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.stock_arguments import known_to_keras
from tfhyper.layers.stock_dropout import mask_of_channels
from tfhyper.layers.variational import KLTerm, VariationalLayer, check_kl_weight
from tfhyper.tensor_types import Tensor

# Defaults of the layer's arguments, and of its kit's.
INITIAL_RATE = 0.1
TEMPERATURE = 0.1


class _Kernel(NamedTuple):
    """Where a layer has the kernel that multiplies its inputs."""

    attribute: str
    argument: str


# Class -> its kernel.
KERNELS: dict[type[keras.layers.Layer], _Kernel] = {
    **dict.fromkeys(
        (
            keras.layers.Conv1D,
            keras.layers.Conv1DTranspose,
            keras.layers.Conv2D,
            keras.layers.Conv2DTranspose,
            keras.layers.Conv3D,
            keras.layers.Conv3DTranspose,
            keras.layers.Dense,
        ),
        _Kernel("kernel", "kernel"),
    ),
    **dict.fromkeys(
        (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
        _Kernel("kernel", "depthwise"),
    ),
    **dict.fromkeys(
        (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
        _Kernel("depthwise_kernel", "depthwise"),
    ),
}


class RelaxedMasks(keras.layers.Layer):
    """Common part of the layers below: a layer, and the masks on its inputs."""

    def __init__(
        self,
        layer: keras.layers.Layer,
        temperature: float = TEMPERATURE,
        activation: Any = None,
        **kwargs: Any,
    ):
        if type(layer) not in KERNELS:
            names = sorted(kind.__name__ for kind in KERNELS)
            raise TypeError(
                f"`layer` must be a layer of Keras whose class is one of {names}. "
                f"Received: layer={layer!r}"
            )
        if kwargs.pop("dtype", None) is not None:
            raise TypeError(
                "`dtype` must be left out: the policy is that of `layer`. Received: "
                "a `dtype`"
            )
        kwargs = {"name": layer.name, "trainable": layer.trainable, **kwargs}
        super().__init__(dtype=layer.dtype_policy, **kwargs)
        self.temperature = check_number("temperature", temperature, positive=True)
        self.layer = layer
        # Its config may name a function as another one: see `live_config`.
        if activation is not None:
            self.layer.activation = known_to_keras("activation", activation)
        self.activation = self.layer.activation
        self.supports_masking = layer.supports_masking

    @property
    def channels_first(self) -> bool:
        """Whether the features are the axis 1 of the inputs, not the last."""
        return getattr(self.layer, "data_format", None) == "channels_first"

    def build_layer(self, input_shape: Any) -> None:
        """Builds the layer, if it is not built."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def call_dropped(
        self, inputs: Tensor, key: Tensor, first: Tensor, logit: Tensor
    ) -> Tensor:
        """Returns layer(z inputs / (1 - p)), the masks z those of a key.

        Args:
            inputs: float tensor (batch, ...).
            key: int32 tensor (2,), seed and count. A negative seed: no dropout.
            first: integer scalar tensor, number of the batch's first example.
            logit: float scalar tensor, log p - log (1 - p).
        """
        examples = ops.shape(inputs)[0]
        shape = list(mask_of_channels(len(inputs.shape), self.channels_first))
        features = inputs.shape[1 if self.channels_first else -1]
        uniform = uniform_numbers(key, first, examples, features)
        odds = ops.log(uniform) - ops.log(1.0 - uniform)
        kept = ops.sigmoid((odds - logit) / self.temperature)
        # 1 / (1 - p) = 1 + p / (1 - p)
        factors = ops.where(key[0] < 0, 1.0, kept * (1.0 + ops.exp(logit)))
        sizes = iter((examples, features))
        shape = [next(sizes) if size is None else size for size in shape]
        factors = ops.cast(ops.reshape(factors, shape), inputs.dtype)
        return self.layer(inputs * factors)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns that of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "layer": keras.saving.serialize_keras_object(self.layer),
            "temperature": self.temperature,
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RelaxedMasks":
        return cls(**{**config, "layer": layer_inside(config)})


@keras.saving.register_keras_serializable("tfhyper")
class ConcreteDropout(MasksOfExamples, VariationalLayer, RelaxedMasks):
    """Dropout before a layer, of a rate p that is learned: Concrete dropout.

        y = layer(z x / (1 - p))
        z = sigmoid((log u - log(1 - u) - log p + log(1 - p)) / temperature)

    with u of U(0, 1) for each feature or channel of each example, the same at all
    positions, so that a draw masks rows of the kernel. z is a relaxed mask: near 0 with
    probability p, else near 1, and p has a gradient. The masks are relaxed in
    prediction too, as in the paper: a hard mask would be of another network than the
    one that was trained. They are drawn and fixed as those of
    `tfhyper.layers.MCDropout`; at the posterior's mean nothing is dropped.

    The loss gains kl_weight * kl_factor * KL, once whatever the number of calls, with

        KL = |kernel|^2 / (2 prior_scale^2 (1 - p)) - K H(p)
        H(p) = -p log p - (1 - p) log(1 - p)

    in nats and up to a constant, where K is the number of features or channels. (In
    equation 3 of the paper the kernel is M = kernel / (1 - p), as it does not divide z
    by 1 - p, and l = 1 / prior_scale.) Beside a loss that is the negative
    log-likelihood of an example, `kl_weight=1 / N`, N the number of training examples,
    makes the sum the negative evidence lower bound; `kl_weight=None` finds it in
    training, as `tfhyper.layers.VariationalLayer` says. A mean squared error is no
    negative log-likelihood: take a head of `tfhyper.heads` that learns its scale, or
    divide by 2 variance.

    Args:
        layer: a convolution, transposed, depthwise, separable or not, or a dense layer
            of Keras, built or not, without a regularizer of its kernel: that is the
            prior's place. Of a separable one the depthwise kernel counts.
        initial_rate: float in 0 < initial_rate < 1, p at the start.
        prior_scale: float > 0, of the prior N(0, prior_scale^2) of the weights.
        temperature: float > 0. The smaller, the harder the masks, and the more varied
            the gradients of p.
        kl_weight: float >= 0, or `None`.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one, which the config then
            holds.
        activation: `None` for that of `layer`, or one that takes its place.
        **kwargs: `keras.layers.Layer` arguments: `name`, by default the layer's, and
            `trainable`. The `dtype` policy is the layer's.

    Input shape:
        As `layer`, floats.

    Output shape:
        As `layer`.

    Call arguments:
        inputs: the tensor.
        training: bool, which of the two counts to use and advance.

    Raises:
        TypeError: for a layer of another class, or a `dtype`.
        ValueError: for a number out of its range, a layer with a regularizer of its
            kernel, or one that is quantized or has LoRA; an unknown activation.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((3,)),
    ...     keras.layers.Dense(16, activation="relu"),
    ...     tfhyper.layers.ConcreteDropout(keras.layers.Dense(1), kl_weight=1 / 200),
    ... ])
    >>> round(float(model.layers[-1].rate), 3)
    0.1

    Reference:
        Gal, Hron, Kendall: Concrete dropout, NeurIPS 2017.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        initial_rate: float = INITIAL_RATE,
        prior_scale: float = PRIOR_SCALE,
        temperature: float = TEMPERATURE,
        kl_weight: float | None = None,
        seed: int | None = None,
        activation: Any = None,
        **kwargs: Any,
    ):
        super().__init__(layer, temperature, activation, **kwargs)
        self._check_layer(layer)
        self.initial_rate = check_number(
            "initial_rate", initial_rate, positive=True, below=1
        )
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)
        self.kl_weight = check_kl_weight(kl_weight)
        self.seed = check_seed(seed)

    @staticmethod
    def _check_layer(layer: keras.layers.Layer) -> None:
        name = f"{KERNELS[type(layer)].argument}_regularizer"
        if getattr(layer, name) is not None:
            raise ValueError(
                f"`layer` must have no {name}: the prior is the regularizer. "
                f"Received: layer '{layer.name}' with {getattr(layer, name)!r}"
            )
        if getattr(layer, "quantization_mode", None) is not None:
            raise ValueError(
                "`layer` must have weights of full precision. Received: layer "
                f"'{layer.name}', quantized to {layer.quantization_mode!r}"
            )
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                "`layer` must have a kernel that is one variable. Received: layer "
                f"'{layer.name}' with LoRA"
            )

    def build(self, input_shape: Any) -> None:
        """Builds the layer, and makes the rate, which has the term of the loss."""
        self.build_counter()
        self.build_kl_factor()
        self.build_layer(input_shape)
        # Not p, which is bounded.
        self.rate_logit = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(
                math.log(self.initial_rate) - math.log1p(-self.initial_rate)
            ),
            regularizer=KLTerm(self),
            autocast=False,
            name="rate_logit",
        )
        give_role(POSTERIOR, [self.rate_logit, self._kernel()])
        self._features = input_shape[1 if self.channels_first else -1]
        self.built = True

    def _kernel(self) -> keras.Variable:
        return getattr(self.layer, KERNELS[type(self.layer)].attribute)

    @property
    def rate(self) -> Tensor:
        """The learned rate p, a scalar tensor."""
        return ops.sigmoid(ops.convert_to_tensor(self.rate_logit))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        self.count_examples(inputs, training)
        key, first = self.next_key(training), ops.zeros((), "int32")
        return self.call_dropped(inputs, key, first, self._logit())

    def _logit(self) -> Tensor:
        return ops.cast(self.rate_logit, "float32")

    def kl_divergence(self) -> Tensor:
        """Returns KL in nats, up to a constant: a scalar tensor."""
        logit = ops.convert_to_tensor(self.rate_logit)
        squares = ops.sum(ops.square(ops.cast(self._kernel(), logit.dtype)))
        prior = squares * (1.0 + ops.exp(logit)) / (2.0 * self.prior_scale**2)
        # log p = logit - softplus(logit), log(1 - p) = -softplus(logit)
        entropy = ops.softplus(logit) - ops.sigmoid(logit) * logit
        return prior - self._features * entropy

    def point_layer(self) -> keras.Layer:
        layer = type(self.layer).from_config(live_config(self.layer))
        return FixedConcreteDropout(layer, self.temperature, name=self.name)

    def point_weights(self, noise: Tensor) -> list:
        own = [keys_of(noise), ops.zeros((), "int32"), self._logit()]
        return [*own, *self.layer.weights]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "initial_rate": self.initial_rate,
            "prior_scale": self.prior_scale,
            "kl_weight": self.kl_weight,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfhyper")
class FixedConcreteDropout(FixedMasksOfExamples, RelaxedMasks):
    """A layer with the masks of one draw: what `ConcreteDropout` becomes in it.

    Args:
        layer: as `ConcreteDropout`, as are the next.
        temperature: float > 0.
        activation: `None`, or a function.
        **kwargs: `keras.layers.Layer` arguments such as `name`.
    """

    def build(self, input_shape: Any) -> None:
        self.build_masks()
        self.rate_logit = self.add_weight(
            shape=(),
            initializer="zeros",
            trainable=False,
            autocast=False,
            dtype="float32",
            name="rate_logit",
        )
        self.build_layer(input_shape)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        logit = ops.convert_to_tensor(self.rate_logit)
        return self.call_dropped(inputs, *self.masks(), logit)
