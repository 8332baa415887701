"""Kernels of the residual blocks from one static hypernetwork (Ha et al., 2016)."""

from typing import Any

import keras

from tfhyper import layers
from tfhyper.kits.kit import Apply, LayerKit, Maker, Replace, conv2d, through
from tfhyper.layers import kernel_generator as defaults
from tfhyper.layers.live_config import live_config
from tfhyper.tensor_types import Tensor


def static_hypernet(
    block: int = defaults.BLOCK,
    *,
    embedding_units: int = defaults.EMBEDDING_UNITS,
    hidden_units: int = defaults.HIDDEN_UNITS,
) -> LayerKit:
    """Returns the kit whose residual blocks share one generator of kernels.

    Every convolution of a residual block keeps embeddings in place of its kernel,
    one for each basic kernel of (block, block) channels and filters, which one
    generator of the network turns into kernels (Ha et al., 2016, sections 3.1 and
    4.1). It compresses the network and draws nothing: no posterior, the baseline
    that generates kernels without noise.

    The stem, the classifier, BatchNorm's affine parameters and convolutions of
    size 1x1, which have fewer weights than a generator, are plain variables. A
    network with kernels of other sizes has a generator for each size. What is over
    where `block` does not divide the channels is cropped. A network with fewer
    weights than its generators, such as LeNet-5, grows.

    `tfhyper.convert` refuses this kit: a trained kernel cannot be put into it.

    Args:
        block: int > 0 or two of them, channels and filters of a basic kernel.
        embedding_units: int > 0, size of each embedding.
        hidden_units: int > 0, of the generator.

    Raises:
        ValueError: for sizes that are not positive integers.

    Example:

    >>> kit = tfhyper.kits.static_hypernet()
    >>> model = tfhyper.models.wide_resnet(40, 2, kit=kit)
    >>> model.count_params()
    161034

    Reference:
        Ha, Dai, Le: HyperNetworks, arXiv 1609.09106, 2016.
    """
    options: dict[str, Any] = {
        "block": block,
        "embedding_units": embedding_units,
        "hidden_units": hidden_units,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.KernelGenerator(1, **options)

    def open_network() -> dict[str, Maker | Replace]:
        codes: dict[tuple[int, int], Tensor] = {}

        def replace(layer: keras.Layer, path: str) -> Apply:
            size = layer.kernel_size
            if size == (1, 1):
                return layer
            layer = layers.StaticHyperConv2D.from_config(live_config(layer))

            def apply(x: Tensor) -> Tensor:
                if size not in codes:
                    name = f"generator_{size[0]}x{size[1]}"
                    codes[size] = layers.KernelGenerator(size, name=name, **options)(x)
                return layer(x, codes[size])

            return apply

        return {"conv": through(replace, conv2d)}

    return LayerKit(name="static_hypernet", open=open_network)
