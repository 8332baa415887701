"""Scores of averages: which draws are averaged, and what the figures show."""

import doctest
import importlib

import numpy as np
import pytest
import sklearn.metrics
from matplotlib.figure import Figure

from tfhyper import analysis


def predictions(draws=10, batch=50, classes=4):
    rng = np.random.default_rng(0)
    members = rng.dirichlet(np.ones(classes), size=(draws, batch))
    return rng.integers(0, classes, size=batch), members


def groups_of(draws, **options):
    """Returns the sets of draws of each group, (repeats, sizes).

    Draw t is certain of class t, so that an average tells which draws are in it.
    """
    seen = []

    def note(labels, probs):
        (row,) = probs
        (members,) = np.nonzero(row)
        np.testing.assert_allclose(row[members], 1 / len(members))
        seen.append(frozenset(members.tolist()))
        return 0.0

    members = np.eye(draws)[:, np.newaxis]
    curve = analysis.error_curve([0], members, note, **options)
    assert curve.label == "note"
    return np.array(seen, dtype=object).reshape(curve.scores.shape)


def test_groups_grow_and_are_disjoint_while_there_are_draws():
    groups = groups_of(20)
    assert groups.shape == (5, 6)
    for sizes in groups:
        assert [len(group) for group in sizes] == [1, 2, 4, 8, 16, 20]
        assert all(small < large for small, large in zip(sizes, sizes[1:]))
    for column in range(3):
        assert len(frozenset.union(*groups[:, column])) == 5 * 2**column
    # More groups than fit are spread evenly: each draw in a third of them.
    groups = groups_of(9, sizes=[3], repeats=9)
    counts = [sum(t in group for group in groups[:, 0]) for t in range(9)]
    assert counts == [3] * 9


def test_groups_come_from_the_seed():
    first, same, other = (groups_of(20, seed=seed) for seed in (0, 0, 1))
    assert (first == same).all()
    assert not (first[:, 0] == other[:, 0]).all()


def test_sizes_and_repeats_fit_the_draws():
    labels, members = predictions(draws=3)
    curve = analysis.error_curve(labels, members)
    assert curve.sizes.tolist() == [1, 2, 3] and curve.scores.shape == (3, 3)
    curve = analysis.error_curve(labels, members, sizes=range(1, 3), repeats=1)
    assert curve.sizes.tolist() == [1, 2] and curve.scores.shape == (1, 2)
    curve = analysis.error_curve(labels, members[:1])
    assert curve.sizes.tolist() == [1] and curve.scores.shape == (1, 1)


@pytest.mark.parametrize(
    "metric, expected",
    [
        ("error", lambda y, p: 1 - sklearn.metrics.accuracy_score(y, p.argmax(1))),
        ("nll", sklearn.metrics.log_loss),
        ("log_likelihood", lambda y, p: -sklearn.metrics.log_loss(y, p)),
        ("brier", lambda y, p: np.mean(np.sum((p - np.eye(4)[y]) ** 2, axis=1))),
    ],
)
def test_scores_of_one_draw_and_of_all(metric, expected):
    labels, members = predictions()
    curve = analysis.error_curve(labels, members, metric, sizes=[1, 10], repeats=10)
    # Ten groups of one are all draws once.
    single = sorted(expected(labels, member) for member in members)
    np.testing.assert_allclose(sorted(curve.scores[:, 0]), single)
    assert curve.median[0] == pytest.approx(np.median(single))
    averaged = expected(labels, members.mean(axis=0))
    np.testing.assert_allclose(curve.scores[:, 1], averaged)


def test_calibration_error_is_a_metric():
    # Half of them right at a confidence of 0.9.
    members = np.tile([0.9, 0.1], (1, 10, 1))
    curve = analysis.error_curve([0, 1] * 5, members, "ece")
    assert curve.median.tolist() == pytest.approx([0.4])


def test_a_line_and_a_band_for_each_method(tmp_path):
    labels, members = predictions()
    curves = {
        "U(0, 1)": analysis.error_curve(labels, members),
        "N(0, 1)": analysis.error_curve(labels, members[::-1], sizes=[1, 4]),
        "one": analysis.error_curve(labels, members, repeats=1),
    }
    figure = analysis.error_curve_plot(curves, title="CIFAR-10")
    figure.savefig(tmp_path / "curves.png")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "CIFAR-10"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Draws averaged", "Error")
    assert [line.get_label() for line in axes.lines] == list(curves)
    for line, curve in zip(axes.lines, curves.values()):
        np.testing.assert_array_equal(line.get_xdata(), curve.sizes)
        np.testing.assert_array_equal(line.get_ydata(), curve.median)
    assert len(axes.collections) == 2  # one group has no spread
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    scores = curves["U(0, 1)"].scores
    assert (heights.min(), heights.max()) == (scores.min(), scores.max())
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2", "4", "8", "10"]


def test_hidden_units_are_on_a_scale_of_doublings(tmp_path):
    whole = Figure(layout="constrained")
    part, _ = whole.subfigures(1, 2)
    runs = [[0.05, 0.04, 0.06], [0.07, 0.03, 0.05], [0.06, 0.05, 0.04]]
    errors = {"WRN-28-1": ([8, 16, 32], runs), "MAP": ([8, 32], [0.1, 0.1])}
    assert analysis.hidden_units_plot(errors, figure=part) is part
    whole.savefig(tmp_path / "units.png")
    (axes,) = part.axes
    assert axes.get_xscale() == "log"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.06, 0.04, 0.05])
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [8, 32])
    assert len(axes.collections) == 1
    assert [t.get_text() for t in axes.get_xticklabels()] == ["8", "16", "32"]


def test_many_sizes_have_few_ticks():
    labels, members = predictions(draws=40)
    curve = analysis.error_curve(labels, members, sizes=range(1, 41))
    (axes,) = analysis.error_curve_plot({"a": curve}).axes
    shown = [x for x in axes.get_xticks() if 1 <= x <= 40]
    assert shown == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"metric": "auc"}, "`metric` must be one of.*'auc'"),
        ({"sizes": []}, "`sizes` must be increasing"),
        ({"sizes": [2, 2]}, "`sizes` must be increasing"),
        ({"sizes": [0, 1]}, "`sizes` must be an integer from 1 to 10"),
        ({"sizes": [11]}, "`sizes` must be an integer from 1 to 10"),
        ({"repeats": 11}, "`repeats` must be an integer from 1 to 10"),
        ({"seed": -1}, "`seed` must be a non-negative integer"),
        ({"labels": [0]}, "`labels` must have the shape"),
    ],
)
def test_bad_arguments_are_named(change, message):
    labels, members = predictions()
    with pytest.raises(ValueError, match=message):
        analysis.error_curve(**{"labels": labels, "members": members, **change})


def test_figures_name_what_they_cannot_draw():
    labels, members = predictions()
    error, nll = (analysis.error_curve(labels, members, m) for m in ("error", "nll"))
    with pytest.raises(ValueError, match=r"one metric.*\['Error', 'NLL \(nats\)'\]"):
        analysis.error_curve_plot({"a": error, "b": nll})
    with pytest.raises(ValueError, match="`curves` must be a dict.*ErrorCurve"):
        analysis.error_curve_plot({"a": [0.1]})
    for pair in ([0.1, 0.2, 0.3], ([1, 1], [0, 0]), ([0, 1], [0, 0]), ([1], [0, 0])):
        with pytest.raises(ValueError, match="`errors` must hold, for each name, a"):
            analysis.hidden_units_plot({"a": pair})
    with pytest.raises(ValueError, match="`errors` must be finite"):
        analysis.hidden_units_plot({"a": ([1], [np.nan])})


def test_the_docstring_examples_run():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.curves"))
    assert result.attempted > 0 and result.failed == 0
