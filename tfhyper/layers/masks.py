"""Random masks that are a function of (seed, count, example, position).

The same on every backend and however examples are split into batches. Arithmetic
is modulo 2^32, which unsigned and two's complement integers share; Torch has the
latter only.
"""

import keras
import numpy as np
from keras import ops

_GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: keys that are far apart


def keep_mask(key, first, examples, positions, rate):
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
    key = ops.cast(key, _dtype())
    root = _hash(ops.bitwise_xor(_hash(key[0] + _word(_GOLDEN)), key[1]))
    keys = [_hash(root + _word(i * _GOLDEN)) for i in range(1, 7)]
    example = _range(examples) + ops.cast(first, _dtype())
    position = _range(positions)
    a = ops.bitwise_or(_hash_twice(example, *keys[:2]), _word(1))
    # The sign bit of b becomes that of h: it makes signed words compare as
    # unsigned ones do.
    signed = 2**31 if _dtype() == "int32" else 0
    b = _hash_twice(example, *keys[2:4]) + _word(signed)
    c = _hash_twice(position, *keys[4:])
    x = a[:, None] * c[None, :] + b[:, None]
    return x * (x + x + _word(1)) >= _word(int(rate * 2**32) + signed)


def _hash_twice(x, first_key, second_key):
    return _hash(_hash(ops.bitwise_xor(x, first_key)) + second_key)


def _hash(x):
    """A permutation of 32-bit words that mixes well: lowbias32 of Wellons (2018)."""
    x = _fold(x, 16) * _word(0x7FEB352D)
    x = _fold(x, 15) * _word(0x846CA68B)
    return _fold(x, 16)


def _fold(x, bits):
    """Returns x ^ (x >> bits)."""
    shifted = ops.bitwise_right_shift(x, _word(bits))
    # Of signed words a shift repeats the sign.
    shifted = ops.bitwise_and(shifted, _word(2 ** (32 - bits) - 1))
    return ops.bitwise_xor(x, shifted)


def _range(count):
    return ops.cast(ops.arange(count, dtype="int32"), _dtype())


def _word(value):
    """Returns an int modulo 2^32, as a tensor."""
    return ops.convert_to_tensor(np.uint32(value % 2**32).view(_dtype()))


def _dtype():
    return "int32" if keras.backend.backend() == "torch" else "uint32"
