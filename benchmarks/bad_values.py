"""What an argument may be, and values that it may not be, by kind."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

# A value of no use to any argument of ours but a callable, a layer or a path.
TEXT = "nonsense"


@dataclasses.dataclass(frozen=True)
class Domain:
    """What an argument may be.

    Attributes:
        name: what it is, to tell arguments that may change places from others.
        bad: kind of a bad value -> function of a good one that gives it.
        optional: whether `None` is a good one; `None` to read it in the signature.
    """

    name: str
    bad: dict[str, Callable[[Any], Any]]
    optional: bool | None = None

    def values(self, optional: bool) -> Iterator[tuple[str, Callable[[Any], Any]]]:
        """Yields the kinds and makers of bad values.

        Args:
            optional: whether the signature says that `None` will do.
        """
        yield from self.bad.items()
        if not (optional if self.optional is None else self.optional):
            yield "none", lambda good: None


def _always(value):
    return lambda good: value


def domain(
    name: str,
    *,
    optional: bool | None = None,
    without: tuple[str, ...] = (),
    **bad: Any,
) -> Domain:
    """Returns a domain: bad values by kind, or functions of a good one."""
    makers = {k: v if callable(v) else _always(v) for k, v in bad.items()}
    return Domain(name, {k: v for k, v in makers.items() if k not in without}, optional)


# What no number, and what no array of numbers, is.
_NO_NUMBER = {
    "text": "3",
    "nan": float("nan"),
    "bool": True,
    "list": [1],
    "complex": 1j,
    "array": np.arange(1, 3),
    "empty": [],
}


def integer(least: int = 1, most: int | None = None, **options) -> Domain:
    """An int in a range."""
    bad = {**_NO_NUMBER, "fraction": least + 0.5, "negative": least - 1}
    if most is not None:
        bad["huge"] = most + 1
    return domain("integer", **bad, **options)


def number(
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
    **options,
) -> Domain:
    """A finite float in a range, open or closed at either end."""
    bad = {**_NO_NUMBER, "infinite": float("inf")}
    if above is not None:
        bad |= {"zero": above, "negative": above - 1.0}
    if least is not None:
        bad["negative"] = least - 0.5
    if below is not None:
        bad["range"] = below
    if most is not None:
        bad["huge"] = most + 0.5
    return domain("number", **bad, **options)


def boolean(**options) -> Domain:
    """True or False."""
    bad = {"text": "False", "number": 2, "nan": float("nan"), "empty": []}
    return domain("bool", **bad, array=np.array([True, False]), **options)


def choice(**options) -> Domain:
    """One of some strings."""
    bad = {"text": TEXT, "empty": "", "number": 3, "list": ["a"], "mapping": {}}
    return domain("choice", **bad, array=np.array(["a", "b"]), **options)


def text(**options) -> Domain:
    """Any text."""
    return domain("text", number=3, list=["a"], mapping={}, **options)


def verbosity(**options) -> Domain:
    """How much is printed."""
    bad = {"text": "loud", "nan": float("nan"), "list": [1], "negative": -1}
    return domain("verbosity", **bad, **options)


def path(missing: bool = False, **options) -> Domain:
    """A path; with `missing` one where something has to be."""
    bad = {"number": 3, "list": ["a"], "nan": float("nan"), "null": "a\0b"}
    if missing:
        bad |= {"missing": "nowhere/to_be_found", "empty": ""}
    return domain("path", **bad, **options)


def function(**options) -> Domain:
    """Something to call."""
    return domain("function", text=TEXT, number=3, list=[1], **options)


def instance(name: str, **options) -> Domain:
    """An object of a class of ours."""
    bad = {"text": TEXT, "number": 3, "list": [1], "mapping": {}, "array": np.ones(2)}
    return domain(name, **bad, **options)


def model(**options) -> Domain:
    """A functional or Sequential model that is built."""
    return domain(
        "model",
        text=TEXT,
        number=3,
        mapping={},
        list=lambda good: [good],
        layer=lambda good: keras.layers.Dense(3),
        kind=lambda good: keras.Model,
        unbuilt=lambda good: keras.Sequential([keras.layers.Dense(3)]),
        empty=lambda good: keras.Sequential([]),
        **options,
    )


def mapping(*, without=(), optional=None, **more) -> Domain:
    """A dict."""
    bad = {"text": TEXT, "number": 3, "list": [1], "array": np.ones(2), **more}
    return domain("mapping", without=without, optional=optional, **bad)


def sequence(*, without=(), optional=None, **more) -> Domain:
    """A sequence, whose entries `more` spoils."""
    bad = {"number": 3, "nan": float("nan"), "bool": True, **more}
    return domain("sequence", without=without, optional=optional, **bad)


def names(**options) -> Domain:
    """Names of layers, or of other things."""
    return sequence(unknown=[TEXT], numbers=[3], nested=[["a"]], **options)


def identifier(**options) -> Domain:
    """An activation, initializer, regularizer or constraint of Keras."""
    return domain("identifier", text=TEXT, number=3, list=[1], **options)


def sizes(**options) -> Domain:
    """A positive int, or some of them: kernel sizes, strides."""
    return domain(
        "sizes",
        text=TEXT,
        fraction=2.5,
        zero=0,
        negative=-1,
        empty=(),
        nan=float("nan"),
        complex=1j,
        length=(2, 2, 2, 2, 2),
        **options,
    )


def image_shape(**options) -> Domain:
    """(height, width, channels)."""
    return domain(
        "shape",
        text=TEXT,
        number=3,
        fraction=(32, 32, 1.5),
        negative=(32, -1, 3),
        zero=(32, 32, 0),
        length=(32, 32),
        unknown=(None, None, 3),
        empty=(),
        nan=(32, float("nan"), 3),
        **options,
    )


def _spoiled(value):
    """Returns the function that puts a value into an array of numbers."""

    def spoil(good):
        array = np.array(good, np.result_type(np.asarray(good), type(value)))
        array.reshape(-1)[array.size // 2] = value
        return array

    return spoil


def _ragged(good):
    rows = np.asarray(good).tolist()
    return [*rows[:-1], [rows[-1], 0.0] if np.ndim(good) == 1 else rows[-1][:-1]]


def _objects(good):
    array = np.asarray(good).astype(object)
    array.reshape(-1)[0] = None
    return array


def _shortened(axis):
    return lambda good: np.delete(np.asarray(good), -1, axis)


# What spoils any array of numbers.
_NO_ARRAY = {
    "text": TEXT,
    "mapping": {"a": 1},
    "empty": lambda good: np.asarray(good)[:0],
    "shape": lambda good: np.asarray(good)[None],
    "nan": _spoiled(float("nan")),
    "infinite": _spoiled(float("inf")),
    "complex": lambda good: np.asarray(good) + 1j,
    "object": _objects,
    "ragged": _ragged,
    "strings": lambda good: np.asarray(good).astype(str).astype(object) + "x",
    "dates": lambda good: np.zeros(np.shape(good), "datetime64[s]"),
}


def numbers(
    tied: int | None = 0,
    scalar: bool = False,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    name: str = "numbers",
    **options,
) -> Domain:
    """An array of finite numbers.

    Args:
        tied: the axis whose length another argument shares, if there is one.
        scalar: whether a number will do.
        least: the smallest, if there is one.
        above: what is below all of them.
        most: the largest.
        below: what is above all of them.
        name: of the domain.
        **options: of the domain.
    """
    bad = dict(_NO_ARRAY)
    if tied is not None:
        bad["length"] = _shortened(tied)
    if not scalar:
        bad["scalar"] = lambda good: float(np.asarray(good).reshape(-1)[0])
    if least is not None:
        bad["negative"] = _spoiled(least - 1.0)
    if above is not None:
        bad |= {"negative": _spoiled(above - 1.0), "zero": _spoiled(float(above))}
    if most is not None:
        bad["huge"] = _spoiled(most + 1.0)
    if below is not None:
        bad["range"] = _spoiled(float(below))
    return domain(name, **bad, **options)


def probabilities(tied: int | None = -2, **options) -> Domain:
    """Probabilities whose last axis sums to one."""

    def below_zero(good):
        array = np.array(good)
        array[..., 0] -= 1.5
        array[..., 1] += 1.5
        return array

    bad = {
        **_NO_ARRAY,
        "scalar": 0.5,
        "sum": lambda good: 2.0 * np.asarray(good),
        "negative": below_zero,
        "logits": lambda good: 3.0 * np.log(good),
    }
    # The axes (batch, classes) may come after draws or not.
    bad["shape"] = lambda good: np.asarray(good)[None, None]
    if tied is not None:
        bad["length"] = _shortened(tied)
    return domain("probabilities", **bad, **options)


def labels(classes: int = 3, **options) -> Domain:
    """Classes of examples."""
    bad = {
        **_NO_ARRAY,
        "scalar": 1,
        "length": _shortened(0),
        "fraction": lambda good: np.asarray(good) + 0.5,
        "negative": _spoiled(-1),
        "huge": _spoiled(classes),
    }
    return domain("labels", **bad, **options)


def data(tied: int | None = None, labelled: bool = False, **options) -> Domain:
    """What a network is fed: arrays of a fixed size of an example."""
    bad = {
        **_NO_ARRAY,
        "number": 3,
        "scalar": 0.5,
        "size": _shortened(-1),
        "one": lambda good: np.asarray(good)[0],
    }
    if tied is not None:
        bad["length"] = _shortened(tied)
    return domain("data", **bad, **options)


def dataset(**options) -> Domain:
    """A `tf.data.Dataset`."""
    bad = {"text": TEXT, "number": 3, "list": [1], "array": np.ones((4, 4))}
    return domain("dataset", **bad, **options)


def figure(**options) -> Domain:
    """A figure of matplotlib."""
    return domain("figure", text=TEXT, number=3, list=[1], mapping={}, **options)


def dtype(**options) -> Domain:
    """A dtype, or a policy, of Keras."""
    return domain("dtype", text=TEXT, number=3, list=[1], **options)


def inferred(parameter: inspect.Parameter) -> Domain | None:
    """Returns the domain that an annotation tells, or `None`."""
    parts = set(annotation(parameter)) - {"None"}
    known = {"bool": boolean, "Callable": function, "keras.Model": model}
    if len(parts) == 1 and (part := parts.pop()) in known:
        return known[part]()
    return None


def annotation(parameter: inspect.Parameter) -> list[str]:
    """Returns the types that the annotation of a parameter names."""
    found = parameter.annotation
    if found is parameter.empty:
        return []
    if not isinstance(found, str):
        found = inspect.formatannotation(found)
    found = re.sub(r"\[[^|]*\]", "", found)
    found = re.sub(r"(keras\.src\.models\.model\.|keras\.)Model", "keras.Model", found)
    return re.split(r"\s*\|\s*", found.replace("collections.abc.", ""))


def is_optional(parameter: inspect.Parameter) -> bool:
    """Returns whether `None` will do, by the signature."""
    return parameter.default is None or "None" in annotation(parameter)
