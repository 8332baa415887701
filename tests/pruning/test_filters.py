"""A smaller network gives what the whole one gives with rows of kernels at zero."""

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.helpers.layers import to_numpy
from tests.helpers.pruning import (
    IMAGE,
    assert_untouched,
    bayes_network,
    images,
    plain_network,
    randomise,
    values,
    weight,
)
from tfhyper import PosteriorPredictor, kits, layers, models
from tfhyper.pruning import filters_that_stay, prune, prune_filters

Conv2D, Dense, BN = (
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.BatchNormalization,
)


def smallest(kernel, count, axis=-1):
    """The filters with the smallest L1 norm."""
    kernel = np.moveaxis(np.abs(kernel), axis, 0)
    return np.argsort(kernel.reshape(len(kernel), -1).sum(axis=1))[:count]


def silenced(model, cuts):
    """The model with what reads the smallest filters at zero.

    `cuts`: (layer, filters to lose, its readers).
    """
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    for name, count, readers in cuts:
        source = model.get_layer(name)
        transposed = isinstance(source, keras.layers.Conv2DTranspose)
        kernel = to_numpy(source.kernel)
        gone = smallest(kernel, count, -2 if transposed else -1)
        channels = kernel.shape[-2 if transposed else -1]
        for reader in readers:
            layer = twin.get_layer(reader)
            kernel = to_numpy(layer.kernel).copy()
            axis = -1 if isinstance(layer, keras.layers.Conv2DTranspose) else -2
            rows = np.arange(kernel.shape[axis]) % channels
            kernel = np.moveaxis(kernel, axis, 0)
            kernel[np.isin(rows, gone)] = 0
            layer.kernel.assign(np.moveaxis(kernel, 0, axis))
    return twin


def assert_same_outputs(model, other, x=None):
    x = images(shape=model.input_shape[1:]) if x is None else x
    found, expected = to_numpy(model(x)), to_numpy(other(x))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_through_batch_norm_pooling_and_flatten():
    model = plain_network()
    before = values(model)
    smaller = prune_filters(model, 0.5)
    assert_untouched(model, before)
    assert smaller.get_layer("conv").filters == 3
    assert smaller.get_layer("norm").gamma.shape == (3,)
    assert smaller.get_layer("hidden").kernel.shape == (27, 3)  # 5 / 2 is 2
    assert smaller.get_layer("logits").kernel.shape == (3, 3)
    cuts = [("conv", 3, ["hidden"]), ("hidden", 2, ["logits"])]
    assert_same_outputs(smaller, silenced(model, cuts))
    assert not smaller.compiled


def test_a_wide_residual_network():
    model = randomise(models.wide_resnet(10, 1, kit="deterministic", input_shape=IMAGE))
    for layer in model.layers:  # as large as training would have it
        if isinstance(layer, Conv2D):
            layer.kernel.assign(layer.kernel / np.sqrt(np.prod(layer.kernel.shape[:3])))
    smaller = prune_filters(model, 0.3)
    blocks = [f"stage{stage}_block1" for stage in (1, 2, 3)]
    cuts = [
        (f"{block}_conv1", round(0.3 * width), [f"{block}_conv2"])
        for block, width in zip(blocks, (16, 32, 64), strict=True)
    ]
    for name, count, _ in cuts:
        filters = model.get_layer(name).filters
        assert smaller.get_layer(name).filters == filters - count
    assert_same_outputs(smaller, silenced(model, cuts))
    stay = filters_that_stay(model)
    assert list(stay) == [
        "stem",
        *("stage1_block1_conv2", "stage2_block1_shortcut", "stage2_block1_conv2"),
        *("stage3_block1_shortcut", "stage3_block1_conv2", "logits"),
    ]
    assert stay["stem"] == "its channels go to 'stage1_block1_add' (Add)"
    assert stay["logits"] == "its channels are an output of the model"


def test_layers_that_act_by_channel_and_several_readers():
    x = keras.Input((9, 9, 2))
    y = Conv2D(8, 3, name="a", activation="gelu")(x)
    y = BN(axis=3)(keras.layers.ZeroPadding2D(1)(y))
    y = keras.layers.Activation("silu")(keras.layers.Cropping2D(1)(y))
    y = keras.layers.SpatialDropout2D(0.1)(keras.layers.UpSampling2D(2)(y))
    y = keras.layers.AveragePooling2D(2)(layers.Dropout(0.2)(y))
    left = Conv2D(4, 3, name="b", padding="same")(y)
    middle = Dense(4, name="c")(y)
    right = keras.layers.Conv2DTranspose(4, 3, name="d", padding="same")(y)
    y = keras.layers.Add()([left, middle, right])
    y = keras.layers.LeakyReLU()(keras.layers.Conv2DTranspose(6, 3, name="e")(y))
    y = keras.layers.GlobalMaxPooling2D()(y)
    y = BN()(keras.layers.Flatten()(y))
    model = randomise(keras.Model(x, Dense(3, name="f")(y)))
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("a").filters == 4
    assert smaller.get_layer("e").filters == 3
    cuts = [("a", 4, "bcd"), ("e", 3, "f")]
    assert_same_outputs(smaller, silenced(model, cuts))
    assert list(filters_that_stay(model)) == ["b", "c", "d", "f"]


def test_batch_norm_behind_a_flatten_and_one_dimension():
    model = randomise(
        keras.Sequential(
            [
                keras.Input((12, 2)),
                keras.layers.Conv1D(4, 3, padding="causal", name="a"),
                keras.layers.MaxPooling1D(2),
                keras.layers.Flatten(),
                BN(name="norm"),
                Dense(3, name="b"),
            ]
        )
    )
    smaller = prune_filters(model, 0.25)
    assert smaller.get_layer("norm").moving_mean.shape == (18,)
    assert_same_outputs(smaller, silenced(model, [("a", 1, "b")]))


def test_nested_models_and_a_shared_reader():
    inner = keras.Sequential(
        [keras.Input((6,)), Dense(8, name="a"), Dense(6, name="b")], name="inner"
    )
    reader = Dense(2, name="c")
    x = keras.Input((6,))
    y = inner(x)
    model = randomise(keras.Model(x, reader(y) * reader(keras.layers.ReLU()(y))))
    smaller = prune_filters(model, 0.5)
    shapes = [smaller.get_layer(name).units for name in "abc"]
    assert shapes == [4, 3, 2]
    kernels = [to_numpy(x.kernel) for x in (*inner.layers, reader)]
    biases = [to_numpy(x.bias) for x in (*inner.layers, reader)]
    kernels[1][smallest(kernels[0], 4)] = 0
    kernels[2][smallest(to_numpy(inner.layers[1].kernel), 3)] = 0
    data = images(4, shape=(6,))
    hidden = (data @ kernels[0] + biases[0]) @ kernels[1] + biases[1]
    outputs = [z @ kernels[2] + biases[2] for z in (hidden, np.maximum(hidden, 0))]
    expected = outputs[0] * outputs[1]
    np.testing.assert_allclose(to_numpy(smaller(data)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"bias_posterior": "gaussian", "prior_mean": "weight"}]
)
def test_gaussian_posteriors(options, tmp_path):
    model = bayes_network(**options)
    smaller = prune_filters(model, 0.5)
    norms = np.abs(weight(model, "conv", "kernel_mean")).mean(axis=(0, 1, 2))
    kept = np.sort(np.argsort(norms)[3:])
    norms = np.abs(weight(model, "hidden", "kernel_mean")).mean(axis=0)
    units = np.sort(np.argsort(norms)[2:])
    rows = np.flatnonzero(np.isin(np.arange(54) % 6, kept))
    for name in [w.name for w in model.get_layer("hidden").weights]:
        found, old = weight(smaller, "hidden", name), weight(model, "hidden", name)
        if name.startswith("kernel"):
            old = old[rows][:, units]
        elif name.startswith("bias"):
            old = old[units]
        np.testing.assert_array_equal(found, old, err_msg=name)
    found, old = (
        weight(smaller, "conv", "kernel_rho"),
        weight(model, "conv", "kernel_rho"),
    )
    np.testing.assert_array_equal(found, old[..., kept])
    smaller.save(tmp_path / "smaller.keras")
    loaded = keras.saving.load_model(tmp_path / "smaller.keras")
    predictor = PosteriorPredictor(loaded, 3, batch_norm="moving_average")
    assert predictor.predict(images()).mean.shape == (6, 3)
    loaded(images(), training=True)
    assert np.isfinite([float(loss) for loss in loaded.losses]).all()


def test_the_mean_of_a_gaussian_posterior_is_that_of_its_smaller_network():
    model = prune(bayes_network(), fraction=0.3)
    options = {"batch_norm": "moving_average", "deterministic": True}
    smaller = prune_filters(model, 0.5, keep=["hidden"])
    mask = weight(smaller, "hidden", "kernel_mask")
    assert mask.shape == (27, 5)
    assert set(mask.ravel()) == {0, 1}
    plain = PosteriorPredictor(model, **options).materialize()
    found = PosteriorPredictor(smaller, **options).materialize()
    assert_same_outputs(found, silenced(plain, [("conv", 3, ["hidden"])]))


def test_masks_of_mc_dropout_go_with_the_channels():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            Dense(2, name="a"),
            layers.MCDropout(0.5, seed=1, name="mc"),
            Dense(3, name="b"),
        ]
    )
    model(images(3, shape=(4,)))
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("a").units == 1
    counts = to_numpy(model.get_layer("mc").draws)
    assert counts.shape == (2,)
    np.testing.assert_array_equal(to_numpy(smaller.get_layer("mc").draws), counts)


def test_a_bayesian_residual_network():
    kit = kits.bayes(num_examples=100)
    model = models.wide_resnet(10, 1, kit=kit, input_shape=IMAGE)
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("stage3_block1_conv1").filters == 32
    assert np.isfinite(to_numpy(smaller(images()))).all()


def test_one_filter_is_left():
    smaller = prune_filters(plain_network(), 0.99)
    assert smaller.get_layer("conv").filters == 1
    assert smaller.get_layer("hidden").units == 1


def test_kept_layers_keep_their_filters_and_trainable_layers_stay_so():
    model = plain_network()
    model.get_layer("norm").trainable = False
    smaller = prune_filters(model, 0.5, keep=["hidden"])
    assert smaller.get_layer("hidden").kernel.shape == (27, 5)
    assert not smaller.get_layer("norm").trainable
    assert filters_that_stay(model, ["hidden"])["hidden"] == "it is in `keep`"
    assert_same_outputs(smaller, silenced(model, [("conv", 3, ["hidden"])]))


@keras.saving.register_keras_serializable("tests")
def doubled(x):
    return 2.0 * x


def between(*layers, first=None):
    """a -> layers -> b -> c, where b can lose filters."""
    same = {"padding": "same"}
    first = first or Conv2D(4, 3, name="a")
    last = [Conv2D(4, 3, name="b", **same), Conv2D(4, 3, name="c", **same)]
    return keras.Sequential([keras.Input(IMAGE), first, *layers, *last])


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda: between(keras.layers.DepthwiseConv2D(3, name="dw")), "'dw'"),
        (lambda: between(Conv2D(4, 3, groups=2, name="g")), "'g' (Conv2D)"),
        (lambda: between(keras.layers.LayerNormalization()), "LayerNormalization"),
        (lambda: between(keras.layers.PReLU()), "PReLU"),
        (lambda: between(BN(axis=1)), "BatchNormalization"),
        (lambda: between(keras.layers.Softmax()), "Softmax"),
        (lambda: between(keras.layers.Activation("softmax")), "Activation"),
        (lambda: between(keras.layers.Reshape((9, 4, 4))), "Reshape"),
        (lambda: between(keras.layers.Dropout(0.1, (1, 1, 1, 4))), "Dropout"),
        (lambda: between(first=Conv2D(6, 3, groups=3, name="a")), "grouped"),
        (
            lambda: between(first=Conv2D(4, 3, activation="softmax", name="a")),
            "activation",
        ),
        (
            lambda: between(
                first=Conv2D(4, 3, activation=doubled, name="a"),
            ),
            "activation",
        ),
        (
            lambda: between(
                first=layers.BayesConv2D(
                    4, 3, name="a", prior=tfp.distributions.Normal(np.zeros(4), 1.0)
                )
            ),
            "unknown kind",
        ),
    ],
)
def test_channels_that_something_else_needs_stay(make, reason):
    model = randomise(make())
    assert reason in filters_that_stay(model)["a"]
    smaller = prune_filters(model, 0.5)
    assert smaller.get_layer("a").filters == model.get_layer("a").filters
    assert smaller.get_layer("b").filters == 2
    shape = smaller.get_layer("b").weights[0].shape
    assert shape[2] == model.get_layer("b").kernel.shape[2]


def test_a_subclass_is_an_unknown_layer():
    class Mine(Conv2D):
        pass

    stay = filters_that_stay(between(Mine(4, 3, name="mine")))
    assert "'mine' (Mine)" in stay["a"]
    assert "unknown kind" in stay["mine"]


def test_a_reader_of_two_layers_keeps_both():
    x = keras.Input((4,))
    a, b, c = Dense(6, name="a"), Dense(6, name="b"), Dense(3, name="c")
    model = keras.Model(x, c(a(x)) + c(b(x)))
    stay = filters_that_stay(model)
    assert stay["a"] == stay["b"] == "'c' reads other channels, too"
    norm = BN(name="norm")
    model = keras.Model(x, c(norm(a(x))) + Dense(3, name="d")(norm(b(x))))
    assert filters_that_stay(model)["b"] == "'norm' reads other channels, too"


def test_no_layer_can_lose_filters():
    x = keras.Input((4,))
    model = keras.Model(x, Dense(4, name="a")(x) + x)
    with pytest.raises(ValueError, match="No layer can lose.*Fixed: 'a': its channels"):
        prune_filters(model, 0.5)
    with pytest.raises(ValueError, match="Too few: 'conv': 6 filters; 'hidden': 5"):
        prune_filters(plain_network(), 0.01)
    with pytest.raises(ValueError, match="'conv': it is in `keep`"):
        prune_filters(plain_network(), 0.5, keep=["conv", "hidden"])


@pytest.mark.parametrize("fraction", [0, 1.0, -0.5, float("nan"), "0.5", None])
def test_bad_fractions(fraction):
    with pytest.raises(ValueError, match="`fraction` must be in 0 < fraction < 1"):
        prune_filters(plain_network(), fraction)


def test_bad_models():
    with pytest.raises(ValueError, match="`keep` must be"):
        prune_filters(plain_network(), 0.5, keep=["elsewhere"])
    with pytest.raises(TypeError, match="functional or Sequential"):
        prune_filters(Dense(3), 0.5)
    model = models.wide_resnet(10, 1, input_shape=IMAGE, kit="hyper")
    for function in (
        lambda: prune_filters(model, 0.5),
        lambda: filters_that_stay(model),
    ):
        with pytest.raises(ValueError, match="materialize"):
            function()
