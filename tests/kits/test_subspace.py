"""The kit of subspaces of weights: networks, the midpoint, conversion, exports."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops

from tests.helpers.layers import BACKEND, to_numpy
from tfhyper import (
    PosteriorPredictor,
    conversion_report,
    convert,
    detection,
    kits,
    models,
)
from tfhyper.layers import RandomVariables, SubspacePoint
from tfhyper.posterior import Draw, PointNetwork
from tfhyper.training import compile_recipe

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
WEIGHTS = {"curve": [0.25, 0.5, 0.25], "line": [0.5, 0.5], "simplex": [0.25] * 4}


def residual(kit):
    keras.utils.set_random_seed(0)
    options = {"block": models.blocks.preact_block, "stages": [(2, [4])]}
    return models.residual_network(kit, SHAPE, 3, name="small", **options)


def network(*args, **options):
    return residual(kits.subspace(*args, **{"seed": 3, **options}))


def drawn_layers(model):
    return [x for x in model.layers if isinstance(x, RandomVariables)]


def weights_at(layer, coordinates):
    """Returns the weights of a layer at a point, those of a plain layer."""
    corners = {id(x[0]): x for x in layer.posterior.corner_variables()}
    return [
        sum(c * to_numpy(w) for c, w in zip(coordinates, corners[id(v)], strict=True))
        if id(v) in corners
        else to_numpy(v)
        for v in layer.layer.weights
    ]


def plain_at(model, coordinates):
    plain = residual("deterministic")
    for layer in drawn_layers(model):
        plain.get_layer(layer.name).set_weights(weights_at(layer, coordinates))
    return plain


def trained():
    keras.utils.set_random_seed(1)
    x = keras.Input(SHAPE)
    y = L.Conv2D(3, 3, name="conv")(x)
    y = L.BatchNormalization(name="norm")(y, training=False)
    y = L.BatchNormalization(name="center", scale=False)(y)
    y = L.BatchNormalization(name="moments", scale=False, center=False)(y)
    y = L.SeparableConv2D(2, 2, name="separable")(L.ReLU()(y))
    y = L.LayerNormalization(name="layer_norm")(L.Flatten()(y))
    model = keras.Model(x, L.Dense(2, name="dense")(y))
    for variable in model.weights:
        noise = np.random.default_rng(2).uniform(0.5, 1, variable.shape)
        variable.assign(to_numpy(variable) * 0.5 + 0.3 * noise)
    return model


@pytest.fixture(scope="module")
def line():
    return network("line")


def test_all_weights_of_all_layers_are_between_corners(line):
    plain = residual("deterministic")
    assert [x.name for x in drawn_layers(line)] == [
        x.name for x in plain.layers if x.weights
    ]
    count = sum(int(np.prod(x.shape)) for x in plain.trainable_weights)
    assert sum(int(np.prod(x.shape)) for x in line.trainable_weights) == 2 * count
    (point,) = [x for x in line.layers if isinstance(x, SubspacePoint)]
    assert point.cosine_weight == 1.0
    # Of He's kernels and factors that are all 1 in both corners, a third is alike.
    assert 0.1 < float(point.cosines()[0, 1]) < 0.5


def test_options_reach_every_layer():
    model = network("simplex", 4, cosine_weight=0.2, spread=0.5)
    point = model.get_layer("subspace_point")
    assert (point.cosine_weight, point.subspace.corners) == (0.2, 4)
    for layer in drawn_layers(model):
        posterior = layer.posterior
        assert posterior.subspace == point.subspace and posterior.spread == 0.5
    seeds = {x.posterior.seed for x in drawn_layers(model)}
    assert len(seeds) == len(drawn_layers(model))


def test_weight_decay_takes_every_corner(line):
    compile_recipe(line, epochs=3, steps_per_epoch=1)
    line.optimizer.build(line.trainable_variables)
    one = line.get_layer("logits").posterior.corner_variables()[0]
    before = [to_numpy(x) for x in one]
    zeros = [ops.zeros(x.shape) for x in line.trainable_variables]
    line.optimizer.apply(zeros, line.trainable_variables)
    for corner, old in zip(one, before, strict=True):
        moved = to_numpy(corner) - old
        assert np.sign(moved[old != 0]).tolist() == (-np.sign(old[old != 0])).tolist()


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_midpoint_is_one_plain_network(kind):
    corners = len(WEIGHTS[kind])
    model = network(kind, corners)
    midpoint = PosteriorPredictor(model, deterministic=True)
    assert midpoint.num_draws == 1
    midpoint.estimate_batch_norm(X, batch_size=12, verbose=0)
    (noise,) = midpoint.draws[0].noise.values()
    np.testing.assert_allclose(noise, [WEIGHTS[kind]])
    found = midpoint.predict(X, batch_size=12).members[0]
    # With the moments of the one batch there is, as a plain network trains by them.
    plain = plain_at(model, WEIGHTS[kind])
    expected = to_numpy(ops.softmax(plain(X, training=True)))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    folded = midpoint.materialize(0)
    assert not any(isinstance(x, RandomVariables) for x in folded.layers)
    assert folded.count_params() == plain.count_params()
    np.testing.assert_allclose(to_numpy(ops.softmax(folded(X))), found, atol=1e-5)
    # Keras' own call is the midpoint, with the moving averages.
    averages = plain_at(model, WEIGHTS[kind])
    np.testing.assert_allclose(
        to_numpy(model(X, training=False)), to_numpy(averages(X)), atol=1e-5
    )


def test_draws_are_points_with_moments_of_their_own(line):
    predictor = PosteriorPredictor(line, 3, seed=5)
    predictor.estimate_batch_norm(X, batch_size=12, verbose=0)
    found = predictor.predict(X, batch_size=12)
    parts = predictor.predict(X, batch_size=5)
    np.testing.assert_allclose(found.members, parts.members, atol=1e-6)
    one = predictor.predict(X[:1])
    np.testing.assert_allclose(one.members, found.members[:, :1], atol=1e-5)
    assert found.epistemic.mean() > 1e-4
    for i in range(3):
        (coordinates,) = predictor.draws[i].noise["subspace_point"]
        plain = plain_at(line, coordinates)
        expected = to_numpy(ops.softmax(plain(X, training=True)))
        np.testing.assert_allclose(found.members[i], expected, atol=1e-4)
        expected = to_numpy(ops.softmax(predictor.materialize(i)(X)))
        np.testing.assert_allclose(found.members[i], expected, atol=1e-5)


def test_features_are_the_inputs_of_the_last_layer(line):
    predictor = PosteriorPredictor(line, 2, batch_norm="moving_average", seed=5)
    labels = np.arange(12) % 3
    found, expected = (
        detection.Mahalanobis(**options).fit(predictor, X, labels).score(X)
        for options in ({}, {"layer": "pool"})
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_moving_averages_of_a_norm_are_the_models_present_ones(line):
    norm = next(
        x for x in drawn_layers(line) if isinstance(x.layer, L.BatchNormalization)
    )
    before = to_numpy(norm.layer.moving_mean)
    norm.layer.moving_mean.assign(before + 1.0)
    try:
        predictor = PosteriorPredictor(line, 2, batch_norm="moving_average", seed=1)
        (coordinates,) = predictor.draws[1].noise["subspace_point"]
        expected = to_numpy(ops.softmax(plain_at(line, coordinates)(X)))
        found = predictor.predict(X).members[1]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    finally:
        norm.layer.moving_mean.assign(before)


def test_any_point_can_be_asked_for_and_others_are_refused(line):
    point = PointNetwork(line)
    point.set(Draw({"subspace_point": np.array([[1.0, 0.0]], "float32")}))
    expected = to_numpy(plain_at(line, [1, 0])(X))
    np.testing.assert_allclose(to_numpy(point.network(X)), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`code` must have shape \(1, 2\)"):
        point.set(Draw({"subspace_point": np.ones((1, 3), "float32")}))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_converted_model_is_the_trained_one_at_the_midpoint(kind):
    model = trained()
    report = conversion_report(model, kits.subspace(kind))
    assert {line.path for line in report.layers if line.is_drawn} == {
        "conv",
        "norm",
        "center",
        "moments",
        "separable",
        "layer_norm",
        "dense",
    }
    corners = len(WEIGHTS[kind])
    copy = convert(model, kits.subspace(kind, corners, spread=0.5, seed=2))
    expected = to_numpy(model(X))
    np.testing.assert_allclose(to_numpy(copy(X, training=False)), expected, atol=1e-4)
    # Corners are as far apart as it says: less what keeps the midpoint in its place.
    kernels = copy.get_layer("separable").posterior.corner_variables()[1]
    moves = np.stack([to_numpy(x) for x in kernels])
    assert moves.shape == (corners, 1, 1, 3, 2)
    kernels = np.stack(
        [to_numpy(x) for x in copy.get_layer("dense").posterior.corner_variables()[0]]
    )
    trained_kernel = to_numpy(model.get_layer("dense").kernel)
    share = 1 + np.sum(np.square(WEIGHTS[kind])) - 2 * np.array(WEIGHTS[kind])
    spread = (kernels - trained_kernel).std(axis=(1, 2))
    scale = 0.5 * np.sqrt(2 / trained_kernel.shape[0])
    np.testing.assert_allclose(spread, scale * np.sqrt(share), rtol=0.3)


def test_norms_take_their_averages_as_those_of_the_trained_model_do():
    model = trained()
    copy = convert(model, kits.subspace(spread=0.0, seed=1))
    norms = [copy.get_layer(name).layer for name in ("norm", "center")]
    for x in (model, copy):
        x(X, training=True)
    for norm in norms:
        expected = to_numpy(model.get_layer(norm.name).moving_mean)
        np.testing.assert_allclose(to_numpy(norm.moving_mean), expected, atol=1e-5)
    # One without factor and shift is the plain layer.
    assert type(copy.get_layer("moments")) is L.BatchNormalization
    predictor = PosteriorPredictor(copy, 2, seed=0)
    assert set(predictor.source.point.batch_norms) == {"center", "moments"}
    predictor.estimate_batch_norm(X, batch_size=12, verbose=0)
    assert np.isfinite(predictor.predict(X).mean).all()


def test_a_frozen_norm_keeps_its_averages_in_draws():
    x = keras.Input(SHAPE)
    norm = L.BatchNormalization(name="norm", trainable=False)
    y = norm(L.Conv2D(3, 3, name="conv")(x))
    model = keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(y)))
    norm.moving_mean.assign([1.0, 2.0, 3.0])
    copy = convert(model, kits.subspace(seed=1))
    assert not copy.get_layer("norm").trainable_variables
    predictor = PosteriorPredictor(copy, 2, seed=0)
    found = predictor.materialize(1).get_layer("norm")
    np.testing.assert_array_equal(to_numpy(found.moving_mean), [1, 2, 3])


@pytest.mark.parametrize(
    "args, options, match",
    [
        (("plane",), {}, "`kind` must be one of"),
        (("line", 3), {}, "`corners` must be 2 for a line"),
        (("curve", 4), {}, "`corners` must be 3 for a curve"),
        (("simplex", 1), {}, "`corners` must be"),
        ((), {"cosine_weight": -0.1}, "`cosine_weight` must be"),
        ((), {"spread": -1}, "`spread` must be"),
        ((), {"seed": -1}, "`seed` must be"),
    ],
    ids=["kind", "line", "curve", "one", "cosine_weight", "spread", "seed"],
)
def test_bad_options_are_refused_at_the_door(args, options, match):
    with pytest.raises(ValueError, match=match):
        kits.subspace(*args, **options)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModels are TensorFlow's.")
def test_an_exported_file_draws_points(tmp_path):
    import tensorflow as tf

    from tfhyper import export

    keras.utils.set_random_seed(0)
    x = keras.Input((3,))
    y = L.BatchNormalization()(L.Dense(8, activation="relu")(x))
    model = convert(
        keras.Model(x, L.Dense(4)(y)), kits.subspace("simplex", spread=1.0, seed=1)
    )
    rows = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    predictor = PosteriorPredictor(model, 3, outputs="logits")
    predictor.estimate_batch_norm(rows, verbose=0)
    export.saved_model(
        predictor, tmp_path / "model", sampling=True, sampling_inputs=rows
    )
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    found = loaded.signatures["members"](inputs=tf.constant(rows))["members"].numpy()
    expected = predictor.predict(rows).members
    np.testing.assert_allclose(found.swapaxes(0, 1), expected, atol=1e-5)
    sample = loaded.signatures["sample"]
    drawn = [
        sample(inputs=tf.constant(rows), seed=tf.constant(seed))["members"].numpy()
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 1e-3
