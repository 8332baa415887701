"""2D convolution layer whose kernel a generator makes from noise."""

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperConv2D(GeneratedKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.Conv2D`. `layer(x)` draws its own code z at each
    call; `layer(x, code)` takes a code, such as a `LatentCode` that other layers
    share. One kernel serves the whole batch. With V and U the generator's
    weights, both without bias,

        kernel = mean + deviation_scale reshape(relu(z V) U) / sqrt(hidden_units)
        kernel = reshape(relu(z V) U)

    with a trained mean, the default, and in the paper's form, `mean_kernel=False`.
    With the defaults a network learns at least as well as with plain layers in as many
    epochs (`benchmarks/dropins.py`); the paper's form with its N(0, 1),
    `prior="normal"`, needs hundreds.

    Outside of training a call is one draw, and BatchNorm behind it has moving averages
    that fit no draw: judge a network by `tfhyper.PosteriorPredictor`, and while it is
    trained by `tfhyper.training.PosteriorValidation`, not by `validation_data`, or a
    `MovingAveragesWarning` says so.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`: filters,
            kernel_size, strides, padding, dilation_rate, groups, data_format,
            activation, use_bias, initializers, regularizers, constraints.
            `kernel_regularizer` acts on the kernel that was drawn.
            `kernel_initializer` (default `"he_normal"`) and `kernel_constraint`
            are those of the mean kernel; without one, a constraint is refused.
        hidden_units: int > 0, size of the generator's hidden layer.
        code_units: int > 0, size of the layer's own code. A code that is given
            in the call brings its own size.
        prior: distribution of the layer's own code, see `LatentCode`.
        seed: int in 0 <= seed < 2**31 of the layer's own codes, or `None` for a
            fresh one.
        mean_kernel: bool. `True`: kernel = trained mean + deviation_scale x
            generated. The mean starts from `kernel_initializer`. `False`: the
            paper's form, kernel = generated.
        deviation_scale: float >= 0, about the standard deviation of the kernel
            over that of its mean, at the start of training.
        rank: int > 0, R, or `None`. With it, and with `mean_kernel=True`, the generator
            makes R factors of inputs and outputs in place of a kernel,

                kernel = mean (1 + deviation_scale sum_j a_j b_j^T / sqrt(R))

            by the entry, the same at all places of the kernel, as in BatchEnsemble
            (Wen et al., 2020): hidden_units R (inputs + outputs) weights in place of
            hidden_units times those of the kernel.
        generator_regularizer: regularizer of the generator's weights.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for arguments out of range, an unknown prior, a `rank` without a
            mean kernel, or a code whose shape is not (1, units).

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfhyper.layers.HyperConv2D(16, 3, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     keras.layers.Dense(10),
    ... ])
    >>> model.output_shape
    (None, 10)

    Reference:
        Ukai, Matsubara, Uehara: Bayesian estimation and model averaging of
        convolutional neural networks by hypernetwork, NOLTA 10(1), 2019,
        sections 3.1, 3.3 and 4.1.
    """

    point_class = keras.layers.Conv2D
