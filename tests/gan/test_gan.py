"""A GAN: losses by formula, one draw a step, files, predictors, resumed training."""

import importlib.util

import keras
import numpy as np
import pytest
import scipy.special

import tfhyper
from tests.helpers.processes import run_python
from tfhyper.data import GANBatches
from tfhyper.gan import BayesianGAN, losses
from tfhyper.gan.model import _CallsOfOneDraw
from tfhyper.models import dcgan_discriminator, dcgan_generator

SHAPE, LATENT = (8, 8, 1), 3
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (8, *SHAPE)).astype("float32")
LABELS = np.arange(8) % 3


def networks(kit="deterministic", classes=1):
    keras.utils.set_random_seed(1)
    return (
        dcgan_generator(2, image_shape=SHAPE, latent_dim=LATENT, kit=kit),
        dcgan_discriminator(2, input_shape=SHAPE, num_classes=classes, kit=kit),
    )


def make(kit="deterministic", classes=1, compiled=True, **options):
    model = BayesianGAN(*networks(kit, classes), seed=2, **options)
    if compiled:
        model.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), run_eagerly=True)
    return model


def bayes():
    return tfhyper.kits.bayes(num_examples=len(IMAGES), seed=3)


def weights(model):
    return [keras.ops.convert_to_numpy(x) for x in model.weights]


def test_losses_are_those_of_the_formulas():
    real, made = RNG.normal(size=(2, 6, 1)).astype("float32") * 3
    p_real, p_made = (scipy.special.expit(x) for x in (real, made))
    expected = -np.log(p_real).mean() - np.log(1 - p_made).mean()
    np.testing.assert_allclose(losses.discriminator_loss(real, made), expected, 1e-5)
    found = losses.generator_loss(made)
    np.testing.assert_allclose(found, -np.log(p_made).mean(), 1e-5)


def test_losses_of_classes_are_those_of_one_class_more():
    real, made = RNG.normal(size=(2, 6, 3)).astype("float32") * 3
    labels = np.array([0, 1, 2, 2, 1, 0])
    # K + 1 classes, the last of them "generated", whose logit is 0.
    of_real, of_made = (
        scipy.special.softmax(np.pad(x, [(0, 0), (0, 1)]), -1) for x in (real, made)
    )
    expected = -np.log(1 - of_real[:, -1]).mean() - np.log(of_made[:, -1]).mean()
    np.testing.assert_allclose(losses.discriminator_loss(real, made), expected, 1e-5)
    found = losses.generator_loss(made)
    np.testing.assert_allclose(found, -np.log(1 - of_made[:, -1]).mean(), 1e-5)
    given_real = of_real[:, :-1] / of_real[:, :-1].sum(-1, keepdims=True)
    expected = -np.log(given_real[np.arange(6), labels]).mean()
    np.testing.assert_allclose(losses.label_loss(real, labels), expected, 1e-5)
    # Far from zero nothing overflows.
    assert np.isfinite(float(losses.discriminator_loss(real * 1e4, made * 1e4)))


def test_a_step_is_that_of_two_losses_with_their_own_variables():
    import tensorflow as tf

    model, (generator, discriminator) = make(), networks()
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    codes = keras.random.normal(
        (len(IMAGES), LATENT),
        seed=tfhyper.layers.seeds.StatelessSeed(2, 0, by_example=True),
    )
    with tf.GradientTape(persistent=True) as tape:
        made = generator(codes, training=True)
        of_real = discriminator(IMAGES, training=True)
        of_made = discriminator(made, training=True)
        loss = tf.reduce_mean(tf.nn.softplus(-of_real))
        loss += tf.reduce_mean(tf.nn.softplus(of_made))
        fooled = tf.reduce_mean(tf.nn.softplus(-of_made))
    for network, of in ((discriminator, loss), (generator, fooled)):
        values = [x.value for x in network.trainable_variables]
        for x, gradient in zip(values, tape.gradient(of, values), strict=True):
            assert np.abs(gradient).max() > 0
            x.assign_sub(0.1 * gradient)
    history = model.fit(IMAGES, batch_size=8, verbose=0).history
    np.testing.assert_allclose(history["discriminator_loss"], float(loss), 1e-5)
    np.testing.assert_allclose(history["generator_loss"], float(fooled), 1e-5)
    # BatchNorm's moving averages too: of real and of generated images, each once.
    for mine, theirs in ((model.generator, generator),) + (
        (model.discriminator, discriminator),
    ):
        for a, b in zip(weights(mine), weights(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_kl_counts_once_with_its_weight_and_a_step_is_one_draw():
    model = make(bayes(), ema_momentum=0.5)
    kl = float(tfhyper.training.kl_divergence(model.generator))
    kl += float(tfhyper.training.kl_divergence(model.discriminator))
    history = model.fit(IMAGES, batch_size=8, verbose=0).history
    parts = history["discriminator_loss"][0] + history["generator_loss"][0]
    np.testing.assert_allclose(history["loss"][0] - parts, kl / len(IMAGES), 1e-4)
    for network in (model.generator, model.discriminator):
        counts = [np.asarray(x) for x in network.weights if x.name == "draws"]
        assert len(counts) == 3
        np.testing.assert_array_equal(counts, [[1, 0]] * 3)


def test_real_and_generated_images_meet_the_same_draw():
    kit = tfhyper.kits.hyper("layer_wise", deviation_scale=5.0, seed=3)
    model = make(kit, compiled=False)
    network, seen = model.discriminator, []
    for _ in range(2):
        calls = _CallsOfOneDraw(network)
        seen.append([np.asarray(calls.call(IMAGES)) for _ in range(3)])
        seen[-1].append(np.asarray(calls.call_fixed(IMAGES)))
        calls.end()
    for outputs in seen:  # in training BatchNorm has the batch's moments: all equal
        for other in outputs[1:]:
            np.testing.assert_allclose(outputs[0], other, rtol=1e-5, atol=1e-6)
    assert np.abs(seen[0][0] - seen[1][0]).max() > 1e-3


def test_labels_train_and_their_absence_is_named():
    model = make(classes=3)
    data = {"images": IMAGES, "labelled": IMAGES, "labels": LABELS}
    history = model.fit(data, batch_size=8, verbose=0).history
    assert sorted(history)[2:] == ["label_loss", "loss"]
    parts = sum(history[x][0] for x in history if x != "loss")
    np.testing.assert_allclose(history["loss"][0], parts, 1e-5)
    assert model.predict(IMAGES, verbose=0).shape == (8, 3)
    with pytest.raises(ValueError, match="`x` must hold images, labelled, labels"):
        model.fit(IMAGES, verbose=0)
    with pytest.raises(ValueError, match="`x` must hold images for .* 1 output"):
        make().fit(data, verbose=0)


def test_the_average_is_that_of_the_weights_before_each_step():
    model, expected = make(ema_momentum=0.75), None
    for _ in range(2):
        now = weights(model.generator)
        expected = expected or now
        expected = [0.75 * a + 0.25 * b for a, b in zip(expected, now, strict=True)]
        model.fit(IMAGES, batch_size=8, verbose=0)
    found = weights(model.averaged_generator)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert not model.averaged_generator.trainable_variables
    assert make().averaged_generator is None


def test_a_file_holds_all_and_training_goes_on_as_it_would_have(tmp_path):
    model = make(bayes(), ema_momentum=0.9)
    model.fit(IMAGES, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "gan.keras")
    again = keras.saving.load_model(tmp_path / "gan.keras")
    again.run_eagerly = True
    for one in (model, again):
        one.fit(IMAGES, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(weights(model), weights(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for name in ("generator", "discriminator"):
        getattr(model, name).save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        for a, b in zip(weights(getattr(model, name)), weights(loaded), strict=True):
            np.testing.assert_array_equal(a, b)


def test_predictors_of_both_networks_have_draws():
    model = make(bayes())
    judge = tfhyper.PosteriorPredictor(
        model.discriminator, 4, batch_norm="moving_average", outputs="label_logits"
    )
    found = judge.predict(IMAGES, verbose=0)
    assert found.epistemic.min() >= 0 and found.epistemic.max() > 0
    codes = keras.ops.convert_to_numpy(model.codes(6, seed=1))
    maker = tfhyper.PosteriorPredictor(model.generator, 3, outputs="mean")
    maker.estimate_batch_norm(codes, verbose=0)
    members = maker.predict(codes, verbose=0).members
    assert members.shape == (3, 6, *SHAPE)
    assert members.std(axis=0).mean() > 1e-3 and np.abs(members).max() <= 1
    np.testing.assert_array_equal(codes, np.asarray(model.codes(6, seed=1)))


def test_a_training_that_stops_goes_on_to_the_same_weights(tmp_path):
    settings, found = {"seed": 0}, []
    batches = GANBatches(IMAGES, 4, labelled=IMAGES[:3], labels=LABELS[:3])

    def build():
        model = make(classes=3)
        model.run_eagerly = False
        return model

    for name, stops in (("whole", [2]), ("parts", [1, 2])):
        for epochs in stops:
            model, history = tfhyper.training.fit_in_workdir(
                tfhyper.training.Workdir(str(tmp_path / name), settings),
                build,
                batches,
                epochs,
                verbose=0,
            )
        assert len(history["loss"]) == 2
        found.append(weights(model))
        found[-1] += [np.asarray(x) for x in model.optimizer.variables]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_batches_are_whole_and_a_function_of_the_epoch():
    batches = GANBatches(IMAGES, 3, labelled=IMAGES[:2], labels=[1, 0], seed=5)
    assert batches.steps_per_epoch == 2
    first = [x for (x,) in batches.train_from(0).take(6).as_numpy_iterator()]
    later = [x for (x,) in batches.train_from(1).take(4).as_numpy_iterator()]
    for a, b in zip(first[2:], later, strict=True):
        for name in ("images", "labelled", "labels"):
            np.testing.assert_array_equal(a[name], b[name])
    shown = np.concatenate([x["images"] for x in first[:2]])
    assert len({x.tobytes() for x in shown} & {x.tobytes() for x in IMAGES}) == 6
    for batch in first:
        assert sorted(batch["labels"]) == [0, 1]
        np.testing.assert_array_equal(batch["labelled"], IMAGES[1 - batch["labels"]])
    assert not np.array_equal(first[0]["images"], first[2]["images"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"images": IMAGES[0]}, "`images` must have the axes"),
        ({"images": IMAGES * np.nan}, "`images` must be finite"),
        ({"batch_size": 9}, "`batch_size` must be"),
        ({"labels": [1]}, "`labels` must be given with `labelled`"),
        ({"labelled": IMAGES[:, :4], "labels": LABELS}, "`labelled` must have images"),
        ({"labelled": IMAGES, "labels": LABELS[:3]}, "`labels` must hold 8 ints"),
        ({"labelled": IMAGES, "labels": LABELS - 1}, "`labels` must hold 8 ints"),
    ],
    ids=["axes", "nan", "batch", "alone", "shape", "few", "negative"],
)
def test_batches_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GANBatches(**{"images": IMAGES, "batch_size": 4, **options})


def test_networks_that_do_not_fit_are_named():
    generator, discriminator = networks()
    other = dcgan_discriminator(2, input_shape=(12, 12, 1))
    for pair, message in (
        ((generator, other), "`discriminator` must take the images"),
        ((discriminator, discriminator), "`generator` must take codes"),
        ((generator, keras.Sequential()), "`discriminator` must be a built"),
        ((generator, networks()[0]), "`discriminator` must take"),
    ):
        with pytest.raises(ValueError, match=message):
            BayesianGAN(*pair)
    with pytest.raises(TypeError, match="`generator` must be a Keras model"):
        BayesianGAN("generator", discriminator)
    with pytest.raises(ValueError, match="`ema_momentum` must be"):
        BayesianGAN(generator, discriminator, ema_momentum=1.0)
    with pytest.raises(ValueError, match="`count` must be"):
        make().codes(0)


def test_what_it_cannot_be_compiled_for_is_named():
    model = make()
    with pytest.raises(ValueError, match="it has no `evaluate`"):
        model.evaluate(IMAGES, verbose=0)
    model.compile(keras.optimizers.Adam(global_clipnorm=1.0), run_eagerly=True)
    with pytest.raises(ValueError, match="`optimizer` must be without"):
        model.fit(IMAGES, verbose=0)
    model.compile("adam", loss="mse", run_eagerly=True)
    with pytest.raises(ValueError, match="`loss` must be None"):
        model.fit(IMAGES, IMAGES, verbose=0)


SCRIPT = """
import keras
import numpy as np
import tfhyper

keras.utils.set_random_seed(0)
kit = tfhyper.kits.bayes(num_examples=8, seed=3)
gan = tfhyper.gan.BayesianGAN(
    tfhyper.models.dcgan_generator(2, image_shape=(8, 8, 1), latent_dim=3, kit=kit),
    tfhyper.models.dcgan_discriminator(2, input_shape=(8, 8, 1), kit=kit),
    ema_momentum=0.5, seed=1,
)
gan.compile(keras.optimizers.Adam(1e-3))
kl = sum(
    float(tfhyper.training.kl_divergence(x)) for x in (gan.generator, gan.discriminator)
)
before = [keras.ops.convert_to_numpy(x) for x in gan.trainable_variables]
x = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)).astype("float32")
history = gan.fit(x, batch_size=8, verbose=0).history
parts = history["discriminator_loss"][0] + history["generator_loss"][0]
np.testing.assert_allclose(history["loss"][0] - parts, kl / 8, 1e-4)
for old, new in zip(before, gan.trainable_variables, strict=True):
    assert not np.array_equal(old, keras.ops.convert_to_numpy(new)), new.path
for network in (gan.generator, gan.discriminator):
    for weight in network.weights:
        if weight.name == "draws":
            assert keras.ops.convert_to_numpy(weight).tolist() == [1, 0]
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_step_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    env = {"KERAS_BACKEND": backend}
    run_python("-c", SCRIPT, env=env, fresh=True, check=True)
