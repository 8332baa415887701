"""U-Net: a class for each pixel, with skips between an encoder and a decoder."""

from typing import Literal, TypeAlias, get_args

import keras

from tfhyper.checks import check_choice, check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.kits.kit import layer_name
from tfhyper.models.segmentation import conv_blocks, drop, pool, segmentation_network
from tfhyper.tensor_types import Tensor

Upsampling: TypeAlias = Literal["transposed", "nearest", "bilinear"]
UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)


def unet(
    depth: int = 4,
    width: int = 64,
    *,
    num_classes: int = 2,
    input_shape: tuple[int, int, int] = (572, 572, 1),
    kit: str | LayerKit = "deterministic",
    upsampling: Upsampling = "transposed",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a U-Net (Ronneberger et al., 2015), for images of any size.

    `depth` stages of two 3x3 convolutions and 2x2 max pooling, with `width` channels
    and twice as many in each stage; two convolutions at the bottom; and as many stages
    back, which double the size, halve the channels, join what the stage of the same
    size had before its pooling, and convolve twice. Then logits at each pixel. With
    the published depth of 4 and width of 64, one channel and two classes it has
    31,048,322 parameters, 11,776 of them moving averages.

    In place of the published convolutions without padding, which give a smaller map,
    those here keep the size, and BatchNorm follows each, so that they have no bias and
    `batch_norm="minibatch"` has something to draw. Images whose height or width
    2**depth does not divide are padded with zeros, and the map is cut back.

    Args:
        depth: int > 0, how often the size is halved.
        width: int > 0, channels of the first stage.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name. The first convolution is its stem. Transposed
            convolutions are plain variables in `"mnf"`, `"bayesian_hypernet"` and
            `"static_hypernet"`, which have none: there `upsampling="nearest"` leaves
            no kernel out.
        upsampling: how the size is doubled: `"transposed"`, by a transposed 2x2
            convolution, as published; `"nearest"` or `"bilinear"`, by repeating or
            interpolating pixels, and a 3x3 convolution.
        dropout: float in 0 <= dropout < 1, behind the deepest stage of the encoder and
            behind the bottom, as the authors' code has it.

    Returns:
        A functional `keras.Model` that gives logits (batch, height, width,
        num_classes).

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> model = tfhyper.models.unet(
    ...     2, 8, num_classes=11, input_shape=(45, 60, 3), kit="deterministic"
    ... )
    >>> model.output_shape
    (None, 45, 60, 11)

    Reference:
        Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image
        segmentation, MICCAI 2015, figure 1.
    """
    check_positive_integer("depth", depth)
    check_positive_integer("width", width)
    check_choice("upsampling", upsampling, UPSAMPLINGS)
    check_number("dropout", dropout, below=1)

    def features(kit: LayerKit, x: Tensor) -> Tensor:
        skips = []
        for s in range(1, depth + 1):
            name, channels = f"stage{s}_block1", width * 2 ** (s - 1)
            first = kit.stem if s == 1 else None
            x = conv_blocks(kit, x, [channels] * 2, name=name, first=first)
            if s == depth:
                x = drop(kit, x, dropout, name=name)
            skips.append(x)
            x = pool(x, name=name)
        x = conv_blocks(kit, x, [width * 2**depth] * 2, name="bottom")
        x = drop(kit, x, dropout, name="bottom")
        for s in range(depth, 0, -1):
            name, channels = f"up{s}", width * 2 ** (s - 1)
            x = _doubled(kit, x, channels, upsampling, name=name)
            join = keras.layers.Concatenate(name=layer_name(f"{name}/join"))
            x = conv_blocks(kit, join([skips.pop(), x]), [channels] * 2, name=name)
        return x

    return segmentation_network(
        kit,
        input_shape,
        num_classes,
        stride=2**depth,
        features=features,
        name=f"unet_{depth}_{width}",
    )


def _doubled(
    kit: LayerKit, x: Tensor, width: int, upsampling: Upsampling, *, name: str
) -> Tensor:
    if upsampling == "transposed":
        up = kit.conv_transpose(width, 2, strides=2, use_bias=True, name=f"{name}/up")
        return up(x)
    layer = keras.layers.UpSampling2D(
        2, interpolation=upsampling, name=layer_name(f"{name}/up")
    )
    return kit.conv(width, 3, use_bias=True, name=f"{name}/up_conv")(layer(x))
