"""Draws of all weights: their networks, files, copies and exports."""

import copy

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.ivon import to_numpy
from tests.variational.test_variational import FIT, LABELS, X, network, variational


def trained(model=None):
    model = variational(model)
    model.fit(X, LABELS, epochs=3, **FIT)
    return model


@pytest.fixture(scope="module")
def predictor():
    predictor = tfhyper.PosteriorPredictor(trained(), num_draws=3, seed=4)
    return predictor.estimate_batch_norm(X, batch_size=16, verbose=0)


def drawn_model(predictor, index):
    """Returns the plain model with the weights of a draw, by NumPy's own numbers."""
    noise = predictor.model.noise
    (name,) = predictor.draws[index].noise
    (seed,) = predictor.draws[index].noise[name]
    normal = np.random.default_rng([seed]).standard_normal(noise.size, "float32")
    precision = to_numpy(noise.curvature) + noise.weight_decay
    deviation = normal / np.sqrt(noise.effective_sample_size * precision)
    model, start = network(), 0
    model.set_weights(predictor.model.model.get_weights())
    for variable in model.trainable_variables:
        size = int(np.prod(variable.shape))
        part = deviation[start : start + size].reshape(variable.shape)
        variable.assign(to_numpy(variable) + part)
        start += size
    assert start == noise.size
    return model


def test_members_are_the_networks_of_mean_scale_and_seed(predictor):
    members = predictor.predict(X).members
    assert np.ptp(members, axis=0).max() > 0.05
    for index, member in enumerate(members):
        model, norm = drawn_model(predictor, index), predictor.draws[index].moments
        (moments,) = norm.values()
        convolved = model.get_layer("conv")(X)
        # The moments of the draw's own convolution, and no moving averages.
        mean = to_numpy(ops.mean(convolved, axis=(0, 1, 2)))
        np.testing.assert_allclose(moments[0], mean, atol=1e-5)
        model.get_layer("norm").moving_mean.assign(moments[0])
        model.get_layer("norm").moving_variance.assign(moments[1])
        expected = to_numpy(ops.softmax(model(X, training=False)))
        np.testing.assert_allclose(member, expected, atol=1e-5)
        plain = predictor.materialize(index)
        assert all(type(x).__module__.startswith("keras.") for x in plain.layers)
        found = to_numpy(ops.softmax(plain.predict(X, verbose=0)))
        np.testing.assert_allclose(found, member, atol=1e-6)


def test_it_comes_back_from_files_and_copies(predictor, tmp_path):
    members = predictor.predict(X).members
    before = [to_numpy(x) for x in predictor.model.weights]
    path = tmp_path / "predictor.tfhyper"
    predictor.save(path)
    loaded = tfhyper.PosteriorPredictor.load(path)
    assert isinstance(loaded.model, tfhyper.Variational)
    for again in (loaded, copy.deepcopy(predictor)):
        np.testing.assert_array_equal(again.predict(X).members, members)
        again.model.noise.curvature.assign(again.model.noise.curvature * 4)
        with pytest.raises(ValueError, match="trained since"):
            again.predict(X)
    found = [to_numpy(x) for x in predictor.model.weights]
    assert all(map(np.array_equal, found, before))


def test_few_inputs_are_predicted_by_all_draws_together(predictor):
    members = predictor.predict(X).members[:, :2]
    for _ in range(70):
        found = predictor.predict(X[:2]).members
    np.testing.assert_allclose(found, members, atol=1e-6)


def test_it_is_exported(predictor, tmp_path):
    tf = pytest.importorskip("tensorflow")
    folder = str(tmp_path / "model")
    tfhyper.export.saved_model(predictor, folder, sampling=True, sampling_inputs=X)
    served, inputs = tf.saved_model.load(folder), tf.constant(X)
    found = served.signatures["members"](inputs=inputs)["members"].numpy()
    members = predictor.predict(X).members
    np.testing.assert_allclose(found.swapaxes(0, 1), members, atol=1e-6)
    sample = served.signatures["sample"]
    first, second = (
        sample(inputs=inputs, seed=tf.constant(seed))["members"].numpy()
        for seed in (1, 2)
    )
    assert np.ptp(first, axis=1).max() > 0.05 and np.abs(first - second).max() > 0.05


def test_the_mean_is_the_plain_model():
    model = trained()
    options = {"deterministic": True, "batch_norm": "moving_average"}
    predictor = tfhyper.PosteriorPredictor(model, **options)
    expected = to_numpy(ops.softmax(model.predict(X, verbose=0)))
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-6)


def test_generated_kernels_are_made_of_generators_with_noise():
    keras.utils.set_random_seed(0)
    code = tfhyper.layers.LatentCode(4, seed=2)
    inputs = keras.Input((5,))
    x = tfhyper.layers.HyperDense(6, activation="relu")(inputs, code(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    data = np.random.default_rng(3).normal(size=(48, 5)).astype("float32")
    model = variational(model)
    model.fit(data, LABELS, epochs=2, **FIT)
    predictor = tfhyper.PosteriorPredictor(model, num_draws=3)
    members = predictor.predict(data).members
    # The same codes without noise of the weights, and with it.
    plain = keras.models.clone_model(model.model)
    for index, draw in enumerate(predictor.draws):
        deviation = model.noise.deviation_of(draw.noise["weights"])
        plain.set_weights(model.model.get_weights())
        for variable, (_, part) in zip(
            plain.trainable_variables, model.noise.split(deviation), strict=True
        ):
            variable.assign(variable + part)
        codes = {name: x for name, x in draw.noise.items() if name != "weights"}
        point = tfhyper.posterior.PointNetwork(plain)
        point.set(tfhyper.Draw(codes))
        expected = to_numpy(ops.softmax(point.network(data)))
        np.testing.assert_allclose(members[index], expected, atol=1e-5)


def test_a_deep_ensemble_of_them():
    models = [trained(), variational(seed=8)]
    options = {"draws_per_member": 2, "batch_norm": "reestimate"}
    ensemble = tfhyper.DeepEnsemble(models, **options)
    ensemble = ensemble.estimate_batch_norm(X, verbose=0)
    members = ensemble.predict(X).members
    assert members.shape == (4, 48, 3)
    for i in range(4):
        assert all(np.abs(members[i] - members[j]).max() > 0.01 for j in range(i))


def test_what_is_averaged_inside_of_one_network_is_refused():
    with pytest.raises(ValueError, match='`averaging` must be "branching"'):
        tfhyper.PosteriorPredictor(variational(), averaging="widening")


def test_weights_outside_of_the_layers_are_refused():
    model = network()
    model.extra = model.add_weight(shape=(2,), name="extra")
    with pytest.raises(ValueError, match="in the layers of its graph"):
        tfhyper.PosteriorPredictor(tfhyper.Variational(model, 48))
