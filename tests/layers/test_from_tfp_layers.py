"""The page on coming from tfp.layers: its code runs, and what it says is so."""

import os
import pathlib
import re
import warnings

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.bayes import bayes_class, softplus, weights_of
from tests.helpers.layers import BACKEND, normal

if BACKEND != "tensorflow":
    pytest.skip("tfp.layers needs TensorFlow", allow_module_level=True)

import tensorflow as tf  # noqa: E402
import tensorflow_probability as tfp  # noqa: E402
import tf_keras  # noqa: E402

PAGE = pathlib.Path(tfhyper.__file__).parents[1] / "examples" / "from-tfp-layers.md"
DRAWS = 500


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The names that the page's blocks leave behind, run one after the other."""
    keras.utils.set_random_seed(1)
    tf.random.set_seed(1)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    names, folder = {"folder": tmp_path_factory.mktemp("page")}, os.getcwd()
    os.chdir(names["folder"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TFP's own
            for i, block in enumerate(blocks):
                exec(compile(block, f"{PAGE.name}, block {i + 1}", "exec"), names)
    finally:
        os.chdir(folder)
    return names


def draw(layer, x, **options):
    """Returns the outputs of DRAWS calls."""
    call = tf.function(lambda: layer(x, **options))
    return np.stack([call().numpy() for _ in range(DRAWS)])


def check_same_distribution(found, expected):
    """Means and deviations within five standard errors; outputs by a KS test."""
    stats = pytest.importorskip("scipy.stats")
    variances = found.var(axis=0), expected.var(axis=0)
    error = np.sqrt(sum(variances) / DRAWS)
    gap = np.abs(found.mean(axis=0) - expected.mean(axis=0))
    assert np.all(gap < 5 * error + 1e-6)
    # The variance of a variance, from the fourth moment: outputs are not normal.
    fourth = sum(
        np.mean((y - y.mean(axis=0)) ** 4, axis=0) - y.var(axis=0) ** 2
        for y in (found, expected)
    )
    error = np.sqrt(fourth / DRAWS)
    assert np.all(np.abs(variances[0] - variances[1]) < 5 * error + 1e-9)
    found, expected = (y.reshape(DRAWS, -1) for y in (found, expected))
    moving = np.flatnonzero(expected.std(axis=0) > 1e-3)
    for i in moving[:: max(1, len(moving) // 8)]:
        assert stats.ks_2samp(found[:, i], expected[:, i]).pvalue > 1e-4


def test_both_networks_have_the_same_posterior(page):
    assert len(page["pairs"]) == 5
    for old, new in page["pairs"][:-1]:
        posterior = old.kernel_posterior.distribution
        weights = weights_of(new)
        np.testing.assert_array_equal(weights["kernel_mean"], posterior.loc)
        # Float32 rounds both rho and the deviation made of it.
        np.testing.assert_allclose(
            softplus(weights["kernel_rho"]), posterior.scale, rtol=2e-6
        )
        assert np.ptp(weights["kernel_rho"]) > 0.1


def test_both_networks_have_the_same_kl_divergence(page):
    page["old"](page["x_test"])
    old, new = page["old"].losses, page["new"].losses
    # TFP's layers add one for the kernel and, without a prior, none for the bias.
    assert len(old) == len(new) == 5
    np.testing.assert_allclose(new, old, rtol=1e-6)
    divergences = [float(layer.kl_divergence()) for _, layer in page["pairs"]]
    expected = np.array(old) * page["num_train"]
    np.testing.assert_allclose(divergences, expected, rtol=1e-6)


def test_both_networks_have_outputs_of_the_same_distribution(page):
    x = page["x_test"][:4]
    # In training, because TFP's layers use their estimators in prediction, too.
    found = draw(page["new"], x, training=True)
    expected = draw(page["old"], x)
    assert expected.std(axis=0).min() > 0.1
    check_same_distribution(found, expected)
    # One example alone has the same distribution outside of training.
    check_same_distribution(draw(page["new"], x[:1]), expected[:, :1])


def test_what_the_page_saves_loads(page):
    model = keras.saving.load_model(page["folder"] / "bayes.keras")
    assert model.predict(page["x_test"], verbose=0).shape == (64, 10)
    assert np.isfinite(page["prediction"].mean).all()


LAYERS = {
    "Convolution1DReparameterization": "Conv1D",
    "Convolution2DReparameterization": "Conv2D",
    "Convolution3DReparameterization": "Conv3D",
    "Convolution1DFlipout": "Conv1D",
    "Convolution2DFlipout": "Conv2D",
    "Convolution3DFlipout": "Conv3D",
    "DenseReparameterization": "Dense",
    "DenseLocalReparameterization": "Dense",
    "DenseFlipout": "Dense",
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_layers_are_alike_one_by_one(page, name):
    kind = LAYERS[name]
    estimator = {"F": "flipout", "L": "local_reparameterization"}.get(
        re.sub("^(Dense|Convolution.D)", "", name)[0], "reparameterization"
    )
    options, shape = {"units": 3}, (2, 5)
    if kind != "Dense":
        rank = int(kind[-2])
        options = {"filters": 3, "kernel_size": 2, "strides": 2, "padding": "same"}
        shape = (2, *[3] * rank, 2)
    tfd = tfp.distributions
    gaussian = tfp.layers.default_mean_field_normal_fn
    old = getattr(tfp.layers, name)(
        **options,
        activation="tanh",
        kernel_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p) / 7,
        bias_posterior_fn=gaussian(),
        bias_prior_fn=tfp.layers.default_multivariate_normal_fn,
        bias_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p) / 7,
    )
    new = bayes_class(kind)(
        **options,
        activation="tanh",
        estimator=estimator,
        bias_posterior="gaussian",
        kl_weight=1 / 7,
    )
    x = normal(*shape)
    old(x), new.build(shape)
    page["take_along"](old, new)
    assert float(sum(new.losses)) == pytest.approx(float(sum(old.losses)), rel=1e-6)
    check_same_distribution(draw(new, x, training=True), draw(old, x))
    # Where TFP's layers start, as the page says.
    scale = old.kernel_posterior.distribution.scale.numpy()
    assert np.mean(scale) == pytest.approx(0.049, rel=0.1)
    assert old.kernel_posterior.distribution.loc.numpy().std() == pytest.approx(
        0.1, rel=0.6
    )


@pytest.mark.filterwarnings("ignore")
def test_what_the_page_says_of_losses():
    def twice(layer, kit):
        x = kit.Input((4,))
        return kit.Model(x, layer(layer(x)))

    dense = tfp.layers.DenseFlipout(4)
    assert dense.losses == []
    assert len(twice(dense, tf_keras).losses) == 2
    layer = tfhyper.layers.BayesDense(4)
    layer.build((None, 4))
    assert len(layer.losses) == len(twice(layer, keras).losses) == 1


def test_activity_regularizer():
    layer = tfhyper.layers.BayesDense(3, activity_regularizer="l2", kl_weight=0.0)
    y = layer(normal(2, 4)).numpy()
    expected = 0.01 * np.sum(y**2) / 2  # Keras divides by the batch
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-5)


def test_layers_of_the_tables_exist():
    text = PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"\b(?:Bayes|Hyper)\w+", text))
    assert len(names) == 7
    for name in names:
        assert hasattr(tfhyper.layers, name)
    theirs = set(re.findall(r"\b(?:Convolution|Dense)\w+", text)) - {"Dense"}
    for name in theirs:
        assert hasattr(tfp.layers, name)
