"""3D convolution with a Gaussian posterior over its kernel."""

import keras

from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesConv3D(GaussianKernel, ConvOperation, keras.layers.Conv3D):
    """3D convolution whose kernel has a Gaussian posterior.

    A drop-in for `keras.layers.Conv3D`, as `tfhyper.layers.BayesConv2D` is for
    `keras.layers.Conv2D`; the posterior, its estimators and its arguments are
    those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv3D`.
        estimator, prior_scale, prior, trainable_prior_scale, prior_mean,
            kl_weight, initial_scale, rho_initializer, bias_posterior, pruned, seed: see
            `tfhyper.layers.BayesConv2D`.

    Call arguments:
        inputs: tensor, (batch, depth, height, width, channels).
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, new_depth, new_height, new_width, filters).

    Raises:
        TypeError, ValueError: as `tfhyper.layers.BayesConv2D`.

    Example:

    >>> layer = tfhyper.layers.BayesConv3D(8, 3, kl_weight=1 / 50_000)
    >>> layer(keras.random.normal((2, 6, 6, 6, 4))).shape
    (2, 4, 4, 4, 8)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """

    point_class = keras.layers.Conv3D
