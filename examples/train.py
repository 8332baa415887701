r"""Trains a network whose weights have a posterior, and averages over its draws.

    python examples/train.py
    python examples/train.py --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 \
        --prior=normal --epochs=200 --workdir=runs/cifar10
    python examples/train.py --dataset=imagenet2012 --data_dir=DIR --network=resnet \
        --recipe=imagenet --batch_size=256 --epochs=90 --workdir=runs/imagenet
    python examples/train.py --dataset=cifar10 --data_dir=DIR --network=resnext \
        --depth=29 --network_options=cardinality=8,base_width=64 --workdir=runs/resnext
    python examples/train.py --strategy=mirrored --workdir=runs/mirrored

A run that was stopped goes on when it is started again with the same flags, on the
same devices or others. With --strategy=multi_worker the same command is started on each
machine, with TF_CONFIG in its environment or by Slurm, and --workdir in a folder that
all see.
"""

import inspect

import common
import keras
import network_flags
import train_common
from absl import flags

import tfhyper
from tfhyper import kits, training
from tfhyper.layers.latent_code import PRIORS

RECIPES = ("cifar", "imagenet")

FLAGS = flags.FLAGS
flags.DEFINE_enum("kit", "hyper", sorted(kits.KITS), "Layers of the network.")
flags.DEFINE_enum(
    "sharing", "all_in_one", sorted(kits.SHARING), "Layers that share a code."
)
# Its old name, which folders of trainings have, too.
flags.DEFINE_alias("code_strategy", "sharing")
flags.DEFINE_enum("prior", "uniform", sorted(PRIORS), "Prior of the codes.")
flags.DEFINE_integer("code_units", 32, "Size of a code.")
flags.DEFINE_integer("hidden_units", 32, "Hidden units of a generator.")
flags.DEFINE_bool("mean_kernel", True, "Mean kernel plus generated deviation.")
flags.DEFINE_float("deviation_scale", 0.3, "Scale of that deviation.")
flags.DEFINE_enum("recipe", "cifar", RECIPES, "Schedule of the learning rate.")
flags.DEFINE_float(
    "weight_decay",
    None,
    "Weight decay; the recipe's own by default: 5e-4, 1e-4 of imagenet. 0 is maximum "
    "likelihood.",
)
flags.DEFINE_bool(
    "decay_generator",
    True,
    "Decay the generators' weights too. Folders of trainings that were made without "
    "go on with --nodecay_generator.",
)

SETTINGS = (
    f"{network_flags.SETTINGS} kit code_strategy prior code_units hidden_units "
    "mean_kernel deviation_scale recipe weight_decay decay_generator"
)


def kit_takes(name: str) -> bool:
    """Returns whether the kit that the flags name has an argument."""
    return name in inspect.signature(kits.KITS[FLAGS.kit]).parameters


def make_kit(num_train: int, seed: int) -> kits.LayerKit:
    """Returns the kit that the flags name."""
    options = {"num_examples": num_train, "seed": seed}
    if FLAGS.kit == "hyper":
        names = "sharing prior code_units hidden_units mean_kernel deviation_scale"
        options.update({name: FLAGS[name].value for name in names.split()})
    return kits.KITS[FLAGS.kit](
        **{name: value for name, value in options.items() if kit_takes(name)}
    )


def make_model(data: tfhyper.data.Data, seed: int) -> keras.Model:
    """Returns the network that the flags name, compiled."""
    keras.utils.set_random_seed(seed)
    model = network_flags.builder()(
        num_classes=data.spec.num_classes,
        input_shape=data.spec.image_shape,
        kit=make_kit(data.num_train, seed),
        **network_flags.network_options(),
    )
    return compile_model(model, data)


def compile_model(model: keras.Model, data: tfhyper.data.Data) -> keras.Model:
    """Compiles a network with the recipe that the flags name, and returns it."""
    sizes = FLAGS.epochs, data.steps_per_epoch
    options = {
        "learning_rate": FLAGS.learning_rate,
        "decay_generator": FLAGS.decay_generator,
    }
    if FLAGS.weight_decay is not None:
        options["weight_decay"] = FLAGS.weight_decay
    if FLAGS.recipe == "imagenet":
        options["batch_size"] = data.batch_size
        return training.compile_imagenet_recipe(model, *sizes, **options)
    return training.compile_recipe(model, *sizes, **options)


def make_callbacks() -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the kit needs."""
    return [training.KLSchedule()] if kit_takes("num_examples") else []


def main():
    settings = train_common.settings_of(SETTINGS)
    common.check_flags()
    train_common.strategy()
    data = common.load_data(settings)
    train_common.set_precision()

    def build():
        return make_model(data, FLAGS.seed)

    model = train_common.fit(build, data, settings, make_callbacks())
    if model is not None:
        common.report(model, data)


if __name__ == "__main__":
    common.run(main)
