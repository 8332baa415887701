"""The brightness of a picture, as studies of super-resolution score it."""

import numpy as np

# ITU-R BT.601, of red, green and blue in 0 to 1, in steps of 8 bits.
_OFFSET, _WEIGHTS = 16.0, (65.481, 128.553, 24.966)


def luma_of(rgb: np.ndarray) -> np.ndarray:
    """Returns Y of RGB in 0 to 1, (..., 3), in the same unit: float64 (...).

        Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255

    as `rgb2ycbcr` of MATLAB has it: from 16 / 255, black, to 235 / 255, white.
    """
    weighted = np.asarray(rgb, np.float64) @ np.array(_WEIGHTS)
    return (_OFFSET + weighted) / 255
