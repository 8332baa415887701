"""Plain Keras layers: what maximum likelihood and MAP train."""

from tfhyper.kits.kit import LayerKit


def deterministic() -> LayerKit:
    """Returns the kit of stock Keras layers.

    Example:

    >>> model = tfhyper.models.wide_resnet(10, 1, kit=tfhyper.kits.deterministic())
    >>> model.count_params()
    78330
    """
    return LayerKit()
