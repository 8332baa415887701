"""The words that masks are made of, in Python's integers."""

import numpy as np

MASK = 2**32 - 1
GOLDEN = 0x9E3779B9
INFERENCE = 2**30  # calls outside of training count from here


def hashed(x):
    """lowbias32, in 64-bit integers."""
    x = np.uint64(x) if np.isscalar(x) else x.astype("uint64")
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(MASK)
    return x ^ (x >> np.uint64(16))


def expected_words(seed, count, examples, positions, first=0):
    """The formula of h(e, p), in Python's integers where products could overflow."""
    keys = [
        int(hashed(hashed((seed + i * GOLDEN) & MASK) ^ np.uint64(count)))
        for i in range(1, 7)
    ]
    e, p = np.arange(first, first + examples), np.arange(positions)
    a, b, c = (
        hashed(hashed((x + keys[i]) & MASK) ^ np.uint64(keys[3 + i])).astype(object)
        for i, x in enumerate((e, e, p))
    )
    x = ((a | 1)[:, None] * c[None] + b[:, None]) & MASK
    return ((x * (2 * x + 1)) & MASK).astype("uint64")
