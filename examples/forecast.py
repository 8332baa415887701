r"""Forecasts a series with intervals: those of draws, and those that cover.

    python examples/forecast.py
    python examples/forecast.py --method=bayes --history=60
    python examples/forecast.py --table=FILE --test_days=365 --workdir=runs/mine

An LSTM sees the last --history days and gives a normal distribution for each of the
--horizon days to come. Draws of its weights are averaged: what comes out is wider where
the draws disagree. Beside it stand conformal intervals (conformalised quantile
regression), whose width is corrected on days that trained nothing.

The default series is the weather of Seattle from 2012 to 2015, day by day, which
vega_datasets carries (`pip install "tfhyper[sequences]"`): its highest temperature is
to be forecast from temperatures, rain and wind. A table of your own is a text file of
numbers, a day to a line in order of time, the series last. The days at the end are the
test, those before them correct the intervals, and the rest trains.
"""

import os
from typing import NamedTuple

import keras
import numpy as np
from absl import flags
from keras import layers

import tfhyper
from tfhyper import data, heads, kits, metrics, training
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import run, write_figure, write_json

FLAGS = flags.FLAGS
METHODS = ("variational", "bayes", "mc_dropout", "deterministic")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = (
    "table test_days held_out_days history horizon method width dropout epochs "
    "batch_size learning_rate seed"
)
flags.DEFINE_string("table", None, "Text file; the weather of Seattle if left out.")
flags.DEFINE_integer("test_days", 365, "Days at the end, to test with.")
flags.DEFINE_integer("held_out_days", 365, "Days before those, to correct intervals.")
flags.DEFINE_integer("history", 28, "Days that the network sees.")
flags.DEFINE_integer("horizon", 7, "Days that it forecasts.")
flags.DEFINE_float("year", 365.25, "Days of a season; its phase is an input. 0: none.")
flags.DEFINE_enum("method", "mc_dropout", METHODS, "What draws.")
flags.DEFINE_integer("width", 32, "Units of the LSTM.")
flags.DEFINE_float("dropout", 0.2, "Rate of dropout with --method=mc_dropout.")
flags.DEFINE_integer("epochs", 60, "Epochs.")
flags.DEFINE_integer("batch_size", 32, "Windows in a batch.")
flags.DEFINE_float(
    "learning_rate", None, "First rate of IVON, or of Adam; by default 0.02, or 0.003."
)
flags.DEFINE_float("alpha", 0.1, "Fraction of days that may lie outside of intervals.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and order.")
flags.DEFINE_integer("draws", 16, "Draws that the prediction averages over.")
flags.DEFINE_string(
    "workdir", "runs/forecast", "Folder of the training and its results."
)


class Windows(NamedTuple):
    """Days that are seen, and days to come: (windows, days, features), (windows, days).

    The days to come are standardised by `scale`, the moments of the training.
    """

    x: np.ndarray
    y: np.ndarray


def load() -> np.ndarray:
    """Returns the series, of shape (days, features), the one to forecast last."""
    if FLAGS.table is not None:
        table = data.load_table(FLAGS.table)
        return np.column_stack([table.x, table.y])
    from vega_datasets import data as vega

    weather = vega.seattle_weather()
    columns = ["temp_min", "wind", "precipitation", "temp_max"]
    return weather[columns].to_numpy("float64")


def make_windows(series: np.ndarray) -> tuple[dict[str, Windows], data.Standardization]:
    """Returns the windows of each part, and the moments of the series to forecast.

    A window is of the part in which all days lie that it forecasts; it may see days
    before it.
    """
    days = len(series)
    ends = (days - FLAGS.test_days - FLAGS.held_out_days, days - FLAGS.test_days, days)
    least = FLAGS.history + FLAGS.horizon
    if ends[0] < 2 * least or min(FLAGS.test_days, FLAGS.held_out_days) < least:
        raise ValueError(
            f"--history and --horizon must leave windows to each part of {days} days. "
            f"Received: --history={FLAGS.history}, --horizon={FLAGS.horizon}, "
            f"--held_out_days={FLAGS.held_out_days}, --test_days={FLAGS.test_days}"
        )
    seen = data.standardization(series[: ends[0]])
    features = seen.apply(series)
    if FLAGS.year > 0:
        phase = 2 * np.pi * np.arange(days)[:, None] / FLAGS.year
        features = np.column_stack([features, np.sin(phase), np.cos(phase)])
    scale = data.standardization(series[: ends[0], -1])
    target = scale.apply(series[:, -1])
    found, begin = {}, FLAGS.history
    for name, end in zip(("train", "held_out", "test"), ends, strict=True):
        at = np.arange(begin, end - FLAGS.horizon + 1)[:, None]
        found[name] = Windows(
            features[at + np.arange(-FLAGS.history, 0)].astype("float32"),
            target[at + np.arange(FLAGS.horizon)].astype("float32"),
        )
        begin = end
    return found, scale


def build(features: int, found: data.ArrayBatches) -> keras.Model:
    """Returns the network of the flags, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    rate = FLAGS.dropout if FLAGS.method == "mc_dropout" else 0.0
    head = heads.NormalHead(FLAGS.horizon)
    model = keras.Sequential(
        [
            keras.Input((FLAGS.history, features)),
            layers.LSTM(FLAGS.width, dropout=rate, recurrent_dropout=rate),
            layers.Dropout(rate),
            layers.Dense(head.units),
            head,
        ]
    )
    loss = heads.NegativeLogLikelihood(head)
    steps = FLAGS.epochs * found.steps_per_epoch
    default = 0.02 if FLAGS.method == "variational" else 0.003
    first = default if FLAGS.learning_rate is None else FLAGS.learning_rate
    schedule = keras.optimizers.schedules.CosineDecay(first, steps)
    if FLAGS.method == "variational":
        # All targets of a window are one example: their log-likelihoods add up.
        model = tfhyper.Variational(model, found.num_examples, seed=FLAGS.seed)
        model.compile(training.IVON(schedule, beta_2=1 - 2 / steps), loss)
        return model
    if FLAGS.method == "bayes":
        kit = kits.bayes(found.num_examples, seed=FLAGS.seed)
        model = tfhyper.convert(model, kit)
    model.compile(keras.optimizers.Adam(schedule), loss)
    return model


def score(prediction, y: np.ndarray, scale: data.Standardization) -> dict[str, dict]:
    """Returns scores in the unit of the series, of both kinds of intervals."""
    unit = float(np.squeeze(scale.std))
    found = {}
    intervals = {
        "draws": prediction.interval(1 - FLAGS.alpha),
        "conformal": prediction.conformal_interval,
    }
    for name, interval in intervals.items():
        inside = (y >= interval.lower) & (y <= interval.upper)
        found[name] = {
            "coverage": float(inside.mean()),
            "coverage_by_day": inside.mean(axis=0).tolist(),
            "width": float(np.mean(interval.upper - interval.lower)) * unit,
        }
    found["mean"] = {"rmse": float(metrics.rmse(y, prediction.mean)) * unit}
    return found


def picture(prediction, y: np.ndarray, scale: data.Standardization, scores: dict):
    """Returns a figure: forecasts of the last day of each window, and what covers."""
    import matplotlib.pyplot as plt

    fig, panels = plt.subplots(
        1, 2, figsize=(11, 3.4), width_ratios=[2, 1], layout="constrained"
    )
    axes, day, level = panels[0], FLAGS.horizon - 1, 1 - FLAGS.alpha
    shown = np.arange(min(len(y), 120))
    low, high = (scale.undo(x[shown, day]) for x in prediction.interval(level))
    axes.fill_between(shown, low, high, alpha=0.3, label="draws")
    corrected = [scale.undo(x[shown, day]) for x in prediction.conformal_interval]
    for values, label in zip(corrected, ("conformal", None), strict=True):
        axes.plot(shown, values, color="tab:orange", linewidth=1, label=label)
    axes.plot(shown, scale.undo(prediction.mean[shown, day]), label="mean")
    axes.plot(shown, scale.undo(y[shown, day]), "k.", markersize=3, label="truth")
    title = f"{FLAGS.method}, {FLAGS.horizon} days ahead, intervals at {level:.0%}"
    axes.set(xlabel="Day of the test", title=title)
    axes.legend(frameon=False, fontsize=8, ncols=4)
    axes = panels[1]
    days = np.arange(1, FLAGS.horizon + 1)
    for name in ("draws", "conformal"):
        axes.plot(days, scores[name]["coverage_by_day"], "o-", label=name)
    axes.axhline(1 - FLAGS.alpha, color="0.5", linestyle="--", linewidth=1)
    axes.set(xlabel="Days ahead", ylabel="Coverage of the intervals")
    axes.legend(frameon=False, fontsize=8)
    return fig


def main():
    check_flags(("draws", "history", "horizon", "width", "epochs"))
    parts, scale = make_windows(load())
    batches = data.ArrayBatches(
        *parts["train"], batch_size=FLAGS.batch_size, seed=FLAGS.seed
    )
    settings = {name: FLAGS[name].value for name in SETTINGS.split()}
    model, _ = training.fit_in_workdir(
        training.Workdir(FLAGS.workdir, settings),
        lambda: build(parts["train"].x.shape[-1], batches),
        batches,
        FLAGS.epochs,
        verbose=2,
    )
    predictor = tfhyper.PosteriorPredictor(
        model,
        1 if FLAGS.method == "deterministic" else FLAGS.draws,
        dropout="sample" if FLAGS.method == "mc_dropout" else None,
        seed=FLAGS.seed,
    )
    predictor.fit_conformal(*parts["held_out"], FLAGS.alpha, "quantile", verbose=0)
    x, y = parts["test"]
    prediction = predictor.predict(x, verbose=0)
    scores = score(prediction, y, scale)
    print(f"\n{len(y)} test windows, {FLAGS.method}, x{predictor.num_draws}")
    print(f"    RMSE of the mean {scores['mean']['rmse']:8.3f}")
    for name in ("draws", "conformal"):
        row = scores[name]
        print(
            f"{name:>12}: intervals at {1 - FLAGS.alpha:.0%} cover "
            f"{row['coverage']:.1%} of days, {row['width']:.2f} wide"
        )
    print()
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    figure = picture(prediction, y, scale, scores)
    write_figure(os.path.join(FLAGS.workdir, "forecasts.png"), figure)
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
