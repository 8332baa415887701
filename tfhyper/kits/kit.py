"""The layers that a skeleton is filled with."""

import dataclasses
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras

from tfhyper.checks import (
    check_choice,
    check_function,
    check_instance,
    check_positive_integer,
    check_text,
)
from tfhyper.layers import Dropout, RandomVariables, VariablePosterior
from tfhyper.layers.chosen_variables import VARIABLE_ROLES
from tfhyper.layers.live_config import live_config
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.tensor_types import Structure, Tensor

# A layer, or several in a row.
Apply: TypeAlias = Callable[[Tensor], Tensor]
# What makes one: its arguments are those that `LayerKit` tells of its fields.
Maker: TypeAlias = Callable[..., Apply]
# What takes the place of a stock layer, by its path.
Replace: TypeAlias = Callable[[keras.Layer, str], Apply]


def check_roles(name: str, roles: Iterable[str]) -> tuple[str, ...]:
    """Returns roles of variables as a tuple, or raises an error for other words."""
    roles = (roles,) if isinstance(roles, str) else roles
    rule = f"roles of variables, of {list(VARIABLE_ROLES)}"
    return tuple(
        check_choice(name, role, VARIABLE_ROLES)
        for role in check_instance(name, roles, Iterable, rule)
    )


def layer_name(path: str) -> str:
    """Returns a path as a layer name: Keras refuses slashes."""
    return path.replace("/", "_")


# What the convolutions of residual networks have in common.
CONV_OPTIONS = {
    "padding": "same",
    "use_bias": False,
    "kernel_initializer": "he_normal",
}


def conv2d(
    filters: int, kernel_size: int | tuple[int, int], *, name: str, **options: Any
) -> keras.Layer:
    """Convolution of residual networks: same padding, no bias, He's method."""
    return keras.layers.Conv2D(
        filters, kernel_size, name=layer_name(name), **{**CONV_OPTIONS, **options}
    )


def conv2d_transpose(
    filters: int, kernel_size: int | tuple[int, int], *, name: str, **options: Any
) -> keras.Layer:
    """Transposed convolution, with what convolutions have in common."""
    return keras.layers.Conv2DTranspose(
        filters, kernel_size, name=layer_name(name), **{**CONV_OPTIONS, **options}
    )


def dense(units: int, *, name: str) -> keras.Layer:
    """The classification layer, of a map at each pixel."""
    return keras.layers.Dense(
        units, kernel_initializer="he_normal", name=layer_name(name)
    )


def keep(layer: keras.Layer, path: str) -> keras.Layer:
    """Returns the layer as it is."""
    return layer


def through(
    replace: Replace,
    maker: Maker,
) -> Maker:
    """Returns `maker`, its layers gone through `replace(layer, path)`."""

    def make(*args: Any, name: str, **options: Any) -> Apply:
        return replace(maker(*args, name=name, **options), name)

    return make


def seed_at(seed: int, path: str) -> int:
    """Returns the seed of what stands at a path, of that of a kit."""
    return derive_seed(seed, zlib.crc32(path.encode()))


def drawn_by(
    posterior: Callable[..., VariablePosterior], roles: Sequence[str], seed: int
) -> Callable[[keras.Layer, str], RandomVariables]:
    """Returns what makes a layer of which a posterior draws variables, by its path.

    Args:
        posterior: makes one, of `seed` and `name`.
        roles: of the variables.
        seed: of the kit.
    """

    def wrap(layer: keras.Layer, path: str) -> RandomVariables:
        named = {"seed": seed_at(seed, path), "name": f"{layer.name}_posterior"}
        return RandomVariables(layer, posterior(**named), roles)

    return wrap


def with_code(drawn: keras.Layer, code_of: Callable[[Tensor], Tensor]) -> Apply:
    """Returns a layer to be called with all its arguments and a code of others.

    Args:
        drawn: a layer whose call takes a `code`.
        code_of: returns the code, of any tensor that the layer is called with.
    """

    def apply(*args: Any, **kwargs: Any) -> Structure:
        leaves = keras.tree.flatten((args, kwargs))
        x = next(x for x in leaves if isinstance(x, keras.KerasTensor))
        return drawn(*args, **kwargs, code=code_of(x))

    return apply


def counterpart(
    layer: keras.Layer, classes: Sequence[type[StochasticKernel]]
) -> type[StochasticKernel]:
    """Returns the one of `classes` that stands for a stock layer's class."""
    return next(cls for cls in classes if cls.point_class is type(layer))


def weight_of_kl(kit: str, num_examples: int | None) -> float:
    """Returns 1 / num_examples, for the KL divergence in the loss of one example.

    Raises:
        ValueError: if `num_examples` is missing or not a positive integer.
    """
    if num_examples is None:
        raise ValueError(
            "`num_examples` must be given: the KL divergence is divided by the "
            f"number of training examples. Write kit=tfhyper.kits.{kit}("
            f'num_examples=len(x_train)) in place of kit="{kit}". '
            "Received: num_examples=None"
        )
    return 1.0 / check_positive_integer("num_examples", num_examples)


def batch_norm(*, name: str) -> keras.Layer:
    """BatchNorm as in the reference code of wide residual networks."""
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, name=layer_name(name)
    )


def dropout(rate: float, *, name: str) -> keras.Layer:
    """Dropout, on in training only."""
    return Dropout(rate, name=layer_name(name))


# What was made for one network: the next one has its own.
_MADE: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class LayerKit:
    """Makers of the layers of a network; a skeleton names none itself.

    Each maker returns something to call on a tensor. Names are paths,
    `stage1_block2/conv1`, whose parts tell a sharing what belongs together; a
    maker names its layer `layer_name(path)`. To mix kits, replace a field.

    Attributes:
        name: name of the kit, for tables and files.
        conv: `(filters, kernel_size, *, name, **options)`, the convolutions
            inside the residual blocks. Options are those of
            `keras.layers.Conv2D`, `CONV_OPTIONS` unless others are given.
        stem: the same, for the convolutions outside of them.
        dense: `(units, *, name)`, hidden dense layers, and the classifier, of maps that
            of each pixel, unless there is a `head`.
        norm: `(*, name)`.
        dropout: `(rate, *, name)`.
        replace: `(layer, path)`, returns what takes the place of a stock layer
            of the kinds in `replaces`: something to call on a tensor, whose
            layer has the name of the stock one. For `tfhyper.convert`.
        replaces: the classes of stock layers that `replace` takes.
        open: called once for each network, returns the fields that hold state
            of that network, such as the codes its layers share: functions, which take
            the place of the defaults.
        conv_transpose: as `conv`, the transposed convolutions, with the options of
            `keras.layers.Conv2DTranspose`. A plain layer in kits whose posterior has
            none.
        head: as `dense`, the layer that gives the logits; `None` for `dense`.
        replace_head: as `replace`, of a layer at the end of a model, behind which there
            are no weights; `None` for `replace`. A kit that replaces heads alone leaves
            all other layers as they are.
        heads: the classes of stock layers that `replace_head` takes.
        wrap: as `replace`, of a layer of any other class with variables of a role in
            `wraps`: something to call with all its arguments. For `tfhyper.convert`.
        wraps: the roles of variables that `wrap` makes random, those of
            `tfhyper.layers.RandomVariables`; none in kits without `wrap`.

    Raises:
        TypeError: for a field of another kind.

    Example:

    >>> def norm(*, name):
    ...     name = tfhyper.kits.kit.layer_name(name)
    ...     return keras.layers.LayerNormalization(name=name)
    >>> kit = dataclasses.replace(tfhyper.kits.hyper(), norm=norm)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> sum(isinstance(x, keras.layers.LayerNormalization) for x in model.layers)
    7
    """

    name: str = "deterministic"
    conv: Maker = conv2d
    stem: Maker = conv2d
    dense: Maker = dense
    norm: Maker = batch_norm
    dropout: Maker = dropout
    replace: Replace = keep
    replaces: tuple[type[keras.Layer], ...] = ()
    open: Callable[[], dict[str, Any]] = dict
    conv_transpose: Maker = conv2d_transpose
    head: Maker | None = None
    replace_head: Replace | None = None
    heads: tuple[type[keras.Layer], ...] = ()
    wrap: Replace = keep
    wraps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_text("name", self.name)
        makers = ("conv", "stem", "conv_transpose", "dense", "norm", "dropout")
        for name in (*makers, "replace", "open", "wrap"):
            check_function(name, getattr(self, name))
        for name in ("head", "replace_head"):
            if getattr(self, name) is not None:
                check_function(name, getattr(self, name))
        rule = "a tuple of classes of layers"
        for name in ("replaces", "heads"):
            for kind in check_instance(name, getattr(self, name), tuple, rule):
                check_instance(name, kind, type, rule)
        check_roles("wraps", self.wraps)

    def for_network(self) -> "LayerKit":
        """Returns the kit with fresh state for one network.

        A field that somebody replaced stays as it is.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        made = {
            name: value
            for name, value in self.open().items()
            if getattr(self, name) is defaults[name] or getattr(self, name) in _MADE
        }
        _MADE.update(made.values())
        return dataclasses.replace(self, **made)

    def logits(self, units: int, *, name: str) -> Apply:
        """Returns the layer that gives the logits of a network.

        Args:
            units: int > 0, how many there are.
            name: the layer's path.
        """
        return (self.head or self.dense)(units, name=name)


def variational_kit(
    name: str,
    classes: Sequence[type[StochasticKernel]],
    options: dict[str, Any],
    seed: int,
    *,
    regularizer: bool = False,
) -> LayerKit:
    """Returns the kit that gives every kernel a posterior of its own.

    Args:
        name: of the kit.
        classes: layers with a `point_class`, which they stand for.
        options: their arguments, besides those of the stock layers. `None` as
            `kernel_initializer` is the stock layer's; that of a kernel by another
            name goes by this one.
        seed: int, from which the seeds of all layers are derived.
        regularizer: bool, whether the regularizer of a stock layer's kernel is kept.
    """

    def replace(layer: keras.Layer, path: str) -> keras.Layer:
        cls = counterpart(layer, classes)
        own = {name: fresh(value) for name, value in options.items()}
        initializer = own.pop("kernel_initializer", None)
        if initializer is not None:
            own[f"{cls.kernel_argument}_initializer"] = initializer
        # The prior takes the place of a regularizer.
        none = {} if regularizer else {f"{cls.kernel_argument}_regularizer": None}
        return cls.from_config(
            {
                **live_config(layer),
                **none,
                "seed": seed_at(seed, path),
                **own,
            }
        )

    replaces = tuple(cls.point_class for cls in classes)
    transposes = keras.layers.Conv2DTranspose in replaces
    return LayerKit(
        name=name,
        conv=through(replace, conv2d),
        stem=through(replace, conv2d),
        conv_transpose=through(replace if transposes else keep, conv2d_transpose),
        dense=through(replace, dense),
        replace=replace,
        replaces=replaces,
    )


def fresh(option: Any) -> Any:
    """Returns an initializer's copy: one gives layers of one shape the same values."""
    is_shared = isinstance(option, keras.initializers.Initializer)
    return option.clone() if is_shared else option
