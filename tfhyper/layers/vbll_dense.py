"""Variational Bayesian last layer of classifiers."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers.last_layer_posterior import LastLayerPosterior
from tfhyper.layers.one_pass import (
    MEAN_FIELD_FACTOR,
    Link,
    mean_field,
    settle_link,
)
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class VBLLDense(LastLayerPosterior, keras.layers.Dense):
    """The last layer of a classifier, with a Gaussian posterior, trained without draws.

    In place of the last `keras.layers.Dense`. Its kernel has columns w_k ~ N(mean_k,
    S_k), its logits a noise with the learned scales s_k, so that over both

        z_k ~ N(m_k, v_k),   m_k = x . mean_k + bias_k,   v_k = x^T S_k x + s_k^2

    In training the outputs are the means m, and the layer adds to the loss

        mean over the batch of  log sum_k exp(m_k + v_k / 2) - log sum_k exp(m_k)

    beside the cross-entropy of the outputs, which has -m_y + log sum_k exp(m_k).
    Together they are Jensen's bound of the expected cross-entropy (Harrison et al.,
    2024, section 3.2), in one pass and without a draw. (Sample and class weights, and
    a class that the loss ignores, do not reach the layer's part.) The KL divergence
    from the prior N(0, (prior_scale h)^2), h = sqrt(2 / fan_in), and the noise's prior
    are the layer's term of the loss, by `kl_weight`.

    With `link="sigmoid"` each output is a label by itself: in place of log sum exp
    stands log(1 + exp), the mean over labels, as in Keras' binary cross-entropy.

    Outside of training a call gives mean-field logits, m / sqrt(1 + pi v / 8): one
    pass predicts with uncertainty. In a draw of `tfhyper.PosteriorPredictor` it is a
    `keras.layers.Dense` with a drawn kernel, and the noise, which is no part of the
    weights, is averaged over in the same way: logits z_k / sqrt(1 + pi s_k^2 / 8).

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`; `activation` must be
            `None`, softmax or sigmoid. The bias has no posterior.
        covariance: `"dense"`, `"diagonal"` or `"low_rank"`: of each S_k. Dense ones
            hold units fan_in^2 numbers.
        rank: int > 0, with `"low_rank"`, of what is beside the diagonal.
        prior_scale: float > 0.
        noise_scale: float >= 0, the scale s of all logits if it is known, 0 for none;
            `None`: learned, with a prior.
        noise_prior_scale: float > 0, scale of the noise's inverse Wishart prior; `None`
            for 1.
        noise_dof: float >= 0, its degrees of freedom.
        link: `"softmax"`, `"sigmoid"`, or `None`: sigmoid for one unit or behind that
            activation, else softmax.
        mean_field_factor: float >= 0, in place of pi / 8.
        kl_weight: float >= 0, give 1 / N with N training examples; `None`: found in
            training, see `tfhyper.layers.VariationalLayer`.
        initial_scale: float > 0, deviation of the posterior at the start, times h.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool, whether to give means and add to the loss.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for an argument out of range, or an activation or link that does
            not fit.

    Example:

    >>> head = tfhyper.layers.VBLLDense(10, kl_weight=1 / 50_000)
    >>> model = keras.Sequential([keras.Input((8,)), head])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("adam", loss)
    >>> model(np.ones((2, 8))).shape
    (2, 10)

    Reference:
        Harrison, Willes, Snoek: Variational Bayesian last layers, ICLR 2024.
    """

    point_class = keras.layers.Dense

    def __init__(
        self,
        units: int,
        *args: Any,
        link: Link | None = None,
        mean_field_factor: float = MEAN_FIELD_FACTOR,
        **kwargs: Any,
    ):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
        self._given_link = link
        self.link = settle_link(link, self.units, self.activation)
        self.mean_field_factor = check_number("mean_field_factor", mean_field_factor)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns means in training, and mean-field logits else."""
        self.count_examples(inputs, training)
        mean, variance = self.output_moments(inputs)
        variance = variance + ops.square(self._noise_scales())
        if training:
            self.add_loss(self.bound_penalty(mean, variance))
        else:
            mean = mean_field(mean, variance, self.mean_field_factor)
        outputs = self.to_compute_dtype(mean)
        return outputs if self.activation is None else self.activation(outputs)

    def bound_penalty(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Returns what the bound is above the cross-entropy of the means: a scalar.

        Args:
            mean: tensor (batch, ..., units) of logits.
            variance: tensor of the same shape, of their variances.
        """
        above = mean + 0.5 * variance
        if self.link == "sigmoid":
            return ops.mean(ops.softplus(above) - ops.softplus(mean))
        return ops.mean(ops.logsumexp(above, axis=-1) - ops.logsumexp(mean, axis=-1))

    def point_weights(self, noise: Tensor) -> list:
        """Returns a drawn kernel and the bias, scaled for the noise of the logits."""
        variance = ops.square(self._noise_scales())
        kernel = self._sample_kernel(noise)
        bias = None if self.bias is None else ops.convert_to_tensor(self.bias)
        if self.noise_scale != 0:
            factor = self.mean_field_factor
            kernel = mean_field(kernel, variance, factor)
            bias = None if bias is None else mean_field(bias, variance, factor)
        return self.with_bias(kernel, bias)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "link": self._given_link,
            "mean_field_factor": self.mean_field_factor,
        }
