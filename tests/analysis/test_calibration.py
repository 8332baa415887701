"""PIT histograms and coverage, judged by what stands on their axes."""

import doctest
import importlib

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tfhyper import analysis, metrics
from tfhyper.analysis._figures import BLUE, VERMILION

HISTOGRAMS = {
    "head": metrics.pit_histogram([0.1, 0.2, 0.9, 1.0], num_bins=4),
    "dropout": metrics.pit_histogram([0.1, 0.7], num_bins=2, sample_weight=[3.0, 1.0]),
}
CURVES = {
    "head": metrics.coverage_curve([0.5, 1.5], [0.0, 0.0], 1.0, [0.2, 0.6, 0.95]),
    "dropout": metrics.pit_coverage_curve([0.5, 0.9], [0.5, 0.9]),
}


def labels_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_steps_are_the_densities_of_the_methods(tmp_path):
    figure = analysis.pit_plot(HISTOGRAMS, title="Yacht")
    figure.savefig(tmp_path / "pit.png")
    assert figure.get_suptitle() == "Yacht"
    (axes,) = figure.axes
    assert labels_of(axes) == ["head", "dropout", "Calibrated"]
    expected = [([2, 0, 0, 2], 4, BLUE), ([1.5, 0.5], 2, VERMILION)]
    for steps, (density, bins, color) in zip(axes.patches, expected, strict=True):
        values, edges, _ = steps.get_data()
        np.testing.assert_allclose(values, density)
        np.testing.assert_allclose(edges, np.linspace(0, 1, bins + 1))
        assert to_hex(steps.get_edgecolor()).upper() == color and not steps.get_fill()
    assert list(axes.lines[0].get_ydata()) == [1, 1]
    assert axes.get_xlim() == (0, 1) and axes.get_ylim()[0] == 0


def test_the_steps_of_one_method_are_filled():
    (axes,) = analysis.pit_plot({"head": HISTOGRAMS["head"]}).axes
    assert [steps.get_fill() for steps in axes.patches] == [True, False]
    assert labels_of(axes) == ["head", "Calibrated"]


def test_lines_are_coverage_against_level(tmp_path):
    figure = analysis.coverage_plot(CURVES, title="Yacht")
    figure.savefig(tmp_path / "coverage.png")
    assert figure.get_suptitle() == "Yacht"
    (axes,) = figure.axes
    assert labels_of(axes) == ["Calibrated", "head", "dropout"]
    diagonal, *lines = [line.get_xydata().tolist() for line in axes.lines]
    assert diagonal == [[0, 0], [1, 1]]
    assert lines == [[[0.2, 0], [0.6, 0.5], [0.95, 1]], [[0.5, 0.5], [0.9, 1]]]
    assert axes.get_xlim() == axes.get_ylim() == (0, 1)


def test_both_draw_into_parts_of_a_figure():
    left, right = Figure(layout="constrained").subfigures(1, 2)
    assert analysis.pit_plot(HISTOGRAMS, figure=left) is left
    assert analysis.coverage_plot(CURVES, figure=right) is right
    assert len(left.axes) == len(right.axes) == 1


@pytest.mark.parametrize("given", [{}, {"head": [0.5]}, CURVES["head"], CURVES])
def test_other_things_than_histograms_are_named(given):
    with pytest.raises(ValueError, match="`histograms` must be a dict.*PitHistogram"):
        analysis.pit_plot(given)


@pytest.mark.parametrize("given", [{}, {"head": [0.5]}, CURVES["head"], HISTOGRAMS])
def test_other_things_than_curves_are_named(given):
    with pytest.raises(ValueError, match="`curves` must be a dict.*CoverageCurve"):
        analysis.coverage_plot(given)


def test_the_docstring_examples_run():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.calibration"))
    assert result.attempted > 0 and result.failed == 0
