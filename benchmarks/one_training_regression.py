"""Methods at the price of one training, on one split of a table: regression.

Splits, folds, standardisation and scores are those of `mcbn_protocol`; networks have
two hidden layers of 50 units. No method has a search of its own: all have the same
epochs, and what their losses need, the variance of the targets' noise, is the error of
the plain network on the folds. The variance that predictions are scored with, 1 / tau,
is fitted to each method's draws on the folds.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import mcbn_protocol as protocol
import numpy as np
from keras import ops

import tfhyper
from tfhyper import data, kits, training

BATCH_SIZE = 32
DROPOUT_RATE = 0.05
# Of the standardised targets, while it is not known.
FIRST_NOISE = 0.1


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a method is told of one training.

    Attributes:
        features: numbers in a row of the table.
        rows: training rows.
        epochs: length of the training.
        noise: variance of the standardised targets around their mean.
        seed: of weights, noise and the order of the rows.
    """

    features: int
    rows: int
    epochs: int
    noise: float
    seed: int

    @property
    def steps(self) -> int:
        """Steps of the training."""
        return self.epochs * -(-self.rows // BATCH_SIZE)


@keras.saving.register_keras_serializable("one_training")
class GaussianNLL(keras.losses.Loss):
    """Negative log-likelihood of a normal around the prediction, in nats.

    Args:
        variance: of the normal, but for a constant term.
    """

    def __init__(self, variance: float, name: str = "gaussian_nll"):
        super().__init__(name=name)
        self.variance = variance

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns that of each row."""
        y_true = ops.reshape(y_true, ops.shape(y_pred))
        return ops.mean(ops.square(y_true - y_pred), -1) / (2 * self.variance)


def plain(fit: Fit) -> keras.Model:
    """MAP estimation with Adam."""
    return _adam(_network(fit), fit)


def dropout(fit: Fit) -> keras.Model:
    """Dropout before each layer, with Adam."""
    return _adam(protocol.dropout_network(fit.features, DROPOUT_RATE, fit.rows), fit)


def batch_norm(fit: Fit) -> keras.Model:
    """BatchNorm behind each hidden layer, with Adam."""
    return _adam(protocol.batch_norm_network(fit.features, BATCH_SIZE, fit.rows), fit)


def ivon(fit: Fit) -> keras.Model:
    """Learned noise on all weights of the plain network."""
    return _ivon(_network(fit), fit)


def hyper_ivon(fit: Fit) -> keras.Model:
    """Learned noise on all weights of the network with generated kernels."""
    return _ivon(tfhyper.convert(_network(fit), kits.hyper(seed=fit.seed)), fit)


def _network(fit: Fit) -> keras.Model:
    x = inputs = keras.Input((fit.features,))
    for _ in range(2):
        x = keras.layers.Dense(protocol.UNITS, "relu", kernel_initializer="he_normal")(
            x
        )
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def _adam(model: keras.Model, fit: Fit) -> keras.Model:
    rate = keras.optimizers.schedules.CosineDecay(3e-3, fit.steps)
    # The prior N(0, 1) of each weight, as IVON's.
    optimizer = training.CoupledDecayAdam(rate, coupled_decay=1 / fit.rows)
    model.compile(optimizer, GaussianNLL(fit.noise), jit_compile=False)
    return model


def _ivon(model: keras.Model, fit: Fit) -> keras.Model:
    # The curvature is that of the loss, 1 / noise times squared activations.
    around = tfhyper.Variational(
        model,
        fit.rows,
        weight_decay=1 / fit.rows,
        initial_curvature=1 / fit.noise,
        seed=fit.seed,
    )
    schedule = keras.optimizers.schedules.CosineDecay(0.1, fit.steps)
    optimizer = training.IVON(schedule, beta_2=max(0.0, 1 - 2 / fit.steps))
    around.compile(optimizer, GaussianNLL(fit.noise), jit_compile=False)
    return around


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        title: as the table prints it.
        compile: returns a new compiled network.
        networks: trained apart, and averaged over.
        random: whether a network has more than one draw.
        predictor: arguments of the predictor.
    """

    title: str
    compile: Callable[[Fit], keras.Model]
    networks: int = 1
    random: bool = True
    predictor: dict[str, Any] = dataclasses.field(default_factory=dict)


METHODS = {
    "map": Method("MAP", plain, random=False),
    "four": Method("*four trainings*", plain, networks=4, random=False),
    "mc_dropout": Method(f"MC dropout, {DROPOUT_RATE:g}", dropout),
    "mcbn": Method(
        f"MCBN, {BATCH_SIZE}",
        batch_norm,
        predictor={"batch_norm": "minibatch", "batch_size": BATCH_SIZE},
    ),
    "ivon": Method("IVON", ivon),
    "hyper_ivon": Method("hypernetwork with IVON", hyper_ivon),
}


class Network:
    """One network of a method, compiled once, which begins anew for each training.

    Its noise in training is that of the first seed; weights, and the order of the
    rows, are those of each.
    """

    def __init__(self, method: Method, fit: Fit, draws: int):
        self.method = method
        self.model = method.compile(fit)
        self.model.optimizer.build(self.model.trainable_variables)
        self.first = [ops.copy(x.value) for x in self.model.optimizer.variables]
        self.predictor = tfhyper.PosteriorPredictor(
            self.model,
            draws if method.random else 1,
            outputs="mean",
            **method.predictor,
        )

    def members(self, part: protocol.Part, fit: Fit) -> np.ndarray:
        """Trains, and returns what draws predict of the test rows, standardised."""
        keras.utils.set_random_seed(fit.seed)
        new = self.method.compile(fit)
        for variable, value in zip(self.model.variables, new.variables, strict=True):
            variable.assign(value)
        for variable, value in zip(
            self.model.optimizer.variables, self.first, strict=True
        ):
            variable.assign(value)
        x_train, x_test = np.float32(part.x_train), np.float32(part.x_test)
        self.model.fit(
            x_train,
            np.float32(part.y_train),
            batch_size=BATCH_SIZE,
            epochs=fit.epochs,
            verbose=0,
        )
        # It also takes the weights as they are now.
        self.predictor.estimate_batch_norm(x_train, verbose=0)
        return self.predictor.predict(x_test, batch_size=len(x_test)).members


class Trainings:
    """The trainings of one cell, which share networks of the same method and size.

    Args:
        epochs: of each training.
        draws: of each network that has more than one.
    """

    def __init__(self, epochs: int, draws: int):
        self.epochs, self.draws = epochs, draws
        self.networks: dict[tuple, Network] = {}

    def members(
        self, method: Method, part: protocol.Part, noise: float, seed: int
    ) -> np.ndarray:
        """Trains, and returns what draws predict of the test rows, in their unit.

        Args:
            method: the method.
            part: training and test rows.
            noise: variance of the standardised targets around their mean.
            seed: of the first network; those of the next count on.

        Returns:
            Means (draws, test rows).
        """
        found = []
        rows, features = part.x_train.shape
        for i in range(method.networks):
            fit = Fit(features, rows, self.epochs, noise, seed + i)
            key = (method.compile, rows, noise)
            if key not in self.networks:
                self.networks[key] = Network(method, fit, self.draws)
            drawn = self.networks[key].members(part, fit)
            found.append(part.scale.undo(drawn))
        return np.concatenate(found)


def run_cell(table: data.Table, split: int, epochs: int, draws: int) -> dict:
    """Returns the scores of all methods on one split of a table."""
    train, test = data.split_rows(len(table.y), split)
    rest = data.Table(table.x[train], table.y[train])
    rows = data.fold_rows(len(train), protocol.FOLDS, protocol.FOLD_SEED)
    folds = [protocol.Part.of(rest, *pair) for pair in rows]
    whole = protocol.Part.of(table, train, test)
    trainings = Trainings(epochs, draws)
    noise = _noise(trainings, folds, split)
    found: dict[str, Any] = {"noise": noise, "methods": {}}
    for name, method in METHODS.items():
        held_out = np.concatenate(
            [
                trainings.members(method, part, noise, 1000 * split + 10 * i)
                for i, part in enumerate(folds)
            ],
            axis=1,
        )
        targets = np.concatenate([part.y_test for part in folds])
        drawn = trainings.members(method, whole, noise, 1000 * split + 500)
        found["methods"][name] = {
            by: protocol.score(table.y[test], drawn, **variances)
            for by, variances in protocol.fitted_noise(targets, held_out).items()
        }
    return found


def _noise(trainings: Trainings, folds: list[protocol.Part], split: int) -> float:
    """Returns the plain network's mean squared error on the folds, standardised."""
    errors = []
    for i, part in enumerate(folds):
        seed = 1000 * split + 900 + i
        drawn = trainings.members(METHODS["map"], part, FIRST_NOISE, seed)
        unit = part.scale.std**2
        errors.append(np.mean((drawn[0] - part.y_test) ** 2) / unit)
    return float(np.mean(errors))
