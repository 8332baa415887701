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
    assert len(blocks) == 6
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


def _by_kind(t):
    """Returns the numbers of a `MixtureNormal(2, 3)` as a head has them."""
    rest = t[:, 2:14].reshape(-1, 2, 2, 3)
    parts = t[:, :2], rest[:, :, 0].reshape(-1, 6), rest[:, :, 1].reshape(-1, 6)
    return np.concatenate(parts, axis=-1)


def _lambda(make):
    return tfp.layers.DistributionLambda(
        lambda t: tfp.distributions.Independent(make(t), 1)
    )


def _heads():
    """Returns the lines of the table: theirs, ours, and the numbers that go in."""
    tfd, tfpl, heads = tfp.distributions, tfp.layers, tfhyper.heads
    softplus = tf.nn.softplus
    normal = tfpl.IndependentNormal(3), heads.NormalHead(3, min_scale=1e-9)
    mixture = heads.MixtureHead(2, 3, min_scale=1e-9)
    same = tfpl.MixtureSameFamily(2, tfpl.IndependentNormal(3))
    with_floor = _lambda(
        lambda t: tfd.Normal(t[..., :3], 0.1 + softplus(t[..., 3:])),
    )
    by_exp = _lambda(lambda t: tfd.Normal(t[..., :3], tf.exp(t[..., 3:])))
    laplace = _lambda(lambda t: tfd.Laplace(t[..., :3], 0.1 + softplus(t[..., 3:])))
    student_t = _lambda(
        lambda t: tfd.StudentT(
            2.001 + softplus(t[..., 6:]), t[..., :3], 1e-3 + softplus(t[..., 3:6])
        )
    )
    binomial = _lambda(
        lambda t: tfd.NegativeBinomial(
            1e-3 + softplus(t[..., 3:]),
            logits=tf.math.log(softplus(t[..., :3]) / (1e-3 + softplus(t[..., 3:]))),
        )
    )
    exp = heads.NormalHead(3, min_scale=1e-9, scale_link="exp")
    poisson = heads.PoissonHead(3, min_mean=1e-9, mean_link="exp")
    return {
        "IndependentNormal": (*normal, None),
        "DistributionLambda of Normal": (
            with_floor,
            heads.NormalHead(3, min_scale=0.1),
            None,
        ),
        "DistributionLambda with exp": (by_exp, exp, None),
        "DistributionLambda of Laplace": (
            laplace,
            heads.LaplaceHead(3, min_scale=0.1),
            None,
        ),
        "DistributionLambda of StudentT": (student_t, heads.StudentTHead(3), None),
        "MixtureNormal": (tfpl.MixtureNormal(2, 3), mixture, _by_kind),
        "MixtureSameFamily": (same, mixture, _by_kind),
        "IndependentPoisson": (tfpl.IndependentPoisson(3), poisson, None),
        "DistributionLambda of NegativeBinomial": (
            binomial,
            heads.NegativeBinomialHead(3),
            None,
        ),
        "OneHotCategorical": (
            tfpl.OneHotCategorical(3),
            heads.CategoricalHead(3),
            None,
        ),
    }


@pytest.mark.filterwarnings("ignore")
def test_heads_are_alike_one_by_one():
    for name, (old, new, reorder) in _heads().items():
        t, y = normal(4, new.units), normal(4, 3, seed=1)
        family = new.family
        if isinstance(family, tfhyper.heads.CountFamily):
            y = np.abs(np.round(3 * y))
        labels = y
        if isinstance(family, tfhyper.heads.Categorical):
            labels = np.array([[0], [1], [2], [1]], "float32")
            y = np.eye(3, dtype="float32")[labels[:, 0].astype(int)]
        theirs = old(t)
        ours = new(t if reorder is None else reorder(t))
        found = family.log_prob(keras.ops.convert_to_tensor(labels), ours)
        np.testing.assert_allclose(
            found, theirs.log_prob(y), rtol=2e-5, atol=2e-5, err_msg=name
        )
        for moment in ("mean", "variance"):
            np.testing.assert_allclose(
                getattr(family, moment)(ours),
                getattr(theirs, moment)(),
                rtol=1e-4,
                atol=1e-5,
                err_msg=name,
            )
    assert (
        tfp.layers.IndependentNormal.params_size(3) == tfhyper.heads.NormalHead(3).units
    )


def test_the_page_ends_networks_in_the_same_distribution(page):
    old, new = page["old_normal"].layers[-2], page["new_normal"].layers[-2]
    page["take_along"](old, new)
    x, y = page["x_train"][:8], page["brightness"][:8]
    # Of the means of both posteriors, by which the networks are plain ones.
    flat = x.reshape(8, -1)
    kernel, bias = (weights_of(new)[name] for name in ("kernel_mean", "bias"))
    expected = page["old_normal"].layers[-1](flat @ kernel + bias).log_prob(y)
    found = -page["new_normal"].loss.score(
        keras.ops.convert_to_tensor(y), page["head"](flat @ kernel + bias)
    )
    # The head's scale is larger by `min_scale`.
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert page["of_draws"].outputs == "distribution"
    assert page["found"].mean.shape == (64, 1)
    assert (page["lower"] < page["found"].mean).all()
    assert (page["found"].epistemic > 0).all()


def test_activity_regularizer():
    layer = tfhyper.layers.BayesDense(3, activity_regularizer="l2", kl_weight=0.0)
    y = layer(normal(2, 4))
    plain = keras.layers.Activation("linear", activity_regularizer="l2")
    plain(y)
    # Some versions of Keras divide by the batch.
    assert float(sum(plain.losses)) > 0
    assert float(sum(layer.losses)) == pytest.approx(float(sum(plain.losses)), rel=1e-5)


def test_layers_of_the_tables_exist():
    text = PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"\b(?:Bayes|Hyper)\w+", text))
    assert len(names) == 7
    for name in names:
        assert hasattr(tfhyper.layers, name)
    theirs = set(re.findall(r"\b(?:Convolution|Dense)\w+", text)) - {"Dense"}
    for name in theirs:
        assert hasattr(tfp.layers, name)
    for name in re.findall(r"`(\w*(?:Head|Likelihood|Mixture|Family))\b", text):
        assert hasattr(
            tfp.layers if name == "MixtureSameFamily" else tfhyper.heads, name
        )
