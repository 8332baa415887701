"""Generators trained without the whole gradient of their output weights.

With one code for a batch, the gradient of the output weights U (hidden_units,
kernel weights) of a generator is an outer product,

    dL/dU = h^T dL/dw,        h: (1, hidden_units), dL/dw: (1, kernel weights)

hidden_units times larger than the gradient of the kernel. Here backpropagation
gives [h, 1, dL/dw] in its place, and the optimizer makes the product inside of its
update of U, compiled by XLA, where it is never in memory. The sum of several of
these, over replicas with the same code or over calls of one layer, is
[c h, c, sum dL/dw]: the middle number says how many, and what crosses a network is
of the size of the plain network's gradients. Those of several codes are stacked, a
row for each. Beside a trained mean kernel, whose gradient is dL/dw, it is [h, 1] alone.
"""

import threading
from collections import Counter
from collections.abc import Callable

import keras
from keras import ops

from tfhyper.checks import check_instance
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.training.strategies import local_devices

# Optimizers whose update of a number depends on the gradient of that number alone.
ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Nadam,
)
# Of each thread, as replicas have: the calls of each layer while gradients are packed.
_packing = threading.local()


def use_fast_generator(model: keras.Model) -> list[str]:
    """Trains a compiled model's generators without their whole gradients, if exact.

    `model.fit`, `train_on_batch` and `tfhyper.training.Trainer` then give the same
    weights, but for rounding, in less time and memory, and replicas exchange gradients
    of the size of the plain network's. `tfhyper.training.compile_recipe` and its kin
    call this. It lasts until the model is compiled again; a model that was loaded from
    a file needs it again, too. TensorFlow only: on JAX the whole step is compiled, and
    the product is never in memory anyway.

    It is not exact, and refused, where an optimizer looks at the whole gradient
    (clipping, Muon), sums gradients of several
    codes (`gradient_accumulation_steps`), where a generator has a regularizer of its
    own, where one layer is called with two codes in a step, and for models with a
    `train_step` or a `call` of their own. Weight sets that differ between replicas
    are refused by `Trainer`.

    Args:
        model: a compiled functional or Sequential model.

    Returns:
        Why not, in sentences: empty if it is used. Nothing is changed otherwise.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: if it is not compiled; in training, if a layer is called more often
            than the model's graph shows.

    Example:

    >>> model = tfhyper.models.wide_resnet(10, 1)
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> tfhyper.training.use_fast_generator(model)
    []
    """
    check_compiled(model)
    reasons = why_not(model)
    if not reasons:
        optimizer = model.optimizer
        plain = type(model).train_step.__get__(model)
        packed = packed_step(model, plain)

        def train_step(*args, **kwargs):
            # A model that is compiled again has an optimizer that cannot unpack.
            same = model.optimizer is optimizer
            return (packed if same else plain)(*args, **kwargs)

        train_step.optimizer = optimizer
        model.train_step = train_step
        model.train_function = None  # made anew from it
    return reasons


def check_compiled(model: keras.Model) -> None:
    """Raises TypeError or ValueError unless it is a compiled model of Keras."""
    check_instance("model", model, keras.Model, "a compiled keras.Model")
    if not model.compiled:
        raise ValueError(
            "`model` must be compiled, as by `tfhyper.training.compile_recipe`. "
            f"Received: model={model.name!r}, not compiled"
        )


def is_in_use(model: keras.Model) -> bool:
    """Returns whether `use_fast_generator` holds for a model as it is compiled."""
    step = vars(model).get("train_step")
    return getattr(step, "optimizer", None) is model.optimizer


def why_not(model: keras.Model) -> list[str]:
    """Returns the reasons against it."""
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    reasons = []
    if keras.backend.backend() != "tensorflow":
        reasons.append("it is for the TensorFlow backend")
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
    for name in ("train_step", "compute_loss"):
        if getattr(type(model), name) is not getattr(keras.Model, name):
            reasons.append(f"{type(model).__name__} has a {name} of its own")
    # Of a keras.Model(inputs, outputs); its class has no public name.
    if not (isinstance(model, keras.Sequential) or hasattr(model, "_nodes")):
        reasons.append(f"{type(model).__name__} has a call of its own")
    for inner in model._flatten_layers(include_self=False):
        if isinstance(inner, keras.Model) and len(_calls(model, inner)) > 1:
            reasons.append(f"model '{inner.name}' is called several times")
    layers = _generated(model)
    if not layers:
        reasons.append("the model has no generated kernels")
    for layer in layers:
        if layer.generator_regularizer is not None:
            reasons.append(f"layer '{layer.name}' has a regularizer of its generator")
        if len(_codes(model, layer)) > 1:
            reasons.append(f"layer '{layer.name}' is called with several codes")
    return reasons


def _generated(model):
    return [x for x in model._flatten_layers() if isinstance(x, GeneratedKernel)]


def _calls(model, layer):
    """Returns the nodes of a layer's calls in the graph of a model."""
    graphs = (getattr(x, "_functional", None) or x for x in model._flatten_layers())
    depths = [d for x in graphs for d in getattr(x, "_nodes_by_depth", {}).values()]
    nodes = {id(node) for depth in depths for node in depth}
    # A Sequential that was loaded has called its layers once more, as it was built.
    return [node for node in layer._inbound_nodes if id(node) in nodes]


def _codes(model, layer):
    """Returns what tells the codes of a layer's calls in the graph apart."""
    codes = set()
    for node in _calls(model, layer):
        code = [*node.arguments.args[1:], node.arguments.kwargs.get("code")][0]
        codes.add(("own", id(node)) if code is None else ("shared", id(code)))
    return codes


def packed_step(model: keras.Model, step: Callable, parts: int = 1) -> Callable:
    """Returns a training step with packed gradients, which the optimizer unpacks.

    Args:
        model: one that `why_not` has nothing against.
        step: a function that trains the model on a batch, with `model.optimizer`.
        parts: how many codes it draws, one after another.
    """
    means = {}  # index of output weights -> index of the mean kernel before them
    index = {id(v): i for i, v in enumerate(model.trainable_variables)}
    for layer in _generated(model):
        output, mean = (index.get(id(v)) for v in (layer.generator_output, layer.mean))
        short = parts == 1 and None not in (output, mean) and mean < output
        if short:
            means[output] = mean
        allowed = parts * max(1, len(_calls(model, layer)))
        layer.output_product = _product(layer, allowed, short)
    _unpack_in(model.optimizer, means)

    def packing(*args, **kwargs):
        _packing.calls = Counter()
        try:
            return step(*args, **kwargs)
        finally:
            _packing.calls = None

    return packing


def is_packed(gradient, weight) -> bool:
    """Returns whether a gradient of a weight is packed."""
    return tuple(gradient.shape) != tuple(weight.shape)


def _product(layer, allowed, short):
    """Returns h U for a layer, with a packed gradient where gradients are packed.

    Args:
        layer: the layer.
        allowed: how often it may be called in a step.
        short: whether dL/dw is left out.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def product(features, weights):
        def gradient(upstream):
            parts = [tf.reshape(features, [-1]), tf.ones((1,), upstream.dtype)]
            if not short:
                parts.append(tf.reshape(upstream, [-1]))
            of_features = tf.matmul(upstream, weights, transpose_b=True)
            # An update is in place only once nothing else reads the weights.
            with tf.control_dependencies([of_features]):
                packed = tf.concat(parts, 0)
            # The tape does not compare this with the shape of the weights.
            return of_features, packed

        return tf.matmul(features, weights), gradient

    def packed_or_not(features, weights):
        calls = getattr(_packing, "calls", None)
        if calls is None:
            return ops.matmul(features, weights)
        calls[id(layer)] += 1
        if calls[id(layer)] > allowed:
            raise ValueError(
                f"Layer '{layer.name}' is called more often in a training step than "
                f"the graph of the model shows ({allowed}), so that its gradient may "
                "be of several codes: compile with `fast_generator=False`."
            )
        return product(features, weights.value)

    return packed_or_not


def _unpack_in(optimizer, means):
    """Makes an optimizer take packed gradients, beside ordinary ones.

    Args:
        optimizer: the optimizer.
        means: index of a weight whose packed gradient is short -> index of one that
            is updated before it, and whose gradient is the rest of it.
    """
    import tensorflow as tf

    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    update_step = type(optimizer).update_step.__get__(optimizer)
    rests = {}  # (index of a mean, device) -> its gradient, until it is used

    def update_packed(packed, rest, variable, rate):
        units = variable.shape[0]
        total = 0.0
        for row in tf.unstack(packed) if packed.shape.rank > 1 else [packed]:
            upstream = row[units + 1 :] if rest is None else tf.reshape(rest, [-1])
            total += row[:units, tf.newaxis] / row[units] * upstream
        update_step(total, variable, rate)

    def unpacking_update_step(gradient, variable, learning_rate):
        index = optimizer._get_variable_index(variable)
        if index in means.values():
            rests[index, variable.device] = gradient
        if not is_packed(gradient, variable):
            return update_step(gradient, variable, learning_rate)
        rest = rests.pop((means[index], variable.device)) if index in means else None
        if len(local_devices(tf.distribute.get_strategy())) > 1:
            # XLA cannot reach the variables of a second CPU: the product is made.
            return update_packed(gradient, rest, variable, learning_rate)

        @tf.function(jit_compile=True)
        def update(packed, rest, rate):
            update_packed(packed, rest, variable, rate)

        return update(gradient, rest, tf.convert_to_tensor(learning_rate))

    optimizer.update_step = unpacking_update_step
