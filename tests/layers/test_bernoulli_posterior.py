"""DropConnect: masks of weights in NumPy, their moments, files and exports."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops
from keras.src.testing import TestCase

import tfhyper
from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor, export, kits
from tfhyper.layers import BernoulliPosterior, RandomVariables, variational_layers

X = normal(3, 5, 4)


def drawn(layer, noise):
    return to_numpy(layer.point_weights(noise)[0])


def test_a_draw_drops_weights_by_the_numbers_of_numpy():
    layer = RandomVariables(L.Dense(300, use_bias=False), BernoulliPosterior(0.2))
    layer.build((None, 200))
    mean = to_numpy(layer.layer.kernel)
    uniform = np.random.default_rng([7]).random((200, 300), "float32")
    expected = np.where(uniform >= 0.2, mean / 0.8, 0)
    np.testing.assert_allclose(drawn(layer, layer.sample_noise(7)), expected, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_calls_and_draws_keep_the_mean(rate):
    stats = pytest.importorskip("scipy.stats")
    options = {"use_bias": False, "kernel_initializer": "ones"}
    layer = RandomVariables(L.Dense(200, **options), BernoulliPosterior(rate, seed=1))
    kernels = [
        to_numpy(layer(np.eye(100, dtype="float32"))),
        to_numpy(layer(np.eye(100, dtype="float32"), training=True)),
        drawn(layer, layer.sample_noise(3)),
        drawn(layer, layer.fresh_noise(5, ops.convert_to_tensor(2))),
    ]
    for kernel in kernels:
        values = np.unique(kernel.round(5))
        np.testing.assert_allclose(values, [0, 1 / (1 - rate)], rtol=1e-4)
        count = int((kernel == 0).sum())
        assert stats.binomtest(count, kernel.size, rate).pvalue > 1e-3
        # Variance mean^2 p / (1 - p); of 20,000 weights.
        assert kernel.mean() == pytest.approx(1, abs=0.03)
        assert kernel.var() == pytest.approx(rate / (1 - rate), rel=0.06)
    for i, kernel in enumerate(kernels):
        for other in kernels[:i]:
            assert abs(np.corrcoef(kernel.ravel(), other.ravel())[0, 1]) < 0.03


def test_the_mean_is_the_layer_itself():
    layer = RandomVariables(L.LSTM(3), BernoulliPosterior(0.5))
    layer.build(X.shape)
    for value, variable in zip(
        layer.point_weights(layer.mean_noise()), layer.layer.weights, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(value), to_numpy(variable))
    assert not layer.losses and not variational_layers(layer)


def test_a_mask_is_the_same_for_the_whole_sequence():
    # A sum over steps, of a recurrent kernel of ones that is masked once.
    cell = L.SimpleRNN(
        8,
        activation=None,
        kernel_initializer="ones",
        recurrent_initializer="identity",
        return_sequences=True,
    )
    layer = RandomVariables(cell, BernoulliPosterior(0.5, seed=2), "kernel")
    y = to_numpy(layer(np.ones((2, 6, 1), "float32")))
    np.testing.assert_allclose(y, np.cumsum(np.ones_like(y), 1) * y[:, :1], rtol=1e-6)
    assert set(np.unique(y[:, 0])) == {0.0, 2.0}


def test_gradients_are_masked_and_a_regularizer_is_of_what_is_drawn():
    dense = L.Dense(5, use_bias=False, kernel_regularizer=keras.regularizers.L1(0.5))
    layer = RandomVariables(dense, BernoulliPosterior(0.5, seed=3))
    model = keras.Sequential([keras.Input((4,)), layer])
    before = to_numpy(dense.kernel)
    noise = layer.posterior.fresh_noise(3, layer.posterior.current_count(True))
    kept = drawn(layer, noise) != 0
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: ops.sum(p, axis=-1))
    model.train_on_batch(np.ones((1, 4), "float32"), np.zeros((1, 5)))
    change = before - to_numpy(dense.kernel)
    expected = 2.0 * kept * (1 + 0.5 * np.sign(before))
    np.testing.assert_allclose(change, expected, atol=1e-6)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            L.Conv1D(6, 2, activation="relu"),
            L.GRU(4),
            L.Dense(3),
        ]
    )


def test_the_kit_through_conversion_prediction_file_and_export(tmp_path):
    plain = network()
    model = tfhyper.convert(plain, kits.drop_connect(0.3, seed=1))
    assert [type(x) for x in model.layers[1:]] == [RandomVariables] * 3
    found = PosteriorPredictor(model, deterministic=True).predict(X).mean
    np.testing.assert_allclose(found, to_numpy(ops.softmax(plain(X))), atol=1e-6)
    predictor = PosteriorPredictor(model, 3)
    members = predictor.predict(X).members
    assert np.ptp(members, axis=0).max() > 0.01
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(X).members, members, atol=1e-6)
    sparse = predictor.materialize(2)
    zeros = np.mean(to_numpy(sparse.layers[1].kernel) == 0)
    assert 0.05 < zeros < 0.6
    np.testing.assert_allclose(to_numpy(ops.softmax(sparse(X))), members[2], atol=1e-5)
    if keras.backend.backend() == "tensorflow":
        from tests.helpers.export import run

        export.saved_model(predictor, tmp_path / "saved")
        found = run(tmp_path / "saved", inputs=X)["probabilities"]
        np.testing.assert_allclose(found, members.mean(0), atol=1e-5)


def test_roles_of_the_kit():
    options = {"input_shape": (12, 12, 1), "width_multiplier": 0.1}
    model = tfhyper.models.lenet5(kit=kits.drop_connect(variables="bias"), **options)
    assert not any(isinstance(x, RandomVariables) for x in model.layers)
    kit = kits.drop_connect(variables=["kernel", "bias"], seed=4)
    model = tfhyper.models.lenet5(kit=kit, **options)
    drawn = [x for x in model.layers if isinstance(x, RandomVariables)]
    assert len(drawn) == 5
    assert {len(x.posterior.chosen) for x in drawn} == {2}
    assert len({x.posterior.seed for x in drawn}) == 5


def test_mixed_precision():
    layer = RandomVariables(
        L.Dense(50, use_bias=False, kernel_initializer="ones", dtype="mixed_bfloat16"),
        BernoulliPosterior(0.5),
    )
    y = layer(ops.cast(np.eye(20), "bfloat16"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    assert set(np.unique(to_numpy(ops.cast(y, "float32")))) == {0.0, 2.0}


@keras.saving.register_keras_serializable("tests")
class MaskedGRU(RandomVariables):
    """As Keras' checks make several layers of the same arguments, one with none."""

    def __init__(self, layer=None, posterior=None, **kwargs):
        super().__init__(
            layer or L.GRU(3), posterior or BernoulliPosterior(0.3), **kwargs
        )


def test_keras_checks_of_a_layer():
    TestCase().run_layer_test(
        MaskedGRU,
        {"where": ["kernel", "recurrent_kernel"]},
        input_shape=(2, 5, 4),
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=1,  # the counts of draws
        expected_num_seed_generators=1,  # that of the GRU's dropout
        supports_masking=True,
        # The layer's policy is its own.
        run_mixed_precision_check=False,
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: BernoulliPosterior(1.0), "`rate` must be in 0 <= rate < 1.*rate=1.0"),
        (lambda: BernoulliPosterior(-0.1), "`rate` must be in 0 <= rate < 1"),
        (lambda: BernoulliPosterior(0.1, seed=-1), "`seed` must be an integer"),
        (lambda: kits.drop_connect("half"), "`rate` must be in 0 <= rate < 1.*'half'"),
        (lambda: kits.drop_connect(variables="weights"), "`variables` must be one of"),
        (lambda: kits.drop_connect(seed=1.5), "`seed` must be an integer"),
    ],
    ids=list("abcdef"),
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
