"""What the scripts that train share: flags of data and training, and the run."""

import functools
import importlib.util
from collections.abc import Callable, Sequence

import keras
from absl import flags

import tfhyper
from tfhyper import training
from tfhyper.training.strategies import STRATEGIES, check_batches
from tfhyper.training.trainer import BATCH_NORMS

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "fashion_mnist_small", "A name of tfhyper.data.load.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_bool("download", False, "Download the data set if it is not there.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("image_size", None, "Side of ImageNet's images; 224 by default.")
flags.DEFINE_float("color_jitter", 0.0, "Strength of the jitter of colours; 0: none.")
flags.DEFINE_integer("epochs", 20, "Epochs.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_float("learning_rate", 0.1, "First learning rate.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and data order.")
flags.DEFINE_integer(
    "keep_checkpoints", 2, "Last checkpoints to keep in --workdir.", lower_bound=1
)
flags.DEFINE_enum(
    "mixed_precision", "none", ["none", "bfloat16", "float16"], "Compute dtype."
)
flags.DEFINE_enum(
    "strategy",
    "none",
    STRATEGIES,
    "Devices: one, all of this machine, or those of several (TF_CONFIG or Slurm).",
)
flags.DEFINE_integer(
    "logical_devices", None, "Split the CPU into so many devices, to try --strategy."
)
flags.DEFINE_integer("weight_sets", 1, "Draws of each replica in a step.")
flags.DEFINE_bool("per_replica_draws", False, "Other draws on each replica.")
flags.DEFINE_enum("batch_norm", BATCH_NORMS[0], BATCH_NORMS, "Moments on replicas.")
flags.DEFINE_integer("steps_per_call", 10, "Steps in a compiled loop.")
flags.DEFINE_bool("fast_generator", True, "Train generators by packed gradients.")

# What `tfhyper.training.Trainer` takes.
_TRAINER = "weight_sets per_replica_draws batch_norm steps_per_call fast_generator"
_SETTINGS = (
    "dataset data_dir download train_examples test_examples image_size color_jitter "
    "epochs batch_size learning_rate seed mixed_precision weight_sets "
    "per_replica_draws batch_norm"
)


def settings_of(names: str) -> dict:
    """Returns the flags that another run must have the same to go on in a workdir."""
    return {name: FLAGS[name].value for name in f"{_SETTINGS} {names}".split()}


def set_precision() -> None:
    """Sets the compute dtype that --mixed_precision names."""
    if FLAGS.mixed_precision != "none":
        keras.mixed_precision.set_global_policy(f"mixed_{FLAGS.mixed_precision}")


@functools.cache
def strategy():
    """Returns the strategy of --strategy. Before anything is done with TensorFlow."""
    if FLAGS.logical_devices is not None:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        part = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [part] * FLAGS.logical_devices)
    return training.make_strategy(FLAGS.strategy)


def trainer_options() -> dict:
    """Returns the arguments of `tfhyper.training.Trainer` that the flags name."""
    return {name: FLAGS[name].value for name in _TRAINER.split()}


def fit(
    build: Callable[[], keras.Model],
    data: tfhyper.data.Data,
    settings: dict,
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
