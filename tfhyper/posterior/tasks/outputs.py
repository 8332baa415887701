"""What a network's outputs say: class probabilities, or a mean and a variance."""

import keras
import numpy as np
from keras import ops

from tfhyper import metrics
from tfhyper.checks import check_choice, check_number
from tfhyper.metrics._checks import (
    SUM_TOLERANCE,
    check_labels,
    check_vector,
    sum_tolerance,
)
from tfhyper.posterior.tasks import output_kind
from tfhyper.posterior.tasks.prediction import PredictionSum, RegressionSum, sum_to_one

CLASSIFICATION = ("logits", "probabilities")
REGRESSION = ("mean", "mean_and_variance")

# Of the variance of the targets, see `PosteriorPredictor.fit_noise`.
_SMALLEST_NOISE = 1e-4

# The same, for tensors of a graph.
_SYMBOLIC_LINKS = {
    "softmax": ops.softmax,
    # By the logarithm of softplus, l itself far below zero, as `metrics` has it.
    "normalized_softplus": lambda x: ops.softmax(
        ops.where(x < -15.0, x, ops.log(ops.softplus(ops.maximum(x, -15.0))))
    ),
}
# Link -> the function of logits that gives the class probabilities.
LINKS = {
    "softmax": lambda logits: ops.convert_to_numpy(ops.softmax(logits)),
    "normalized_softplus": metrics.normalized_softplus,
}


class ClassOutputs:
    """Outputs of a classifier: logits or probabilities, (batch, classes).

    Args:
        model: the model, for what its graph and its loss say of its outputs.
        outputs: `"logits"`, `"probabilities"`, or `None` to see for itself.
        link: a name of `LINKS`.

    Attributes:
        known: bool, whether it is certain what the model gives. What neither its graph
            nor its loss tells, the first numbers may.

    Raises:
        ValueError: for another model, or a link that does not go with it.
    """

    def __init__(self, model, outputs, link):
        shapes = _shapes(model)
        if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] in (None, 1):
            raise ValueError(
                "`model` must have one output, (batch, classes) with two classes or "
                'more; for a regression give `outputs="mean"` or "mean_and_variance". '
                f"Received: a model with outputs of the shapes {shapes}"
            )
        self.classes = shapes[0][1]
        # Until the first numbers, if neither the graph nor the loss says it.
        self.known = outputs is not None
        if outputs is None:
            found = output_kind.kind_of(model)
            if found == output_kind.SIGMOIDS:
                raise ValueError(
                    "`model` must give the classes' logits, or probabilities that sum "
                    "to one. Received: a model that ends in a sigmoid for each column, "
                    "as for several labels. (`outputs` says what it gives, if this is "
                    "not so.)"
                )
            self.known = found is not None
            outputs = found or "logits"
        self.name = outputs
        self.link = check_choice("link", link, LINKS)
        if outputs == "probabilities" and link != "softmax":
            raise ValueError(
                '`link` must be "softmax" where the model gives probabilities: it is '
                f"for logits. Received: link={link!r}"
            )

    def read(self, raw) -> tuple[np.ndarray, ...]:
        """Returns the probabilities of a batch, from what the network gave.

        Raises:
            ValueError: for outputs that are not finite, probabilities that are none,
                and logits that may be probabilities where nothing says which.
        """
        found = _finite(_only(raw))
        if self.name == "logits":
            if not self.known and not _why_not_probabilities(found):
                raise ValueError(
                    '`outputs` must be given, "logits" or "probabilities": the rows '
                    "that the model gives are not negative and sum to one, and neither "
                    "its graph nor its loss says what they are. Received: outputs=None"
                )
            self.known = True
            found = LINKS[self.link](found).astype(np.float32)
        elif reason := _why_not_probabilities(found):
            raise ValueError(
                '`outputs="probabilities"` needs a model whose rows are not negative '
                f"and sum to one. Received: {reason}"
            )
        return (found,)

    def tensor(self, raw):
        """Returns probabilities (batch, classes) in float32, as `read`, of tensors."""
        if not self.known:
            raise ValueError(
                '`outputs` must be given, "logits" or "probabilities": neither the '
                "model's graph nor its loss says it. Received: outputs=None"
            )
        probs = keras.layers.Activation("linear", dtype="float32")(_only(raw))
        return _SYMBOLIC_LINKS[self.link](probs) if self.name == "logits" else probs

    def average(self, outputs: list):
        """Returns the mean probabilities of networks' symbolic outputs."""
        return ops.mean(ops.stack([self.tensor(x) for x in outputs]), axis=0)

    def new_sum(self, keep_members: bool) -> PredictionSum:
        """Returns what adds up the members."""
        return PredictionSum(keep_members)

    def report(self, labels, prediction, weights=None) -> dict[str, float]:
        """Returns the scores of a prediction, its examples weighted."""
        return metrics.classification_report(
            labels, sum_to_one(prediction.mean), sample_weight=weights
        )

    def check_labels(self, labels) -> np.ndarray:
        """Returns labels as integers (examples,), of any form that Keras' have.

        Raises:
            ValueError: for another shape, or labels out of range or not whole.
            TypeError: for labels that are no numbers.
        """
        return check_labels(labels, len(labels), self.classes, name="y")


class RegressionOutputs:
    """Outputs of a regression: a mean, and perhaps a variance, for each example.

    Args:
        model: a model whose output is (batch, 1), or for `"mean_and_variance"`
            two of these, or one (batch, 2).
        outputs: `"mean"` or `"mean_and_variance"`.
        noise_variance: float >= 0, variance of the targets around the mean, for
            `"mean"`.

    Raises:
        ValueError: for another model or an argument out of range.
    """

    known = True

    def __init__(self, model, outputs, noise_variance):
        self.name = outputs
        shapes = _shapes(model)
        allowed = [[1]] if outputs == "mean" else [[2], [1, 1]]
        if [shape[-1] for shape in shapes] not in allowed or any(
            len(shape) != 2 for shape in shapes
        ):
            rule = {
                "mean": "one output (batch, 1)",
                "mean_and_variance": "one output (batch, 2) or two (batch, 1)",
            }[outputs]
            raise ValueError(
                f'`model` must have {rule} for `outputs="{outputs}"`. '
                f"Received: a model with outputs of the shapes {shapes}"
            )
        self._keys = _check_names(model, outputs)
        self.noise_variance = check_number("noise_variance", noise_variance)
        if noise_variance and outputs == "mean_and_variance":
            raise ValueError(
                '`noise_variance` is for `outputs="mean"`: the network gives a '
                f"variance itself. Received: noise_variance={noise_variance!r}"
            )

    def read(self, raw) -> tuple[np.ndarray, ...]:
        """Returns means and variances of a batch, each (batch,)."""
        if self.name == "mean":
            (mean,) = _finite(_only(raw)).T
            return mean, np.full_like(mean, self.noise_variance)
        mean, variance = _finite(np.concatenate(self._ordered(raw), -1)).T
        if not (variance > 0).all():
            raise ValueError(
                "The variance that the model gives must be above 0: end it in a "
                f"softplus or exp. Received: a variance of {variance.min()}"
            )
        return mean, variance

    def tensor(self, raw):
        """Returns mean and variance (batch, 2) in float32, as `read`, of tensors."""
        cast = keras.layers.Activation("linear", dtype="float32")
        parts = [cast(x) for x in self._ordered(raw)]
        if self.name == "mean":
            parts.append(ops.full_like(parts[0], self.noise_variance))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def average(self, outputs: list):
        """Returns mean and variance, each (batch, 1), of networks' symbolic outputs."""
        members = ops.stack([self.tensor(x) for x in outputs])  # (draws, batch, 2)
        means, variances = members[..., :1], members[..., 1:]
        mean = ops.mean(means, axis=0)
        variance = ops.mean(ops.square(means - mean), axis=0)
        return [mean, variance + ops.mean(variances, axis=0)]

    def _ordered(self, raw):
        """Returns one output or two, the mean first."""
        if isinstance(raw, dict):
            return [raw[key] for key in self._keys]
        return keras.tree.flatten(raw)

    def new_sum(self, keep_members: bool) -> RegressionSum:
        """Returns what adds up the members."""
        return RegressionSum(keep_members)

    def report(self, targets, prediction, weights=None) -> dict[str, float]:
        """Returns the scores of a prediction that kept its members."""
        return metrics.regression_report(
            targets,
            prediction.members,
            prediction.member_variance,
            sample_weight=weights,
        )

    def check_labels(self, targets) -> np.ndarray:
        """Returns targets (examples,) in float64, of that shape or (examples, 1).

        Raises:
            ValueError: for another shape, or targets that are not finite.
            TypeError: for targets that are no real numbers.
        """
        targets = np.asarray(targets)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        return check_vector("y", targets)

    def fit_noise(self, targets, prediction, weights, score) -> None:
        """Sets `noise_variance` to what scores best with members that were kept.

        Raises:
            ValueError: if there is no noise at all.
        """
        found = metrics.fit_noise_variance(
            targets, prediction.members, score, sample_weight=weights
        )
        # Draws that scatter enough by themselves leave none, and no likelihood.
        found = max(found, _SMALLEST_NOISE * float(np.var(targets)))
        if found == 0:
            raise ValueError(
                "`y` must differ from the prediction, or between examples. Received: "
                f"y={targets[0]} throughout, which every draw predicts"
            )
        self.noise_variance = found


def make_outputs(model, outputs, link, noise_variance):
    """Returns what reads the outputs of a model, by the predictor's arguments."""
    if outputs is not None:
        check_choice("outputs", outputs, CLASSIFICATION + REGRESSION)
    if outputs in REGRESSION:
        if link != "softmax":
            raise ValueError(
                f"`link` is for classifiers. Received: link={link!r}, "
                f"outputs={outputs!r}"
            )
        return RegressionOutputs(model, outputs, noise_variance)
    if noise_variance:
        raise ValueError(
            '`noise_variance` is for `outputs="mean"`. '
            f"Received: noise_variance={noise_variance!r}, outputs={outputs!r}"
        )
    return ClassOutputs(model, outputs, link)


def _only(raw):
    """Returns the only output, whatever it stands in."""
    (output,) = keras.tree.flatten(raw)
    return output


def _finite(raw):
    outputs = np.asarray(raw, np.float32)
    if not np.isfinite(outputs).all():
        raise ValueError(
            "A draw's output is not finite: training diverged, or the inputs "
            "are far outside of what the network was trained on."
        )
    return outputs


def _check_names(model, outputs):
    """Returns the names of outputs that have some, the mean's first, or `None`.

    Raises:
        ValueError: for two outputs whose names do not say which is which.
    """
    # A Sequential model has one, without a name.
    output = None if isinstance(model, keras.Sequential) else model.output
    if not isinstance(output, dict):
        return None
    if len(output) == 1:
        return list(output)
    if set(output) != {"mean", "variance"}:
        raise ValueError(
            f'`model` must call its two outputs "mean" and "variance" for `outputs='
            f'"{outputs}"`, or give them in a list in this order. '
            f"Received: a model with the outputs {sorted(output)}"
        )
    return ["mean", "variance"]


def _shapes(model):
    return [tuple(output.shape) for output in model.outputs]


def _why_not_probabilities(rows) -> str | None:
    """Returns what of rows is not as in probabilities, `None` if nothing is."""
    if rows.min() < 0:
        return f"a value of {rows.min()}"
    sums = rows.sum(-1, dtype=np.float64)
    worst = sums[np.abs(sums - 1).argmax()]
    # More room for what was rounded to half precision.
    if abs(worst - 1) > SUM_TOLERANCE and abs(worst - 1) > sum_tolerance(rows):
        return f"a row that sums to {worst}"
    return None
