"""Trains networks on several virtual devices of JAX, for `test_jax_devices.py`.

    python tests/training/jax_devices.py FILE DEVICES MODEL_DEVICES NETWORK...

Writes all weights, and the mean of a predictor's draws, to FILE.
"""

import os
import sys

PATH, DEVICES, MODEL_DEVICES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import keras  # noqa: E402
import numpy as np  # noqa: E402

import tfhyper  # noqa: E402
from tfhyper import kits  # noqa: E402

LENET = tfhyper.models.lenet5
NETWORKS = {
    "bayes": lambda: LENET(kit=kits.bayes(64, seed=1)),
    "flipout": lambda: LENET(kit=kits.bayes(64, estimator="flipout", seed=1)),
    "paper": lambda: LENET(kit=kits.hyper(mean_kernel=False, seed=1)),
    "mc_dropout": lambda: LENET(kit=kits.mc_dropout(0.2, seed=1)),
    "mnf": lambda: LENET(kit=kits.mnf(64, seed=1)),
    # With BatchNorm, whose moments are those of the whole batch.
    "hyper": lambda: tfhyper.models.wide_resnet(
        10, 1, input_shape=(8, 8, 3), kit=kits.hyper(seed=1)
    ),
}


def set_distribution() -> None:
    """Lets Keras use all devices, some of them for parts of a generator's output."""
    devices = keras.distribution.list_devices()
    assert len(devices) == DEVICES
    if MODEL_DEVICES > 1:
        shape = (DEVICES // MODEL_DEVICES, MODEL_DEVICES)
        mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), devices)
        layout = keras.distribution.LayoutMap(mesh)
        layout[".*generator_output"] = (None, "model")
        found = keras.distribution.ModelParallel(
            layout_map=layout, batch_dim_name="batch"
        )
        keras.distribution.set_distribution(found)
    elif DEVICES > 1:
        found = keras.distribution.DataParallel(devices=devices)
        keras.distribution.set_distribution(found)


def train(name: str) -> dict[str, np.ndarray]:
    """Returns the weights after four steps, and what a predictor says then."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    shape = model.input_shape[1:]
    x, y = rng.normal(size=(64, *shape)).astype("float32"), rng.integers(0, 10, 64)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    if MODEL_DEVICES > 1:
        (output, *_) = [v for v in model.weights if v.path.endswith("generator_output")]
        (part, *_) = output.value.addressable_shards
        assert part.data.shape == (output.shape[0], output.shape[1] // MODEL_DEVICES)
    found = {f"{name}/{v.path}": np.asarray(v) for v in model.weights}
    predictor = tfhyper.PosteriorPredictor(model, 2, seed=3)
    if name == "hyper":
        predictor.estimate_batch_norm(x, verbose=0)
    return {**found, f"{name}/mean": predictor.predict(x[:8]).mean}


if __name__ == "__main__":
    set_distribution()
    arrays: dict[str, np.ndarray] = {}
    for network in sys.argv[4:]:
        arrays |= train(network)
    np.savez(PATH, **arrays)
