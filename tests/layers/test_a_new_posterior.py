"""An exercise: a posterior with counted members, in one class and no other edit.

BatchEnsemble (Wen et al., 2020): member k of K has the kernel W * r_k s_k^T, by the
entry, with W in common. Draw number i is member i mod K, in all layers together.
"""

import copy

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.layers import normal, to_numpy
from tfhyper.layers import NoiseKind, give_role, role_of
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.operations import DenseOperation
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.layers.variational_kernel import VariationalKernel

MEMBERS = 3
X = normal(7, 5)


@keras.saving.register_keras_serializable("tests")
class BatchEnsembleDense(
    DrawCounter, StochasticKernel, DenseOperation, keras.layers.Dense
):
    """A dense layer of K members that share W. A training step trains one of them."""

    point_class = keras.layers.Dense
    kernel_description = "whose kernel is one of several members"

    def __init__(self, *args, members=MEMBERS, **kwargs):
        super().__init__(*args, **kwargs)
        self.members = members

    def build(self, input_shape):
        self.build_counter()
        super().build(input_shape)
        self.built = True

    def build_kernel(self, shape, **options):
        self.shared = self.add_weight(shape, name="shared_kernel", **options)
        near_one = keras.initializers.RandomNormal(1.0, 0.5)
        self.rows, self.columns = (
            self.add_weight((self.members, size), initializer=near_one, name=name)
            for name, size in zip(("rows", "columns"), shape, strict=True)
        )

    def generate(self, member):
        """Returns the kernel of a member, given as one row of the identity matrix."""
        row, column = ops.matmul(member, self.rows), ops.matmul(member, self.columns)
        return self.shared * ops.transpose(row) * column

    def call(self, inputs, training=None):
        kernel = self.generate(self.fresh_noise(0, 0, self.next_count(training)))
        return self.operate_and_activate(inputs, kernel)

    def sample_noise(self, seed, index=0, ensemble_seed=0):
        return np.eye(self.members, dtype="float32")[[index % self.members]]

    def fresh_noise(self, seed, count, index=0):
        return ops.one_hot(ops.reshape(index % self.members, (1,)), self.members)

    def point_weights(self, noise):
        return self.with_bias(self.generate(noise))

    def get_config(self):
        return {**super().get_config(), "members": self.members}


@pytest.fixture(scope="module")
def model():
    """A network of two such layers, trained for two epochs of six steps."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            BatchEnsembleDense(6, activation="tanh", name="first"),
            keras.layers.Dense(6, activation="relu", name="plain"),
            BatchEnsembleDense(4, name="second"),
        ]
    )
    before = [to_numpy(layer.rows) for layer in model.layers[::2]]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss)
    labels = np.argmax(normal(36, 4, seed=3), axis=1)
    fit = model.fit(
        normal(36, 5, seed=2), labels, epochs=8, batch_size=6, verbose=0, shuffle=False
    )
    model.losses_of_epochs, model.rows_before = fit.history["loss"], before
    return model


def plain_outputs(model, member):
    """Returns the logits of a member: stock layers with kernels made by NumPy."""
    plain = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dense(4),
        ]
    )
    weights = []
    for layer in model.layers:
        if not isinstance(layer, BatchEnsembleDense):
            weights += layer.get_weights()
            continue
        shared, rows, columns, bias = map(
            to_numpy, (layer.shared, layer.rows, layer.columns, layer.bias)
        )
        weights += [shared * np.outer(rows[member], columns[member]), bias]
    plain.set_weights(weights)
    return plain.predict(X, verbose=0)


def uncompiled(model):
    """Returns a copy of a model, without its optimizer."""
    twin = type(model).from_config(model.get_config())
    twin.set_weights(model.get_weights())
    return twin


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_it_trains_and_every_member_with_it(model):
    assert model.losses_of_epochs[-1] < 0.9 * model.losses_of_epochs[0]
    for layer, before in zip(model.layers[::2], model.rows_before, strict=True):
        assert (np.abs(to_numpy(layer.rows) - before).max(axis=1) > 1e-3).all()


def test_draws_are_the_members_in_turn_in_all_layers_together(model):
    predictor = tfhyper.PosteriorPredictor(model, MEMBERS + 1, seed=5)
    for i, draw in enumerate(predictor.draws):
        found = {name: int(np.argmax(noise)) for name, noise in draw.noise.items()}
        assert found == {"first": i % MEMBERS, "second": i % MEMBERS}


def test_prediction_is_the_mean_of_the_members_one_by_one(model):
    expected = np.stack([softmax(plain_outputs(model, i)) for i in range(MEMBERS)])
    found = tfhyper.PosteriorPredictor(model, MEMBERS).predict(X)
    np.testing.assert_allclose(found.members, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-4, atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_a_draw_is_a_network_of_stock_layers(model):
    predictor = tfhyper.PosteriorPredictor(model, MEMBERS)
    for i in range(MEMBERS):
        network = predictor.materialize(i)
        assert not any(isinstance(x, StochasticKernel) for x in network.layers)
        np.testing.assert_allclose(
            network.predict(X, verbose=0), plain_outputs(model, i), rtol=1e-4, atol=1e-5
        )


def test_a_call_of_the_model_is_one_member_after_another(model):
    twin = uncompiled(model)
    found = [to_numpy(twin(X)) for _ in range(MEMBERS)]
    expected = [plain_outputs(model, i) for i in range(MEMBERS)]
    nearest = [
        int(np.argmin([np.abs(one - other).max() for other in expected]))
        for one in found
    ]
    assert sorted(nearest) == list(range(MEMBERS))
    for one, i in zip(found, nearest, strict=True):
        np.testing.assert_allclose(one, expected[i], rtol=1e-4, atol=1e-5)


def test_model_and_predictor_come_back_from_their_files(model, tmp_path):
    model = uncompiled(model)
    model.save(tmp_path / "model.keras")
    predictor = tfhyper.PosteriorPredictor(model, MEMBERS, seed=1)
    predictor.save(tmp_path / "it.tfhyper")
    expected = predictor.predict(X).members
    loaded = tfhyper.PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(X).members, expected, rtol=1e-6)
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert [x.members for x in again.layers[::2]] == [MEMBERS, MEMBERS]
    found = tfhyper.PosteriorPredictor(again, MEMBERS).predict(X).members
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_draws_made_in_a_graph_are_the_same_members(model):
    point = tfhyper.posterior.PointNetwork(model)
    for i in range(MEMBERS + 1):
        fresh = point.fresh(ops.array(3, "int32"), ops.array(i, "int32")).noise
        for name, noise in point.sample(3, i).noise.items():
            np.testing.assert_array_equal(to_numpy(fresh[name]), noise)


class SharedScaleDense(StochasticKernel, DenseOperation, keras.layers.Dense):
    """Kernel = W (1 + c / 2) with one c ~ N(0, 1) for all layers of a draw."""

    point_class = keras.layers.Dense

    def build_kernel(self, shape, **options):
        self.mean = self.add_weight(shape, name="mean", **options)
        return self.mean

    def sample_noise(self, seed, index=0, ensemble_seed=0):
        shared = derive_seed(ensemble_seed, index)
        return np.random.default_rng(shared).standard_normal((1,), "float32")

    def point_weights(self, noise):
        return self.with_bias(self.mean * (1 + noise / 2))


def test_layers_of_a_draw_share_what_the_ensembles_seed_says():
    inputs = keras.Input((5,))
    outputs = SharedScaleDense(2, name="b")(SharedScaleDense(3, name="a")(inputs))
    point = tfhyper.posterior.PointNetwork(keras.Model(inputs, outputs))
    drawn = [point.sample(*of).noise for of in ((4, 0), (4, 1), (5, 0))]
    for noise in drawn:
        np.testing.assert_array_equal(noise["a"], noise["b"])
    assert len({float(noise["a"][0]) for noise in drawn}) == 3


class PointDense(VariationalKernel, DenseOperation, keras.layers.Dense):
    """The least that a posterior with a density says; `role` is what it may forget."""

    point_class = keras.layers.Dense
    role = True

    def __init__(self, *args, initial_scale=0.1, **kwargs):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)

    def build_posterior(self, shape, **options):
        mean = self.add_weight(shape, name="mean", **options)
        if self.role:
            give_role("posterior", [mean])
        return mean

    def kl_divergence(self):
        return ops.sum(ops.square(self._kernel_mean)) / 2


def test_a_posterior_with_a_density_has_its_term_of_the_loss_and_its_config():
    layer = PointDense(2, kl_weight=0.25, initial_scale=0.3, seed=7, name="it")
    layer.build((None, 3))
    expected = 0.25 * np.square(to_numpy(layer._kernel_mean)).sum() / 2
    np.testing.assert_allclose(to_numpy(sum(layer.losses)), expected, rtol=1e-5)
    assert [v.name for v in layer.variables if role_of(v) == "posterior"] == ["mean"]
    twin = PointDense.from_config(copy.deepcopy(layer.get_config()))
    assert (twin.kl_weight, twin.initial_scale, twin.seed) == (0.25, 0.3, 7)
    with pytest.raises(ValueError, match="`kernel_regularizer` must be None"):
        PointDense(2, kernel_regularizer="l2")


def test_a_posterior_without_a_role_is_refused_when_it_is_built():
    layer = PointDense(2)
    layer.role = False
    with pytest.raises(NotImplementedError, match="give_role"):
        layer.build((None, 3))


def test_what_a_layer_says_of_itself_is_asked_of_no_length():
    assert BatchEnsembleDense(2).is_random
    assert not tfhyper.layers.Dropout(0.5).is_random
    assert not tfhyper.layers.KernelGenerator().is_random
    assert tfhyper.layers.MCDropout(0.5).noise_kind is NoiseKind.KEY
    assert tfhyper.layers.BayesDense(2).noise_kind is NoiseKind.SEED
    assert tfhyper.layers.HyperDense(2).noise_kind is NoiseKind.CODE
