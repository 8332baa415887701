"""Random masks that are a function of (seed, count, example, position).

The same on every backend and however examples are split into batches. Arithmetic
is modulo 2^32, which unsigned and two's complement integers share; Torch has the
latter only.
"""

import keras
import numpy as np
from keras import ops

from tfhyper.tensor_types import Tensor

_GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: keys that are far apart


def keep_mask(
    key: Tensor, first: Tensor, examples: int, positions: int, rate: float
) -> Tensor:
    """Returns which values to keep, each with probability 1 - rate.

    With a_e, b_e and c_p words hashed from the key and the example e or the
    position p, the word of a value is

        h(e, p) = x (2 x + 1) mod 2^32,    x = a_e c_p + b_e

    and it is kept where h >= rate 2^32. The map of x is a permutation, from the
    cipher RC6 (Rivest et al., 1998), whose high bits depend on all bits of x. It
    is all that is computed for each value; the hashing is done for each example
    and for each position.

    Args:
        key: integer tensor (2,), seed and count, each 0 <= value < 2**31.
        first: integer scalar tensor, number of the first example.
        examples: int or integer scalar tensor, how many examples.
        positions: int or integer scalar tensor, how many values each has.
        rate: float in 0 <= rate < 1.

    Returns:
        A bool tensor (examples, positions).
    """
    # The sign bit of b becomes that of h: it makes signed words compare as
    # unsigned ones do.
    sign = 2**31 if _is_signed() else 0
    words = _mixed(key, first, examples, positions, sign)
    return words >= _words(int(rate * 2**32) + sign)


def uniform_numbers(
    key: Tensor, first: Tensor, examples: int, positions: int
) -> Tensor:
    """Returns numbers u of U(0, 1), neither 0 nor 1.

    With the words h of `keep_mask`,

        u = (floor(h / 2^9) + 1/2) / 2^23

    so that u >= rate is the mask of `keep_mask`, but for what is rounded.

    Args:
        key: as for `keep_mask`, as are the next ones.
        first: integer scalar tensor, number of the first example.
        examples: how many examples.
        positions: how many values each has.

    Returns:
        A float32 tensor (examples, positions).
    """
    high = _shifted(_mixed(key, first, examples, positions, 0), 9)
    return (ops.cast(ops.cast(high, "int32"), "float32") + 0.5) / 2.0**23


def _mixed(
    key: Tensor, first: Tensor, examples: int, positions: int, added: int
) -> Tensor:
    """Returns the words h(e, p), (examples, positions); `added` is added to b."""
    seed, count = ops.unstack(ops.cast(key, _dtype()), 2)
    streams = _words([i * _GOLDEN for i in range(1, 7)])
    keys = ops.unstack(_hash(ops.bitwise_xor(_hash(seed + streams), count)), 6)
    # Few operations on one vector: building a graph takes time for each.
    example = _range(examples) + ops.cast(first, _dtype())
    numbers = [example, example, _range(positions)]
    words = ops.concatenate([n + key for n, key in zip(numbers, keys[:3], strict=True)])
    again = [ops.full_like(n, key) for n, key in zip(numbers, keys[3:], strict=True)]
    words = _hash(ops.bitwise_xor(_hash(words), ops.concatenate(again)))
    a = ops.bitwise_or(words[:examples], _words(1))
    b = words[examples : 2 * examples]
    c = words[2 * examples :]
    x = ops.expand_dims(a, 1) * c + ops.expand_dims(b + _words(added), 1)
    return x * (x + x + _words(1))


def _hash(x: Tensor) -> Tensor:
    """A permutation of 32-bit words that mixes well: lowbias32 of Wellons (2018)."""
    x = _fold(x, 16) * _words(0x7FEB352D)
    x = _fold(x, 15) * _words(0x846CA68B)
    return _fold(x, 16)


def _fold(x: Tensor, bits: int) -> Tensor:
    """Returns x ^ (x >> bits)."""
    return ops.bitwise_xor(x, _shifted(x, bits))


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Returns x >> bits, of words without a sign."""
    shifted = ops.bitwise_right_shift(x, _words(bits))
    if _is_signed():  # whose shift repeats the sign
        shifted = ops.bitwise_and(shifted, _words(2 ** (32 - bits) - 1))
    return shifted


def _range(count: int) -> Tensor:
    return ops.cast(ops.arange(count, dtype="int32"), _dtype())


def _words(values: int | list[int]) -> Tensor:
    """Returns ints modulo 2^32 as a tensor."""
    words = (np.array(values, "int64") % 2**32).astype("uint32")
    return ops.convert_to_tensor(words.view(_dtype()))


def _dtype() -> str:
    return "int32" if _is_signed() else "uint32"


def _is_signed() -> bool:
    return keras.backend.backend() == "torch"
