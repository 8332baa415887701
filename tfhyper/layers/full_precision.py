"""The dtype of layers that round nothing under a policy of mixed precision."""

import keras


def full_precision() -> str:
    """Returns the dtype of variables under the global policy, float32 at least."""
    dtype = keras.config.dtype_policy().variable_dtype
    return "float64" if dtype == "float64" else "float32"
