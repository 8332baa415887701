"""Weights that were kept along a training: their networks, files, copies, exports."""

import copy

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.ivon import to_numpy
from tests.variational.test_variational import LABELS, X, network, variational
from tfhyper.training import DivergedError
from tfhyper.variational import SWAGPosterior

COUNT = 3


def sets_of(model, count=COUNT, spread=0.3):
    """Returns sets of weights about those of a model, BatchNorm's averages the same."""
    rng = np.random.default_rng(5)
    trained = {id(x) for x in model.trainable_variables}
    return [
        [
            np.asarray(x) + spread * rng.normal(size=x.shape) * (id(v) in trained)
            for v, x in zip(model.weights, model.get_weights(), strict=True)
        ]
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def sets():
    return sets_of(network())


@pytest.fixture(scope="module")
def predictor(sets):
    posterior = tfhyper.KeptWeights(network(), sets)
    predictor = tfhyper.PosteriorPredictor(posterior)
    return predictor.estimate_batch_norm(X, batch_size=16, verbose=0)


def probabilities(weights, x=X):
    """Returns those of a network with given weights, and moments of its own."""
    model = network()
    model.set_weights(weights)
    convolved = model.get_layer("conv")(X)
    norm = model.get_layer("norm")
    norm.moving_mean.assign(ops.mean(convolved, axis=(0, 1, 2)))
    norm.moving_variance.assign(ops.var(convolved, axis=(0, 1, 2)))
    return to_numpy(ops.softmax(model(x, training=False)))


def test_members_are_the_networks_of_the_sets(predictor, sets):
    members = predictor.predict(X).members
    assert len(members) == predictor.num_draws == COUNT
    for member, one in zip(members, sets, strict=True):
        np.testing.assert_allclose(member, probabilities(one), atol=1e-5)
    assert np.ptp(members, axis=0).max() > 0.05
    plain = predictor.materialize(1)
    assert all(type(x).__module__.startswith("keras.") for x in plain.layers)
    found = to_numpy(ops.softmax(plain.predict(X, verbose=0)))
    np.testing.assert_allclose(found, members[1], atol=1e-6)


def test_draws_take_turns(sets):
    posterior = tfhyper.KeptWeights(network(), sets)
    predictor = tfhyper.PosteriorPredictor(posterior, num_draws=2 * COUNT + 1)
    numbers = [int(draw.noise["kept"][0]) for draw in predictor.draws]
    assert numbers == [0, 1, 2, 0, 1, 2, 0]
    views = tfhyper.layers.Augment.flips()
    assert tfhyper.PosteriorPredictor(posterior, augment=views).num_draws == 2 * COUNT


def test_the_mean_is_that_of_the_weights(sets):
    posterior = tfhyper.KeptWeights(network(), sets)
    predictor = tfhyper.PosteriorPredictor(posterior, deterministic=True)
    predictor.estimate_batch_norm(X, verbose=0)
    mean = [np.mean(x, axis=0) for x in zip(*sets, strict=True)]
    np.testing.assert_allclose(
        predictor.predict(X).mean, probabilities(mean), atol=1e-5
    )


def test_codes_between_the_sets(sets):
    mean = [np.mean(x, axis=0) for x in zip(*sets, strict=True)]
    kept = tfhyper.KeptWeights(network(), sets)
    for coefficients in ("gaussian", "dirichlet"):
        posterior = kept.with_coefficients(coefficients)
        predictor = tfhyper.PosteriorPredictor(posterior, num_draws=4, seed=2)
        predictor.estimate_batch_norm(X, verbose=0)
        members = predictor.predict(X).members
        for draw, member in zip(predictor.draws, members, strict=True):
            (code,) = draw.noise["kept"]
            assert code.shape == (COUNT,)
            assert coefficients == "gaussian" or abs(code.sum() - 1) < 1e-6
            weights = [
                average + sum(z * (one[i] - average) for z, one in zip(code, sets))
                for i, average in enumerate(mean)
            ]
            np.testing.assert_allclose(member, probabilities(weights), atol=1e-5)
    again = posterior.with_coefficients("sets")
    assert tfhyper.PosteriorPredictor(again).num_draws == COUNT
    for new, old in zip(again.noise.stacks, kept.noise.stacks, strict=True):
        np.testing.assert_array_equal(to_numpy(new), to_numpy(old))


def test_gaussian_codes_have_the_covariance_of_the_sets(sets):
    noise = tfhyper.KeptWeights(network(), sets, "gaussian").noise
    codes = np.concatenate([noise.sample_noise(seed) for seed in range(4000)])
    # By 4,000 draws: three standard errors are 0.07 of a variance.
    expected = np.eye(COUNT) / (COUNT - 1)
    np.testing.assert_allclose(np.cov(codes.T), expected, atol=0.07 / (COUNT - 1))
    traced = ops.stack([noise.fresh_noise(3, count)[0] for count in range(400)])
    np.testing.assert_allclose(np.cov(to_numpy(traced).T), expected, atol=0.15)
    flat = tfhyper.KeptWeights(network(), sets, "dirichlet").noise
    traced = to_numpy(ops.stack([flat.fresh_noise(3, i)[0] for i in range(400)]))
    np.testing.assert_allclose(traced.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(traced.mean(0), 1 / COUNT, atol=0.05)


def test_it_comes_back_from_files_and_copies(predictor, tmp_path):
    members = predictor.predict(X).members
    path = tmp_path / "kept.tfhyper"
    predictor.save(path)
    loaded = tfhyper.PosteriorPredictor.load(path)
    assert isinstance(loaded.model, tfhyper.KeptWeights)
    for again in (loaded, copy.deepcopy(predictor)):
        np.testing.assert_array_equal(again.predict(X).members, members)
        again.model.noise.stacks[0].assign(again.model.noise.stacks[0] * 2)
        with pytest.raises(ValueError, match="trained since"):
            again.predict(X)
    np.testing.assert_array_equal(predictor.predict(X).members, members)


def test_a_keras_file_holds_what_is_shared_once(sets, tmp_path):
    shared = [list(one) for one in sets]
    model = network()
    for one in shared:
        one[0] = model.get_weights()[0]
    posterior = tfhyper.KeptWeights(model, shared)
    first = int(np.prod(model.weights[0].shape))
    count = sum(int(np.prod(x.shape)) for x in model.trainable_variables)
    held = sum(int(np.prod(x.shape)) for x in posterior.noise.weights)
    assert held == COUNT * (count - first)
    posterior.save(tmp_path / "kept.keras")
    again = tfhyper.saving.load_model(tmp_path / "kept.keras")
    assert again.varying == posterior.varying
    for new, old in zip(again.weights, posterior.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(new), to_numpy(old))


def test_few_inputs_are_predicted_by_all_draws_together(predictor):
    members = predictor.predict(X).members[:, :2]
    for _ in range(70):
        found = predictor.predict(X[:2]).members
    np.testing.assert_allclose(found, members, atol=1e-6)


@pytest.mark.parametrize("kind", ["sets", "swag"])
def test_it_is_exported(kind, sets, tmp_path):
    tf = pytest.importorskip("tensorflow")
    posterior = tfhyper.KeptWeights(network(), sets)
    if kind == "swag":
        posterior = swag(sets)
    predictor = tfhyper.PosteriorPredictor(posterior, num_draws=COUNT)
    predictor.estimate_batch_norm(X, verbose=0)
    folder = str(tmp_path / "model")
    tfhyper.export.saved_model(predictor, folder, sampling=True, sampling_inputs=X)
    served, inputs = tf.saved_model.load(folder), tf.constant(X)
    found = served.signatures["members"](inputs=inputs)["members"].numpy()
    members = predictor.predict(X).members
    np.testing.assert_allclose(found.swapaxes(0, 1), members, atol=1e-6)
    sample = served.signatures["sample"]
    sampled = sample(inputs=inputs, seed=tf.constant(1))["members"].numpy()
    assert np.ptp(sampled, axis=1).max() > 0.05


def test_learned_noise_about_each_set():
    model = variational()
    sets = sets_of(model, 2, spread=0.2)
    curvature = [i for i, x in enumerate(model.weights) if "curvature" in x.path]
    for one in sets:
        one[curvature[0]] = np.abs(one[curvature[0]]) + 0.1
    posterior = tfhyper.KeptWeights(model, sets)
    predictor = tfhyper.PosteriorPredictor(posterior, num_draws=4, seed=3)
    predictor.estimate_batch_norm(X, verbose=0)
    members = predictor.predict(X).members
    for draw, member in zip(predictor.draws, members, strict=True):
        assert set(draw.noise) == {"kept", "weights"}
        plain = variational()
        plain.set_weights(sets[int(draw.noise["kept"][0])])
        noise = plain.noise
        deviation = noise.split(noise.deviation_of(draw.noise["weights"]))
        for variable, part in deviation:
            variable.assign(variable + part)
        found = probabilities(plain.model.get_weights())
        np.testing.assert_allclose(member, found, atol=1e-5)
    assert tfhyper.PosteriorPredictor(posterior).num_draws == 16


def test_draws_of_layers_beside_the_sets():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    x = tfhyper.layers.HyperDense(6, activation="relu", seed=1)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    sets, x = sets_of(model, 3, spread=0.1), X.reshape(48, -1)[:, :5]
    posterior = tfhyper.KeptWeights(model, sets)
    predictor = tfhyper.PosteriorPredictor(posterior, outputs="logits")
    assert predictor.num_draws == 18  # the usual 16, and a whole number of each set
    members = predictor.predict(x).members
    twin = keras.models.clone_model(model)
    for i in (0, 4):
        draw = predictor.draws[i]
        twin.set_weights(sets[i % 3])
        point = tfhyper.posterior.PointNetwork(twin)
        own = {name: z for name, z in draw.noise.items() if name != "kept"}
        point.set(tfhyper.Draw(own))
        expected = to_numpy(ops.softmax(point.network(x)))
        np.testing.assert_allclose(members[i], expected, atol=1e-5)


def swag(sets, **options):
    stacked = [np.stack(x) for x in zip(*sets, strict=True)]
    mean = [x.mean(0) for x in stacked]
    variance = [x.var(0) for x in stacked]
    deviations = [[x - m for x, m in zip(one, mean)] for one in sets]
    return SWAGPosterior(network(), mean, variance, deviations, **options)


@pytest.mark.parametrize("rank", [0, COUNT])
def test_draws_of_swag_are_those_of_the_paper(rank, sets):
    posterior = swag(sets, scale=0.5)
    mean = [to_numpy(x) for x in posterior.noise.means]
    deviation = [np.sqrt(to_numpy(x)) for x in posterior.noise.variances]
    columns = [to_numpy(x) for x in posterior.noise.columns]
    if not rank:
        full = [np.mean(x, axis=0) for x in zip(*sets, strict=True)]
        variance = [np.var(x, axis=0) for x in zip(*sets, strict=True)]
        posterior = SWAGPosterior(network(), full, variance, scale=0.5)
    predictor = tfhyper.PosteriorPredictor(posterior, num_draws=3, seed=1)
    predictor.estimate_batch_norm(X, verbose=0)
    members = predictor.predict(X).members
    for draw, member in zip(predictor.draws, members, strict=True):
        (seed,) = draw.noise["kept"]
        size = sum(x.size for x in mean)
        normal = np.random.default_rng([seed]).standard_normal(size + rank, "float32")
        weights, start = network().get_weights(), 0
        for i, place in enumerate(posterior.varying):
            end = start + mean[i].size
            part = normal[start:end].reshape(mean[i].shape)
            half = 0.5 if rank else 1.0
            value = mean[i] + np.sqrt(0.5 * half) * deviation[i] * part
            if rank:
                low = np.tensordot(normal[size:], columns[i], 1)
                value += np.sqrt(0.5 / (2 * (rank - 1))) * low
            weights[place], start = value, end
        np.testing.assert_allclose(member, probabilities(weights), atol=1e-5)


def test_swag_comes_back_from_files(sets, tmp_path):
    predictor = tfhyper.PosteriorPredictor(swag(sets), num_draws=2)
    predictor.estimate_batch_norm(X, verbose=0)
    predictor.save(tmp_path / "swag.tfhyper")
    again = tfhyper.PosteriorPredictor.load(tmp_path / "swag.tfhyper")
    assert again.model.rank == COUNT
    expected = predictor.predict(X).members
    for found in (again, copy.deepcopy(predictor)):
        np.testing.assert_array_equal(found.predict(X).members, expected)


def test_one_set_is_one_network(sets):
    posterior = tfhyper.KeptWeights(network(), sets[:1])
    predictor = tfhyper.PosteriorPredictor(posterior)
    predictor.estimate_batch_norm(X, verbose=0)
    assert predictor.num_draws == 1
    found = predictor.predict(X).mean
    np.testing.assert_allclose(found, probabilities(sets[0]), atol=1e-5)


def test_a_call_is_that_of_the_model_and_training_is_refused(sets):
    model = network()
    posterior = tfhyper.KeptWeights(model, sets)
    found = to_numpy(posterior(X))
    np.testing.assert_array_equal(found, to_numpy(model(X, training=False)))
    posterior.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`KeptWeights` cannot be trained"):
        posterior.fit(X, LABELS, verbose=0)


def nan(sets):
    bad = [[x.copy() for x in one] for one in sets]
    bad[1][0][0] = np.nan
    return bad


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s: tfhyper.KeptWeights(network(), []), ValueError, "hold a set"),
        (lambda s: tfhyper.KeptWeights(network(), None), TypeError, "`weight_sets`"),
        (lambda s: tfhyper.KeptWeights("a", s), TypeError, "`model`"),
        (
            lambda s: tfhyper.KeptWeights(network(), [s[0][:-1]]),
            ValueError,
            r"weight_sets\[0\] of \d+ arrays for",
        ),
        (
            lambda s: tfhyper.KeptWeights(network(), [s[0], s[1], s[0]]),
            ValueError,
            r"weight_sets\[0\] and weight_sets\[2\] are the same",
        ),
        (lambda s: tfhyper.KeptWeights(network(), nan(s)), DivergedError, "NaN"),
        (
            lambda s: tfhyper.KeptWeights(network(), s, "normal"),
            ValueError,
            "`coefficients` must be one of",
        ),
        (
            lambda s: tfhyper.KeptWeights(network(), s[:1], "gaussian"),
            ValueError,
            "two sets",
        ),
        (
            lambda s: tfhyper.KeptWeights(keras.Sequential(), s),
            ValueError,
            "`model` must be built",
        ),
        (
            lambda s: SWAGPosterior(network(), s[0], s[1]),
            ValueError,
            "`variance` must not be negative",
        ),
        (
            lambda s: SWAGPosterior(network(), s[0], s[0], [s[0]]),
            ValueError,
            "`variance` must not be|one column",
        ),
        (lambda s: swag(s, scale=0), ValueError, "`scale` must be"),
        (
            lambda s: tfhyper.Variational(tfhyper.KeptWeights(network(), s), 48),
            ValueError,
            "must not have a posterior of its weights already",
        ),
    ],
)
def test_what_is_refused(make, error, message, sets):
    with pytest.raises(error, match=message):
        make(sets)


def test_moving_averages_are_refused(sets):
    posterior = tfhyper.KeptWeights(network(), sets)
    with pytest.raises(ValueError, match='`batch_norm` must be "reestimate"'):
        tfhyper.PosteriorPredictor(posterior, batch_norm="moving_average")
    with pytest.raises(ValueError, match='`batch_norm` must be "reestimate"'):
        tfhyper.DeepEnsemble([posterior])
    with pytest.raises(ValueError, match='`averaging` must be "branching"'):
        tfhyper.PosteriorPredictor(posterior, averaging="widening")
