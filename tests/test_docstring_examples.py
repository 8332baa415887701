"""Every example of a docstring runs, and gives what it says.

A block of `>>>` lines runs by itself, in a folder of its own, with the names of its
module and those that stand below.
"""

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import json
import pkgutil
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhyper

# Block -> why it does not run here.
NOT_RUN = {
    "convert.convert": "downloads the weights of ImageNet",
    "training.multi_worker_fit.for_multi_worker_fit": "needs several processes",
}
# Block -> package that it imports, and that may be missing.
NEEDS = {
    "export.comparison.FileReport": "onnxruntime",
    "export.litert.litert": "ai_edge_litert",
    "export.onnx.onnx": "onnxruntime",
    "export.openvino.openvino": "openvino",
}
# Packages whose own tests run their examples.
ELSEWHERE = {"analysis", "metrics"}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

SHAPE = (8, 8, 1)
EPOCHS, STEPS = 2, 4


def make_images(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = rng.normal(size=(count, *SHAPE)) + labels[:, None, None, None] / 5
    return images.astype("float32"), labels


def make_model():
    """Returns a small Bayesian network, compiled."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input(SHAPE)
    options = {"kl_weight": 1e-4, "seed": 1}
    x = tfhyper.layers.BayesConv2D(8, 3, use_bias=False, name="conv", **options)(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(
        inputs, tfhyper.layers.BayesDense(10, name="logits", **options)(x)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


@functools.cache
def trained_weights():
    model = make_model()
    model.fit(*make_images(200, 0), epochs=1, verbose=0)
    return model.get_weights()


def trained_model():
    model = make_model()
    model.set_weights(trained_weights())
    return model


@functools.cache
def shared_predictor():
    predictor = tfhyper.PosteriorPredictor(trained_model(), num_draws=8, seed=0)
    return predictor.calibrate(make_images(200, 0)[0], verbose=0)


def predictor():
    found = shared_predictor()
    found.rejection = found.scaling = None  # what another example left
    return found


def regression():
    """Returns a small network with dropout that gives one number, trained."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(16, activation="relu"),
            tfhyper.layers.MCDropout(0.2, seed=3),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(200, 3))
    model.fit(x, x.sum(1), verbose=0)
    return model


def digits():
    """Returns a small classifier of plain layers, trained."""
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, activation="relu")]
    model = keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(*make_images(200, 0), epochs=2, verbose=0)
    return model


def tagger():
    """Returns a small network of two labels, each by itself."""
    keras.utils.set_random_seed(2)
    hidden = tfhyper.layers.BayesDense(4, activation="tanh")
    head = keras.layers.Dense(2, activation="sigmoid")
    return keras.Sequential([keras.Input((3,)), hidden, head])


def heteroscedastic():
    """Returns a small network with dropout that gives mean and deviation."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="tanh"),
            tfhyper.layers.MCDropout(0.2, seed=3),
            keras.layers.Dense(2),
            tfhyper.heads.NormalHead(),
        ]
    )


def trained():
    """Returns a small classifier of pictures, of plain layers, by the name trained."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input(SHAPE, name="image")
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(10, name="logits")(x)
    return keras.Model(inputs, outputs, name="trained")


def two_headed():
    """Returns a small network of a class and of a number."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((3,))
    hidden = tfhyper.layers.BayesDense(4, activation="tanh")(inputs)
    kind = keras.layers.Dense(2, activation="softmax")(hidden)
    size = keras.layers.Dense(1)(hidden)
    model = keras.Model(inputs, {"kind": kind, "size": size})
    model.compile(
        "sgd", {"kind": "sparse_categorical_crossentropy", "size": "mean_squared_error"}
    )
    return model


def residual():
    """Returns a small residual network with generated kernels."""
    keras.utils.set_random_seed(3)
    kit = tfhyper.kits.hyper(code_units=4, hidden_units=4, seed=0)
    return tfhyper.models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit)


def paths():
    """Returns paths of three trained models."""
    found = ["a.keras", "b.keras", "c.keras"]
    for path in found:
        trained_model().save(path)
    return found


def dataset():
    batches = tf.data.Dataset.from_tensor_slices(make_images(STEPS * 16, 0)).batch(16)
    return batches.repeat()


def small_data(seed=0):
    return tfhyper.data.load(
        "fashion_mnist_small",
        batch_size=16,
        train_examples=16 * STEPS,
        test_examples=50,
        seed=seed,
    )


def build(seed=0):
    model = tfhyper.models.lenet5(input_shape=(28, 28, 1), width_multiplier=0.2)
    return tfhyper.training.compile_recipe(model, EPOCHS, STEPS)


# Name in an example -> function that gives the value.
VALUES = {
    "build": lambda: build,
    "data": small_data,
    "dataclasses": lambda: dataclasses,
    "dataset": dataset,
    "digits": digits,
    "inspect": lambda: inspect,
    "json": lambda: json,
    "keras": lambda: keras,
    "model": trained_model,
    "np": lambda: np,
    "paths": paths,
    "predictor": predictor,
    "regression": regression,
    "tagger": tagger,
    "trained": trained,
    "two_headed": two_headed,
    "heteroscedastic": heteroscedastic,
    "residual": residual,
    "tf": lambda: tf,
    "tfhyper": lambda: tfhyper,
    "warnings": lambda: warnings,
    "x_test": lambda: make_images(2000, 1)[0],
    "x_train": lambda: make_images(200, 0)[0],
    "x_val": lambda: make_images(200, 2)[0],
    "y_test": lambda: make_images(2000, 1)[1],
    "y_train": lambda: make_images(200, 0)[1],
    "y_val": lambda: make_images(200, 2)[1],
}


def modules():
    """Returns the modules of the package."""
    names = [x.name for x in pkgutil.walk_packages(tfhyper.__path__, "tfhyper.")]
    return [importlib.import_module(name) for name in names]


def collect():
    """Returns name, without "tfhyper.", -> block of examples."""
    finder, found = doctest.DocTestFinder(exclude_empty=True), {}
    for module in modules():
        tests = finder.find(module, module.__name__)
        for name, value in vars(module).items():
            # What a function made, doctest takes for one of another module.
            made = getattr(value, "__module__", None) == module.__name__
            full = f"{module.__name__}.{name}"
            if made and inspect.isfunction(value) and value.__doc__:
                if full not in {test.name for test in tests}:
                    tests += finder.find(value, full, module=False)
        for test in tests:
            if test.examples:
                test.globs = dict(vars(module))
                found[test.name.removeprefix("tfhyper.")] = test
    return found


BLOCKS = collect()


class Checker(doctest.OutputChecker):
    """Takes a shape for equal to a tuple, which it is on some backends only."""

    def check_output(self, want, got, optionflags):
        want, got = (
            re.sub(r"(TensorShape|torch\.Size)\(\[(.*?)\]\)", r"(\2)", text)
            for text in (want, got)
        )
        return super().check_output(want, got, optionflags)


RUN = sorted(
    name
    for name in BLOCKS.keys() - NOT_RUN.keys()
    if name.split(".")[0] not in ELSEWHERE
)


def names_in(test):
    nodes = [
        node
        for example in test.examples
        for node in ast.walk(ast.parse(example.source))
    ]
    return {node.id for node in nodes if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", RUN)
def test_examples_run_and_give_what_they_say(name, tmp_path, monkeypatch):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    test = BLOCKS[name]
    used = names_in(test) & VALUES.keys()
    globs = {**test.globs, **{x: VALUES[x]() for x in used if x not in test.globs}}
    keras.utils.set_random_seed(0)
    fresh = doctest.DocTest(
        test.examples, globs, name, test.filename, test.lineno, test.docstring
    )
    runner, said = doctest.DocTestRunner(Checker(), optionflags=OPTIONS), []
    with warnings.catch_warnings():
        runner.run(fresh, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", sorted(BLOCKS.keys() - NOT_RUN.keys()))
def test_examples_state_a_result(name):
    examples = BLOCKS[name].examples
    assert any(example.want or example.exc_msg for example in examples)


def test_every_public_example_is_collected():
    documented = set()
    for module in modules():
        if not hasattr(module, "__path__"):
            continue
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                doc = vars(value).get("__doc__") or ""
                doc = doc if inspect.isclass(value) else value.__doc__
                if "Example" in doc and ">>>" in doc:
                    documented.add(f"{value.__module__}.{value.__qualname__}")
    assert len(documented) > 150
    assert {name.removeprefix("tfhyper.") for name in documented} <= BLOCKS.keys()


def test_what_does_not_run_is_known():
    assert NOT_RUN.keys() <= BLOCKS.keys()
    assert NEEDS.keys() <= BLOCKS.keys()
