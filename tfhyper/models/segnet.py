"""SegNet: a class for each pixel, whose decoder unpools by the encoder's maxima."""

from collections.abc import Sequence

import keras

from tfhyper.checks import check_instance, check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.kits.kit import layer_name
from tfhyper.layers import MaxUnpooling2D
from tfhyper.models.segmentation import conv_blocks, drop, pool, segmentation_network
from tfhyper.models.sizes import scaled
from tfhyper.tensor_types import Tensor

# Channels of the stages of VGG-16; a stage beyond them has as many as the last.
WIDTHS = (64, 128, 256, 512, 512)


def segnet(
    *,
    num_classes: int = 11,
    input_shape: tuple[int, int, int] = (360, 480, 3),
    kit: str | LayerKit = "deterministic",
    stage_convs: Sequence[int] = (2, 2, 3, 3, 3),
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a SegNet (Badrinarayanan et al., 2017), for images of any size.

    The thirteen convolutions of VGG-16, each followed by BatchNorm and ReLU, with 2x2
    max pooling behind each of its five stages; and the same back: each stage of the
    decoder puts its values where the maxima of its encoder were
    (`tfhyper.layers.MaxUnpooling2D`, the published form), and convolves as often. Then
    logits at each pixel. It has 29,488,779 parameters, 16,000 of them moving averages.

    Convolutions have no bias, as BatchNorm follows. The classifier is a 1x1
    convolution. Images whose height or width 2**stages does not divide are padded with
    zeros, and the map is cut back.

    Args:
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name. The first convolution is its stem.
        stage_convs: ints > 0, convolutions of each stage, one stage or more.
        width_multiplier: float > 0, factor of all channels, rounded. 0.25 gives
            1.8 million parameters.
        dropout: float in 0 <= dropout < 1, behind the two deepest stages of the
            encoder and of the decoder, after Kendall et al. (2017), who found it best
            in the central ones, at a rate of 0.5.

    Returns:
        A functional `keras.Model` that gives logits (batch, height, width,
        num_classes).

    Raises:
        ValueError: for arguments out of range.
        TypeError: for `stage_convs` that are no sequence.

    Example:

    >>> model = tfhyper.models.segnet(
    ...     stage_convs=(1, 1), width_multiplier=0.125, input_shape=(45, 60, 3)
    ... )
    >>> model.output_shape
    (None, 45, 60, 11)

    Reference:
        Badrinarayanan, Kendall, Cipolla: SegNet: A deep convolutional encoder-decoder
        architecture for image segmentation, IEEE PAMI 39(12), 2017. Kendall,
        Badrinarayanan, Cipolla: Bayesian SegNet, BMVC 2017.
    """
    rule = "a sequence of numbers of convolutions, one or more"
    if not check_instance("stage_convs", stage_convs, list | tuple, rule):
        raise ValueError(
            f"`stage_convs` must be {rule}. Received: stage_convs={stage_convs!r}"
        )
    for count in stage_convs:
        check_positive_integer("stage_convs", count)
    check_number("width_multiplier", width_multiplier, positive=True)
    check_number("dropout", dropout, below=1)
    depth = len(stage_convs)
    of_stages = [*WIDTHS, *[WIDTHS[-1]] * depth][:depth]
    widths = [scaled(width, width_multiplier) for width in of_stages]

    def features(kit: LayerKit, x: Tensor) -> Tensor:
        before = []
        for s, (width, count) in enumerate(zip(widths, stage_convs, strict=True), 1):
            name = f"stage{s}_block1"
            first = kit.stem if s == 1 else None
            x = conv_blocks(kit, x, [width] * count, name=name, first=first)
            before.append(x)
            x = pool(x, name=name)
            if s > depth - 2:
                x = drop(kit, x, dropout, name=name)
        for s in range(depth, 0, -1):
            name = f"up{s}"
            unpool = MaxUnpooling2D(2, name=layer_name(f"{name}/unpool"))
            # The last convolution has as many channels as the stage above unpools.
            own, last = widths[s - 1], widths[max(s - 2, 0)]
            convs = [own] * (stage_convs[s - 1] - 1) + [last]
            x = conv_blocks(kit, unpool([x, before.pop()]), convs, name=name)
            if s > depth - 2:
                x = drop(kit, x, dropout, name=name)
        return x

    return segmentation_network(
        kit,
        input_shape,
        num_classes,
        stride=2**depth,
        features=features,
        name=f"segnet_{2 * sum(stage_convs)}",
    )
