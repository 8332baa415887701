"""The map of uncertainty, judged by what stands on its axes."""

import doctest
import importlib

import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.special import softmax

from tfhyper import analysis
from tfhyper.analysis._figures import BLUE, GREEN, VERMILION

X1, X2 = np.linspace(-2, 2, 5), np.linspace(0, 3, 4)
POINTS = np.array([[-1.0, 0.5], [1.0, 2.0], [0.0, 1.0]])


def arguments():
    members = softmax(np.random.default_rng(0).normal(size=(6, 20, 3)) * 2, axis=-1)
    return {
        "members": members,
        "x1": X1,
        "x2": X2,
        "points": POINTS,
        "labels": [0, 1, 2],
    }


def test_the_panels_are_the_entropies(tmp_path):
    figure = analysis.uncertainty_map(**arguments(), title="Plane")
    figure.savefig(tmp_path / "map.png")
    assert figure.get_suptitle() == "Plane"
    *panels, bar = figure.axes
    members = arguments()["members"]
    total = scipy.stats.entropy(members.mean(axis=0), axis=-1)
    aleatoric = scipy.stats.entropy(members, axis=-1).mean(axis=0)
    expected = {
        "Total": total,
        "Aleatoric": aleatoric,
        "Epistemic": total - aleatoric,
    }
    assert [axes.get_title() for axes in panels] == list(expected)
    for axes, values in zip(panels, expected.values(), strict=True):
        (image,) = axes.images
        for j in range(4):  # a row of the image is a value of x2, from below
            for i in range(5):
                assert image.get_array()[j, i] == pytest.approx(values[5 * j + i])
        assert image.origin == "lower"
        assert image.get_extent() == [-2.5, 2.5, -0.5, 3.5]
        assert image.get_clim() == (0, pytest.approx(total.max()))
    assert bar.get_ylabel() == "nats"


def test_the_data_lie_on_top_in_the_colours_of_their_classes():
    for axes in analysis.uncertainty_map(**arguments()).axes[:3]:
        (dots,) = axes.collections
        np.testing.assert_array_equal(dots.get_offsets(), POINTS)
        colors = [to_rgb(color) for color in (BLUE, VERMILION, GREEN)]
        np.testing.assert_allclose(dots.get_facecolors()[:, :3], colors)


def test_draws_into_a_part_of_a_figure(tmp_path):
    whole = Figure(figsize=(8, 6), layout="constrained")
    upper, _ = whole.subfigures(2, 1)
    assert analysis.uncertainty_map(**arguments(), figure=upper) is upper
    assert len(upper.axes) == 4
    whole.savefig(tmp_path / "whole.png")


def test_certain_everywhere(tmp_path):
    certain = {**arguments(), "members": np.eye(3)[np.zeros((2, 20), int)]}
    analysis.uncertainty_map(**certain).savefig(tmp_path / "map.png")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"members": np.full((2, 19, 3), 1 / 3)}, r"each of the 4 x 5 points.*19"),
        ({"members": np.full((20, 3), 1 / 3)}, r"`members` must have the axes"),
        ({"x1": [0.0]}, r"`x1` must be two or more evenly spaced.*\(1,\)"),
        ({"x1": X1[::-1]}, "`x1` must be two or more evenly spaced"),
        ({"x2": X2**2}, "`x2` must be two or more evenly spaced"),
        ({"x2": np.full(4, np.nan)}, "`x2` must be finite"),
        ({"points": np.zeros((3, 3))}, r"`points` must have the axes.*\(3, 3\)"),
        ({"points": np.zeros((0, 2)), "labels": []}, r"`points`.*\(0, 2\)"),
        ({"points": POINTS + np.inf}, "`points` must be finite"),
        ({"labels": [0, 1, 3]}, r"`labels` must lie in \[0, 3\)"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        analysis.uncertainty_map(**{**arguments(), **change})


def test_the_docstring_example_runs():
    module = importlib.import_module("tfhyper.analysis.uncertainty")
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
