"""Layers that look as if they went by the channel, in every form of averaging.

What a network of several copies gives is written out copy by copy, with NumPy or with
the model's own plain Keras layers.
"""

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper import PosteriorPredictor, channelwise
from tfhyper.layers import HyperConv2D, HyperDense
from tfhyper.posterior.networks.averaging import Parallelizing, Widening
from tfhyper.posterior.running.small_batches import ConcatenatedDraws

COUNT = 3
UNITS = 4
X = np.random.default_rng(0).normal(size=(5, UNITS)).astype("float32")
IMAGES = np.random.default_rng(1).normal(size=(3, 6, 6, UNITS)).astype("float32")
SHIFT = np.linspace(-1, 1, UNITS).astype("float32")


@keras.saving.register_keras_serializable("look_alike")
def softmax_like(x):
    """exp(x) over its sum along the last axis."""
    x = ops.exp(x)
    return x / ops.sum(x, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable("look_alike")
class SoftmaxLike(keras.layers.Layer):
    def call(self, inputs):
        return softmax_like(inputs)


@keras.saving.register_keras_serializable("look_alike")
class SoftmaxAsReLU(keras.layers.ReLU):
    """A layer of the table by its base, a softmax by what it does."""

    def call(self, inputs):
        return softmax_like(inputs)


def numpy_softmax(x):
    x = np.exp(np.float64(x))
    return x / x.sum(axis=-1, keepdims=True)


def numpy_norm(x):
    x = np.float64(x)
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-3)


def alpha():
    return keras.initializers.Constant([0.1, 0.9, 2.0, -1.0])


# Name -> (what a user writes behind or as an activation, its function in NumPy).
VECTORS = {
    "function": (keras.layers.Activation(softmax_like), numpy_softmax),
    "operations": (softmax_like, numpy_softmax),
    "keras.ops": (ops.softmax, numpy_softmax),
    "layer": (SoftmaxLike(), numpy_softmax),
    "subclass": (SoftmaxAsReLU(), numpy_softmax),
    "Softmax": (keras.layers.Softmax(), numpy_softmax),
    "LayerNormalization": (keras.layers.LayerNormalization(), numpy_norm),
    "PReLU": (
        keras.layers.PReLU(alpha()),
        lambda x: np.where(x > 0, x, x * np.array([0.1, 0.9, 2.0, -1.0])),
    ),
    "Rescaling": (
        keras.layers.Rescaling(2.0, offset=SHIFT.tolist()),
        lambda x: 2.0 * x + SHIFT,
    ),
    "constant": (lambda x: ops.add(x, SHIFT), lambda x: x + SHIFT),
    "flip": (lambda x: ops.flip(x, axis=-1), lambda x: x[:, ::-1]),
    "Permute": (
        lambda x: keras.layers.Reshape((UNITS,))(
            keras.layers.Permute((2, 1))(keras.layers.Reshape((2, 2))(x))
        ),
        lambda x: x[:, [0, 2, 1, 3]],
    ),
    "Concatenate": (
        lambda x: keras.layers.Concatenate()([x, keras.layers.ReLU()(x)]),
        lambda x: np.concatenate([x, np.maximum(x, 0)], axis=-1),
    ),
    "Dot": (
        lambda x: keras.layers.Dot(axes=1)([x, x]),
        lambda x: np.square(x).sum(axis=-1, keepdims=True),
    ),
    "gate": (
        lambda x: keras.layers.Multiply()([x, ops.sum(x, axis=-1, keepdims=True)]),
        lambda x: x * x.sum(axis=-1, keepdims=True),
    ),
    "means": (
        lambda x: ops.expand_dims(ops.mean(x, axis=-1), -1),
        lambda x: x.mean(axis=-1, keepdims=True),
    ),
    "as activation": (softmax_like, numpy_softmax),
    "layer as activation": (SoftmaxLike(), numpy_softmax),
    "name as activation": ("softmax", numpy_softmax),
}


def residual(name):
    """x + second(look-alike(first(x))), and a plain layer."""
    keras.utils.set_random_seed(0)
    look_alike, _ = VECTORS[name]
    options = {"mean_kernel": True, "hidden_units": 4, "code_units": 4}
    inputs = keras.Input((UNITS,))
    activation = look_alike if name.endswith("activation") else None
    x = HyperDense(UNITS, activation=activation, name="first", **options)(inputs)
    if activation is None:
        x = look_alike(x)
    x = HyperDense(UNITS, name="second", **options)(x)
    x = keras.layers.Add()([inputs, x])
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x))


def kernels(model, name, noises):
    layer = model.get_layer(name)
    found = [layer.point_weights(noise)[0] for noise in noises]
    return [np.float64(ops.convert_to_numpy(kernel)) for kernel in found]


def branched(model, function, noise):
    """Returns the outputs of each draw, in NumPy."""
    first = kernels(model, "first", noise["first"][:COUNT])
    second = kernels(model, "second", noise["second"][:COUNT])
    ends = [X + function(X @ a) @ b for a, b in zip(first, second, strict=True)]
    return np.stack(ends) @ kernels_of_head(model)


def widened(model, function, noise):
    """output_j = 1/N sum_i W_ij function(first_j(x))."""
    first = kernels(model, "first", noise["first"][:COUNT])
    second = kernels(model, "second", noise["second"])
    copies = [function(X @ kernel) for kernel in first]
    ends = [
        X + sum(copies[i] @ second[i * COUNT + j] for i in range(COUNT)) / COUNT
        for j in range(COUNT)
    ]
    return np.mean(ends, axis=0) @ kernels_of_head(model)


def kernels_of_head(model):
    return np.float64(ops.convert_to_numpy(model.get_layer("head").kernel))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def outputs_of(network, x):
    return ops.convert_to_numpy(network(x, training=False))


def test_a_leaky_function_of_a_user_is_right_in_a_compiled_network():
    # Behind the parts of `ops.split`, oneDNN makes something else of max(x, a x).
    def leaky(x):
        return ops.maximum(x, 0.1 * x)

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((UNITS,)),
            HyperDense(6, name="first"),
            keras.layers.Lambda(leaky),
            keras.layers.Dense(3, use_bias=False, name="head"),
        ]
    )
    predictor = PosteriorPredictor(model, COUNT, outputs="logits", averaging="widening")
    wide = predictor.materialize().get_layer("first")
    hidden = X @ ops.convert_to_numpy(wide.kernel) + ops.convert_to_numpy(wide.bias)
    hidden = hidden.reshape(len(X), COUNT, -1)
    logits = np.maximum(hidden, 0.1 * hidden).mean(1) @ kernels_of_head(model)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    expected = powers / powers.sum(-1, keepdims=True)
    assert_close(predictor.predict(X).mean, expected)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_in_every_form_are_those_of_numpy(name):
    model, function = residual(name), VECTORS[name][1]
    predictor = PosteriorPredictor(model, COUNT, outputs="logits", seed=1)
    noise = {
        key: [draw.noise[key] for draw in predictor.draws]
        for key in predictor.draws[0].noise
    }
    expected = branched(model, function, noise)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    for i, output in enumerate(expected):
        assert_close(outputs_of(predictor.materialize(i), X), output)
    beside = ConcatenatedDraws(
        predictor.source.point, predictor.source.weights, predictor.draws
    )
    found = outputs_of(beside.network, X).reshape(expected.shape)
    assert_close(found, expected)

    form = Parallelizing(model, COUNT)
    draw = form.sample(2, 0)
    form.set(draw)
    expected = branched(model, function, draw.noise).mean(axis=0)
    assert_close(outputs_of(form.network, X), expected)

    form = Widening(model, COUNT)
    draw = form.sample(2, 0)
    form.set(draw)
    expected = widened(model, function, draw.noise)
    assert_close(outputs_of(form.network, X), expected)


def squeezed(x):
    """Squeeze and excitation: (batch, 1, 1, C) times (batch, H, W, C)."""
    scale = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    return keras.layers.Multiply()([x, keras.layers.Dense(UNITS, "sigmoid")(scale)])


def attended(x):
    """(batch, H, W, 1) times (batch, H, W, C), one number for all channels."""
    scale = keras.layers.Conv2D(1, 1, activation="sigmoid")(x)
    return keras.layers.Multiply()([scale, x])


def of_two_ranks(x):
    """(batch, C) plus (batch, H, W, C), which Keras brings to the same rank."""
    return keras.layers.Add()([x, keras.layers.GlobalMaxPooling2D()(x)])


def shared_sum(x):
    """One layer, called on equal channels and on one channel beside several."""
    add = keras.layers.Add()
    return add([add([x, x]), ops.max(x, axis=-1, keepdims=True)])


CHANNELS_FIRST = {"data_format": "channels_first"}
PICTURES = {
    "ZeroPadding2D": keras.layers.ZeroPadding2D(1),
    "ZeroPadding2D first": keras.layers.ZeroPadding2D(1, **CHANNELS_FIRST),
    "Cropping2D": keras.layers.Cropping2D(1),
    "Cropping2D first": keras.layers.Cropping2D(1, **CHANNELS_FIRST),
    "UpSampling2D": keras.layers.UpSampling2D(2),
    "UpSampling2D first": keras.layers.UpSampling2D(2, **CHANNELS_FIRST),
    "MaxPooling2D": keras.layers.MaxPooling2D(2),
    "keepdims": keras.layers.GlobalAveragePooling2D(keepdims=True),
    "keepdims first": keras.layers.GlobalMaxPooling2D(keepdims=True, **CHANNELS_FIRST),
    "BatchNormalization": keras.layers.BatchNormalization(),
    "BatchNormalization 1": keras.layers.BatchNormalization(axis=1),
    "BatchNormalization 2": keras.layers.BatchNormalization(axis=2),
    "PReLU": keras.layers.PReLU("random_normal", shared_axes=[1, 2]),
    "PReLU of channels": keras.layers.PReLU("random_normal", shared_axes=[3]),
    "LayerNormalization": keras.layers.LayerNormalization(axis=(1, 2, 3)),
    "GroupNormalization": keras.layers.GroupNormalization(2),
    "UnitNormalization": keras.layers.UnitNormalization(),
    "SpatialDropout2D": keras.layers.SpatialDropout2D(0.5),
    "Reshape": keras.layers.Reshape((6, 2, 12)),
    "Permute": keras.layers.Permute((3, 2, 1)),
    "Softmax": keras.layers.Softmax(axis=(1, 2)),
    "regularized": keras.layers.ReLU(activity_regularizer="l2"),
    "squeezed": squeezed,
    "attended": attended,
    "of_two_ranks": of_two_ranks,
    "shared_sum": shared_sum,
}


def convolutions(name):
    keras.utils.set_random_seed(0)
    options = {"mean_kernel": True, "hidden_units": 4, "code_units": 4}
    inputs = keras.Input(IMAGES.shape[1:])
    x = HyperConv2D(UNITS, 3, padding="same", name="first", **options)(inputs)
    x = PICTURES[name](x)
    bias = keras.initializers.Constant([1.0, 2.0, 3.0])
    outputs = HyperConv2D(
        3, 1, name="second", bias_initializer=bias, activation="tanh", **options
    )(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(outputs))
    rng = np.random.default_rng(3)
    for layer in model.layers:  # as after training
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([rng.uniform(0.5, 1.5, size) for _ in range(4)])
    return model


def convolve(model, name, x, noise):
    layer = model.get_layer(name)
    kernel = ops.convert_to_tensor(layer.point_weights(noise)[0])
    return ops.conv(x, kernel, padding="same") + layer.bias


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_in_every_form_are_those_of_plain_keras(name):
    model = convolutions(name)
    between = keras.Function(
        model.get_layer("first").output, model.get_layer("second").input
    )

    def end(sums):
        return ops.convert_to_numpy(ops.mean(ops.tanh(sums), axis=(1, 2)))

    options = {"outputs": "logits", "batch_norm": "moving_average", "seed": 1}
    predictor = PosteriorPredictor(model, COUNT, **options)
    expected = []
    for draw in predictor.draws:
        x = between(convolve(model, "first", IMAGES, draw.noise["first"]))
        expected.append(end(convolve(model, "second", x, draw.noise["second"])))
    expected = np.stack(expected)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4
    beside = ConcatenatedDraws(
        predictor.source.point, predictor.source.weights, predictor.draws
    )
    found = outputs_of(beside.network, IMAGES).reshape(expected.shape)
    assert_close(found, expected)

    form = Widening(model, COUNT)
    draw = form.sample(2, 0)
    form.set(draw)
    copies = [
        between(convolve(model, "first", IMAGES, draw.noise["first"][j]))
        for j in range(COUNT)
    ]
    expected = []
    for j in range(COUNT):
        sums = [
            convolve(model, "second", x, draw.noise["second"][i * COUNT + j])
            for i, x in enumerate(copies)
        ]
        expected.append(end(sum(sums) / COUNT))
    found = outputs_of(form.network, IMAGES)
    assert_close(found, np.mean(expected, axis=0))


def test_the_policy_of_others_does_not_round_copies():
    """A float32 model under a global policy of half precision stays float32."""
    model = residual("function")
    exact = Widening(model, COUNT)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = Widening(model, COUNT)
    finally:
        keras.config.set_dtype_policy("float32")
    draw = exact.sample(2, 0)
    for form in (exact, half):
        form.set(draw)
    found = outputs_of(half.network, X)
    assert_close(found, outputs_of(exact.network, X))


def per_channel(layer, shape, axis=-1):
    """Whether channel c of the outputs is that of the inputs alone, by trying."""
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    once = ops.convert_to_numpy(layer(x))
    pieces = [layer(part) for part in np.split(x, shape[axis], axis=axis)]
    joined = np.concatenate([ops.convert_to_numpy(x) for x in pieces], axis=axis)
    return once.shape == joined.shape and np.allclose(once, joined, atol=1e-5)


ELEMENTWISE = [
    name
    for name in vars(keras.activations)
    # The last one needs two arguments more, which a layer does not give it.
    if name not in ("get", "serialize", "deserialize", "threshold")
    and callable(getattr(keras.activations, name))
]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations_are_elementwise_where_they_are_called_so(name):
    activation = getattr(keras.activations, name)
    known = channelwise.is_elementwise(activation)
    assert known == channelwise.is_elementwise(keras.activations.get(name))
    if known:
        assert per_channel(activation, (4, 6))
    else:
        assert name in ("softmax", "log_softmax", "sparsemax", "glu")


@pytest.mark.parametrize(
    "activation",
    [
        softmax_like,
        SoftmaxLike(),
        ops.relu,
        ops.softmax,
        keras.layers.ReLU(),
        lambda x: keras.activations.relu(x),
        "relu",
    ],
)
def test_what_is_not_an_activation_of_keras_is_unknown(activation):
    assert not channelwise.is_elementwise(activation)


SPATIAL = (
    "AveragePooling Cropping GlobalAveragePooling GlobalMaxPooling MaxPooling "
    "UpSampling ZeroPadding"
).split()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", SPATIAL)
def test_layers_of_positions_act_on_each_channel_of_the_last_axis(name, rank):
    arguments = {"pool_size": 2} if name in ("AveragePooling", "MaxPooling") else {}
    layer = getattr(keras.layers, f"{name}{rank}D")(**arguments)
    shape = (2, 4, 4, 6)[: rank + 1] + (3,)
    assert channelwise.is_channelwise(layer, -1, [shape])
    assert channelwise.is_channelwise(layer, rank + 1, [shape])
    assert not channelwise.is_channelwise(layer, 1, [shape])
    assert per_channel(layer, shape)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Rescaling(2.0, 1.0),
        keras.layers.ELU(0.3),
        keras.layers.LeakyReLU(0.2),
        keras.layers.ReLU(1.0, 0.1, 0.2),
        keras.layers.Identity(),
        keras.layers.Activation("gelu"),
    ],
)
def test_layers_of_numbers_act_on_any_axis(layer):
    for axis in (1, -1):
        assert channelwise.is_channelwise(layer, axis, [(2, 4, 6, 3)])
        assert per_channel(layer, (2, 4, 6, 3), axis)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Rescaling([1.0, 2.0, 3.0]),
        keras.layers.Rescaling(1.0, [1.0, 2.0, 3.0]),
        keras.layers.Softmax(),
        keras.layers.Activation("softmax"),
        keras.layers.Activation(softmax_like),
        keras.layers.LayerNormalization(),
        keras.layers.UnitNormalization(),
        keras.layers.PReLU(),
        keras.layers.Flatten(),
        SoftmaxLike(),
        SoftmaxAsReLU(),
        keras.layers.Dense(3),
    ],
)
def test_other_layers_are_not_in_the_table(layer):
    assert not channelwise.is_channelwise(layer, -1, [(2, 4, 6, 3)])
