"""Pruned weights against NumPy's own ranking, and what pruning leaves alone."""

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.helpers.bayes import softplus
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
from tfhyper.pruning import prune

LAYERS = ("conv", "hidden", "logits")


def scores(model, by_noise=False):
    found = {}
    for name in LAYERS:
        names = [w.name for w in model.get_layer(name).weights]
        if "kernel_mean" not in names:
            if not by_noise:
                found[name] = np.abs(weight(model, name, "kernel"))
            continue
        found[name] = np.abs(weight(model, name, "kernel_mean"))
        if by_noise:
            found[name] = found[name] / softplus(weight(model, name, "kernel_rho"))
    return found


def mask_of(model, name):
    names = [w.name for w in model.get_layer(name).weights]
    if "kernel_mask" in names:
        return weight(model, name, "kernel_mask") == 1
    return weight(model, name, "kernel") != 0


@pytest.mark.parametrize("network", [plain_network, bayes_network])
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.77])
def test_the_fraction_with_the_smallest_magnitudes_goes(network, fraction):
    model = network()
    pruned = prune(model, fraction=fraction)
    expected = scores(model)
    ranked = np.sort(np.concatenate([s.ravel() for s in expected.values()]))
    count = round(fraction * ranked.size)
    masks = {name: mask_of(pruned, name) for name in LAYERS}
    assert sum((~mask).sum() for mask in masks.values()) == count
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[name] > ranked[count - 1])


@pytest.mark.parametrize("network", [plain_network, bayes_network])
def test_a_threshold_takes_what_is_not_above_it(network):
    model = network()
    expected = scores(model)
    threshold = float(expected["hidden"].ravel()[3])  # itself goes, too
    pruned = prune(model, threshold=threshold)
    for name in LAYERS:
        np.testing.assert_array_equal(mask_of(pruned, name), expected[name] > threshold)
    assert not mask_of(pruned, "hidden").ravel()[3]


def test_of_equal_weights_the_first_go():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5),
        ]
    )
    model.layers[0].kernel.assign(np.full((4, 5), -0.5))
    pruned = prune(model, fraction=0.35)
    expected = np.where(np.arange(20).reshape(4, 5) < 7, 0, -0.5)
    np.testing.assert_array_equal(to_numpy(pruned.layers[1].kernel), expected)


def test_each_layer_by_itself():
    model = plain_network()
    pruned = prune(model, fraction=0.5, scope="layer")
    for name, score in scores(model).items():
        count = round(score.size / 2)
        assert (~mask_of(pruned, name)).sum() == count
        expected = score > np.sort(score.ravel())[count - 1]
        np.testing.assert_array_equal(mask_of(pruned, name), expected)


def test_signal_to_noise_picks_by_the_ratio_and_leaves_stock_layers():
    model = bayes_network()
    pruned = prune(model, fraction=0.4, criterion="signal_to_noise")
    expected = scores(model, by_noise=True)
    assert list(expected) == ["conv", "hidden"]
    ranked = np.sort(np.concatenate([s.ravel() for s in expected.values()]))
    limit = ranked[round(0.4 * ranked.size) - 1]
    for name, score in expected.items():
        np.testing.assert_array_equal(mask_of(pruned, name), score > limit)
    assert mask_of(pruned, "logits").all()
    magnitude = prune(model, fraction=0.4, keep=["logits"])
    different = mask_of(magnitude, "hidden") != mask_of(pruned, "hidden")
    assert different.mean() > 0.05


def test_signal_to_noise_prefers_the_sure_small_weight():
    layer = layers.BayesDense(2, use_bias=False, name="dense")
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.kernel_posterior.mean.assign([[0.1, 0.5]])
    layer.kernel_posterior.rho.assign([[-5.0, 1.0]])  # sigma 0.007, 1.3
    kept = {
        criterion: weight(
            prune(model, fraction=0.5, criterion=criterion), "dense", "kernel_mask"
        ).tolist()
        for criterion in ("magnitude", "signal_to_noise")
    }
    assert kept == {"magnitude": [[0, 1]], "signal_to_noise": [[1, 0]]}


@pytest.mark.parametrize("network", [plain_network, bayes_network])
def test_the_model_is_untouched_and_all_else_is_carried(network):
    model = network()
    model.compile("adam", "mse")
    model.get_layer("hidden").trainable = False
    before = values(model)
    pruned = prune(model, fraction=0.5, keep=["logits"])
    assert_untouched(model, before)
    assert not pruned.compiled
    assert pruned.name == model.name
    assert not pruned.get_layer("hidden").trainable
    assert pruned.get_layer("conv").trainable
    for layer in model.layers:
        for variable in layer.variables:
            name = variable.name
            copy = weight(pruned, layer.name, name)
            mask = np.array(True)
            if name.startswith("kernel"):
                mask = mask_of(pruned, layer.name)
            np.testing.assert_array_equal(copy, to_numpy(variable) * mask)
    x = images()
    pruned(x, training=True)
    assert_untouched(model, before)


def test_every_kind_of_layer():
    x = keras.Input((8, 8, 2))
    y = keras.layers.DepthwiseConv2D(3, name="a")(x)
    y = keras.layers.Conv2DTranspose(3, 3, name="b")(y)
    y = layers.BayesDepthwiseConv2D(3, seed=0, name="c")(y)
    y = layers.BayesConv2DTranspose(2, 3, seed=0, name="d")(y)
    y = keras.layers.Reshape((8, 8, 2, 1))(y)
    y = keras.layers.Conv3D(2, 2, name="e")(y[:, :, :, :2])
    y = layers.BayesConv3D(2, (2, 2, 1), seed=0, name="f")(y)
    y = keras.layers.Reshape((36, 2))(y)
    y = keras.layers.Conv1D(3, 2, name="g")(y)
    y = layers.BayesConv1D(2, 2, seed=0, name="h")(y)
    model = randomise(keras.Model(x, y))
    pruned = prune(model, fraction=0.5, scope="layer")
    for name in "abcdefgh":
        mask = mask_of(pruned, name)
        assert (~mask).sum() == round(mask.size / 2)
    assert pruned(images(2, shape=(8, 8, 2))).shape == (2, 34, 2)


def test_a_nested_model_and_a_shared_layer():
    shared = keras.layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inner")])
    x = keras.Input((4,))
    model = randomise(keras.Model(x, shared(inner(shared(x)))))
    pruned = prune(model, fraction=0.5)
    assert [x.name for x in pruned.layers[1:]] == ["shared", "inner"]
    kernels = [to_numpy(shared.kernel), to_numpy(inner.layers[0].kernel)]
    limit = np.median(np.abs(kernels))
    shared_kernel, kernel = (k * (np.abs(k) > limit) for k in kernels)
    biases = [to_numpy(shared.bias), to_numpy(inner.layers[0].bias)]
    data = images(3, shape=(4,))
    expected = data @ shared_kernel + biases[0]
    expected = (expected @ kernel + biases[1]) @ shared_kernel + biases[0]
    np.testing.assert_allclose(to_numpy(pruned(data)), expected, atol=1e-5)


def test_pruning_again_adds_up():
    for network in (plain_network, bayes_network):
        once = prune(network(), fraction=0.3, keep=["logits"])
        twice = prune(once, fraction=0.6, keep=["logits"])
        less = prune(once, fraction=0.1, keep=["logits"])
        for name in ("conv", "hidden"):
            assert not (mask_of(twice, name) & ~mask_of(once, name)).any()
            np.testing.assert_array_equal(mask_of(less, name), mask_of(once, name))
        counts = [mask_of(twice, name).sum() for name in ("conv", "hidden")]
        sizes = [mask_of(twice, name).size for name in ("conv", "hidden")]
        assert sum(sizes) - sum(counts) == round(0.6 * sum(sizes))


@pytest.mark.parametrize("network", [plain_network, bayes_network])
def test_a_pruned_model_is_saved_and_loaded(network, tmp_path):
    pruned = prune(network(), fraction=0.5)
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.saving.load_model(tmp_path / "pruned.keras")
    assert_untouched(loaded, values(pruned))
    x = images()
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(pruned(x)))


def test_draws_of_a_pruned_model():
    model = bayes_network()
    pruned = prune(model, fraction=0.5)
    options = {"num_draws": 3, "batch_norm": "moving_average", "seed": 5}
    predictor = PosteriorPredictor(pruned, **options)
    assert predictor.predict(images()).mean.shape == (6, 3)
    whole = PosteriorPredictor(model, **options)
    for name in LAYERS:
        mask = mask_of(pruned, name)
        kernel = to_numpy(predictor.materialize(1).get_layer(name).kernel)
        drawn = to_numpy(whole.materialize(1).get_layer(name).kernel)
        np.testing.assert_array_equal(kernel, drawn * mask)
        assert (kernel[mask] != 0).all()


def test_the_next_draw_is_that_of_the_model():
    model = bayes_network()
    model(images())
    pruned = prune(model, threshold=0.0)
    np.testing.assert_allclose(
        to_numpy(pruned(images())), to_numpy(model(images())), atol=1e-6
    )


def test_a_network_with_a_generated_kernel_is_refused_with_a_way_out():
    model = models.wide_resnet(10, 1, input_shape=IMAGE, kit="hyper")
    with pytest.raises(ValueError, match="materialize") as error:
        prune(model, fraction=0.5)
    assert "HyperConv2D" in str(error.value)
    plain = PosteriorPredictor(model, 1, batch_norm="moving_average").materialize(0)
    pruned = prune(plain, fraction=0.5)
    assert sum((to_numpy(w) == 0).sum() for w in pruned.trainable_weights) > 30_000


@pytest.mark.parametrize(
    ("layer", "description"),
    [
        (layers.HyperDense, "whose kernel is generated"),
        (layers.BayesHyperDense, "whose filters have random scales"),
        (layers.MNFDense, "whose Gaussian kernel is multiplied by random numbers"),
    ],
)
def test_the_refusal_says_what_is_true_of_each_kernel(layer, description):
    model = keras.Sequential([keras.Input((3,)), layer(2, name="it")])
    with pytest.raises(ValueError, match=f"'it' .{layer.__name__}., {description}"):
        prune(model, fraction=0.5)


def test_a_bayesian_residual_network():
    kit = kits.bayes(num_examples=100)
    model = models.wide_resnet(10, 1, input_shape=IMAGE, kit=kit)
    pruned = prune(model, fraction=0.5, criterion="signal_to_noise")
    masks = [to_numpy(w) for w in pruned.weights if w.name == "kernel_mask"]
    kept = sum(mask.sum() for mask in masks)
    assert kept == sum(mask.size for mask in masks) / 2
    assert np.isfinite(to_numpy(pruned(images()))).all()


@pytest.mark.parametrize(
    "options, layer",
    [
        ({"fraction": 0.9999}, "conv"),  # rounds to all of them
        ({"fraction": 0.1}, "logits"),
        ({"threshold": 0.01}, "logits"),
        ({"threshold": 2.0, "scope": "layer"}, "conv"),
    ],
)
def test_pruning_to_nothing_names_the_layer(options, layer):
    model = plain_network()
    kernel = model.get_layer("logits").kernel
    kernel.assign(kernel * 0.001)
    before = values(model)
    with pytest.raises(ValueError, match=f"Nothing would be left of layer '{layer}'"):
        prune(model, **options)
    assert_untouched(model, before)
    if layer == "logits":
        assert mask_of(prune(model, **options, keep=["logits"]), "logits").all()


def test_the_only_weight_of_a_layer():
    model = randomise(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="its 1 weights.*fraction=0.6"):
        prune(model, fraction=0.6, scope="layer")


def test_a_layer_that_is_all_zero_is_named():
    model = plain_network()
    model.get_layer("hidden").kernel.assign(np.zeros((54, 5)))
    with pytest.raises(ValueError, match="layer 'hidden': all its 270 weights"):
        prune(model, threshold=0.0)
    pruned = prune(model, threshold=0.0, keep=["hidden"])
    assert not mask_of(pruned, "hidden").any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "Exactly one of `threshold` and `fraction`"),
        ({"threshold": 0.1, "fraction": 0.1}, "Exactly one"),
        ({"threshold": -0.1}, "`threshold` must be.*-0.1"),
        ({"threshold": float("nan")}, "`threshold` must be"),
        ({"threshold": float("inf")}, "`threshold` must be"),
        ({"threshold": "0.1"}, "`threshold` must be"),
        ({"fraction": 0.0}, "`fraction` must be.*fraction=0.0"),
        ({"fraction": 1.0}, "`fraction` must be"),
        ({"fraction": 1}, "`fraction` must be"),
        ({"fraction": "half"}, "`fraction` must be.*'half'"),
        ({"fraction": 0.5, "criterion": "l1"}, "`criterion` must be one of"),
        ({"fraction": 0.5, "scope": "block"}, "`scope` must be one of"),
        ({"fraction": 0.5, "keep": ["norm"]}, "`keep` must be.*'norm'"),
        ({"fraction": 0.5, "keep": "conv"}, "`keep` must be a list.*'conv'"),
        ({"fraction": 0.5, "keep": LAYERS}, "a kernel that is not in `keep`"),
        ({"fraction": 0.5, "criterion": "signal_to_noise"}, "a Gaussian posterior"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        prune(plain_network(), **options)


def test_bad_models():
    with pytest.raises(TypeError, match="functional or Sequential"):
        prune(keras.layers.Dense(3), fraction=0.5)
    with pytest.raises(TypeError, match="must be built"):
        prune(keras.Sequential([keras.layers.Dense(3)]), fraction=0.5)
    with pytest.raises(ValueError, match="layer with a kernel"):
        prune(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()]), fraction=0.5)
    model = plain_network()
    model.get_layer("hidden").kernel.assign(np.full((54, 5), np.nan))
    with pytest.raises(ValueError, match="kernel of layer 'hidden'.*finite"):
        prune(model, fraction=0.5)
    model = plain_network()
    model.get_layer("hidden").enable_lora(2)
    with pytest.raises(ValueError, match="LoRA.*'hidden'"):
        prune(model, fraction=0.5)


def test_a_prior_of_several_weights_is_refused_unless_the_layer_is_kept():
    prior = tfp.distributions.MultivariateNormalDiag(np.zeros(5, "float32"))
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BayesDense(5, prior=prior, name="joint"),
            layers.BayesDense(5, name="single"),
        ]
    )
    with pytest.raises(ValueError, match="'joint' cannot be pruned.*event_shape"):
        prune(model, fraction=0.5)
    pruned = prune(model, fraction=0.5, keep=["joint"])
    assert not pruned.get_layer("joint").pruned
    assert mask_of(pruned, "single").sum() == 13
