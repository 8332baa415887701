"""ESPCN: a few convolutions of the small picture, and a sub-pixel convolution."""

from typing import Any

import keras

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

# Filters and the side of their kernels.
_CONVS = ((64, 5), (64, 3), (32, 3))


def espcn(
    scale: Scale = 3,
    *,
    input_shape: Shape = (None, None, 1),
    kit: str | LayerKit = "deterministic",
    skip: Skip = None,
    head: keras.layers.Layer | None = None,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns an ESPCN (Shi et al., 2016), which enlarges pictures of any size.

    Convolutions of 64 kernels of 5x5, 64 of 3x3 and 32 of 3x3, each with a ReLU, and a
    sub-pixel convolution: scale^2 channels 3x3 kernels, whose channels become pixels
    (`tfhyper.layers.PixelShuffle`). All of it works on the small picture. The widths
    are those of Shridhar et al., who have one more convolution of 64 than the
    publication, and ReLU in place of tanh. With one channel and a scale of 3 it has
    59,657 parameters. A pixel depends on those at most 5 away in the input.

    Pictures are in units of 0 to 1, in and out; the output is not cut to that range.

    Args:
        scale: 2, 3, 4 or 8: how many times as many rows and columns.
        input_shape: (height, width, channels); `None` for a height and width of any
            number, by the picture.
        kit: a `LayerKit` or its name. The first convolution is its stem.
        skip: `None`: the output is the picture, as published. `"bicubic"`: what is
            added to a bicubic interpolation, which begins near 0; quick to train.
        head: `tfhyper.heads.NormalHead(channels)` or `LaplaceHead(channels)`: the
            network gives a distribution of each pixel, its location as without one,
            and its scale by another sub-pixel convolution. `None`: the picture alone.
        dropout: float in 0 <= dropout < 1, the probability that a channel is dropped,
            before all but the first convolution.

    Returns:
        A functional `keras.Model`, (batch, height, width, channels) in, (batch, scale
        height, scale width, channels) out, with a head 2 channels.

    Raises:
        ValueError: for arguments out of range.
        TypeError: for a head that is no layer.

    Example:

    >>> model = tfhyper.models.espcn(2, input_shape=(None, None, 3), skip="bicubic")
    >>> model(np.zeros((1, 7, 5, 3))).shape
    (1, 14, 10, 3)

    References:
        - Shi et al.: Real-time single image and video super-resolution using an
          efficient sub-pixel convolutional neural network, CVPR 2016.
        - Shridhar, Laumann, Liwicki: A comprehensive guide to Bayesian convolutional
          neural network with variational inference, arXiv:1901.02731, section 5.1.
    """

    def features(kit: LayerKit, x: Tensor, drop: Drop) -> Tensor:
        for i, (filters, size) in enumerate(_CONVS, 1):
            make = kit.stem if i == 1 else kit.conv
            x = make(filters, size, use_bias=True, name=f"conv{i}")(x)
            x = keras.layers.ReLU(name=layer_name(f"conv{i}/relu"))(x)
            x = drop(x, f"conv{i}")
        return x

    def tail(kit: LayerKit, x: Tensor, filters: int, **options: Any) -> Tensor:
        return sub_pixel_conv(kit, x, filters, scale, **options)

    return super_resolution_network(
        kit,
        input_shape,
        scale,
        skip=skip,
        head=head,
        dropout=dropout,
        features=features,
        tail=tail,
        name=f"espcn_x{scale}",
    )
