"""Residual blocks, stems and heads: functions of a kit and a tensor."""

import keras

from tfhyper.kits.kit import LayerKit, layer_name


def norm_relu(kit: LayerKit, x, name: str):
    """Returns relu(BatchNorm(x))."""
    x = kit.norm(name=f"{name}/norm")(x)
    return keras.layers.ReLU(name=layer_name(f"{name}/relu"))(x)


def conv_stem(kit: LayerKit, x, width: int = 16):
    """One 3x3 convolution, for small images."""
    return kit.stem(width, 3, name="stem")(x)


def preact_block(
    kit: LayerKit, x, width: int, strides: int, *, name: str, dropout: float = 0.0
):
    """Pre-activation block with two 3x3 convolutions.

        y = conv2(dropout(relu(norm(conv1(relu(norm(x)))))))

    and `x` is added, or a 1x1 convolution of relu(norm(x)) where the width or
    the size changes (He et al., 2016; Zagoruyko and Komodakis, 2016, figure 1).
    """
    active = norm_relu(kit, x, f"{name}/pre1")
    shortcut = x
    if strides != 1 or x.shape[-1] != width:
        shortcut = kit.conv(width, 1, strides=strides, name=f"{name}/shortcut")(active)
    y = kit.conv(width, 3, strides=strides, name=f"{name}/conv1")(active)
    y = norm_relu(kit, y, f"{name}/pre2")
    if dropout:
        y = kit.dropout(dropout, name=f"{name}/dropout")(y)
    y = kit.conv(width, 3, name=f"{name}/conv2")(y)
    return keras.layers.Add(name=layer_name(f"{name}/add"))([shortcut, y])
