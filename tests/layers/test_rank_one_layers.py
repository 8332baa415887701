"""The layers of one kernel and rank-one factors: outputs, draws, KL, Keras."""

import copy

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers import rank_one
from tests.helpers.bayes import normal_kl, softplus, stock_layer, weights_of
from tests.helpers.layers import (
    BACKEND,
    CASES,
    OPTION_CASES,
    gradients,
    normal,
    sized,
    to_numpy,
)
from tests.helpers.rank_one import FORMS, built
from tfhyper import PosteriorPredictor, layers
from tfhyper.layers import NoiseKind, role_of, variational_layers

NAMES = ("dense", "conv1d", "conv2d", "conv3d")
DENSE = layers.RankOneDense, {"units": 4}, (6, 5)


def class_of(name):
    return getattr(layers, f"RankOne{name}")


@pytest.mark.parametrize(
    "name, form, batch",
    [
        ("dense", "point", "whole"),
        ("dense", "gaussian", "divided"),
        ("dense", "cauchy", "whole"),
        ("conv1d", "cauchy", "divided"),
        ("conv2d", "point", "divided"),
        ("conv2d", "gaussian", "whole"),
        ("conv3d", "point", "whole"),
    ],
)
def test_keras_checks_of_a_layer(name, form, batch):
    stock, sizes, inputs_shape, _ = CASES[name]
    density = form != "point"
    TestCase().run_layer_test(
        class_of(stock),
        {**sizes, **FORMS[form], "members": 2, "batch": batch},
        input_shape=inputs_shape,
        # The kernel, a bias, and for each end its factors, or locations and scales.
        expected_num_trainable_weights=6 if density else 4,
        # The counts of the draws, and the factor of the KL divergence.
        expected_num_non_trainable_weights=2 if density else 1,
        expected_num_seed_generators=0,
        expected_num_losses=1 if density else 0,
    )


@pytest.mark.parametrize(
    "name, options",
    [
        pytest.param(name, options, id=key)
        for key, (name, options) in OPTION_CASES.items()
        if name in ("Dense", "Conv1D", "Conv2D", "Conv3D")
    ],
)
def test_options_of_the_stock_layer(name, options):
    if options.get("data_format") == "channels_first":
        # Keras on TensorFlow adds the bias to the last axis if that is as long.
        options = {**options, "use_bias": False}
    options, inputs_shape = sized(name, options)
    layer, x = built(class_of(name), options, inputs_shape, batch="divided")
    members = []
    for k in range(2):
        kernel = rank_one.kernel_of_points(layer, k)
        stock = stock_layer(
            name, options, x.shape, kernel, rank_one.bias_of(layer, [k])
        )
        members.append(to_numpy(stock(x)))
    for expected in members:
        np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-4)
    # The first half of the batch, one example, is the first member's.
    expected = np.concatenate([members[0][:1], members[1][1:]])
    found = to_numpy(layer(x, training=True))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("member_bias", [True, False])
def test_a_whole_batch_has_one_member_after_another_in_training(member_bias):
    layer, x = built(*DENSE, members=3, member_bias=member_bias)
    assert weights_of(layer)["bias"].shape == ((3, 4) if member_bias else (4,))
    for count in range(4):
        kernel = rank_one.kernel_of_points(layer, count % 3)
        expected = x @ kernel + rank_one.bias_of(layer, [count % 3])
        found = to_numpy(layer(x, training=True))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        layer(x)  # what happens between steps changes nothing


@pytest.mark.parametrize("batch", ["whole", "divided"])
def test_gradients_are_those_of_the_members_examples(batch):
    layer, x = built(*DENSE, batch=batch, members=3)
    c = normal(6, 4, seed=5)

    def loss():
        return ops.sum(layer(x, training=True) * ops.convert_to_tensor(c))

    if batch == "whole":
        layer(x, training=True)  # so that the next member is number 1
    found = gradients(loss, layer.trainable_weights)
    found = {
        variable.name: gradient
        for variable, gradient in zip(layer.trainable_weights, found, strict=True)
    }
    w = weights_of(layer)
    expected = {name: np.zeros_like(w[name]) for name in found}
    for n in range(6):
        k = n // 2 if batch == "divided" else 1
        r, s = w["input_factors"][k], w["output_factors"][k]
        expected["shared_kernel"] += np.outer(x[n] * r, c[n] * s)
        expected["input_factors"][k] += x[n] * (w["shared_kernel"] @ (c[n] * s))
        expected["output_factors"][k] += c[n] * ((x[n] * r) @ w["shared_kernel"])
        expected["bias"][k] += c[n]
    assert set(found) == {"shared_kernel", "input_factors", "output_factors", "bias"}
    for name, gradient in found.items():
        np.testing.assert_allclose(
            gradient, expected[name], rtol=1e-4, atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", ["whole", "divided"])
def test_each_weight_gets_a_gradient(form, batch):
    layer, x = built(*DENSE, batch=batch, **FORMS[form])

    def loss():
        # Both members have a step.
        outputs = [layer(x, training=True) for _ in range(2)]
        return sum(ops.sum(ops.square(y)) for y in outputs) + sum(layer.losses)

    for variable, gradient in zip(
        layer.trainable_weights,
        gradients(loss, layer.trainable_weights),
        strict=True,
    ):
        assert np.isfinite(gradient).all(), variable.path
        assert (np.abs(gradient).max(axis=-1) > 0).all(), variable.path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_a_draw_is_a_member_and_a_stock_layer(name, form):
    stock, sizes, inputs_shape, _ = CASES[name]
    options = {"members": 3, "name": "it", **FORMS[form]}
    if "filters" in sizes:
        options["groups"] = 2
    layer, x = built(class_of(stock), sizes, inputs_shape, **options)
    assert layer.noise_kind is NoiseKind.CODE and layer.mean_noise() is None
    assert layer.distinct_draws == (3 if form == "point" else None)
    for index in (0, 1, 2, 4):
        noise = layer.sample_noise(12, index)
        assert noise.dtype == "float32" and noise[0] == index % 3
        kernel, bias = (to_numpy(x) for x in layer.point_weights(noise))
        expected = rank_one.kernel_of(layer, noise)
        np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(bias, to_numpy(layer.bias)[index % 3])
    other, _ = layer.point_weights(layer.sample_noise(13, 4))
    same = np.array_equal(to_numpy(other), kernel)
    assert same == (form == "point")
    point = layer.point_layer()
    assert type(point) is layer.point_class and point.name == "it"
    point.build(x.shape)
    point.set_weights([kernel, bias])


@pytest.mark.parametrize("form", ["gaussian", "cauchy"])
def test_noise_has_the_distribution_that_the_posterior_says(form):
    import scipy.stats

    layer, _ = built(layers.RankOneDense, {"units": 600}, (1, 900), **FORMS[form])
    drawn = [
        layer.sample_noise(1),
        to_numpy(layer.fresh_noise(ops.array(1), ops.array(2), ops.array(3))),
    ]
    known = scipy.stats.norm if form == "gaussian" else scipy.stats.cauchy
    for noise in drawn:
        assert noise.shape == (1501,)
        assert scipy.stats.kstest(noise[1:], known.cdf).pvalue > 0.01
    assert [noise[0] for noise in drawn] == [0, 1]


def locations_and_scales(layer, members=slice(None)):
    """Yields those of r and of s: all members', or one's."""
    weights = weights_of(layer)
    for name in ("input_factors", "output_factors"):
        location = weights[f"{name}_location"][members].ravel()
        yield location, softplus(weights[f"{name}_rho"][members]).ravel()


def test_examples_of_a_divided_batch_have_draws_of_their_own():
    count = 3000
    layer, _ = built(*DENSE, batch="divided", **FORMS["gaussian"], use_bias=False)
    x = np.broadcast_to(normal(1, 5), (2 * count, 5))
    found = to_numpy(layer(x, training=True)).reshape(2, count, 4)
    for k in range(2):
        noises = normal(count, 9, seed=k)
        parts = locations_and_scales(layer, k)
        r, s = (
            location + scale * noise
            for (location, scale), noise in zip(
                parts, np.split(noises, [5], axis=1), strict=True
            )
        )
        drawn = ((x[0] * r) @ weights_of(layer)["shared_kernel"]) * s
        spread = drawn.std(0)
        # Five standard errors of both means, and of both deviations.
        error = np.abs(found[k].mean(0) - drawn.mean(0))
        assert (error < 5 * spread * np.sqrt(2 / count)).all()
        np.testing.assert_allclose(found[k].std(0), spread, rtol=0.1)
    # One draw for all examples of the member otherwise.
    layer, _ = built(*DENSE, **FORMS["gaussian"])
    for training in (True, False):
        y = to_numpy(layer(x[:9], training=training))
        np.testing.assert_allclose(y, np.broadcast_to(y[:1], y.shape), atol=1e-5)


def test_kl_of_gaussian_factors_is_tensorflow_probabilitys():
    tfd = pytest.importorskip("tensorflow_probability").distributions
    layer, _ = built(*DENSE, members=3, posterior="gaussian", prior_scale=0.3)
    found = float(to_numpy(layer.kl_divergence()))
    expected = formula = 0.0
    for location, scale in locations_and_scales(layer):
        q, p = tfd.Normal(location, scale), tfd.Normal(np.float64(1), np.float64(0.3))
        expected += np.sum(tfd.kl_divergence(q, p)) / 3
        formula += normal_kl(location, scale, 1, 0.3) / 3
    assert found == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(formula, rel=1e-5)


def test_kl_of_cauchy_factors_is_that_of_numeric_integration():
    from scipy.integrate import quad
    from scipy.stats import cauchy

    layer, _ = built(*DENSE, posterior="cauchy", prior_scale=0.3)
    expected = 0.0
    for location, scale in locations_and_scales(layer):
        for m, s in zip(location, scale, strict=True):
            # Over the quantiles of q: the tails are of any length.
            def ratio(u, m=m, s=s):
                w = cauchy.ppf(u, m, s)
                return cauchy.logpdf(w, m, s) - cauchy.logpdf(w, 1, 0.3)

            expected += quad(ratio, 0, 1, limit=200)[0] / 2
    found = float(to_numpy(layer.kl_divergence()))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", ["gaussian", "cauchy"])
def test_the_loss_has_the_weighted_kl_once_and_none_at_the_prior(form):
    layer, x = built(*DENSE, **{**FORMS[form], "kl_weight": 0.25})
    for _ in range(2):
        layer(x, training=True)
        (loss,) = layer.losses
        expected = 0.25 * float(to_numpy(layer.kl_divergence()))
        assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-6)
    for factors in (layer.input_factors, layer.output_factors):
        factors.location.assign(np.ones(factors.location.shape))
        # softplus(rho) = prior_scale
        factors.rho.assign(np.full(factors.rho.shape, np.log(np.expm1(0.1))))
    assert float(to_numpy(layer.losses[0])) == pytest.approx(0, abs=1e-4)
    layer.trainable = False
    assert not layer.losses


def test_points_have_no_kl_and_no_layer_with_one():
    layer, _ = built(*DENSE, kernel_regularizer=keras.regularizers.L2(0.5))
    (loss,) = layer.losses
    # The regularizer is that of the kernel that members have in common.
    expected = 0.5 * np.square(weights_of(layer)["shared_kernel"]).sum()
    assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-5)
    assert variational_layers(layer) == []
    with pytest.raises(ValueError, match="no KL divergence.*posterior='point'"):
        layer.kl_divergence()


def test_weight_decay_reaches_the_kernel_and_no_factors():
    layer, _ = built(*DENSE, **FORMS["gaussian"])
    without = {v.name for v in layer.trainable_weights if role_of(v) is None}
    assert without == {"shared_kernel", "bias"}


def test_factors_start_around_one():
    def start(**options):
        layer = layers.RankOneDense(500, members=4, **options)
        layer.build((None, 700))
        parts = layer.input_factors, layer.output_factors
        return np.concatenate([to_numpy(x.location).ravel() for x in parts]), layer

    keras.utils.set_random_seed(0)
    # 4800 numbers: five standard errors are 0.04 of the mean, 5 % of the deviation.
    for options, spread in (
        ({}, 0.5),
        ({"posterior": "gaussian"}, 0.1),
        ({"posterior": "cauchy", "prior_scale": 0.2}, 0.2),
        ({"factor_spread": 0.3}, 0.3),
    ):
        values, _ = start(**options)
        assert values.mean() == pytest.approx(1, abs=0.08 * spread)
        assert values.std() == pytest.approx(spread, rel=0.06)
    values, layer = start(factor_spread=0.0, random_signs=True, posterior="gaussian")
    assert set(np.unique(values)) == {-1.0, 1.0} and abs(values.mean()) < 0.08
    scales = softplus(to_numpy(layer.input_factors.rho))
    np.testing.assert_allclose(scales, 0.0316, rtol=1e-4)


def test_set_mean_is_the_network_of_factors_of_one():
    kernel, bias = normal(5, 4, seed=1), normal(4, seed=2)
    for options, exact in (
        ({}, True),
        ({"member_bias": False}, True),
        ({"random_signs": True}, True),
        ({"factor_spread": 0.1, "random_signs": True}, False),
    ):
        layer, x = built(*DENSE, **options)
        if not exact:
            locations = to_numpy(layer.input_factors.location)
        layer.set_mean(kernel, bias)
        if exact:
            for _ in range(2):
                np.testing.assert_allclose(
                    to_numpy(layer(x)), x @ kernel + bias, atol=1e-5
                )
        else:
            found = to_numpy(layer.input_factors.location)
            np.testing.assert_array_equal(found, np.abs(locations))
    layer = layers.RankOneDense(4, use_bias=False)
    layer.build((None, 5))
    layer.set_mean(kernel)


def test_one_member():
    layer, x = built(*DENSE, members=1)
    assert not layer.is_random and layer.distinct_draws == 1
    (kernel, bias) = layer.point_weights(layer.sample_noise(3, 4))
    np.testing.assert_allclose(
        x @ to_numpy(kernel) + to_numpy(bias), to_numpy(layer(x)), rtol=1e-4, atol=1e-5
    )
    # The mean of independent factors' product is the product of their means.
    layer, _ = built(*DENSE, members=1, **FORMS["gaussian"])
    kernel = to_numpy(layer.point_weights(layer.mean_noise())[0])
    expected = rank_one.kernel_of_points(layer, 0)
    np.testing.assert_allclose(kernel, expected, rtol=1e-4)
    layer, _ = built(*DENSE, members=1, **FORMS["cauchy"])
    assert layer.is_random and layer.mean_noise() is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", ["whole", "divided"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_has_factors_in_float32(form, batch, policy):
    options = {"batch": batch, **FORMS[form]}
    layer, x = built(*DENSE, dtype=policy, **options)
    exact, _ = built(*DENSE, **options)
    exact.set_weights(layer.get_weights())
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    rounding = {"mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}[policy]
    for training in (False, True):
        found = layer(x, training=training)
        assert keras.backend.standardize_dtype(found.dtype) == policy[len("mixed_") :]
        expected = to_numpy(exact(x, training=training))
        error = np.abs(to_numpy(ops.cast(found, "float32")) - expected).max()
        # Of a sum of five products, of roundings of four factors of a size below 10.
        assert 0 < error < 50 * rounding


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(dtype):
    for batch in ("whole", "divided"):
        layer, x = built(*DENSE, dtype=dtype, batch=batch, **FORMS["gaussian"])
        for training in (True, False):
            outputs = ops.cast(layer(x, training=training), "float32")
            assert np.isfinite(to_numpy(outputs)).all()


def test_a_batch_that_the_members_do_not_divide():
    layer, _ = built(*DENSE, members=4, batch="divided")
    match = r"`members` must divide the batch.*members=4, a batch of 6 \(layer"
    with pytest.raises(ValueError, match=match):
        layer(normal(6, 5), training=True)
    layer(normal(6, 5))
    layer(normal(8, 5), training=True)
    # The last batch of an epoch: parts that differ by one.
    x = normal(6, 5)
    kernels = [rank_one.kernel_of_points(layer, k) for k in (0, 0, 1, 2, 2, 3)]
    biases = to_numpy(layer.bias)[[0, 0, 1, 2, 2, 3]]
    expected = np.stack([a @ k for a, k in zip(x, kernels, strict=True)]) + biases
    found = to_numpy(layer(x, training=True))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # In `fit` before a step is made.
    model = keras.Sequential(
        [keras.Input((5,)), layers.RankOneDense(4, batch="divided")]
    )
    model.compile("sgd", "mse")
    before = [to_numpy(w).copy() for w in model.trainable_weights]
    with pytest.raises(ValueError, match="a batch of 6"):
        model.fit(normal(12, 5), normal(12, 4), batch_size=6, verbose=0)
    # JAX holds the weights elsewhere while it fits, and not here after an error.
    for weight, value in zip(model.trainable_weights, before, strict=True):
        assert BACKEND == "jax" or np.array_equal(to_numpy(weight), value)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"posterior": "laplace"}, "`posterior` must be one of"),
        ({"members": 0}, "`members` must be a positive"),
        ({"members": 2.0}, "`members` must be a positive"),
        ({"batch": "parts"}, "`batch` must be one of"),
        ({"member_bias": 1}, "`member_bias` must be True or False"),
        ({"factor_spread": -0.1}, "`factor_spread` must be a finite number >= 0"),
        ({"random_signs": None}, "`random_signs` must be True or False"),
        ({"prior_scale": 0}, "`prior_scale` must be a finite number > 0"),
        ({"initial_scale": 0}, "`initial_scale` must be a finite number > 0"),
        ({"kl_weight": -1}, "`kl_weight` must be"),
        ({"seed": -1}, "`seed` must be"),
        ({"units": 0}, "`units` must be a positive"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_bad_arguments_are_refused_at_the_door(options, match):
    with pytest.raises(ValueError, match=match):
        layers.RankOneDense(**{"units": 3, **options})


@pytest.fixture(scope="module", params=["point", "gaussian"])
def trained(request):
    """A small network, its data, and what it was like before its training."""
    keras.utils.set_random_seed(0)
    x = normal(36, 4, 4, 2)
    y = (x[:, 1, 1, 0] > x[:, 2, 2, 1]).astype("int32")
    options = {**FORMS[request.param], "members": 3, "batch": "divided"}
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.RankOneConv2D(4, 3, activation="relu", name="conv", **options),
            keras.layers.Flatten(),
            layers.RankOneDense(2, name="dense", **options),
        ]
    )
    before = copy.deepcopy(model.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    history = model.fit(x, y, batch_size=12, epochs=8, verbose=0, shuffle=False)
    return model, x, before, history.history["loss"]


def test_training_lowers_the_loss_and_moves_every_member(trained):
    model, _, before, losses = trained
    assert losses[-1] < losses[0]
    for weight, old in zip(model.weights, before, strict=True):
        if weight.trainable and ("factors" in weight.name or weight.name == "bias"):
            moved = np.abs(to_numpy(weight) - old).max(axis=-1)
            assert (moved > 1e-4).all(), weight.path


def test_a_predictors_members_are_plain_networks(trained):
    model, x, *_ = trained
    point = model.layers[0].posterior == "point"
    predictor = PosteriorPredictor(model, seed=5)
    assert predictor.num_draws == (3 if point else 16)
    predictor = PosteriorPredictor(model, 4, seed=5)
    prediction = predictor.predict(x)
    for i, draw in enumerate(predictor.draws):
        plain = predictor.materialize(i)
        kinds = [type(layer).__name__ for layer in plain.layers[1:]]
        assert kinds == ["Conv2D", "Flatten", "Dense"]
        # Stock layers with kernels that NumPy made.
        for layer in (model.layers[0], model.layers[2]):
            noise = draw.noise[layer.name]
            assert noise[0] == i % 3
            plain.get_layer(layer.name).set_weights(
                [rank_one.kernel_of(layer, noise), rank_one.bias_of(layer, noise)]
            )
        expected = to_numpy(ops.softmax(plain.predict(x, verbose=0)))
        np.testing.assert_allclose(prediction.members[i], expected, atol=1e-5)
    assert np.array_equal(prediction.members[0], prediction.members[3]) == point
    assert prediction.epistemic.max() > 1e-4
    if point:
        with pytest.raises(ValueError, match="`deterministic=True` needs"):
            PosteriorPredictor(model, deterministic=True)


def test_model_and_predictor_come_back_from_their_files(trained, tmp_path):
    model, x, *_ = trained
    model.save(tmp_path / "model.keras")
    copied = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.layers, copied.layers, strict=True):
        assert a.get_config() == b.get_config()
    for training in (False, True, False):
        found = to_numpy(copied(x, training=training))
        expected = to_numpy(model(x, training=training))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    predictor = PosteriorPredictor(copied, seed=1)
    expected = predictor.predict(x).members
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    assert loaded.num_draws == predictor.num_draws
    np.testing.assert_allclose(loaded.predict(x).members, expected, atol=1e-6)


def test_views_and_members_together():
    layer = layers.RankOneConv2D(2, 3, members=3, padding="same")
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layer, keras.layers.GlobalMaxPooling2D()]
    )
    augment = layers.Augment.flips()
    predictor = PosteriorPredictor(model, augment=augment, outputs="logits")
    # Each view with each member: the least common multiple.
    pairs = {
        (int(d.noise[layer.name][0]), int(d.noise[augment.name][0, 0]))
        for d in predictor.draws
    }
    assert predictor.num_draws == len(pairs) == 6
