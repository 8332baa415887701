"""Tables: what is read, what is refused, and the published splits."""

import doctest
import importlib

import numpy as np
import pytest
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from tfhyper import data

ROWS = np.random.default_rng(0).normal(size=(30, 4))


def write(tmp_path, text):
    path = tmp_path / "table.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", " , ", "   "])
def test_reads_what_numpy_writes(tmp_path, delimiter):
    np.savetxt(tmp_path / "table.txt", ROWS, delimiter=delimiter)
    table = data.load_table(tmp_path / "table.txt")
    np.testing.assert_array_equal(table.x, ROWS[:, :-1])
    np.testing.assert_array_equal(table.y, ROWS[:, -1])


def test_empty_lines_and_space_at_the_ends_are_left_out(tmp_path):
    path = write(tmp_path, "\n 1 2\t \n\n3 4 \n\n")
    assert data.load_table(path, min_rows=2).y.tolist() == [2, 4]


@pytest.mark.parametrize(
    "text, message",
    [
        ("1,2,3\n4,,6\n", r"missing. Received: '' in line 2, column 2 of .*table.txt"),
        ("1 2 3\n4 ? 6\n", r"missing. Received: '\?' in line 2, column 2"),
        ("1 2 3\n4 NaN 6\n", "missing. Received: 'NaN' in line 2, column 2"),
        ("a b c\n1 2 3\n", "numbers only, without a header. Received: 'a' in line 1"),
        ("1 2 3\n4 5 inf\n", "must be finite. Received: 'inf' in line 2, column 3"),
        ("1 2 3\n4 5\n", "as the first, 3. Received: 2 in line 2"),
        ("1\n2\n", "at least two columns.*Received: 1 in"),
        ("\n\n", "at least two columns.*Received: 0 in"),
        ("1 2 3\n", "at least 2 rows. Received: 1 in .*table.txt"),
        ("1 2 3\n4 5 3\n", "target must vary. Received: 3 in all 2 rows in"),
        ("1 2 3\n1 2 4\n", "same value in all rows of column 1, 2 in .*table.txt"),
    ],
)
def test_bad_tables_are_named_with_their_place(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        data.load_table(write(tmp_path, text), min_rows=2)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        data.load_table(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "x, y, message",
    [
        (ROWS, ROWS, r"\(rows, features\) and \(rows,\).*y.shape=\(30, 4\)"),
        (ROWS[:, 0], ROWS[:, 1], r"x.shape=\(30,\)"),
        (ROWS[:, :0], ROWS[:, 1], r"x.shape=\(30, 0\)"),
        (ROWS * np.nan, ROWS[:, 0], "`x` must be finite"),
        (ROWS[:19], ROWS[:19, 0], "at least 20 rows. Received: 19"),
    ],
)
def test_bad_arrays_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        data.check_table(x, y)


def test_standardization_is_that_of_sklearn():
    scale = data.standardization(ROWS[:20])
    expected = StandardScaler().fit(ROWS[:20])
    np.testing.assert_allclose(scale.apply(ROWS), expected.transform(ROWS))
    np.testing.assert_allclose(scale.undo(scale.apply(ROWS)), ROWS)


def test_a_column_that_is_constant_in_a_part_is_only_shifted():
    scale = data.standardization([[0.1, 1.0]] * 3 + [[0.1, 2.0]])
    np.testing.assert_allclose(scale.apply([[0.1, 1.25], [1.1, 1.25]])[:, 0], [0, 1])


def test_the_published_split():
    # numpy.random.seed and shuffle of the global generator, as its code does.
    np.random.seed(3)
    order = np.arange(308)
    np.random.shuffle(order)
    train, test = data.split_rows(308, seed=3)
    np.testing.assert_array_equal(test, order[:62])
    np.testing.assert_array_equal(train, order[62:])


@pytest.mark.parametrize("rows", [30, 33])
def test_folds_are_of_one_size_and_share_no_row(rows):
    folds = data.fold_rows(rows, 5, seed=1)
    seen = []
    for train, validation in folds:
        assert len(validation) == 6 and len(train) == rows - 6
        assert sorted([*train, *validation]) == list(range(rows))
        seen += validation.tolist()
    assert len(set(seen)) == 30


def test_folds_are_those_of_sklearn_up_to_order():
    order = np.arange(30)
    np.random.RandomState(1).shuffle(order)
    expected = [set(order[part]) for _, part in KFold(5).split(order)]
    assert [set(part) for _, part in data.fold_rows(30, 5, seed=1)] == expected


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: data.split_rows(1, 0), "`num_rows` must be"),
        (lambda: data.split_rows(10, -1), "`seed` must be"),
        (lambda: data.split_rows(10, 0, 1.0), "`test_fraction` must be.*1.0"),
        (lambda: data.split_rows(10, 0, 0.01), "leave rows for both parts"),
        (lambda: data.fold_rows(10, 1, 0), "`num_folds` must be"),
        (lambda: data.fold_rows(4, 5, 0), "`num_rows` must be"),
        (lambda: data.standardization(np.zeros((0, 2))), r"values.shape=\(0, 2\)"),
        (lambda: data.standardization([np.inf]), "`values` must be finite"),
        (lambda: data.load_table("x", min_rows=1), "`min_rows` must be"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_docstring_examples_run():
    result = doctest.testmod(importlib.import_module("tfhyper.data.tables"))
    assert result.attempted > 0 and result.failed == 0
