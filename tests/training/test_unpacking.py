"""Optimizers that ask for packed gradients, as all others see them."""

import functools
import inspect
import json
import pathlib
import sys
import threading
import types
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.trainings import (
    STEPS,
    UNITS,
    X,
    Y,
    assert_close,
    batches,
    compiled,
    small_network,
    state,
)
from tfhyper.training import Trainer, for_multi_worker_fit, use_fast_generator
from tfhyper.training.unpacking import plain, unpacks

tf = pytest.importorskip("tensorflow")

SGD, LossScale = keras.optimizers.SGD, keras.optimizers.LossScaleOptimizer
TRAINING = str(pathlib.Path(tfhyper.training.__file__).parent)
FIT = {"steps_per_epoch": STEPS, "shuffle": False, "verbose": 0}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Seen(SGD):
    """Notes the shapes of weights, and of gradients as they come."""

    def apply(self, grads, trainable_variables=None):
        pairs = zip(trainable_variables, grads, strict=True)
        self.shapes = {tuple(v.shape): tuple(g.shape) for v, g in pairs}
        super().apply(grads, trainable_variables)


# Output weights -> what comes for them; the second ones are beside a mean kernel.
PACKED = {(6, 72): (6 + 1 + 72,), (6, 108): (6 + 1,)}
assert UNITS["hidden_units"] == 6


@pytest.mark.parametrize("outer", [lambda x: x, LossScale])
def test_what_comes_is_packed_and_the_state_is_that_of_the_optimizer(outer):
    inner = Seen(0.1, momentum=0.9)
    optimizer = outer(inner)
    model = compiled(optimizer=lambda: optimizer)
    assert unpacks(model.optimizer) and model.optimizer is not optimizer
    model.fit(batches(), **FIT)
    found = dict(inner.shapes)
    assert {weight: g for weight, g in found.items() if weight != g} == PACKED
    assert int(optimizer.iterations) == STEPS
    for a, b in zip(optimizer.variables, model.optimizer.variables, strict=True):
        assert a is b
    model.optimizer.learning_rate = 0.5
    assert float(inner.learning_rate) == 0.5
    inner.momentum = 0.3
    assert model.optimizer.get_config() == optimizer.get_config()


@pytest.mark.parametrize("outer", [lambda x: x, LossScale])
def test_it_is_of_the_class_that_it_was_made_of(outer):
    optimizer = outer(keras.optimizers.Adam(1e-3))
    model = compiled(optimizer=lambda: optimizer)
    found = model.optimizer
    assert isinstance(found, type(optimizer)) and unpacks(found)
    assert type(found).__name__ == type(optimizer).__name__
    serialized = keras.optimizers.serialize(found)
    assert serialized == keras.optimizers.serialize(optimizer)
    copy = keras.optimizers.deserialize(serialized)
    for plain_one in (optimizer, copy, plain(found), plain(optimizer)):
        assert type(plain_one) is type(optimizer) and not unpacks(plain_one)
    assert vars(plain(found)) is vars(optimizer)


def gradients(model, scaled):
    with tf.GradientTape() as tape:
        loss = LOSS(Y[:8], model(X[:8], training=True))
        if scaled:
            loss = model.optimizer.scale_loss(loss)
    return tape.gradient(loss, model.trainable_weights)


def test_only_gradients_of_the_loss_that_it_scaled_are_packed():
    model, other = compiled(optimizer=lambda: SGD(0.1)), compiled(fast=False)
    weights = model.trainable_weights

    def are_whole(found):
        return all(a.shape == b.shape for a, b in zip(found, weights, strict=True))

    expected = gradients(other, scaled=False)
    found = gradients(model, scaled=False)
    assert are_whole(found)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert not are_whole(gradients(model, scaled=True))
    # Those were thrown away, as by an error; what comes after is ordinary again.
    found = gradients(model, scaled=False)
    assert are_whole(found)
    # The optimizer takes these, too.
    before = [np.array(v) for v in weights]
    model.optimizer.apply(found, weights)
    for value, gradient, weight in zip(before, found, weights, strict=True):
        np.testing.assert_allclose(weight, value - 0.1 * gradient, atol=1e-6)


def content(path):
    """Returns what Keras reads of a file to compile a model, and its arrays."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as file, h5py.File(file) as arrays:
            found = {}

            def note(name, item):
                if isinstance(item, h5py.Dataset):
                    found[name] = np.array(item)

            arrays["optimizer"].visititems(note)
    return config["compile_config"], found


def test_files_are_those_of_the_ordinary_path(tmp_path):

    def optimizer():
        return SGD(0.1, momentum=0.9, name="named")

    contents = []
    for fast in (True, False):
        model = compiled(optimizer=optimizer, fast=fast)
        model.fit(batches(), **FIT)
        model.save(tmp_path / f"{fast}.keras")
        contents.append(content(tmp_path / f"{fast}.keras"))
    (config, arrays), (expected_config, expected) = contents
    assert config == expected_config
    assert_close(arrays, expected)
    assert arrays.keys() == expected.keys() and len(arrays) > 5
    # Also where what `compile` is given unpacks.
    fast = compiled(optimizer=optimizer)
    fast.compile(fast.optimizer, LOSS, metrics=["accuracy"], jit_compile=False)
    fast.save(tmp_path / "again.keras")
    assert content(tmp_path / "again.keras")[0] == expected_config
    loaded = keras.saving.load_model(tmp_path / "True.keras")
    assert type(loaded.optimizer) is SGD
    slots = dict(enumerate(map(np.array, loaded.optimizer.variables)))
    assert_close(slots, dict(enumerate(map(np.array, model.optimizer.variables))))


def held_functions(root):
    """Returns the functions that attributes hold, and their closures, at any depth."""
    found, seen, waiting = [], {}, [root]
    containers = (list, tuple, set, frozenset)
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type | types.ModuleType):
            continue
        seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            found.append(value)
            cells = inspect.getclosurevars(value).nonlocals
            waiting += cells.values()
        elif isinstance(value, types.MethodType):
            waiting += [value.__func__, value.__self__]
        elif isinstance(value, functools.partial):
            waiting += [value.func, value.args, value.keywords]
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, containers):
            waiting += value
        elif hasattr(value, "python_function"):
            waiting.append(value.python_function)
        elif hasattr(value, "__dict__"):
            waiting += vars(value).values()
    return found, list(seen.values())


def of_training(functions):
    return [f for f in functions if f.__module__.startswith("tfhyper.training")]


def test_held_functions_are_found():
    def closure():
        return inner

    def inner():
        pass

    thing = types.SimpleNamespace(a=[tf.function(closure)], b={"f": max})
    functions, values = held_functions(thing)
    assert closure in functions and inner in functions and thing in values
    thing.method = types.MethodType(use_fast_generator, thing)
    assert of_training(held_functions(thing)[0]) == [use_fast_generator]


@pytest.mark.parametrize("loop", ["fit", "trainer", "multi_worker_fit"])
def test_nothing_of_training_hangs_on_a_trained_model(loop):
    model = compiled(fast=loop != "trainer")
    trained, optimizer = model, model.optimizer
    if loop == "trainer":
        Trainer(model).fit(batches(), epochs=1, steps_per_epoch=STEPS, verbose=0)
        assert not any(getattr(x, "packs_gradient", False) for x in model.layers)
    else:
        if loop == "multi_worker_fit":
            trained = for_multi_worker_fit(model)
        trained.fit(batches(), **FIT)
    assert model.optimizer is optimizer
    for root in (model, trained):
        functions, values = held_functions(root)
        # The way leads to all that there is, and Keras' own step is found.
        assert {id(x) for x in (*root.layers, root.optimizer)} <= set(map(id, values))
        assert "train_step" not in vars(root) and "update_step" not in vars(optimizer)
        held = of_training(functions)
        if root is trained and loop == "multi_worker_fit":
            # Methods of its own class.
            held = [f for f in held if vars(type(root)).get(f.__name__) is not f]
        assert held == []
        if root.train_function is not None:
            assert any(f.__name__ == "train_step" for f in functions)


def reached(call):
    """Returns the names of functions of `tfhyper.training` that a call leads to."""
    found = set()

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(TRAINING):
            found.add(frame.f_code.co_name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def test_prediction_and_export_do_not_reach_training(tmp_path):
    model = compiled()
    found = reached(lambda: model.fit(batches(), **FIT))
    assert {"scale_loss", "apply", "update_step"} <= found

    def use():
        model.predict(X, verbose=0)
        predictor = tfhyper.PosteriorPredictor(model, num_draws=2)
        predictor.estimate_batch_norm(X, verbose=0)
        predictor.predict(X)
        tfhyper.export.saved_model(predictor, tmp_path / "exported")

    assert reached(use) == set()


def test_a_file_of_a_model_for_several_workers_is_one_for_one(tmp_path):
    model = compiled()
    outer = for_multi_worker_fit(model)
    outer.fit(batches(), **FIT)
    outer.save(tmp_path / "outer.keras")
    for load in (keras.saving.load_model, tfhyper.saving.load_model):
        loaded = load(tmp_path / "outer.keras")
        assert type(loaded) is type(keras.Model(model.inputs, model.outputs))
        assert_close(state(loaded), state(model), 0, 0)
    assert small_network().count_params() == loaded.count_params()
