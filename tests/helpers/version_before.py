"""Files that the version before wrote, small, and how they were written.

Run with that version on the path, `python tests/helpers/version_before.py`, it writes
them anew; the test then reads them with this one.
"""

import pathlib

import keras
import numpy as np

import tfhyper

FOLDER = pathlib.Path(__file__).parents[1] / "files_of_before"
X = np.random.default_rng(0).normal(size=(24, 6, 6, 2)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 24)
EPOCHS = 3


def network(seed=0):
    """Returns a small network of a generated kernel, with BatchNorm."""
    keras.utils.set_random_seed(seed)
    kit = tfhyper.kits.hyper(
        "block_wise", "normal", code_units=4, hidden_units=4
    ).for_network()
    inputs = keras.Input((6, 6, 2))
    x = kit.conv(3, 3, name="block1_conv1")(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x))


def build():
    """Returns a compiled network, for a workdir."""
    model = network()
    tfhyper.training.compile_recipe(model, steps_per_epoch=3, epochs=EPOCHS)
    return model


class Data:
    """The same batches in each epoch."""

    steps_per_epoch, batch_size, num_train = 3, 8, 24

    def train_from(self, epoch):
        """Returns the batches of all epochs from one on."""
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
        return data.repeat(EPOCHS - epoch)


def train(folder, epochs):
    """Returns the model of a workdir, trained on to so many epochs in all."""
    workdir = tfhyper.training.Workdir(folder, {"purpose": "files of before"})
    return tfhyper.training.fit_in_workdir(workdir, build, Data(), epochs, verbose=0)


def write():
    """Writes all files, and what is in them."""
    FOLDER.mkdir(exist_ok=True)
    predictor = tfhyper.PosteriorPredictor(network(), num_draws=3, seed=5)
    predictor.calibrate(X, verbose=0).fit_rejection(X, coverage=0.5)
    predictor.save(FOLDER / "predictor.tfhyper", overwrite=True)
    ensemble = tfhyper.DeepEnsemble(
        [network(1), network(2)], 2, batch_norm="reestimate", seed=3
    )
    ensemble.calibrate(X, verbose=0)
    ensemble.save(FOLDER / "ensemble.tfhyper", overwrite=True)
    train(FOLDER / "workdir", 1)
    model, _ = train(FOLDER / "whole", EPOCHS)
    np.savez(
        FOLDER / "expected.npz",
        predictor=predictor.predict(X).members,
        rejected=predictor.predict(X).rejected,
        ensemble=ensemble.predict(X).members,
        **{f"weight{i}": value for i, value in enumerate(model.get_weights())},
    )


if __name__ == "__main__":
    write()
