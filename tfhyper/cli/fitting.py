"""A training as the flags say: its settings, devices and folder."""

import functools
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
from absl import flags

from tfhyper import training
from tfhyper.data import Data
from tfhyper.training.strategies import check_batches

if TYPE_CHECKING:
    import tensorflow as tf

FLAGS = flags.FLAGS

# What `tfhyper.training.Trainer` takes.
_TRAINER = "weight_sets per_replica_draws batch_norm steps_per_call fast_generator"
_SETTINGS = (
    "dataset data_dir download train_examples test_examples image_size color_jitter "
    "epochs batch_size learning_rate seed mixed_precision weight_sets "
    "per_replica_draws batch_norm"
)


def settings_of(names: str) -> dict[str, Any]:
    """Returns the flags that another run must have the same to go on in a workdir."""
    return {name: FLAGS[name].value for name in f"{_SETTINGS} {names}".split()}


def set_precision() -> None:
    """Sets the compute dtype that --mixed_precision names."""
    if FLAGS.mixed_precision != "none":
        keras.mixed_precision.set_global_policy(f"mixed_{FLAGS.mixed_precision}")


@functools.cache
def strategy() -> "tf.distribute.Strategy":
    """Returns the strategy of --strategy. Before anything is done with TensorFlow."""
    if FLAGS.logical_devices is not None:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        part = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [part] * FLAGS.logical_devices)
    return training.make_strategy(FLAGS.strategy)


def trainer_options() -> dict[str, Any]:
    """Returns the arguments of `tfhyper.training.Trainer` that the flags name."""
    return {name: FLAGS[name].value for name in _TRAINER.split()}


def fit(
    build: Callable[[], keras.Model],
    data: Data,
    settings: dict[str, Any],
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model | None:
    """Trains in --workdir, from where a run before it stopped.

    Returns the model, on one device; `None` to workers that are not the chief.
    """
    # Bad flags end here, before the folder takes them for its own.
    check_batches(strategy(), data, FLAGS.weight_sets)
    with strategy().scope():
        new_model = build()
    chief = training.is_chief(strategy())
    workdir = training.Workdir(
        FLAGS.workdir, settings, FLAGS.keep_checkpoints, chief=chief
    )
    callbacks = list(callbacks)
    if chief and importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(workdir.file("tensorboard")))
    model, _ = training.fit_in_workdir(
        workdir,
        lambda: new_model,
        data,
        FLAGS.epochs,
        strategy=strategy(),
        callbacks=callbacks,
        **trainer_options(),
    )
    if not chief:
        return None
    # Outside of the strategy, where one device is enough.
    return model if FLAGS.strategy == "none" else workdir.restore()[0]
