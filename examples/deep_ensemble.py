r"""Trains several networks from different weights, and averages their predictions.

    python examples/deep_ensemble.py --members=5
    python examples/deep_ensemble.py --dataset=cifar10 --data_dir=DIR --depth=28 \
        --width=4 --epochs=800 --members=16 --workdir=runs/ensemble_map

Ensemble-MAP of Ukai et al. (2019), Table IV; with --weight_decay=0 Ensemble-MLE.
With another --kit it is an ensemble of Bayesian networks, each of --draws draws.
Started again with the same flags, it goes on where it was stopped, and with more
--members it trains those that are missing.
"""

from absl import flags

import tfhyper
from tfhyper import training
from tfhyper.cli import fitting, flag_sets, report, train
from tfhyper.cli.scripting import run

FLAGS = flags.FLAGS
flag_sets.define_train()
flags.DEFINE_integer("members", 5, "Networks to train.")
FLAGS.set_default("workdir", "runs/deep_ensemble")
FLAGS.set_default("kit", "deterministic")
FLAGS.set_default("draws", 1)


def main():
    settings = train.settings_of_flags()
    report.check_flags()
    strategy = fitting.strategy()
    train.print_recipe()
    data = report.load_data(settings)
    fitting.set_precision()
    # Bad flags end here, before the folder takes them for its own.
    train.make_model(data, FLAGS.seed)
    paths = training.train_ensemble(
        lambda seed: train.make_model(data, seed),
        lambda seed: report.load_data({**settings, "seed": seed}),
        FLAGS.epochs,
        FLAGS.members,
        FLAGS.workdir,
        seed=FLAGS.seed,
        settings=settings,
        keep=FLAGS.keep_checkpoints,
        callbacks=train.make_callbacks(),
        strategy=strategy,
        **fitting.trainer_options(),
    )
    if not training.is_chief(strategy):
        return None
    plain = FLAGS.kit == "deterministic"
    ensemble = tfhyper.DeepEnsemble(
        paths,
        draws_per_member=FLAGS.draws,
        batch_norm="moving_average" if plain else "reestimate",
        seed=FLAGS.draw_seed,
    )
    if not plain:
        ensemble.estimate_batch_norm(report.calibration_data(data))
    return report.report_predictor(ensemble, data)


if __name__ == "__main__":
    run(main)
