"""BatchNorm in every form of Keras': exact moments of a draw, or refused at once."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tfhyper import PosteriorPredictor

RNG = np.random.default_rng(0)
EPSILON = 1e-3


def functional(body, *shape, dtype=None):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, body(inputs))


def moments(model, x, batch_size=None, **options):
    """Returns the moments of one draw of a model, by the name of the layer."""
    predictor = PosteriorPredictor(model, num_draws=1, **options)
    predictor.calibrate(x, batch_size=batch_size, verbose=0)
    return predictor, predictor.draws[0].moments


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sentences(count=48, length=6):
    found = RNG.integers(1, 9, (count, length))
    for row, size in enumerate(RNG.integers(1, length + 1, count)):
        found[row, size:] = 0
    return found


def masked():
    keras.utils.set_random_seed(2)

    def body(x):
        x = L.BatchNormalization(name="norm")(L.Embedding(9, 4, mask_zero=True)(x))
        return L.Dense(3)(L.GlobalAveragePooling1D()(x))

    return functional(body, 6, dtype="int32")


def test_masked_steps_do_not_count():
    model, x = masked(), sentences()
    values = np.array(model.layers[1].embeddings)[x][x != 0].astype("float64")
    predictor, found = moments(model, x, batch_size=7)
    np.testing.assert_allclose(found["norm"][0], values.mean(0), atol=1e-6)
    np.testing.assert_allclose(found["norm"][1], values.var(0), atol=1e-6)
    # The prediction, too, is that of Keras with these moments.
    norm = model.get_layer("norm")
    norm.moving_mean.assign(found["norm"][0])
    norm.moving_variance.assign(found["norm"][1])
    expected = softmax(model.predict(x, verbose=0))
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-6)


def test_masked_steps_do_not_count_where_draws_are_averaged_inside():
    keras.utils.set_random_seed(2)

    def body(x):
        x = L.Embedding(9, 4, mask_zero=True)(x)
        y = tfhyper.layers.BayesDense(4, name="drawn")(x)
        x = L.BatchNormalization(name="norm")(L.Add()([x, y]))
        return L.Dense(3)(L.GlobalAveragePooling1D()(x))

    model, x = functional(body, 6, dtype="int32"), sentences()
    inside = PosteriorPredictor(model, num_draws=2, averaging="parallelizing")
    inside.calibrate(x, verbose=0)
    # By hand: each draw's kernel, the moments over what is there, the mean.
    layer, there = model.get_layer("drawn"), x != 0
    embedded = np.array(model.layers[1].embeddings, "float64")[x]
    means = []
    stacked = inside.draws[0].noise["drawn"]
    for noise in stacked[:2]:
        kernel, bias = map(np.array, layer.point_weights(noise))
        y = embedded + embedded @ kernel.astype("float64") + bias
        mean, variance = y[there].mean(0), y[there].var(0)
        y = (y - mean) / np.sqrt(variance + EPSILON)
        means.append((y * there[..., None]).sum(1) / there.sum(1, keepdims=True))
    dense = [np.array(w, "float64") for w in model.layers[-1].get_weights()]
    expected = softmax(np.mean(means, 0) @ dense[0] + dense[1])
    np.testing.assert_allclose(inside.predict(x).mean, expected, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("affine", [(True, True), (False, True), (False, False)])
def test_axes_and_affine_parameters(axis, affine):
    center, scale = affine
    keras.utils.set_random_seed(1)
    norm = L.BatchNormalization(axis=axis, center=center, scale=scale, name="norm")
    model = functional(lambda x: L.Dense(3)(L.Flatten()(norm(x))), 4, 5, 6)
    for i, weight in enumerate(norm.trainable_weights):
        weight.assign(RNG.uniform(0.5, 2, weight.shape).astype("float32") + i)
    x = RNG.normal(3, 2, size=(30, 4, 5, 6)).astype("float32")
    predictor, found = moments(model, x, batch_size=8)
    others = tuple(i for i in range(4) if i != axis % 4)
    np.testing.assert_allclose(found["norm"][0], x.mean(others), rtol=1e-5)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    # The pooled variance is that of all the examples together.
    np.testing.assert_allclose(found["norm"][1], x.var(others), rtol=1e-4)
    mean, variance = (m.reshape(shape) for m in found["norm"])
    y = (x - mean) / np.sqrt(variance + EPSILON)
    if scale:
        y = y * np.array(norm.gamma).reshape(shape)
    if center:
        y = y + np.array(norm.beta).reshape(shape)
    kernel, bias = model.layers[-1].get_weights()
    expected = softmax(y.reshape(30, -1) @ kernel + bias)
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-5)


def test_moments_of_double_precision():
    keras.utils.set_random_seed(1)
    model = functional(
        lambda x: L.Dense(3, dtype="float64")(
            L.BatchNormalization(dtype="float64", name="norm")(x)
        ),
        5,
        dtype="float64",
    )
    x = RNG.normal(1e6, 1.0, size=(64, 5))
    _, found = moments(model, x, batch_size=64)
    assert found["norm"][0].dtype == found["norm"][1].dtype == np.float64
    np.testing.assert_allclose(found["norm"][0], x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found["norm"][1], x.var(0), rtol=1e-6)


def test_batches_of_other_sizes_count_by_their_positions():
    keras.utils.set_random_seed(1)
    norm = L.BatchNormalization(name="norm")
    model = functional(
        lambda x: L.Dense(3)(L.GlobalAveragePooling2D()(norm(x))), None, None, 2
    )
    batches = [
        RNG.normal(i, 1 + i, size=(4, 3 + 2 * i, 5, 2)).astype("float32")
        for i in range(3)
    ]
    _, found = moments(model, Batches(batches))
    values = np.concatenate([x.reshape(-1, 2) for x in batches]).astype("float64")
    np.testing.assert_allclose(found["norm"][0], values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["norm"][1], values.var(0), rtol=1e-5)


class Batches:
    """Batches that can be read again."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return iter(self._batches)


def test_synchronized_is_as_any():
    pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        return
    norm = L.BatchNormalization(synchronized=True, name="norm")
    model = functional(lambda x: L.Dense(3)(norm(x)), 5)
    x = RNG.normal(2, 3, size=(40, 5)).astype("float32")
    _, found = moments(model, x)
    np.testing.assert_allclose(found["norm"][0], x.mean(0), rtol=1e-5)


def test_frozen_layers_keep_their_averages():
    frozen, trained = L.BatchNormalization(name="a"), L.BatchNormalization(name="b")
    model = functional(lambda x: L.Dense(3)(trained(frozen(x))), 5)
    frozen.trainable = False
    frozen.moving_mean.assign(np.arange(5.0))
    x = RNG.normal(2, 3, size=(40, 5)).astype("float32")
    _, found = moments(model, x)
    assert list(found) == ["b"]
    y = (x - np.arange(5)) / np.sqrt(1 + EPSILON)
    np.testing.assert_allclose(found["b"][0], y.mean(0), atol=1e-5)


def test_two_calls_of_one_layer_are_refused_at_once():
    norm = L.BatchNormalization(name="twice")
    model = functional(lambda x: L.Dense(3)(norm(L.Dense(5)(norm(x)))), 5)
    with pytest.raises(ValueError, match="'twice' is called more than once.*moving"):
        PosteriorPredictor(model)
    found = PosteriorPredictor(model, batch_norm="moving_average")
    x = RNG.normal(size=(9, 5)).astype("float32")
    expected = softmax(model.predict(x, verbose=0))
    np.testing.assert_allclose(found.predict(x).mean, expected, atol=1e-6)


def test_renormalisation_is_refused_at_once():
    if "renorm" not in L.BatchNormalization().get_config():
        pytest.skip("this version of Keras has none")
    norm = L.BatchNormalization(renorm=True, name="again")
    model = functional(lambda x: L.Dense(3)(norm(x)), 5)
    with pytest.raises(ValueError, match="'again' has `renorm=True`"):
        PosteriorPredictor(model)
    PosteriorPredictor(model, batch_norm="moving_average")


class Own(L.BatchNormalization):
    """A user's norm, which computes otherwise."""

    def call(self, inputs, training=None, mask=None):
        return super().call(2 * inputs, training=training, mask=mask)


class Named(L.BatchNormalization):
    """A user's norm, which computes as Keras'."""

    def __init__(self, note="", **kwargs):
        super().__init__(**kwargs)
        self.note = note


def test_norms_of_other_classes_are_refused_if_they_compute_otherwise():
    model = functional(lambda x: L.Dense(3)(Own(name="own")(x)), 5)
    with pytest.raises(ValueError, match="'own' is of the class Own"):
        PosteriorPredictor(model)
    x = RNG.normal(2, 3, size=(40, 5)).astype("float32")
    model = functional(lambda x: L.Dense(3)(Named("hello", name="named")(x)), 5)
    predictor, found = moments(model, x)
    np.testing.assert_allclose(found["named"][0], x.mean(0), rtol=1e-5)
    y = (x - x.mean(0)) / np.sqrt(x.var(0) + EPSILON)
    kernel, bias = model.layers[-1].get_weights()
    expected = softmax(y @ kernel + bias)
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-5)
    plain = predictor.materialize(0).predict(x, verbose=0)
    np.testing.assert_allclose(softmax(plain), expected, atol=1e-5)


def test_calibration_leaves_the_model_as_it_is():
    model, x = masked(), sentences()
    before = [w.copy() for w in model.get_weights()]
    predictor, _ = moments(model, x)
    predictor.predict(x)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
