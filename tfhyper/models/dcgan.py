"""DCGAN: a generator of images and a discriminator, of convolutions alone."""

from typing import Any

import keras

from tfhyper import kits
from tfhyper.checks import check_bool, check_positive_integer, naming
from tfhyper.kits import LayerKit
from tfhyper.kits.kit import Maker, layer_name
from tfhyper.layers import SpectralConstraint
from tfhyper.models.sizes import check_image_shape
from tfhyper.tensor_types import Tensor

# Section 4 of the paper: weights from N(0, 0.02^2), slope 0.2 of the leaky ReLU.
_DEVIATION, _SLOPE = 0.02, 0.2


def dcgan_generator(
    width: int = 64,
    *,
    image_shape: tuple[int, int, int] = (64, 64, 3),
    latent_dim: int = 100,
    kit: str | LayerKit = "deterministic",
) -> keras.Model:
    """Returns the generator of a DCGAN (Radford et al., 2016).

    A dense layer makes a small map of a code z, and transposed 4x4 convolutions with
    strides 2 double its size until it is an image; BatchNorm and ReLU stand between
    them, and tanh is the end. The small map is the image halved twice, and on as long
    as its sides are even and stay at 4 pixels or more: 4x4 for 32 and for 64 pixels,
    7x7 for 28. It has width x 2^(doublings - 1) channels, and each doubling halves
    them. For 64x64 pixels and three channels these are the 3,576,704 parameters of the
    published network (moving averages and the bias of the dense layer not counted).

    Args:
        width: int > 0, channels of the largest map before the image.
        image_shape: (height, width, channels) of the images; both sides are multiples
            of 4.
        latent_dim: int > 0, the size of z, which is drawn from N(0, I) in training.
        kit: a `LayerKit` or its name. The transposed convolutions are its
            `conv_transpose`, which are plain in kits whose posterior has none.

    Returns:
        A functional `keras.Model`, codes (batch, latent_dim) in, images (batch, height,
        width, channels) in [-1, 1] out.

    Raises:
        ValueError: for sides that are no multiples of 4, or arguments out of range.

    Example:

    >>> model = tfhyper.models.dcgan_generator(
    ...     8, image_shape=(28, 28, 1), latent_dim=16, kit="hyper"
    ... )
    >>> model.output_shape
    (None, 28, 28, 1)

    Reference:
        Radford, Metz, Chintala: Unsupervised representation learning with deep
        convolutional generative adversarial networks, ICLR 2016, figure 1.
    """
    check_positive_integer("width", width)
    check_positive_integer("latent_dim", latent_dim)
    height, length, channels = _check_size("image_shape", image_shape)
    doublings = _halvings(height, length)
    kit = kits.get(kit)
    base = width * 2 ** (doublings - 1)
    small = height // 2**doublings, length // 2**doublings
    x = inputs = keras.Input((latent_dim,), name="codes")
    x = kit.dense(small[0] * small[1] * base, name="map")(x)
    x = keras.layers.Reshape((*small, base), name="map_shape")(x)
    for i in range(1, doublings + 1):
        name = f"up_block{i}"
        x = kit.norm(name=f"{name}/norm")(x)
        x = keras.layers.ReLU(name=layer_name(f"{name}/relu"))(x)
        filters = channels if i == doublings else base // 2**i
        x = kit.conv_transpose(filters, name=f"{name}/conv", **_options())(x)
    x = keras.layers.Activation("tanh", dtype="float32", name="images")(x)
    return keras.Model(inputs, x, name=f"dcgan_generator_{width}")


def dcgan_discriminator(
    width: int = 64,
    *,
    input_shape: tuple[int, int, int] = (64, 64, 3),
    num_classes: int = 1,
    kit: str | LayerKit = "deterministic",
    spectral_norm: bool = False,
) -> keras.Model:
    """Returns the discriminator of a DCGAN (Radford et al., 2016).

    4x4 convolutions with strides 2, the first with `width` channels and each of the
    others with twice as many, halve the image as often as `dcgan_generator` doubles its
    map; BatchNorm stands behind all but the first, a leaky ReLU of slope 0.2 behind
    each, and logits of the last map are the end. For 64x64 pixels and three channels
    these are the 2,765,568 parameters of the published network (moving averages and
    the bias of the logit not counted).

    Args:
        width: int > 0, channels of the first convolution.
        input_shape: (height, width, channels) of the images; both sides are multiples
            of 4.
        num_classes: int > 0. 1: the logit of "this image is real". K > 1: a logit for
            each class of real images, for `tfhyper.gan.BayesianGAN` with labels.
        kit: a `LayerKit` or its name. The first convolution is its stem.
        spectral_norm: bool, whether all kernels are kept at a spectral norm of 1
            (Miyato et al., 2018) by `tfhyper.layers.SpectralConstraint`; BatchNorm,
            which would undo it, is left out then. For kits with plain kernels.

    Returns:
        A functional `keras.Model`, images (batch, height, width, channels) in, logits
        (batch, num_classes) out.

    Raises:
        ValueError: for sides that are no multiples of 4, arguments out of range, or
            `spectral_norm` with a kit whose kernels are drawn.

    Example:

    >>> model = tfhyper.models.dcgan_discriminator(
    ...     8, input_shape=(28, 28, 1), kit=tfhyper.kits.bayes(num_examples=10_000)
    ... )
    >>> model.output_shape
    (None, 1)

    References:
        Radford, Metz, Chintala: Unsupervised representation learning with deep
        convolutional generative adversarial networks, ICLR 2016.
        Miyato et al.: Spectral normalization for generative adversarial networks, ICLR
        2018, section 2.1.
    """
    check_positive_integer("width", width)
    check_positive_integer("num_classes", num_classes)
    check_bool("spectral_norm", spectral_norm)
    shape = _check_size("input_shape", input_shape)
    kit = kits.get(kit)

    def conv(make: Maker, filters: int, name: str, x: Tensor) -> Tensor:
        layer = make(filters, name=name, **_options())
        if spectral_norm:
            _constrain(kit, layer, keras.layers.Conv2D)
        return layer(x)

    x = inputs = keras.Input(shape, name="images")
    for i in range(_halvings(*shape[:2])):
        name = f"down_block{i + 1}"
        make = kit.conv if i else kit.stem
        x = conv(make, width * 2**i, f"{name}/conv", x)
        if i and not spectral_norm:
            x = kit.norm(name=f"{name}/norm")(x)
        leaky = keras.layers.LeakyReLU(_SLOPE, name=layer_name(f"{name}/leaky"))
        x = leaky(x)
    x = keras.layers.Flatten(name="features")(x)
    logits = kit.dense(num_classes, name="logits")
    if spectral_norm:
        _constrain(kit, logits, keras.layers.Dense)
    return keras.Model(inputs, logits(x), name=f"dcgan_discriminator_{width}")


def _options() -> dict[str, Any]:
    # An initializer of its own: one gives kernels of one shape the same values.
    initializer = keras.initializers.RandomNormal(stddev=_DEVIATION)
    return {"kernel_size": 4, "strides": 2, "kernel_initializer": initializer}


def _constrain(kit: LayerKit, layer: Any, plain: type[keras.Layer]) -> None:
    """Gives a layer of a kit the constraint, if its kernel is a plain variable."""
    if type(layer) is not plain:
        raise ValueError(
            "`spectral_norm` must be False for a kit whose kernels are drawn: the "
            "constraint is one of a variable, not of what is drawn around it. "
            f"Received: spectral_norm=True, kit={kit.name!r}"
        )
    layer.kernel_constraint = SpectralConstraint()


def _check_size(name: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    with naming(name, "(height, width, channels)"):
        height, width, channels = check_image_shape(shape)
    if height % 4 or width % 4:
        raise ValueError(
            f"`{name}` must have sides that are multiples of 4, as 28, 32 and 64. "
            f"Received: {name}={(height, width, channels)}"
        )
    return height, width, channels


def _halvings(height: int, width: int) -> int:
    """Returns how often an image is halved: twice, and on while 4 pixels are left."""
    count, small = 2, (height // 4, width // 4)
    while all(side % 2 == 0 and side >= 8 for side in small):
        count, small = count + 1, (small[0] // 2, small[1] // 2)
    return count
