"""Residual blocks, stems and heads: functions of a kit and a tensor."""

from typing import Protocol

import keras

from tfhyper.kits.kit import LayerKit, layer_name
from tfhyper.tensor_types import Tensor


class Block(Protocol):
    """A residual block: a function of a kit and a tensor."""

    def __call__(
        self, kit: LayerKit, x: Tensor, width: int, strides: int, *, name: str
    ) -> Tensor:
        """Returns the block's output, of `width` channels, or as many as it makes."""


def norm_relu(kit: LayerKit, x: Tensor, name: str) -> Tensor:
    """Returns relu(BatchNorm(x))."""
    x = kit.norm(name=f"{name}/norm")(x)
    return keras.layers.ReLU(name=layer_name(f"{name}/relu"))(x)


def conv_stem(kit: LayerKit, x: Tensor, width: int = 16) -> Tensor:
    """One 3x3 convolution, for small images."""
    return kit.stem(width, 3, name="stem")(x)


def conv_norm_stem(kit: LayerKit, x: Tensor, width: int = 16) -> Tensor:
    """One 3x3 convolution and BatchNorm."""
    return kit.norm(name="stem/norm")(conv_stem(kit, x, width))


def conv_norm_relu_stem(kit: LayerKit, x: Tensor, width: int = 16) -> Tensor:
    """One 3x3 convolution, BatchNorm and ReLU, before blocks that begin with none."""
    return norm_relu(kit, conv_stem(kit, x, width), "stem")


def large_image_stem(kit: LayerKit, x: Tensor, width: int = 64) -> Tensor:
    """7x7 convolution, BatchNorm, ReLU and 3x3 max pooling, both with strides 2.

    Padded on all sides alike, as in He et al. (2016), not as "same" pads.
    """
    x = keras.layers.ZeroPadding2D(3, name="stem_pad")(x)
    x = kit.stem(width, 7, strides=2, padding="valid", name="stem")(x)
    x = norm_relu(kit, x, "stem")
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return keras.layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def preact_block(
    kit: LayerKit,
    x: Tensor,
    width: int,
    strides: int,
    *,
    name: str,
    dropout: float = 0.0,
    project: bool = True,
    split_after_activation: bool = False,
) -> Tensor:
    """Pre-activation block with two 3x3 convolutions.

        y = conv2(dropout(relu(norm(conv1(relu(norm(x)))))))

    and `x` is added. Where the width or the size changes, a 1x1 convolution of
    relu(norm(x)) is added in its place (Zagoruyko and Komodakis, 2016, figure
    1), or, with `project=False`, `padded_shortcut`(x). With
    `split_after_activation` the shortcut of the other blocks is relu(norm(x)),
    too (He et al., Identity mappings in deep residual networks, 2016).
    """
    active = norm_relu(kit, x, f"{name}/pre1")
    shortcut = active if split_after_activation else x
    if not project:
        shortcut = padded_shortcut(shortcut, width, strides, name=name)
    elif strides != 1 or x.shape[-1] != width:
        shortcut = kit.conv(width, 1, strides=strides, name=f"{name}/shortcut")(active)
    y = kit.conv(width, 3, strides=strides, name=f"{name}/conv1")(active)
    y = norm_relu(kit, y, f"{name}/pre2")
    if dropout:
        y = kit.dropout(dropout, name=f"{name}/dropout")(y)
    y = kit.conv(width, 3, name=f"{name}/conv2")(y)
    return _add(shortcut, y, name)


def post_activation_block(
    kit: LayerKit, x: Tensor, width: int, strides: int, *, name: str
) -> Tensor:
    """The first form of a residual block, with two 3x3 convolutions.

        y = norm(conv2(relu(norm(conv1(x)))))

    and relu(y + x), or, where the width or the size changes, relu(y +
    `padded_shortcut`(x)) (He et al., Deep residual learning, 2016, section 4.2).
    """
    y = kit.conv(width, 3, strides=strides, name=f"{name}/conv1")(x)
    y = norm_relu(kit, y, f"{name}/post1")
    y = kit.norm(name=f"{name}/post2/norm")(kit.conv(width, 3, name=f"{name}/conv2")(y))
    x = padded_shortcut(x, width, strides, name=name)
    x = _add(x, y, name)
    return keras.layers.ReLU(name=layer_name(f"{name}/post2/relu"))(x)


def post_activation_bottleneck(
    kit: LayerKit,
    x: Tensor,
    width: int,
    strides: int,
    *,
    name: str,
    group_width: int | None = None,
    groups: int = 1,
    strides_first: bool = False,
) -> Tensor:
    """The first form of a residual block with a bottleneck of `width` channels.

        y = norm(conv3(relu(norm(conv2(relu(norm(conv1(x))))))))

    and relu(y + x), or, where the width or the size changes, relu(y +
    norm(1x1 convolution of x)). The convolutions are 1x1 with groups *
    group_width filters, 3x3 with as many in so many groups, and 1x1 with 4 *
    width. The 3x3 convolution has the strides (Xie et al., 2017), or, with
    `strides_first`, the first (He et al., Deep residual learning, 2016). A
    group is `width` wide unless `group_width` is given.
    """
    inner = groups * (group_width or width)
    steps = (strides, 1) if strides_first else (1, strides)
    y = kit.conv(inner, 1, strides=steps[0], name=f"{name}/conv1")(x)
    y = norm_relu(kit, y, f"{name}/post1")
    y = kit.conv(inner, 3, strides=steps[1], groups=groups, name=f"{name}/conv2")(y)
    y = norm_relu(kit, y, f"{name}/post2")
    y = kit.conv(4 * width, 1, name=f"{name}/conv3")(y)
    y = kit.norm(name=f"{name}/post3/norm")(y)
    if strides != 1 or x.shape[-1] != 4 * width:
        x = kit.conv(4 * width, 1, strides=strides, name=f"{name}/shortcut")(x)
        x = kit.norm(name=f"{name}/shortcut/norm")(x)
    x = _add(x, y, name)
    return keras.layers.ReLU(name=layer_name(f"{name}/post3/relu"))(x)


def pyramid_block(
    kit: LayerKit,
    x: Tensor,
    width: int,
    strides: int,
    *,
    name: str,
    bottleneck: bool = False,
) -> Tensor:
    """Block with a BatchNorm more and a ReLU less than pre-activation.

        y = norm(conv2(relu(norm(conv1(norm(x))))))

    of 3x3 convolutions with `width` filters, and y + `padded_shortcut`(x), which
    averages 2x2 pixels where the strides are 2. With `bottleneck` the
    convolutions are 1x1 and 3x3 with `width` and 1x1 with 4 * width filters,
    norm and ReLU between them (Han et al., 2017).
    """
    convs = [(width, 3, strides), (width, 3, 1)]
    if bottleneck:
        convs = [(width, 1, 1), (width, 3, strides), (4 * width, 1, 1)]
    y = kit.norm(name=f"{name}/pre1/norm")(x)
    for i, (filters, size, step) in enumerate(convs, 1):
        if i > 1:
            y = norm_relu(kit, y, f"{name}/pre{i}")
        y = kit.conv(filters, size, strides=step, name=f"{name}/conv{i}")(y)
    y = kit.norm(name=f"{name}/post/norm")(y)
    x = padded_shortcut(x, y.shape[-1], strides, name=name, pool_size=strides)
    return _add(x, y, name)


def padded_shortcut(
    x: Tensor, width: int, strides: int, *, name: str, pool_size: int = 1
) -> Tensor:
    """Returns every `strides`-th pixel of x, with zeros for the channels it lacks.

    A shortcut without parameters (He et al., 2016, option A); with `pool_size`
    the mean of so many pixels each way (Han et al., 2017). Of an odd size the
    last mean is that of the pixels there are.
    """
    if strides != 1:
        pool = keras.layers.AveragePooling2D(
            pool_size,
            strides,
            padding="same",
            name=layer_name(f"{name}/shortcut/pool"),
        )
        x = pool(x)
    missing = width - x.shape[-1]
    if missing:
        # With the channels first, these axes are width and channels of x.
        pad = keras.layers.ZeroPadding2D(
            ((0, 0), (0, missing)),
            data_format="channels_first",
            name=layer_name(f"{name}/shortcut/pad"),
        )
        x = pad(x)
    return x


def no_head(kit: LayerKit, x: Tensor, name: str) -> Tensor:
    """Returns x, which ends in norm and ReLU."""
    return x


def _add(x: Tensor, y: Tensor, name: str) -> Tensor:
    return keras.layers.Add(name=layer_name(f"{name}/add"))([x, y])
