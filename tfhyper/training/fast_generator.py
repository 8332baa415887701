"""Generators trained without the whole gradient of their output weights.

With one code for a batch, the gradient of the output weights U (hidden_units,
kernel weights) of a generator is an outer product,

    dL/dU = h^T dL/dw,        h: (1, hidden_units), dL/dw: (1, kernel weights)

hidden_units times larger than the gradient of the kernel. Here backpropagation
gives [h, 1, dL/dw] in its place, and the optimizer makes the product inside of its
update of U, compiled by XLA, where it is never in memory. The sum of several of
these, over replicas with the same code or over calls of one layer, is
[c h, c, sum dL/dw]: the middle number says how many, and what crosses a network is
of the size of the plain network's gradients.
"""

import contextlib
from collections.abc import Iterator

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel

# Optimizers whose update of a number depends on the gradient of that number alone.
ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Nadam,
)


def use_fast_generator(model: keras.Model) -> list[str]:
    """Trains a compiled model's generators without their whole gradients, if exact.

    `model.fit` then gives the same weights, but for rounding, in less time and
    memory. TensorFlow only: on JAX the whole step is compiled, and the product is
    never in memory anyway.

    Args:
        model: a compiled functional or Sequential model.

    Returns:
        Why not, in sentences: empty if it is used. Nothing is changed otherwise.

    Example:

    >>> model = tfhyper.training.compile_recipe(tfhyper.models.wide_resnet(10, 1), 1, 9)
    >>> tfhyper.training.use_fast_generator(model)
    []
    """
    layers = [x for x in model._flatten_layers() if isinstance(x, GeneratedKernel)]
    reasons = why_not(model, layers)
    if reasons:
        return reasons
    train_step = type(model).train_step.__get__(model)

    def packed_train_step(*args, **kwargs):
        with packed_gradients(layers):
            return train_step(*args, **kwargs)

    model.train_step = packed_train_step
    unpack_in(model.optimizer)
    return []


def why_not(model: keras.Model, layers: list) -> list[str]:
    """Returns the reasons against it."""
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    reasons = []
    if keras.backend.backend() != "tensorflow":
        reasons.append("it is for the TensorFlow backend")
    if not layers:
        reasons.append("the model has no generated kernels")
    if not isinstance(inner, ELEMENTWISE):
        reasons.append(f"{type(inner).__name__} is not known to be elementwise")
    needs = {
        "clipnorm": "needs the whole gradient",
        "clipvalue": "needs the whole gradient",
        "global_clipnorm": "needs the whole gradient",
        "gradient_accumulation_steps": "sums gradients of different codes",
    }
    for name, why in needs.items():
        if getattr(optimizer, name, None) or getattr(inner, name, None):
            reasons.append(f"{name} {why}")
    for layer in layers:
        if layer.generator_regularizer is not None:
            reasons.append(f"layer '{layer.name}' has a regularizer of its generator")
    return reasons


@contextlib.contextmanager
def packed_gradients(layers: list) -> Iterator[None]:
    """Within it, calls of the layers have packed gradients."""
    product = _packed_product()
    for layer in layers:
        layer.output_product = product
    try:
        yield
    finally:
        for layer in layers:
            del layer.output_product


def _packed_product():
    import tensorflow as tf

    @tf.custom_gradient
    def product(features, weights):
        def gradient(upstream):
            one = tf.ones((1,), upstream.dtype)
            parts = [tf.reshape(features, [-1]), one, tf.reshape(upstream, [-1])]
            # The tape does not compare this with the shape of the weights.
            return tf.matmul(upstream, weights, transpose_b=True), tf.concat(parts, 0)

        return tf.matmul(features, weights), gradient

    return lambda features, weights: product(features, weights.value)


def unpack_in(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes an optimizer take packed gradients, beside ordinary ones."""
    import tensorflow as tf

    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    update_step = type(optimizer).update_step.__get__(optimizer)

    def unpacking_update_step(gradient, variable, learning_rate):
        if gradient.shape.rank == len(variable.shape):
            return update_step(gradient, variable, learning_rate)

        @tf.function(jit_compile=True)
        def update(packed, rate):
            units = variable.shape[0]
            features = packed[:units] / packed[units]
            gradient = features[:, tf.newaxis] * packed[tf.newaxis, units + 1 :]
            update_step(gradient, variable, rate)

        return update(gradient, tf.convert_to_tensor(learning_rate))

    optimizer.update_step = unpacking_update_step
