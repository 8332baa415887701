"""The kit of spectral-normalised neural Gaussian processes."""

import keras
import numpy as np
import pytest

from tests.helpers.layers import to_numpy
from tfhyper import PosteriorPredictor, convert, kits, layers, models

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
SMALL = {"num_features": 16, "seed": 3}


def test_kernels_are_bounded_and_the_last_layer_is_a_gaussian_process():
    kit = kits.sngp(50, norm_bound=1.5, power_iterations=2, ridge=0.1, **SMALL)
    model = models.lenet5(kit=kit, width_multiplier=0.5)
    for name in ("conv1", "conv2", "dense1", "dense2"):
        layer = model.get_layer(name)
        assert type(layer).__name__.startswith("Spectral")
        assert (layer.norm_bound, layer.power_iterations) == (1.5, 2)
    head = model.get_layer("logits")
    assert type(head) is layers.RandomFeatureGaussianProcess
    assert (head.ridge, head.num_features, head.num_examples) == (0.1, 16, 50)
    other = models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit)
    assert type(other.get_layer("stem")) is layers.SpectralConv2D
    assert type(other.get_layer("head_norm")) is keras.layers.BatchNormalization


def test_the_seed_is_that_of_the_features():
    def frequencies(seed):
        kit = kits.sngp(num_features=4, seed=seed)
        model = models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit)
        return to_numpy(model.get_layer("logits").frequencies)

    np.testing.assert_array_equal(frequencies(1), frequencies(1))
    assert not np.array_equal(frequencies(1), frequencies(2))


def trained():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(6, activation="relu", name="hidden")(x)
    x = keras.layers.Dense(3, name="logits")(x)
    return keras.Model(inputs, keras.layers.Softmax(name="probs")(x))


def test_a_trained_network_keeps_its_features_and_gets_a_new_head():
    model = trained()
    for name in ("conv", "hidden"):
        kernel = model.get_layer(name).kernel
        kernel.assign(3 * kernel)
    copy = convert(model, kits.sngp(norm_bound=0.5, **SMALL))
    for name in ("conv", "hidden"):
        layer = copy.get_layer(name)
        assert type(layer).__name__.startswith("Spectral")
        stock = to_numpy(model.get_layer(name).kernel)
        norm = float(to_numpy(layer.norm()))
        assert norm > 0.5
        np.testing.assert_allclose(
            to_numpy(layer.kernel), stock * (0.5 / norm), rtol=1e-5
        )
    # The norm is that of the matrix, found when the weights were put in.
    largest = np.linalg.svd(stock, compute_uv=False)[0]
    assert norm == pytest.approx(largest, rel=0.01)
    head = copy.get_layer("logits")
    assert type(head) is layers.RandomFeatureGaussianProcess and head.units == 3
    copy.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    copy.fit(X, np.arange(12) % 3, verbose=0)
    prediction = PosteriorPredictor(copy, 4).predict(X)
    assert prediction.mean.shape == (12, 3)
    assert (prediction.epistemic > 0).all()
    total = prediction.aleatoric + prediction.epistemic
    np.testing.assert_allclose(prediction.total, total, atol=1e-5)


@pytest.mark.parametrize("kit", ["sngp", "vbll"])
def test_a_model_without_a_dense_layer_at_its_end_has_no_place_for_a_head(kit):
    kit = kits.KITS[kit](12)
    inputs = keras.Input(SHAPE)
    hidden = keras.layers.Dense(3, name="hidden")(inputs)
    convolution = keras.layers.Conv2D(2, 3, name="last")(hidden)
    with pytest.raises(ValueError, match=r"must end in a layer.*Dense.*\['last'\]"):
        convert(keras.Model(inputs, convolution), kit)
    # One that is kept is none, either.
    model = trained()
    with pytest.raises(ValueError, match="must end in a layer"):
        convert(model, kit, keep=["logits"])


def test_each_output_has_its_head_and_nested_models_too():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inner")])
    x = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    outputs = [inner(inputs), keras.layers.Dense(2, name="other")(x)]
    copy = convert(keras.Model(inputs, outputs), kits.sngp(**SMALL))
    kinds = {x.name: type(x) for x in copy.layers}
    assert kinds["inner"] is kinds["other"] is layers.RandomFeatureGaussianProcess
    assert kinds["hidden"] is layers.SpectralDense


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm_bound": 0}, "`norm_bound` must be a finite number > 0.*=0"),
        ({"power_iterations": 0}, "`power_iterations` must be a positive integer"),
        ({"num_features": 0}, "`num_features` must be a positive integer.*=0"),
        ({"num_examples": 0}, "`num_examples` must be a positive integer.*=0"),
        ({"momentum": 0.9}, "`num_examples` must be given with a `momentum`"),
        ({"covariance": "dense"}, "`covariance` must be one of.*'dense'"),
        ({"seed": -1}, "`seed` must be"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        kits.sngp(**options)
