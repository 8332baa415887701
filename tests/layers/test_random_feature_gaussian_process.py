"""The Gaussian process of random features: its posterior against NumPy, and Keras."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

import tfhyper
from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor
from tfhyper.layers import RandomFeatureGaussianProcess, role_of

SIZE, FEATURES, UNITS = 3, 12, 4
# Each form of the covariance, and both ways to sum it up.
FORMS = {
    "shared": {},
    "per_class": {"covariance": "per_class"},
    "momentum": {"momentum": 0.6, "num_examples": 40},
    "labels": {"covariance": "per_class", "link": "sigmoid"},
    "unnormalized": {"normalize_inputs": False, "length_scale": 0.7, "amplitude": 3.0},
}


def built(**options):
    """Returns a layer with weights as after a training."""
    layer = RandomFeatureGaussianProcess(
        UNITS, FEATURES, **{"seed": 3, "ridge": 0.5, **options}
    )
    layer.build((None, SIZE))
    layer.beta.assign(2 * normal(FEATURES, UNITS, seed=7))
    if layer.normalize_inputs:
        layer.norm_scale.assign(1 + 0.2 * normal(SIZE, seed=8))
        layer.norm_shift.assign(0.2 * normal(SIZE, seed=9))
    return layer


def numpy_features(layer, x):
    x = x.astype("float64")
    length = layer.length_scale or math.sqrt(SIZE)
    if layer.normalize_inputs:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        x = x * to_numpy(layer.norm_scale) + to_numpy(layer.norm_shift)
    angles = x @ to_numpy(layer.frequencies) / length + to_numpy(layer.phases)
    return layer.amplitude * np.sqrt(2 / FEATURES) * np.cos(angles)


def numpy_precisions(layer, batches, momentum=None):
    """Returns P of each class, summed up example by example."""
    beta = to_numpy(layer.beta).astype("float64")
    sums, weight = np.zeros((UNITS, FEATURES, FEATURES)), 0.0
    for batch in batches:
        found = np.zeros_like(sums)
        for phi in numpy_features(layer, batch):
            logits = phi @ beta
            probs = np.exp(logits) / np.exp(logits).sum()
            if layer.link == "sigmoid":
                probs = 1 / (1 + np.exp(-logits))
            weights = probs * (1 - probs)
            if layer.covariance == "shared":
                weights = np.full(UNITS, weights.max())
            found += weights[:, None, None] * np.outer(phi, phi)
        if momentum is None:
            sums += found
        else:
            sums = momentum * sums + (1 - momentum) * found / len(batch)
            weight = momentum * weight + 1 - momentum
    if momentum is not None:
        sums = layer.num_examples * sums / weight
    return sums + layer.ridge * np.eye(FEATURES)


@pytest.mark.parametrize("form", FORMS)
def test_keras_checks_of_a_layer(form):
    options = {**FORMS[form], "num_examples": 10}
    TestCase().run_layer_test(
        RandomFeatureGaussianProcess,
        {"units": UNITS, "num_features": 8, **options},
        input_shape=(2, 4, SIZE),
        # beta; scale and shift of the inputs.
        expected_num_trainable_weights=1 if form == "unnormalized" else 3,
        # W and b, what is summed up, the steps, and whether it starts anew.
        expected_num_non_trainable_weights=5,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_posterior_is_that_of_the_formulas(form):
    layer = built(**FORMS[form])
    batches = [normal(n, SIZE, seed=i) for i, n in enumerate((9, 9, 5))]
    for batch in batches:
        layer(batch, training=True)
    expected = numpy_precisions(layer, batches, layer.momentum)
    covariance = np.linalg.inv(expected)
    found = to_numpy(layer.precision_matrix())
    assert found.shape == to_numpy(layer.covariance_matrix()).shape
    if layer.covariance == "shared":
        expected, covariance = expected[0], covariance[0]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, scale))
    np.testing.assert_allclose(
        to_numpy(layer.covariance_matrix()), covariance, atol=1e-5
    )
    x = normal(2, 3, SIZE, seed=5)
    phi = numpy_features(layer, x)
    variance = np.einsum("abd,...de,abe->ab...", phi, covariance, phi)
    variance = variance.reshape(2, 3, -1)
    np.testing.assert_allclose(to_numpy(layer.logit_variance(x)), variance, atol=1e-5)
    logits = phi @ to_numpy(layer.beta)
    in_training = to_numpy(layer(x, training=True))
    np.testing.assert_allclose(in_training, logits, atol=1e-4)


def test_outputs_are_those_of_the_mean_field():
    layer = built()
    layer(normal(20, SIZE), training=True)
    x = normal(5, SIZE, seed=2)
    variance = to_numpy(layer.logit_variance(x))
    assert variance.min() > 0.01
    logits = numpy_features(layer, x) @ to_numpy(layer.beta)
    expected = logits / np.sqrt(1 + np.pi / 8 * variance)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)
    config = {**layer.get_config(), "mean_field_factor": 0.0}
    plain = RandomFeatureGaussianProcess.from_config(config)
    plain.build((None, SIZE))
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(to_numpy(plain(x)), logits, atol=1e-5)


def test_before_training_the_posterior_is_the_prior():
    layer = built(amplitude=2.0)
    eye = np.eye(FEATURES)
    np.testing.assert_allclose(to_numpy(layer.precision_matrix()), 0.5 * eye)
    np.testing.assert_allclose(to_numpy(layer.covariance_matrix()), 2 * eye, atol=1e-6)
    layer(normal(20, SIZE), training=True)
    assert np.abs(to_numpy(layer.precision_matrix()) - 0.5 * eye).max() > 0.1
    layer.reset_covariance()
    np.testing.assert_allclose(to_numpy(layer.precision_matrix()), 0.5 * eye)


def test_many_features_give_the_kernel():
    layer = RandomFeatureGaussianProcess(
        2, 5_000, normalize_inputs=False, length_scale=1.3, amplitude=1.5, seed=0
    )
    layer.build((None, SIZE))
    x = normal(6, SIZE)
    phi = to_numpy(layer.features(x))
    squares = np.square(x[:, None] - x).sum(axis=-1)
    expected = 1.5**2 * np.exp(-squares / (2 * 1.3**2))
    # The deviation of an entry is below 1.5^2 / sqrt(5,000) = 0.032.
    np.testing.assert_allclose(phi @ phi.T, expected, atol=0.12)


def model_of(**options):
    keras.utils.set_random_seed(0)
    options = {"num_features": FEATURES, "seed": 3, **options}
    head = RandomFeatureGaussianProcess(UNITS, name="logits", **options)
    model = keras.Sequential([keras.Input((SIZE,)), head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    return model, head


def test_each_epoch_starts_anew_and_evaluation_forgets_nothing():
    model, layer = model_of(ridge=0.5)
    x, y = normal(14, SIZE), np.arange(14) % UNITS
    model.fit(x, y, epochs=3, batch_size=5, verbose=0, validation_data=(x[:4], y[:4]))
    expected = numpy_precisions(layer, [x])[0]
    np.testing.assert_allclose(to_numpy(layer.precision_matrix()), expected, atol=1e-5)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    np.testing.assert_allclose(to_numpy(layer.precision_matrix()), expected, atol=1e-5)
    # In a loop of one's own it goes on, until it is told.
    layer.reset_covariance()
    for _ in range(2):
        model(x, training=True)
    found = to_numpy(layer.precision_matrix())
    eye = 0.5 * np.eye(FEATURES)
    np.testing.assert_allclose(found - eye, 2 * (expected - eye), atol=1e-4)


def test_the_loop_over_devices_starts_anew_as_well():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the loop is TensorFlow's")
    model, layer = model_of(ridge=0.5)
    x, y = normal(12, SIZE), np.arange(12) % UNITS
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(6).repeat()
    trainer = tfhyper.training.Trainer(model)
    trainer.fit(data, epochs=2, steps_per_epoch=2, verbose=0)
    expected = numpy_precisions(layer, [x])[0]
    np.testing.assert_allclose(to_numpy(layer.precision_matrix()), expected, atol=1e-5)


def test_the_prior_is_in_the_loss_if_the_number_of_examples_is_known():
    layer = built(num_examples=50)
    (loss,) = layer.losses
    squares = np.square(to_numpy(layer.beta).astype("float64")).sum()
    assert float(to_numpy(loss)) == pytest.approx(0.5 * squares / 100, rel=1e-5)
    assert role_of(layer.beta) == "posterior"
    other = built()
    assert not other.losses and role_of(other.beta) is None


@pytest.mark.parametrize("form", ["shared", "per_class"])
def test_draws_are_of_the_posterior(form):
    model, layer = model_of(**FORMS[form])
    x = 3 * normal(30, SIZE)
    layer(x, training=True)
    predictor = PosteriorPredictor(model, 1, outputs="logits")
    noises = [layer.sample_noise(seed) for seed in range(3)]
    draws = [to_numpy(w[-1]) for w in layer.point_weights_of_draws(noises)]
    beta, precision = to_numpy(layer.beta), to_numpy(layer.precision_matrix())
    for noise, draw in zip(noises, draws, strict=True):
        np.testing.assert_array_equal(draw, to_numpy(layer.point_weights(noise)[-1]))
        normal_numbers = np.random.default_rng(noise).standard_normal(beta.shape, "f4")
        # L^T (draw - beta) = eps of N(0, I), with P = L L^T: the covariance is P^-1.
        for k in range(UNITS):
            factor = np.linalg.cholesky(precision if form == "shared" else precision[k])
            found = factor.T @ (draw - beta)[:, k]
            np.testing.assert_allclose(found, normal_numbers[:, k], atol=1e-4)
    features = to_numpy(layer.features(x))
    logits = features @ to_numpy(
        layer.point_weights(predictor.draws[0].noise["logits"])[-1]
    )
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(predictor.predict(x).mean, probs, atol=1e-5)


def test_a_predictor_of_the_mean_and_one_of_the_mean_field(tmp_path):
    model, layer = model_of()
    x, y = normal(30, SIZE), np.arange(30) % UNITS
    model.fit(x, y, verbose=0)
    at_the_mean = PosteriorPredictor(model, deterministic=True).predict(x)
    logits = numpy_features(layer, x) @ to_numpy(layer.beta)
    expected = to_numpy(ops.softmax(logits))
    np.testing.assert_allclose(at_the_mean.mean, expected, atol=1e-5)
    layer.inference = "mean_field"
    predictor = PosteriorPredictor(model)
    assert predictor.num_draws == 1
    found = predictor.predict(x)
    np.testing.assert_allclose(found.mean, to_numpy(ops.softmax(model(x))), atol=1e-5)
    assert not found.epistemic.any()
    assert (found.total > at_the_mean.total).all()
    predictor.save(tmp_path / "p.tfhyper")
    again = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_allclose(again.predict(x).mean, found.mean, atol=1e-6)


def test_files_hold_the_features_and_the_posterior(tmp_path):
    model, layer = model_of(covariance="per_class", activation="softmax")
    x = normal(30, SIZE)
    layer(x, training=True)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(model(x)))
    predictor = PosteriorPredictor(model, 3)
    assert predictor.outputs == "probabilities"
    predictor.save(tmp_path / "p.tfhyper")
    again = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_array_equal(again.predict(x).mean, predictor.predict(x).mean)


def test_the_uncertainty_grows_away_from_the_data():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(scale=0.3, size=(200, 2)).astype("float32")
    x[:, 0] += np.where(y == 1, 1.5, -1.5)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    hidden = tfhyper.layers.SpectralDense(16, norm_bound=0.95)(inputs)
    z = keras.layers.Concatenate()([inputs, hidden])
    head = RandomFeatureGaussianProcess(
        2, 128, normalize_inputs=False, length_scale=1.0, num_examples=200, seed=1
    )
    model = keras.Model(inputs, head(z))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    model.fit(x, y, epochs=12, batch_size=50, verbose=0)
    predictor = PosteriorPredictor(model, 32)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    far = 12 * np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype("float32")
    near, away = predictor.predict(x), predictor.predict(far)
    assert (near.mean.argmax(axis=-1) == y).mean() > 0.98
    # What a plain softmax is surest of is what this one knows least of.
    assert away.epistemic.mean() > 3 * near.epistemic.mean()
    assert away.total.mean() > 2 * near.total.mean()
    in_one_pass = to_numpy(ops.softmax(model(far))).max(axis=-1)
    assert (
        in_one_pass.mean() < to_numpy(ops.softmax(model(x))).max(axis=-1).mean() - 0.1
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"units": 0}, "`units` must be a positive integer.*=0"),
        ({"num_features": 0}, "`num_features` must be a positive integer.*=0"),
        ({"length_scale": 0}, "`length_scale` must be a finite number > 0.*=0"),
        ({"amplitude": -1.0}, "`amplitude` must be a finite number > 0.*=-1.0"),
        ({"ridge": 0.0}, "`ridge` must be a finite number > 0.*=0.0"),
        ({"covariance": "full"}, "`covariance` must be one of.*'full'"),
        ({"momentum": 1.0}, "`momentum` must be in 0 < momentum < 1.*=1.0"),
        ({"momentum": 0.9}, "`num_examples` must be given with a `momentum`"),
        ({"num_examples": 0}, "`num_examples` must be a positive integer.*=0"),
        ({"link": "probit"}, "`link` must be one of.*'probit'"),
        ({"link": "softmax", "units": 1}, "`link` must be 'sigmoid' for one unit"),
        (
            {"link": "softmax", "activation": "sigmoid"},
            "`link` must be that of the activation, 'sigmoid'",
        ),
        ({"activation": "relu"}, "`activation` must be None, softmax or sigmoid"),
        ({"activation": "none"}, "`activation` must be known to Keras"),
        ({"inference": "map"}, "`inference` must be one of.*'map'"),
        ({"mean_field_factor": -1}, "`mean_field_factor` must be a finite.*=-1"),
        ({"normalize_inputs": 1}, "`normalize_inputs` must be"),
        ({"seed": -1}, "`seed` must be"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        RandomFeatureGaussianProcess(**{"units": 3, **options})


def test_shapes_and_order_of_use_are_checked():
    layer = RandomFeatureGaussianProcess(3)
    for shape in ((4,), (None, None)):
        with pytest.raises(ValueError, match="`inputs` must have the axes"):
            layer.build(shape)
    for ask in (
        layer.precision_matrix,
        layer.covariance_matrix,
        layer.reset_covariance,
    ):
        with pytest.raises(ValueError, match="must be built before its posterior"):
            ask()


def test_a_head_that_is_not_last_is_refused():
    inputs = keras.Input((SIZE,))
    x = RandomFeatureGaussianProcess(3, 4, name="gp")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    with pytest.raises(
        ValueError, match="Layer 'gp'.*must be the last one with weights"
    ):
        PosteriorPredictor(model)
    behind = keras.Model(inputs, keras.layers.Softmax()(x))
    assert PosteriorPredictor(behind, 2).outputs == "probabilities"
