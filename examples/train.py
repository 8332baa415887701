r"""Trains a network whose weights have a posterior, and averages over its draws.

    python examples/train.py
    python examples/train.py --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 \
        --prior=normal --epochs=200 --workdir=runs/cifar10
    python examples/train.py --dataset=imagenet2012 --data_dir=DIR --network=resnet \
        --epochs=90 --workdir=runs/imagenet
    python examples/train.py --dataset=cifar10 --data_dir=DIR --network=resnext \
        --depth=29 --network_options=cardinality=8,base_width=64 --workdir=runs/resnext
    python examples/train.py --strategy=mirrored --workdir=runs/mirrored

The network and the data set choose the recipe, of `tfhyper.training.RECIPES`:
optimizer, rates, decay, how images are prepared, first weights. --recipe names another
one; with `cifar` and `imagenet` all is as it was before there were others.

A run that was stopped goes on when it is started again with the same flags, on the
same devices or others. With --strategy=multi_worker the same command is started on each
machine, with TF_CONFIG in its environment or by Slurm, and --workdir in a folder that
all see.
"""

import inspect
from typing import Any

import common
import keras
import network_flags
import train_common
from absl import flags

import tfhyper
from tfhyper import kits, training
from tfhyper.layers.latent_code import PRIORS

# What there was before recipes said how data are prepared -> its values of flags.
FORMER = {
    name: {"batch_size": 128, "learning_rate": 0.1, "color_jitter": 0.0}
    for name in ("cifar", "imagenet")
}
RECIPES = ("auto", *FORMER, *training.NAMED_RECIPES)

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
flags.DEFINE_enum(
    "recipe", "auto", RECIPES, "How to train; auto: as the network and the data ask."
)
flags.DEFINE_float(
    "weight_decay",
    None,
    "Weight decay; the recipe's own by default. 0 is maximum likelihood.",
)
flags.DEFINE_bool(
    "decay_generator",
    True,
    "Decay the generators' weights too. Folders of trainings that were made without "
    "go on with --nodecay_generator.",
)

flags.DEFINE_bool(
    "learned_noise",
    False,
    "A Gaussian posterior of all weights beside what the kit draws, learned by IVON: "
    "see tfhyper.Variational. The rate falls by a cosine from --learning_rate, or 0.5.",
)
flags.DEFINE_float(
    "temperature",
    1.0,
    "Of that posterior: below 1 it is narrower. To be chosen on validation data.",
    lower_bound=1e-6,
)
flags.DEFINE_bool(
    "generator_noise",
    False,
    "With --learned_noise: the weights of hypernetworks have such noise, too.",
)
flags.DEFINE_bool(
    "crops", True, "Crop the training images; by --nocrops they are flipped alone."
)

for name in ("batch_size", "learning_rate", "color_jitter"):
    FLAGS.set_default(name, None)
    FLAGS[name].help += " The recipe's own by default."

SETTINGS = (
    f"{network_flags.SETTINGS} kit code_strategy prior code_units hidden_units "
    "mean_kernel deviation_scale recipe weight_decay decay_generator"
)


def recipe() -> training.Recipe | None:
    """Returns the recipe that the flags name, or `None` for one of `FORMER`."""
    if FLAGS.recipe in FORMER:
        return None
    if FLAGS.recipe != "auto":
        return training.NAMED_RECIPES[FLAGS.recipe]
    return training.recipe_for(network_flags.name(), FLAGS.dataset, FLAGS.kit)


def settings_of_flags() -> dict[str, Any]:
    """Returns what another run must have the same to go on in a workdir."""
    settings = train_common.settings_of(SETTINGS)
    chosen = recipe()
    if chosen is None:
        values = FORMER[FLAGS.recipe]
    else:
        values = chosen.settings()["data"]
        values = {**values, "batch_size": chosen.batch_size}
        settings["recipe"] = chosen.name
    # Only what is not usual: folders of before have none of these.
    if FLAGS.learned_noise:
        for name in ("learned_noise", "temperature", "generator_noise"):
            settings[name] = FLAGS[name].value
    if not FLAGS.crops:
        settings["crop_padding"] = "none"
    given = {name for name in values if settings.get(name) is not None}
    return {**settings, **{n: v for n, v in values.items() if n not in given}}


def kit_takes(name: str) -> bool:
    """Returns whether the kit that the flags name has an argument."""
    return name in inspect.signature(kits.KITS[FLAGS.kit]).parameters


def make_kit(num_train: int, seed: int) -> kits.LayerKit:
    """Returns the kit that the flags name."""
    options = {"num_examples": num_train, "seed": seed}
    if FLAGS.kit == "hyper":
        names = "sharing prior code_units hidden_units mean_kernel deviation_scale"
        options.update({name: FLAGS[name].value for name in names.split()})
    elif chosen := recipe():
        options.update(chosen.kit_options)
    return kits.KITS[FLAGS.kit](
        **{name: value for name, value in options.items() if kit_takes(name)}
    )


def make_model(data: tfhyper.data.Data, seed: int) -> keras.Model:
    """Returns the network that the flags name, compiled."""
    keras.utils.set_random_seed(seed)
    chosen = recipe()
    options = dict(chosen.network_options) if chosen else {}
    model = network_flags.builder()(
        num_classes=data.spec.num_classes,
        input_shape=data.spec.image_shape,
        kit=make_kit(data.num_train, seed),
        **{**options, **network_flags.network_options()},
    )
    if chosen is not None:
        chosen.initialize(model, seed)
    return compile_model(model, data)


def compile_model(model: keras.Model, data: tfhyper.data.Data) -> keras.Model:
    """Compiles a network with the recipe that the flags name, and returns it.

    With --learned_noise it is the `tfhyper.Variational` of the network.
    """
    sizes = FLAGS.epochs, data.steps_per_epoch
    if FLAGS.learned_noise:
        return compile_variational(model, data)
    options = {"decay_generator": FLAGS.decay_generator}
    for name in ("learning_rate", "weight_decay"):
        if FLAGS[name].value is not None:
            options[name] = FLAGS[name].value
    if chosen := recipe():
        options["batch_size"] = data.batch_size
        return chosen.compile(model, *sizes, **options)
    if FLAGS.recipe == "imagenet":
        options["batch_size"] = data.batch_size
        return training.compile_imagenet_recipe(model, *sizes, **options)
    return training.compile_recipe(model, *sizes, **options)


def compile_variational(
    model: keras.Model, data: tfhyper.data.Data
) -> tfhyper.Variational:
    """Returns the network with a posterior of all weights, compiled."""
    chosen, decay = recipe(), FLAGS.weight_decay
    if decay is None and chosen is not None:
        decay = chosen.weight_decay
    options = {} if decay is None else {"weight_decay": decay}
    variational = tfhyper.Variational(
        model,
        data.num_train,
        generator_noise=FLAGS.generator_noise,
        temperature=FLAGS.temperature,
        seed=FLAGS.seed,
        **options,
    )
    return training.compile_variational_recipe(
        variational,
        FLAGS.epochs,
        data.steps_per_epoch,
        learning_rate=FLAGS.learning_rate,
    )


def make_callbacks() -> list[keras.callbacks.Callback]:
    """Returns the callbacks that the kit needs."""
    if not kit_takes("num_examples"):
        return []
    chosen = recipe()
    return chosen.callbacks() if chosen else [training.KLSchedule()]


def print_recipe() -> None:
    """Prints the recipe, with what it stands in for."""
    if chosen := recipe():
        print(f"recipe {chosen.describe()}")


def main():
    settings = settings_of_flags()
    common.check_flags()
    train_common.strategy()
    print_recipe()
    data = common.load_data(settings)
    train_common.set_precision()

    def build():
        return make_model(data, FLAGS.seed)

    model = train_common.fit(build, data, settings, make_callbacks())
    if model is not None:
        common.report(model, data)


if __name__ == "__main__":
    common.run(main)
