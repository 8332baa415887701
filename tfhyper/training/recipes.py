"""How the papers train, as one call that compiles a model."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from tfhyper.checks import (
    check_bool,
    check_instance,
    check_number,
    check_positive_integer,
)
from tfhyper.layers import variational_layers
from tfhyper.layers.roles import GENERATOR, POSTERIOR
from tfhyper.training.fast_generator import use_fast_generator
from tfhyper.training.losses import SmoothedCrossentropy
from tfhyper.training.optimizers import CoupledDecaySGD
from tfhyper.training.schedules import step_schedule
from tfhyper.training.strategies import check_no_keras_distribution
from tfhyper.variational import IVON, Variational

# Metrics as `model.compile` takes them: objects, their names or functions.
Metrics: TypeAlias = Sequence[keras.metrics.Metric | str | Callable]


def compile_recipe(
    model: keras.Model,
    epochs: int,
    steps_per_epoch: int,
    *,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    decay_generator: bool = False,
    metrics: Metrics = ("accuracy",),
    fast_generator: bool = True,
    **compile_options: Any,
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
        fast_generator: bool, train generators without their whole gradients where
            that is exact: `tfhyper.training.use_fast_generator`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        ValueError: for an argument out of range, or if a `keras.distribution` is
            set on TensorFlow, where it does nothing.

    Example:

    >>> model = tfhyper.models.wide_resnet(10, 1)
    >>> model = tfhyper.training.compile_recipe(model, epochs=20, steps_per_epoch=79)
    >>> type(model.optimizer).__name__
    'CoupledDecaySGD'
    """
    check_number("weight_decay", weight_decay)
    optimizer = CoupledDecaySGD(
        step_schedule(learning_rate, epochs, steps_per_epoch),
        momentum=0.9,
        nesterov=True,
        coupled_decay=weight_decay,
        no_decay_roles=_no_decay_roles(decay_generator),
    )
    return _compile_classifier(
        model, optimizer, metrics, fast_generator, compile_options
    )


def compile_adam_recipe(
    model: keras.Model,
    epochs: int,
    steps_per_epoch: int,
    *,
    learning_rate: float = 1e-3,
    metrics: Metrics = ("accuracy",),
    fast_generator: bool = True,
    **compile_options: Any,
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
        fast_generator: bool, train generators without their whole gradients where
            that is exact: `tfhyper.training.use_fast_generator`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        ValueError: for an argument out of range, or if a `keras.distribution` is
            set on TensorFlow, where it does nothing.

    Example:

    >>> model = tfhyper.models.lenet5(kit=tfhyper.kits.bayes(num_examples=50_000))
    >>> model = tfhyper.training.compile_adam_recipe(model, 40, steps_per_epoch=196)
    >>> type(model.optimizer).__name__
    'Adam'

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
    return _compile_classifier(
        model, optimizer, metrics, fast_generator, compile_options
    )


def compile_imagenet_recipe(
    model: keras.Model,
    epochs: int,
    steps_per_epoch: int,
    *,
    batch_size: int = 256,
    learning_rate: float = 0.1,
    weight_decay: float = 1e-4,
    label_smoothing: float = 0.0,
    nesterov: bool = False,
    decay_generator: bool = False,
    metrics: Metrics = ("accuracy",),
    fast_generator: bool = True,
    **compile_options: Any,
) -> keras.Model:
    """Compiles a classifier with the recipe of ResNets on ImageNet.

    Cross-entropy of logits; SGD with momentum 0.9; the rate starts at 0.1 for
    batches of 256, in proportion to the batch for others, and is divided by 10
    after 1/3, 2/3 and 8/9 of the epochs: 30, 60 and 80 of 90. Weight decay
    0.0001, as a penalty weight_decay / 2 |w|^2, on everything but the
    generators' weights and those with a prior of their own. With layers that
    have a KL divergence the loss holds it beside the cross-entropy, which the
    metric `nll` shows alone. The accuracy of the five most probable classes is
    the metric `top_5_accuracy`, for more than five classes.

    He et al. divide the rate when the error stops falling; the fixed epochs and
    the proportion to the batch are those of Goyal et al., who also let the rate
    of batches above 256 rise over five epochs, which this does not.

    Args:
        model: a model that gives logits.
        epochs: int > 0, all the epochs of the training; 90 belong to it.
        steps_per_epoch: int > 0, batches in an epoch.
        batch_size: int > 0, examples in a batch.
        learning_rate: float > 0, the first rate for batches of 256.
        weight_decay: float >= 0.
        label_smoothing: float in 0 <= label_smoothing < 1: how much of each
            label is spread evenly over all classes.
        nesterov: bool, Nesterov's momentum, as in fb.resnet.torch.
        decay_generator: bool, decay the generators' weights too.
        metrics: more metrics for `model.compile`.
        fast_generator: bool, train generators without their whole gradients where
            that is exact: `tfhyper.training.use_fast_generator`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        ValueError: for an argument out of range, or if a `keras.distribution` is
            set on TensorFlow, where it does nothing.

    Example:

    >>> model = tfhyper.training.compile_imagenet_recipe(
    ...     model, 90, steps_per_epoch=5004, batch_size=256)
    >>> type(model.optimizer).__name__
    'CoupledDecaySGD'

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR
        2016, section 3.4. Goyal et al.: Accurate, large minibatch SGD: training
        ImageNet in 1 hour, 2017, sections 2.1 and 5.1.
    """
    _check_model(model, metrics)
    if not model.built:
        raise ValueError(
            "`model` must be built: how many classes it has decides on the metrics. "
            f"Received: model={model!r}"
        )
    check_positive_integer("batch_size", batch_size)
    check_number("learning_rate", learning_rate, positive=True)
    check_number("weight_decay", weight_decay)
    check_number("label_smoothing", label_smoothing, below=1)
    rate = step_schedule(
        learning_rate * batch_size / 256,
        epochs,
        steps_per_epoch,
        drops=(1 / 3, 2 / 3, 8 / 9),
        factor=0.1,
    )
    optimizer = CoupledDecaySGD(
        rate,
        momentum=0.9,
        nesterov=nesterov,
        coupled_decay=weight_decay,
        no_decay_roles=_no_decay_roles(decay_generator),
    )
    loss = SmoothedCrossentropy(label_smoothing) if label_smoothing else None
    metrics = list(metrics)
    if model.output_shape[-1] > 5:
        metrics.append(
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5_accuracy")
        )
    return _compile_classifier(
        model, optimizer, metrics, fast_generator, compile_options, loss
    )


def compile_variational_recipe(
    model: Variational,
    epochs: int,
    steps_per_epoch: int,
    *,
    learning_rate: float | None = None,
    beta_2: float | None = None,
    metrics: Metrics = ("accuracy",),
    **compile_options: Any,
) -> Variational:
    """Compiles a `tfhyper.Variational` classifier to learn means and scales.

    Cross-entropy of logits; `tfhyper.training.IVON`, whose rate falls by a cosine from
    `learning_rate` to 0. Batches of 128 belong to it. What else there is to choose is
    the model's: the first curvature h, `weight_decay` and `temperature`.

    The width of the posterior is a thing to try on validation data. With the defaults,
    and 5,000 to 10,000 images, it came out well in some settings and too wide in one
    larger; a `temperature` below 1 makes it narrower.

    Args:
        model: a `tfhyper.Variational` of a model that gives logits.
        epochs: int > 0, all the epochs of the training.
        steps_per_epoch: int > 0, batches in an epoch.
        learning_rate: float > 0, the first rate; `None` for the first curvature h0,
            so that steps begin as those of SGD with rate 0.1 and momentum 0.9:
            learning_rate / h0 = 0.1 / (1 - 0.9). Larger, h0 the same: longer steps.
        beta_2: float in 0 <= beta_2 < 1, the averaging of the curvature, over about
            1 / (1 - beta_2) steps; `None` for 1 - 2 / steps with all the steps of the
            training. Nearer to 1, h stays near h0; farther away, it is noisy.
        metrics: metrics for `model.compile`.
        **compile_options: more arguments of `model.compile`.

    Returns:
        The model, compiled.

    Raises:
        TypeError: for a model that is no `Variational`.
        ValueError: for an argument out of range, or if a `keras.distribution` is
            set on TensorFlow, where it does nothing.

    Example:

    >>> network = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    >>> model = tfhyper.Variational(network, num_examples=50_000)
    >>> model = tfhyper.training.compile_variational_recipe(
    ...     model, epochs=20, steps_per_epoch=391)
    >>> round(model.optimizer.beta_2, 5)
    0.99974
    """
    check_instance("model", model, Variational, "a `tfhyper.Variational`")
    steps = check_positive_integer("epochs", epochs) * check_positive_integer(
        "steps_per_epoch", steps_per_epoch
    )
    if learning_rate is None:
        learning_rate = model.noise.initial_curvature
    check_number("learning_rate", learning_rate, positive=True)
    if beta_2 is None:
        beta_2 = max(0.0, 1 - 2 / steps)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return _compile_classifier(
        model, IVON(rate, beta_2=beta_2), metrics, False, compile_options
    )


def _no_decay_roles(decay_generator: bool) -> tuple[str, ...]:
    check_bool("decay_generator", decay_generator)
    return (POSTERIOR,) if decay_generator else (POSTERIOR, GENERATOR)


def _check_model(model: keras.Model, metrics: Metrics) -> None:
    check_instance("model", model, keras.Model, "a Keras model")
    rule = "a sequence of Keras metrics, their names or functions"
    for metric in check_instance("metrics", metrics, list | tuple, rule):
        check_instance("metrics", metric, str | Callable, rule)


def _compile_classifier(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    metrics: Metrics,
    fast_generator: bool,
    compile_options: dict[str, Any],
    loss: keras.losses.Loss | None = None,
) -> keras.Model:
    check_no_keras_distribution()
    _check_model(model, metrics)
    check_bool("fast_generator", fast_generator)
    metrics = list(metrics)
    if variational_layers(model):
        # The loss holds the KL divergence too; this is the data term.
        metrics.append(
            keras.metrics.SparseCategoricalCrossentropy("nll", from_logits=True)
        )
    model.compile(
        optimizer=optimizer,
        loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=metrics,
        **compile_options,
    )
    if fast_generator:
        use_fast_generator(model)
    return model
