"""Validation by draws while a network is trained."""

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper import layers
from tfhyper.training import PosteriorValidation

RNG = np.random.default_rng(0)
CENTERS = RNG.normal(size=(3, 6)) * 0.9


def examples(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    x = CENTERS[labels] + rng.normal(size=(count, 6))
    return x.astype("float32"), labels.astype("int32")


X, Y = examples(256, 1)
X_VAL, Y_VAL = examples(300, 2)


def network(form="drop-in", seed=0):
    keras.utils.set_random_seed(seed)
    options = {
        "drop-in": {},
        "paper": {"mean_kernel": False, "prior": "normal"},
    }[form]
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.HyperDense(16, use_bias=False, seed=1, **options),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            layers.HyperDense(3, seed=2, **options),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def fit(model, *callbacks, epochs=2, **options):
    options = {"batch_size": 32, "verbose": 0, "shuffle": False, **options}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options).history


@pytest.mark.filterwarnings("error::tfhyper.layers.MovingAveragesWarning")
def test_scores_are_those_of_a_predictor_made_then():
    model = network()
    expected = []

    class Compare(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            predictor = tfhyper.PosteriorPredictor(self.model, num_draws=3, seed=7)
            predictor.calibrate(X[:100], batch_size=32, verbose=0)
            expected.append(predictor.evaluate(X_VAL, Y_VAL))

    validation = PosteriorValidation(
        (X_VAL, Y_VAL), X[:100], num_draws=3, seed=7, batch_size=32
    )
    history = fit(model, validation, Compare())
    assert len(expected) == 2 and expected[0] != expected[1]
    for name in ("error", "nll", "brier", "ece"):
        found = [scores[name] for scores in expected]
        np.testing.assert_allclose(history[f"val_{name}"], found, atol=1e-6)
    assert history["val_loss"] == history["val_nll"]
    accuracy = 1 - np.array(history["val_error"])
    np.testing.assert_allclose(history["val_accuracy"], accuracy, atol=1e-9)


def test_training_is_that_without_it():
    weights = []
    for callbacks in ([], [PosteriorValidation((X_VAL, Y_VAL), X, num_draws=2)]):
        model = network()
        fit(model, *callbacks)
        weights.append([keras.ops.convert_to_numpy(w) for w in model.weights])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("form", ["drop-in", "paper"])
def test_validation_is_the_predictor_s_within_the_noise_of_sampling(form):
    model = network(form)
    history = fit(model, PosteriorValidation((X_VAL, Y_VAL), X), epochs=8)
    # Ten times four draws, other ones than those of the callback.
    predictor = tfhyper.PosteriorPredictor(model, num_draws=40, seed=100)
    members = predictor.calibrate(X, verbose=0).predict(X_VAL).members
    means = members.reshape(10, 4, *members.shape[1:]).mean(axis=1)
    scores = -np.log(means[:, np.arange(len(Y_VAL)), Y_VAL]).mean(axis=1)
    # One more of such numbers: 4 standard deviations and their own uncertainty.
    spread = 4 * np.std(scores, ddof=1) * np.sqrt(1 + 1 / len(scores))
    assert abs(history["val_loss"][-1] - np.mean(scores)) < spread


@pytest.mark.filterwarnings("ignore::tfhyper.layers.MovingAveragesWarning")
def test_the_moving_averages_say_something_else():
    model = network("paper")
    history = fit(model, epochs=8, validation_data=(X_VAL, Y_VAL))
    predictor = tfhyper.PosteriorPredictor(model, num_draws=16)
    predictor.calibrate(X, verbose=0)
    right = predictor.evaluate(X_VAL, Y_VAL)["nll"]
    assert history["val_loss"][-1] > 1.1 * right


def test_callbacks_behind_it_read_its_numbers(tmp_path):
    model = network()
    path = tmp_path / "best.keras"
    validation = PosteriorValidation((X_VAL, Y_VAL), X, num_draws=2)
    best = keras.callbacks.ModelCheckpoint(
        path, monitor="val_loss", save_best_only=True
    )
    stop = keras.callbacks.EarlyStopping(
        monitor="val_accuracy", patience=0, mode="min", restore_best_weights=False
    )
    history = fit(model, validation, best, stop, epochs=10)
    assert len(history["loss"]) < 10  # the accuracy grows: no better by "min"
    predictor = tfhyper.PosteriorPredictor(
        keras.saving.load_model(path), num_draws=2, seed=0
    )
    predictor.calibrate(X, verbose=0)
    found = predictor.evaluate(X_VAL, Y_VAL)["nll"]
    assert found == pytest.approx(min(history["val_loss"]), abs=1e-5)


def test_every_other_epoch_and_a_model_that_is_built_in_fit():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [layers.BayesDense(8, activation="relu"), layers.BayesDense(3)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append("val_loss" in logs)
    )
    fit(model, PosteriorValidation((X_VAL, Y_VAL), X, every=2), note, epochs=4)
    assert seen == [False, True, False, True]


def test_a_network_that_draws_nothing_and_a_regression():
    keras.utils.set_random_seed(0)
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = fit(plain, PosteriorValidation((X_VAL, Y_VAL), X), epochs=1)
    found = plain.evaluate(X_VAL, Y_VAL, verbose=0)
    assert history["val_loss"][0] == pytest.approx(found, abs=1e-5)

    model = keras.Sequential([keras.Input((6,)), layers.HyperDense(1)])
    model.compile("adam", "mse")
    targets = X[:, 0]
    data = (X_VAL, X_VAL[:, 0])
    options = {"outputs": "mean", "noise_variance": 0.5}
    validation = PosteriorValidation(data, X, **options)
    history = model.fit(X, targets, verbose=0, callbacks=[validation]).history
    predictor = tfhyper.PosteriorPredictor(model, num_draws=4, **options)
    predictor.calibrate(X, verbose=0)
    for name, value in predictor.evaluate(*data).items():
        assert history[f"val_{name}"][0] == pytest.approx(value, abs=1e-5)
    with pytest.raises(ValueError, match="noise_variance"):
        validation = PosteriorValidation(data, X, outputs="mean")
        model.fit(X, targets, verbose=0, callbacks=[validation])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (((X_VAL, Y_VAL, Y_VAL), X), ValueError, "`validation_data` must be a pair"),
        ((X_VAL, X), TypeError, "`validation_data` must be a pair"),
        (((X_VAL, Y_VAL), X, {"num_draws": 0}), ValueError, "`num_draws` must be"),
        (((X_VAL, Y_VAL), X, {"every": 0}), ValueError, "`every` must be"),
        (((X_VAL, Y_VAL), X, {"seed": -1}), ValueError, "`seed` must be"),
        (((X_VAL, Y_VAL), X, {"seed": "a"}), ValueError, "`seed` must be"),
        (((X_VAL, Y_VAL), None), TypeError, "`train_inputs` must be an array"),
        (((X_VAL, Y_VAL), 3), TypeError, "`train_inputs` must be an array"),
        (((X_VAL, Y_VAL), "x"), TypeError, "`train_inputs` must be an array"),
        (((X_VAL, Y_VAL), X[:0]), ValueError, "`train_inputs` must hold at least"),
        (((X_VAL, Y_VAL), X, {"batch_size": -1}), ValueError, "`batch_size` must be"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    *arguments, options = arguments if len(arguments) == 3 else (*arguments, {})
    with pytest.raises(error, match=message):
        PosteriorValidation(*arguments, **options)


def test_inputs_that_the_model_does_not_take_are_named():
    model = network()
    with pytest.raises(ValueError, match="`train_inputs` must hold inputs that the"):
        fit(model, PosteriorValidation((X_VAL, Y_VAL), X[:, :2]), epochs=1)


def test_the_trainer_has_its_numbers_too():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("`Trainer` is for TensorFlow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32).repeat()
    validation_data = tf.data.Dataset.from_tensor_slices((X_VAL, Y_VAL)).batch(50)
    model = network()
    history = tfhyper.training.Trainer(model).fit(
        data,
        epochs=2,
        steps_per_epoch=8,
        callbacks=[PosteriorValidation(validation_data, X)],
        verbose=0,
    )
    predictor = tfhyper.PosteriorPredictor(model, num_draws=4, seed=0)
    predictor.calibrate(X, verbose=0)
    expected = predictor.evaluate(X_VAL, Y_VAL)["nll"]
    assert history.history["val_loss"][-1] == pytest.approx(expected, abs=1e-5)
