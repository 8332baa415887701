"""Subspaces of weights, against NumPy: points, layers at a point, the cosine term."""

import itertools

import keras
import numpy as np
import pytest
import scipy.stats
from keras import layers as L  # noqa: N812
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.layers import gradients, normal, to_numpy
from tfhyper.layers import (
    LatentCode,
    MovingAveragesWarning,
    RandomVariables,
    SubspacePoint,
    SubspacePosterior,
    role_of,
)
from tfhyper.layers.noise import MEAN
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.layers.subspaces import check_subspace

KINDS = {"line": 2, "curve": 3, "simplex": 4}
ROLES = ("kernel", "bias", "gamma", "beta", "recurrent_kernel")
POINT = {
    "line": np.array([[0.3, 0.7]], "float32"),
    "curve": np.array([[0.49, 0.42, 0.09]], "float32"),  # a = 0.3
    "simplex": np.array([[0.1, 0.2, 0.3, 0.4]], "float32"),
}
# A layer, its inputs.
LAYERS = {
    "conv": (lambda: L.Conv2D(3, 2, bias_initializer="normal"), normal(2, 5, 4, 2)),
    "norm": (
        lambda: L.BatchNormalization(
            gamma_initializer="normal", beta_initializer="normal", epsilon=1e-2
        ),
        normal(6, 4),
    ),
    "dense": (lambda: L.Dense(3, bias_initializer="normal"), normal(2, 5)),
    "gru": (lambda: L.GRU(3), normal(2, 4, 3)),
}


def points(subspace, count):
    found = [subspace.coordinates(StatelessSeed(8, i)) for i in range(count)]
    return np.stack([to_numpy(x)[0] for x in found])


def of_subspace(make, kind, **options):
    posterior = SubspacePosterior(kind, KINDS[kind], **options)
    return RandomVariables(make(), posterior, ROLES)


def network(kind="line", corners=None, weight=1.0, **options):
    keras.utils.set_random_seed(1)
    point = SubspacePoint(kind, corners, weight, seed=4, name="point", **options)
    x = keras.Input((5,))
    code, y = point(x), x
    for layer in (L.Dense(4, activation="relu", name="a"), L.Dense(2, name="b")):
        posterior = SubspacePosterior(kind, corners, seed=3)
        y = RandomVariables(layer, posterior, ("kernel", "bias"))(y, code=code)
    return keras.Model(x, y)


def corners_of(model):
    """Returns the vectors of the whole network at its corners, (corners, weights)."""
    rows = []
    for name in ("a", "b"):
        for corners in model.get_layer(name).posterior.corner_variables():
            rows.append(np.stack([to_numpy(x).ravel() for x in corners]))
    return np.concatenate(rows, axis=1)


def numpy_cosines(vectors):
    sizes = np.linalg.norm(vectors, axis=1)
    return vectors @ vectors.T / np.outer(sizes, sizes)


def test_points_of_a_line_and_a_curve_are_those_of_a_uniform_number():
    line = points(check_subspace("line", None), 100)
    a = line[:, 1]
    np.testing.assert_allclose(line[:, 0], 1 - a, atol=1e-6)
    assert scipy.stats.kstest(a, "uniform").pvalue > 1e-3
    # The same numbers, of the Bernstein polynomials of degree 2.
    curve = points(check_subspace("curve", None), 100)
    expected = np.stack([scipy.stats.binom.pmf(i, 2, a) for i in range(3)], axis=1)
    np.testing.assert_allclose(curve, expected, atol=1e-6)


def test_points_of_a_simplex_are_uniform():
    found = points(check_subspace("simplex", 3), 300)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    # Moments of Dirichlet(1, 1, 1), within four standard errors of the mean.
    of = scipy.stats.dirichlet([1, 1, 1])
    np.testing.assert_allclose(found.mean(0), of.mean(), atol=4 * 0.236 / 300**0.5)
    np.testing.assert_allclose(np.cov(found.T), of.cov(), atol=0.015)
    # Each coordinate of many is one of Beta(1, corners - 1).
    (many,) = points(check_subspace("simplex", 2000), 1)
    assert scipy.stats.kstest(many, scipy.stats.beta(1, 1999).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_midpoint_and_the_ends(kind):
    subspace = check_subspace(kind, KINDS[kind])
    ends = {"line": [0, 1], "curve": [0, 2], "simplex": [0, 1, 2, 3]}[kind]
    assert subspace.pairs == list(itertools.combinations(ends, 2))
    middle = {"curve": [0.25, 0.5, 0.25]}.get(kind, [1 / KINDS[kind]] * KINDS[kind])
    np.testing.assert_allclose(subspace.midpoint, [middle])
    assert check_subspace(kind, None).corners == {"simplex": 3}.get(kind, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_at_a_point_is_the_plain_one_with_weights_between(case, kind):
    make, x = LAYERS[case]
    layer = of_subspace(make, kind, seed=2)
    layer(x)
    variables = layer.posterior.corner_variables()
    assert [len(corners) for corners in variables] == [KINDS[kind]] * len(variables)
    plain = make()
    plain.build(x.shape)
    between = {
        corners[0].name: sum(
            c * to_numpy(w) for c, w in zip(POINT[kind][0], corners, strict=True)
        )
        for corners in variables
    }
    by_name = {v.name: v for v in plain.weights}
    assert len(by_name) == len(plain.weights)
    for name, value in between.items():
        by_name[name].assign(value)
    for training in (False, True):
        found = to_numpy(layer(x, code=POINT[kind], training=training))
        expected = to_numpy(plain(x, training=training))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # And the network of a draw has them.
    point = layer.point_layer()
    point.build(x.shape)
    point.set_weights(list(map(to_numpy, layer.point_weights(POINT[kind]))))
    np.testing.assert_allclose(to_numpy(point(x)), to_numpy(plain(x)), atol=1e-5)


def test_a_norm_at_a_point_is_that_of_numpy_and_keeps_its_averages():
    make, x = LAYERS["norm"]
    layer = of_subspace(make, "line")
    layer(x)
    (gamma, beta) = (
        0.3 * to_numpy(first) + 0.7 * to_numpy(second)
        for first, second in layer.posterior.corner_variables()
    )
    found = to_numpy(layer(x, code=POINT["line"], training=True))
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-2) * gamma + beta
    np.testing.assert_allclose(found, expected, atol=1e-5)
    average = to_numpy(layer.layer.moving_mean)
    np.testing.assert_allclose(average, 0.01 * x.mean(0), atol=1e-6)


def test_each_corner_starts_as_the_layer_does_by_other_numbers():
    keras.utils.set_random_seed(0)
    seeded = keras.initializers.GlorotUniform(seed=5)
    layer = of_subspace(lambda: L.Dense(50, kernel_initializer=seeded), "simplex")
    layer.build((None, 60))
    kernels, biases = layer.posterior.corner_variables()
    kernels = [to_numpy(x) for x in kernels]
    limit = np.sqrt(6 / 110)
    for kernel in kernels:
        uniform = scipy.stats.uniform(-limit, 2 * limit).cdf
        assert scipy.stats.kstest(kernel.ravel(), uniform).pvalue > 1e-3
    for a, b in itertools.combinations(kernels, 2):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.08
    assert not any(to_numpy(x).any() for x in biases)
    assert {role_of(v) for v in layer.trainable_variables} == {None}


def test_constraints_are_those_of_each_corner_and_frozen_layers_stay_frozen():
    layer = of_subspace(lambda: L.Dense(2, kernel_constraint="non_neg"), "line")
    layer.build((None, 3))
    kernels, _ = layer.posterior.corner_variables()
    assert all(x.constraint is kernels[0].constraint is not None for x in kernels)
    frozen = of_subspace(lambda: L.Dense(2, trainable=False), "line")
    frozen.build((None, 3))
    assert not frozen.trainable_variables


@pytest.mark.parametrize("kind", KINDS)
def test_the_cosine_term_is_that_of_the_whole_network(kind):
    model = network(kind, KINDS[kind], weight=0.5)
    point = model.get_layer("point")
    cosines = numpy_cosines(corners_of(model))
    np.testing.assert_allclose(to_numpy(point.cosines()), cosines, atol=1e-5)
    model(normal(2, 5), training=False)
    assert not model.losses
    found, calls = set(), 2 if kind != "simplex" else 25
    for _ in range(calls):
        # Of the layer alone: what the others do with the code is another matter.
        point(normal(2, 5), training=True)
        (loss,) = point.losses
        found.add(round(float(loss), 5))
    expected = {round(0.5 * cosines[j, k] ** 2, 5) for j, k in point.subspace.pairs}
    assert len(found) == len(expected)
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=2e-5)


def test_the_term_pulls_the_ends_apart_by_its_gradient():
    model = network("curve")
    point = model.get_layer("point")

    def loss():
        return 2.0 * ops.square(point.cosines()[0, 2])

    vectors = corners_of(model)
    corners = model.get_layer("b").posterior.corner_variables()[0]
    found = gradients(loss, corners)
    # d cos^2 / d w_1 = 2 cos (w_3 / |w_1| |w_3| - cos w_1 / |w_1|^2), for the ends.
    (u, _, v), (a, _, b) = vectors, map(to_numpy, corners)
    sizes, cosine = [np.linalg.norm(x) for x in (u, v)], numpy_cosines(vectors)[0, 2]
    both = sizes[0] * sizes[1]
    expected = 2.0 * 2 * cosine * (b / both - cosine * a / sizes[0] ** 2)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert not np.abs(found[1]).any()
    expected = 2.0 * 2 * cosine * (a / both - cosine * b / sizes[1] ** 2)
    np.testing.assert_allclose(found[2], expected, atol=1e-6)


def test_a_call_outside_of_training_has_the_midpoint():
    model = network("curve")
    point = model.get_layer("point")
    x = normal(3, 5)
    before = to_numpy(point.draws)
    first, second = (to_numpy(model(x, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(to_numpy(point.draws), before)
    y = x
    for name in ("a", "b"):
        corners = model.get_layer(name).posterior.corner_variables()
        kernel, bias = (
            sum(c * to_numpy(w) for c, w in zip([0.25, 0.5, 0.25], part, strict=True))
            for part in corners
        )
        y = y @ kernel + bias
        y = np.maximum(y, 0) if name == "a" else y
    np.testing.assert_allclose(first, y, atol=1e-5)
    drawn = [to_numpy(model(x, training=True)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_a_layer_without_shared_coordinates_draws_its_own():
    layer = of_subspace(lambda: L.Dense(3), "line", seed=6)
    x = normal(2, 5)
    np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(layer(x)))
    first, second = (to_numpy(layer(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    middle = [to_numpy(v) for v in layer.point_weights(MEAN)]
    np.testing.assert_allclose(to_numpy(layer(x)), x @ middle[0] + middle[1], atol=1e-5)
    assert layer.sample_noise(3).shape == (1, 2)


def test_a_network_comes_back_from_its_file_with_its_corners(tmp_path):
    model = network("simplex", 4)
    model.compile("sgd", "mse", jit_compile=False)
    x = normal(4, 5)
    model.fit(x, normal(4, 2), verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(corners_of(copy), corners_of(model))
    for training in (False, True, True):
        both = [to_numpy(m(x, training=training)) for m in (model, copy)]
        np.testing.assert_array_equal(*both)
        if training:
            np.testing.assert_array_equal(
                *[to_numpy(m.losses[0]) for m in (model, copy)]
            )
    clone = keras.models.clone_model(model)
    assert (
        clone.get_layer("point").get_config() == model.get_layer("point").get_config()
    )
    assert to_numpy(clone.get_layer("point").cosines()).shape == (4, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_keras_checks_of_the_point(kind):
    TestCase().run_layer_test(
        SubspacePoint,
        {"kind": kind, "corners": KINDS[kind], "seed": 3},
        input_shape=(2, 3),
        expected_output_shape=(1, KINDS[kind]),
        expected_output_dtype="float32",
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
        run_training_check=False,
    )


@keras.saving.register_keras_serializable("tests")
class CurvedDense(RandomVariables):
    """As Keras' checks make several layers of the same arguments, one with none."""

    def __init__(self, layer=None, posterior=None, **kwargs):
        posterior = posterior or SubspacePosterior("curve")
        super().__init__(layer or L.Dense(3), posterior, **kwargs)


def test_keras_checks_of_a_layer():
    TestCase().run_layer_test(
        CurvedDense,
        {"where": ["kernel", "bias"]},
        input_shape=(2, 4),
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=6,
        expected_num_non_trainable_weights=1,
        expected_num_losses=0,
        supports_masking=True,
        # The layer's policy is its own.
        run_mixed_precision_check=False,
    )


def test_half_precision_is_that_of_the_layer_alone():
    keras.utils.set_random_seed(0)
    layer = of_subspace(lambda: L.Dense(3, dtype="mixed_bfloat16"), "line")
    x = normal(2, 5)
    assert keras.backend.standardize_dtype(layer(x).dtype) == "bfloat16"
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    kernel, bias = (to_numpy(v) for v in layer.point_weights(POINT["line"]))
    found = to_numpy(ops.cast(layer(x, code=POINT["line"]), "float32"))
    np.testing.assert_allclose(found, x @ kernel + bias, atol=0.05)
    assert SubspacePoint("line", dtype="mixed_bfloat16")(x).dtype in (
        ops.ones(()).dtype,
        "float32",
    )


@pytest.mark.parametrize("make", [SubspacePoint, SubspacePosterior])
@pytest.mark.parametrize(
    "options, match",
    [
        ({"kind": "circle"}, "`kind` must be one of.*'circle'"),
        ({"kind": "line", "corners": 3}, "`corners` must be 2 for a line.*corners=3"),
        ({"kind": "curve", "corners": 2}, "`corners` must be 3 for a curve"),
        ({"kind": "simplex", "corners": 1}, "`corners` must be.*Received: corners=1"),
        ({"kind": "simplex", "corners": 2.5}, "`corners` must be"),
        ({"seed": -1}, "`seed` must be"),
    ],
    ids=["kind", "line", "curve", "one", "fraction", "seed"],
)
def test_bad_arguments_are_refused_at_the_door(make, options, match):
    with pytest.raises(ValueError, match=match):
        make(**options)


def test_bad_weights_spreads_and_codes():
    with pytest.raises(ValueError, match="`cosine_weight` must be.*-1"):
        SubspacePoint(cosine_weight=-1)
    with pytest.raises(ValueError, match="`spread` must be.*-0.5"):
        SubspacePosterior(spread=-0.5)
    layer = of_subspace(lambda: L.Dense(3), "line")
    x = keras.Input((5,))
    with pytest.raises(ValueError, match=r"`code` must have shape \(1, 2\)"):
        layer(ops.ones((2, 5)), code=np.ones((1, 3), "float32"))
    with pytest.raises(ValueError, match=r"`code` must have shape \(1, 2\)"):
        layer.point_weights(np.ones((1, 3), "float32"))
    # Where the graph says nothing of the corners there is no cosine of them.
    alone = SubspacePoint(cosine_weight=1.0)
    alone(x)
    alone(ops.ones((1, 5)))
    with pytest.raises(ValueError, match="`cosine_weight` must be 0 where no layer"):
        alone(ops.ones((1, 5)), training=True)


def test_averages_of_all_points_are_warned_of_where_a_norm_stands_behind():
    x = keras.Input((4,))
    code = SubspacePoint()(x)
    y = of_subspace(lambda: L.Dense(3), "line")(x, code=code)
    y = of_subspace(L.BatchNormalization, "line")(y, code=code)
    model = keras.Model(x, y)
    with pytest.warns(MovingAveragesWarning, match="whose variables are drawn"):
        model.predict(normal(2, 4), verbose=0)


def test_codes_of_both_kinds_are_functions_of_seed_and_count():
    for make in (lambda: LatentCode(3, seed=2), lambda: SubspacePoint(seed=2)):
        twins = make(), make()
        found = [
            [to_numpy(x(ops.ones((1,)), training=True)) for _ in range(2)]
            for x in twins
        ]
        np.testing.assert_array_equal(*found)
        assert np.abs(found[0][0] - found[0][1]).max() > 0
