"""Figures, judged by what stands on their axes and by the PNG they give."""

import builtins
import doctest
import importlib
import struct
import types

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.special import softmax

from tfhyper import analysis, metrics

NAMES = ["cat", "dog", "frog"]


def save_and_measure(figure, path):
    """Saves a PNG and returns its (width, height), read from the file's header."""
    figure.savefig(path)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:])


def predictions(count=60, classes=3):
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(size=(count, classes)) * 2, axis=-1)
    return rng.integers(0, classes, size=count), probs


def example_arguments(count=60):
    labels, probs = predictions(count)
    images = np.random.default_rng(1).random((count, 8, 8, 3))
    return images, labels, probs, metrics.predictive_entropy(probs[np.newaxis])


def texts(artists):
    return [artist.get_text() for artist in artists]


def test_reliability_diagram_shows_the_curve(tmp_path):
    labels, probs = predictions()
    figure = analysis.reliability_diagram(labels, probs, num_bins=10, title="WRN")
    assert save_and_measure(figure, tmp_path / "r.png") == (630, 750)
    assert figure.get_suptitle() == "WRN"
    diagram, histogram = figure.axes
    curve = metrics.reliability_curve(labels, probs, num_bins=10)
    filled = curve.counts > 0
    assert 0 < filled.sum() < 10

    accuracy_bars, *gaps = diagram.containers
    heights = [bar.get_height() for bar in accuracy_bars]
    np.testing.assert_allclose(heights, curve.accuracy[filled])
    shaded = sum(abs(bar.get_height()) for bars in gaps for bar in bars)
    gap = np.abs(curve.accuracy - curve.confidence)
    assert shaded == pytest.approx(gap[filled].sum())
    counts = [bar.get_height() for bar in histogram.containers[0]]
    assert counts == curve.counts[filled].tolist()

    ece = metrics.expected_calibration_error(labels, probs, num_bins=10)
    assert texts(diagram.texts) == [f"ECE = {ece:.4f}"]
    np.testing.assert_array_equal(diagram.lines[0].get_xydata(), [(0, 0), (1, 1)])
    assert diagram.get_xlim() == histogram.get_xlim() == (0, 1)
    assert (diagram.get_ylabel(), histogram.get_ylabel()) == ("Accuracy", "Examples")
    assert histogram.get_xlabel() == "Confidence"


@pytest.mark.parametrize(
    "label, side", [(0, "Underconfident by"), (1, "Overconfident by")]
)
def test_reliability_diagram_names_the_side_of_the_gap(label, side):
    figure = analysis.reliability_diagram([label], [[0.7, 0.3]])
    entries = texts(figure.axes[0].get_legend().get_texts())
    assert sorted(entries) == sorted(["Accuracy", side, "Perfect calibration"])


def test_reliability_diagram_of_perfect_predictions_has_no_gap():
    figure = analysis.reliability_diagram([0], [[1.0, 0.0]])
    assert len(figure.axes[0].containers) == 1


def test_reliability_diagram_averages_members():
    labels, probs = predictions()
    members = np.stack([probs, probs[::-1]])
    heights = [
        [bar.get_height() for bar in figure.axes[0].containers[0]]
        for figure in (
            analysis.reliability_diagram(labels, members),
            analysis.reliability_diagram(labels, members.mean(axis=0)),
        )
    ]
    np.testing.assert_allclose(*heights)


def test_extreme_examples_are_the_extremes(tmp_path):
    images, labels, probs, entropy = example_arguments()
    figure = analysis.extreme_examples(
        images, labels, probs, entropy, NAMES, num=4, title="Test images"
    )
    width, height = save_and_measure(figure, tmp_path / "e.png")
    assert (width, height) == (810, 675)
    assert figure.get_suptitle() == "Test images"
    headings = [block.get_suptitle() for block in figure.subfigs]
    assert headings == ["Most certain", "Least certain"]

    order = np.argsort(entropy)
    assert len(figure.axes) == 8
    for axes, index in zip(figure.axes, [*order[:4], *order[::-1][:4]]):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[index])
        predicted = probs[index].argmax()
        assert axes.get_title() == (
            f"true: {NAMES[labels[index]]}\npredicted: {NAMES[predicted]}\n"
            f"{entropy[index]:.2f} nats"
        )
        color = "black" if predicted == labels[index] else "red"
        assert to_rgb(axes.title.get_color()) == to_rgb(color)
    drawn = {to_rgb(axes.title.get_color()) for axes in figure.axes}
    assert drawn == {to_rgb("black"), to_rgb("red")}


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_extreme_examples_of_grey_and_coloured_images(channels, tmp_path):
    images, labels, probs, entropy = example_arguments(20)
    images = np.random.default_rng(0).random((20, 8, 8, *channels))
    figure = analysis.extreme_examples(images, labels, probs, entropy, num=10)
    save_and_measure(figure, tmp_path / "e.png")
    assert len(figure.axes) == 20
    assert figure.axes[0].get_title().startswith(f"true: {labels[entropy.argmin()]}\n")
    # A dark image must look dark: grey levels are not stretched to the image's own.
    assert figure.axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": np.zeros((5, 8, 8))}, r"`images`.*batch=60.*\(5, 8, 8\)"),
        ({"images": np.zeros((60, 8, 8, 2))}, r"`images`.*\(60, 8, 8, 2\)"),
        ({"images": np.zeros((60, 64))}, r"`images`.*\(60, 64\)"),
        ({"images": np.full((60, 8, 8), 255)}, r"`images` must lie in \[0, 1\].*255"),
        ({"images": np.full((60, 8, 8), np.nan)}, r"`images` must be finite.*NaN"),
        ({"labels": np.full(60, 3)}, "`labels` must lie in"),
        ({"prediction_mean": np.ones((60, 3))}, "`prediction_mean` must sum to one"),
        ({"uncertainty": np.zeros(3)}, r"`uncertainty` must have the shape.*\(3,\)"),
        ({"uncertainty": np.full(60, np.inf)}, "`uncertainty` must be finite.*60"),
        ({"class_names": ["cat"]}, "`class_names`.*3 classes.*length 1"),
        ({"num": 0}, "`num` must be a positive integer"),
        ({"num": 61}, "`num` must be at most the number of images, 60.*num=61"),
    ],
)
def test_extreme_examples_name_bad_arguments(change, message):
    names = ("images", "labels", "prediction_mean", "uncertainty")
    arguments = dict(zip(names, example_arguments()))
    with pytest.raises(ValueError, match=message):
        analysis.extreme_examples(**{**arguments, **change})


def test_training_curves_pair_training_and_validation(tmp_path):
    history = {"error": [0.5, 0.2, 0.1], "loss": [3, 2, 1], "val_loss": [3.5, 2.5]}
    figure = analysis.training_curves(history, title="Run 1")
    assert save_and_measure(figure, tmp_path / "t.png") == (1020, 390)
    assert figure.get_suptitle() == "Run 1"
    error, loss = figure.axes
    assert (error.get_ylabel(), loss.get_ylabel()) == ("error", "loss")
    assert error.get_legend() is None
    assert texts(loss.get_legend().get_texts()) == ["training", "validation"]
    np.testing.assert_array_equal(
        loss.lines[1].get_xydata(), [(1, 3.5), (2, 2.5)], "epochs count from one"
    )


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_training_curves_give_each_quantity_axes(count, tmp_path):
    figure = analysis.training_curves({f"metric_{i}": [1.0] for i in range(count)})
    save_and_measure(figure, tmp_path / "t.png")
    assert len(figure.axes) == count


def test_training_curves_take_what_fit_returns():
    history = types.SimpleNamespace(history={"loss": [1.0]})
    assert len(analysis.training_curves(history).axes) == 1


def test_training_curves_of_only_a_validation_curve():
    (axes,) = analysis.training_curves({"val_loss": [1.0, 2.0]}).axes
    assert axes.get_ylabel() == "loss" and axes.lines[0].get_label() == "validation"


def test_training_curves_name_bad_arguments():
    with pytest.raises(ValueError, match="at least one curve. Received: history={}"):
        analysis.training_curves({})
    with pytest.raises(TypeError, match=r"`history` must be a dict.*\[1, 2\]"):
        analysis.training_curves([1, 2])


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    real_import = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(ImportError, match=r"pip install tfhyper\[plots\]"):
        analysis.training_curves({"loss": [1.0]})


def test_figures_leave_pyplot_alone():
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    assert isinstance(analysis.training_curves({"loss": [1.0]}), Figure)
    assert pyplot.get_fignums() == before


def test_all_names_exist_and_are_documented():
    assert analysis.__all__ == sorted(analysis.__all__)
    for name in analysis.__all__:
        assert "Example:" in getattr(analysis, name).__doc__, name


@pytest.mark.parametrize("name", ["examples", "plots"])
def test_docstring_examples_run(name):
    module = importlib.import_module(f"tfhyper.analysis.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0 and result.failed == 0
