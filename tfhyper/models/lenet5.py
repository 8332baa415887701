"""LeNet-5."""

import keras

from tfhyper.kits import LayerKit
from tfhyper.models.plain import ActivationName, plain_network


def lenet5(
    *,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "deterministic",
    activation: ActivationName = "softplus",
    width_multiplier: float = 1.0,
) -> keras.Model:
    """Returns LeNet-5 in the form of the Bayesian CNN (Shridhar et al., 2019).

    5x5 convolutions of 6 and 16 filters without padding, each followed by the
    activation and 2x2 max pooling; dense layers of 120 and 84 units; logits.
    For 32x32x3 images it has 62,006 parameters.

    Args:
        num_classes: int > 0.
        input_shape: (height, width, channels), smaller images are padded to 32x32.
        kit: a `LayerKit` or its name. Convolutions and dense layers are the
            kit's.
        activation: `"softplus"`, as in the source, or `"relu"`.
        width_multiplier: float > 0, factor of all filters and hidden units,
            rounded; 0.5 gives the half-filter variant.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> model = tfhyper.models.lenet5(kit=tfhyper.kits.bayes(num_examples=50_000))
    >>> model.output_shape
    (None, 10)

    Reference:
        LeCun et al.: Gradient-based learning applied to document recognition,
        Proc. IEEE 86(11), 1998. Shridhar, Laumann, Liwicki: A comprehensive
        guide to Bayesian convolutional neural network with variational
        inference, 2019.
    """
    return plain_network(
        kit,
        input_shape,
        num_classes,
        convs=[
            {"filters": 6, "kernel_size": 5, "pool": True},
            {"filters": 16, "kernel_size": 5, "pool": True},
        ],
        units=[120, 84],
        activation=activation,
        width_multiplier=width_multiplier,
        name="lenet5",
    )
