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
    everyday.write({"a.py::f[1]": 2.0, "a.py::f[2]": 3.25, "a.py::g": 0.5})
    assert json.loads(path.read_text())["functions"] == {"a.py::f": [2, 5.2]}
    # Of what did not run the old seconds stay; what became quick is no longer told.
    everyday.write({"a.py::h": 0.0}, {"a.py::h": 9.0})
    assert json.loads(path.read_text())["functions"] == {
        "a.py::f": [2, 5.2],
        "a.py::h": [1, 0.0, 9.0],
    }
    everyday.write({"a.py::f[1]": 0.1})
    assert set(json.loads(path.read_text())["functions"]) == {"a.py::h"}


def test_what_functions_share_is_divided_among_them():
    tests = ["a.py::f[1]", "a.py::f[2]", "a.py::g", "a.py::h"]
    uses = {"a.py::f": {"network"}, "a.py::g": {"network"}, "a.py::h": {"other"}}
    # Another file has a fixture of the same name.
    made = {("a.py", "network"): 8.0, ("b.py", "network"): 100.0}
    assert everyday.shares(tests, uses, made) == {"a.py::f": 4.0, "a.py::g": 4.0}


def test_what_is_shared_is_made_for_one_test_as_for_all():
    many = named("a.py::many", 10)
    half = everyday.SECONDS / 2
    assert len(everyday.everyday(many, {"a.py::many": [10, 10 * half, half]})) == 1
    assert not everyday.everyday(many, {"a.py::many": [10, 0.0, 3 * half]})


def test_the_seconds_of_the_suite_are_those_of_functions_that_are_there():
    functions = json.loads(everyday.DURATIONS.read_text())["functions"]
    root = everyday.DURATIONS.parents[1]
    sources: dict[str, str] = {}
    for name in functions:
        file, *_, function = name.split("::")
        source = sources.setdefault(file, (root / file).read_text())
        assert f"def {function}(" in source, f"{name} is gone: --measure anew"
