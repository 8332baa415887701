"""Packed gradients against the ordinary ones, which Keras makes and TensorFlow sums.

All equalities also guard what TensorFlow does not document: that its tape takes a
gradient of another shape than its variable.
"""

import keras
import numpy as np
import pytest

from tests.helpers.trainings import (
    STEPS,
    UNITS,
    X,
    Y,
    assert_close,
    batches,
    bayes_network,
    compiled,
    plain_network,
    shared_code_network,
    small_network,
    state,
    train,
    wide_resnet,
)
from tfhyper import layers, training
from tfhyper.training.fast_generator import ELEMENTWISE, use_fast_generator

tf = pytest.importorskip("tensorflow")

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: training.CoupledDecaySGD(
        0.1, 0.9, True, 5e-3, no_decay=("norm",)
    ),
    "adam": lambda: keras.optimizers.Adam(1e-2),
    "amsgrad": lambda: keras.optimizers.Adam(1e-2, amsgrad=True),
    "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-2, momentum=0.5, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(1e-2),
    "nadam": lambda: keras.optimizers.Nadam(1e-2),
    "weight_decay": lambda: keras.optimizers.SGD(0.1, weight_decay=0.1),
    "ema": lambda: keras.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=4
    ),
    "loss_scale": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0),
    "dynamic_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1, momentum=0.9)
    ),
    "schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 6)
    ),
}


def test_every_elementwise_optimizer_has_its_case():
    classes = {type(make()) for make in OPTIMIZERS.values()}
    assert classes >= set(ELEMENTWISE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_are_those_of_the_ordinary_path(optimizer):
    """Six steps."""
    options = {"optimizer": OPTIMIZERS[optimizer], "loop": "fit"}
    fast, history = train(fast=True, **options)
    plain, expected = train(fast=False, **options)
    # Division by the gradient's own size makes of a rounding a part of a step, which
    # is of 1e-2, where a gradient is nearly zero.
    atol = 1e-6 if isinstance(fast.optimizer, keras.optimizers.SGD) else 1e-5
    assert_close(state(fast, history), state(plain, expected), atol=atol)
    slots = [np.array(v) for v in fast.optimizer.variables]
    for a, b in zip(slots, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=b.path)


@pytest.mark.parametrize("build", [shared_code_network, bayes_network, wide_resnet])
def test_networks(build):
    """One code for many layers and for a layer called twice; KL divergences."""
    shape = (24, 8, 8, 2) if build is wide_resnet else (24, 6, 6, 2)
    data = batches(np.random.default_rng(1).normal(size=shape).astype("float32"))
    found, expected = (
        state(*train(None, build, loop="fit", fast=fast, data=data))
        for fast in (True, False)
    )
    assert_close(found, expected)


# In the loss' units of the last place, 2^-8 and 2^-11, of weights of about 1.
@pytest.mark.parametrize(
    ("policy", "rounding"), [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)]
)
def test_mixed_precision(policy, rounding):
    """The generators are float32, and so are both gradients."""
    found, expected = (
        state(*train(loop="fit", fast=fast, compile_options={"policy": policy}))
        for fast in (True, False)
    )
    assert_close(found, expected, atol=rounding)


def test_steps_per_execution():
    options = {"loop": "fit", "compile_options": {"steps_per_execution": 3}}
    found = state(*train(fast=True, **options))
    assert_close(found, state(*train(loop="fit", fast=False)))


def test_compiled_steps():
    options = {"loop": "fit", "compile_options": {"jit_compile": True}}
    found, expected = (state(*train(fast=f, **options)) for f in (True, False))
    assert_close(found, expected, atol=1e-5)


def test_train_on_batch():
    models = [compiled(fast=fast) for fast in (True, False)]
    for model in models:
        for _ in range(3):
            model.train_on_batch(X[:8], Y[:8])
    assert_close(*map(state, models))


def test_compiling_again_switches_it_off():
    model = compiled()
    model.fit(batches(), steps_per_epoch=1, verbose=0)
    other = compiled(fast=False)
    other.set_weights(model.get_weights())
    for each in (model, other):
        each.compile(
            keras.optimizers.SGD(0.1, clipnorm=0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        each.fit(batches(), epochs=2, steps_per_epoch=STEPS, verbose=0)
    # Clipping of a packed gradient would give other weights.
    assert_close(state(model), state(other))


def test_used_twice_is_used_once():
    model = compiled()
    assert use_fast_generator(model) == []
    history = model.fit(
        batches(), epochs=2, steps_per_epoch=STEPS, shuffle=False, verbose=0
    )
    assert_close(state(model, history), state(*train(loop="fit", fast=False)))


def test_prediction_and_saved_files_know_nothing_of_it(tmp_path):
    model, _ = train(loop="fit", epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(state(model), state(loaded), 0, 0)
    np.testing.assert_allclose(model.predict(X), loaded.predict(X), atol=1e-6)


SGD = keras.optimizers.SGD


def compiled_with(optimizer, build=small_network):
    model = build()
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


class OwnStep(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


class OwnCall(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = layers.HyperDense(3, seed=1)

    def call(self, inputs):
        return self.layer(self.layer(inputs)[:, :2])


def own_step():
    model = small_network()
    return OwnStep(model.inputs, model.outputs)


def two_codes():
    inputs = keras.Input((6, 6, 2))
    conv = layers.HyperConv2D(2, 3, padding="same", name="twice", **UNITS)
    codes = [layers.LatentCode(4, seed=seed)(inputs) for seed in (1, 2)]
    return keras.Model(inputs, conv(conv(inputs, codes[0]), codes[1]))


def own_codes():
    inputs = keras.Input((6, 6, 2))
    conv = layers.HyperConv2D(2, 3, padding="same", seed=1, name="twice", **UNITS)
    return keras.Model(inputs, conv(conv(inputs)))


def nested_twice():
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.HyperConv2D(2, 3, padding="same", seed=1, **UNITS),
        ],
        name="nested",
    )
    inputs = keras.Input((6, 6, 2))
    return keras.Model(inputs, inner(inner(inputs)))


def regularized():
    conv = layers.HyperConv2D(2, 3, generator_regularizer="l2", name="decayed")
    return keras.Sequential([keras.Input((6, 6, 2)), conv])


REFUSED = {
    "clipnorm": (SGD(clipnorm=1.0), small_network, "clipnorm needs the whole gradient"),
    "clipvalue": (
        SGD(clipvalue=1.0),
        small_network,
        "clipvalue needs the whole gradient",
    ),
    "global_clipnorm": (
        SGD(global_clipnorm=1.0),
        small_network,
        "global_clipnorm needs the whole gradient",
    ),
    "clipnorm within loss scaling": (
        keras.optimizers.LossScaleOptimizer(SGD(clipnorm=1.0)),
        small_network,
        "clipnorm needs the whole gradient",
    ),
    "accumulation": (
        SGD(gradient_accumulation_steps=2),
        small_network,
        "gradient_accumulation_steps sums gradients of different codes",
    ),
    **{
        name: (
            getattr(keras.optimizers, name)(),
            small_network,
            f"{name} is not known to be elementwise",
        )
        for name in ("Lion", "Adafactor", "Lamb", "Ftrl", "Adadelta", "Adamax", "Muon")
        if hasattr(keras.optimizers, name)
    },
    "own train_step": (SGD(), own_step, "OwnStep has a train_step of its own"),
    "own call": (SGD(), OwnCall, "OwnCall has a call of its own"),
    "two codes": (SGD(), two_codes, "layer 'twice' is called with several codes"),
    "own codes": (SGD(), own_codes, "layer 'twice' is called with several codes"),
    "nested": (SGD(), nested_twice, "model 'nested' is called several times"),
    "regularizer": (
        SGD(),
        regularized,
        "layer 'decayed' has a regularizer of its generator",
    ),
    "nothing generated": (
        SGD(),
        plain_network,
        "the model has no generated kernels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_where_it_is_not_exact(case):
    optimizer, build, reason = REFUSED[case]
    model = compiled_with(optimizer, build)
    assert reason in use_fast_generator(model)
    assert model.optimizer is optimizer


def test_refused_training_is_the_ordinary_one():
    models = [two_codes(), two_codes()]
    models[1].set_weights(models[0].get_weights())
    for model, use in zip(models, (True, False), strict=True):
        model.compile(SGD(0.1), "mse")
        assert not use or use_fast_generator(model)
        model.fit(X, X[:, :, :, :2], batch_size=8, shuffle=False, verbose=0)
    assert_close(*map(state, models), 0, 0)


def test_refused_on_other_backends(monkeypatch):
    model = compiled(fast=False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert use_fast_generator(model) == ["it is for the TensorFlow backend"]


def test_layer_that_is_called_more_often_than_the_graph_shows():
    """As by a layer that calls a layer of the model again."""

    @keras.saving.register_keras_serializable("test")
    class Again(keras.layers.Layer):
        def call(self, inputs):
            return inputs + self.other(inputs)

    again = Again()
    conv = layers.HyperConv2D(2, 3, padding="same", seed=1, name="hidden", **UNITS)
    again.other = conv
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            conv,
            again,
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile(SGD(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert use_fast_generator(model) == []
    with pytest.raises(ValueError, match="'hidden' is called more often"):
        model.fit(X, Y % 2, batch_size=8, verbose=0)


def test_frozen_generators():
    def build():
        model = small_network()
        model.layers[0].trainable = False
        return model

    found, expected = (
        state(*train(None, build, loop="fit", fast=fast)) for fast in (True, False)
    )
    assert_close(found, expected)
