"""The figure of one prediction, judged by what stands on its axes."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

import tfhyper
from tests.helpers import predictions
from tfhyper import analysis, heads

KINDS = predictions.every_kind()


def bars_of(axes):
    return [bar.get_width() for bar in axes.patches]


def names_of(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_bars_of_classes_with_draws_both_parts_and_unknown(tmp_path):
    found = KINDS["classes"]
    image = np.random.default_rng(0).random((5, 5))
    figure = found.plot(1, image, ["a", "b", "c", "d"], title="Second")
    figure.savefig(tmp_path / "classes.png", dpi=40)
    assert figure.get_suptitle() == "Second"
    of_image, bars, split = figure.axes
    np.testing.assert_array_equal(of_image.images[0].get_array(), image)
    np.testing.assert_allclose(bars_of(bars), found.mean[1])
    assert names_of(bars) == ["a", "b", "c", "d"]
    for line, draws in zip(bars.lines, found.members[:, 1].T, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), draws)
    np.testing.assert_allclose(bars_of(split), [found.aleatoric[1], found.epistemic[1]])
    assert split.get_xlim() == (0, pytest.approx(np.log(4)))
    best = found.mean[1].argmax()
    assert bars.get_title() == f"{'abcd'[best]}, {found.mean[1, best]:.0%}"

    threshold = found.total[1] - 0.01
    bars, split = found.reject(threshold).plot(1).axes
    assert bars.get_title().startswith(f"unknown (likeliest: {best}, ")
    assert split.lines[0].get_xdata()[0] == threshold
    # Without members there are no dots.
    alone = dataclasses.replace(found, members=None).plot(1)
    assert not alone.axes[0].lines

    many = KINDS["a few of many classes"]
    bars = many.plot(0).axes[0]
    expected = np.sort(many.mean[0])[::-1][:12]
    np.testing.assert_allclose(bars_of(bars), expected)
    assert "28 others" in bars.get_xlabel()
    assert [int(name) for name in names_of(bars)] == [
        *np.argsort(-many.mean[0], kind="stable")[:12]
    ]


def test_maps_are_the_prediction_and_blank_where_unknown():
    found = KINDS["maps"].reject(1.3)
    figure = found.plot(2, names=["road", "tree", "sky", "car"])
    label, aleatoric, epistemic, bar = figure.axes
    shown = label.images[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), found.total[2] > 1.3)
    np.testing.assert_array_equal(shown.compressed(), found.label[2][~shown.mask])
    np.testing.assert_array_equal(aleatoric.images[0].get_array(), found.aleatoric[2])
    np.testing.assert_array_equal(epistemic.images[0].get_array(), found.epistemic[2])
    assert bar.get_ylabel() == "nats"
    (legend,) = figure.legends
    assert legend.get_texts()[-1].get_text() == "unknown"

    of_labels = KINDS["maps of labels"]
    grid = np.reshape(of_labels.plot(0).axes[:6], (2, 3))
    for i, row in enumerate(grid):
        parts = (of_labels.mean, of_labels.aleatoric, of_labels.epistemic)
        for axes, part in zip(row, parts, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), part[0, ..., i])
    images = KINDS["images"]
    mean, _, epistemic = images.plot(1, np.zeros((4, 4, 3))).axes[1:4]
    np.testing.assert_array_equal(mean.images[0].get_array(), images.mean[1, ..., 0])
    np.testing.assert_allclose(
        np.square(epistemic.images[0].get_array()), images.epistemic[1, ..., 0]
    )


def test_sequences_stand_along_their_positions():
    found = KINDS["tokens"].reject(1.2)
    upper, lower, _ = found.plot(0).axes
    np.testing.assert_array_equal(upper.images[0].get_array(), found.mean[0].T)
    heights = np.reshape([x.get_height() for x in lower.patches[:14]], (2, 7))
    np.testing.assert_allclose(heights, [found.aleatoric[0], found.epistemic[0]])
    assert len(lower.patches) == 14 + found.rejected[0].sum()

    numbers = KINDS["sequences"]
    axes = numbers.plot(1).axes
    assert len(axes) == 2
    for i, part in enumerate(axes):
        np.testing.assert_allclose(part.lines[-1].get_ydata(), numbers.mean[1, :, i])
        low, high = numbers.interval(0.9)
        found = part.collections[0].get_paths()[0].vertices[:, 1]
        assert found.min() == pytest.approx(low[1, :, i].min())
        assert found.max() == pytest.approx(high[1, :, i].max())


def test_labels_have_bars_and_parts_of_their_own():
    found = KINDS["labels"].reject(0.6)
    bars, split = found.plot(1, names=list("abcde")).axes
    np.testing.assert_allclose(bars_of(bars), found.mean[1])
    expected = [*found.aleatoric[1], *found.epistemic[1]]
    np.testing.assert_allclose(bars_of(split), expected)
    for name, rejected in zip(names_of(bars), found.rejected[1], strict=True):
        assert name.endswith("(unknown)") == rejected


def curve(axes, label):
    (line,) = (x for x in axes.lines if x.get_label() == label)
    return line.get_xdata(), line.get_ydata()


def test_a_number_has_the_density_of_its_mixture():
    found = KINDS["a number"]
    axes, split = found.plot(1).axes
    x, density = curve(axes, "Prediction")
    of_draws = scipy.stats.norm.pdf(x[:, None], found.members[:, 1], 0.5)
    np.testing.assert_allclose(density, of_draws.mean(axis=1), rtol=1e-5)
    # The bands end where the intervals do, within the steps of the axis.
    for band, level in zip(axes.collections, (0.9, 0.5), strict=True):
        inside = band.get_paths()[0].vertices[:, 0]
        ends = [float(end[1]) for end in found.interval(level)]
        np.testing.assert_allclose([inside.min(), inside.max()], ends, atol=0.03)
    np.testing.assert_allclose(bars_of(split), [found.aleatoric[1], found.epistemic[1]])
    assert axes.get_title() == f"{found.mean[1]:.3g} ± {found.std[1]:.3g}"

    counts = KINDS["counts"]
    axes = counts.plot(0, names=["visits"]).axes[0]
    x, density = curve(axes, "Prediction")
    rates = counts.members[:, 0, 0]
    expected = scipy.stats.poisson.pmf(x[:, None], rates).mean(axis=1)
    np.testing.assert_allclose(density, expected, rtol=1e-5)
    assert axes.get_xlabel() == "visits"

    mixture = KINDS["mixture"]
    x, density = curve(mixture.plot(2).axes[0], "Prediction")
    parts = mixture.take([2]).mixture
    logs = heads.DrawMixture(
        mixture.family, np.repeat(mixture.members[:, [2]], len(x), axis=1)
    ).log_prob(x)
    np.testing.assert_allclose(density, np.exp(logs), rtol=1e-4)
    assert parts.num_draws == 6


def test_draws_without_noise_are_dots_and_a_certain_number_is_a_point():
    found = KINDS["a number without noise"]
    axes, _ = found.reject(0.01).plot(0).axes
    assert axes.get_title().startswith("unknown (would be ")
    dots, _ = curve(axes, "Draws")
    np.testing.assert_array_equal(dots, found.members[:, 0])
    certain = predictions.targets(2, draws=1, noise=0.0)
    certain.plot(0).draw_without_rendering()


def test_several_numbers_have_a_line_each():
    for kind in ("numbers", "several normal"):
        found = KINDS[kind]
        axes, split = found.plot(0).axes
        count = found.mean.shape[1]
        for bars, level in zip(
            (axes.patches[:count], axes.patches[count:]), (0.9, 0.5), strict=True
        ):
            low, high = found.interval(level)
            np.testing.assert_allclose([bar.get_x() for bar in bars], low[0])
            widths = [bar.get_width() for bar in bars]
            np.testing.assert_allclose(widths, high[0] - low[0])
        expected = [*found.aleatoric[0], *found.epistemic[0]]
        np.testing.assert_allclose(bars_of(split), expected)
    rejected = KINDS["numbers"].reject(0.9)
    for name, is_out in zip(names_of(rejected.plot(0).axes[0]), rejected.rejected[0]):
        assert name.endswith("(unknown)") == is_out


def test_anytime_and_several_outputs_and_a_part_of_a_figure():
    found = KINDS["anytime"]
    (axes,) = found.plot(1).axes
    np.testing.assert_allclose(bars_of(axes), found.mean[1])
    assert axes.get_title() == f"{found.label[1]}: decided by 5 of 6 draws"
    used = np.arange(72).reshape(1, 8, 9)
    maps = predictions.classes(1, 8, 9, 3)
    of_maps = tfhyper.AnytimePrediction(maps.mean, maps.label, used, 80, 0.9)
    _, draws, bar = of_maps.plot(0).axes
    np.testing.assert_array_equal(draws.images[0].get_array(), used[0])
    assert bar.get_ylabel() == "draws"
    tags = predictions.labels(2, 3)
    of_tags = tfhyper.AnytimePrediction(tags.mean, tags.label, used[:, :2, :3][0], 9, 1)
    bars, draws = of_tags.plot(1).axes
    np.testing.assert_allclose(bars_of(bars), tags.mean[1])
    np.testing.assert_array_equal(bars_of(draws), used[0, 1, :3])

    whole = Figure(layout="constrained")
    upper, lower = whole.subfigures(2, 1)
    several = KINDS["several"]
    assert several.plot(0, names={"kind": list("abcd")}, figure=upper) is upper
    assert [len(part.axes) for part in upper.subfigs] == [2, 2]
    assert not lower.axes and not lower.subfigs
    assert names_of(upper.subfigs[0].axes[0]) == list("abcd")
    with pytest.raises(ValueError, match="`names` must have names of the outputs"):
        several.plot(0, names={"other": []})


@pytest.mark.parametrize(
    "prediction, arguments, error, message",
    [
        (
            KINDS["classes"],
            (3,),
            ValueError,
            "`example` must be an integer",
        ),
        (KINDS["classes"], (0, None, ["a"]), ValueError, "`names` must hold a text"),
        (
            KINDS["classes"],
            (0, np.ones((2, 2)) * 2),
            ValueError,
            "`image` must hold one",
        ),
        (predictions.classes(1, 2, 2, 2, 3), (), ValueError, "at most two axes of pos"),
        (np.zeros((3, 4)), (), TypeError, "`prediction` must be what `predict` of a"),
        (
            dataclasses.replace(KINDS["normal"], members=None),
            (),
            ValueError,
            "must have members",
        ),
    ],
)
def test_bad_arguments_are_named(prediction, arguments, error, message):
    with pytest.raises(error, match=message):
        analysis.prediction_plot(prediction, *arguments)
