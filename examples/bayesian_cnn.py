r"""Trains a Bayesian CNN by Bayes by Backprop, and prunes it.

    python examples/bayesian_cnn.py
    python examples/bayesian_cnn.py --dataset=cifar10 --data_dir=DIR \
        --network=alexnet --epochs=40 --workdir=runs/alexnet

Prints accuracy, negative log-likelihood, calibration error and both uncertainties
of one draw and of the mean, and what pruning leaves of them. A run that was
stopped goes on from its last epoch when it is started again with the same flags.
"""

import os

import keras
from absl import flags

from tfhyper import kits, models, pruning, training
from tfhyper.cli import fitting, flag_sets, report
from tfhyper.cli.scripting import run, write_json
from tfhyper.layers.gaussian_kernel import ESTIMATORS
from tfhyper.whole_files import whole_file

FLAGS = flags.FLAGS
flag_sets.define_report()
flag_sets.define_training()
SCHEDULES = ("constant", "linear", "sonderby", "blundell")
flags.DEFINE_enum("network", "lenet5", ["alexnet", "lenet5"], "Network.")
flags.DEFINE_enum("activation", "softplus", ["relu", "softplus"], "Activation.")
flags.DEFINE_float("width_multiplier", 1.0, "Factor of all filters; 0.5 is half.")
flags.DEFINE_bool("bayesian", True, "Gaussian posteriors, or plain layers.")
flags.DEFINE_enum("estimator", ESTIMATORS[1], ESTIMATORS, "Gradient estimator.")
flags.DEFINE_float("prior_scale", 0.1, "Standard deviation of the prior.")
flags.DEFINE_enum("kl_schedule", "constant", SCHEDULES, "Schedule of the KL term.")
flags.DEFINE_float("kl_factor", 0.1, "Factor of the constant schedule; 1 is the ELBO.")
flags.DEFINE_bool("augment", False, "Crop and mirror the training images.")
flags.DEFINE_list("prune", ["0.5", "0.75", "0.9"], "Fractions of weights to prune.")
FLAGS.set_default("workdir", "runs/bayesian_cnn")
FLAGS.set_default("batch_size", 256)
FLAGS.set_default("learning_rate", 1e-3)

SETTINGS = (
    "network activation width_multiplier bayesian estimator prior_scale kl_schedule "
    "kl_factor augment"
)


def make_kit(num_train: int) -> kits.LayerKit:
    """Returns the kit that the flags name."""
    if not FLAGS.bayesian:
        return kits.deterministic()
    return kits.bayes(
        num_train,
        estimator=FLAGS.estimator,
        prior_scale=FLAGS.prior_scale,
        seed=FLAGS.seed,
    )


def make_schedule() -> training.KLSchedule:
    """Returns the callback that the flags name."""
    if FLAGS.kl_schedule == "linear":
        return training.LinearKLWarmup(max(1, FLAGS.epochs // 2))
    if FLAGS.kl_schedule == "sonderby":
        return training.SonderbyKLWarmup(max(1, FLAGS.epochs // 4))
    if FLAGS.kl_schedule == "blundell":
        return training.BlundellKL()
    return training.KLSchedule(FLAGS.kl_factor)


def fractions() -> list[float]:
    """Returns the fractions of --prune."""
    try:
        found = [float(text) for text in FLAGS.prune]
    except ValueError:
        found = [0.0]
    if not all(0 < fraction < 1 for fraction in found):
        raise ValueError(
            "--prune must hold fractions between 0 and 1. "
            f"Received: --prune={','.join(FLAGS.prune)}"
        )
    return found


def print_line(name: str, weights: int, size: int, accuracy: float) -> None:
    """Prints one line of the pruning table."""
    print(f"{name:>24} {weights:10,} {size / 1000:10.1f} {100 * accuracy:11.2f}")


def print_pruning(model, data, chosen: list[float]) -> None:
    """Prints the pruning table, and writes it and the pruned models."""
    criteria = ["magnitude"] + ["signal_to_noise"] * FLAGS.bayesian
    reports = {}

    def add(name, pruned):
        reports[name] = pruning.report(
            model, pruned, data.test, num_draws=FLAGS.draws, seed=FLAGS.draw_seed
        )

    for criterion in criteria:
        for fraction in chosen:
            pruned = pruning.prune(model, fraction=fraction, criterion=criterion)
            add(f"{criterion} {100 * fraction:g} %", pruned)
            path = os.path.join(FLAGS.workdir, f"pruned_{criterion}_{fraction:g}.keras")
            with whole_file(path) as temporary:
                pruned.save(temporary)
            print(f"written: {path}")
    for fraction in chosen:
        add(f"filters {100 * fraction:g} %", pruning.prune_filters(model, fraction))
    print(f"\n{'pruning':>24} {'weights':>10} {'zipped kB':>10} {'accuracy %':>11}")
    for i, (name, found) in enumerate(reports.items()):
        pairs = (found.weights, found.compressed_bytes, found.accuracy)
        if i == 0:
            print_line("none", *(pair.before for pair in pairs))
        print_line(name, *(pair.after for pair in pairs))
    print(f"   accuracy of x{FLAGS.draws}, without training after pruning\n")
    path = os.path.join(FLAGS.workdir, "pruning.json")
    write_json(path, {name: found.to_dict() for name, found in reports.items()})


def main():
    settings = fitting.settings_of(SETTINGS)
    report.check_flags()
    chosen = fractions()
    callbacks = [make_schedule()] if FLAGS.bayesian else []
    fitting.strategy()
    data = report.load_data(settings)
    fitting.set_precision()

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        model = models.NETWORKS[FLAGS.network](
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=make_kit(data.num_train),
            activation=FLAGS.activation,
            width_multiplier=FLAGS.width_multiplier,
        )
        return training.compile_adam_recipe(
            model,
            FLAGS.epochs,
            data.steps_per_epoch,
            learning_rate=FLAGS.learning_rate,
        )

    model = fitting.fit(build, data, settings, callbacks)
    if model is not None:
        report.report(model, data)
        print_pruning(model, data, chosen)


if __name__ == "__main__":
    run(main)
