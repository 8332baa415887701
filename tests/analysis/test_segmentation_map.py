"""The figure of maps, judged by what stands on its axes."""

import dataclasses
import doctest
import importlib

import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.special import softmax

import tfhyper
from tfhyper import analysis, metrics

VOID = 255
NAMES = ["road", "tree", "sky"]
HEADINGS = ["Image", "Truth", "Prediction", "Error", "Aleatoric", "Epistemic"]
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 4, 5, 3))
MEMBERS = softmax(RNG.normal(size=(6, 3, 4, 5, 3)) * 2, axis=-1)
LABELS = RNG.integers(0, 3, (3, 4, 5))
LABELS[:, 0, :2] = VOID


def prediction_of(members, ignore_class=VOID):
    mean = members.mean(axis=0)
    total = scipy.stats.entropy(mean, axis=-1)
    aleatoric = scipy.stats.entropy(members, axis=-1).mean(axis=0)
    nothing = metrics.VarianceDecomposition(mean, mean, mean)
    return tfhyper.Prediction(
        mean.astype("float32"),
        total,
        aleatoric,
        total - aleatoric,
        nothing,
        ignore_class=ignore_class,
    )


PREDICTION = prediction_of(MEMBERS)


def drawn(axes):
    (image,) = axes.images
    return image.get_array()


def legend_of(figure):
    (legend,) = figure.legends
    return {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }


def test_the_panels_are_the_prediction_and_void_is_blank(tmp_path):
    figure = analysis.segmentation_map(
        IMAGES, LABELS, PREDICTION, NAMES, examples=[2, 0], title="Streets"
    )
    figure.savefig(tmp_path / "maps.png")
    assert figure.get_suptitle() == "Streets"
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels[:6]] == HEADINGS
    assert not any(axes.get_title() for axes in panels[6:])
    assert bar.get_ylabel() == "nats"
    label = MEMBERS.mean(axis=0).argmax(axis=-1)
    expected = [LABELS, label, label != LABELS, PREDICTION.aleatoric]
    expected.append(PREDICTION.epistemic)
    for line, example in enumerate((2, 0)):
        image, *others = panels[6 * line : 6 * line + 6]
        np.testing.assert_array_equal(drawn(image), IMAGES[example])
        void = LABELS[example] == VOID
        for axes, values in zip(others, expected, strict=True):
            found = drawn(axes)
            np.testing.assert_array_equal(np.ma.getmaskarray(found), void)
            np.testing.assert_allclose(found[~void], values[example][~void])


def test_one_legend_of_the_classes_and_one_scale_of_the_uncertainties():
    figure = analysis.segmentation_map(
        IMAGES, LABELS, PREDICTION, NAMES, examples=range(3)
    )
    _, truth, label, _, aleatoric, epistemic = figure.axes[6:12]
    legend = legend_of(figure)
    assert list(legend) == NAMES
    for axes in (truth, label):
        of_classes = axes.images[0]
        for index, color in enumerate(legend.values()):
            assert to_hex(of_classes.to_rgba(float(index))) == color
    kept = LABELS != VOID
    parts = (PREDICTION.aleatoric, PREDICTION.epistemic)
    largest = max(part[kept].max() for part in parts)
    for axes in (aleatoric, epistemic):
        assert axes.images[0].get_clim() == (0, pytest.approx(largest))


def test_one_example_stands_in_two_lines_of_three():
    # Of more classes than there are colours for; those that occur are in the legend.
    classes = 30
    members = np.eye(classes)[np.full((2, 1, 4, 5), 29)]
    labels = np.full((1, 4, 5, 1), 7)
    figure = analysis.segmentation_map(
        IMAGES[:1, ..., :1], labels, prediction_of(members, None)
    )
    *panels, _ = figure.axes
    places = [axes.get_subplotspec().rowspan.start for axes in panels]
    assert places == [0, 0, 0, 1, 1, 1]
    legend = legend_of(figure)
    assert list(legend) == ["7", "29"] and len(set(legend.values())) == 2
    assert not np.ma.getmaskarray(drawn(panels[1])).any()
    assert drawn(panels[3]).all()
    # Certain everywhere: the scale is of one nat, not of nothing.
    assert panels[4].images[0].get_clim() == (0, 1)


def test_what_a_rejection_leaves_unknown_is_blank_in_prediction_and_error():
    sure = PREDICTION.reject(0.9)
    _, truth, label, error, aleatoric, _, _ = analysis.segmentation_map(
        IMAGES, LABELS, sure, NAMES
    ).axes
    void = LABELS[0] == VOID
    unknown = void | (PREDICTION.total[0] > 0.9)
    assert unknown.sum() > void.sum()
    for axes, blank in ((truth, void), (label, unknown), (error, unknown)):
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn(axes)), blank)
    np.testing.assert_array_equal(np.ma.getmaskarray(drawn(aleatoric)), void)


def test_a_map_of_void_alone_is_drawn():
    nothing = np.full(LABELS.shape, VOID)
    figure = analysis.segmentation_map(IMAGES, nothing, PREDICTION)
    figure.draw_without_rendering()
    assert np.ma.getmaskarray(drawn(figure.axes[1])).all()


def test_draws_into_a_part_of_a_figure():
    whole = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = whole.subfigures(2, 1)
    found = analysis.segmentation_map(IMAGES, LABELS, PREDICTION, figure=upper)
    assert found is upper
    assert len(upper.axes) == 7 and not lower.axes


ROWS = prediction_of(MEMBERS.reshape(6, -1, 3))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"images": IMAGES[:2]}, ValueError, r"`images`.*batch=3.*\(2, 4, 5, 3\)"),
        ({"images": 255 * IMAGES}, ValueError, r"`images` must lie in \[0, 1\]"),
        ({"labels": LABELS[:, :3]}, ValueError, r"`labels`.*\(3, 4, 5\).*\(3, 3, 5\)"),
        ({"labels": np.full((3, 4, 5), 3)}, ValueError, r"`labels`.*\[0, 3\).*255"),
        ({"prediction": ROWS}, ValueError, r"`prediction` must be of maps.*\(60, 3\)"),
        ({"prediction": MEMBERS}, TypeError, "`prediction` must be a `tfhyper.Pred"),
        ({"class_names": ["road"]}, ValueError, "`class_names`.*3 classes.*length 1"),
        ({"examples": []}, ValueError, r"`examples` must name one.*examples=\[\]"),
        ({"examples": [3]}, ValueError, "`examples` must be an integer from 0 to 2"),
        ({"examples": 0}, TypeError, "`examples` must be a sequence of integers"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    good = {"images": IMAGES, "labels": LABELS, "prediction": PREDICTION}
    with pytest.raises(error, match=message):
        analysis.segmentation_map(**{**good, **change})


def test_void_without_an_ignored_class_is_no_class():
    every = dataclasses.replace(PREDICTION, ignore_class=None)
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 3\).*255"):
        analysis.segmentation_map(IMAGES, LABELS, every)


def test_the_docstring_example_runs():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.maps"))
    assert result.attempted > 0 and result.failed == 0
