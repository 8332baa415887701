"""Heads as Keras layers: their checks, files, precision, and the draws of a network."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

import tfhyper
from tests.helpers.heads import FAMILIES, HEADS, raw_of, targets_of
from tests.helpers.layers import to_numpy
from tfhyper import heads, layers


@pytest.mark.parametrize("name", HEADS)
def test_keras_checks_of_a_layer(name):
    head, arguments = HEADS[name]
    units = FAMILIES[name].units
    TestCase().run_layer_test(
        head,
        arguments,
        input_shape=(2, 3, units),
        expected_output_shape=(2, 3, units),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        supports_masking=True,
        # One graph tells: training is the same function for all.
        run_training_check=name == "mixture",
        assert_built_after_instantiation=False,
    )


@pytest.mark.parametrize("name", HEADS)
def test_heads_give_what_their_family_links(name):
    head, arguments = HEADS[name]
    family, layer = FAMILIES[name], head(**arguments)
    assert layer.family == family and layer.units == family.units
    assert head.from_config(layer.get_config()).family == family
    raw = raw_of(family, 2, 3)
    expected = to_numpy(family.link(ops.convert_to_tensor(raw)))
    np.testing.assert_array_equal(to_numpy(layer(raw)), expected)
    general = heads.DistributionHead(family)
    again = heads.DistributionHead.from_config(general.get_config())
    assert again.family == family
    np.testing.assert_array_equal(to_numpy(again(raw)), expected)
    family.check_parameters(expected)
    # Each part in its range, and by its name.
    parts = family.split(expected)
    for part in family.layout:
        assert parts[part.name].shape == (2, 3, part.size)
        if part.name in ("scale", "mean", "total_count", "df"):
            assert parts[part.name].min() > (2 if part.name == "df" else 0)


def network(head, kind=layers.BayesDense, **options):
    """Returns a small network that ends in a head."""
    x = inputs = keras.Input((5,))
    x = keras.layers.Dense(4, activation="tanh")(x)
    return keras.Model(inputs, head(kind(head.units, **options)(x)))


def test_models_train_and_come_back_from_files(tmp_path):
    keras.utils.set_random_seed(0)
    made = [head(**arguments) for head, arguments in HEADS.values()]
    features = inputs = keras.Input((5,))
    features = keras.layers.Dense(4, activation="tanh")(features)
    outputs = [
        head(layers.BayesDense(head.units, kl_weight=0.01)(features)) for head in made
    ]
    model = keras.Model(inputs, outputs)
    losses = [heads.NegativeLogLikelihood(head) for head in made]
    losses[0] = heads.CRPS(made[0], num_samples=4, seed=1)
    losses[1] = heads.BetaNLL(made[1])
    model.compile("adam", losses, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
    y = [targets_of(family, 8) for family in FAMILIES.values()]
    history = model.fit(x, y, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    # And by what looks at every name in a file.
    checked = tfhyper.saving.load_model(tmp_path / "model.keras", compile=True)
    expected = [to_numpy(output) for output in model(x)]
    for other in (copy, checked):
        for found, output in zip(other(x), expected, strict=True):
            np.testing.assert_array_equal(to_numpy(found), output)
        for loss, first in zip(other.loss, losses, strict=True):
            assert loss.get_config() == first.get_config()
    for output, family in zip(expected, FAMILIES.values(), strict=True):
        family.check_parameters(output)


def test_mixed_precision_ends_in_float32():
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        head = heads.NormalHead()
        model = network(head, keras.layers.Dense)
        assert model.layers[-2].compute_dtype == "bfloat16"
        loss = heads.NegativeLogLikelihood(head)
    finally:
        keras.config.set_dtype_policy(before)
    outputs = model(np.ones((2, 5)))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    value = loss(np.ones(2, "float16"), ops.cast(outputs, "bfloat16"))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    # Who wants another dtype says so.
    assert heads.NormalHead(dtype="float16").compute_dtype == "float16"


def test_a_network_of_a_draw_ends_in_the_head():
    head = heads.MixtureHead(components=2)
    keras.utils.set_random_seed(1)
    model = network(head, initial_scale=1.0)
    predictor = tfhyper.PosteriorPredictor(
        network(heads.CategoricalHead(6), initial_scale=1.0), num_draws=3, seed=0
    )
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    members = predictor.predict(x).members
    for i in range(3):
        plain = predictor.materialize(i)
        assert isinstance(plain.layers[-1], heads.CategoricalHead)
        np.testing.assert_allclose(
            members[i], np.exp(to_numpy(plain(x)).astype("float64")), atol=1e-6
        )
    assert np.abs(members[0] - members[1]).max() > 1e-3
    # What a draw of the network gives is a part of the mixture.
    point = tfhyper.posterior.PointNetwork(model)
    parameters = []
    for seed in range(3):
        point.set(point.sample(0, seed))
        parameters.append(to_numpy(point.network(x)))
    mixture = heads.DrawMixture(point.network.layers[-1], np.stack(parameters))
    assert mixture.num_draws == 3 and (mixture.epistemic > 0).all()


def test_conversion_keeps_the_head():
    model = network(heads.StudentTHead(), keras.layers.Dense)
    bayesian = tfhyper.convert(model, tfhyper.kits.bayes(100))
    assert isinstance(bayesian.layers[-1], heads.StudentTHead)
    assert isinstance(bayesian.layers[-2], layers.BayesDense)


def test_masks_pass_through():
    x = inputs = keras.Input((3, 2))
    x = keras.layers.Masking(-1.0)(x)
    model = keras.Model(inputs, heads.NormalHead()(x))
    values = np.array([[[0.0, 0.5], [-1.0, -1.0], [1.0, 0.5]]], "float32")
    outputs = model(values)
    loss = heads.NegativeLogLikelihood(heads.Normal(), reduction="sum")
    parameters = to_numpy(outputs)[:, [0, 2]]
    expected = float(loss(np.zeros((1, 2)), parameters))
    # The target that a mask covers does not matter.
    model.compile("sgd", loss)
    found = model.evaluate(values, np.array([[0.0, 1e6, 0.0]]), verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_inputs_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"`inputs` must have 4 numbers.*\(3, 5\)"):
        heads.NormalHead(2)(np.zeros((3, 5)))
    with pytest.raises(TypeError, match="`family` must be a family.*family='normal'"):
        heads.DistributionHead("normal")
    with pytest.raises(ValueError, match="`targets` must be.*targets=0"):
        heads.PoissonHead(0)


@keras.saving.register_keras_serializable("tests")
class Gumbel(heads.RealFamily):
    """A family that is not ours: only samples tell its CRPS."""

    @property
    def layout(self):
        return heads.Normal(self.targets).layout

    def mean(self, parameters):
        parts = self.split(parameters)
        return parts["loc"] + np.euler_gamma * parts["scale"]

    def variance(self, parameters):
        return ops.square(self.split(parameters)["scale"]) * np.pi**2 / 6

    def log_prob(self, targets, parameters):
        parts = self.split(parameters)
        z = (targets - parts["loc"]) / parts["scale"]
        return ops.sum(-z - ops.exp(-z) - ops.log(parts["scale"]), axis=-1)

    def sample(self, parameters, num_samples, seed=None):
        parts = self.split(ops.convert_to_tensor(parameters))
        size = (num_samples, *ops.shape(parts["loc"]))
        u = keras.random.uniform(size, 1e-6, 1 - 1e-6, seed=seed)
        return parts["loc"] - parts["scale"] * ops.log(-ops.log(u))

    def components(self, parameters):
        from scipy import stats

        parts = {k: v[None] for k, v in self.split(parameters).items()}
        weights = np.ones((1, *parameters.shape[:-1], 1))
        return heads.Components(weights, stats.gumbel_r, parts)


def test_a_new_family_is_one_class(tmp_path):
    from scipy import stats

    head = heads.DistributionHead(Gumbel(2))
    model = network(head, keras.layers.Dense)
    with pytest.raises(ValueError, match="`num_samples`.*`Gumbel`.*num_samples=None"):
        heads.CRPS(head)
    loss = heads.CRPS(head, num_samples=16, seed=0)
    model.compile("sgd", loss)
    x, y = np.ones((4, 5), "float32"), np.ones((4, 2), "float32")
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.layers[-1].family == Gumbel(2) and copy.loss.num_samples == 16
    mixture = heads.DrawMixture(copy.layers[-1], to_numpy(copy(x))[None])
    loc, scale = np.split(to_numpy(copy(x)).astype("float64"), 2, -1)
    frozen = stats.gumbel_r(loc, scale)
    np.testing.assert_allclose(mixture.mean, frozen.mean(), rtol=1e-6)
    np.testing.assert_allclose(mixture.quantile(0.3), frozen.ppf(0.3), atol=1e-8)
    estimate = Gumbel(2).sample_crps(
        ops.convert_to_tensor(y), copy(x), num_samples=5000, seed=1
    )
    np.testing.assert_allclose(
        to_numpy(estimate), mixture.crps(y).sum(axis=-1), rtol=0.05
    )
