"""What the signatures of an exported predictor give."""

import tensorflow as tf

from tfhyper.posterior import Rejection
from tfhyper.posterior.tasks.outputs import REGRESSION

# Below it p log p is 0 in float32.
_TINY = 1e-30


def summary(
    members: tf.Tensor, kind: str, rejection: Rejection | None
) -> dict[str, tf.Tensor]:
    """Returns the averaged prediction of members, as `Prediction` has it.

    Args:
        members: float32 tensor (batch, draws, values), of `Members`.
        kind: the predictor's `outputs`.
        rejection: the predictor's rule, `None` for no output `rejected`.
    """
    found = _average(members, kind)
    if rejection is not None:
        found["rejected"] = uncertainty(found, rejection.score) > rejection.threshold
    return found


def uncertainty(found: dict, score: str):
    """Returns a score of `Prediction.uncertainty` from what `summary` gave.

    Args:
        found: its outputs by name, tensors or arrays.
        score: the name of the score.
    """
    if score == "confidence":
        return 1.0 - tf.reduce_max(found["probabilities"], axis=-1)
    if score == "total" and "variance" in found:
        return found["variance"]
    return found[score]


def _average(members, kind):
    mean = tf.reduce_mean(members, axis=1)
    if kind in REGRESSION:
        spread = tf.square(members[..., 0] - mean[:, None, 0])
        epistemic = tf.reduce_mean(spread, axis=1)
        return {
            "mean": mean[:, 0],
            "variance": mean[:, 1] + epistemic,
            "aleatoric": mean[:, 1],
            "epistemic": epistemic,
        }
    total = _entropy(mean)
    aleatoric = tf.reduce_mean(_entropy(members), axis=1)
    return {
        "probabilities": mean,
        "class": tf.argmax(mean, axis=-1),
        "total": total,
        "aleatoric": aleatoric,
        # Below zero by rounding alone.
        "epistemic": tf.maximum(total - aleatoric, 0.0),
    }


def each(members: tf.Tensor, kind: str) -> dict[str, tf.Tensor]:
    """Returns the prediction of each draw; `members` and `kind` as for `summary`."""
    if kind in REGRESSION:
        return {"members": members[..., 0], "member_variance": members[..., 1]}
    return {"members": members}


def _entropy(probs):
    return -tf.reduce_sum(probs * tf.math.log(tf.maximum(probs, _TINY)), axis=-1)
