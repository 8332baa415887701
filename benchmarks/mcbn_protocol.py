"""The evaluation of Teye et al. (ICML 2018) on one split of one table.

Networks, grids and search; `mcbn_uci.py` runs it over tables and prints it.

As published: splits, networks and their initial weights, loss, Adam, evaluation every
20 epochs with a patience of 10, draws, tau by the CRPS of the folds, constant twins.
Otherwise:

- the grid has fewer points (`Settings`), and one run for each split instead of five;
- its RMSE is that of the posterior's mean, or near: with BatchNorm the network with
  the statistics of all training rows, else the mean of a few passes;
- the folds are of one size: up to four rows are in no validation part;
- tau is found by a search along a line in place of boosted trees;
- normalizing flows, which the authors evaluate by a script of their own (batches of
  100, the KL divergence over N, a held-out fifth in place of folds, no grid), have the
  folds of the others, and a grid of factors of that KL divergence: 1 is theirs.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from stacked import Stack, shuffled_batches

import tfhyper
from tfhyper import data, metrics
from tfhyper.layers import BayesDense, MCDropout, MNFDense

UNITS = 50
FOLDS = 5
FOLD_SEED = 1
TAU_BY = ("crps", "log_likelihood")
# 1 / tau is at least this times the variance of the targets, as in `fit_noise`.
_SMALLEST_NOISE = 1e-4


def batch_norm_network(features: int, batch_size: int, examples: int) -> keras.Model:
    """Returns FC -> BN -> ReLU twice, and a linear output."""
    x = inputs = keras.Input((features,))
    for _ in range(2):
        x = _dense(UNITS, use_bias=False)(x)
        # No moving average: its statistics are those of the last batch.
        x = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-10)(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(inputs, _dense(1)(x), name="batch_norm")


def dropout_network(features: int, rate: float, examples: int) -> keras.Model:
    """Returns dropout -> FC -> ReLU twice, dropout and a linear output."""
    x = inputs = keras.Input((features,))
    for i in range(2):
        x = _dense(UNITS, activation="relu")(MCDropout(rate, seed=i)(x))
    outputs = _dense(1)(MCDropout(rate, seed=2)(x))
    return keras.Model(inputs, outputs, name="mc_dropout")


def bayes_network(features: int, factor: float, examples: int) -> keras.Model:
    """Returns three layers with Gaussian posteriors, under 0.5 MSE + factor KL / N."""
    kl_weight = factor / examples
    make = functools.partial(BayesDense, kl_weight=kl_weight, initial_scale=0.1)
    return _variational_network(features, make, "bayes")


def mnf_network(features: int, factor: float, examples: int) -> keras.Model:
    """Returns the same with multiplicative normalizing flows, 2 of width 50."""
    make = functools.partial(MNFDense, kl_weight=factor / examples)
    return _variational_network(features, make, "mnf")


def _variational_network(
    features: int, make: Callable[..., keras.Layer], name: str
) -> keras.Model:
    x = inputs = keras.Input((features,))
    for i in range(2):
        x = make(UNITS, activation="relu", seed=i)(x)
    return keras.Model(inputs, make(1, seed=2)(x), name=name)


def _dense(units: int, **options: Any) -> keras.Layer:
    initializer = keras.initializers.TruncatedNormal(stddev=0.1)
    return keras.layers.Dense(units, kernel_initializer=initializer, **options)


@dataclasses.dataclass(frozen=True)
class Method:
    """A posterior: how its network is built, trained and drawn from.

    Args:
        title: in tables.
        twin: what it is called with a constant uncertainty.
        flag: the setting that holds the values of its own axis of the grid.
        build: called with the numbers of features, such a value and the number of
            training rows.
        batch_size: of training, called with such a value.
        predictor: arguments of the predictor, called with such a value.
        passes: the mean of so many is its prediction in the search.
        decays: whether the grid has an axis for L2.
        counts_rows: whether the network depends on the number of training rows.
    """

    title: str
    twin: str
    flag: str
    build: Callable[[int, Any, int], keras.Model]
    batch_size: Callable[[Any], int] = lambda option: 32
    predictor: Callable[[Any], dict] = lambda option: {}
    passes: int = 8
    decays: bool = True
    counts_rows: bool = False


METHODS = {
    "mcbn": Method(
        "MCBN",
        "CUBN",
        "batch_sizes",
        batch_norm_network,
        batch_size=lambda size: size,
        predictor=lambda size: {"batch_norm": "minibatch", "batch_size": size},
        passes=1,
    ),
    "mc_dropout": Method("MC dropout", "CUDO", "dropout_rates", dropout_network),
    "bayes": Method(
        "Bayes by Backprop",
        "CUBBB",
        "kl_factors",
        bayes_network,
        decays=False,
        counts_rows=True,
    ),
    "mnf": Method(
        "Normalizing flows",
        "CUMNF",
        "kl_factors",
        mnf_network,
        batch_size=lambda factor: 100,
        decays=False,
        counts_rows=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a result depends on, besides table, split and method."""

    batch_sizes: tuple[int, ...] = (32, 64, 128, 256)
    dropout_rates: tuple[float, ...] = (0.2, 0.1, 0.05, 0.01)
    kl_factors: tuple[float, ...] = (1.0, 0.1, 0.01)
    l2: tuple[float, ...] = (1e-2, 1e-3, 1e-5)
    max_epochs: int = 2000
    evaluate_every: int = 20
    patience: int = 10
    draws: int = 500
    runs: int = 1
    learning_rate: float = 1e-3


class Network:
    """One way to train and to draw from; keeps what was compiled for it."""

    def __init__(
        self,
        method: Method,
        option: Any,
        features: int,
        examples: int,
        settings: Settings,
    ):
        self.batch_size = method.batch_size(option)
        build = functools.partial(method.build, features, option, examples)
        self.stack = Stack(build, settings.learning_rate)
        self.predictor = tfhyper.PosteriorPredictor(
            self.stack.model,
            num_draws=settings.draws,
            outputs="mean",
            **method.predictor(option),
        )

    def members(self, weights: list, x_train, x) -> np.ndarray:
        """Returns the draws' predictions (draws, examples) with these weights."""
        variables = self.stack.model.trainable_variables
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        self.predictor.estimate_batch_norm(np.float32(x_train), verbose=0)
        return self.predictor.predict(np.float32(x), batch_size=len(x)).members


def network(name: str, option: Any, x_train: np.ndarray, settings: Settings) -> Network:
    """Returns a network for these rows, compiled once for all splits of a table."""
    examples, features = x_train.shape
    if not METHODS[name].counts_rows:
        examples = 0
    return _network(name, option, features, examples, settings)


@functools.cache
def _network(
    name: str, option: Any, features: int, examples: int, settings: Settings
) -> Network:
    return Network(METHODS[name], option, features, examples, settings)


@dataclasses.dataclass(frozen=True)
class Part:
    """Training and test rows, standardised by the training rows."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray  # in their own unit
    scale: data.Standardization  # of the targets

    @classmethod
    def of(cls, table: data.Table, train: np.ndarray, test: np.ndarray) -> "Part":
        """Returns the part with these rows."""
        inputs = data.standardization(table.x[train])
        scale = data.standardization(table.y[train])
        return cls(
            inputs.apply(table.x[train]),
            scale.apply(table.y[train]),
            inputs.apply(table.x[test]),
            table.y[test],
            scale,
        )


def _stacked(parts: list[Part], name: str) -> np.ndarray:
    return np.stack([getattr(part, name) for part in parts])


@dataclasses.dataclass
class Found:
    """The best of a search: a point of the grid, and its networks on the folds."""

    rmse: float = np.inf
    option: Any = None
    l2: float = 0.0
    epochs: int = 0
    weights: list | None = None  # one list of arrays for each fold


def search(name: str, folds: list[Part], split: int, settings: Settings) -> Found:
    """Returns the point of the grid with the smallest mean RMSE over the folds."""
    method, best = METHODS[name], Found()
    for option in getattr(settings, method.flag):
        if method.batch_size(option) <= len(folds[0].x_train):
            best = min(
                best,
                _search_l2(name, option, folds, split, settings),
                key=lambda found: found.rmse,
            )
    if best.weights is None:
        raise ValueError(
            f"No training of {method.title} succeeded: every batch size is above the "
            f"{len(folds[0].x_train)} rows of a fold, or all of them diverged."
        )
    return best


def _search_l2(
    name: str, option: Any, folds: list[Part], split: int, settings: Settings
) -> Found:
    """Trains all folds for all L2 at once, and stops each L2 by its mean RMSE."""
    method = METHODS[name]
    net = network(name, option, folds[0].x_train, settings)
    decays = settings.l2 if method.decays else (0.0,)
    l2 = np.repeat(decays, len(folds))
    x_train, y_train = _stacked(folds, "x_train"), _stacked(folds, "y_train")
    x_test, y_test = _stacked(folds, "x_test"), _stacked(folds, "y_test")
    # Copies go over the folds first, then over L2.
    state = net.stack.start([split * 100 + i for i in range(len(folds))] * len(decays))
    generator = np.random.default_rng(split)
    found = [Found(option=option, l2=decay) for decay in decays]
    for epochs in _evaluations(settings):
        batches = shuffled_batches(
            generator, settings.evaluate_every, *x_train.shape[:2], net.batch_size
        )
        state = net.stack.train(state, x_train, y_train, l2, batches)
        outputs = net.stack.predict(state, x_train, x_test, method.passes)
        outputs = outputs.reshape(len(decays), len(folds), -1)
        for i, one in enumerate(found):
            if _has_stopped(one, epochs, settings):
                continue
            predictions = [p.scale.undo(o) for p, o in zip(folds, outputs[i])]
            rmse = np.sqrt(np.mean((predictions - y_test) ** 2, axis=-1)).mean()
            if rmse < one.rmse:
                copies = range(i * len(folds), (i + 1) * len(folds))
                weights = [w.numpy() for w in state.weights]
                one.rmse, one.epochs = float(rmse), epochs
                one.weights = [[w[copy] for w in weights] for copy in copies]
        if all(_has_stopped(one, epochs + 1, settings) for one in found):
            break
    return min(found, key=lambda one: one.rmse)


def _evaluations(settings: Settings) -> range:
    every = settings.evaluate_every
    return range(every, settings.max_epochs + 1, every)


def _has_stopped(found: Found, epochs: int, settings: Settings) -> bool:
    return epochs > found.epochs + settings.patience * settings.evaluate_every


def fit_noise(method: str, found: Found, folds: list[Part], settings: Settings) -> dict:
    """Returns 1 / tau of the draws and of the twin, fitted to all folds together."""
    net = network(method, found.option, folds[0].x_train, settings)
    members = np.concatenate(
        [
            part.scale.undo(net.members(weights, part.x_train, part.x_test))
            for part, weights in zip(folds, found.weights, strict=True)
        ],
        axis=1,
    )
    targets = np.concatenate([part.y_test for part in folds])
    return fitted_noise(targets, members)


def fitted_noise(targets: np.ndarray, members: np.ndarray) -> dict:
    """Returns 1 / tau of draws (draws, examples) and of their twin, by each score."""
    floor = _SMALLEST_NOISE * np.var(targets)
    return {
        score: {
            "noise": max(metrics.fit_noise_variance(targets, members, score), floor),
            "constant": max(
                metrics.best_constant_variance(targets, members.mean(0), score), floor
            ),
        }
        for score in TAU_BY
    }


def train_again(
    name: str, found: Found, part: Part, split: int, settings: Settings
) -> list[np.ndarray]:
    """Returns the members on the test rows of each run, trained on all the rest."""
    net = network(name, found.option, part.x_train, settings)
    parts = [part] * settings.runs
    arrays = _stacked(parts, "x_train"), _stacked(parts, "y_train")
    state = net.stack.start([split * 100 + 50 + i for i in range(settings.runs)])
    generator = np.random.default_rng((split, 1))
    for _ in range(found.epochs // settings.evaluate_every):
        batches = shuffled_batches(
            generator, settings.evaluate_every, *arrays[0].shape[:2], net.batch_size
        )
        l2 = np.full(settings.runs, found.l2)
        state = net.stack.train(state, *arrays, l2, batches)
    runs = []
    for i in range(settings.runs):
        weights = [w[i] for w in state.weights]
        members = net.members(weights, part.x_train, part.x_test)
        runs.append(part.scale.undo(members))
    return runs


def score(targets: np.ndarray, members: np.ndarray, noise: float, constant: float):
    """Returns the scores of the draws, of the constant twin, and normalised.

    Args:
        targets: (examples,).
        members: (draws, examples).
        noise: 1 / tau of the draws.
        constant: the twin's variance.
    """
    mean, variance = metrics.predictive_moments(members, noise)
    scores = {
        "crps": metrics.crps_gaussian(targets, mean, variance),
        "pll": metrics.predictive_log_likelihood(targets, members, noise),
    }
    twin = {
        "crps": metrics.crps_gaussian(targets, mean, constant),
        "pll": metrics.gaussian_log_likelihood(targets, mean, constant),
    }
    optimal = {
        "crps": metrics.optimal_crps(targets, mean),
        "pll": metrics.optimal_log_likelihood(targets, mean),
    }
    for key in ("crps", "pll"):
        scores[f"{key}_constant"] = twin[key]
        scores[f"{key}_optimal"] = optimal[key]
        scores[f"{key}_normalized"] = metrics.normalized_score(
            scores[key], twin[key], optimal[key]
        )
    return {"rmse": metrics.rmse(targets, mean), **scores}


def run_cell(table: data.Table, split: int, name: str, settings: Settings) -> dict:
    """Returns what the protocol finds for one method on one split of a table."""
    train, test = data.split_rows(len(table.y), split)
    rest = data.Table(table.x[train], table.y[train])
    rows = data.fold_rows(len(train), FOLDS, FOLD_SEED)
    folds = [Part.of(rest, *pair) for pair in rows]
    found = search(name, folds, split, settings)
    noise = fit_noise(name, found, folds, settings)
    runs = train_again(name, found, Part.of(table, train, test), split, settings)
    targets = table.y[test]
    scores = {
        by: [score(targets, members, *noise[by].values()) for members in runs]
        for by in TAU_BY
    }
    return {
        "found": {
            METHODS[name].flag: found.option,
            "l2": found.l2,
            "epochs": found.epochs,
            "cv_rmse": found.rmse,
        },
        "variances": noise,
        "scores": scores,
        # Of the first run, for the figure.
        "targets": targets.tolist(),
        "mean": runs[0].mean(axis=0).tolist(),
        "spread": runs[0].var(axis=0).tolist(),
    }
