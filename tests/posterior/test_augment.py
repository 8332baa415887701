"""Augmentation as a part of a draw: views in turns, seeds, files, exports."""

import copy

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

import tfhyper
from tfhyper.layers import Augment, Flip, Shift
from tfhyper.layers.augment import FixedView

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 6, 5, 2)).astype("float32")
SEEN = {
    "as they are": (None, X),
    "flip": (Flip(), X[:, :, ::-1]),
    "down": (Shift(2, 0), np.pad(X, [(0, 0), (2, 0), (0, 0), (0, 0)])[:, :6]),
    "up and right": (
        Shift(-1, 3),
        np.pad(X, [(0, 0), (0, 1), (3, 0), (0, 0)])[:, 1:, :5],
    ),
    "left": (
        Shift(0, -2, fill="reflect"),
        np.pad(X, [(0, 0), (0, 0), (0, 2), (0, 0)], mode="reflect")[:, :, 2:],
    ),
}


def plain():
    keras.utils.set_random_seed(2)
    layers = [
        keras.Input(X.shape[1:]),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential(layers)


def hyper():
    keras.utils.set_random_seed(3)
    inputs = keras.Input(X.shape[1:])
    x = tfhyper.layers.HyperConv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def probabilities(model, x):
    return ops.convert_to_numpy(ops.softmax(model(np.ascontiguousarray(x))))


@pytest.mark.parametrize("name", SEEN)
def test_views_are_those_of_numpy(name):
    view, expected = SEEN[name]
    layer = view or keras.layers.Identity()
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(X)), expected)


@pytest.mark.parametrize("view", [Flip, Shift])
def test_views_with_the_channels_first(view):
    options = {"rows": 1, "columns": 2} if view is Shift else {}
    expected = ops.convert_to_numpy(view(**options)(X))
    found = view(**options, data_format="channels_first")(X.transpose(0, 3, 1, 2))
    found = ops.convert_to_numpy(found).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found, expected)


def test_views_are_keras_layers():
    for cls, arguments in ((Flip, {}), (Shift, {"rows": 1, "columns": -2})):
        TestCase().run_layer_test(
            cls,
            init_kwargs=arguments,
            input_shape=(2, 6, 5, 3),
            expected_output_shape=(2, 6, 5, 3),
            expected_num_trainable_weights=0,
            supports_masking=True,
        )


def test_draws_take_turns_in_the_views():
    model = plain()
    views = [view for view, _ in SEEN.values()]
    predictor = tfhyper.PosteriorPredictor(
        model, batch_norm="moving_average", augment=Augment(views)
    )
    assert predictor.num_draws == len(SEEN)
    expected = [probabilities(model, seen) for _, seen in SEEN.values()]
    found = predictor.predict(X)
    np.testing.assert_allclose(found.members, expected, atol=1e-6)
    np.testing.assert_allclose(found.mean, np.mean(expected, axis=0), atol=1e-6)
    again = tfhyper.PosteriorPredictor(
        model, num_draws=7, batch_norm="moving_average", augment=Augment(views)
    )
    members = again.predict(X, batch_size=3).members
    np.testing.assert_allclose(members, [*expected, *expected[:2]], atol=1e-6)


def test_generated_kernels_see_the_views_and_the_mean_sees_none():
    model, augment = hyper(), Augment.flips()
    plain_draws = tfhyper.PosteriorPredictor(model, num_draws=4)
    predictor = tfhyper.PosteriorPredictor(model, num_draws=4, augment=augment)
    kernels = [plain_draws.materialize(i) for i in range(4)]
    for i, kernel in enumerate(kernels):
        name = next(iter(plain_draws.draws[i].noise))
        predictor.draws[i].noise[name] = plain_draws.draws[i].noise[name]
    predictor.draws = predictor.draws
    seen = [X, X[:, :, ::-1], X, X[:, :, ::-1]]
    expected = [probabilities(k, x) for k, x in zip(kernels, seen, strict=True)]
    np.testing.assert_allclose(predictor.predict(X).members, expected, atol=1e-6)
    found = ops.convert_to_numpy(ops.softmax(predictor.materialize(1)(X)))
    np.testing.assert_allclose(found, expected[1], atol=1e-6)
    mean = {"deterministic": True, "batch_norm": "moving_average"}
    at_mean = tfhyper.PosteriorPredictor(plain(), augment=augment, **mean)
    expected = probabilities(plain(), X)
    np.testing.assert_allclose(at_mean.predict(X).mean, expected, atol=1e-6)


def test_averaging_inside_of_one_network():
    options = {"averaging": "widening", "num_draws": 2, "augment": Augment.flips()}
    predictor = tfhyper.PosteriorPredictor(hyper(), **options)
    network = predictor.materialize()
    views = [x for x in network.layers if isinstance(x, FixedView)]
    assert [int(x.view) for x in views] == [0, 1]
    found = predictor.predict(X).mean
    np.testing.assert_allclose(found, probabilities(network, X), atol=1e-6)
    views[1].view.assign(0)
    assert np.abs(found - probabilities(network, X)).max() > 1e-4


def test_a_layer_that_draws_has_one_noise_a_draw():
    layer = keras.layers.RandomTranslation(0.4, 0.4, fill_mode="constant")
    predictor = tfhyper.PosteriorPredictor(
        plain(), num_draws=3, batch_norm="moving_average", augment=layer
    )
    members = predictor.predict(X).members
    assert len({x.tobytes() for x in np.round(members, 5)}) == 3
    # An example's prediction depends on nothing but itself.
    alone = predictor.predict(X[4:5]).members
    np.testing.assert_allclose(alone, members[:, 4:5], atol=1e-6)
    seeds = [1, 1, 2]
    options = {"num_draws": 3, "batch_norm": "moving_average", "augment": layer}
    first, same, other = (
        tfhyper.PosteriorPredictor(plain(), seed=s, **options).predict(X).mean
        for s in seeds
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3


@keras.saving.register_keras_serializable("tests")
def negated(x):
    return -x


VIEWS = {
    "flips": Augment.flips,
    "shifts": lambda: Augment.shifts(1, flips=True),
    "function": lambda: Augment([None, negated]),
    "draws": lambda: Augment([None, keras.layers.RandomFlip("vertical")]),
}


@pytest.mark.parametrize("views", VIEWS)
def test_it_comes_back_from_files_and_copies(views, tmp_path):
    predictor = tfhyper.PosteriorPredictor(hyper(), num_draws=3, augment=VIEWS[views]())
    expected = predictor.predict(X).members
    predictor.save(tmp_path / "p.tfhyper")
    for again in (
        tfhyper.PosteriorPredictor.load(tmp_path / "p.tfhyper"),
        copy.deepcopy(predictor),
    ):
        np.testing.assert_allclose(again.predict(X).members, expected, atol=1e-6)
        assert len(again.augment.views) == len(predictor.augment.views)


@pytest.mark.parametrize("form", ["materialized", "generator"])
def test_it_is_exported(form, tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    augment = Augment.shifts(1, flips=True)
    predictor = tfhyper.PosteriorPredictor(hyper(), num_draws=4, augment=augment)
    tfhyper.export.saved_model(predictor, tmp_path / "saved", form=form)
    loaded = tensorflow.saved_model.load(str(tmp_path / "saved"))
    outputs = loaded.signatures["serving_default"](tensorflow.constant(X))
    np.testing.assert_allclose(
        outputs["probabilities"], predictor.predict(X).mean, atol=1e-5
    )
    tfhyper.export.onnx(predictor, tmp_path / "model.onnx")


def test_in_a_deep_ensemble_each_member_sees_the_views():
    models = [plain(), plain()]
    models[1].set_weights([w + 0.1 for w in models[1].get_weights()])
    ensemble = tfhyper.DeepEnsemble(models, draws_per_member=2, augment=Augment.flips())
    expected = [probabilities(m, x) for m in models for x in (X, X[:, :, ::-1])]
    np.testing.assert_allclose(ensemble.predict(X).members, expected, atol=1e-6)


def test_with_learned_noise():
    model = tfhyper.Variational(plain(), num_examples=len(X), seed=0)
    options = {"num_draws": 2, "batch_norm": "moving_average"}
    draws = tfhyper.PosteriorPredictor(model, **options)
    predictor = tfhyper.PosteriorPredictor(model, augment=Augment([Flip()]), **options)
    for i in range(2):
        predictor.draws[i].noise["weights"] = draws.draws[i].noise["weights"]
    found = predictor.predict(X).members
    expected = draws.predict(np.ascontiguousarray(X[:, :, ::-1])).members
    np.testing.assert_allclose(found, expected, atol=1e-5)


BAD = {
    "views": (lambda: Augment([]), ValueError, "`views` must not be empty"),
    "type": (lambda: Augment(["flip"]), TypeError, "`views` must be"),
    "augment": (
        lambda: tfhyper.PosteriorPredictor(plain(), augment="flip"),
        TypeError,
        "`augment` must be",
    ),
    "weights": (
        lambda: tfhyper.PosteriorPredictor(
            plain(), augment=Augment([keras.layers.Conv2D(2, 3, padding="same")])
        ),
        ValueError,
        "`views` must have no weights",
    ),
    "shape": (
        lambda: tfhyper.PosteriorPredictor(
            plain(), augment=Augment([keras.layers.MaxPooling2D()])
        ),
        ValueError,
        "`views` must keep the shape",
    ),
    "inputs": (
        lambda: tfhyper.PosteriorPredictor(two_inputs(), augment=Augment.flips()),
        ValueError,
        "`augment` needs a model of one input",
    ),
    "rows": (lambda: Shift(6, 0)(X), ValueError, "`rows` must be less"),
    "fill": (lambda: Shift(1, 0, fill="mean"), ValueError, "`fill` must be"),
    "images": (lambda: Flip()(X[0]), ValueError, "`Flip` needs images"),
}


def two_inputs():
    inputs = [keras.Input((6, 5, 2)), keras.Input((6, 5, 2))]
    x = keras.layers.Flatten()(keras.layers.Add()(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_named(what):
    make, error, message = BAD[what]
    with pytest.raises(error, match=message):
        make()
