"""Generators trained without the whole gradient of their output weights.

Backpropagation gives the gradient of a generator's output weights in its packed form,
`tfhyper.layers.packed_product`, and the optimizer makes the whole of it inside of its
update, compiled by XLA, where it is never in memory: `tfhyper.training.unpacking`.
Here stands where that is exact, and what is switched on.
"""

import contextlib
from collections.abc import Iterator

import keras

from tfhyper import keras_private
from tfhyper.checks import check_instance
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.packed_product import PackedForm
from tfhyper.training.unpacking import Packing, unpacking, unpacks

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

    `model.fit`, `train_on_batch` and `tfhyper.training.Trainer` then give the same
    weights, but for rounding, in less time and memory, and replicas exchange gradients
    of the size of the plain network's. `tfhyper.training.compile_recipe` and its kin
    call this. It lasts until the model is compiled with another optimizer; a model that
    was loaded from a file needs it again, too. TensorFlow only: on JAX the whole step
    is compiled, and the product is never in memory anyway.

    `model.optimizer` is then another object with the state and the class of the one
    before, written to files as that is. Between its `scale_loss` and its `apply`,
    gradients of the generators' output weights are packed: see
    `tfhyper.layers.packed_product`. Those of any other loss are ordinary.

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
        for layer in _generated(model):
            layer.packs_gradient = True
        # `fit` has no other place for what happens around a gradient.
        model.optimizer = fast_optimizer(model)
        model.train_function = None  # made anew, with this optimizer
    return reasons


def check_compiled(model: keras.Model) -> None:
    """Raises TypeError or ValueError unless it is a compiled model of Keras."""
    check_instance("model", model, keras.Model, "a compiled keras.Model")
    if not model.compiled:
        raise ValueError(
            "`model` must be compiled, as by `tfhyper.training.compile_recipe`. "
            f"Received: model={model.name!r}, not compiled"
        )


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
    if not (isinstance(model, keras.Sequential) or keras_private.is_functional(model)):
        reasons.append(f"{type(model).__name__} has a call of its own")
    for inner in keras_private.flatten_layers(model, include_self=False):
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


def _generated(model: keras.Model) -> list[GeneratedKernel]:
    # Factors are few numbers: their gradients are small as they are.
    layers = keras_private.flatten_layers(model)
    return [
        x for x in layers if isinstance(x, GeneratedKernel) and x.factor_rank is None
    ]


def _calls(model: keras.Model, layer: keras.Layer) -> list:
    """Returns the nodes of a layer's calls in the graph of a model."""
    graphs = map(keras_private.graph_nodes, keras_private.flatten_layers(model))
    nodes = {id(node) for graph in graphs for node in graph}
    # A Sequential that was loaded has called its layers once more, as it was built.
    return [x for x in keras_private.inbound_nodes(layer) if id(x) in nodes]


def _codes(model: keras.Model, layer: keras.Layer) -> set[tuple[str, int]]:
    """Returns what tells the codes of a layer's calls in the graph apart."""
    codes = set()
    for node in _calls(model, layer):
        code = [*node.arguments.args[1:], node.arguments.kwargs.get("code")][0]
        codes.add(("own", id(node)) if code is None else ("shared", id(code)))
    return codes


def packing_of(model: keras.Model, parts: int = 1) -> Packing:
    """Returns what the optimizer of a model can ask of its generators.

    Args:
        model: one that `why_not` has nothing against.
        parts: how many codes a step draws, one after another.
    """
    index = {id(v): i for i, v in enumerate(model.trainable_variables)}
    generators = []
    for layer in _generated(model):
        output, mean = (index.get(id(v)) for v in (layer.generator_output, layer.mean))
        # The mean kernel is updated before, so that its gradient is there.
        short = parts == 1 and _comes_first(mean, output)
        calls = max(1, len(_calls(model, layer)))
        form = PackedForm(calls, layer.mean if short else None)
        generators.append((layer.generator_output, layer.generator_hidden, form))
    return Packing(generators)


def _comes_first(first: int | None, second: int | None) -> bool:
    return first is not None and second is not None and first < second


def fast_optimizer(model: keras.Model, parts: int = 1) -> keras.Optimizer:
    """Returns a model's optimizer, as one that asks for packed gradients.

    Args:
        model: one that `why_not` has nothing against.
        parts: how many codes a step draws, one after another.
    """
    return unpacking(model.optimizer, packing_of(model, parts))


@contextlib.contextmanager
def training_with(model: keras.Model, optimizer: keras.Optimizer) -> Iterator[None]:
    """Within it, a model's training steps use an optimizer, and what it asks for.

    Args:
        model: a compiled model.
        optimizer: of `fast_optimizer`, or the model's by `plain`.
    """
    before = model.optimizer
    packed = {layer: layer.packs_gradient for layer in _generated(model)}
    for layer in packed:
        layer.packs_gradient = unpacks(optimizer)
    model.optimizer = optimizer
    try:
        yield
    finally:
        model.optimizer = before
        for layer, was_packed in packed.items():
            layer.packs_gradient = was_packed
