"""Distributions as outputs, on splits of tables: rows, trainings, scores.

Splits and sizes are those of `mcbn_protocol`: two hidden layers of 50 units, batches of
32, Adam. All networks have the same number of steps. A fifth of the training rows is
held out. It is scored twenty times on the way, and the best weights are kept: by the
negative log-likelihood, whatever the loss (beta-NLL is no proper score). What has one
noise for all inputs is scored by squared errors, and finds its noise there, too.

A network learns standardised targets z = (y - mean) / std, and is scored on them. In
the unit of y, a density is 1 / std times that of z, and distances are std times as
long:

    NLL = NLL of z + log std        CRPS, RMSE, width = std times those of z

Coverage is the same.
"""

import dataclasses
from collections.abc import Callable

import keras
import mcbn_protocol as protocol
import numpy as np
from one_training_regression import BATCH_SIZE, DROPOUT_RATE
from stacked import Stack, half_squares, shuffled_batches

import tfhyper
from tfhyper import data, heads
from tfhyper.layers import MCDropout

LEARNING_RATE = 3e-3
# How often a training looks at the rows that are held out.
LOOKS = 20
VALIDATION_FRACTION = 0.2


@dataclasses.dataclass(frozen=True)
class Output:
    """What a network ends in, and what it learns by.

    Attributes:
        title: as tables print it.
        head: returns the last layer, or `None` for a mean under one constant noise.
        loss: returns the loss, of the head, or `None` for squared errors.
    """

    title: str
    head: Callable[[], heads.Head] | None
    loss: Callable[[heads.Head], keras.losses.Loss] | None


OUTPUTS = {
    "homoscedastic": Output("one noise for all", None, None),
    "normal": Output("normal", heads.NormalHead, heads.NegativeLogLikelihood),
    "normal_beta": Output("normal, beta-NLL", heads.NormalHead, heads.BetaNLL),
    "normal_crps": Output("normal, CRPS", heads.NormalHead, heads.CRPS),
    "laplace": Output("Laplace", heads.LaplaceHead, heads.NegativeLogLikelihood),
    "student_t": Output("Student-t", heads.StudentTHead, heads.NegativeLogLikelihood),
    "mixture": Output(
        "mixture of 3 normals",
        lambda: heads.MixtureHead(3),
        heads.NegativeLogLikelihood,
    ),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the tables: an output of one network, or of many draws.

    Attributes:
        output: key of `OUTPUTS`.
        random: whether the network has MC dropout, and so many draws.
    """

    output: str
    random: bool

    @property
    def title(self) -> str:
        """As tables print it."""
        return OUTPUTS[self.output].title


ROWS = {
    output + ("_draws" if random else ""): Row(output, random)
    for random in (False, True)
    for output in OUTPUTS
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a result depends on, besides table, split and row.

    Attributes:
        steps: of each training.
        draws: of each network that has more than one.
    """

    steps: int = 4000
    draws: int = 16


@dataclasses.dataclass(frozen=True)
class Rows:
    """Standardised rows of one split: to learn from, held out, and of the test.

    Attributes:
        train: inputs (rows, features) and targets (rows,), float32.
        validation: likewise.
        test: likewise.
        std: that of the targets to learn from, by which theirs were divided.
        seed: of first weights and of the order of rows.
    """

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    std: float
    seed: int

    @classmethod
    def of(cls, table: data.Table, split: int, width: int) -> "Rows":
        """Returns the rows of a split of `mcbn_protocol`.

        Args:
            table: the table.
            split: its seed.
            width: columns of zeros are added up to so many features. They change
                nothing but how large the first weights are in the beginning, and one
                compiled network serves tables of all widths.
        """
        seen, test = data.split_rows(len(table.y), split)
        train, held_out = data.split_rows(len(seen), split, VALIDATION_FRACTION)
        train, held_out = seen[train], seen[held_out]
        inputs = data.standardization(table.x[train])
        scale = data.standardization(table.y[train])

        def part(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x, y = inputs.apply(table.x[rows]), scale.apply(table.y[rows])
            zeros = [(0, 0), (0, width - x.shape[1])]
            return np.float32(np.pad(x, zeros)), np.float32(y)

        return cls(part(train), part(held_out), part(test), float(scale.std), split)


class Network:
    """The network of a row, and its trainings side by side.

    Args:
        row: the row.
        width: features.
        settings: steps and draws.
    """

    def __init__(self, row: Row, width: int, settings: Settings):
        self.row, self.width = row, width
        self.output = OUTPUTS[row.output]
        self.steps = max(1, settings.steps // LOOKS)
        loss = self.score = half_squares
        if self.output.head is not None:
            head = self.output.head()
            loss = self.output.loss(head).call
            self.score = heads.NegativeLogLikelihood(head).call
        self.stack = Stack(self._build, LEARNING_RATE, loss)
        self.predictor = tfhyper.PosteriorPredictor(
            self.stack.model,
            settings.draws if row.random else 1,
            outputs="mean" if self.output.head is None else "distribution",
        )

    def _build(self) -> keras.Model:
        head = None if self.output.head is None else self.output.head()
        units = (protocol.UNITS, protocol.UNITS, 1 if head is None else head.units)
        x = inputs = keras.Input((self.width,))
        for i, (size, activation) in enumerate(zip(units, ("relu", "relu", None))):
            if self.row.random:
                x = MCDropout(DROPOUT_RATE, seed=i)(x)
            initializer = "glorot_uniform" if activation is None else "he_normal"
            x = keras.layers.Dense(size, activation, kernel_initializer=initializer)(x)
        return keras.Model(inputs, x if head is None else head(x))

    def scores(self, parts: list[Rows]) -> list[dict[str, float]]:
        """Trains, and returns the scores on the test rows of each part.

        They are in the unit of the targets.
        """
        weights, steps = self._trained(parts)
        found = []
        for i, rows in enumerate(parts):
            variables = self.stack.model.trainable_variables
            for variable, values in zip(variables, weights, strict=True):
                variable.assign(values[i])
            # The predictor takes the weights as they are now.
            self.predictor.estimate_batch_norm(rows.train[0], verbose=0)
            if self.output.head is None:
                # By maximum likelihood, as most heads learn theirs.
                self.predictor.fit_noise(*rows.validation, score="log_likelihood")
            standardised = self.predictor.evaluate(*rows.test)
            found.append({**in_unit(standardised, rows.std), "steps": int(steps[i])})
        return found

    def _trained(self, parts: list[Rows]) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns the best weights (parts, ...), and after how many steps they were."""
        train_x, train_y, _ = _side_by_side([rows.train for rows in parts])
        held_out = _side_by_side([rows.validation for rows in parts])
        state = self.stack.start([rows.seed for rows in parts])
        best = [w.numpy() for w in state.weights]
        least, after = np.full(len(parts), np.inf), np.zeros(len(parts), int)
        batches = self._batches(parts)
        for look in range(1, LOOKS + 1):
            now = batches[(look - 1) * self.steps : look * self.steps]
            l2 = np.zeros(len(parts))
            state = self.stack.train(state, train_x, train_y, l2, now)
            losses = self.stack.evaluate(state, *held_out, self.score)
            better = losses < least
            least[better], after[better] = losses[better], look * self.steps
            for kept, weights in zip(best, state.weights, strict=True):
                kept[better] = weights.numpy()[better]
        return best, after

    def _batches(self, parts: list[Rows]) -> np.ndarray:
        """Returns int32 (steps, parts, batch), each epoch of a part in a new order."""
        total, found = LOOKS * self.steps, []
        for rows in parts:
            count = len(rows.train[0])
            epochs = -(-total // (count // BATCH_SIZE))
            generator = np.random.default_rng(rows.seed)
            order = shuffled_batches(generator, epochs, 1, count, BATCH_SIZE)
            found.append(order[:total])
        return np.concatenate(found, axis=1)


def _side_by_side(
    parts: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns inputs, targets and weights (parts, rows, ...): 0 beyond the last row."""
    longest = max(len(y) for _, y in parts)
    found = []
    for x, y in parts:
        more = (0, longest - len(y))
        weights = np.pad(np.ones_like(y), more)
        found.append((np.pad(x, (more, (0, 0))), np.pad(y, more), weights))
    x, y, weights = (np.stack(arrays) for arrays in zip(*found, strict=True))
    return x, y, weights


def in_unit(scores: dict[str, float], std: float) -> dict[str, float]:
    """Returns scores of targets, from those of targets that were divided by `std`."""
    return {
        "rmse": scores["rmse"] * std,
        "nll": scores["nll"] + float(np.log(std)),
        "crps": scores["crps"] * std,
        "coverage_90": scores["coverage_90"],
        "width_90": scores["width_90"] * std,
    }
