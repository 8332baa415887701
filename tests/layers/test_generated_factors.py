"""Generated factors: kernels of a mean, times a matrix of low rank by the code."""

import keras
import numpy as np
import pytest

from tests.helpers.bayes import weights_of
from tests.helpers.layers import CASES, normal, to_numpy
from tfhyper import PosteriorPredictor, convert, kits, layers, models, training
from tfhyper.training.fast_generator import why_not

SHAPE = (8, 8, 3)


def built(name, rank, **options):
    stock, sizes, inputs_shape, _ = CASES[name]
    cls = getattr(layers, f"Hyper{stock}")
    layer = cls(**sizes, rank=rank, hidden_units=6, code_units=3, seed=1, **options)
    layer.build(inputs_shape)
    return layer, normal(*inputs_shape)


def kernel_of(layer, code):
    """Returns the kernel of a code, an outer product after another, in float64."""
    w = weights_of(layer)
    hidden = np.maximum(code @ w["generator_hidden"], 0)
    numbers = (hidden @ w["generator_output"])[0] / np.sqrt(layer.hidden_units)
    *_, inputs, outputs = w["mean_kernel"].shape
    rank, scale = layer.factor_rank, layer.deviation_scale
    a = numbers[: rank * inputs].reshape(rank, inputs)
    b = numbers[rank * inputs :].reshape(rank, outputs)
    factors = sum(np.outer(a[j], b[j]) for j in range(rank))
    return w["mean_kernel"] * (1 + scale * factors / np.sqrt(rank))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_kernels_are_the_mean_times_a_matrix_of_the_rank(name, rank):
    layer, x = built(name, rank)
    codes = [layer.sample_noise(i) for i in range(3)]
    together = list(layer.point_weights_of_draws(codes))
    for code, weights in zip(codes, together, strict=True):
        expected = kernel_of(layer, code)
        for found in (layer.point_weights(code)[0], weights[0], layer.generate(code)):
            np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-4, atol=1e-5)
        ratio = expected / weights_of(layer)["mean_kernel"] - 1
        matrices = ratio.reshape(-1, *ratio.shape[-2:])
        np.testing.assert_allclose(
            matrices, np.broadcast_to(matrices[0], matrices.shape)
        )
        most = min(rank, *ratio.shape[-2:])
        assert np.linalg.matrix_rank(matrices[0], tol=1e-8) == most
    # At the code of zeros it is the mean.
    zero = to_numpy(layer.generate(np.zeros((1, 3), "float32")))
    np.testing.assert_array_equal(zero, to_numpy(layer.mean))
    outputs = to_numpy(layer(x, codes[0]))
    stock = layer.point_layer()
    stock.build(x.shape)
    stock.set_weights(layer.point_weights(codes[0]))
    np.testing.assert_allclose(outputs, to_numpy(stock(x)), rtol=1e-4, atol=1e-5)


def test_the_generator_is_small_and_the_deviation_of_the_size_that_is_said():
    layer = layers.HyperConv2D(
        40, 3, rank=4, prior="normal", deviation_scale=0.2, code_units=64
    )
    layer.build((None, 8, 8, 30))
    assert layer.generator_output.shape == (32, 4 * (30 + 40))
    assert layer.draw_multiply_adds == 64 * 32 + 32 * 280 + 4 * 1200 + 9 * 1200
    mean = to_numpy(layer.mean)
    draws = [to_numpy(layer.generate(layer.sample_noise(i))) for i in range(40)]
    ratio = np.std([kernel - mean for kernel in draws]) / np.std(mean)
    assert ratio == pytest.approx(0.2, rel=0.2)


def test_it_trains_saves_and_predicts_as_stock_layers(tmp_path):
    keras.utils.set_random_seed(0)

    def network(kit):
        return models.wide_resnet(10, 1, num_classes=3, input_shape=SHAPE, kit=kit)

    model = network(kits.hyper(rank=2, prior="normal", seed=3))
    drawn = [x for x in model.layers if isinstance(x, layers.HyperConv2D)]
    assert len(drawn) == 8 and {x.factor_rank for x in drawn} == {2}
    plain, whole = network("deterministic"), network("hyper")
    generators = model.count_params() - plain.count_params()
    assert 0 < generators < 0.05 * (whole.count_params() - plain.count_params())
    # Nothing of it is packed: the ordinary path is small.
    training.compile_recipe(model, 1, 1, fast_generator=True, jit_compile=False)
    assert any("no generated kernels" in reason for reason in why_not(model))
    x, y = normal(6, *SHAPE), np.arange(6) % 3
    before = {v.path: to_numpy(v).copy() for v in model.trainable_variables}
    model.run_eagerly = True
    assert np.isfinite(model.train_on_batch(x, y)).all()
    moved = {
        v.path: np.abs(to_numpy(v) - before[v.path]).max()
        for v in model.trainable_variables
        if "generator" in v.path
    }
    assert len(moved) == 16 and min(moved.values()) > 0
    predictor = PosteriorPredictor(model, 3)
    predictor.estimate_batch_norm(x, verbose=0)
    expected = predictor.predict(x)
    assert expected.epistemic.max() > 1e-5
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(x).members, expected.members, atol=1e-6)


def test_a_trained_network_is_kept_as_the_mean():
    trained = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    copy = convert(trained, kits.hyper(rank=1, deviation_scale=0.0))
    x = normal(5, 4)
    np.testing.assert_allclose(to_numpy(copy(x)), to_numpy(trained(x)), atol=1e-6)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"rank": 0}, "`rank` must be a positive integer"),
        ({"rank": 1.0}, "`rank` must be a positive integer"),
        ({"rank": 1, "mean_kernel": False}, "`rank` must be None without a mean"),
    ],
    ids=["zero", "real", "no_mean"],
)
def test_bad_ranks_are_refused_at_the_door(options, match):
    for make in (kits.hyper, lambda **x: layers.HyperDense(3, **x)):
        with pytest.raises(ValueError, match=match):
            make(**options)
