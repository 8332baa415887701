"""Outputs of every kind in files of other runtimes: what the predictor gives."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tests.helpers.runtimes import LiteRT, Onnx, OpenVINO, require

RNG = np.random.default_rng(0)


def hidden(x):
    return tfhyper.layers.HyperDense(
        5, code_units=3, hidden_units=4, activation="tanh", seed=0
    )(x)


def pixels():
    x = keras.Input((4, 6, 2))
    model = keras.Model(x, L.Dense(3, activation="softmax")(hidden(x)))
    return model, RNG.integers(0, 3, (7, 4, 6))


def tags():
    x = keras.Input((5,))
    model = keras.Model(x, L.Dense(4, activation="sigmoid")(hidden(x)))
    return model, RNG.integers(0, 2, (7, 4))


def vector():
    x = keras.Input((5,))
    model = keras.Model(x, L.Dense(3)(hidden(x)))
    model.compile("sgd", "mse")
    return model, RNG.normal(size=(7, 3))


def mixture():
    head = tfhyper.heads.MixtureHead(2)
    x = keras.Input((5,))
    return keras.Model(x, head(L.Dense(head.units)(hidden(x)))), RNG.normal(size=7)


def several():
    x = keras.Input((5,))
    shared = hidden(x)
    kind = L.Dense(4, activation="softmax")(shared)
    loc = tfhyper.heads.NormalHead()(L.Dense(2)(shared))
    labels = {"kind": RNG.integers(0, 4, 7), "place": RNG.normal(size=7)}
    return keras.Model(x, {"kind": kind, "place": loc}), labels


MAKE = {f.__name__: f for f in (pixels, tags, vector, mixture, several)}
CELLS = [(Onnx, name) for name in MAKE] + [
    (runtime, name) for runtime in (LiteRT, OpenVINO) for name in ("pixels", "several")
]


@pytest.mark.parametrize(
    "runtime, name", CELLS, ids=[f"{r.__name__}-{n}" for r, n in CELLS]
)
def test_a_file_gives_what_the_predictor_gives(runtime, name, tmp_path):
    require(runtime)
    keras.utils.set_random_seed(1)
    model, labels = MAKE[name]()
    noise = {"noise_variance": 0.5} if name == "vector" else {}
    predictor = tfhyper.PosteriorPredictor(model, num_draws=2, **noise)
    x = RNG.normal(size=(7, *model.input_shape[1:])).astype("float32")
    path = str(tmp_path / runtime.name)
    report = runtime.export(predictor, path, check_data=(x, labels), verbose=0)
    assert report.largest <= report.tolerance and report.examples == 7
    of_file, of_predictor = report.scores["file"], report.scores["predictor"]
    assert of_file == pytest.approx(of_predictor, rel=1e-4, abs=1e-5)
    evaluated = predictor.evaluate(x, labels)
    shared = {name for name in of_predictor if name in evaluated}
    assert shared >= {"several": {"kind_nll", "place_crps"}}.get(name, {"nll"})
    for score in shared:
        expected = pytest.approx(evaluated[score], rel=1e-4, abs=1e-5, nan_ok=True)
        assert of_predictor[score] == expected
    found = runtime.run(path, inputs=x)
    prediction = predictor.predict(x)
    if name == "several":
        np.testing.assert_allclose(
            found["kind_epistemic"], prediction["kind"].epistemic, atol=1e-5
        )
        label = found["kind_class"]
        np.testing.assert_array_equal(label, prediction["kind"].label)
        return
    np.testing.assert_allclose(found["epistemic"], prediction.epistemic, atol=1e-4)
    if name == "tags":
        np.testing.assert_array_equal(found["label"], prediction.label)
