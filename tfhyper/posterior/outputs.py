"""What a network's outputs say: class probabilities, or a mean and a variance."""

import keras
import numpy as np
from keras import ops

from tfhyper import metrics
from tfhyper.checks import check_choice, check_number
from tfhyper.metrics._checks import check_vector
from tfhyper.posterior import graph
from tfhyper.posterior.prediction import PredictionSum, RegressionSum

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
        model: the model, for the place of its softmax.
        outputs: `"logits"`, `"probabilities"`, or `None` to see for itself.
        link: a name of `LINKS`.

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
        if outputs is None:
            outputs = "probabilities" if _ends_in_softmax(model) else "logits"
        self.name = outputs
        self.link = check_choice("link", link, LINKS)
        if outputs == "probabilities" and link != "softmax":
            raise ValueError(
                '`link` must be "softmax" where the model gives probabilities: it is '
                f"for logits. Received: link={link!r}"
            )

    def read(self, raw) -> tuple[np.ndarray, ...]:
        """Returns the probabilities of a batch, from what the network gave."""
        probs = _finite(raw)
        if self.name == "logits":
            probs = LINKS[self.link](probs).astype(np.float32)
        return (probs,)

    def tensor(self, raw):
        """Returns probabilities (batch, classes) in float32, as `read`, of tensors."""
        probs = keras.layers.Activation("linear", dtype="float32")(raw)
        return _SYMBOLIC_LINKS[self.link](probs) if self.name == "logits" else probs

    def average(self, outputs: list):
        """Returns the mean probabilities of networks' symbolic outputs."""
        return ops.mean(ops.stack([self.tensor(x) for x in outputs]), axis=0)

    def new_sum(self, keep_members: bool) -> PredictionSum:
        """Returns what adds up the members."""
        return PredictionSum(keep_members)

    def report(self, labels, prediction) -> dict[str, float]:
        """Returns the scores of a prediction."""
        return metrics.classification_report(labels, prediction.mean)

    def check_labels(self, labels):
        """Returns labels as they are: `report` checks them with the prediction."""
        return labels


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
        self.noise_variance = check_number("noise_variance", noise_variance)
        if noise_variance and outputs == "mean_and_variance":
            raise ValueError(
                '`noise_variance` is for `outputs="mean"`: the network gives a '
                f"variance itself. Received: noise_variance={noise_variance!r}"
            )

    def read(self, raw) -> tuple[np.ndarray, ...]:
        """Returns means and variances of a batch, each (batch,)."""
        if self.name == "mean":
            (mean,) = _finite(raw).T
            return mean, np.full_like(mean, self.noise_variance)
        # One output or two, in the order of `model.outputs`.
        raw = np.concatenate(keras.tree.flatten(raw), -1)
        mean, variance = _finite(raw).T
        if not (variance > 0).all():
            raise ValueError(
                "The variance that the model gives must be above 0: end it in a "
                f"softplus or exp. Received: a variance of {variance.min()}"
            )
        return mean, variance

    def tensor(self, raw):
        """Returns mean and variance (batch, 2) in float32, as `read`, of tensors."""
        cast = keras.layers.Activation("linear", dtype="float32")
        parts = [cast(x) for x in keras.tree.flatten(raw)]
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

    def new_sum(self, keep_members: bool) -> RegressionSum:
        """Returns what adds up the members."""
        return RegressionSum(keep_members)

    def report(self, targets, prediction) -> dict[str, float]:
        """Returns the scores of a prediction that kept its members."""
        return metrics.regression_report(
            targets, prediction.members, prediction.member_variance
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

    def fit_noise(self, targets, prediction, score) -> None:
        """Sets `noise_variance` to what scores best with members that were kept.

        Raises:
            ValueError: if there is no noise at all.
        """
        found = metrics.fit_noise_variance(targets, prediction.members, score)
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


def _finite(raw):
    outputs = np.asarray(raw, np.float32)
    if not np.isfinite(outputs).all():
        raise ValueError(
            "A draw's output is not finite: training diverged, or the inputs "
            "are far outside of what the network was trained on."
        )
    return outputs


def _shapes(model):
    return [tuple(output.shape) for output in model.outputs]


def _ends_in_softmax(model: keras.Model) -> bool:
    last = graph.last_operation(model)
    activation = getattr(last, "activation", None)
    # `keras.ops.softmax` is an operation, of a class without a public name.
    return activation is keras.activations.softmax or type(last).__name__ == "Softmax"
