"""With a loss of zero, a step shrinks the weights of generators by the decay alone.

The loss is zero, and so is its gradient, with a single class: softmax of one logit is
1, whatever the logit.
"""

import dataclasses
import importlib.util
import json

import keras
import numpy as np
import pytest

from tests.helpers.processes import run_python
from tests.helpers.trainings import UNITS
from tfhyper import layers, training

DECAY = 0.3
X = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
Y = np.zeros(8, "int32")


def one_class():
    """Generators in the paper's form and beside a mean kernel, and plain layers."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.HyperConv2D(4, 3, seed=1, mean_kernel=False, **UNITS),
            keras.layers.BatchNormalization(),
            layers.HyperConv2D(3, 3, seed=2, mean_kernel=True, **UNITS),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )


def by(recipe, **options):
    def compile_it(model, **more):
        return recipe(model, 5, 5, weight_decay=DECAY, **options, **more)

    return compile_it


def by_adamw(model, fast_generator=True):
    """No recipe has a decay beside Adam; the path of packed gradients takes it."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=DECAY), loss)
    if fast_generator:
        assert training.use_fast_generator(model) == []
    return model


def shrunk(rate):
    """The rate times the decay, of the weight."""
    return lambda w: w * (1 - rate * DECAY)


def by_adams_quotient(w):
    """Adam's first step: the gradient, decay w, over its own size."""
    gradient = DECAY * w
    # Keras adds epsilon to the deviation before its bias is corrected.
    size = np.abs(gradient) + 1e-7 / np.sqrt(1 - 0.999)
    return w - 1e-3 * gradient / size


# name -> how the model is compiled, and the weight after a step.
CASES = {
    # Nesterov's first step is 1 + 0.9 times that of plain descent.
    "compile_recipe": (by(training.compile_recipe), shrunk(0.1 * 1.9)),
    "compile_imagenet_recipe": (
        by(training.compile_imagenet_recipe, batch_size=256),
        shrunk(0.1),
    ),
    "compile_imagenet_recipe, nesterov": (
        by(training.compile_imagenet_recipe, batch_size=256, nesterov=True),
        shrunk(0.1 * 1.9),
    ),
    "compile_adam_recipe": (by(training.compile_adam_recipe), by_adams_quotient),
    "adamw": (by_adamw, shrunk(0.1)),
}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_theta_shrinks_by_the_decay_alone(name, fast):
    compile_it, expected = CASES[name]
    model = compile_it(one_class(), fast_generator=fast)
    # Biases and BatchNorm's start at 0 and 1.
    for variable in model.trainable_variables:
        shape = variable.shape
        variable.assign(np.random.default_rng(1).normal(size=shape, scale=0.1))
    before = [np.array(v, "float64") for v in model.trainable_variables]
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    names = [v.name for v in model.trainable_variables]
    assert names.count("generator_hidden") == names.count("generator_output") == 2
    for variable, w in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_allclose(
            np.array(variable), expected(w), rtol=2e-6, atol=2e-8, err_msg=variable.path
        )


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", [name for name in CASES if name != "adamw"])
def test_theta_stays_if_it_is_not_to_decay(name, fast):
    compile_it, _ = CASES[name]
    model = compile_it(one_class(), fast_generator=fast, decay_generator=False)
    before = {v.path: np.array(v) for v in model.trainable_variables}
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    kept = {
        v.path.split("/")[-1]
        for v in model.trainable_variables
        if np.array_equal(v, before[v.path])
    }
    # Biases and offsets start at 0.
    assert kept == {"generator_hidden", "generator_output", "bias", "beta"}


def test_adam_decays_nothing_unless_asked():
    model = training.compile_adam_recipe(one_class(), 1, 1)
    assert model.optimizer.__class__ is keras.optimizers.Adam


def test_decaying_adam_is_that_of_torch():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    rng = np.random.default_rng(2)
    start, gradients = rng.normal(size=5), rng.normal(size=(4, 5))
    variable = keras.Variable(start, dtype="float64")
    optimizer = training.CoupledDecayAdam(1e-2, coupled_decay=DECAY, epsilon=1e-12)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    # Apart: the compilers that Torch and TensorFlow bring may not stand in one process.
    program = f"""
import json, torch
weight = torch.nn.Parameter(torch.tensor({start.tolist()}, dtype=torch.float64))
optimizer = torch.optim.Adam([weight], 1e-2, weight_decay={DECAY}, eps=1e-12)
for gradient in {gradients.tolist()}:
    weight.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
print(json.dumps(weight.tolist()))
"""
    done = run_python("-c", program, fresh=True, check=True)
    # Keras holds the rate in float32.
    found = keras.ops.convert_to_numpy(variable)
    np.testing.assert_allclose(found, json.loads(done.stdout), atol=1e-6)


def test_decaying_adam_is_written_and_read():
    optimizer = training.CoupledDecayAdam(
        1e-2, 0.5, no_decay=["a"], no_decay_roles=["generator"]
    )
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert type(twin) is training.CoupledDecayAdam
    assert twin.get_config() == optimizer.get_config()
    assert (twin.coupled_decay, twin.no_decay) == (0.5, ("a",))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_theta_has_a_decay_of_its_own(fast, optimizer):
    recipe = training.RECIPES["wide_resnet", "cifar10"]
    recipe = dataclasses.replace(recipe, optimizer=optimizer)
    model = recipe.compile(
        one_class(), 5, 5, weight_decay=0.0, generator_decay=DECAY, fast_generator=fast
    )
    before = {v.path: np.array(v, "float64") for v in model.trainable_variables}
    rate = float(model.optimizer.learning_rate)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    for variable in model.trainable_variables:
        w = before[variable.path]
        expected = w
        if layers.role_of(variable) == "generator":
            gradient = DECAY * w
            # Nesterov's first step, and Adam's: the sign, but for its epsilon.
            expected = w - 1.9 * rate * gradient
            if optimizer == "adam":
                size = np.abs(gradient) + 1e-7 / np.sqrt(1 - 0.999)
                expected = w - rate * gradient / size
        # The rate is a float32, and 0.1 of Adam's steps have its rounding.
        np.testing.assert_allclose(
            np.array(variable), expected, rtol=2e-6, atol=2e-6, err_msg=variable.path
        )


def test_a_decay_of_a_role_is_written_and_read():
    optimizer = training.CoupledDecaySGD(0.1, role_decays={"generator": 0.02})
    twin = training.CoupledDecaySGD.from_config(optimizer.get_config())
    assert twin.role_decays == {"generator": 0.02}
    old = optimizer.get_config()
    del old["role_decays"]  # as files of before
    assert training.CoupledDecaySGD.from_config(old).role_decays == {}


def test_bad_decays_of_roles():
    with pytest.raises(ValueError, match="`role_decays` must be some of.*'kernel'"):
        training.CoupledDecaySGD(role_decays={"kernel": 0.1})
    with pytest.raises(ValueError, match="`role_decays` must be.*Received.*-1"):
        training.CoupledDecaySGD(role_decays={"generator": -1})
    with pytest.raises(ValueError, match="'generator' in both"):
        training.CoupledDecaySGD(
            no_decay_roles=("generator",), role_decays={"generator": 0.1}
        )
