"""Draws averaged inside one network, against networks of the draws one by one."""

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tfhyper import kits, models
from tfhyper.layers import HyperConv2D, HyperDense, MCDropout
from tfhyper.posterior import Draw, PointNetwork
from tfhyper.posterior.networks import stacked_network
from tfhyper.posterior.networks.averaging import Parallelizing, Widening

FORMS = {"parallelizing": Parallelizing, "widening": Widening}
SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(6, *SHAPE)).astype("float32")
X_TRAIN = np.random.default_rng(1).normal(size=(40, *SHAPE)).astype("float32")


def small_network(kit):
    keras.utils.set_random_seed(0)
    model = models.wide_resnet(10, 1, num_classes=4, input_shape=SHAPE, kit=kit)
    rng = np.random.default_rng(2)
    for layer in model.layers:  # as after training
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.beta.assign(rng.normal(size=shape))
            layer.moving_mean.assign(rng.normal(size=shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, shape))
    return model


@pytest.fixture(scope="module")
def block_wise():
    return small_network(kits.hyper("block_wise", "normal", mean_kernel=False, seed=1))


@pytest.fixture(scope="module")
def layer_wise():
    return small_network(kits.hyper("layer_wise", "normal", mean_kernel=False, seed=1))


def one_by_one(model, noise, index):
    """Returns the plain network of draw `index` of stacked noise."""
    point = PointNetwork(model)
    point.set(Draw({name: values[index] for name, values in noise.items()}))
    return point.network


def outputs_of(network, x):
    return network.predict(x, verbose=0, batch_size=len(x))


def test_parallelizing_is_the_mean_behind_each_block(block_wise):
    """x <- mean_i block_i(x), with the blocks of three plain networks."""
    form = Parallelizing(block_wise, 3)
    draw = form.sample(seed=5, index=0)
    form.set(draw)
    plain = [one_by_one(block_wise, draw.noise, i) for i in range(3)]

    def part(network, start, end):
        inputs = network.get_layer(start).output
        function = keras.Function(inputs, network.get_layer(end).output)
        return lambda x: ops.convert_to_numpy(function(x))

    x = part(plain[0], "images", "stem")(X)
    ends = ["stem"] + [f"stage{s}_block1_add" for s in (1, 2, 3)]
    for start, end in zip(ends[:-1], ends[1:], strict=True):
        x = np.mean([part(network, start, end)(x) for network in plain], axis=0)
    expected = part(plain[0], ends[-1], "logits")(x)
    np.testing.assert_allclose(outputs_of(form.network, X), expected, atol=1e-5)


def test_widening_is_a_network_of_mixed_copies(layer_wise):
    """output_j = 1/N sum_i W_ij * input_i, written out copy by copy."""
    count = 2
    form = Widening(layer_wise, count)
    draw = form.sample(seed=5, index=0)
    form.set(draw)

    def kernel(name, i, j):
        layer = layer_wise.get_layer(name)
        noise = draw.noise[f"code_{name}"]
        assert len(noise) == count**2
        return ops.convert_to_tensor(layer.point_weights(noise[i * count + j])[0])

    def conv(copies, name, strides=1):
        """Of one tensor, copy j is made with the kernel (0, j)."""
        return [
            sum(
                ops.conv(x, kernel(name, i, j), strides=strides, padding="same")
                for i, x in enumerate(copies)
            )
            / len(copies)
            for j in range(count)
        ]

    def each(copies, *names):
        for name in names:
            copies = [layer_wise.get_layer(name)(x) for x in copies]
        return copies

    x = each([X], "stem")
    for stage, strides in ((1, 1), (2, 2), (3, 2)):
        name = f"stage{stage}_block1"
        active = each(x, f"{name}_pre1_norm", f"{name}_pre1_relu")
        y = conv(active, f"{name}_conv1", strides)
        y = each(y, f"{name}_pre2_norm", f"{name}_pre2_relu")
        y = conv(y, f"{name}_conv2")
        if stage > 1:
            x = conv(active, f"{name}_shortcut", strides)
        x = x * count if len(x) == 1 else x
        x = [a + b for a, b in zip(x, y, strict=True)]
    (expected,) = each([sum(x) / count], "head_norm", "head_relu", "pool", "logits")
    expected = ops.convert_to_numpy(expected)
    np.testing.assert_allclose(outputs_of(form.network, X), expected, atol=1e-5)


def grouped_network():
    """A residual block with grouped, depthwise and dense layers and dropout."""
    keras.utils.set_random_seed(0)
    options = {"padding": "same", "mean_kernel": True}
    inputs = keras.Input(SHAPE)
    x = HyperConv2D(8, 3, activation="relu", **options)(inputs)
    y = HyperConv2D(8, 3, groups=4, **options)(x)
    y = tfhyper.layers.HyperDepthwiseConv2D(3, **options)(y)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.PReLU()(y)  # has weights, and draws nothing
    y = MCDropout(0.0)(y)
    y = HyperDense(8, mean_kernel=True)(y)
    y = keras.layers.Conv2D(8, 1)(y)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Flatten()(x)
    x = HyperDense(5, activation="softmax", mean_kernel=True)(x)
    return keras.Model(inputs, x)


NETWORKS = {
    "block_wise": lambda: small_network(kits.hyper("block_wise", "normal")),
    "all_in_one": lambda: small_network(kits.hyper("all_in_one", "uniform")),
    "bayes": lambda: small_network(kits.bayes(10)),
    "mc_dropout": lambda: small_network(kits.mc_dropout(0.3)),
    "post_activation": lambda: models.resnet_cifar(
        8, num_classes=4, input_shape=SHAPE, kit=kits.hyper("layer_wise")
    ),
    "grouped": grouped_network,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
def test_copies_that_are_equal_give_what_one_gives(build, form):
    model = build()
    network = FORMS[form](model, 3)
    draw = network.sample(0, 0)
    for noise in draw.noise.values():
        noise[:] = noise[:1]
    network.set(draw)
    expected = outputs_of(one_by_one(model, draw.noise, 0), X)
    np.testing.assert_allclose(outputs_of(network.network, X), expected, atol=2e-5)


@pytest.mark.parametrize("form", FORMS)
def test_draws_of_the_copies_differ(layer_wise, form):
    network = FORMS[form](layer_wise, 2)
    first, second = (network.sample(3, i) for i in range(2))
    for name, noise in first.noise.items():
        flat = np.concatenate([noise, second.noise[name]]).reshape(len(noise) * 2, -1)
        assert len(np.unique(flat, axis=0)) == len(noise) * 2
    plain = PointNetwork(layer_wise)
    for i in range(network.noise_count):
        for name, noise in plain.sample(3, i).noise.items():
            np.testing.assert_array_equal(first.noise[name][i], noise)


@pytest.mark.parametrize("count", [2, 4])
def test_numbers_of_parameters(layer_wise, count):
    """3.4, 5.1: N, N, and N^2 times those of the residual blocks' kernels."""
    plain = PointNetwork(layer_wise).network
    blocks = [x for x in plain.layers if x.name.startswith("stage")]
    kernels = {
        x.name: x.count_params()
        for x in blocks
        if "conv" in x.name or "short" in x.name
    }
    # In this network, the norm before a block belongs to its head: it is shared.
    norms = sum(x.count_params() for x in blocks if x.name.endswith("pre2_norm"))
    pre1 = sum(
        x.count_params()
        for x in blocks
        if x.name in ("stage2_block1_pre1_norm", "stage3_block1_pre1_norm")
    )
    rest = plain.count_params() - sum(kernels.values()) - norms - pre1
    first = kernels["stage1_block1_conv1"]  # from the stem, which is not wide
    expected = {
        "branching": count * plain.count_params(),
        "parallelizing": count * (sum(kernels.values()) + norms) + pre1 + rest,
        "widening": count**2 * (sum(kernels.values()) - first)
        + count * (first + norms + pre1)
        + rest,
    }
    for form, parameters in expected.items():
        predictor = tfhyper.PosteriorPredictor(layer_wise, count, form)
        assert predictor.parameters() == {
            "trained": layer_wise.count_params(),
            "draw": plain.count_params(),
            "averaged": parameters,
        }
        lines = []
        predictor.summary(print_fn=lines.append)
        assert f"{parameters:,}" in lines[0]
        assert f"x{count} {form}" in lines[0]


@pytest.mark.parametrize("form", FORMS)
def test_moments_are_those_of_the_averaged_network(block_wise, form):
    """With the moments of a batch, each norm gives it out as gamma, beta say."""
    predictor = tfhyper.PosteriorPredictor(block_wise, 2, form, seed=1)
    predictor.calibrate(X_TRAIN, batch_size=len(X_TRAIN), verbose=0)
    network = predictor.materialize()
    norms = [
        x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)
    ]
    outputs = keras.Function(network.inputs[0], [norm.output for norm in norms])(
        X_TRAIN
    )
    for norm, output in zip(norms, outputs, strict=True):
        original = block_wise.get_layer(norm.name)
        times = norm.gamma.shape[0] // original.gamma.shape[0]
        output = np.float64(ops.convert_to_numpy(output)).reshape(-1, output.shape[-1])
        mean = np.tile(original.beta, times)
        np.testing.assert_allclose(output.mean(0), mean, atol=1e-4)
        # A norm's epsilon takes a little of the deviation.
        scale = np.tile(original.gamma, times)
        np.testing.assert_allclose(output.std(0), scale, rtol=2e-2)


@pytest.mark.parametrize("form", FORMS)
def test_file_and_plain_network(block_wise, form, tmp_path):
    predictor = tfhyper.PosteriorPredictor(block_wise, 2, form, seed=1)
    with pytest.raises(ValueError, match="estimate_batch_norm"):
        predictor.predict(X)
    predictor.calibrate(X_TRAIN, verbose=0)
    prediction = predictor.predict(X)
    assert prediction.members.shape == (1, 6, 4)
    assert np.abs(prediction.epistemic).max() < 1e-6
    predictor.save(tmp_path / "it.tfhyper")
    copy = tfhyper.PosteriorPredictor.load(tmp_path / "it.tfhyper")
    assert (copy.averaging, copy.num_draws, len(copy.draws)) == (form, 2, 1)
    np.testing.assert_array_equal(copy.predict(X).mean, prediction.mean)
    network = predictor.materialize()
    for operation in network.operations:
        assert type(operation).__module__.startswith("keras."), operation
    network.save(tmp_path / "it.keras")
    plain = keras.saving.load_model(tmp_path / "it.keras")
    probs = ops.softmax(outputs_of(plain, X))
    np.testing.assert_allclose(probs, prediction.mean, atol=1e-6)
    with pytest.raises(ValueError, match="draw=1"):
        predictor.materialize(1)


@pytest.mark.parametrize("form", FORMS)
def test_one_draw_is_a_plain_network(block_wise, form):
    predictor = tfhyper.PosteriorPredictor(
        block_wise, 1, form, batch_norm="moving_average"
    )
    branching = tfhyper.PosteriorPredictor(block_wise, 1, batch_norm="moving_average")
    np.testing.assert_array_equal(predictor.predict(X).mean, branching.predict(X).mean)


def test_two_heads_are_averaged_each():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = HyperDense(4, activation="relu")(inputs)
    mean = HyperDense(1)(x)
    variance = keras.layers.Dense(1, activation="softplus")(x)
    model = keras.Model(inputs, [mean, variance])
    predictor = tfhyper.PosteriorPredictor(
        model, 3, "widening", outputs="mean_and_variance"
    )
    prediction = predictor.predict(np.ones((2, 3), "float32"))
    assert prediction.mean.shape == (2,)


@pytest.mark.parametrize("form", FORMS)
def test_networks_that_draw_nothing_are_refused(form):
    model = models.wide_resnet(10, 1, input_shape=SHAPE, kit="deterministic")
    with pytest.raises(ValueError, match=f"{form}.*layers that draw.*fixed weights"):
        tfhyper.PosteriorPredictor(model, 2, form)


def test_parallelizing_needs_blocks():
    model = models.lenet5(width_multiplier=0.25, kit=kits.bayes(10))
    with pytest.raises(ValueError, match="residual blocks.*'lenet5'"):
        tfhyper.PosteriorPredictor(model, 2, "parallelizing")


def test_too_many_draws_for_the_memory(block_wise, monkeypatch):
    monkeypatch.setattr(stacked_network, "available_memory", lambda: 50e6)
    tfhyper.PosteriorPredictor(block_wise, 8, "parallelizing")
    with pytest.raises(ValueError, match=r"weights need .* GiB, and .*num_draws=100"):
        tfhyper.PosteriorPredictor(block_wise, 100, "widening")


def test_unknown_form_is_refused(block_wise):
    with pytest.raises(ValueError, match="averaging.*'deepening'"):
        tfhyper.PosteriorPredictor(block_wise, 2, "deepening")


@pytest.mark.parametrize("averaging", ["branching", *FORMS])
def test_layers_may_have_any_names(averaging):
    """Also those that layers beside them get, which every new process gives anew."""
    taken = ["dense", "dense_0", "dense_1", "dense_mean", "dense_wide", "dense_join"]
    taken += ["dense_0_0", "dense_activation", "mean", "dense_0_activation"]
    inputs = x = keras.Input((4,))
    for i, name in enumerate(taken):  # residual blocks of two layers
        y = HyperDense(4, seed=i, name=f"first_{name}")(x)
        y = HyperDense(4, activation="softmax" if i % 2 else None, seed=i, name=name)(y)
        x = keras.layers.Add(name=f"dense_{i + 2}")([x, y])
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense_0_1")(x))
    predictor = tfhyper.PosteriorPredictor(
        model, 2, averaging=averaging, outputs="logits", seed=3
    )
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    average = predictor.materialize_average()
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(average(rows)),
        predictor.predict(rows).mean,
        atol=1e-5,
    )
