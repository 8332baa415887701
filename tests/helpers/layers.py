"""What the tests of all layers with random kernels need."""

import keras
import numpy as np
import pytest
from keras import ops

BACKEND = keras.backend.backend()
# class, arguments, shape of the inputs, shape of the kernel
CASES = {
    "dense": ("Dense", {"units": 4}, (2, 3, 5), (5, 4)),
    "conv1d": ("Conv1D", {"filters": 4, "kernel_size": 3}, (2, 7, 2), (3, 2, 4)),
    "conv2d": (
        "Conv2D",
        {"filters": 4, "kernel_size": (3, 2)},
        (2, 6, 5, 2),
        (3, 2, 2, 4),
    ),
    "conv2d_transpose": (
        "Conv2DTranspose",
        {"filters": 4, "kernel_size": (3, 2)},
        (2, 4, 5, 3),
        (3, 2, 4, 3),
    ),
    "conv3d": (
        "Conv3D",
        {"filters": 4, "kernel_size": 2},
        (2, 4, 3, 5, 2),
        (2, 2, 2, 2, 4),
    ),
    "depthwise_conv2d": (
        "DepthwiseConv2D",
        {"kernel_size": (3, 2), "depth_multiplier": 2},
        (2, 6, 5, 3),
        (3, 2, 3, 2),
    ),
}
# Options of the stock layers, each with the sizes of its case.
OPTIONS = {
    "Dense": [{"activation": "gelu"}, {"use_bias": False}],
    "Conv1D": [
        {"strides": 2, "padding": "same"},
        {"padding": "causal", "dilation_rate": 2},
        {"padding": "causal", "strides": 2},
        {"groups": 2, "use_bias": False},
        {"data_format": "channels_first", "padding": "same"},
        {"activation": "tanh"},
    ],
    "Conv2D": [
        {"strides": (2, 1), "padding": "same"},
        {"strides": 2, "activation": "relu"},
        {"dilation_rate": 2, "padding": "same"},
        {"groups": 2, "use_bias": False},
        {"data_format": "channels_first", "padding": "same", "strides": 2},
    ],
    "Conv2DTranspose": [
        {"strides": 2},
        {"strides": 2, "padding": "same", "activation": "relu"},
        {"strides": 3, "output_padding": 1, "use_bias": False},
        {"dilation_rate": 2},
        {"data_format": "channels_first", "strides": 2},
    ],
    "Conv3D": [
        {"strides": 2, "padding": "same"},
        {"dilation_rate": 2, "padding": "same", "use_bias": False},
        {"groups": 2, "activation": "relu"},
        {"data_format": "channels_first"},
    ],
    "DepthwiseConv2D": [
        {"strides": 2, "padding": "same"},
        {"dilation_rate": 2, "use_bias": False},
        {"depth_multiplier": 1, "activation": "relu"},
        {"data_format": "channels_first", "padding": "same"},
    ],
}


OPTION_CASES = {
    f"{name}-{'-'.join(options)}": (name, options)
    for name, choices in OPTIONS.items()
    for options in choices
}


def sized(name, options):
    """Returns a layer's arguments and the shape of its inputs, for some options."""
    _, sizes, inputs_shape, _ = next(c for c in CASES.values() if c[0] == name)
    if options.get("data_format") == "channels_first":
        inputs_shape = (inputs_shape[0], inputs_shape[-1], *inputs_shape[1:-1])
    options = {**sizes, **options}
    if BACKEND == "tensorflow" and {"data_format", "dilation_rate"} & set(options):
        _skip_without_kernel(getattr(keras.layers, name)(**options), inputs_shape)
    return options, inputs_shape


def _skip_without_kernel(stock, inputs_shape):
    """Skips a test of a convolution that TensorFlow does not have on this processor."""
    import tensorflow as tf

    try:
        stock(np.zeros(inputs_shape, "float32"))
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        pytest.skip(f"TensorFlow has no such kernel here: {str(error)[:200]}")


def kernel_argument(name, suffix):
    """Returns the name of an argument of a layer's kernel: kernel_regularizer."""
    return f"{'depthwise' if name.startswith('Depthwise') else 'kernel'}_{suffix}"


def to_numpy(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def gradients(loss, variables):
    """Returns d loss() / d variables, on any backend."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        found = tape.gradient(value, [v.value for v in variables])
    elif BACKEND == "jax":
        import jax

        def pure(values):
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                return loss()

        found = jax.grad(pure)([v.value for v in variables])
    else:
        for variable in variables:
            variable.value.grad = None
        loss().backward()
        found = [variable.value.grad for variable in variables]
    return [to_numpy(gradient) for gradient in found]


def numpy_conv2d(x, kernel, strides, padding, dilation, groups):
    """Convolution of channels-last images, from its definition."""
    spans = [(k - 1) * dilation + 1 for k in kernel.shape[:2]]
    if padding == "same":
        pads = []
        for size, span in zip(x.shape[1:3], spans, strict=True):
            total = max((-(-size // strides) - 1) * strides + span - size, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))
    windows = windows[:, ::strides, ::strides, :, ::dilation, ::dilation]
    outputs = [
        np.einsum("nhwcij,ijcf->nhwf", channels, filters)
        for channels, filters in zip(
            np.split(windows, groups, axis=3),
            np.split(kernel, groups, axis=3),
            strict=True,
        )
    ]
    return np.concatenate(outputs, axis=-1)
