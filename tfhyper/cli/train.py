r"""Trains a network whose weights have a posterior, and averages over its draws.

tfhyper train
tfhyper train --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 \
        --prior=normal --epochs=200 --workdir=runs/cifar10
"""

import inspect
from typing import Any

import keras
from absl import flags

from tfhyper import kits, training
from tfhyper.cli import fitting, network, report
from tfhyper.cli.choices import FORMER_RECIPES
from tfhyper.data import Data
from tfhyper.variational import Variational

FLAGS = flags.FLAGS
# What there was before recipes said how data are prepared -> its values of flags.
FORMER: dict[str, dict[str, Any]] = {
    name: {"batch_size": 128, "learning_rate": 0.1, "color_jitter": 0.0}
    for name in FORMER_RECIPES
}

# Training images that are held out where noise is learned.
HELD_OUT = 1000
SETTINGS = (
    f"{network.SETTINGS} kit code_strategy prior code_units hidden_units "
    "mean_kernel deviation_scale recipe weight_decay decay_generator"
)


def recipe() -> training.Recipe | None:
    """Returns the recipe that the flags name, or `None` for one of `FORMER`."""
    if FLAGS.recipe in FORMER:
        return None
    if FLAGS.recipe != "auto":
        return training.NAMED_RECIPES[FLAGS.recipe]
    return training.recipe_for(network.name(), FLAGS.dataset, FLAGS.kit)


def learns_noise() -> bool:
    """Returns whether the network gets a `Variational`, by the flags or the recipe."""
    if FLAGS.learned_noise is not None:
        return FLAGS.learned_noise
    chosen = recipe()
    return FLAGS.kit == "hyper" and chosen is not None and chosen.learned_noise


def held_out() -> int:
    """Returns how many training images choose widths and what is unknown."""
    if FLAGS.validation_examples is not None:
        return FLAGS.validation_examples
    return HELD_OUT if learns_noise() else 0


def settings_of_flags() -> dict[str, Any]:
    """Returns what another run must have the same to go on in a workdir."""
    settings = fitting.settings_of(SETTINGS)
    chosen = recipe()
    if chosen is None:
        values = FORMER[FLAGS.recipe]
    else:
        values = chosen.settings()["data"]
        values = {**values, "batch_size": chosen.batch_size}
        settings["recipe"] = chosen.name
    # Only what is not usual: folders of before have none of these.
    if learns_noise():
        settings["learned_noise"] = True
        for name in ("temperature", "generator_noise"):
            settings[name] = FLAGS[name].value
    if count := held_out():
        settings["validation_examples"] = count
    if FLAGS.crops is not None:
        padding = values.get("crop_padding", "none")
        crops = training.Preparation().crop_padding if padding == "none" else padding
        settings["crop_padding"] = crops if FLAGS.crops else "none"
    given = {name for name in values if settings.get(name) is not None}
    return {**settings, **{n: v for n, v in values.items() if n not in given}}


def kit_takes(name: str) -> bool:
    """Returns whether the kit that the flags name has an argument."""
    return name in inspect.signature(kits.KITS[FLAGS.kit]).parameters


def make_kit(num_train: int, seed: int) -> kits.LayerKit:
    """Returns the kit that the flags name."""
    options: dict[str, Any] = {"num_examples": num_train, "seed": seed}
    if FLAGS.kit == "hyper":
        names = "sharing prior code_units hidden_units mean_kernel deviation_scale"
        options.update({name: FLAGS[name].value for name in names.split()})
    elif chosen := recipe():
        options.update(chosen.kit_options)
    return kits.KITS[FLAGS.kit](
        **{name: value for name, value in options.items() if kit_takes(name)}
    )


def make_model(data: Data, seed: int) -> keras.Model:
    """Returns the network that the flags name, compiled."""
    keras.utils.set_random_seed(seed)
    chosen = recipe()
    options = dict(chosen.network_options) if chosen else {}
    model = network.builder()(
        num_classes=data.spec.num_classes,
        input_shape=data.spec.image_shape,
        kit=make_kit(data.num_train, seed),
        **{**options, **network.network_options()},
    )
    if chosen is not None:
        chosen.initialize(model, seed)
    return compile_model(model, data)


def compile_model(model: keras.Model, data: Data) -> keras.Model:
    """Compiles a network with the recipe that the flags name, and returns it.

    With learned noise it is the `Variational` of the network.
    """
    sizes = FLAGS.epochs, data.steps_per_epoch
    if learns_noise():
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


def compile_variational(model: keras.Model, data: Data) -> Variational:
    """Returns the network with a posterior of all weights, compiled."""
    chosen, decay = recipe(), FLAGS.weight_decay
    if decay is None and chosen is not None:
        decay = chosen.weight_decay
    options = {} if decay is None else {"weight_decay": decay}
    variational = Variational(
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
    # Of members no flag asks for a density, and `sngp` has no KL divergence either.
    if not kit_takes("num_examples") or FLAGS.kit in ("rank_one", "sngp"):
        return []
    chosen = recipe()
    return chosen.callbacks() if chosen else [training.KLSchedule()]


def print_recipe() -> None:
    """Prints the recipe, with what it stands in for."""
    if chosen := recipe():
        print(f"recipe {chosen.describe()}")


def main() -> dict[str, Any] | None:
    """Trains, and returns what `report` says; `None` to workers but the chief."""
    settings = settings_of_flags()
    report.check_flags()
    fitting.strategy()
    print_recipe()
    data = report.load_data(settings)
    fitting.set_precision()

    def build() -> keras.Model:
        return make_model(data, FLAGS.seed)

    model = fitting.fit(build, data, settings, make_callbacks())
    if model is None:
        return None
    return report.report(model, data, flipped=settings.get("augment", True))
