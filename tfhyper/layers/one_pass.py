"""Last layers that know the variance of their outputs: one pass predicts with it."""

import math
from typing import Any, Literal, TypeAlias, get_args

import keras
from keras import ops

from tfhyper.checks import check_choice
from tfhyper.layers.mixin import LayerMixin
from tfhyper.tensor_types import Tensor

# How logits become probabilities, of classes or of labels each by itself.
Link: TypeAlias = Literal["softmax", "sigmoid"]
LINKS: tuple[Link, ...] = get_args(Link)
MEAN_FIELD_FACTOR = math.pi / 8
_ACTIVATIONS: dict[Link, Any] = {
    "softmax": keras.activations.softmax,
    "sigmoid": keras.activations.sigmoid,
}


def mean_field(logits: Tensor, variance: Tensor, factor: float) -> Tensor:
    """Returns logits / sqrt(1 + factor variance), whose softmax is about the mean.

    For z ~ N(logits, variance) of one label and the factor pi / 8 the sigmoid of that
    is about the mean of sigmoid(z) (MacKay, 1992).
    """
    return logits / ops.sqrt(1.0 + factor * variance)


def settle_link(link: Link | None, units: int, activation: Any) -> Link:
    """Returns a link, or for `None` that of a layer with so many units.

    Args:
        link: one of `LINKS`, or `None`.
        units: int, how many logits there are.
        activation: function behind the logits.

    Raises:
        ValueError: for another link or activation, or the softmax of one unit.
    """
    found = [name for name, x in _ACTIVATIONS.items() if activation is x]
    if not found and activation not in (None, keras.activations.linear):
        raise ValueError(
            "`activation` must be None, softmax or sigmoid: the outputs are logits or "
            f"probabilities of them. Received: activation={activation!r}"
        )
    if link is None:
        return found[0] if found else "sigmoid" if units == 1 else "softmax"
    check_choice("link", link, LINKS)
    if found and found[0] != link:
        raise ValueError(
            f"`link` must be that of the activation, {found[0]!r}. "
            f"Received: link={link!r}"
        )
    if units == 1 and link == "softmax":
        raise ValueError(
            "`link` must be 'sigmoid' for one unit, whose softmax is always 1. "
            f"Received: link={link!r}"
        )
    return link


class LastLayer(LayerMixin):
    """Part of a layer whose outputs go to the loss, and through no other weights.

    A predictor refuses a model in which something with weights stands behind it: its
    variance, its bound and its mean-field outputs would be wrong there.
    """
