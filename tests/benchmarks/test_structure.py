"""The numbers of the structure: of a package made for it, and limits of this one."""

import pathlib
import sys

import pytest

import tfhyper

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import structure_counts as structure  # noqa: E402

PACKAGE = pathlib.Path(tfhyper.__file__).parent
FILES = {
    "__init__.py": "from made.top import f",
    "top.py": "from made import low\nfrom made.room.inner import g\n"
    "def f():\n    return low.h() + g() + low.h()\n",
    "low.py": "def h():\n    return 1\n",
    "room/__init__.py": "",
    "room/inner.py": "def g():\n    from made.low import h\n    return h()\n",
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A package of three rooms, of which `top` imports both others."""
    for name, text in FILES.items():
        path = tmp_path / "made" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "made"


def test_arrows_and_floors_are_those_of_the_imports(made):
    arrows = structure.arrows_of(made, "made")
    assert arrows == {("top", "low"), ("top", "room"), ("room", "low")}
    rooms = {"top", "low", "room"}
    assert structure.floors_of(rooms, arrows) == 3
    assert structure.floors_of(rooms, {*arrows, ("low", "top")}) is None


def test_the_way_of_a_call_goes_by_calls_and_returns(made):
    import made as package

    with structure.Way(made) as way:
        assert package.f() == 3
    # top, low, top, inner, low, inner, top, low, top.
    assert way.numbers() == {"calls": 5, "changes": 8, "depth": 3, "files": 3}


def test_functions_with_all_their_types_are_counted(tmp_path):
    path = tmp_path / "functions.py"
    path.write_text(
        "def a(x: int, *, y: int = 0) -> int: ...\n"
        "def b(x: int): ...\n"
        "class C:\n"
        "    def __init__(self, x: int): ...\n"
        "    def d(self, x) -> int: ...\n"
    )
    assert structure.annotated_of([path]) == (2, 4)


def test_the_posterior_stays_in_order():
    folder = PACKAGE / "posterior"
    arrows = structure.arrows_of(folder, "tfhyper.posterior")
    rooms = {name for arrow in arrows for name in arrow}
    assert len(arrows) <= 40
    assert structure.floors_of(rooms, arrows) <= 7


def test_a_prediction_goes_straight():
    ways = structure.ways_of(PACKAGE)
    assert ways["predict, kept"]["depth"] <= 8
    assert ways["predict, kept"]["changes"] <= 44
