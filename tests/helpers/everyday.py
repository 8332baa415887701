"""Which tests run every day, and which only with all others.

`--everyday` gives each test function the same few seconds. Of one with many parameters
as many of its tests run as fit, spread evenly over them; one that takes longer is left
out. `--rest` runs what `--everyday` leaves out, so that both together run each test
once, and without either all run. What a function takes stands in `durations.json`,
which `--measure` writes anew; one that is not there counts as quick.
"""

import collections
import json
import pathlib
from collections.abc import Iterable, Sequence

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
        durations: name of a function -> how many tests it has, and their seconds.
    """
    of_function: dict[str, list[str]] = collections.defaultdict(list)
    for test in tests:
        of_function[function_of(test)].append(test)
    chosen: set[str] = set()
    for function, found in of_function.items():
        count, seconds = durations.get(function, (len(found), 0.0))
        fitting = len(found)
        if seconds > 0:
            fitting = min(fitting, int(SECONDS * count / seconds))
        chosen.update(found[i * len(found) // fitting] for i in range(fitting))
    return chosen


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves those of `--everyday`, or of `--rest`, in a list of tests."""
    wanted, rest = config.getoption("--everyday"), config.getoption("--rest")
    if not wanted and not rest:
        return
    durations = json.loads(DURATIONS.read_text())["functions"]
    chosen = everyday([item.nodeid for item in items], durations)
    if rest:
        chosen = {item.nodeid for item in items} - chosen
    config.hook.pytest_deselected(
        items=[item for item in items if item.nodeid not in chosen]
    )
    items[:] = [item for item in items if item.nodeid in chosen]


class Measure:
    """Writes how long each function took, with all its parameters.

    Functions that did not run keep what was written of them before.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = collections.defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds the time of a test, with its setup and teardown."""
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Writes the file."""
        write(self._seconds.items())


def write(seconds: Iterable[tuple[str, float]]) -> None:
    """Writes `durations.json` from the seconds of tests, by their names."""
    found: dict[str, list] = {}
    if DURATIONS.exists():
        found = json.loads(DURATIONS.read_text())["functions"]
    measured: dict[str, list[float]] = collections.defaultdict(list)
    for test, taken in seconds:
        measured[function_of(test)].append(taken)
    for function, taken in measured.items():
        found[function] = [len(taken), round(sum(taken), 1)]
    content = {
        "what": "tests and seconds of each test function that takes a second or more",
        "command": "python -m pytest tests -n 3 --dist loadfile --measure",
        "functions": {
            name: found[name] for name in sorted(found) if found[name][1] >= _QUICK
        },
    }
    DURATIONS.write_text(json.dumps(content, indent=0) + "\n")
