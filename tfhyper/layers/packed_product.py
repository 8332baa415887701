"""The product of a generator's output weights, whose gradient may be packed.

With one code for a batch, the gradient of the output weights U (hidden_units,
kernel weights) of a generator is an outer product,

    dL/dU = h^T dL/dw,        h: (1, hidden_units), dL/dw: (1, kernel weights)

hidden_units times larger than the gradient of the kernel. Its packed form is the vector
[h, 1, dL/dw]. The sum of several of these, over replicas with the same code or over
calls of one layer, is [c h, c, sum dL/dw]: the middle number says how many, and what
crosses a network is of the size of the plain network's gradients. Those of several
codes are stacked, a row for each. Beside a trained mean kernel, whose gradient is
dL/dw, the short form [h, 1] is enough.

A gradient is packed for the one who asks for it, `ask_for_packed`, and who unpacks it:
an optimizer, between the loss and its update. All others get ordinary gradients.
"""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from tfhyper.tensor_types import Tensor


@dataclasses.dataclass(frozen=True)
class PackedForm:
    """How the gradient of a generator's output weights is to be packed.

    Attributes:
        calls: int > 0, how many calls of the layer the gradient may be the sum of.
        mean: the mean kernel, if its gradient is dL/dw, which the packed gradient
            then leaves out; or `None`.
    """

    calls: int = 1
    mean: keras.Variable | None = None


class _Asked(threading.local):
    """What is asked for in a thread, as each replica has one."""

    # `id` of output weights -> the form of their gradient.
    forms: Mapping[int, PackedForm] | None = None
    # `id` of output weights -> how many gradients of them were given.
    given: Counter[int] = Counter()


_asked = _Asked()


def ask_for_packed(forms: Mapping[int, PackedForm]) -> None:
    """Lets the gradients to come, of what was calculated in this thread, be packed.

    That ends with `ask_no_more`, or with the next forward pass in training.

    Args:
        forms: `id` of the output weights of a generator -> the form of their gradient.
            Others' gradients stay ordinary ones.
    """
    _asked.forms, _asked.given = forms, Counter()


def ask_no_more() -> None:
    """Lets the gradients to come be ordinary ones, in this thread."""
    _asked.forms = None


def packed_product(name: str, features: Tensor, weights: keras.Variable) -> Tensor:
    """Returns features @ weights, whose gradient for the weights is packed if asked.

    Args:
        name: of the layer, for the error.
        features: h, a tensor (1, hidden_units).
        weights: U, a variable (hidden_units, kernel weights).

    Returns:
        A tensor (1, kernel weights).

    Raises:
        ValueError: as gradients are calculated, if the layer was called more often
            than the form says.
    """
    # What was asked for was a gradient of the pass before.
    ask_no_more()
    kernel = ops.matmul(features, ops.stop_gradient(weights))
    given = ops.stop_gradient(features)

    @ops.custom_gradient
    def with_gradient(kernel: Tensor, weights: Tensor) -> tuple[Tensor, Callable]:
        def gradient(upstream: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
            return upstream, _gradient(name, given, upstream, key)

        return kernel, gradient

    key = id(weights)
    # A tape does not compare a gradient's shape with that of the weights.
    return with_gradient(kernel, weights.value)


def _gradient(name: str, features: Tensor, upstream: Tensor, key: int) -> Tensor:
    """Returns the gradient for the output weights, ordinary or as it is asked for."""
    form = (_asked.forms or {}).get(key)
    if form is None:
        return ops.matmul(ops.transpose(features), upstream)
    _asked.given[key] += 1
    if _asked.given[key] > form.calls:
        ask_no_more()
        raise ValueError(
            f"Layer '{name}' is called more often in a training step than the graph "
            f"of the model shows ({form.calls}), so that its gradient may be of "
            "several codes: compile with `fast_generator=False`."
        )
    parts = [ops.reshape(features, (-1,)), ops.ones((1,), upstream.dtype)]
    if form.mean is None:
        parts.append(ops.reshape(upstream, (-1,)))
    return ops.concatenate(parts)


def is_packed(gradient: Tensor, weights: Tensor) -> bool:
    """Returns whether a gradient of some weights is packed.

    It is told by its shape, which it keeps through sums over replicas and the scaling
    of losses: a vector, or rows that are longer than those of the weights, or far
    shorter, which no ordinary gradient is. An axis whose size a graph does not know, as
    in the gradient of a dense layer on maps, fits any.
    """
    found, expected = tuple(gradient.shape), tuple(weights.shape)
    if len(found) != len(expected):
        return True
    pairs = zip(found, expected, strict=True)
    return any(a is not None and a != b for a, b in pairs)


def unpacked(packed: Tensor, units: int, mean_gradient: Tensor | None = None) -> Tensor:
    """Returns the ordinary gradient (hidden_units, kernel weights) of a packed one.

    Args:
        packed: a vector, or several as rows, which are summed.
        units: hidden_units.
        mean_gradient: dL/dw in any shape, if the packed one is of the short form.
    """
    total = 0.0
    for row in ops.unstack(packed) if len(packed.shape) > 1 else [packed]:
        kernel_gradient = (
            row[units + 1 :]
            if mean_gradient is None
            else ops.reshape(mean_gradient, -1)
        )
        total += row[:units, None] / row[units] * kernel_gradient
    return total
