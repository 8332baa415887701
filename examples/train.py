r"""Trains a network whose weights have a posterior, and averages over its draws.

    python examples/train.py
    python examples/train.py --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 \
        --prior=normal --epochs=200 --workdir=runs/cifar10

A run that was stopped goes on from its last epoch when it is started again with
the same flags.
"""

import importlib.util

import common
import keras
from absl import flags

from tfhyper import kits, models, training
from tfhyper.layers.latent_code import PRIORS

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "fashion_mnist_small", "A name of tfhyper.data.load.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_bool("download", False, "Download the data set if it is not there.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
flags.DEFINE_enum("network", "wide_resnet", sorted(models.NETWORKS), "Network.")
flags.DEFINE_integer("depth", 10, "Depth of the network.")
flags.DEFINE_integer("width", 1, "Width of the network.")
flags.DEFINE_float("dropout", 0.0, "Dropout inside the residual blocks.")
flags.DEFINE_enum("kit", "hyper", sorted(kits.KITS), "Layers of the network.")
flags.DEFINE_enum("strategy", "all_in_one", sorted(kits.STRATEGIES), "Shared codes.")
flags.DEFINE_enum("prior", "uniform", sorted(PRIORS), "Prior of the codes.")
flags.DEFINE_integer("code_units", 32, "Size of a code.")
flags.DEFINE_integer("hidden_units", 32, "Hidden units of a generator.")
flags.DEFINE_bool("mean_kernel", True, "Mean kernel plus generated deviation.")
flags.DEFINE_float("deviation_scale", 0.3, "Scale of that deviation.")
flags.DEFINE_integer("epochs", 20, "Epochs.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_float("learning_rate", 0.1, "First learning rate.")
flags.DEFINE_float("weight_decay", 5e-4, "Weight decay; 0 is maximum likelihood.")
flags.DEFINE_bool("decay_generator", False, "Decay the generators' weights too.")
flags.DEFINE_integer("seed", 0, "Seed of weights, codes and data order.")
flags.DEFINE_enum(
    "mixed_precision", "none", ["none", "bfloat16", "float16"], "Compute dtype."
)

# What another run must have the same to go on in a workdir.
SETTINGS = (
    "dataset data_dir download train_examples test_examples network depth width "
    "dropout kit strategy prior code_units hidden_units mean_kernel deviation_scale "
    "epochs batch_size learning_rate weight_decay decay_generator seed mixed_precision"
).split()


def make_kit() -> kits.LayerKit:
    """Returns the kit that the flags name."""
    if FLAGS.kit != "hyper":
        return kits.get(FLAGS.kit)
    return kits.hyper(
        FLAGS.strategy,
        FLAGS.prior,
        code_units=FLAGS.code_units,
        hidden_units=FLAGS.hidden_units,
        mean_kernel=FLAGS.mean_kernel,
        deviation_scale=FLAGS.deviation_scale,
        seed=FLAGS.seed,
    )


def main():
    settings = {name: FLAGS[name].value for name in SETTINGS}
    common.check_flags()
    data = common.load_data(settings)
    if FLAGS.mixed_precision != "none":
        keras.mixed_precision.set_global_policy(f"mixed_{FLAGS.mixed_precision}")

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        model = models.NETWORKS[FLAGS.network](
            FLAGS.depth,
            FLAGS.width,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=make_kit(),
            dropout=FLAGS.dropout,
        )
        return training.compile_recipe(
            model,
            FLAGS.epochs,
            data.steps_per_epoch,
            learning_rate=FLAGS.learning_rate,
            weight_decay=FLAGS.weight_decay,
            decay_generator=FLAGS.decay_generator,
        )

    # Bad flags end here, before the folder takes them for its own.
    new_model = build()
    workdir = training.Workdir(FLAGS.workdir, settings)
    callbacks = []
    if importlib.util.find_spec("tensorboard"):
        callbacks.append(keras.callbacks.TensorBoard(workdir.file("tensorboard")))
    model, _ = training.fit_in_workdir(
        workdir, lambda: new_model, data, FLAGS.epochs, callbacks=callbacks
    )
    common.report(model, data)


if __name__ == "__main__":
    common.run(main)
