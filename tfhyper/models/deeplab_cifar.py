"""A light DeepLab: an atrous spatial pyramid on a residual network for small images."""

from collections.abc import Sequence

import keras

from tfhyper.checks import check_instance, check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.kits.kit import layer_name
from tfhyper.models.blocks import norm_relu
from tfhyper.models.residual import residual_trunk
from tfhyper.models.resnet_cifar import resnet_cifar_parts
from tfhyper.models.segmentation import drop, segmentation_network
from tfhyper.tensor_types import Tensor

# Pixels of an image to one of the features of `resnet_cifar`.
STRIDE = 4


def deeplab_cifar(
    depth: int = 20,
    width: int = 64,
    *,
    num_classes: int = 11,
    input_shape: tuple[int, int, int] = (180, 240, 3),
    kit: str | LayerKit = "deterministic",
    rates: Sequence[int] = (6, 12, 18),
    preactivation: bool = False,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a DeepLabv3 (Chen et al., 2017) on the trunk of `resnet_cifar`.

    The features of ResNet-depth for small images, which are a quarter as high and wide
    as the image; an atrous spatial pyramid of a 1x1 convolution, of one 3x3
    convolution for each rate, and of the mean over the image, each with `width`
    channels, BatchNorm and ReLU; their concatenation through another 1x1 convolution;
    logits, enlarged by bilinear interpolation. On ResNet-20 it has 411,963
    parameters, 2,144 of them moving averages.

    The published network stands on a ResNet-101 for large images, with a stride of 16
    or 8 and 256 channels; its rates are the default here. Images whose height or width
    4 does not divide are padded with zeros, and the map is cut back.

    Args:
        depth: int, 6 n + 2 with n >= 1, of `tfhyper.models.resnet_cifar`.
        width: int > 0, channels of the pyramid.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name.
        rates: ints > 0, of the atrous convolutions, in pixels of the features; one or
            more.
        preactivation: bool, as in `tfhyper.models.resnet_cifar`.
        dropout: float in 0 <= dropout < 1, before the classifier.

    Returns:
        A functional `keras.Model` that gives logits (batch, height, width,
        num_classes).

    Raises:
        ValueError: for a depth that is not 6 n + 2, or sizes out of range.
        TypeError: for `rates` that are no sequence.

    Example:

    >>> model = tfhyper.models.deeplab_cifar(
    ...     8, 16, input_shape=(45, 60, 3), rates=(1, 2)
    ... )
    >>> model.output_shape
    (None, 45, 60, 11)

    Reference:
        Chen, Papandreou, Schroff, Adam: Rethinking atrous convolution for semantic
        image segmentation, arXiv 1706.05587, 2017, section 3.3.
    """
    parts = resnet_cifar_parts(depth, preactivation)
    check_positive_integer("width", width)
    rule = "a sequence of rates, one or more"
    if not check_instance("rates", rates, list | tuple, rule):
        raise ValueError(f"`rates` must be {rule}. Received: rates={rates!r}")
    for rate in rates:
        check_positive_integer("rates", rate)
    check_number("dropout", dropout, below=1)

    def features(kit: LayerKit, x: Tensor) -> Tensor:
        x = residual_trunk(kit, x, **parts)
        x = _pyramid(kit, x, width, rates)
        return drop(kit, x, dropout, name="pyramid")

    return segmentation_network(
        kit,
        input_shape,
        num_classes,
        stride=STRIDE,
        features=features,
        name=f"deeplab_cifar_{depth}",
    )


def _pyramid(kit: LayerKit, x: Tensor, width: int, rates: Sequence[int]) -> Tensor:
    def branch(x: Tensor, size: int, name: str, rate: int = 1) -> Tensor:
        path = f"pyramid/{name}"
        y = kit.conv(width, size, dilation_rate=rate, name=path)(x)
        return norm_relu(kit, y, path)

    branches = [branch(x, 1, "conv1")]
    branches += [branch(x, 3, f"conv{i}", rate) for i, rate in enumerate(rates, 2)]
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pyramid_mean")(x)
    spread = keras.layers.UpSampling2D(x.shape[1:3], name="pyramid_spread")
    branches.append(spread(branch(mean, 1, "conv_mean")))
    join = keras.layers.Concatenate(name=layer_name("pyramid/join"))
    return branch(join(branches), 1, "conv_join")
