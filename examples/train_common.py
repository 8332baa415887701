"""What the scripts that train share: flags of data and training, and the run."""

import importlib.util
from collections.abc import Callable, Sequence

import keras
from absl import flags

import tfhyper
from tfhyper import training

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

_SETTINGS = (
    "dataset data_dir download train_examples test_examples image_size color_jitter "
    "epochs batch_size learning_rate seed mixed_precision"
)


def settings_of(names: str) -> dict:
    """Returns the flags that another run must have the same to go on in a workdir."""
    return {name: FLAGS[name].value for name in f"{_SETTINGS} {names}".split()}


def set_precision() -> None:
    """Sets the compute dtype that --mixed_precision names."""
    if FLAGS.mixed_precision != "none":
        keras.mixed_precision.set_global_policy(f"mixed_{FLAGS.mixed_precision}")


def fit(
    build: Callable[[], keras.Model],
    data: tfhyper.data.Data,
    settings: dict,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains in --workdir, from where a run before it stopped; returns the model."""
    # Bad flags end here, before the folder takes them for its own.
    new_model = build()
    workdir = training.Workdir(FLAGS.workdir, settings, FLAGS.keep_checkpoints)
    callbacks = list(callbacks)
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(workdir.file("tensorboard")))
    model, _ = training.fit_in_workdir(
        workdir, lambda: new_model, data, FLAGS.epochs, callbacks=callbacks
    )
    return model
