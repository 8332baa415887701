"""The skeleton of the networks that enlarge pictures, once."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper import kits
from tfhyper.checks import (
    check_choice,
    check_instance,
    check_number,
    check_positive_integer,
)
from tfhyper.kits.kit import layer_name
from tfhyper.layers import BicubicUpsampling2D, PixelShuffle
from tfhyper.layers.full_precision import full_precision
from tfhyper.models.sizes import check_image_shape
from tfhyper.tensor_types import Shape, Tensor

# What is added to the output: bicubic interpolation of the input, or nothing.
Skip: TypeAlias = Literal["bicubic"] | None
SKIPS: tuple[Skip, ...] = ("bicubic", None)
Scale: TypeAlias = Literal[2, 3, 4, 8]
#: How many times as many rows and columns a network gives.
SCALES: tuple[Scale, ...] = get_args(Scale)
# Where the raw scales of a head begin: the softplus, or the exponential, of -3 is 0.05,
# of about the size of the errors in units of 0 to 1.
_FIRST_SPREAD = -3.0
# Returns features behind a dropout, which has a path.
Drop: TypeAlias = Callable[[Tensor, str], Tensor]
# Maps a kit, features, filters, the name of a convolution and its options to pixels.
Tail: TypeAlias = Callable[..., Tensor]


def super_resolution_network(
    kit: str | kits.LayerKit,
    input_shape: Shape,
    scale: int,
    *,
    skip: Skip,
    head: keras.layers.Layer | None,
    dropout: float,
    features: Callable[
        [kits.LayerKit, Tensor, Callable[[Tensor, str], Tensor]], Tensor
    ],
    tail: Tail,
    name: str,
) -> keras.Model:
    """Returns features and the enlarged picture made of them.

    Args:
        kit: a `LayerKit` or its name.
        input_shape: (height, width, channels), channels last; a height or width of
            `None` is any.
        scale: int of `SCALES`.
        skip: what is added to the picture, `"bicubic"` or `None`.
        head: a layer of `tfhyper.heads` with the location and the scale of each
            channel, `NormalHead(channels)` or `LaplaceHead(channels)`; `None`: the
            picture alone.
        dropout: float in 0 <= dropout < 1, of whole channels.
        features: `(kit, x, drop)`, with `drop(x, path)` for dropout.
        tail: `(kit, x, filters, *, name, **options)`, returns pixels of the enlarged
            picture; `options` are a convolution's.
        name: name of the model.

    Returns:
        A functional `keras.Model`, pictures (batch, height, width, channels) in,
        (batch, scale height, scale width, channels) out, or of the head's units.

    Raises:
        ValueError: for arguments out of range.
        TypeError: for a head that is none.
    """
    input_shape = check_image_shape(input_shape, any_size=True)
    check_choice("scale", scale, SCALES)
    check_choice("skip", skip, SKIPS)
    check_number("dropout", dropout, below=1)
    channels = check_positive_integer("input_shape", input_shape[-1])
    units = _check_head(head, channels)
    kit = kits.get(kit)

    def drop(x: Tensor, path: str) -> Tensor:
        return _drop_channels(kit, x, dropout, path)

    inputs = keras.Input(input_shape, name="images")
    x = features(kit, inputs, drop)
    # What is added to an interpolation, or to a bias, begins near 0.
    near_zero = {
        "kernel_initializer": keras.initializers.VarianceScaling(1e-2, "fan_in")
    }
    # Sums and what follows keep the precision of the picture: float16 rounds it.
    exact = full_precision()
    picture = tail(kit, x, channels, name="picture", **(near_zero if skip else {}))
    if skip:
        enlarged = BicubicUpsampling2D(scale, name="bicubic")(inputs)
        add = keras.layers.Add(name="skip", dtype=exact)
        picture = add([enlarged, picture])
    if head is None:
        return keras.Model(inputs, picture, name=name)
    spread = tail(
        kit,
        x,
        units - channels,
        name="spread",
        bias_initializer=keras.initializers.Constant(_FIRST_SPREAD),
        **near_zero,
    )
    join = keras.layers.Concatenate(name="parameters", dtype=exact)
    return keras.Model(inputs, head(join([picture, spread])), name=name)


def sub_pixel_conv(
    kit: kits.LayerKit,
    x: Tensor,
    filters: int,
    scale: int,
    *,
    name: str,
    **options: Any,
) -> Tensor:
    """Returns x enlarged by a 3x3 convolution and a sub-pixel shuffle.

    Args:
        kit: what makes the convolution.
        x: the features before.
        filters: channels behind the shuffle.
        scale: int > 1.
        name: path of the convolution.
        **options: of the convolution.
    """
    make = {"use_bias": True, **options}
    x = kit.conv(filters * scale**2, 3, name=name, **make)(x)
    return PixelShuffle(scale, name=layer_name(f"{name}/shuffle"))(x)


def _drop_channels(kit: kits.LayerKit, x: Tensor, rate: float, path: str) -> Tensor:
    """Returns x behind the dropout of whole channels, or x alone if the rate is 0.

    Of channels, not of single values: those of neighbouring pixels say nearly the
    same, and a draw is the same function at each place of a picture.
    """
    if not rate:
        return x
    layer = keras.layers.SpatialDropout2D(rate, name=layer_name(f"{path}/dropout"))
    if type(layer) in kit.replaces:
        return kit.replace(layer, f"{path}/dropout")(x)
    return layer(x)


def _check_head(head: Any, channels: int) -> int:
    """Returns how many numbers for a pixel a head is made of."""
    if head is None:
        return channels
    rule = f"a head of `tfhyper.heads`, such as NormalHead({channels}), or None"
    check_instance("head", head, keras.layers.Layer, rule)
    layout = getattr(getattr(head, "family", None), "layout", ())
    sizes = {parameter.name: parameter.size for parameter in layout}
    if sizes != {"loc": channels, "scale": channels}:
        raise ValueError(
            "`head` must give a location and a scale for each of the channels "
            f"({channels}): NormalHead({channels}) or LaplaceHead({channels}) of "
            f"`tfhyper.heads`. Received: head={head!r} with {sizes}"
        )
    return head.units
