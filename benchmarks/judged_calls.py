"""Bad calls of the public API: which there are, how they are made and judged."""

import collections
import contextlib
import dataclasses
import functools
import importlib
import inspect
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import bad_values  # noqa: E402
import good_calls  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

import tfhyper  # noqa: E402
from tfhyper.whole_files import whole_file  # noqa: E402

# Not `sklearn`: as scikit-learn has it, arguments of estimators are looked at by `fit`.
MODULES = (
    "analysis",
    "comparison",
    "conformal",
    "data",
    "detection",
    "export",
    "heads",
    "kits",
    "laplace",
    "layers",
    "metrics",
    "models",
    "posterior",
    "pruning",
    "scaling",
    "shift",
    "training",
    "variational",
)
OUTCOMES = ("named", "unnamed", "accepted", "nan", "hang", "crash")
# Kinds of values that do not fit another argument, which may be named as well.
MISMATCHES = ("length", "shape", "scalar")
ERRORS = (ValueError, TypeError, OSError)


@dataclasses.dataclass(frozen=True)
class Call:
    """A bad call.

    Attributes:
        name: of the callable, from `public_callables`.
        argument: the bad one, or both with a comma that changed places.
        kind: of the bad value.
    """

    name: str
    argument: str
    kind: str

    @property
    def module(self) -> str:
        """The part of the package that it is of."""
        return self.name.partition(".")[0]


@functools.cache
def public_callables() -> dict[str, Callable]:
    """Returns what the package offers to call, by name: functions, classes, methods."""
    found: dict[str, Callable] = {
        "convert": tfhyper.convert,
        "conversion_report": tfhyper.conversion_report,
    }
    for module in MODULES:
        package = importlib.import_module(f"tfhyper.{module}")
        for name in sorted(package.__all__):
            thing = getattr(package, name)
            if not callable(thing):
                continue
            found[f"{module}.{name}"] = thing
            if inspect.isclass(thing):
                found |= _methods(f"{module}.{name}", thing)
    # Each under one name: kits.LayerKit is tfhyper.LayerKit, too.
    return {k: v for k, v in found.items() if k not in good_calls.NOT_CALLED}


def _methods(name, cls) -> dict[str, Callable]:
    if name.startswith(good_calls.INNER_CLASSES):
        return {}
    found = {}
    for key, value in inspect.getmembers(cls, inspect.isroutine):
        owner = next(c for c in cls.__mro__ if key in c.__dict__)
        if key.startswith("_") or key in good_calls.INNER_METHODS:
            continue
        if owner.__module__.startswith("tfhyper"):
            if owner is cls or not _is_public_parent(owner, cls):
                found[f"{name}.{key}"] = value
    return found


def _is_public_parent(owner, cls) -> bool:
    """Says whether a method is listed with the public class that it is from."""
    return owner is not cls and any(
        owner is getattr(importlib.import_module(f"tfhyper.{m}"), owner.__name__, None)
        for m in MODULES
    )


@functools.cache
def parameters(name: str, function: Callable) -> dict[str, inspect.Parameter]:
    """Returns the named parameters, those of the stock layer of a layer too."""
    if not (inspect.isclass(function) and issubclass(function, keras.Layer)):
        return _named(function)
    found: dict[str, inspect.Parameter] = {}
    for cls in function.__mro__:
        if "__init__" not in vars(cls) or cls is keras.Layer:
            continue
        own = _named(cls.__init__)
        found |= {k: v for k, v in own.items() if k not in {"self", *found}}
        if cls.__module__.startswith("keras."):
            break
    return found


def _named(function):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        all_of_them = inspect.signature(function).parameters
    except ValueError:  # of a class of C
        return {}
    return {k: v for k, v in all_of_them.items() if v.kind in kinds}


def domain(name: str, parameter: inspect.Parameter) -> bad_values.Domain | None:
    """Returns what an argument may be; `None` if nothing says so."""
    argument = parameter.name
    for key in (name, f"{name.partition('.')[0]}."):
        if argument in (table := good_calls.DOMAINS.get(key, {})):
            return table[argument]
    return good_calls.BY_NAME.get(argument) or bad_values.inferred(parameter)


def missing() -> list[str]:
    """Returns what `good_calls.py` has to say and does not."""
    found = []
    for name, function in public_callables().items():
        if name not in good_calls.GOOD:
            found.append(f"{name}: no good call in GOOD")
            continue
        for parameter in parameters(name, function).values():
            if parameter.name != "self" and domain(name, parameter) is None:
                found.append(f"{name}: {parameter.name} is in no table of domains")
    unknown = set(good_calls.GOOD) - set(public_callables())
    return found + [f"{name}: in GOOD, but not public" for name in sorted(unknown)]


def calls() -> list[Call]:
    """Returns all bad calls, always in the same order."""
    found = []
    for name, function in public_callables().items():
        listed = [p for p in parameters(name, function).values() if p.name != "self"]
        for parameter in listed:
            there = domain(name, parameter)
            if there is None:
                continue  # `missing` tells of it
            for kind, _ in there.values(bad_values.is_optional(parameter)):
                found.append(Call(name, parameter.name, kind))
        required = [p for p in listed if p.default is p.empty]
        for first, second in zip(required, required[1:]):
            known = domain(name, first), domain(name, second)
            if None not in known and known[0].name != known[1].name:
                found.append(Call(name, f"{first.name}, {second.name}", "swapped"))
    return [call for call in found if not _is_legal(call)]


def _is_legal(call):
    return any(
        (name, call.argument, call.kind) in good_calls.LEGAL
        for name in (call.name, f"{call.module}.", "*")
    )


def arguments(call: Call) -> dict[str, Any]:
    """Returns the arguments of a bad call."""
    good = dict(good_calls.GOOD[call.name]())
    if call.kind == "swapped":
        first, second = call.argument.split(", ")
        return {**good, first: good[second], second: good[first]}
    function = public_callables()[call.name]
    parameter = parameters(call.name, function)[call.argument]
    there = domain(call.name, parameter)
    make = dict(there.values(bad_values.is_optional(parameter)))[call.kind]
    usual = None if parameter.default is parameter.empty else parameter.default
    usual = good_calls.USUAL.get(call.argument, usual)
    return {**good, call.argument: make(good.get(call.argument, usual))}


def perform(name: str, values: dict[str, Any]) -> Any:
    """Makes a call, and returns its result; of a layer, what it makes of inputs."""
    function = public_callables()[name]
    values = dict(values)
    if inspect.ismethod(function) or "self" not in values:
        values.pop("self", None)
        result = function(**values)
    else:
        result = function(values.pop("self"), **values)
    layer = good_calls.LAYERS.get(name.partition(".")[2])
    if isinstance(result, keras.Layer) and layer is not None:
        _, shape = layer
        inputs = [np.ones(shape, "float32")]
        if isinstance(result, tfhyper.layers.StaticHyperConv2D):
            inputs.append(tfhyper.layers.KernelGenerator(2)(inputs[0]))
        if isinstance(result, tfhyper.layers.MaxUnpooling2D):
            rows, columns = result.pool_size
            inputs = [[inputs[0], inputs[0].repeat(rows, 1).repeat(columns, 2)]]
        return result(*inputs)
    if inspect.isgenerator(result):
        return list(result)
    return result


def judge(call: Call | None, result: Any, error: BaseException | None) -> str:
    """Returns the outcome of a call that ended."""
    if error is None:
        return "accepted" if is_finite(result) else "nan"
    text = str(error)
    named = call is not None and any(
        f"`{name}{end}" in text for name in _may_be_named(call) for end in "`=.[("
    )
    if isinstance(error, ERRORS) and named and "eceived" in text:
        return "named"
    return "unnamed"


def _may_be_named(call):
    """Returns the arguments one of which an error has to name."""
    if call.kind in MISMATCHES:
        return list(parameters(call.name, public_callables()[call.name]))
    return call.argument.split(", ")


def is_finite(result: Any) -> bool:
    """Says whether a result holds neither NaN nor infinity."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return all(
            is_finite(getattr(result, field.name))
            for field in dataclasses.fields(result)
        )
    if isinstance(result, dict):
        return all(map(is_finite, result.values()))
    if isinstance(result, list | tuple):
        return all(map(is_finite, result))
    if isinstance(result, float | complex | np.ndarray | np.number) or (
        keras.ops.is_tensor(result)
    ):
        array = np.asarray(keras.ops.convert_to_numpy(result))
        return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return True


def run_here(name: str, call: Call | None) -> tuple[str, str]:
    """Makes a call in a folder of its own: the outcome, and the error or result."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        keras.utils.set_random_seed(0)
        try:
            values = arguments(call) if call else good_calls.GOOD[name]()
        except Exception as raised:  # a fault of the tables
            return "fault", f"{type(raised).__name__}: {raised}"
        try:
            result, error = perform(name, values), None
        except Exception as raised:  # that is what is asked
            result, error = None, raised
        outcome = judge(call, result, error)
        shown = f"{type(error).__name__}: {error}" if error else repr(result)
        return outcome, " ".join(shown.split())[:300]


def _serve(connection) -> None:
    """Makes the calls that come, silently, until there is none."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    while (request := connection.recv()) is not None:
        connection.send(run_here(*request))


class Worker:
    """A process that makes calls; a new one after a hang or a crash."""

    def __init__(self, patience: float):
        self._patience = patience
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def _start(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        # Its first call waits for the imports, too.
        self._ask("kits.deterministic", None, 600.0)

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _ask(self, name, call, patience):
        self._connection.send((name, call))
        if not self._connection.poll(patience):
            return "hang", f"not within {patience:g} seconds"
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            return "crash", f"exit code {self._process.exitcode}"

    def run(self, name: str, call: Call | None = None) -> tuple[str, str]:
        """Returns the outcome of a call, a good one by default."""
        if self._process is None:
            self._start()
        answer = self._ask(name, call, self._patience)
        if answer[0] in ("hang", "crash"):
            self._stop()
        if answer[0] == "fault":
            raise RuntimeError(f"The arguments of {call or name}: {answer[1]}")
        return answer


def check_good(worker: Worker, names: list[str]) -> None:
    """Raises RuntimeError if a good call does not end well: it proves nothing."""
    faults = []
    for name in names:
        outcome, shown = worker.run(name)
        if outcome != "accepted":
            faults.append(f"{name}: {outcome}, {shown}")
    if faults:
        raise RuntimeError("Good calls must end in a result:\n" + "\n".join(faults))


def counted(found: list[tuple[Call, str, str]], key: Callable) -> dict[str, dict]:
    """Returns how many calls ended in what, by a key of the call."""
    counts: dict[str, collections.Counter] = {}
    for call, outcome, _ in found:
        counts.setdefault(key(call), collections.Counter())[outcome] += 1
    return {
        name: {outcome: count[outcome] for outcome in OUTCOMES}
        for name, count in sorted(counts.items())
    }


class Kept:
    """The outcomes of calls in a file, which holds those of every run so far."""

    def __init__(self, path: str | None):
        self._path = path
        self._found = {}
        if path and os.path.exists(path):
            with open(path) as file:
                for line in file:
                    if line.endswith("\n"):  # the last one may be cut
                        *call, outcome, shown = json.loads(line)
                        self._found[Call(*call)] = outcome, shown
            self._write_all()
        elif path:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)

    def _write_all(self):
        lines = [self._line(call, *ended) for call, ended in self._found.items()]
        with whole_file(self._path) as new, open(new, "w") as file:
            file.writelines(lines)

    @staticmethod
    def _line(call, outcome, shown):
        return json.dumps([*dataclasses.astuple(call), outcome, shown]) + "\n"

    def get(self, call: Call) -> tuple[str, str] | None:
        """Returns outcome and error or result of a call that was made before."""
        return self._found.get(call)

    def add(self, call: Call, outcome: str, shown: str) -> None:
        """Keeps the outcome of a call."""
        if self._path:
            with open(self._path, "a") as file:
                file.write(self._line(call, outcome, shown))  # a cut line is left out


def run_all(
    some: list[Call], worker: Worker, kept: Kept
) -> Iterator[tuple[Call, str, str]]:
    """Yields each call with its outcome, and the error or the result."""
    for number, call in enumerate(some):
        if number % 100 == 0:
            print(f"{number} of {len(some)} calls", file=sys.stderr, flush=True)
        if (ended := kept.get(call)) is None:
            ended = worker.run(call.name, call)
            kept.add(call, *ended)
        outcome, shown = ended
        if outcome != "named":
            print(f"{outcome}: {call.name}({call.argument}) {call.kind}: {shown[:120]}")
            sys.stdout.flush()
        yield call, outcome, shown
