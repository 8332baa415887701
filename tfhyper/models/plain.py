"""The skeleton of the networks without shortcuts, once."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper import kits
from tfhyper.checks import (
    check_choice,
    check_instance,
    check_number,
    check_positive_integer,
    check_text,
)
from tfhyper.kits.kit import layer_name
from tfhyper.models.sizes import check_image_shape, scaled
from tfhyper.tensor_types import Tensor

ActivationName: TypeAlias = Literal["softplus", "relu"]
ACTIVATIONS: tuple[ActivationName, ...] = get_args(ActivationName)
# The smallest images that all of these networks take.
SIZE = 32


def plain_network(
    kit: str | kits.LayerKit,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    convs: Sequence[dict[str, Any]],
    units: Sequence[int],
    activation: ActivationName,
    width_multiplier: float,
    name: str,
) -> keras.Model:
    """Returns convolutions, dense layers and logits, one after another.

    Images smaller than 32x32 are padded with zeros to that size first, as those
    of MNIST were for LeNet-5.

    Args:
        kit: a `LayerKit` or its name.
        input_shape: (height, width, channels), channels last.
        num_classes: int > 0.
        convs: for each convolution its `filters`, `kernel_size`, `strides` and
            `padding`, a number of pixels on each side; and `pool`, whether 2x2
            max pooling follows.
        units: sizes of the hidden dense layers.
        activation: `"softplus"` or `"relu"`.
        width_multiplier: float > 0, factor of all filters and units.
        name: name of the model.

    Returns:
        A functional `keras.Model`, images in, logits (batch, num_classes) out.

    Raises:
        ValueError: for arguments out of range.

    Example:

    >>> model = tfhyper.models.plain_network(
    ...     "deterministic",
    ...     (28, 28, 1),
    ...     10,
    ...     convs=[{"filters": 6, "kernel_size": 5, "pool": True}],
    ...     units=[120],
    ...     activation="relu",
    ...     width_multiplier=1.0,
    ...     name="small",
    ... )
    >>> model.count_params()
    142606
    """
    input_shape = check_image_shape(input_shape)
    check_positive_integer("num_classes", num_classes)
    check_choice("activation", activation, ACTIVATIONS)
    check_number("width_multiplier", width_multiplier, positive=True)
    check_text("name", name)
    for conv in check_instance("convs", convs, Sequence, "a sequence of dicts"):
        check_instance("convs", conv, dict, "a sequence of dicts")
        check_positive_integer("convs[...]['filters']", conv.get("filters"))
        if "kernel_size" not in conv:
            raise ValueError(f"`convs` must have `kernel_size`s. Received: {conv!r}")
    for size in check_instance("units", units, Sequence, "a sequence of ints"):
        check_positive_integer("units", size)
    kit = kits.get(kit)
    x = inputs = keras.Input(input_shape, name="images")
    missing = [max(0, SIZE - size) for size in input_shape[:2]]
    if any(missing):
        sides = [(n // 2, n - n // 2) for n in missing]
        x = keras.layers.ZeroPadding2D(sides, name="pad")(x)
    for i, conv in enumerate(convs, 1):
        if conv.get("padding"):
            pad = keras.layers.ZeroPadding2D(conv["padding"], name=f"conv{i}_pad")
            x = pad(x)
        x = kit.conv(
            scaled(conv["filters"], width_multiplier),
            conv["kernel_size"],
            strides=conv.get("strides", 1),
            padding="valid",
            use_bias=True,
            name=f"conv{i}",
        )(x)
        x = _activate(x, activation, f"conv{i}")
        if conv.get("pool"):
            x = keras.layers.MaxPooling2D(2, name=f"conv{i}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for i, size in enumerate(units, 1):
        x = kit.dense(scaled(size, width_multiplier), name=f"dense{i}")(x)
        x = _activate(x, activation, f"dense{i}")
    return keras.Model(inputs, kit.logits(num_classes, name="logits")(x), name=name)


def _activate(x: Tensor, activation: ActivationName, path: str) -> Tensor:
    name = layer_name(f"{path}/{activation}")
    return keras.layers.Activation(activation, name=name)(x)
