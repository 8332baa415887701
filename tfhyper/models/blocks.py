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


def conv_norm_relu_stem(kit: LayerKit, x, width: int = 16):
    """One 3x3 convolution, BatchNorm and ReLU, before blocks that begin with none."""
    return norm_relu(kit, conv_stem(kit, x, width), "stem")


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


def post_activation_block(kit: LayerKit, x, width: int, strides: int, *, name: str):
    """The first form of a residual block, with two 3x3 convolutions.

        y = norm(conv2(relu(norm(conv1(x)))))

    and relu(y + x), or, where the width or the size changes, relu(y +
    `padded_shortcut`(x)) (He et al., Deep residual learning, 2016, section 4.2).
    """
    y = kit.conv(width, 3, strides=strides, name=f"{name}/conv1")(x)
    y = norm_relu(kit, y, f"{name}/post1")
    y = kit.norm(name=f"{name}/post2/norm")(kit.conv(width, 3, name=f"{name}/conv2")(y))
    x = padded_shortcut(x, width, strides, name=name)
    x = keras.layers.Add(name=layer_name(f"{name}/add"))([x, y])
    return keras.layers.ReLU(name=layer_name(f"{name}/post2/relu"))(x)


def padded_shortcut(x, width: int, strides: int, *, name: str):
    """Returns every `strides`-th pixel of x, with zeros for the channels it lacks.

    A shortcut without parameters (He et al., 2016, option A).
    """
    if strides != 1:
        x = keras.layers.AveragePooling2D(1, strides, name=layer_name(f"{name}/pick"))(
            x
        )
    missing = width - x.shape[-1]
    if missing:
        # With the channels first, these axes are width and channels of x.
        pad = keras.layers.ZeroPadding2D(
            ((0, 0), (0, missing)),
            data_format="channels_first",
            name=layer_name(f"{name}/pad"),
        )
        x = pad(x)
    return x


def no_head(kit: LayerKit, x, name: str):
    """Returns x, which ends in norm and ReLU."""
    return x
