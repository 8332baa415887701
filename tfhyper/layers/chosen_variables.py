"""Which variables of a layer are random: by role, by the pattern of a path, by rule."""

import fnmatch
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from tfhyper import keras_private
from tfhyper.checks import check_instance, check_text
from tfhyper.layers.stochastic import he_deviation

# Role -> the names that variables of stock layers have.
VARIABLE_ROLES: dict[str, tuple[str, ...]] = {
    "kernel": ("kernel", "depthwise_kernel", "pointwise_kernel"),
    "recurrent_kernel": ("recurrent_kernel",),
    "embeddings": ("embeddings", "reverse_embeddings"),
    "bias": ("bias",),
    "gamma": ("gamma", "scale"),
    "beta": ("beta",),
    "lora_a": ("lora_kernel_a", "lora_embeddings_a"),
    "lora_b": ("lora_kernel_b", "lora_embeddings_b"),
}
# The low-rank factors of `enable_lora`: W + alpha / rank A B.
LOW_RANK = ("lora_a", "lora_b")
# The weights by which inputs are multiplied, or that stand for them.
MATRICES = ("kernel", "recurrent_kernel", "embeddings")

Where: TypeAlias = str | Iterable[str] | Callable[[keras.Variable], bool]


class ChosenVariable(NamedTuple):
    """A variable of a layer, with what its posterior asks of it.

    Attributes:
        path: its path within the layer, such as `"query/kernel"`.
        variable: the variable.
        deviation: sqrt(2 / fan_in), by which scales of the posterior are measured.
            fan_in is the product of all sizes but the last, for embeddings the last;
            a bias, gamma or beta goes with the kernel beside it.
    """

    path: str
    variable: keras.Variable
    deviation: float

    @property
    def name(self) -> str:
        """The path as the start of variables' names: `"query_kernel"`."""
        return self.path.replace("/", "_")


def check_where(where: Where) -> tuple[str, ...] | Callable[[keras.Variable], bool]:
    """Returns `where` as a function of a variable, or a tuple of roles and patterns.

    Raises:
        TypeError: for anything else.
        ValueError: for none.
    """
    if callable(where):
        return where
    rule = "roles, patterns of paths, or a function of a variable"
    parts = [where] if isinstance(where, str) else where
    parts = check_instance("where", parts, Iterable, rule)
    found = tuple(check_text("where", part) for part in parts)
    if not found:
        raise ValueError(f"`where` must be {rule}. Received: where={where!r}")
    return found


def choose(
    layer: keras.Layer, where: tuple[str, ...] | Callable[[keras.Variable], bool]
) -> list[ChosenVariable]:
    """Returns the chosen variables of a built layer, in the order of its weights.

    Args:
        layer: the layer.
        where: what `check_where` returns.

    Raises:
        ValueError: if a part of `where` chooses nothing.
    """
    paths = paths_of(layer)
    if callable(where):
        chosen = [path for path, variable in paths.items() if where(variable)]
        missed: list[Any] = [] if chosen else [where]
    else:
        matches = [[x for x in paths if _is_of(part, x, paths[x])] for part in where]
        # Of several roles, a layer need not have each: an LSTM has no embeddings.
        patterns = [i for i, part in enumerate(where) if part not in VARIABLE_ROLES]
        missed = [where[i] for i in patterns if not matches[i]]
        if not any(matches):
            missed = list(where)
        known = {path for paths_of_part in matches for path in paths_of_part}
        chosen = [path for path in paths if path in known]
    if missed:
        raise ValueError(
            f"`where` must choose variables of layer '{layer.name}' "
            f"({type(layer).__name__}), which has {list(paths)}. "
            f"Received: where={where!r}, of which {missed} chooses none"
        )
    return [ChosenVariable(x, paths[x], _deviation(x, paths)) for x in chosen]


def chooses_any(layer: keras.Layer, role: str) -> bool:
    """Whether a built layer has variables of a role."""
    return role in map(role_of_variable, paths_of(layer).values())


def quantized_inside(layer: keras.Layer) -> keras.Layer | None:
    """Returns a layer of quantized weights among a layer and those inside of it."""
    inside = keras_private.flatten_layers(layer)
    modes = ((x, getattr(x, "quantization_mode", None)) for x in inside)
    return next((x for x, mode in modes if mode is not None), None)


def paths_of(layer: keras.Layer) -> dict[str, keras.Variable]:
    """Returns path within the layer -> variable, of all that can be random.

    Those are what training changes, frozen or not, of real numbers.
    """
    trained = {
        id(variable)
        for inner in keras_private.flatten_layers(layer)
        for variable in keras_private.trained_by_nature(inner)
    }
    found: dict[str, keras.Variable] = {}
    for variable in layer.weights:
        if id(variable) in trained and "float" in variable.dtype:
            path = variable.path.removeprefix(f"{layer.path}/")
            while path in found:  # two layers inside have one name
                path += "_"
            found[path] = variable
    return found


def role_of_variable(variable: keras.Variable) -> str | None:
    """Returns the role that a variable's name says, or `None`."""
    for role, names in VARIABLE_ROLES.items():
        if variable.name in names:
            return role
    return None


def _is_of(part: str, path: str, variable: keras.Variable) -> bool:
    if part in VARIABLE_ROLES:
        return role_of_variable(variable) == part
    return fnmatch.fnmatchcase(path, part)


def _deviation(path: str, paths: dict[str, keras.Variable]) -> float:
    variable = paths[path]
    shape, role = tuple(variable.shape), role_of_variable(variable)
    if role == "embeddings":
        return he_deviation((shape[-1], 1))
    if role in ("bias", "gamma", "beta") or len(shape) < 2:
        parent = path.rpartition("/")[0]
        kernels = {x: v for x, v in paths.items() if role_of_variable(v) == "kernel"}
        beside = [v for x, v in kernels.items() if x.rpartition("/")[0] == parent]
        if nearest := beside or list(kernels.values()):
            return he_deviation(tuple(nearest[0].shape))
        return he_deviation((max(1, math.prod(shape)), 1))
    return he_deviation(shape)


def patterns_of(chosen: Sequence[ChosenVariable]) -> tuple[str, ...]:
    """Returns patterns that choose these variables alone."""
    # A path is a pattern of itself, but for the signs of patterns.
    escaped = str.maketrans({x: f"[{x}]" for x in "[*?"})
    return tuple(variable.path.translate(escaped) for variable in chosen)
