"""EDSR: residual blocks without BatchNorm, and sub-pixel convolutions."""

from typing import Any

import keras

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.kits.kit import layer_name
from tfhyper.models.super_resolution import (
    Drop,
    Scale,
    Skip,
    sub_pixel_conv,
    super_resolution_network,
)
from tfhyper.tensor_types import Shape, Tensor


def edsr(
    blocks: int = 16,
    width: int = 64,
    scale: Scale = 2,
    *,
    input_shape: Shape = (None, None, 3),
    kit: str | LayerKit = "deterministic",
    residual_scaling: float = 1.0,
    skip: Skip = "bicubic",
    head: keras.layers.Layer | None = None,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an EDSR (Lim et al., 2017), which enlarges pictures of any size.

    A convolution; `blocks` residual blocks, x + residual_scaling conv(relu(conv(x)));
    a convolution, to which what the first gave is added; sub-pixel convolutions, of 2
    for each factor of 2 in `scale` and one of 3; and a convolution that gives the
    picture. All kernels are 3x3, and there is no BatchNorm. The defaults are the
    baseline of the publication, whose large network has 32 blocks of 256 channels and
    a residual scaling of 0.1. With three channels and a scale of 2 it has 1,369,859
    parameters.

    To the output a bicubic interpolation of the input is added, unlike in the
    publication (`skip=None`), so that a few minutes of training are enough to be
    better than that. Pictures are in units of 0 to 1, in and out; the output is not
    cut to that range. A pixel depends on those at most 2 blocks + 4 away in the input.

    Args:
        blocks: int > 0.
        width: int > 0, channels of all convolutions but the last.
        scale: 2, 3, 4 or 8: how many times as many rows and columns.
        input_shape: (height, width, channels); `None` for a height and width of any
            number, by the picture.
        kit: a `LayerKit` or its name. The first convolution is its stem.
        residual_scaling: float > 0, by which the residual of each block is multiplied.
        skip: `"bicubic"`: the output is what is added to a bicubic interpolation,
            which begins near 0; or `None`, the picture, as published.
        head: `tfhyper.heads.NormalHead(channels)` or `LaplaceHead(channels)`: the
            network gives a distribution of each pixel, its location as without one,
            and its scale by another convolution. `None`: the picture alone.
        dropout: float in 0 <= dropout < 1, the probability that a channel is dropped,
            before the second convolution of each block.

    Returns:
        A functional `keras.Model`, (batch, height, width, channels) in, (batch, scale
        height, scale width, channels) out, with a head 2 channels.

    Raises:
        ValueError: for arguments out of range.
        TypeError: for a head that is no layer.

    Example:

    >>> head = tfhyper.heads.NormalHead(3)
    >>> model = tfhyper.models.edsr(2, 8, 4, head=head, kit="hyper")
    >>> model(np.zeros((1, 7, 5, 3))).shape
    (1, 28, 20, 6)

    Reference:
        Lim et al.: Enhanced deep residual networks for single image super-resolution,
        CVPR workshops 2017, figures 2 and 3.
    """
    check_positive_integer("blocks", blocks)
    check_positive_integer("width", width)
    check_number("residual_scaling", residual_scaling, positive=True)

    def features(kit: LayerKit, x: Tensor, drop: Drop) -> Tensor:
        x = first = kit.stem(width, 3, use_bias=True, name="stem")(x)
        for i in range(1, blocks + 1):
            name = f"stage1_block{i}"
            y = kit.conv(width, 3, use_bias=True, name=f"{name}/conv1")(x)
            y = keras.layers.ReLU(name=layer_name(f"{name}/relu"))(y)
            y = drop(y, name)
            y = kit.conv(width, 3, use_bias=True, name=f"{name}/conv2")(y)
            if residual_scaling != 1:
                rescale = layer_name(f"{name}/scaling")
                y = keras.layers.Rescaling(residual_scaling, name=rescale)(y)
            x = keras.layers.Add(name=layer_name(f"{name}/add"))([x, y])
        x = kit.conv(width, 3, use_bias=True, name="body")(x)
        x = keras.layers.Add(name="body_add")([x, first])
        factors = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        for i, factor in enumerate(factors, 1):
            x = sub_pixel_conv(kit, x, width, factor, name=f"up{i}")
        return x

    def tail(kit: LayerKit, x: Tensor, filters: int, **options: Any) -> Tensor:
        return kit.conv(filters, 3, **{"use_bias": True, **options})(x)

    return super_resolution_network(
        kit,
        input_shape,
        scale,
        skip=skip,
        head=head,
        dropout=dropout,
        features=features,
        tail=tail,
        name=f"edsr_{blocks}_{width}_x{scale}",
    )
