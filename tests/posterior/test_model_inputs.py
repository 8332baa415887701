"""What predictors take: by names, of the model's shapes and types, or a named error."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tfhyper import PosteriorPredictor

RNG = np.random.default_rng(0)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def images():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            tfhyper.layers.HyperConv2D(4, 3, padding="same"),
            L.BatchNormalization(),
            L.GlobalAveragePooling2D(),
            L.Dense(3),
        ]
    )
    return PosteriorPredictor(model, num_draws=2)


WRONG = {
    "another size": normal(32, 9, 9, 1),
    "other channels": normal(32, 8, 8, 3),
    "no batch": normal(8, 8, 1),
    "text": "abc",
    "texts": np.array(["a", "b"]),
    "objects": np.array([None, 1], object),
    "nothing": np.zeros((0, 8, 8, 1), "float32"),
    "complex": normal(4, 8, 8, 1) + 1j,
    "not finite": np.full((4, 8, 8, 1), np.nan),
    "None": None,
    "a number": 3,
    "ragged": [[1.0, 2.0], [3.0]],
    "an iterator": iter([normal(4, 8, 8, 1)]),
    "a dict": {"image": normal(4, 8, 8, 1)},
    "two arrays": [normal(4, 8, 8, 1), normal(4, 8, 8, 1)],
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("call", ["calibrate", "predict", "evaluate"])
def test_wrong_inputs_are_refused_at_the_door(name, call):
    predictor = images()
    argument = "inputs" if call == "calibrate" else "x"
    if call != "calibrate":
        predictor.calibrate(normal(8, 8, 8, 1), verbose=0)
    options = {"evaluate": {"y": np.zeros(4, int)}, "calibrate": {"verbose": 0}}
    with pytest.raises((ValueError, TypeError), match=f"`{argument}.*Received"):
        getattr(predictor, call)(WRONG[name], **options.get(call, {}))
    if call == "calibrate":
        assert predictor.draws[0].moments == {}


def two_inputs(kind):
    keras.utils.set_random_seed(0)
    zebra, ant = keras.Input((4,), name="zebra"), keras.Input((4,), name="ant")
    x = L.Subtract()([tfhyper.layers.BayesDense(5)(zebra), L.Dense(5)(ant)])
    inputs = {
        "dict": {"zebra": zebra, "ant": ant},
        "list": [zebra, ant],
        "nested": [{"zebra": zebra}, (ant,)],
    }[kind]
    return keras.Model(inputs, L.Dense(3)(x))


@pytest.mark.parametrize("kind", ["dict", "list", "nested"])
def test_inputs_go_by_their_names(kind):
    model = two_inputs(kind)
    zebra, ant = normal(9, 4), normal(9, 4)
    given = {
        "dict": [{"ant": ant, "zebra": zebra}, {"zebra": zebra, "ant": ant, "x": ant}],
        "list": [[zebra, ant], (zebra, ant), {"ant": ant, "zebra": zebra}],
        "nested": [[{"zebra": zebra}, (ant,)]],
    }[kind]
    predictor = PosteriorPredictor(model, num_draws=2)
    (first,) = (x for x in model.layers if isinstance(x, tfhyper.layers.BayesDense))
    second, head = (x for x in model.layers if type(x) is L.Dense)
    expected = []
    for draw in predictor.draws:
        kernel, bias = map(np.array, first.point_weights(draw.noise[first.name]))
        kernel2, bias2 = second.get_weights()
        kernel3, bias3 = head.get_weights()
        hidden = (zebra @ kernel + bias) - (ant @ kernel2 + bias2)
        expected.append(softmax(hidden @ kernel3 + bias3))
    for x in given:
        np.testing.assert_allclose(predictor.predict(x).members, expected, atol=1e-5)
        small = predictor.predict(x, batch_size=2)
        np.testing.assert_allclose(small.members, expected, atol=1e-5)


def test_inputs_of_a_dict_need_their_names():
    predictor = PosteriorPredictor(two_inputs("dict"), num_draws=2)
    x = normal(9, 4)
    for wrong in ([x, x], {"zebra": x}, {"zebra": x, "ants": x}, x):
        with pytest.raises(ValueError, match="`x.*Received"):
            predictor.predict(wrong)
    listed = PosteriorPredictor(two_inputs("list"), num_draws=2)
    for wrong in ([x], [x, x, x], {"zebra": x}, x, {"zebra": x, "ant": x[:, :3]}):
        with pytest.raises(ValueError, match="`x.*Received"):
            listed.predict(wrong)
    with pytest.raises(ValueError, match="same length"):
        listed.predict([x, x[:5]])


def test_outputs_go_by_their_names():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = tfhyper.layers.BayesDense(5, activation="relu")(inputs)
    mean, variance = L.Dense(1)(x), L.Dense(1, activation="softplus")(x)
    data = normal(9, 4)
    listed = keras.Model(inputs, [mean, variance])
    expected = PosteriorPredictor(
        listed, num_draws=3, outputs="mean_and_variance"
    ).predict(data)
    named = {"mean": mean, "variance": variance}
    for outputs in (named, dict(reversed(named.items()))):
        model = keras.Model(inputs, outputs)
        found = PosteriorPredictor(model, num_draws=3, outputs="mean_and_variance")
        prediction = found.predict(data)
        np.testing.assert_allclose(prediction.members, expected.members, atol=1e-6)
        np.testing.assert_allclose(prediction.variance, expected.variance, rtol=1e-5)
        average = found.materialize_average().predict(data, verbose=0)
        np.testing.assert_allclose(average[0][:, 0], expected.mean, atol=1e-5)
    wrong = keras.Model(inputs, {"noise": variance, "prediction": mean})
    with pytest.raises(ValueError, match='"mean" and "variance".*Received'):
        PosteriorPredictor(wrong, outputs="mean_and_variance")


def test_whole_numbers_are_asked_for_where_they_are_indices():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), dtype="int32")
    x = L.Flatten()(L.Embedding(9, 3)(inputs))
    predictor = PosteriorPredictor(keras.Model(inputs, tfhyper.layers.BayesDense(3)(x)))
    tokens = RNG.integers(0, 9, (5, 4))
    found = predictor.predict(tokens).members
    np.testing.assert_array_equal(predictor.predict(tokens * 1.0).members, found)
    with pytest.raises(ValueError, match="`x` must hold whole numbers.*Received"):
        predictor.predict(tokens + 0.5)


class Py(keras.utils.PyDataset):
    """Keras' own kind of data set."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return self.x[part], self.y[part]


LABELS = {
    "a column": lambda y: y[:, None],
    "one-hot": lambda y: np.eye(3)[y],
    "whole floats": lambda y: y.astype("float32"),
    "a column of floats": lambda y: y[:, None].astype("float64"),
    "a list": lambda y: y.tolist(),
    "bools": lambda y: np.eye(3, dtype=bool)[y],
}


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), tfhyper.layers.BayesDense(3)])
    return PosteriorPredictor(model, num_draws=3)


@pytest.mark.parametrize("form", LABELS)
def test_labels_of_every_form_that_keras_has(classifier, form):
    x, y = normal(12, 6), RNG.integers(0, 3, 12)
    expected = classifier.evaluate(x, y)
    assert classifier.evaluate(x, LABELS[form](y)) == expected
    assert classifier.evaluate(Py(x, np.asarray(LABELS[form](y)))) == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((12, 3), 1 / 3),
        np.arange(12),
        np.arange(12) - 1,
        np.linspace(0, 2, 12),
        np.zeros((12, 2)),
        np.array(["a"] * 12),
        np.full(12, np.nan),
    ],
)
def test_other_labels_are_refused(classifier, wrong):
    with pytest.raises((ValueError, TypeError), match="`y`.*Received"):
        classifier.evaluate(normal(12, 6), wrong)


def test_sample_weights_count_or_are_refused(classifier):
    x, y = normal(12, 6), RNG.integers(0, 3, 12)
    times = RNG.integers(0, 4, 12)
    repeated = classifier.evaluate(np.repeat(x, times, 0), np.repeat(y, times))
    for weights in (times, times[:, None] * 2.5, times.astype("float32")):
        found = classifier.evaluate(x, y, sample_weight=weights)
        assert found == pytest.approx(repeated, rel=1e-5)
    nan, two = np.full(12, np.nan), np.ones((12, 2))
    for wrong in (-times, np.zeros(12), times[:5], nan, two):
        with pytest.raises(ValueError, match="sample_weight|same length"):
            classifier.evaluate(x, y, sample_weight=wrong)


def test_sample_weights_count_where_noise_is_fitted():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), tfhyper.layers.BayesDense(1)])
    x, y, times = normal(30, 6), normal(30), RNG.integers(0, 4, 30)

    def fitted(*data, **options):
        predictor = PosteriorPredictor(model, num_draws=3, outputs="mean")
        return predictor.fit_noise(*data, **options).noise_variance

    repeated = fitted(np.repeat(x, times, 0), np.repeat(y, times))
    assert fitted(x, y, sample_weight=times) == pytest.approx(repeated, rel=1e-3)
    assert fitted(x, y) != pytest.approx(repeated, rel=1e-2)
