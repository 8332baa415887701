"""AlexNet for small images."""

import keras

from tfhyper.kits import LayerKit
from tfhyper.models.plain import ActivationName, plain_network


def alexnet(
    *,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "deterministic",
    activation: ActivationName = "softplus",
    width_multiplier: float = 1.0,
) -> keras.Model:
    """Returns AlexNet in the CIFAR form of the Bayesian CNN (Shridhar et al., 2019).

    Convolutions 11x11 with 64 filters, strides 4 and 5 pixels of padding; 5x5
    with 192; 3x3 with 384, 256 and 128, padded to keep their size; each followed
    by the activation, and the first, second and last by 2x2 max pooling; logits
    straight after them. For 32x32x3 images it has 2,175,946 parameters.

    Args:
        num_classes: int > 0.
        input_shape: (height, width, channels), smaller images are padded to 32x32.
        kit: a `LayerKit` or its name. Convolutions and the dense layer are the
            kit's.
        activation: `"softplus"`, as in the source, or `"relu"`.
        width_multiplier: float > 0, factor of all filters, rounded; 0.5 gives
            AlexNetHalf: 32, 96, 192, 128, 64.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> model = tfhyper.models.alexnet(width_multiplier=0.5, activation="relu")
    >>> model.count_params()
    550378

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet classification with deep
        convolutional neural networks, NeurIPS 2012. Shridhar, Laumann, Liwicki:
        A comprehensive guide to Bayesian convolutional neural network with
        variational inference, 2019.
    """
    return plain_network(
        kit,
        input_shape,
        num_classes,
        convs=[
            {
                "filters": 64,
                "kernel_size": 11,
                "strides": 4,
                "padding": 5,
                "pool": True,
            },
            {"filters": 192, "kernel_size": 5, "padding": 2, "pool": True},
            {"filters": 384, "kernel_size": 3, "padding": 1},
            {"filters": 256, "kernel_size": 3, "padding": 1},
            {"filters": 128, "kernel_size": 3, "padding": 1, "pool": True},
        ],
        units=[],
        activation=activation,
        width_multiplier=width_multiplier,
        name="alexnet",
    )
