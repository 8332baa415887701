"""Packed gradients against the ordinary ones."""

import keras
import numpy as np
import pytest

from tfhyper import kits, models, training

pytest.importorskip("tensorflow")
from tfhyper.training.fast_generator import use_fast_generator  # noqa: E402

X = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype("float32")
Y = np.arange(32) % 4
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: training.CoupledDecaySGD(
        0.05, 0.9, True, 5e-4, no_decay=("stem",)
    ),
    "adam": lambda: keras.optimizers.Adam(1e-3),
    "adamw": lambda: keras.optimizers.AdamW(1e-3),
}


def trained(optimizer, fast, strategy="all_in_one", policy="float32"):
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        kit = kits.hyper(strategy, hidden_units=8, seed=3)
        model = models.wide_resnet(10, 1, num_classes=4, input_shape=(8, 8, 3), kit=kit)
        optimizer = optimizer()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=False)
    finally:
        keras.config.set_dtype_policy(before)
    if fast:
        assert use_fast_generator(model) == []
    model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_are_those_of_the_ordinary_path(optimizer):
    plain = trained(OPTIMIZERS[optimizer], False)
    fast = trained(OPTIMIZERS[optimizer], True)
    for a, b in zip(plain.weights, fast.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
