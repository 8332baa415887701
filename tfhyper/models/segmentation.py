"""The skeleton of the networks that give a class for each pixel, once."""

from collections.abc import Callable, Sequence

import keras

from tfhyper import kits
from tfhyper.checks import check_positive_integer
from tfhyper.kits.kit import Maker, layer_name
from tfhyper.models.blocks import norm_relu
from tfhyper.models.sizes import check_image_shape
from tfhyper.tensor_types import Tensor


def segmentation_network(
    kit: str | kits.LayerKit,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stride: int,
    features: Callable[[kits.LayerKit, Tensor], Tensor],
    name: str,
) -> keras.Model:
    """Returns features and logits of each pixel, for images of any size.

    Images whose height or width `stride` does not divide are padded with zeros, as
    much on one side as on the other or one pixel less, and the padding is cut off
    again. Features of a smaller size are classified there, and their logits enlarged
    by bilinear interpolation.

    Args:
        kit: a `LayerKit` or its name. The classifier of each pixel is its dense
            layer, which is a 1x1 convolution here.
        input_shape: (height, width, channels), channels last.
        num_classes: int > 0.
        stride: int > 0, pixels of an image to one of the smallest features.
        features: `(kit, x)`, returns a tensor whose height and width are those of x
            or a whole fraction of them.
        name: name of the model.

    Returns:
        A functional `keras.Model`, images (batch, height, width, channels) in, logits
        (batch, height, width, num_classes) out.

    Raises:
        ValueError: for an input shape that is not three positive ints, or a number of
            classes that is not positive.
    """
    input_shape = check_image_shape(input_shape)
    check_positive_integer("num_classes", num_classes)
    kit = kits.get(kit)
    x = inputs = keras.Input(input_shape, name="images")
    missing = [-size % stride for size in input_shape[:2]]
    sides = [(n // 2, n - n // 2) for n in missing]
    if any(missing):
        # One pixel more, and that cut off again: OpenVINO (2026.4) merges a padding
        # with a convolution behind it that pads by itself ("same"), and loses it.
        wider = [(before + 1, after + 1) for before, after in sides]
        x = keras.layers.ZeroPadding2D(wider, name="pad")(x)
        x = keras.layers.Cropping2D(1, name="pad_crop")(x)
    height = x.shape[1]
    x = features(kit, x)
    factor = height // x.shape[1]
    crop = keras.layers.Cropping2D(sides, name="crop") if any(missing) else None
    if crop and factor == 1:
        x, crop = crop(x), None
    x = kit.logits(num_classes, name="logits")(x)
    if factor > 1:
        x = keras.layers.UpSampling2D(
            factor, interpolation="bilinear", name="logits_upsample"
        )(x)
    return keras.Model(inputs, crop(x) if crop else x, name=name)


def conv_blocks(
    kit: kits.LayerKit,
    x: Tensor,
    widths: Sequence[int],
    *,
    name: str,
    first: Maker | None = None,
) -> Tensor:
    """Returns x after 3x3 convolutions, each with BatchNorm and ReLU.

    Args:
        kit: what makes them.
        x: the features before.
        widths: channels of each.
        name: path of the stage; its convolutions have one code block by block.
        first: makes the first of them in place of `kit.conv`.
    """
    for i, width in enumerate(widths, 1):
        make = kit.conv if first is None or i > 1 else first
        x = norm_relu(kit, make(width, 3, name=f"{name}/conv{i}")(x), f"{name}/post{i}")
    return x


def drop(kit: kits.LayerKit, x: Tensor, rate: float, *, name: str) -> Tensor:
    """Returns x behind the dropout of a kit, or x alone if the rate is 0."""
    return kit.dropout(rate, name=f"{name}/dropout")(x) if rate else x


def pool(x: Tensor, *, name: str) -> Tensor:
    """Returns the maxima of 2x2 pixels."""
    return keras.layers.MaxPooling2D(2, name=layer_name(f"{name}/pool"))(x)
