"""Pairs of weights, against draws of the predictor and posteriors that are known."""

import doctest
import importlib
import re

import keras
import numpy as np
import pytest
import scipy.stats

import tfhyper
from tfhyper import analysis, kits, layers
from tfhyper.analysis import _blocks
from tfhyper.analysis.correlation import pearson


@pytest.fixture(scope="module")
def block_wise():
    """Returns a network of two blocks of two layers, a code for each block."""
    keras.utils.set_random_seed(0)
    kit = kits.hyper(
        "block_wise", "normal", code_units=8, hidden_units=8, mean_kernel=False
    ).for_network()
    inputs = x = keras.Input((4, 4, 3))
    for width, name in enumerate(("block1/a", "block1/b", "block2/a", "block2/b"), 4):
        x = kit.conv(width, 3, name=f"stage1_{name}")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def two_layers(make):
    """Returns a network of layers `a` and `b`, each a block."""
    inputs = keras.Input((6,))
    return keras.Model(inputs, make(20, name="b")(make(30, name="a")(inputs)))


@pytest.mark.parametrize(
    "name, block, stage",
    [
        ("stage1_block2_conv1", "stage1_block2", "stage1"),
        ("stage3_block12_shortcut", "stage3_block12", "stage3"),
        ("conv2_block1_1_conv", "conv2_block1", "conv2"),
        ("block2a_expand_conv", "block2a", "block2a"),
        ("block_1_expand", "block_1", "block_1"),
        ("stem", "stem", "stem"),
        ("hyper_conv2d_1", "hyper_conv2d_1", "hyper_conv2d_1"),
        ("blocked", "blocked", "blocked"),
    ],
)
def test_blocks_are_told_by_names(name, block, stage):
    assert (_blocks.block_of(name), _blocks.stage_of(name)) == (block, stage)


@pytest.mark.parametrize("where", ["within", "across"])
def test_pairs_are_those_of_the_networks_of_the_draws(block_wise, where):
    pairs = analysis.weight_pairs(block_wise, 20, 3, where, seed=7)
    assert pairs.samples.shape == (3, 20, 2)
    predictor = tfhyper.PosteriorPredictor(block_wise, num_draws=3, seed=7)
    same = analysis.weight_pairs(predictor, 20, 3, where, seed=7)
    np.testing.assert_array_equal(pairs.samples, same.samples)
    for i in range(3):
        network = predictor.materialize(i)
        for samples, names in zip(pairs.samples[i], pairs.names, strict=True):
            assert names[0] != names[1]
            for value, name in zip(samples, names, strict=True):
                layer, place = re.fullmatch(r"(\w+)\[(.*)\]", name).groups()
                kernel = network.get_layer(layer).get_weights()[0]
                assert kernel[tuple(map(int, place.split(", ")))] == value
    blocks = [[name.split("_")[:2] for name in names] for names in pairs.names]
    assert all((first == second) == (where == "within") for first, second in blocks)


def test_each_weight_has_the_same_chance(block_wise):
    pairs = analysis.weight_pairs(block_wise, 3000, 1, seed=0)
    drawn = [name.partition("[")[0] for name, _ in pairs.names]
    kernels = [x for x in block_wise.layers if isinstance(x, layers.HyperConv2D)]
    total = sum(np.prod(x.kernel_shape) for x in kernels)
    observed = [drawn.count(x.name) for x in kernels]
    expected = [3000 * np.prod(x.kernel_shape) / total for x in kernels]
    # The seed is fixed; one in a thousand would fail.
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


def test_correlation_is_pearsons():
    first, second = np.random.default_rng(0).normal(size=(2, 50, 4))
    second += first
    expected = [scipy.stats.pearsonr(*x).statistic for x in zip(first.T, second.T)]
    np.testing.assert_allclose(pearson(first, second), expected)


def test_independent_weights_are_at_the_noise_floor():
    model = two_layers(lambda units, name: layers.BayesDense(units, name=name))
    found = analysis.weight_correlation(model, num_draws=200)
    assert found.noise_floor == pytest.approx(np.sqrt(2 / (np.pi * 200)))
    # Of 1000 pairs: four standard errors of the mean of a half-normal.
    tolerance = 4 * np.sqrt((1 - 2 / np.pi) / 200 / 1000)
    assert found.within == pytest.approx(found.noise_floor, abs=tolerance)
    assert found.across == pytest.approx(found.noise_floor, abs=tolerance)
    assert len(found.within_pairs) == len(found.across_pairs) == 1000
    assert found.within == pytest.approx(np.abs(found.within_pairs).mean())
    assert (found.num_constant, found.num_draws) == (0, 200)


def test_a_generator_of_one_unit_has_correlations_of_one():
    # All weights of a layer are multiples of one number, each layer's its own.
    model = two_layers(
        lambda units, name: layers.HyperDense(
            units, hidden_units=1, prior="normal", mean_kernel=False, name=name
        )
    )
    found = analysis.weight_correlation(model, num_pairs=50, num_draws=200)
    np.testing.assert_allclose(np.abs(found.within_pairs), 1, atol=1e-6)
    # One number for all pairs: four standard deviations of a correlation of 0.
    np.testing.assert_allclose(np.abs(found.across_pairs), found.across, atol=1e-6)
    assert found.across < 4 / np.sqrt(200)


def test_blocks_share_codes_as_the_strategy_says(block_wise):
    found = analysis.weight_correlation(block_wise, num_draws=200)
    assert found.within > 3 * found.noise_floor
    # Blocks are independent, but the weights of a block are not: the mean is that of
    # some 16 x 16 correlations of hidden units. Four standard errors.
    tolerance = 4 * np.sqrt((np.pi / 2 - 1) / 16**2)
    assert found.across == pytest.approx(found.noise_floor, rel=tolerance)
    # Halves that go through both blocks share their codes.
    halves = analysis.weight_correlation(
        block_wise, num_draws=200, blocks=lambda name: name.rpartition("_")[2]
    )
    assert halves.across > 1.5 * found.across


def test_weights_that_never_vary_are_left_out_and_counted():
    model = two_layers(
        lambda units, name: layers.BayesDense(units, pruned=True, name=name)
    )
    mask = np.ones((6, 30), "float32")
    mask[:, :10] = 0
    model.get_layer("a").kernel_posterior.mask.assign(mask)
    found = analysis.weight_correlation(model, num_pairs=300, num_draws=5, seed=3)
    kept = len(found.within_pairs) + len(found.across_pairs)
    assert found.num_constant == 600 - kept
    names = [
        name
        for where in ("within", "across")
        for name in analysis.weight_pairs(model, 300, 1, where, seed=3).names
    ]
    pruned = [any(re.match(r"a\[\d, \d\]", x) for x in pair) for pair in names[:300]]
    assert len(found.within_pairs) == 300 - sum(pruned)
    assert 0 < sum(pruned) < 300


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda: two_layers(keras.layers.Dense), "whose kernels are drawn"),
        (
            lambda: keras.Sequential([keras.Input((3,)), layers.MCDropout(0.5)]),
            "whose kernels are drawn",
        ),
        (
            lambda: keras.Sequential([keras.Input((3,)), layers.HyperDense(2)]),
            "two blocks or more.*'hyper_dense",
        ),
        (
            lambda: two_layers(
                lambda units, name: layers.HyperDense(
                    units, mean_kernel=True, deviation_scale=0, name=name
                )
            ),
            "vary from draw to draw",
        ),
    ],
)
def test_networks_without_correlations_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        analysis.weight_correlation(model(), num_pairs=4, num_draws=4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_pairs": 0}, "`num_pairs` must be a positive integer"),
        ({"num_draws": 0}, "`num_draws` must be a positive integer"),
        ({"where": "between"}, "`where` must be one of"),
        ({"seed": -1}, "`seed` must be an integer"),
    ],
)
def test_bad_arguments_are_named(block_wise, change, message):
    with pytest.raises(ValueError, match=message):
        analysis.weight_pairs(block_wise, **change)
    if "num_draws" in change:
        with pytest.raises(ValueError, match="`num_draws` must be .* at least 2"):
            analysis.weight_correlation(block_wise, num_draws=1)


def test_a_pair_is_dots_between_two_histograms(tmp_path):
    first, second = np.random.default_rng(0).normal(size=(2, 500))
    figure = analysis.weight_pair_plot(first, second, ("u", "v"), 20, title="Pair")
    figure.savefig(tmp_path / "pair.png")
    assert figure.get_suptitle() == "Pair"
    dots, above, right = figure.axes
    np.testing.assert_array_equal(dots.lines[0].get_xydata(), np.c_[first, second])
    assert (dots.get_xlabel(), dots.get_ylabel()) == ("u", "v")
    expected = scipy.stats.pearsonr(first, second).statistic
    assert dots.texts[0].get_text() == f"r = {expected:.2f}"
    heights = [bar.get_height() for bar in above.patches]
    np.testing.assert_array_equal(heights, np.histogram(first, 20)[0])
    widths = [bar.get_width() for bar in right.patches]
    np.testing.assert_array_equal(widths, np.histogram(second, 20)[0])
    assert above.get_xlim() == dots.get_xlim()
    assert right.get_ylim() == dots.get_ylim()


def test_a_pair_that_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match="`second` must hold numbers that are not all"):
        analysis.weight_pair_plot([0.0, 1.0], [2.0, 2.0])
    with pytest.raises(ValueError, match="`second` must have the shape"):
        analysis.weight_pair_plot([0.0, 1.0], [2.0])
    with pytest.raises(ValueError, match="`num_bins` must be a positive"):
        analysis.weight_pair_plot([0.0, 1.0], [2.0, 1.0], num_bins=0)


def test_histograms_of_correlations_hold_all_pairs(tmp_path):
    rng = np.random.default_rng(0)
    within, across = rng.uniform(-1, 1, 100), rng.uniform(-0.1, 0.1, 80)
    found = analysis.WeightCorrelation(0.5, 0.05, within, across, 0, 1000)
    figure = analysis.correlation_plot({"all-in-one": found, "block-wise": found}, 10)
    figure.savefig(tmp_path / "correlations.png")
    assert [axes.get_title() for axes in figure.axes] == ["all-in-one", "block-wise"]
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["Within blocks: 0.500", "Across blocks: 0.050"]
    for patch, values in zip(figure.axes[0].patches, (within, across), strict=True):
        expected = np.histogram(values, 10, (-1, 1))[0] / len(values)
        assert patch.get_xy()[:, 1].max() == pytest.approx(expected.max())
    with pytest.raises(ValueError, match="`correlations` must be a dict"):
        analysis.correlation_plot({"all-in-one": 0.5})


@pytest.mark.parametrize("module", ["correlation", "weights"])
def test_the_docstring_examples_run(module):
    result = doctest.testmod(importlib.import_module(f"tfhyper.analysis.{module}"))
    assert result.attempted > 0 and result.failed == 0


def test_many_histograms_stand_in_rows_of_three():
    values = np.linspace(-1, 1, 9)
    one = analysis.WeightCorrelation(0.5, 0.25, values, values / 2, 0, 100)
    figure = analysis.correlation_plot({f"method {i}": one for i in range(5)})
    assert [axes.get_title() for axes in figure.axes] == [
        f"method {i}" for i in range(5)
    ]
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert [(x.rowspan.start, x.colspan.start) for x in places] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
    ]
