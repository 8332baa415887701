"""Transposed 2D convolution with a Gaussian posterior over its kernel."""

import keras

from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.operations import ConvTransposeOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesConv2DTranspose(
    GaussianKernel, ConvTransposeOperation, keras.layers.Conv2DTranspose
):
    """Transposed 2D convolution whose kernel has a Gaussian posterior.

    A drop-in for `keras.layers.Conv2DTranspose`, as `tfhyper.layers.BayesConv2D` is for
    `keras.layers.Conv2D`; the posterior, its estimators and its arguments are
    those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2DTranspose`.
        estimator, prior_scale, prior, trainable_prior_scale, prior_mean,
            kl_weight, initial_scale, rho_initializer, bias_posterior, pruned, seed: see
            `tfhyper.layers.BayesConv2D`.

    Call arguments:
        inputs: tensor, (batch, height, width, channels).
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, new_height, new_width, filters).

    Raises:
        TypeError, ValueError: as `tfhyper.layers.BayesConv2D`.

    Example:

    >>> layer = tfhyper.layers.BayesConv2DTranspose(8, 3, strides=2, kl_weight=1e-4)
    >>> layer(keras.random.normal((2, 8, 8, 4))).shape
    (2, 17, 17, 8)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """

    point_class = keras.layers.Conv2DTranspose
