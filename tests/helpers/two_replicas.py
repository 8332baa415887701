"""What runs on two logical CPUs, all in one process: they are set once in it."""

import functools
import json
import os

import keras
import numpy as np
import tensorflow as tf

from tests.helpers import trainings
from tests.helpers.kits import make_kit
from tests.helpers.trainings import (
    X,
    Y,
    batches,
    compiled,
    plain_network,
    state,
    train,
)
from tfhyper import kits, layers, training
from tfhyper.training import Trainer


def adamw():
    rate = keras.optimizers.schedules.CosineDecay(0.02, 6)
    return keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.5)


def decaying():
    return training.CoupledDecaySGD(0.1, 0.9, True, coupled_decay=0.05)


# name -> arguments of `train`; each is compared with `model.fit` on one device.
EQUAL = {
    "fast": {},
    "ordinary": {"fast": False},
    "one step a call": {"steps_per_call": 1},
    "shared code": {"build": trainings.shared_code_network},
    "adamw": {"build": trainings.shared_code_network, "optimizer": adamw},
    "decay": {"optimizer": decaying},
    "validation": {
        "build": plain_network,
        "fit_options": {"validation_data": None},  # made where it is used
    },
    "bayes": {"build": trainings.bayes_network},
    "counting": {"build": trainings.counting_network},
    "subspace": {"build": trainings.subspace_network},
}


# name -> arguments of `Trainer` for a step of weight decay alone.
DECAY_STEPS = {
    "fast": {"fast_generator": True},
    "ordinary": {"fast_generator": False},
    "fast, two weight sets": {"fast_generator": True, "weight_sets": 2},
}


def options_of(name):
    """Returns the arguments of a case, with what belongs to one process."""
    options = dict(EQUAL[name])
    if name == "validation":
        options["fit_options"] = {"validation_data": trainings.validation()}
    if name == "bayes":
        options["fit_options"] = {"callbacks": [training.LinearKLWarmup(2)]}
    return options


def plain_fit(name):
    """Returns the state after `model.fit` on one device, by Keras' ordinary path."""
    options = {**options_of(name), "fast": False}
    options.pop("steps_per_call", None)
    return state(*train(loop="fit", **options))


def step_of_decay(strategy, **trainer_options):
    """Returns weights before and after a step of the recipe with a loss of zero.

    Softmax of one class is 1, whatever the logit.
    """
    with strategy.scope():
        keras.utils.set_random_seed(0)
        inputs = trainings.small_network()
        outputs = keras.layers.Dense(1)(inputs.outputs[0])
        model = keras.Model(inputs.inputs, outputs)
        training.compile_recipe(model, 5, 5, weight_decay=0.3, jit_compile=False)
    before = [np.array(v) for v in model.trainable_variables]
    data = batches(X, np.zeros(len(X), "int32"))
    trainer = Trainer(model, **trainer_options)
    trainer.fit(data, epochs=1, steps_per_epoch=1, verbose=0)
    assert bool(trainer.why_not_fast) is not trainer_options["fast_generator"]
    names = [f"{i} {v.name}" for i, v in enumerate(model.trainable_variables)]
    return {
        **{f"before {n}": w for n, w in zip(names, before, strict=True)},
        **{
            f"after {n}": np.array(v)
            for n, v in zip(names, model.trainable_variables, strict=True)
        },
    }


def kit_network(kit):
    """A network of each kind of layer that a kit makes."""
    kit = kits.get(make_kit(kit, **({"hidden_units": 4} if kit == "hyper" else {})))
    inputs = x = keras.Input((6, 6, 2))
    x = kit.stem(3, 3, name="stem")(x)
    x = kit.norm(name="norm")(x)
    x = kit.dropout(0.2, name="dropout")(x)
    x = kit.conv(4, 3, name="stage1_block1/conv1")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, kit.logits(3, name="top")(x))


class Probe(keras.layers.Layer):
    """Notes what each replica sees of the first example."""

    def build(self, shape):
        self.seen = tf.Variable(
            tf.zeros(shape[1:]),
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def call(self, inputs):
        if tf.distribute.in_cross_replica_context():
            return inputs  # while the model is built
        self.seen.assign(inputs[0])
        return inputs


NOISE = {
    "code": lambda: layers.HyperDense(4, seed=1),
    "reparameterization": lambda: layers.BayesDense(4, seed=1),
    "mnf": lambda: layers.MNFDense(4, seed=1, num_flows=0),
    "flipout": lambda: layers.BayesDense(4, seed=1, estimator="flipout"),
    "local_reparameterization": lambda: layers.BayesDense(
        4, seed=1, estimator="local_reparameterization"
    ),
    "mc_dropout": lambda: layers.MCDropout(0.5, seed=1),
    "dropout": lambda: layers.Dropout(0.5, seed=1),
}


def seen_noise(strategy, per_replica_draws):
    """Returns what replicas see of the layers: name -> (replica, units).

    All examples are alike, so that only the noise can differ.
    """
    with strategy.scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16,))
        probes = {name: Probe() for name in NOISE}
        outputs = [
            keras.layers.GlobalAveragePooling1D()(
                keras.layers.Reshape((-1, 1))(probe(NOISE[name]()(inputs)))
            )
            for name, probe in probes.items()
        ]
        model = keras.Model(inputs, keras.layers.Add()(outputs))
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    trainer = Trainer(model, per_replica_draws=per_replica_draws)
    data = batches(np.ones((8, 16), "float32"), np.ones((8, 1), "float32"))
    trainer.fit(data, epochs=1, steps_per_epoch=2, verbose=0)
    found = {
        name: np.stack(strategy.experimental_local_results(probe.seen))
        for name, probe in probes.items()
    }
    return found, trainer.why_not_fast


def crossing_bytes(build):
    """Returns the bytes of the gradients that a replica gives away in a step."""
    sizes = []
    reduce = tf.distribute.ReplicaContext.all_reduce

    def counting(self, op, value, *args, **options):
        # The optimizer's gradients come in a list, BatchNorm's moments one by one.
        if isinstance(value, list):
            sizes.append(sum(x.shape.num_elements() * x.dtype.size for x in value))
        return reduce(self, op, value, *args, **options)

    tf.distribute.ReplicaContext.all_reduce = counting
    try:
        data = batches(np.zeros((24, 8, 8, 2), "float32"))
        train(tf.distribute.get_strategy(), build, data=data, epochs=1)
    finally:
        tf.distribute.ReplicaContext.all_reduce = reduce
    assert sizes
    return sizes[-1]


def errors(strategy):
    """Returns what is said of bad input: name -> (type, message)."""
    found = {}

    def note(name, function):
        try:
            function()
            found[name] = None
        except Exception as error:
            found[name] = [type(error).__name__, str(error)]

    def optimizer_outside():
        with strategy.scope():
            model = compiled(plain_network)
        with tf.distribute.get_strategy().scope():
            optimizer = keras.optimizers.SGD()
            optimizer.build(model.trainable_variables)
        with strategy.scope():
            model.compile(optimizer, "mse")
        Trainer(model)

    def model_outside():
        model = plain_network()
        with strategy.scope():
            model = keras.Sequential(model.layers)
            model.compile("sgd", "mse", jit_compile=False)
            Trainer(model)

    def uneven():
        with strategy.scope():
            model = compiled()
        weights = [np.array(w) for w in model.trainable_weights]
        try:
            Trainer(model).fit(batches(size=9), epochs=1, steps_per_epoch=1, verbose=0)
        finally:
            found["trained on"] = not all(
                map(np.array_equal, weights, model.trainable_weights)
            )

    note("optimizer outside", optimizer_outside)
    note("model outside", model_outside)
    note("uneven", uneven)
    jit = {"jit_compile": True}
    note("jit", lambda: train(strategy, plain_network, compile_options=jit))
    note(
        "accumulation",
        lambda: train(
            strategy,
            plain_network,
            lambda: keras.optimizers.SGD(gradient_accumulation_steps=2),
            fast=False,
        ),
    )
    note(
        "float16", lambda: train(strategy, compile_options={"policy": "mixed_float16"})
    )

    def bad_loss():
        weight = np.ones(24)
        weight[8 + 7] = np.nan  # of the second replica
        data = tf.data.Dataset.from_tensor_slices((X, Y, weight)).batch(8)
        train(strategy, plain_network, data=data)

    note("nan", bad_loss)
    note("early", lambda: train(strategy, plain_network, data=batches().take(4)))
    return found


def work(folder):
    """Runs all and writes what it finds in the folder."""
    strategy = trainings.two_devices()

    def save(name, values):
        np.savez(os.path.join(folder, name), **values)

    for name in EQUAL:
        save(name, state(*train(strategy, **options_of(name))))
    save("counting by fit", state(*train(strategy, loop="fit", **EQUAL["counting"])))
    # With statistics of the parts, which are those of model.fit.
    save("per_replica", state(*train(strategy, batch_norm="per_replica")))
    save("per_replica by fit", state(*train(strategy, loop="fit", fast=False)))
    save("sets", state(*train(strategy, weight_sets=2, batch_norm="per_replica")))
    save("sets ordinary", state(*train(strategy, weight_sets=2, fast=False)))
    save("sets fast", state(*train(strategy, weight_sets=2)))
    for name, options in DECAY_STEPS.items():
        save(f"decay {name}", step_of_decay(strategy, **options))
    bfloat16 = {"compile_options": {"policy": "mixed_bfloat16"}}
    save("bfloat16", state(*train(strategy, **bfloat16)))
    for name in kits.KITS:
        build = functools.partial(kit_network, name)
        save(f"kit {name}", state(*train(strategy, build, loop="fit", epochs=1)))
    same, _ = seen_noise(strategy, False)
    other, why = seen_noise(strategy, True)
    save("noise", same)
    save("noise per replica", other)
    found = {"errors": errors(strategy), "why": why}
    with strategy.scope():
        found["bytes"] = [
            crossing_bytes(trainings.wide_resnet),
            crossing_bytes(lambda: trainings.wide_resnet("deterministic")),
        ]
    with open(os.path.join(folder, "found.json"), "w") as file:
        json.dump(found, file)
