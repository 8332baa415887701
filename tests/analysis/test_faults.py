"""The table of faults, against the paper's and against counting one by one."""

import doctest
import importlib

import numpy as np
import pytest

from tfhyper import analysis

# Ukai et al. (2019), Table V: misclassified four times, three, two, one time.
TABLE_V = {
    "N(0, 1)": (269, 109, 130, 225),
    "U(-1, 1)": (259, 126, 133, 210),
    "U(0, 1)": (389, 19, 20, 24),
    "|N(0, 1)|": (405, 24, 19, 25),
    "MAP": (196, 123, 173, 314),
}


def members_with(faults, batch=10_000):
    """Returns members of two classes, of which so many misclassify class 0."""
    times = np.zeros(batch, int)
    times[: sum(faults)] = np.repeat([4, 3, 2, 1], faults)
    wrong = np.arange(4)[:, np.newaxis] < np.random.default_rng(0).permutation(times)
    return np.stack([1 - 0.8 * wrong - 0.1, 0.8 * wrong + 0.1], axis=-1)


@pytest.fixture(scope="module")
def table():
    members = {name: members_with(faults) for name, faults in TABLE_V.items()}
    return analysis.fault_table(np.zeros(10_000, int), members)


def test_table_of_the_paper(table):
    assert table.methods == tuple(TABLE_V)
    assert table.times.tolist() == [4, 3, 2, 1]
    assert table.counts.tolist() == [list(faults) for faults in TABLE_V.values()]
    np.testing.assert_allclose(table.per_10000, table.counts)
    lines = str(table).splitlines()
    assert lines[0].split("  ")[-4:] == ["4 times", "3 times", "2 times", "1 times"]
    assert lines[1].split() == ["N(0,", "1)", "269", "109", "130", "225"]
    assert len(lines) == 6


def test_counts_are_those_of_a_loop_over_the_examples():
    rng = np.random.default_rng(1)
    members = rng.dirichlet(np.ones(3), size=(5, 40))
    labels = rng.integers(0, 3, size=40)
    found = analysis.fault_table(list(labels), {"a": members})
    expected = {k: 0 for k in range(6)}
    for i, label in enumerate(labels):
        expected[sum(int(m[i].argmax() != label) for m in members)] += 1
    assert found.counts[0].tolist() == [expected[k] for k in (5, 4, 3, 2, 1)]
    # Of 40 examples each stands for 250 of 10,000.
    np.testing.assert_allclose(found.per_10000, 250 * found.counts)
    error = np.mean(members.argmax(-1) != labels)
    total = (found.times * found.per_10000[0]).sum() / (5 * 10_000)
    assert total == pytest.approx(error)


def test_bars_are_stacked_from_all_wrong_up(table, tmp_path):
    figure = analysis.fault_plot(table, title="Table V")
    figure.savefig(tmp_path / "faults.png")
    assert figure.get_suptitle() == "Table V"
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == list(TABLE_V)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["4 of 4", "3 of 4", "2 of 4", "1 of 4"]
    bottom = np.zeros(5)
    for bars, column in zip(axes.containers, np.array([*TABLE_V.values()]).T):
        np.testing.assert_allclose([bar.get_y() for bar in bars], bottom)
        np.testing.assert_allclose([bar.get_height() for bar in bars], column)
        bottom += column


@pytest.mark.parametrize(
    "members, message",
    [
        ({}, "`members` must be a dict"),
        (np.full((4, 1, 2), 0.5), "`members` must be a dict"),
        (
            {"a": np.full((4, 1, 2), 0.5), "b": np.full((3, 1, 2), 0.5)},
            "same number of members.*{'a': 4, 'b': 3}",
        ),
        ({"a": np.full((4, 2, 2), 0.5)}, "`labels` must have the shape"),
    ],
)
def test_bad_arguments_are_named(members, message):
    with pytest.raises(ValueError, match=message):
        analysis.fault_table([0], members)


def test_the_docstring_examples_run():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.faults"))
    assert result.attempted > 0 and result.failed == 0
