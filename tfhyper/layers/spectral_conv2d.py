"""2D convolution with a bounded norm."""

import keras

from tfhyper.layers.operations import ConvOperation
from tfhyper.layers.spectral_kernel import SpectralKernel


@keras.saving.register_keras_serializable("tfhyper")
class SpectralConv2D(SpectralKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution whose operator norm is at most `norm_bound`.

    A drop-in for `keras.layers.Conv2D`, as `tfhyper.layers.SpectralDense` is for
    `keras.layers.Dense`. sigma is the norm of the convolution as a linear map, with its
    strides, padding, dilation and groups, for inputs of the size that the layer is
    built for; an axis without a size counts as 32. (The kernel reshaped into a matrix,
    as `keras.layers.SpectralNormalization` has it, has another norm.) Power iteration
    goes by the convolution and its adjoint (Gouk et al., 2021).

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`.
        norm_bound: float > 0, c. In wide residual networks the paper has 6.
        power_iterations: int > 0, at each call in training.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        training: bool, whether to go on with the power iteration.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> layer = tfhyper.layers.SpectralConv2D(8, 3, norm_bound=6.0)
    >>> layer(keras.random.normal((2, 16, 16, 3))).shape
    (2, 14, 14, 8)

    Reference:
        Liu et al.: Simple and principled uncertainty estimation with deterministic
        deep learning via distance awareness, NeurIPS 2020, section 3.2. Miyato et al.:
        Spectral normalization for generative adversarial networks, ICLR 2018. Gouk et
        al.: Regularisation of neural networks by enforcing Lipschitz continuity,
        Machine Learning 110, 2021.
    """

    point_class = keras.layers.Conv2D
