"""A Gaussian process as the last layer: random features and a Laplace posterior."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_number,
    check_positive_integer,
)
from tfhyper.layers.noise import MEAN, NoiseKind, generator_of, is_mean
from tfhyper.layers.one_pass import (
    MEAN_FIELD_FACTOR,
    LastLayer,
    Link,
    mean_field,
    settle_link,
)
from tfhyper.layers.random_features import RandomFeatures
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.stock_arguments import known_to_keras
from tfhyper.layers.variational import EpochBegin
from tfhyper.tensor_types import Shape, Tensor

Covariance: TypeAlias = Literal["shared", "per_class"]
COVARIANCES: tuple[Covariance, ...] = get_args(Covariance)
Inference: TypeAlias = Literal["draws", "mean_field"]
INFERENCES: tuple[Inference, ...] = get_args(Inference)
# Defaults of the layer's arguments, and of its kit's.
NUM_FEATURES = 1024
AMPLITUDE = 1.0
RIDGE = 1.0
COVARIANCE: Covariance = "shared"
INFERENCE: Inference = "draws"


@keras.saving.register_keras_serializable("tfhyper")
class RandomFeatureGaussianProcess(LastLayer, SeededNoise, RandomFeatures):
    """A Gaussian process over logits, by random features: the last layer of SNGP.

    In place of the last `keras.layers.Dense` of a classifier. With D fixed random
    features of the inputs h, which are normalised first,

        phi(h) = amplitude sqrt(2 / D) cos(h W / length_scale + b),
            W ~ N(0, 1),  b ~ U(0, 2 pi)

    the logits are phi(h) beta, about a Gaussian process with the kernel amplitude^2
    exp(-|h - h'|^2 / (2 length_scale^2)). beta is trained, and its posterior is
    Laplace's approximation with the prior N(0, 1 / ridge),

        q(beta_k) = N(beta_k, P^-1),    P = ridge I + sum_i w_i phi_i phi_i^T

    with w_i = p_ik (1 - p_ik) of training example i, p its probabilities when it was
    seen: of class k (`covariance="per_class"`), or the largest of the classes, one
    matrix for all (`"shared"`). So the variance of a logit, phi^T P^-1 phi, is small
    near the training data and the prior's, amplitude^2 / ridge, far away from them.
    Before the first step of training the posterior is the prior.

    P is summed up in training. With `momentum=None` it is the sum over one epoch: the
    first step after Keras reset the metrics of the model, as `fit` and
    `tfhyper.training.Trainer` do when an epoch begins, starts anew. In a loop of your
    own call `reset_covariance()` or `model.reset_metrics()` there: else it goes on, and
    counts examples again. (`train_on_batch` resets the metrics at each step, so that
    the sum is over one batch: give a momentum there.) With a momentum it is
    `num_examples` times a moving average,

        A <- momentum A + (1 - momentum) mean_i w_i phi_i phi_i^T

    divided by 1 - momentum^steps.

    Outputs in training are the logits. Outside of it, a call gives the logits of the
    mean-field approximation, phi beta / sqrt(1 + mean_field_factor variance), whose
    softmax is about the mean over the posterior: one pass predicts with uncertainty.
    In a draw of `tfhyper.PosteriorPredictor` beta is drawn, so that the predictor has
    an epistemic uncertainty (`inference="draws"`); with `inference="mean_field"`, which
    can be set on a trained layer, the layer draws nothing, and a predictor of one draw
    has the mean-field outputs. At the posterior's mean the logits are phi beta.

    Args:
        units: int > 0, the number of logits.
        num_features: int > 0, D.
        length_scale: float > 0, of the kernel, for inputs as they are after the
            normalisation; `None`: the square root of their number.
        amplitude: float > 0. sqrt(D / 2) gives features between -1 and 1.
        ridge: float > 0, precision of the prior.
        normalize_inputs: bool, whether inputs are normalised as by
            `keras.layers.LayerNormalization`.
        covariance: `"shared"` or `"per_class"`, of D^2 or units D^2 numbers.
        momentum: float in 0 < momentum < 1, or `None` for the exact sum.
        num_examples: int > 0, the number N of training examples, or `None`. If given,
            the loss gains the prior's term ridge |beta|^2 / (2 N), and beta is left out
            of weight decay, so that beta is the mode of its posterior beside a loss
            that is the mean over the batch.
        link: `"softmax"` or `"sigmoid"`: how logits become the probabilities p. `None`:
            sigmoid for one unit or behind that activation, else softmax.
        inference: `"draws"` or `"mean_field"`: see above.
        mean_field_factor: float >= 0; pi / 8 in theory, more for a more careful
            network (25 in the published runs on CIFAR-10). 0 leaves the logits alone.
        activation: `None`, softmax or sigmoid.
        kernel_initializer: initializer of beta.
        seed: int in 0 <= seed < 2**31, of W and b, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: tensor, (batch, ..., size).
        training: bool, whether to add to P and give plain logits.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for an argument out of range, a momentum without `num_examples`, or
            an activation or link that does not fit.

    Example:

    >>> layer = tfhyper.layers.RandomFeatureGaussianProcess(10, num_features=64)
    >>> layer(keras.random.normal((2, 8)), training=True).shape
    (2, 10)
    >>> layer.logit_variance(keras.ops.zeros((3, 8))).shape
    (3, 1)

    Reference:
        Liu et al.: Simple and principled uncertainty estimation with deterministic
        deep learning via distance awareness, NeurIPS 2020, section 3.1 and
        algorithm 1. Rahimi and Recht: Random features for large-scale kernel machines,
        NeurIPS 2007.
    """

    # What is put in place of a trained layer keeps nothing of its kernel.
    starts_anew = True

    def __init__(
        self,
        units: int,
        num_features: int = NUM_FEATURES,
        *,
        length_scale: float | None = None,
        amplitude: float = AMPLITUDE,
        ridge: float = RIDGE,
        normalize_inputs: bool = True,
        covariance: Covariance = COVARIANCE,
        momentum: float | None = None,
        num_examples: int | None = None,
        link: Link | None = None,
        inference: Inference = INFERENCE,
        mean_field_factor: float = MEAN_FIELD_FACTOR,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # Half the precision is not enough for a matrix that is inverted.
        self.autocast = False
        self.units = check_positive_integer("units", units)
        self.num_features = check_positive_integer("num_features", num_features)
        if length_scale is not None:
            check_number("length_scale", length_scale, positive=True)
        self.length_scale = length_scale
        self.amplitude = check_number("amplitude", amplitude, positive=True)
        self.ridge = check_number("ridge", ridge, positive=True)
        self.normalize_inputs = check_bool("normalize_inputs", normalize_inputs)
        self.covariance = check_choice("covariance", covariance, COVARIANCES)
        if momentum is not None:
            check_number("momentum", momentum, positive=True, below=1)
        self.momentum = momentum
        if num_examples is not None:
            check_positive_integer("num_examples", num_examples)
        elif momentum is not None:
            raise ValueError(
                "`num_examples` must be given with a `momentum`: a moving average is "
                f"of one example. Received: num_examples=None, momentum={momentum!r}"
            )
        self.num_examples = num_examples
        self.activation = known_to_keras("activation", activation)
        self._given_link = link
        self.link = settle_link(link, self.units, self.activation)
        self.inference = inference
        self.mean_field_factor = check_number("mean_field_factor", mean_field_factor)
        self.kernel_initializer = known_to_keras(
            "kernel_initializer", kernel_initializer
        )
        self.seed = check_seed(seed)

    @property
    def inference(self) -> Inference:
        """Whether a predictor draws, or has mean-field outputs. It can be set."""
        return self._inference

    @inference.setter
    def inference(self, inference: Inference) -> None:
        self._inference = check_choice("inference", inference, INFERENCES)
        draws = inference == "draws"
        self.noise_kind = NoiseKind.SEED if draws else NoiseKind.NONE

    def build(self, input_shape: Shape) -> None:
        """Makes the features, beta, and what P is summed up in."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must have the axes (batch, ..., size), the last one of a "
                f"known size. Received: inputs of the shape {tuple(input_shape)}"
            )
        self.build_features(input_shape)
        self.draw_features(self.seed)
        self.beta = self.add_weight(
            shape=(self.num_features, self.units),
            initializer=self.kernel_initializer,
            regularizer=None if self.num_examples is None else _Prior(self),
            autocast=False,
            name="beta",
        )
        if self.num_examples is not None:
            give_role(POSTERIOR, [self.beta])
        classes = (self.units,) if self.covariance == "per_class" else ()
        # Each replica sums up its own part; outside of them their sum is read.
        self.outer_products, self.steps_weight = (
            keras.Variable(
                "zeros",
                shape=shape,
                dtype=self.variable_dtype,
                trainable=False,
                autocast=False,
                aggregation="sum",
                synchronization="on_read",
                name=name,
            )
            for shape, name in (
                ((*classes, self.num_features, self.num_features), "outer_products"),
                ((), "steps_weight"),
            )
        )
        self.starts = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="ones",
            trainable=False,
            aggregation="only_first_replica",
            name="starts",
        )
        self._epochs = EpochBegin(self._begin_epoch)
        self.built = True

    def _begin_epoch(self) -> None:
        # The sum is let go of when the next one begins, not before: predictions between
        # two epochs, and after the last one, have it.
        if self.momentum is None:
            self.starts.assign(1)

    def reset_covariance(self) -> None:
        """Forgets the training data: the posterior is the prior again.

        For loops of your own, when an epoch begins.

        Raises:
            ValueError: if the layer is not built.
        """
        self._check_built()
        for variable in (self.outer_products, self.steps_weight):
            variable.assign(np.zeros(variable.shape))

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' must be built before its posterior is asked for: "
                "call it, or the model that it is in, on inputs."
            )

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns logits, those of the mean-field approximation outside of training."""
        features = self.features(inputs)
        logits = ops.matmul(features, self.beta)
        if training:
            self._accumulate(features, logits)
        elif self.mean_field_factor:
            variance = _variance(features, self._root())
            logits = mean_field(logits, variance, self.mean_field_factor)
        return self._activate(logits)

    def _activate(self, logits: Tensor) -> Tensor:
        logits = ops.cast(logits, self.compute_dtype)
        return logits if self.activation is None else self.activation(logits)

    def _accumulate(self, features: Tensor, logits: Tensor) -> None:
        """Adds the examples of a step to what P is summed up in."""
        features, logits = map(ops.stop_gradient, (features, logits))
        features = ops.reshape(features, (-1, self.num_features))
        logits = ops.reshape(logits, (-1, self.units))
        link = ops.softmax if self.link == "softmax" else ops.sigmoid
        probs = link(logits)
        weights = probs * (1.0 - probs)
        if self.covariance == "shared":
            weights = ops.max(weights, axis=-1, keepdims=True)
        weighted = ops.expand_dims(ops.transpose(weights), -1) * features
        products = ops.matmul(ops.transpose(weighted, (0, 2, 1)), features)
        if self.covariance == "shared":
            products = products[0]
        kept: Any = 1.0
        if self.momentum is not None:
            rows = ops.cast(ops.shape(features)[0], products.dtype)
            products = products * ((1.0 - self.momentum) / rows)
            kept = self.momentum
        kept = ops.where(self.starts > 0, 0.0, kept)
        kept = ops.cast(kept, products.dtype)
        self.outer_products.assign(self.outer_products * kept + products)
        step = 1.0 if self.momentum is None else 1.0 - self.momentum
        self.steps_weight.assign(self.steps_weight * kept + step)
        self.starts.assign(ops.zeros((), "int32"))

    def precision_matrix(self) -> Tensor:
        """Returns P: (D, D), or (units, D, D) with `covariance="per_class"`.

        Raises:
            ValueError: if the layer is not built.
        """
        self._check_built()
        found = ops.convert_to_tensor(self.outer_products)
        if self.momentum is not None:
            weight = ops.maximum(ops.convert_to_tensor(self.steps_weight), 1e-12)
            found = found * (float(self.num_examples or 0) / weight)
        return found + self.ridge * ops.eye(self.num_features, dtype=found.dtype)

    def covariance_matrix(self) -> Tensor:
        """Returns P^-1, of the shape of `precision_matrix()`.

        Raises:
            ValueError: if the layer is not built.
        """
        root = self._root()
        return ops.matmul(ops.swapaxes(root, -1, -2), root)

    def logit_variance(self, inputs: Tensor) -> Tensor:
        """Returns the variance of the logits, phi^T P^-1 phi.

        Args:
            inputs: tensor (batch, ..., size), what the layer is called with.

        Returns:
            Tensor (batch, ..., 1), or (batch, ..., units) with
            `covariance="per_class"`.

        Raises:
            ValueError: if the layer is not built.
        """
        self._check_built()
        return _variance(self.features(inputs), self._root())

    def _factor(self) -> Tensor:
        """Returns the lower triangular L with P = L L^T."""
        return ops.cholesky(self.precision_matrix())

    def _root(self) -> Tensor:
        """Returns R = L^-1, so that P^-1 = R^T R."""
        factor = self._factor()
        eye = ops.eye(self.num_features, dtype=factor.dtype)
        eye = ops.broadcast_to(eye, factor.shape)
        return ops.solve_triangular(factor, eye, lower=True)

    def point_layer(self) -> keras.Layer:
        """Returns the layer of a draw, which is `FeatureLogits`."""
        return FeatureLogits(
            self.units,
            self.num_features,
            self.length_scale,
            self.amplitude,
            self.normalize_inputs,
            covariance=self.covariance if self.inference == "mean_field" else None,
            mean_field_factor=self.mean_field_factor,
            activation=self.activation,
            name=self.name,
            dtype=self.dtype_policy,
        )

    def point_weights(self, noise: Tensor) -> list:
        """Returns the features, and a drawn beta; at the mean the trained one."""
        (weights,) = self.point_weights_of_draws([noise])
        return weights

    def point_weights_of_draws(self, noises: Sequence) -> Iterator[list]:
        """Yields the `point_weights` of each noise; P is factorised once."""
        if self.inference == "mean_field":
            weights = [*self.feature_variables, self.beta, self._root()]
            yield from (weights for _ in noises)
            return
        upper = None
        for noise in noises:
            beta = ops.convert_to_tensor(self.beta)
            if not is_mean(noise):
                if upper is None:
                    upper = ops.swapaxes(self._factor(), -1, -2)
                normal = generator_of(noise).normal(self.beta.shape)
                beta = beta + self._deviation(upper, ops.cast(normal, beta.dtype))
            yield [*self.feature_variables, beta]

    def _deviation(self, upper: Tensor, normal: Tensor) -> Tensor:
        """Returns L^-T eps, of the covariance P^-1, for eps of the shape of beta."""
        if self.covariance == "shared":
            return ops.solve_triangular(upper, normal, lower=False)
        columns = ops.expand_dims(ops.transpose(normal), -1)
        found = ops.solve_triangular(upper, columns, lower=False)
        return ops.transpose(ops.squeeze(found, -1))

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the seed of NumPy's generator, (1,), or `MEAN` for mean-field."""
        if not self.is_random:
            return MEAN
        return super().sample_noise(seed, index, ensemble_seed)

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns a key, or `MEAN` for mean-field."""
        return super().fresh_noise(seed, count, index) if self.is_random else MEAN

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise that gives the trained beta."""
        return MEAN

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (batch, ..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_features": self.num_features,
            "length_scale": self.length_scale,
            "amplitude": self.amplitude,
            "ridge": self.ridge,
            "normalize_inputs": self.normalize_inputs,
            "covariance": self.covariance,
            "momentum": self.momentum,
            "num_examples": self.num_examples,
            "link": self._given_link,
            "inference": self.inference,
            "mean_field_factor": self.mean_field_factor,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("tfhyper")
class FeatureLogits(RandomFeatures):
    """What `RandomFeatureGaussianProcess` is in a draw: fixed features, a fixed beta.

    Args:
        units: int > 0, as `RandomFeatureGaussianProcess`, as are the next four.
        num_features: int > 0.
        length_scale: float > 0 or `None`.
        amplitude: float > 0.
        normalize_inputs: bool.
        covariance: `None`, or which one is held for mean-field outputs.
        mean_field_factor: float >= 0.
        activation: a function or its name.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, ..., size).

    Output shape:
        (batch, ..., units).
    """

    def __init__(
        self,
        units: int,
        num_features: int,
        length_scale: float | None,
        amplitude: float,
        normalize_inputs: bool,
        covariance: Covariance | None = None,
        mean_field_factor: float = MEAN_FIELD_FACTOR,
        activation: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.autocast = False
        self.units, self.num_features = units, num_features
        self.length_scale, self.amplitude = length_scale, amplitude
        self.normalize_inputs = normalize_inputs
        self.covariance, self.mean_field_factor = covariance, mean_field_factor
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        """Makes variables for the weights of a draw."""
        self.build_features(input_shape, trainable=False)
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        shape = (self.num_features, self.units)
        self.beta = self.add_weight(shape=shape, name="beta", **options)
        if self.covariance is not None:
            classes = (self.units,) if self.covariance == "per_class" else ()
            shape = (*classes, self.num_features, self.num_features)
            self.root = self.add_weight(shape=shape, name="root", **options)
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """Returns logits or, with an activation, probabilities."""
        features = self.features(inputs)
        logits = ops.matmul(features, self.beta)
        if self.covariance is not None:
            variance = _variance(features, ops.convert_to_tensor(self.root))
            logits = mean_field(logits, variance, self.mean_field_factor)
        return self.activation(ops.cast(logits, self.compute_dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (batch, ..., units)."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_features": self.num_features,
            "length_scale": self.length_scale,
            "amplitude": self.amplitude,
            "normalize_inputs": self.normalize_inputs,
            "covariance": self.covariance,
            "mean_field_factor": self.mean_field_factor,
            "activation": keras.activations.serialize(self.activation),
        }


class _Prior(keras.regularizers.Regularizer):
    """The prior's term of the loss: ridge |beta|^2 / (2 N)."""

    def __init__(self, layer: RandomFeatureGaussianProcess):
        self._factor = layer.ridge / (2.0 * float(layer.num_examples or 1))

    def __call__(self, x: Any) -> Tensor:
        return self._factor * ops.sum(ops.square(x))


def _variance(features: Tensor, root: Tensor) -> Tensor:
    """Returns |R phi|^2, (..., 1) for one R, (..., classes) for one of each class."""
    if len(root.shape) == 2:
        images = ops.matmul(features, ops.transpose(root))
        return ops.sum(ops.square(images), axis=-1, keepdims=True)
    images = ops.einsum("...d,ked->...ke", features, root)
    return ops.sum(ops.square(images), axis=-1)
