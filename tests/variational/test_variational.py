"""A Gaussian posterior around a model: what is learned, kept, refused."""

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.ivon import (
    DECAY,
    N,
    gaussian_nll,
    linear_data,
    linear_model,
    to_numpy,
)
from tfhyper.training import IVON, DivergedError, compile_variational_recipe

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6, 6, 1)).astype("float32")
LABELS = np.arange(48) % 3
FIT = {"batch_size": 16, "shuffle": False, "verbose": 0}


def network(**options):
    """Returns a network with BatchNorm, dropout and an activity regularizer."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, name="conv", **options)(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.2, seed=5)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x))


def variational(model=None, **options):
    """Returns a compiled one of the network."""
    given = {"num_examples": len(X), "seed": 1, **options}
    model = tfhyper.Variational(model or network(), **given)
    model.compile(IVON(0.1, beta_2=0.9), CROSSENTROPY, metrics=["accuracy"])
    return model


def weights(model):
    """Returns all that a training leaves: weights, optimizer and generators."""
    return [to_numpy(x) for x in (*model.variables, *model.optimizer.variables)]


def generators(model):
    """Returns the states of random generators, which are no weights."""
    known = {id(x) for x in model.weights}
    return [x for x in model.variables if id(x) not in known]


def test_mean_and_scale_reach_those_of_the_exact_mean_field_posterior():
    # y = x W + b with noise of variance 1 and a prior N(0, 1 / (lambda delta)): the
    # best factorised Gaussian has the exact posterior's mean, and the inverse of the
    # diagonal of its precision as variances.
    x, y = linear_data()
    model = linear_model(temperature=1.0, initial_curvature=1.0)
    steps = 4000
    rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
    optimizer = IVON(rate, beta_2=0.999)
    model.compile(optimizer, gaussian_nll, steps_per_execution=100)
    many = (np.concatenate([part] * 100) for part in (x, y))
    options = {"batch_size": N, "steps_per_epoch": 100, "shuffle": False}
    model.fit(*many, epochs=steps // 100, verbose=0, **options)
    design = np.concatenate([x, np.ones((N, 1))], axis=1).astype("float64")
    precision = design.T @ design + N * DECAY * np.eye(4)
    exact = np.linalg.solve(precision, design.T @ y)
    found = np.concatenate([to_numpy(model.means[0]), to_numpy(model.means[1])[None]])
    deviation = 1 / np.sqrt(np.diag(precision))[:, None]
    # Means within a fifth of a deviation, scales within a fifth of theirs.
    assert (np.abs(found - exact) / deviation).max() < 0.2
    scale = to_numpy(model.noise.scale())
    scale = np.concatenate([scale[:6].reshape(3, 2), scale[None, 6:]])
    np.testing.assert_allclose(scale, np.broadcast_to(deviation, (4, 2)), rtol=0.2)


def test_a_resumed_training_is_bit_equal(tmp_path):
    model = variational()
    model.fit(X, LABELS, epochs=2, **FIT)
    model.save(tmp_path / "model.keras")
    # Of dropout: Keras saves no states of generators.
    states = [to_numpy(x) for x in generators(model)]
    model.evaluate(X, LABELS, verbose=0)
    model.fit(X, LABELS, epochs=2, **FIT)
    again = keras.saving.load_model(tmp_path / "model.keras")
    for variable, state in zip(generators(again), states, strict=True):
        variable.assign(state)
    again.fit(X, LABELS, epochs=2, **FIT)
    for found, expected in zip(weights(again), weights(model), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_outside_of_training_it_is_the_model_at_the_mean():
    model = variational()
    model.fit(X, LABELS, epochs=1, **FIT)
    found = model.predict(X, verbose=0)
    np.testing.assert_array_equal(found, model.model.predict(X, verbose=0))
    np.testing.assert_array_equal(found, model.predict(X, verbose=0))


def test_a_call_in_training_is_that_of_the_model_with_drawn_weights():
    model = variational()
    copy = network()
    copy.set_weights(model.model.get_weights())
    first = model.noise.training_noise(0) * model.noise.scale()
    for mean, (_, part) in zip(
        copy.trainable_variables, model.noise.split(first), strict=True
    ):
        assert np.abs(to_numpy(part)).min() > 0
        mean.assign(mean + part)
    outputs, expected = model(X, training=True), copy(X, training=True)
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(expected), atol=1e-5)
    # Moving averages and the state of dropout go on; the means stay.
    pairs = zip(
        model.model.non_trainable_variables, copy.non_trainable_variables, strict=True
    )
    for found, expected in pairs:
        np.testing.assert_allclose(to_numpy(found), to_numpy(expected), atol=1e-6)
    again = model(X, training=True)
    assert np.abs(to_numpy(again) - to_numpy(outputs)).max() > 1e-3


def test_losses_of_layers_are_those_of_the_drawn_weights():
    regularizer = keras.regularizers.L2(0.1)
    model = variational(network(activity_regularizer=regularizer))
    copy = network(activity_regularizer=regularizer)
    first = model.noise.training_noise(0) * model.noise.scale()
    for mean, (_, part) in zip(
        copy.trainable_variables, model.noise.split(first), strict=True
    ):
        mean.assign(mean + part)
    model(X, training=True)
    copy(X, training=True)
    (found,), (expected,) = model.losses, copy.losses
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_mixed_precision_scales_the_loss_and_learns_the_same():
    plain = variational()
    plain.fit(X, LABELS, epochs=1, **FIT)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = variational()
        mixed.fit(X, LABELS, epochs=1, **FIT)
    finally:
        keras.config.set_dtype_policy(before)
    assert isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer)
    assert mixed(X[:1]).dtype == "float16"
    assert mixed.noise.curvature.dtype == "float32"
    found, expected = (to_numpy(x.noise.curvature) - 0.5 for x in (mixed, plain))
    assert np.corrcoef(found, expected)[0, 1] > 0.95


@keras.saving.register_keras_serializable("tests")
class Rows(keras.layers.Embedding):
    """An embedding whose gradient is that of all rows."""

    def call(self, inputs):
        return ops.matmul(ops.one_hot(inputs, self.input_dim), self.embeddings)


def test_an_embedding_is_learned_as_if_all_its_rows_had_a_gradient():
    numbers, found = RNG.integers(0, 7, (48, 4)), []
    for kind in (keras.layers.Embedding, Rows):
        keras.utils.set_random_seed(2)
        stack = [keras.Input((4,)), kind(9, 3), keras.layers.Flatten()]
        model = variational(keras.Sequential([*stack, keras.layers.Dense(3)]))
        model.fit(numbers, LABELS, epochs=2, **FIT)
        found.append([to_numpy(x) for x in (*model.means, model.noise.curvature)])
    for sparse, dense in zip(*found, strict=True):
        np.testing.assert_allclose(sparse, dense, atol=1e-5)


def test_the_recipe_makes_it_learn():
    labels = (X.mean(axis=(1, 2, 3)) > 0).astype(int)
    model = tfhyper.Variational(network(), len(X), seed=0)
    compile_variational_recipe(model, epochs=30, steps_per_epoch=3)
    assert model.optimizer.beta_2 == pytest.approx(1 - 2 / 90)
    assert float(model.optimizer.learning_rate) == 0.5
    history = model.fit(X, labels, epochs=30, **FIT).history["loss"]
    assert np.isfinite(history).all() and history[-1] < 0.5 < history[0]
    assert float(model.optimizer.learning_rate) < 1e-3


def test_a_diverged_training_is_a_named_error():
    model = variational()
    bad = X.copy()
    bad[20] = np.nan
    with pytest.raises(DivergedError, match="the loss is nan in epoch 1"):
        model.fit(bad, LABELS, epochs=3, **FIT)
    with pytest.raises(DivergedError, match="NaN or infinite"):
        tfhyper.PosteriorPredictor(model)


@pytest.mark.parametrize(
    "name, value",
    [
        ("num_examples", 0),
        ("num_examples", 10.5),
        ("weight_decay", 0.0),
        ("initial_curvature", -1.0),
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("seed", -1),
    ],
)
def test_arguments_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        variational(**{name: value})


def bayesian():
    stack = [keras.Input((4,)), tfhyper.layers.BayesDense(3, kl_weight=0.1)]
    return keras.Sequential(stack)


def frozen():
    model = network()
    model.trainable = False
    return model


@pytest.mark.parametrize(
    "make, message",
    [
        (bayesian, "KL divergence"),
        (frozen, "must have trainable weights"),
        (lambda: network(kernel_regularizer="l2"), "regularizers"),
        (lambda: network(kernel_constraint="non_neg"), "constraints"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "must be built"),
        (lambda: tfhyper.Variational(network(), 5), "already"),
    ],
)
def test_models_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        tfhyper.Variational(make(), 48)


def test_data_of_another_number_of_examples_are_refused():
    model = variational(num_examples=47)
    with pytest.raises(ValueError, match="num_examples=47, data of 48 examples"):
        model.fit(X, LABELS, **FIT)
    with pytest.raises(ValueError, match="data of 24 examples"):
        model.fit(X, LABELS, validation_split=0.5, **FIT)
    variational(num_examples=24).fit(X, LABELS, validation_split=0.5, **FIT)
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() == "tensorflow":
        dataset = tf.data.Dataset.from_tensor_slices((X, LABELS))
        with pytest.raises(ValueError, match="data of 30 to 39 examples"):
            model.fit(dataset.take(30).batch(10, drop_remainder=True), verbose=0)
        model.fit(dataset.batch(16), verbose=0)  # which does not tell


def test_an_optimizer_of_another_kind_and_the_reverse_are_refused():
    model = tfhyper.Variational(network(), len(X))
    model.compile("sgd", CROSSENTROPY)
    with pytest.raises(ValueError, match=r"`optimizer` must be .*Received.*SGD"):
        model.fit(X, LABELS, **FIT)
    plain = network()
    plain.compile(IVON(), CROSSENTROPY)
    with pytest.raises(ValueError, match="needs the trainable variables of a"):
        plain.fit(X, LABELS, **FIT)
    model = variational()
    model.model.get_layer("conv").trainable = False
    with pytest.raises(ValueError, match="trainable weights that it had"):
        model.fit(X, LABELS, **FIT)


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
        {"global_clipnorm": 1.0},
        {"use_ema": True},
        {"weight_decay": 0.1},
    ],
)
def test_what_would_not_be_exact_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be left out"):
        IVON(**options)


@pytest.mark.parametrize("name", ["beta_1", "beta_2"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_averages_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        IVON(**{name: value})


def test_losses_that_are_no_likelihood_are_refused():
    losses = ["mse", "mae", keras.losses.Huber(), keras.losses.MeanSquaredError]
    losses += [keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")]
    for loss in losses:
        model = tfhyper.Variational(network(), len(X))
        model.compile(IVON(), loss)
        with pytest.raises(ValueError, match="`loss` must be a mean"):
            model.fit(X, LABELS, **FIT)
    for loss in (
        "sparse_categorical_crossentropy",
        keras.losses.sparse_categorical_crossentropy,
        tfhyper.training.SmoothedCrossentropy(0.1),
        lambda y, p: CROSSENTROPY(y, p),
        {"logits": CROSSENTROPY},
    ):
        model = tfhyper.Variational(network(), len(X))
        model.compile(IVON(), loss)
        model.check_training()


class Assigns(keras.layers.Dense):
    def call(self, inputs, training=None):
        if training:
            self.kernel.assign(self.kernel * 0.5)
        return super().call(inputs)


def test_a_layer_that_assigns_to_its_own_weights_is_refused():
    model = tfhyper.Variational(keras.Sequential([keras.Input((4,)), Assigns(3)]), 48)
    with pytest.raises(ValueError, match="must not change its trainable weights"):
        model(ops.ones((2, 4)), training=True)


class Batches:
    """Batches without end, for a workdir."""

    steps_per_epoch = 3

    def train_from(self, epoch):
        import tensorflow as tf

        pairs = tf.data.Dataset.from_tensor_slices((X, LABELS.astype("int32")))
        return pairs.batch(16).repeat()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_training_in_a_workdir_goes_on_as_it_would_have(policy, tmp_path):
    def build():
        # Without stock dropout, whose generator's state Keras does not save.
        layers = [keras.layers.Flatten(), keras.layers.BatchNormalization()]
        keras.utils.set_random_seed(0)
        return variational(
            keras.Sequential([keras.Input((6, 6, 1)), *layers, keras.layers.Dense(3)])
        )

    def fit(folder, epochs):
        workdir = tfhyper.training.Workdir(str(tmp_path / folder), {})
        model, _ = tfhyper.training.fit_in_workdir(
            workdir, build, Batches(), epochs, verbose=0
        )
        return model

    keras.config.set_dtype_policy(policy)
    try:
        whole = fit("whole", 2)
        fit("parts", 1)
        parts = fit("parts", 2)
    finally:
        keras.config.set_dtype_policy("float32")
    for one, other in zip(
        (*whole.weights, *whole.optimizer.variables),
        (*parts.weights, *parts.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
