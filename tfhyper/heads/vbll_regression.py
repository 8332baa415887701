"""Variational Bayesian last layer of regressions."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_positive_integer
from tfhyper.heads.head import Head
from tfhyper.heads.normal import Normal
from tfhyper.layers.last_layer_posterior import LastLayerPosterior
from tfhyper.tensor_types import Shape, Tensor


@keras.saving.register_keras_serializable("tfhyper")
class VBLLRegression(LastLayerPosterior, keras.layers.Dense, Head):
    """The last layer of a regression, with a Gaussian posterior and a learned noise.

    A head that has weights of its own, and stands in place of the last
    `keras.layers.Dense`: of its inputs x it gives the means and the standard deviations
    of normal distributions, one of each target. Its kernel has columns w_k ~ N(mean_k,
    S_k), and the targets a noise with the scales s_k,

        y_k ~ N(x . w_k + bias_k, s_k^2)

    Train it by `tfhyper.heads.NegativeLogLikelihood(head)`. In training the outputs are
    x . mean_k + bias_k and s_k, and the layer adds to the loss

        mean over the batch of  sum_k x^T S_k x / (2 s_k^2)

    Together that is the expected negative log-likelihood in closed form (Harrison et
    al., 2024, section 3.1), in one pass and without a draw. The KL divergence from the
    prior N(0, (prior_scale h)^2), h = sqrt(2 / fan_in), and the noise's prior are the
    layer's term of the loss, by `kl_weight`. With fixed inputs, a known noise and dense
    covariances its optimum is Bayesian linear regression.

    Outside of training a call gives the predictive distribution in closed form, the
    same means and sqrt(x^T S_k x + s_k^2). In a draw of `tfhyper.PosteriorPredictor`
    the kernel is drawn and the standard deviations are the noise's: the draws' means
    differ, and are the epistemic part of the variance.

    Args:
        units: int > 0, how many targets there are.
        *args, **kwargs: the other arguments of `keras.layers.Dense`; there is no
            activation. The bias has no posterior.
        covariance: `"dense"`, `"diagonal"` or `"low_rank"`: of each S_k.
        rank: int > 0, with `"low_rank"`, of what is beside the diagonal.
        prior_scale: float > 0.
        noise_scale: float > 0, the scale s of all targets if it is known; `None`:
            learned, with a prior.
        noise_prior_scale: float > 0, scale of the noise's inverse Wishart prior, in the
            square of the targets' unit; `None` for 0.01.
        noise_dof: float >= 0, its degrees of freedom.
        kl_weight: float >= 0, give 1 / N with N training examples; `None`: found in
            training, see `tfhyper.layers.VariationalLayer`.
        initial_scale: float > 0, deviation of the posterior at the start, times h.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Attributes:
        family: `tfhyper.heads.Normal` of so many targets.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool, whether to leave the posterior's variance to the loss.

    Output shape:
        (batch, ..., 2 units): see `tfhyper.heads.Normal`.

    Raises:
        ValueError: for an argument out of range, or an activation.

    Example:

    >>> head = tfhyper.heads.VBLLRegression(1, kl_weight=1 / 500)
    >>> model = keras.Sequential([keras.Input((8,)), head])
    >>> model.compile("adam", tfhyper.heads.NegativeLogLikelihood(head))
    >>> tfhyper.PosteriorPredictor(model, 4).predict(np.ones((5, 8))).mean.shape
    (5, 1)

    Reference:
        Harrison, Willes, Snoek: Variational Bayesian last layers, ICLR 2024.
    """

    point_class = keras.layers.Dense
    noise_prior_default = 0.01
    noise_is_needed = True
    # Not that of other heads, which have no weights: how many targets there are.
    units: int = 0

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
        if self.activation is not keras.activations.linear:
            raise ValueError(
                "`activation` must be None: the outputs are means and standard "
                f"deviations. Received: activation={self.activation!r}"
            )
        self.family = Normal(self.units)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns means and standard deviations, (batch, ..., 2 units)."""
        self.count_examples(inputs, training)
        mean, variance = self.output_moments(inputs)
        noise = ops.square(self._noise_scales())
        if training:
            self.add_loss(self.bound_penalty(variance))
            variance = ops.zeros_like(variance)
        outputs = ops.concatenate([mean, ops.sqrt(variance + noise)], axis=-1)
        return self.to_compute_dtype(outputs)

    def bound_penalty(self, variance: Tensor) -> Tensor:
        """Returns what the bound is above the loss of the means: a scalar.

        Args:
            variance: tensor (batch, ..., units), x^T S_k x.
        """
        noise = ops.square(self._noise_scales())
        return ops.mean(ops.sum(0.5 * variance / noise, axis=-1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (batch, ..., 2 units)."""
        return (*input_shape[:-1], 2 * self.units)

    def point_layer(self) -> keras.Layer:
        """Returns a dense layer that gives means and, by its bias, the noise."""
        return keras.layers.Dense(
            2 * self.units, name=self.name, dtype=self.dtype_policy
        )

    def point_weights(self, noise: Tensor) -> list:
        """Returns a drawn kernel beside zeros, the bias beside the noise's scales."""
        kernel, scales = self._sample_kernel(noise), self._noise_scales()
        bias = ops.zeros_like(scales) if self.bias is None else self.bias
        return [
            ops.concatenate([kernel, ops.zeros_like(kernel)], axis=-1),
            ops.concatenate([ops.convert_to_tensor(bias), scales]),
        ]
