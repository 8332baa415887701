r"""Regression with Monte Carlo Batch Normalization: how far to trust a prediction.

    python examples/uci_regression.py
    python examples/uci_regression.py --table=FILE --batch_size=64 --epochs=400

The default table is the diabetes data that scikit-learn carries. A table of your
own is a text file of numbers, a row to a line, the target last, without a header.
The noise of the targets is fitted to rows that the training has not seen.
"""

import os

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import analysis, data, metrics
from tfhyper.cli import flag_sets
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import run, write_figure, write_json

FLAGS = flags.FLAGS
flag_sets.define_report()
flags.DEFINE_string("table", None, "Text file; scikit-learn's diabetes if left out.")
flags.DEFINE_integer("split", 1, "Seed of the split: 20 % of the rows are the test.")
flags.DEFINE_integer("epochs", 100, "Epochs.")
flags.DEFINE_integer("batch_size", 32, "Rows in a batch of training, and of a draw.")
flags.DEFINE_integer("units", 50, "Units of each of the two hidden layers.")
flags.DEFINE_float("l2", 1e-3, "Factor of the squared weights.")
flags.DEFINE_float("learning_rate", 1e-3, "Adam's learning rate.")
flags.DEFINE_integer("seed", 0, "Seed of weights and data order.")
FLAGS.set_default("workdir", "runs/uci_regression")
FLAGS.set_default("draws", 100)


def load_table() -> data.Table:
    """Returns the table that the flags name."""
    if FLAGS.table is not None:
        return data.load_table(FLAGS.table)
    from sklearn.datasets import load_diabetes

    return data.check_table(*load_diabetes(return_X_y=True))


def make_model(features: int) -> keras.Model:
    """Returns two hidden layers with BatchNorm, and a linear output."""
    keras.utils.set_random_seed(FLAGS.seed)
    decay = keras.regularizers.L2(FLAGS.l2)
    layers = [keras.Input((features,))]
    for _ in range(2):
        layers += [
            keras.layers.Dense(FLAGS.units, use_bias=False, kernel_regularizer=decay),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    model = keras.Sequential([*layers, keras.layers.Dense(1, kernel_regularizer=decay)])
    model.compile(keras.optimizers.Adam(FLAGS.learning_rate), "mse")
    return model


def main():
    check_flags()
    for name in ("epochs", "units"):
        if FLAGS[name].value < 1:
            raise ValueError(
                f"--{name} must be positive. Received: --{name}={FLAGS[name].value}"
            )
    table = load_table()
    rest, test = data.split_rows(len(table.y), FLAGS.split)
    train, held_out = (rest[part] for part in data.split_rows(len(rest), FLAGS.split))
    if not 2 <= FLAGS.batch_size <= len(train):
        raise ValueError(
            f"--batch_size must be from 2 to {len(train)}, the training rows. "
            f"Received: --batch_size={FLAGS.batch_size}"
        )
    x = data.standardization(table.x[train]).apply(table.x).astype("float32")
    scale = data.standardization(table.y[train])
    y = scale.apply(table.y).astype("float32")
    model = make_model(x.shape[1])
    # A draw takes the training's batch size, so the rest of an epoch is left out.
    rows = len(train) // FLAGS.batch_size * FLAGS.batch_size
    for _ in range(FLAGS.epochs):
        order = np.random.permutation(train)[:rows]
        model.fit(x[order], y[order], FLAGS.batch_size, verbose=0)

    predictor = tfhyper.PosteriorPredictor(
        model,
        num_draws=FLAGS.draws,
        batch_norm="minibatch",
        batch_size=FLAGS.batch_size,
        outputs="mean",
        seed=FLAGS.draw_seed,
    )
    predictor.estimate_batch_norm(x[train], verbose=0).fit_noise(
        x[held_out], y[held_out]
    )
    held = predictor.predict(x[held_out])
    constant = metrics.best_constant_variance(y[held_out], held.mean)
    report(predictor.predict(x[test]), y[test], constant, scale, len(train))
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


def report(prediction, y, constant, scale, num_train) -> None:
    """Prints the scores in the table's own unit; writes them and a picture."""
    unit = float(scale.std)
    targets, mean = scale.undo(y), scale.undo(prediction.mean)
    variance, constant = prediction.variance * unit**2, constant * unit**2
    interval = metrics.gaussian_interval(mean, variance)
    crps = metrics.crps_gaussian(targets, mean, variance)
    crps_constant = metrics.crps_gaussian(targets, mean, constant)
    scores = {
        "rmse": metrics.rmse(targets, mean),
        "crps": crps,
        "crps_constant": crps_constant,
        "crps_normalized": metrics.normalized_score(
            crps, crps_constant, metrics.optimal_crps(targets, mean)
        ),
        "log_likelihood": metrics.gaussian_log_likelihood(targets, mean, variance),
        "log_likelihood_constant": metrics.gaussian_log_likelihood(
            targets, mean, constant
        ),
        "coverage_90": metrics.interval_coverage(targets, interval),
        "aleatoric_std": float(np.sqrt(prediction.aleatoric.mean())) * unit,
        "epistemic_std": float(np.sqrt(prediction.epistemic.mean())) * unit,
    }
    print(f"\n{num_train} training and {len(y)} test rows, {FLAGS.draws} draws")
    for name, value in scores.items():
        print(f"{name:>24} {value:10.4f}")
    print("   normalised: 0 for a constant uncertainty, 100 for the best there is\n")
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    figure = analysis.uncertainty_error_plot(targets, mean, variance, constant)
    write_figure(os.path.join(FLAGS.workdir, "errors.png"), figure)


if __name__ == "__main__":
    run(main)
