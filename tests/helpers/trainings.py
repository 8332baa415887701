"""Small trainings, the same on one device, on two, and on two machines."""

import keras
import numpy as np

from tfhyper import kits, layers, models, training
from tfhyper.training import Trainer, make_strategy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 6, 6, 2)).astype("float32")
Y = (np.arange(24) % 3).astype("int32")
EPOCHS, STEPS, BATCH = 2, 3, 8
UNITS = {"hidden_units": 6, "code_units": 4}


def small_network():
    """Two generated kernels with codes of their own, and BatchNorm between."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.HyperConv2D(
                4, 3, seed=1, use_bias=False, mean_kernel=False, **UNITS
            ),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.ReLU(),
            layers.HyperConv2D(3, 3, seed=2, mean_kernel=True, **UNITS),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )


def plain_network():
    """The same sizes, without anything random."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def shared_code_network():
    """One layer called twice with one code, another with that code once."""
    inputs = keras.Input((6, 6, 2))
    code = layers.LatentCode(4, seed=5)(inputs)
    conv = layers.HyperConv2D(2, 3, padding="same", activation="relu", **UNITS)
    x = conv(conv(inputs, code), code)
    x = layers.HyperConv2D(3, 3, **UNITS)(x, code)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x)


def subspace_network():
    """A simplex, whose corners a term of the loss holds apart."""
    inputs = keras.Input((6, 6, 2))
    point = layers.SubspacePoint("simplex", 3, 0.5, seed=5, name="point")
    code, x = point(inputs), inputs
    for layer in (
        keras.layers.Conv2D(2, 3, activation="relu", name="first"),
        keras.layers.Conv2D(3, 3, name="second"),
    ):
        posterior = layers.SubspacePosterior(
            "simplex", 3, seed=6, name=f"{layer.name}_posterior"
        )
        x = layers.RandomVariables(layer, posterior, ("kernel", "bias"))(x, code=code)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def bayes_network():
    """A Gaussian posterior whose noise is the kernel's alone."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.BayesConv2D(3, 3, seed=1, kl_weight=1 / 24),
            layers.HyperConv2D(3, 3, seed=2, **UNITS),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def counting_network():
    """Layers that find the weight of their KL divergence; one is called twice."""
    twice = layers.BayesConv2D(2, 3, padding="same", seed=1)
    inputs = keras.Input((6, 6, 2))
    x = layers.BayesConv2D(3, 3, seed=2)(twice(twice(inputs)))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def wide_resnet(kit=None):
    kit = kit or kits.hyper("all_in_one", hidden_units=8, seed=3)
    return models.wide_resnet(10, 1, num_classes=3, input_shape=(8, 8, 2), kit=kit)


def batches(x=X, y=Y, size=BATCH):
    """Returns a dataset that goes through the batches in order, for ever."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y)).batch(size).repeat()


def validation():
    """Returns batches of which the last ones are short: 8, 8 and 1."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((X[:17], Y[:17])).batch(8)


def compiled(build=small_network, optimizer=None, *, fast=True, policy=None, **options):
    """Returns a compiled model with weights of one seed."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        model = build()
        model.compile(
            optimizer() if optimizer else keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **{"jit_compile": False, "metrics": ["accuracy"], **options},
        )
    finally:
        keras.config.set_dtype_policy(before)
    if fast:
        reasons = training.use_fast_generator(model)
        assert reasons in ([], ["the model has no generated kernels"]), reasons
    return model


def state(model, history=None):
    """Returns weights, slots of the optimizer and history: name -> array.

    The names are numbered: those of two models in one process differ.
    """
    values = {f"{i:03} {w.path}": np.array(w) for i, w in enumerate(model.weights)}
    return {**values, **(history.history if history else {})}


def train(
    strategy=None,
    build=small_network,
    optimizer=None,
    *,
    loop="trainer",
    fast=True,
    data=None,
    epochs=EPOCHS,
    compile_options=None,
    fit_options=None,
    **trainer_options,
):
    """Trains a small network and returns it with its history.

    `loop`: `"trainer"`, or `"fit"` for `model.fit` by the ordinary path of Keras.
    """
    strategy = strategy or make_strategy("none")
    with strategy.scope():
        compile_options = {"fast": fast, **(compile_options or {})}
        model = compiled(build, optimizer, **compile_options)
    fit_options = {
        "epochs": epochs,
        "steps_per_epoch": STEPS,
        "verbose": 0,
        **(fit_options or {}),
    }
    data = batches() if data is None else data
    if loop == "fit":
        return model, model.fit(data, shuffle=False, **fit_options)
    trainer = Trainer(model, fast_generator=fast, **trainer_options)
    if fast and not trainer.why_not_fast == ["the model has no generated kernels"]:
        assert trainer.why_not_fast == []
    return model, trainer.fit(data, **fit_options)


def assert_close(found, expected, atol=1e-6, rtol=1e-6):
    """Fails unless two states are alike; the names of weights may differ."""
    assert len(found) == len(expected)
    for (name, a), (_, b) in zip(found.items(), expected.items(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


def two_devices():
    """Returns the strategy of two logical CPUs; the first use of TensorFlow."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    return make_strategy("mirrored")
