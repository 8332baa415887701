"""Which tests run every day, and which only with all others.

`--everyday` gives each test function the same few seconds. Of one with many parameters
as many of its tests run as fit, spread evenly over them; one that takes longer is left
out, unless it has the mark `everyday`. `--rest` runs what `--everyday` leaves out, so
that both together run each test once, and without either all run. What a function takes
stands in `durations.json`, which `--measure` writes anew; one that is not there counts
as quick.
"""

import collections
import json
import pathlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pytest

DURATIONS = pathlib.Path(__file__).parents[1] / "durations.json"
# Of a function, in the seconds of `durations.json`.
SECONDS = 2.5
# A function that takes less is not told of.
_QUICK = 1.0


def function_of(test: str) -> str:
    """Returns the name of a test without its parameters."""
    return test.partition("[")[0]


def everyday(tests: Sequence[str], durations: dict[str, list]) -> set[str]:
    """Returns which tests run every day.

    Args:
        tests: the names of all tests.
        durations: name of a function -> how many tests it has, their seconds, and,
            if there are any, the seconds of what is made for all of them, which one
            test takes as all do.
    """
    of_function: dict[str, list[str]] = collections.defaultdict(list)
    for test in tests:
        of_function[function_of(test)].append(test)
    chosen: set[str] = set()
    for function, found in of_function.items():
        count, seconds, *shared = durations.get(function, (len(found), 0.0))
        left = SECONDS - sum(shared)
        fitting = len(found) if left >= 0 else 0
        if fitting and seconds > 0:
            fitting = min(fitting, int(left * count / seconds))
        chosen.update(found[i * len(found) // fitting] for i in range(fitting))
    return chosen


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves those of `--everyday`, or of `--rest`, in a list of tests."""
    wanted, rest = config.getoption("--everyday"), config.getoption("--rest")
    if not wanted and not rest:
        return
    durations = json.loads(DURATIONS.read_text())["functions"]
    chosen = everyday([item.nodeid for item in items], durations)
    chosen |= {item.nodeid for item in items if item.get_closest_marker("everyday")}
    if rest:
        chosen = {item.nodeid for item in items} - chosen
    config.hook.pytest_deselected(
        items=[item for item in items if item.nodeid not in chosen]
    )
    items[:] = [item for item in items if item.nodeid in chosen]


class Timed:
    """Tells, with each test, what was made for it that other tests use too."""

    def __init__(self) -> None:
        self._test: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Tells what the test uses."""
        self._test = item
        names = list(getattr(item, "fixturenames", ()))
        item.user_properties.append(("uses", names))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Any:
        """Tells what it took to make a thing that is not of one test alone."""
        start = time.monotonic()
        made = yield
        if fixturedef.scope != "function" and self._test is not None:
            taken = (fixturedef.argname, time.monotonic() - start)
            self._test.user_properties.append(("made", taken))
        return made


class Measure:
    """Writes how long each function took, with all its parameters.

    What several functions of a file use, such as one trained network, is divided among
    them, whichever came first. Functions that did not run keep what was written of them
    before.
    """

    def __init__(self) -> None:
        # By function -> fixtures; by file and fixture -> seconds.
        self._uses: dict[str, set[str]] = {}
        self._made: dict[tuple[str, str], float] = collections.defaultdict(float)
        self._seconds: dict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds the time of a test, with its setup and teardown."""
        function, file = function_of(report.nodeid), report.nodeid.partition("::")[0]
        self._seconds[report.nodeid] += report.duration
        if report.when != "setup":
            return
        for kind, told in report.user_properties:
            if kind == "uses":
                self._uses.setdefault(function, set()).update(told)
            elif kind == "made":
                name, taken = told
                self._made[file, name] += taken
                self._seconds[report.nodeid] -= taken

    def pytest_sessionfinish(self) -> None:
        """Writes the file."""
        write(self._seconds, shares(self._seconds, self._uses, self._made))


def shares(
    tests: Iterable[str],
    uses: Mapping[str, Collection[str]],
    made: Mapping[tuple[str, str], float],
) -> dict[str, float]:
    """Returns name of a function -> its part of what functions of its file share.

    Args:
        tests: the names of tests that ran.
        uses: name of a function -> the fixtures that it uses.
        made: file and fixture -> what it took to make it, once or several times.
    """
    found: dict[str, float] = collections.defaultdict(float)
    functions = {function_of(test) for test in tests}
    for (file, fixture), taken in made.items():
        users = [
            function
            for function in functions
            if fixture in uses.get(function, ()) and function.startswith(f"{file}::")
        ]
        for function in users:
            found[function] += taken / len(users)
    return found


def write(
    seconds: Mapping[str, float], shared: Mapping[str, float] | None = None
) -> None:
    """Writes `durations.json`.

    Args:
        seconds: name of a test -> what it took itself.
        shared: name of a function -> its part of what it shares, as `shares` says.
    """
    found: dict[str, list] = {}
    if DURATIONS.exists():
        found = json.loads(DURATIONS.read_text())["functions"]
    measured: dict[str, list[float]] = collections.defaultdict(list)
    for test, taken in seconds.items():
        measured[function_of(test)].append(taken)
    for function, taken in measured.items():
        part = round((shared or {}).get(function, 0.0), 1)
        found[function] = [len(taken), round(sum(taken), 1), *([part] if part else [])]
    content = {
        "what": "of each test function that takes a second or more: its tests, their "
        "seconds, and those of its part of what it shares with others",
        "command": "python -m pytest tests -n 3 --dist loadfile --measure",
        "functions": {
            name: found[name]
            for name in sorted(found)
            if sum(found[name][1:]) >= _QUICK
        },
    }
    DURATIONS.write_text(json.dumps(content, indent=0) + "\n")
