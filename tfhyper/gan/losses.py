"""The losses of generator and discriminator, in nats, means over the batch."""

from keras import ops

from tfhyper.tensor_types import Tensor


def real_logits(outputs: Tensor) -> Tensor:
    """Returns log p(real) / p(generated) of each image, float32 (batch,).

    One output is that logit. K outputs l are the classes of real images beside a class
    of generated ones whose logit is 0, so that it is logsumexp(l): K + 1 classes, of
    which one number is redundant (Salimans et al., 2016, section 5).

    Args:
        outputs: of the discriminator, (batch, 1) or (batch, K).
    """
    outputs = ops.cast(outputs, "float32")
    return outputs[:, 0] if outputs.shape[-1] == 1 else ops.logsumexp(outputs, axis=-1)


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Returns mean(-log p(real | real images)) + mean(-log p(generated | generated)).

    Args:
        real: outputs of the discriminator for images of the data.
        generated: the same for images of the generator.
    """
    first = ops.mean(ops.softplus(-real_logits(real)))
    return first + ops.mean(ops.softplus(real_logits(generated)))


def generator_loss(generated: Tensor) -> Tensor:
    """Returns mean(-log p(real | generated images)): the non-saturating loss.

    Args:
        generated: outputs of the discriminator for images of the generator.
    """
    return ops.mean(ops.softplus(-real_logits(generated)))


def label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Returns mean(-log p(label | image, real)): the cross-entropy of K classes.

    Args:
        outputs: of the discriminator for labelled images, (batch, K).
        labels: ints, (batch,).
    """
    outputs = ops.cast(outputs, "float32")
    chosen = ops.take_along_axis(outputs, ops.cast(labels, "int32")[:, None], axis=-1)
    return ops.mean(ops.logsumexp(outputs, axis=-1) - chosen[:, 0])
