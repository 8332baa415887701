"""The figure of sparsification, judged by what stands on its axes."""

import doctest
import importlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from tfhyper import analysis, metrics

LOSSES = np.array([[0.0, 1.0, 2.0, 1.0], [4.0, 0.0, 0.0, 0.0]])
UNCERTAINTY = np.array([[0.1, 0.3, 0.2, 0.4], [0.9, 0.1, 0.2, 0.3]])


def curve(**options):
    return metrics.sparsification_curve(LOSSES, UNCERTAINTY, 4, **options)


def test_each_method_has_its_error_and_its_oracle(tmp_path):
    losses = metrics.sparsification_curve(LOSSES, LOSSES, 4)
    figure = analysis.sparsification_plot({"a": curve(), "best": losses}, title="Maps")
    figure.savefig(tmp_path / "sparsification.png")
    assert figure.get_suptitle() == "Maps"
    (axes,) = figure.axes
    error, oracle, best, best_oracle, nothing = axes.lines
    for line, values in ((error, curve().error), (oracle, curve().oracle)):
        np.testing.assert_allclose(line.get_xdata(), [0, 0.25, 0.5, 0.75])
        np.testing.assert_allclose(line.get_ydata(), values)
    assert error.get_color() == oracle.get_color() != best.get_color()
    assert (error.get_linestyle(), oracle.get_linestyle()) == ("-", "--")
    np.testing.assert_array_equal(best.get_ydata(), best_oracle.get_ydata())
    assert list(nothing.get_ydata()) == [1, 1]
    area = float(metrics.ause(LOSSES, UNCERTAINTY, 4))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        f"a, AUSE {area:.3f}",
        "a, oracle",
        "best, AUSE 0.000",
        "best, oracle",
    ]
    assert axes.get_xlabel() == "Fraction removed" and axes.get_ylim()[0] == 0


def test_curves_of_examples_are_averaged_over_those_with_places():
    found = curve(per_example=True)
    (axes,) = analysis.sparsification_plot({"a": found}).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), found.error.mean(axis=0))
    np.testing.assert_allclose(axes.lines[1].get_ydata(), found.oracle.mean(axis=0))
    mask = np.array([[True] * 4, [False] * 4])
    (axes,) = analysis.sparsification_plot(
        {"a": curve(per_example=True, mask=mask)}
    ).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), found.error[0])


def test_draws_into_a_part_of_a_figure():
    left, right = Figure(layout="constrained").subfigures(1, 2)
    assert analysis.sparsification_plot({"a": curve()}, figure=left) is left
    assert len(left.axes) == 1 and not right.axes


@pytest.mark.parametrize("given", [{}, {"a": [0.5]}, curve()])
def test_other_things_than_curves_are_named(given):
    with pytest.raises(ValueError, match="`curves` must be a dict.*Sparsification"):
        analysis.sparsification_plot(given)


def test_a_curve_without_places_is_named():
    nothing = curve(mask=np.zeros(LOSSES.shape, bool))
    with pytest.raises(ValueError, match="`curves` must each be of one place.*'a'"):
        analysis.sparsification_plot({"a": nothing})


def test_the_docstring_example_runs():
    module = importlib.import_module("tfhyper.analysis.sparsification")
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
