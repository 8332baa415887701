"""Weight decay leaves out what layers say of their variables, not what is in names."""

import copy

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.kits import make_kit
from tfhyper import kits, layers
from tfhyper.training import CoupledDecaySGD, compile_imagenet_recipe, compile_recipe

RATE, DECAY = 0.1, 0.5
USER_NAMES = ("flow_output", "multiplier_net", "kernel_mean", "generator_hidden")


def steps_of_nothing(optimizer, variables):
    """Returns which variables a step with a gradient of 0 changes."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if inner.built:  # a training before moves on by its momentum
        for momentum in inner.momentums:
            momentum.assign(np.zeros(momentum.shape))
    for variable in variables:
        variable.assign(np.full(variable.shape, 0.5))
    zeros = [ops.zeros(variable.shape) for variable in variables]
    optimizer.apply(zeros, variables)
    return [float(ops.max(ops.abs(v - 0.5))) > 0 for v in variables]


def changed_by(model):
    """Returns the ids of the variables that a model's optimizer decays."""
    variables = model.trainable_variables
    changes = steps_of_nothing(model.optimizer, variables)
    return {id(v) for v, yes in zip(variables, changes, strict=True) if yes}


def own_variables(layer):
    return {id(v): v for v in layer.trainable_variables}


def network(kit):
    keras.utils.set_random_seed(0)
    return tfhyper.models.wide_resnet(
        10, 1, num_classes=3, input_shape=(4, 4, 2), kit=kit
    )


def expected_to_decay(model, decay_generator=False):
    """By the classes of the layers: a list of what the documentation says."""
    left_out = {}
    for layer in model._flatten_layers():
        own = own_variables(layer)
        if isinstance(layer, layers.VariationalLayer):
            plain = {"bias", "direction", "shared_kernel"}
            left_out |= {key: v for key, v in own.items() if v.name not in plain}
        elif isinstance(layer, layers.KernelGenerator) and not decay_generator:
            left_out |= own
        elif not decay_generator:
            for name in ("generator_hidden", "generator_output", "embeddings"):
                if isinstance(layer, layers.StochasticLayer) and hasattr(layer, name):
                    left_out[id(getattr(layer, name))] = None
    return {id(v) for v in model.trainable_variables} - left_out.keys()


@pytest.mark.parametrize("kit", sorted(kits.KITS))
def test_decayed_are_all_but_generators_and_weights_with_a_prior(kit):
    model = network(make_kit(kit))
    for decay_generator in (False, True):
        compile_recipe(
            model, 1, 1, decay_generator=decay_generator, fast_generator=False
        )
        expected = expected_to_decay(model, decay_generator)
        assert 0 < len(expected) <= len(model.trainable_variables)
        assert changed_by(model) == expected


def users_network():
    """Names that were once those of posteriors and generators, and such layers."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((3,))
    for name in USER_NAMES:
        x = keras.layers.Dense(3, activation="tanh", name=name)(x)
    x = layers.BayesDense(3, kl_weight=0.0, seed=1, name="drawn")(x)
    outputs = layers.HyperDense(
        2, hidden_units=4, code_units=4, mean_kernel=True, seed=2, name="generated"
    )(x)
    return keras.Model(inputs, outputs)


EXPECTED = {
    *(f"{name}/{part}" for name in USER_NAMES for part in ("kernel", "bias")),
    "drawn/bias",
    "generated/mean_kernel",
    "generated/bias",
}
WITH_GENERATOR = EXPECTED | {"generated/generator_hidden", "generated/generator_output"}


def decayed_paths(model, optimizer=None):
    """Returns layer/variable of what a model's optimizer decays."""
    variables = model.trainable_variables
    changes = steps_of_nothing(optimizer or model.optimizer, variables)
    names = ["/".join(v.path.split("/")[-2:]) for v in variables]
    return {name for name, yes in zip(names, changes, strict=True) if yes}


@pytest.mark.parametrize("compile_it", [compile_recipe, compile_imagenet_recipe])
def test_users_layers_keep_their_decay_by_any_name(compile_it):
    model = compile_it(users_network(), 1, 1, fast_generator=False)
    assert decayed_paths(model) == WITH_GENERATOR


def test_a_step_is_that_of_the_penalty_of_keras():
    """Against kernel_regularizer and bias_regularizer on the users' layers."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    y = np.arange(6) % 3

    def dense(penalty):
        keras.utils.set_random_seed(0)
        options = {"kernel_regularizer": penalty, "bias_regularizer": penalty}
        model = keras.Sequential([keras.Input((3,))])
        for name in USER_NAMES:
            model.add(keras.layers.Dense(3, name=name, **options))
        return model

    penalised = dense(keras.regularizers.L2(DECAY / 2))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    penalised.compile(keras.optimizers.SGD(RATE, 0.9, nesterov=True), loss)
    recipe = compile_recipe(dense(None), 1, 9, learning_rate=RATE, weight_decay=DECAY)
    for model in (penalised, recipe):
        model.fit(x, y, batch_size=6, epochs=2, verbose=0)
    for found, expected in zip(
        recipe.get_weights(), penalised.get_weights(), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def loaded(model, path):
    model.save(path / "it.keras")
    return keras.saving.load_model(path / "it.keras")


def cloned(model, path):
    twin = keras.models.clone_model(model)
    return compile_recipe(twin, 1, 1, fast_generator=False)


def copied(model, path):
    return copy.deepcopy(model)


@pytest.mark.parametrize("make", [loaded, cloned, copied])
@pytest.mark.parametrize("trained_before", [False, True])
def test_copies_of_a_compiled_model_decay_the_same(make, trained_before, tmp_path):
    model = compile_recipe(users_network(), 1, 1, fast_generator=False)
    if trained_before:
        model.fit(np.ones((4, 3)), np.zeros(4), epochs=1, verbose=0)
    twin = make(model, tmp_path)
    assert twin is not model
    assert decayed_paths(twin) == WITH_GENERATOR


def test_the_optimizer_inside_of_a_loss_scale_knows_the_roles():
    model = users_network()
    inner = CoupledDecaySGD(
        RATE, coupled_decay=DECAY, no_decay_roles=("posterior", "generator")
    )
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    assert decayed_paths(model, optimizer) == EXPECTED
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert decayed_paths(users_network(), twin) == EXPECTED


def test_a_posterior_of_a_users_own_says_what_it_is():
    class Scale(layers.VariationalLayer, keras.layers.Layer):
        def build(self, input_shape):
            self.flow_output = self.add_weight(shape=(1,), name="flow_output")
            self.location = self.add_weight(shape=(1,), name="anything")
            layers.give_role("posterior", [self.location])

        def call(self, inputs):
            return inputs * self.location + self.flow_output

    layer = Scale()
    layer.build((None, 1))
    assert [layers.role_of(v) for v in (layer.flow_output, layer.location)] == [
        None,
        "posterior",
    ]
    model = keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(2)])
    compile_recipe(model, 1, 1)
    assert {path.split("/")[-1] for path in decayed_paths(model)} == {
        "flow_output",
        "kernel",
        "bias",
    }


# As `compile_recipe` wrote it when variables were told by their names.
OLD = (
    "kernel_mean kernel_rho bias_mean bias_rho prior_rho g_location g_log_scale "
    "flow_hidden flow_output multiplier_ generator_hidden generator_output "
    "generator_embeddings"
).split()


@pytest.mark.parametrize(
    "names, kept, roles",
    [
        (OLD, (), ("posterior", "generator")),
        (OLD[:-3], (), ("posterior",)),
        ([*OLD[:4], "gamma"], ("gamma",), ("posterior",)),
        (["generator_output", "gamma"], ("generator_output", "gamma"), ()),
        ([], (), ()),
    ],
)
def test_optimizers_of_old_files_load_with_roles(names, kept, roles):
    config = CoupledDecaySGD(RATE, coupled_decay=DECAY, no_decay=names).get_config()
    del config["no_decay_roles"]
    optimizer = CoupledDecaySGD.from_config(config)
    assert (optimizer.no_decay, optimizer.no_decay_roles) == (kept, roles)
    assert CoupledDecaySGD.from_config(optimizer.get_config()).get_config() == (
        optimizer.get_config()
    )
    if names == OLD:
        assert decayed_paths(users_network(), optimizer) == EXPECTED


def test_bad_roles():
    with pytest.raises(ValueError, match="`no_decay_roles` must be.*'kernel'"):
        CoupledDecaySGD(no_decay_roles=("kernel",))
    for name in ("no_decay", "no_decay_roles"):
        for value in ("posterior", [1]):
            with pytest.raises(TypeError, match=f"`{name}` must be.*Received: {name}="):
                CoupledDecaySGD(**{name: value})
    with pytest.raises(ValueError, match="`role` must be one of.*role='prior'"):
        layers.give_role("prior", [])
    for recipe in (compile_recipe, compile_imagenet_recipe):
        with pytest.raises(ValueError, match="`decay_generator` must be True or"):
            recipe(users_network(), 1, 1, decay_generator="False")
