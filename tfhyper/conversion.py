"""What `convert` does with each layer of a model, and why: its plan, as a table."""

import dataclasses
import fnmatch
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import keras

from tfhyper import keras_graph, keras_private, kits
from tfhyper.checks import check_instance, check_text
from tfhyper.kits.kit import Replace
from tfhyper.layers import StochasticLayer
from tfhyper.layers.chosen_variables import (
    LOW_RANK,
    chooses_any,
    paths_of,
    quantized_inside,
)
from tfhyper.summary import Summarized, Summary

# Layers whose weights are moments and tables that training data gave, or fixed, which a
# draw has of its own or leaves as they are.
ADAPTED = tuple(
    getattr(keras.layers, name)
    for name in (
        "BatchNormalization",
        "Discretization",
        "Normalization",
        "STFTSpectrogram",
    )
    if hasattr(keras.layers, name)
)
# Layers with weights that are kept where no kit draws their factors and shifts.
COPIED = (
    *ADAPTED,
    *(
        getattr(keras.layers, name)
        for name in ("GroupNormalization", "LayerNormalization", "RMSNormalization")
        if hasattr(keras.layers, name)
    ),
)

Keep: TypeAlias = Iterable[str] | Callable[[keras.Layer], bool]
Where: TypeAlias = (
    str
    | type[keras.Layer]
    | Callable[[keras.Layer], bool]
    | Iterable[str | type[keras.Layer]]
)
Action: TypeAlias = Literal["replaced", "wrapped", "kept", "refused"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclasses.dataclass(frozen=True)
class LayerConversion:
    """What becomes of one layer.

    Attributes:
        path: names of the nested models it is in, and its own, with slashes between.
        layer: the layer.
        action: `"replaced"` by the kit's layer; `"wrapped"` in
            `tfhyper.layers.RandomVariables`; `"kept"` as it is; or `"refused"`:
            `tfhyper.convert` raises ValueError.
        reason: why, in words.
        is_left: whether it is kept without being asked for, though it has weights of
            more than one axis: `tfhyper.convert` warns of it.

    Example:

    >>> conv = tfhyper.conversion_report(trained, "hyper").layers[1]
    >>> conv.path, conv.action, conv.is_drawn
    ('conv', 'replaced', True)
    """

    path: str
    layer: keras.Layer
    action: Action
    reason: str
    is_left: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether the layer is another one in the converted model."""
        return self.action in ("replaced", "wrapped")


class ConversionReport(Summarized):
    """What `tfhyper.convert` does with each layer of a model, and why.

    Shown as a table, at a prompt and in a notebook.

    Attributes:
        model: name of the model.
        kit: name of the kit.
        layers: a `LayerConversion` for each layer, in the order of the model.

    Example:

    >>> report = tfhyper.conversion_report(trained, "hyper", where="last")
    >>> [line.path for line in report.of("replaced")]
    ['logits']
    """

    def __init__(self, model: str, kit: str, layers: Sequence[LayerConversion]):
        self.model, self.kit = model, kit
        self.layers = tuple(layers)

    def of(self, action: Action) -> list[LayerConversion]:
        """Returns the layers with one fate.

        Args:
            action: `"replaced"`, `"wrapped"`, `"kept"` or `"refused"`.
        """
        return [line for line in self.layers if line.action == action]

    def to_summary(self) -> Summary:
        """Returns the table."""
        counts = [(len(self.of(action)), action) for action in ACTIONS]
        told = ", ".join(f"{count} {action}" for count, action in counts if count)
        rows = [
            (line.path, type(line.layer).__name__, line.action, line.reason)
            for line in self.layers
        ]
        return Summary(
            f"Model '{self.model}', kit '{self.kit}': {told}",
            ("layer", "class", "is", "because"),
            rows,
        )


def conversion_report(
    model: keras.Model,
    kit: str | kits.LayerKit,
    *,
    keep: Keep = (),
    where: Where | None = None,
) -> ConversionReport:
    """Returns what `tfhyper.convert` does with each layer, and why; converts nothing.

    Args:
        model: as for `tfhyper.convert`, as are the next ones.
        kit: a `LayerKit`, or the name of one in `kits.KITS`.
        keep: names of layers to leave as they are, or a function.
        where: which layers are to be drawn.

    Raises:
        ValueError: for a name in `keep`, or a part of `where`, that no layer has.
        TypeError: for a model whose graph is not known.

    Example:

    >>> kit = tfhyper.kits.bayes(num_examples=100)
    >>> print(tfhyper.conversion_report(trained, kit))
    Model 'trained', kit 'bayes': 2 replaced, 2 kept
    layer                   class        is                        because
    image              InputLayer      kept            it has no variables
    conv                   Conv2D  replaced  its class is one of the kit's
    pool   GlobalAveragePooling2D      kept            it has no variables
    logits                  Dense  replaced  its class is one of the kit's
    """
    keras_graph.check_graph(model)
    kit = kits.get(kit)
    return ConversionReport(model.name, kit.name, plan(model, kit, keep, where))


def replaces(kit: kits.LayerKit, line: LayerConversion) -> Replace:
    """Returns what makes the kit's layer of one that is drawn.

    Args:
        kit: the kit.
        line: of its plan.
    """
    if line.action == "wrapped":
        return kit.wrap
    is_head = line.reason == _HEAD
    return (is_head and kit.replace_head) or kit.replace


# Reasons, as the table tells them.
_ASKED = "`keep` asks for it"
NOT_ASKED = "`where` does not choose it"
_OF_KIT = "its class is one of the kit's"
_HEAD = "it is at the end, the place of the kit's head"
_WRAPPED = "it has variables of the roles {}"
_EMPTY = "it has no variables"
_NORM = "it is a norm, or holds what was adapted to data"
_OURS = "it is of this package already"
_TIED = "its variable '{}' is that of layer '{}', too"
_QUANTIZED = "its weights are quantized"
_INSIDE = "layer '{}' inside of it draws its weights already"
_CONFIG = "its config does not say all that it is: no copy of it can be made"
_FIXED = "none of its variables is trained"
_FOREIGN = "its class is none of the kit's"
_NO_ROLE = "it has no variables of the roles {}"
_HEADS_ALONE = "the kit takes heads alone"


def plan(
    model: keras.Model, kit: kits.LayerKit, keep: Keep, where: Where | None
) -> list[LayerConversion]:
    """Returns what becomes of each layer, in the order of the model, each once.

    Args:
        model: a model whose graph is known.
        kit: a kit for one network.
        keep: as for `tfhyper.convert`.
        where: likewise.
    """
    found = list(keras_graph.walk(model))
    if not callable(keep):
        keep = _by_name(keep, {x.name for line in found for x in line})
    kept = {id(line[-1]) for line in found if any(map(keep, line))}
    paths: dict[int, str] = {}
    layers: dict[int, keras.Layer] = {}
    for line in found:
        layers[id(line[-1])] = line[-1]
        paths.setdefault(id(line[-1]), "/".join(x.name for x in line))
    at_end = {
        id(x)
        for x in (keras_graph.layers_at_end(model) if kit.heads else ())
        if type(x) in kit.heads
    }
    if kit.heads and not at_end & (set(layers) - kept):
        classes = sorted(cls.__name__ for cls in kit.heads)
        names = [x.name for x in keras_graph.layers_at_end(model)]
        raise ValueError(
            f"`model` must end in a layer that the head of the kit '{kit.name}' "
            f"stands for, one of {classes}, with no weights behind it. Received: "
            f"model '{model.name}', at whose end are {names}"
        )
    owners = _owners(layers.values())
    drawn = {
        key: _fate(layer, kit, key in at_end, owners) for key, layer in layers.items()
    }
    asked = None
    if where is not None:
        able = [key for key in drawn if drawn[key].action in ("replaced", "wrapped")]
        asked = _asked(where, layers, paths, [x for x in able if x not in kept])
    return [
        LayerConversion(paths[key], layer, *_settled(key, drawn[key], kept, asked))
        for key, layer in layers.items()
    ]


class _Fate(NamedTuple):
    """What becomes of a layer: as `LayerConversion` has it."""

    action: Action
    reason: str
    is_left: bool = False


def _settled(
    key: int, fate: _Fate, kept: set[int], asked: set[int] | None
) -> tuple[Action, str, bool]:
    """Returns what becomes of a layer, with what the user asked for."""
    if fate.action == "kept" and not fate.is_left:
        return fate
    if key in kept:
        return _Fate("kept", _ASKED)
    if asked is None:
        return fate
    if key not in asked:
        return _Fate("kept", NOT_ASKED)
    return fate._replace(action="kept") if fate.action == "refused" else fate


def _fate(
    layer: keras.Layer,
    kit: kits.LayerKit,
    at_end: bool,
    owners: dict[int, list[keras.Layer]],
) -> _Fate:
    """Returns what a kit does with a layer if nobody asks for anything else."""
    inside = keras_private.flatten_layers(layer)
    if quantized_inside(layer) is not None:
        if not any(x in LOW_RANK and chooses_any(layer, x) for x in kit.wraps):
            return _Fate("kept", _QUANTIZED, is_left=bool(kit.replaces))
    takes = at_end or type(layer) in kit.replaces
    if isinstance(layer, StochasticLayer) and not takes:
        return _Fate("kept", _OURS)
    if not layer.weights and not takes:
        return _Fate("kept", _EMPTY)
    others = [x for x in inside if isinstance(x, StochasticLayer)]
    wraps = not isinstance(layer, ADAPTED)
    roles = [x for x in kit.wraps if wraps and chooses_any(layer, x)]
    wraps = bool(roles) and not takes
    for variable in layer.weights if takes or wraps else ():
        for owner in owners[id(variable)]:
            if owner is not layer:
                return _Fate("refused", _TIED.format(variable.path, owner.name))
    if takes:
        return _Fate("replaced", _HEAD if at_end else _OF_KIT)
    if wraps and others:
        return _Fate("kept", _INSIDE.format(others[0].name), is_left=True)
    if wraps:
        if keras_graph.clone(layer) is None:
            return _Fate("kept", _CONFIG, is_left=True)
        return _Fate("wrapped", _WRAPPED.format(", ".join(roles)))
    if isinstance(layer, COPIED):
        return _Fate("kept", _NORM)
    if not paths_of(layer):
        return _Fate("kept", _FIXED)
    if kit.heads and not kit.replaces:
        return _Fate("kept", _HEADS_ALONE)
    reason = _NO_ROLE.format(", ".join(kit.wraps)) if kit.wraps else _FOREIGN
    multiplies = any(len(x.shape) > 1 for x in paths_of(layer).values())
    # A kit of no classes is for what its roles name, and leaves the rest on purpose.
    return _Fate("kept", reason, is_left=multiplies and bool(kit.replaces))


def _owners(layers: Iterable[keras.Layer]) -> dict[int, list[keras.Layer]]:
    """Returns id of a variable -> the layers that have it."""
    owners: dict[int, list[keras.Layer]] = {}
    for layer in layers:
        for variable in layer.weights:
            owners.setdefault(id(variable), []).append(layer)
    return owners


def _asked(
    where: Where, layers: dict[int, keras.Layer], paths: dict[int, str], able: list[int]
) -> set[int]:
    """Returns the ids of the layers that a `where` chooses, or raises an error."""
    rule = (
        "a pattern of paths, a class of layers, a function of a layer, "
        '"last" or "last:N" with N > 0, or several of these'
    )
    parts: list[Any] = [where]
    if several := isinstance(where, Iterable) and not isinstance(where, str | type):
        parts = list(where)
    if not parts:
        raise ValueError(f"`where` must be {rule}. Received: where={where!r}")
    chosen: set[int] = set()
    for part in parts:
        if isinstance(part, str) and (last := re.fullmatch(r"last(:(\d+))?", part)):
            count = int(last[2] or 1)
            if count == 0:
                raise ValueError(f"`where` must be {rule}. Received: where={where!r}")
            found = set(able[-count:])
        elif isinstance(part, str):
            found = {x for x, path in paths.items() if _fits(part, path)}
        elif inspect.isclass(part) and issubclass(part, keras.Layer):
            found = {x for x, layer in layers.items() if isinstance(layer, part)}
        elif callable(part) and not several:
            found = {x for x, layer in layers.items() if part(layer)}
        else:
            raise TypeError(f"`where` must be {rule}. Received: where={where!r}")
        if not found:
            raise ValueError(
                "`where` must choose layers of the model. Received: "
                f"where={where!r}, of which {part!r} chooses none of "
                f"{list(paths.values())}"
            )
        chosen |= found
    return chosen


def _fits(pattern: str, path: str) -> bool:
    names = (path, path.rpartition("/")[2])
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _by_name(keep: Iterable[str], known: set[str]) -> Callable[[keras.Layer], bool]:
    """Returns the function that says whether a layer's name is among `keep`."""
    rule = "names of layers, or a function of a layer"
    names = (
        [keep]
        if isinstance(keep, str)
        else check_instance("keep", keep, Iterable, rule)
    )
    names = [check_text("keep", name) for name in names]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            "`keep` must be names of layers of the model, or a function of a layer. "
            f"Received: keep={keep!r}, of which the model has no {unknown}"
        )
    return lambda layer: layer.name in names
