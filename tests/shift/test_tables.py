"""Shifts of tables, beside what they say of themselves."""

import numpy as np
import pytest

from tfhyper import shift

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2000, 10)) * np.arange(1, 11) + 3.0
Y = X.sum(axis=1)


def test_noise_is_in_units_of_the_columns():
    for severity, scale in enumerate((0.1, 0.2, 0.5, 1.0, 2.0), 1):
        found, y = shift.shift_table(X, Y, "noise", severity)
        assert (y == Y).all()
        # 2000 rows: a deviation is known to 1.6 %.
        assert (found - X).std(axis=0) == pytest.approx(scale * X.std(axis=0), rel=0.08)
    by_others, _ = shift.shift_table(X, Y, "noise", 4, reference=X * 10)
    assert (by_others - X).std() == pytest.approx(10 * X.std(axis=0).mean(), rel=0.2)


def test_missing_columns_are_at_their_mean():
    before = set()
    for severity, count in enumerate((1, 2, 3, 5, 7), 1):
        found, _ = shift.shift_table(X, Y, "missing", severity, reference=X[:100])
        gone = np.flatnonzero((found != X).any(axis=0))
        assert len(gone) == count and before <= set(gone)
        assert np.allclose(found[:, gone], X[:100].mean(axis=0)[gone])
        before = set(gone)


def test_units_multiply_one_column():
    for severity, factor in enumerate((1.1, 1.25, 1.5, 2.0, 4.0), 1):
        found, _ = shift.shift_table(X, Y, "units", severity, seed=2)
        (column,) = np.flatnonzero((found != X).any(axis=0))
        assert np.allclose(found[:, column], factor * X[:, column])


def test_rows_are_drawn_with_their_labels_and_farther_off_at_each_severity():
    away = []
    spread = X.std(axis=0)
    for severity in (1, 2, 3, 4, 5):
        found, y = shift.shift_table(X, Y, "resampled", severity)
        assert np.allclose(y, found.sum(axis=1))
        rows = {tuple(row) for row in X}
        assert all(tuple(row) for row in found if tuple(row) in rows)
        moved = (found.mean(axis=0) - X.mean(axis=0)) / spread
        away.append(float(np.linalg.norm(moved)))
    assert np.all(np.diff(away) > 0)
    # Weights exp(c u) move a normal u by c: here to within the sampling error.
    assert away[0] == pytest.approx(0.25, abs=0.12)


def test_integers_and_classes_stay_what_they_are():
    classes = np.arange(2000) % 3
    _, y = shift.shift_table(X, classes, "resampled")
    assert y.dtype == classes.dtype
    same, _ = shift.shift_table(np.full((5, 2), 2.0), np.zeros(5), "resampled")
    assert (same == 2).all()


def test_many_shifts_and_their_seeds():
    made = shift.table_shifts(X, Y, seed=1)
    assert list(made) == ["noise", "missing", "units", "resampled"]
    for kind, by_severity in made.items():
        x, y = by_severity[3]()
        again, labels = shift.shift_table(X, Y, kind, 3, seed=1)
        assert (x == again).all() and (y == labels).all()
        other, _ = shift.shift_table(X, Y, kind, 3, seed=5)
        assert (x != other).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": X[:, 0]}, "`x` must have the axes"),
        ({"x": X * np.nan}, "`x` must be finite"),
        ({"y": Y[:3]}, "`y` must have a label for each of the 2000 rows"),
        ({"kind": "rain"}, "`kind` must be one of"),
        ({"severity": 0}, "`severity` must be"),
        ({"seed": 0.5}, "`seed` must be"),
        ({"reference": X[:, :3]}, "`reference` must have the 10 columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_named(changed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        shift.shift_table(**{"x": X, "y": Y, "kind": "noise", **changed})
