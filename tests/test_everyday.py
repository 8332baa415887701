"""Which tests run every day: as many of a function as fit into its seconds."""

import json

from tests.helpers import everyday


def named(function, count):
    return [f"{function}[{i}]" for i in range(count)]


def test_each_function_has_the_same_seconds():
    many, few = named("a.py::many", 100), named("a.py::few", 3)
    long, short = ["a.py::long"], ["a.py::short"]
    durations = {
        "a.py::many": [100, 100 / 8 * everyday.SECONDS],
        "a.py::few": [3, everyday.SECONDS],
        "a.py::long": [1, everyday.SECONDS + 0.1],
    }
    chosen = everyday.everyday([*many, *few, *long, *short], durations)
    # 8 that take an eighth of these, spread over all of them.
    assert [x for x in many if x in chosen] == [
        many[i] for i in (0, 12, 25, 37, 50, 62, 75, 87)
    ]
    assert chosen >= {*few, *short} and not chosen & {*long}


def test_seconds_are_written_of_all_parameters_together(tmp_path, monkeypatch):
    path = tmp_path / "durations.json"
    monkeypatch.setattr(everyday, "DURATIONS", path)
    everyday.write([("a.py::f[1]", 2.0), ("a.py::f[2]", 3.25), ("a.py::g", 0.5)])
    assert json.loads(path.read_text())["functions"] == {"a.py::f": [2, 5.2]}
    # Of what did not run the old seconds stay; what became quick is no longer told.
    everyday.write([("a.py::h", 9.0)])
    assert json.loads(path.read_text())["functions"] == {
        "a.py::f": [2, 5.2],
        "a.py::h": [1, 9.0],
    }
    everyday.write([("a.py::f[1]", 0.1)])
    assert set(json.loads(path.read_text())["functions"]) == {"a.py::h"}


def test_what_functions_share_is_divided_among_them():
    seconds = {"a.py::f[1]": 1.0, "a.py::f[2]": 1.0, "a.py::g": 3.0, "a.py::h": 5.0}
    uses = {"a.py::f": {"network"}, "a.py::g": {"network"}, "a.py::h": {"other"}}
    # Another file has a fixture of the same name.
    made = {("a.py", "network"): 8.0, ("b.py", "network"): 100.0}
    found = everyday.shared(seconds, uses, made)
    functions = {}
    for test, taken in found:
        function = everyday.function_of(test)
        functions[function] = functions.get(function, 0.0) + taken
    assert functions == {"a.py::f": 6.0, "a.py::g": 7.0, "a.py::h": 5.0}


def test_the_seconds_of_the_suite_are_those_of_functions_that_are_there():
    functions = json.loads(everyday.DURATIONS.read_text())["functions"]
    root = everyday.DURATIONS.parents[1]
    sources: dict[str, str] = {}
    for name in functions:
        file, *_, function = name.split("::")
        source = sources.setdefault(file, (root / file).read_text())
        assert f"def {function}(" in source, f"{name} is gone: --measure anew"
