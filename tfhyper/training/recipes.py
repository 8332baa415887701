"""How the papers train, as one call that compiles a model."""

import keras

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers import variational_layers
from tfhyper.layers.generated_kernel import GENERATOR_WEIGHTS
from tfhyper.layers.variational import POSTERIOR_WEIGHTS
from tfhyper.training.optimizers import CoupledDecaySGD
from tfhyper.training.schedules import step_schedule


def compile_recipe(
    model: keras.Model,
    epochs: int,
    steps_per_epoch: int,
    *,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    decay_generator: bool = False,
    metrics: tuple = ("accuracy",),
    **compile_options,
) -> keras.Model:
    """Compiles a classifier with the recipe of Ukai et al. (2019), section 4.1.

    Cross-entropy of logits; SGD with Nesterov momentum 0.9; the rate starts at
    0.1 and is multiplied by 0.2 at 40, 60 and 80 % of the epochs; weight decay
    0.0005, as a penalty weight_decay / 2 |w|^2, on everything but the
    generators' weights and those with a prior of their own. Batches of 128
    belong to it. With plain layers this is MAP estimation, and with
    `weight_decay=0` maximum likelihood. With layers that have a KL divergence
    the loss holds it beside the cross-entropy, which the metric `nll` shows
    alone.

    Args:
        model: a model that gives logits.
        epochs: int > 0, all the epochs of the training.
        steps_per_epoch: int > 0, batches in an epoch.
        learning_rate: float > 0, the first rate.
        weight_decay: float >= 0.
        decay_generator: bool, decay the generators' weights too: the Gaussian
            prior p(theta) of section 3.1, which the experiments leave out.
        metrics: metrics for `model.compile`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> model = tfhyper.models.wide_resnet(10, 1)
    >>> tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=79)
    >>> model.fit(x_train, y_train, batch_size=128, epochs=20)
    """
    no_decay = POSTERIOR_WEIGHTS + (() if decay_generator else GENERATOR_WEIGHTS)
    optimizer = CoupledDecaySGD(
        step_schedule(learning_rate, epochs, steps_per_epoch),
        momentum=0.9,
        nesterov=True,
        coupled_decay=weight_decay,
        no_decay=no_decay,
    )
    return _compile_classifier(model, optimizer, metrics, compile_options)


def compile_adam_recipe(
    model: keras.Model,
    epochs: int,
    steps_per_epoch: int,
    *,
    learning_rate: float = 1e-3,
    metrics: tuple = ("accuracy",),
    **compile_options,
) -> keras.Model:
    """Compiles a classifier with the recipe of the Bayesian CNN.

    Cross-entropy of logits; Adam, whose rate falls linearly from 0.001 to 0 over
    the training (Shridhar et al., 2019, and the settings of their code). Batches
    of 256 belong to it. No weight decay: with Gaussian posteriors the prior
    takes its place. Their KL divergence is added to the loss, and the metric
    `nll` shows the cross-entropy alone.

    Args:
        model: a model that gives logits.
        epochs: int > 0, all the epochs of the training.
        steps_per_epoch: int > 0, batches in an epoch.
        learning_rate: float > 0, the first rate.
        metrics: metrics for `model.compile`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> model = tfhyper.models.lenet5(kit=tfhyper.kits.bayes(num_examples=50_000))
    >>> tfhyper.training.compile_adam_recipe(model, epochs=40, steps_per_epoch=196)

    Reference:
        Shridhar, Laumann, Liwicki: A comprehensive guide to Bayesian
        convolutional neural network with variational inference, 2019.
    """
    check_positive_integer("epochs", epochs)
    check_positive_integer("steps_per_epoch", steps_per_epoch)
    check_number("learning_rate", learning_rate, positive=True)
    schedule = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, epochs * steps_per_epoch, end_learning_rate=0.0
    )
    optimizer = keras.optimizers.Adam(schedule)
    return _compile_classifier(model, optimizer, metrics, compile_options)


def _compile_classifier(model, optimizer, metrics, compile_options):
    metrics = list(metrics)
    if variational_layers(model):
        # The loss holds the KL divergence too; this is the data term.
        metrics.append(
            keras.metrics.SparseCategoricalCrossentropy("nll", from_logits=True)
        )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
        **compile_options,
    )
    return model
