"""The figure of errors by uncertainty, judged by what stands on its axes."""

import doctest
import importlib

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

from tfhyper import analysis


def arguments(count=40):
    rng = np.random.default_rng(0)
    return {
        "targets": rng.normal(size=count),
        "mean": rng.normal(size=count),
        "variance": rng.uniform(0.1, 2, size=count),
    }


def test_errors_stand_in_the_order_of_the_uncertainty(tmp_path):
    given = arguments()
    figure = analysis.uncertainty_error_plot(**given, window=5, title="Yacht")
    figure.savefig(tmp_path / "errors.png")
    assert figure.get_suptitle() == "Yacht"
    (axes,) = figure.axes
    pairs = sorted(zip(given["variance"], abs(given["targets"] - given["mean"])))
    errors = np.array([error for _, error in pairs])
    dots, line = axes.lines
    np.testing.assert_array_equal(dots.get_xdata(), range(1, 41))
    np.testing.assert_allclose(dots.get_ydata(), errors)
    # The k-th mean is that of examples k ... k + 4, and stands over the middle one.
    np.testing.assert_allclose(line.get_xdata(), np.arange(3, 39))
    expected = [errors[k : k + 5].mean() for k in range(36)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert line.get_label() == "Mean of 5"


def test_the_bands_hold_half_and_95_per_cent_of_a_normal():
    given = arguments()
    (axes,) = analysis.uncertainty_error_plot(**given).axes
    std = np.sort(np.sqrt(given["variance"]))
    for band, level in zip(axes.collections, (0.95, 0.5), strict=True):
        half = scipy.stats.norm.interval(level)[1]
        top = band.get_paths()[0].vertices[:, 1].max()
        assert top == pytest.approx(half * std[-1])
        assert f"{100 * level:.0f} %" in band.get_label()


def test_a_constant_uncertainty_is_a_line():
    (axes,) = analysis.uncertainty_error_plot(**arguments(), constant_variance=4).axes
    assert list(axes.lines[-1].get_ydata()) == pytest.approx([2 * 1.959964] * 2)


def test_the_window_is_a_tenth_unless_given():
    (axes,) = analysis.uncertainty_error_plot(**arguments(40)).axes
    assert len(axes.lines[1].get_xdata()) == 37
    (axes,) = analysis.uncertainty_error_plot([1.0], [0.0], 1.0).axes
    assert axes.lines[1].get_ydata().tolist() == [1.0]


def test_draws_into_a_part_of_a_figure(tmp_path):
    whole = Figure(figsize=(8, 3), layout="constrained")
    left, right = whole.subfigures(1, 2)
    assert analysis.uncertainty_error_plot(**arguments(), figure=left) is left
    assert len(left.axes) == 1 and not right.axes
    whole.savefig(tmp_path / "whole.png")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": np.zeros((40, 1))}, r"`mean` must have the shape.*\(40, 1\)"),
        ({"targets": np.full(40, np.nan)}, "`targets` must be finite"),
        ({"variance": np.full(40, -1.0)}, "`variance` must hold variances"),
        ({"variance": np.ones(39)}, r"`variance`.*\(39,\)"),
        ({"constant_variance": -1.0}, "`constant_variance` must be a finite number"),
        ({"window": 0}, "`window` must be an integer from 1 to 40"),
        ({"window": 41}, "`window` must be an integer from 1 to 40"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        analysis.uncertainty_error_plot(**{**arguments(), **change})


def test_the_docstring_example_runs():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.errors"))
    assert result.attempted > 0 and result.failed == 0
