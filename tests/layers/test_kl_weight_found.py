"""The weight of the KL divergence that layers find from the data."""

import warnings

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from tests.helpers.layers import normal, to_numpy
from tfhyper.layers import BayesDense, BayesHyperDense, MNFDense, variational_layers

N = 50  # of batches of 16: the last one has 2


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(1)


class Watch(keras.callbacks.Callback):
    """Notes what the layers know when each epoch begins, and their KL divergence."""

    def on_train_begin(self, logs=None):
        self.examples, self.kl = [], []

    def on_epoch_begin(self, epoch, logs=None):
        found = variational_layers(self.model)
        self.examples.append([int(to_numpy(x.examples)) for x in found])
        self.kl.append(sum(float(to_numpy(x.kl_divergence())) for x in found))


def shared_and_nested():
    """One layer called twice, one in a nested model, one of each kind."""
    shared = BayesDense(4, activation="relu", name="shared")
    inner = keras.Sequential([keras.Input((4,)), MNFDense(4, num_flows=0)])
    x = keras.Input((4,))
    return keras.Model(x, BayesHyperDense(2, num_couplings=0)(inner(shared(shared(x)))))


def fitted(model, count=N, **options):
    watch = Watch()
    x, y = normal(count, 4), normal(count, 2, seed=1)
    options = {"batch_size": 16, "epochs": 3, "verbose": 0, **options}
    history = model.fit(x, y, callbacks=[watch], **options)
    return watch, history.history


@pytest.mark.parametrize(
    "cls, options, trainable",
    [
        (BayesDense, {}, 3),
        (MNFDense, {"num_flows": 0}, 8),
        (BayesHyperDense, {"num_couplings": 0}, 4),
    ],
)
def test_keras_checks_of_a_layer(cls, options, trainable):
    TestCase().run_layer_test(
        cls,
        {"units": 3, **options},
        input_shape=(2, 4),
        expected_num_trainable_weights=trainable,
        # The counts of draws and of examples, N, and the factor of the KL divergence.
        expected_num_non_trainable_weights=4,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


def test_examples_of_the_first_epoch_are_counted_once_each():
    model = shared_and_nested()
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    data = normal(20, 4), normal(20, 2)
    watch, _ = fitted(model, validation_data=data)
    assert watch.examples == [[0] * 3, [N] * 3, [N] * 3]


def test_loss_has_no_kl_in_the_first_epoch_and_the_whole_bound_after_it():
    layer = BayesDense(2, initial_scale=1e-30)  # no noise, so that the loss is known
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = normal(N, 4), normal(N, 2, seed=1)
    kernel, *_ = layer.trainable_weights
    assert kernel.name == "kernel_mean"
    errors = np.square(x @ to_numpy(kernel) - y).mean()
    watch, history = fitted(model)
    expected = [errors, *2 * [errors + watch.kl[0] / N]]
    assert watch.kl[0] / N > 0.1 * errors
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected[1], rel=1e-5)
    layer.kl_factor.assign(0.5)  # schedules multiply it
    found = float(to_numpy(model.losses[0]))
    assert found == pytest.approx(0.5 * watch.kl[0] / N, rel=1e-6)


def test_data_of_unknown_length_are_counted():
    model = keras.Sequential([keras.Input((4,)), BayesDense(2)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    watch = Watch()

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return normal(i + 1, 4), normal(i + 1, 2)

    model.fit(Batches(), epochs=2, verbose=0, callbacks=[watch])
    assert watch.examples == [[0], [6]]


def test_other_data_are_counted_anew():
    model = keras.Sequential([keras.Input((4,)), BayesDense(2)])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    assert fitted(model, epochs=1)[0].examples == [[0]]
    assert fitted(model, 20, epochs=2)[0].examples == [[N], [20]]


def test_the_count_is_saved(tmp_path):
    model = shared_and_nested()
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    fitted(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert all(layer.kl_weight is None for layer in variational_layers(loaded))
    for layer in variational_layers(loaded):
        assert int(to_numpy(layer.examples)) == N
    assert float(sum(map(float, loaded.losses))) == pytest.approx(
        float(sum(map(float, model.losses))), rel=1e-6
    )
    fresh = shared_and_nested()
    model.save_weights(tmp_path / "model.weights.h5")
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert [int(to_numpy(x.examples)) for x in variational_layers(fresh)] == [N] * 3


def test_nothing_is_added_to_the_logs():
    model = keras.Sequential([keras.Input((4,)), BayesDense(2)])
    model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=["mae"])
    _, history = fitted(model, validation_split=0.2)
    assert set(history) == {"loss", "mae", "val_loss", "val_mae"}
    assert len(model.evaluate(normal(4, 4), normal(4, 2), verbose=0)) == 2


def test_a_weight_that_is_given_makes_no_counts():
    layer = BayesDense(2, kl_weight=0.1)
    layer.build((None, 4))
    assert {w.name for w in layer.non_trainable_weights} == {"draws", "kl_factor"}
    assert not layer.metrics
    found = float(to_numpy(layer.losses[0]))
    assert found == pytest.approx(0.1 * float(to_numpy(layer.kl_divergence())))


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras hides the model in JAX's calls"
)
def test_a_loop_of_ones_own_is_told_and_can_begin_epochs():
    model = keras.Sequential([keras.Input((4,)), BayesDense(2)])

    def epoch():
        for start in range(0, N, 16):
            model(normal(N, 4)[start : start + 16], training=True)
            loss = float(to_numpy(model.losses[0]))
            assert float(to_numpy(model.losses[0])) == loss  # reading changes nothing
        return loss

    with pytest.warns(UserWarning, match="give its variational layers `kl_weight`"):
        assert epoch() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # once for each model
        assert epoch() == 0
        model.reset_metrics()
        kl = float(to_numpy(model.layers[0].kl_divergence()))
        # Two epochs without a word between them count as one.
        assert epoch() == pytest.approx(kl / (2 * N), rel=1e-6)
        model.reset_metrics()
        assert epoch() == pytest.approx(kl / N, rel=1e-6)
        compiled = keras.Sequential([keras.Input((4,)), BayesDense(2)])
        compiled.compile("sgd", "mse")
        compiled(normal(3, 4), training=True)
