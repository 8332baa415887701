"""A Gaussian posterior of all weights, around any Keras model."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph
from tfhyper.checks import (
    check_bool,
    check_instance,
    check_number,
    check_positive_integer,
)
from tfhyper.divergence import DivergedError
from tfhyper.layers.roles import GENERATOR, role_of
from tfhyper.layers.variational import variational_layers
from tfhyper.tensor_types import Structure
from tfhyper.variational.ivon import IVON
from tfhyper.variational.weight_noise import WeightNoise
from tfhyper.variational.weight_posterior import WeightPosterior, check_finite

# Losses of Keras that are a negative log-likelihood, but for what no weight changes.
_LIKELIHOODS = {
    "binary_crossentropy",
    "categorical_crossentropy",
    "kl_divergence",
    "poisson",
    "sparse_categorical_crossentropy",
}


@keras.saving.register_keras_serializable("tfhyper")
class Variational(WeightPosterior):
    """A model whose trainable weights all have a Gaussian posterior, learned with it.

    Every trainable weight w of the model, of whatever layer, is drawn from

        q(w) = N(m, sigma^2),    sigma^2 = 1 / (lambda (h + delta)),
        lambda = num_examples / temperature,    delta = weight_decay,

    with a mean m, which is the model's own variable, and a curvature h of its own. A
    step of training draws all weights once, for the whole batch: one forward and one
    backward pass, as for the plain model. `tfhyper.training.IVON` learns m and h by
    its gradients and minimises

        E_q[mean loss] + temperature / num_examples KL(q || p),    p(w) = N(0, 1 /
        (lambda delta)).

    Outside of training it is the model with the weights m. `PosteriorPredictor`
    averages over draws of it: each is the mean, the scale and a seed.

    A model that is trained already becomes Bayesian by a few epochs from its weights.
    The loss has to be a mean negative log-likelihood, in nats, as the cross-entropy is:
    it is weighed by the number of examples against the prior. Of a function of yours,
    this is assumed; the squared error, for one, is that of a noise variance s^2 where
    it is divided by 2 s^2.

    Args:
        model: a built Keras model with trainable weights, which is used and not
            copied. For `PosteriorPredictor` a functional or Sequential one.
        num_examples: int > 0, N, the number of training examples. `fit` compares it
            with arrays, and with datasets that tell how many they have.
        weight_decay: float > 0, delta, as a penalty delta / 2 |w|^2 beside the mean
            loss: the prior. It takes the place of regularizers.
        initial_curvature: float > 0, h at the start. With N it sets the first scale,
            sigma = 1 / sqrt(lambda (h + delta)), which should be about a tenth of He's
            deviation of a kernel, and with the rate the first steps.
        generator_noise: bool, whether the weights theta of hypernetworks have noise
            too. Without it they are learned as by SGD with momentum, and a generated
            kernel w = m + g(z; theta) + sigma eps has that of its mean kernel m, which
            is of full rank. theta has many more numbers than the kernels, so that
            steps are quicker without.
        temperature: float > 0, T. Below 1 the posterior is colder, narrower: lambda,
            the effective sample size, is N / T.
        seed: int in 0 <= seed < 2**31 of the noise in training, `None` for a fresh
            one, which the config then holds.
        **kwargs: `keras.Model` arguments such as `name`.

    Attributes:
        model: the model, with the means.
        noise: the `WeightNoise`: curvature and scale.
        num_examples: N.
        temperature: T.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: for an argument out of range; for a model that is not built, that
            has no trainable weights, or weights with a regularizer, a constraint or a
            KL divergence (a second prior).

    Example:

    >>> network = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    >>> model = tfhyper.Variational(network, num_examples=len(x_train), seed=0)
    >>> model = tfhyper.training.compile_variational_recipe(
    ...     model, epochs=2, steps_per_epoch=4)
    >>> history = model.fit(x_train, y_train, epochs=2, verbose=0)
    >>> predictor = tfhyper.PosteriorPredictor(model, num_draws=4)
    >>> predictor.predict(x_test).mean.shape
    (2000, 10)

    Reference:
        Shen et al.: Variational learning is effective for large deep networks, ICML
        2024.
    """

    noise: WeightNoise

    def __init__(
        self,
        model: keras.Model,
        num_examples: int,
        *,
        weight_decay: float = 5e-4,
        initial_curvature: float = 0.5,
        generator_noise: bool = True,
        temperature: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        check_instance("model", model, keras.Model, "a Keras model")
        num_examples = check_positive_integer("num_examples", num_examples)
        temperature = check_number("temperature", temperature, positive=True)
        generator_noise = check_bool("generator_noise", generator_noise)
        _check_model(model)
        kwargs.setdefault("name", f"{model.name}_variational")
        # Whether Keras scales the loss is decided by the policy.
        kwargs.setdefault("dtype", model.dtype_policy)
        super().__init__(**kwargs)
        # Means and noise are float32; the model casts what it needs.
        self.autocast = False
        means = list(model.trainable_variables)
        noisy = [x for x in means if generator_noise or role_of(x) != GENERATOR]
        # In a function: they are the model's.
        self._means: Callable[[], list[keras.Variable]] = lambda: means
        # Before the model: so its curvature comes before the means, and is updated
        # before them.
        self.noise = WeightNoise(
            sum(math.prod(x.shape) for x in noisy),
            num_examples / temperature,
            weight_decay,
            initial_curvature,
            seed,
            name="noise",
        )
        self.noise.build()
        self.noise.belong_to(noisy)
        self.model = model
        self.num_examples, self.temperature = num_examples, temperature
        self.generator_noise = generator_noise
        self.built = True

    @property
    def means(self) -> list[keras.Variable]:
        """The means of the posterior: the trainable variables of the model."""
        return self._means()

    def call(self, inputs: Structure, training: bool | None = None) -> Structure:
        """Returns the model's outputs, in training with weights of the next draw."""
        if not training:
            return self.model(inputs, training=training)
        self.check_training()
        drawn = self.noise.drawn(self.noise.next_deviation())
        others = self.model.non_trainable_variables
        known = [*drawn, *((x, x.value) for x in others)]
        scope = keras.StatelessScope(known, collect_losses=True)
        before = [scope.get_current_value(x) for x, _ in known]
        with scope:
            outputs = self.model(inputs, training=training)
        for i, (variable, _) in enumerate(known):
            new = scope.get_current_value(variable)
            if new is before[i]:
                continue
            if i < len(drawn):
                raise ValueError(
                    "`model` must not change its trainable weights itself. Received: "
                    f"a model that assigns to '{variable.path}' in training"
                )
            # Moving averages, states of random generators, counts.
            variable.assign(new)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains the model as Keras' `fit` does, whose arguments these are.

        Raises:
            ValueError: beside those of Keras, if the model is not compiled with
                `tfhyper.training.IVON` and the negative log-likelihood, or if the
                data are known not to be `num_examples` examples.
            tfhyper.training.DivergedError: at the end of an epoch whose loss is not
                finite.
        """
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs)
        found = given.arguments
        self.check_training()
        if found.get("steps_per_epoch") is None:  # an epoch is all of the data
            self._check_count(
                found.get("x"), 1 - (found.get("validation_split") or 0.0)
            )
        callbacks = found.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            several = isinstance(callbacks, list | tuple)
            callbacks = [] if callbacks is None else callbacks
            callbacks = [*callbacks] if several else [callbacks] if callbacks else []
            found["callbacks"] = [_StopsIfDiverged(), *callbacks]
        return super().fit(*given.args[1:], **given.kwargs)

    def check_training(self) -> None:
        """Raises ValueError if the model cannot be trained as it is compiled."""
        if list(map(id, self.model.trainable_variables)) != list(map(id, self.means)):
            raise ValueError(
                "`model` must have the trainable weights that it had when "
                "`Variational` was made of it: set `trainable` before. Received: "
                f"{len(self.model.trainable_variables)} of {len(self.means)} variables"
            )
        if not self.compiled or self.optimizer is None:
            return  # in a loop of the user's
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not isinstance(optimizer, IVON):
            raise ValueError(
                "`optimizer` must be `tfhyper.training.IVON`, which learns the scale "
                "of the weights beside their mean. Received: optimizer="
                f"{type(optimizer).__name__}"
            )
        for loss in _losses(self.loss):
            _check_loss(loss)

    def check_finite(self) -> None:
        """Raises `DivergedError` if a mean or a curvature is not a finite number."""
        check_finite([self.noise.curvature, *self.means])

    def _check_count(self, x: Any, part: float) -> None:
        least: float
        most: float
        leaves = keras.tree.flatten(x)
        lengths = [
            len(leaf) for leaf in leaves if len(getattr(leaf, "shape", ()) or ())
        ]
        if lengths and len(lengths) == len(leaves):
            # As Keras splits them.
            least = most = math.floor(lengths[0] * part) if part < 1 else lengths[0]
        else:
            least, most = _examples_of_dataset(x)
        if not least <= self.num_examples <= most:
            said = str(least) if least == most else f"{least} to {most}"
            raise ValueError(
                "`num_examples` must be the number of training examples: it weighs "
                "the loss against the prior (`temperature` makes the posterior wider "
                f"or narrower). Received: num_examples={self.num_examples}, data of "
                f"{said} examples"
            )

    def widened(self, factor: float) -> "Variational":
        """Returns the posterior of the same model at `temperature` times a factor.

        The variances sigma^2 = T / (N (h + delta)) are multiplied by it.
        `PosteriorPredictor.fit_width` chooses one by held-out examples.

        Args:
            factor: float > 0.

        Raises:
            ValueError: for a factor that is not above 0.

        Example:

        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model = tfhyper.Variational(network, num_examples=100)
        >>> narrow = model.widened(0.25)
        >>> float(narrow.noise.scale()[0] / model.noise.scale()[0])
        0.5
        """
        check_number("factor", factor, positive=True)
        arguments = self._arguments()
        arguments["temperature"] *= factor
        return self._around(self.model, arguments)

    def duplicate(self) -> "Variational":
        """Returns an uncompiled copy, with the same weights and noise to come."""
        return self._around(keras_graph.duplicate(self.model), self._arguments())

    def _around(self, model: keras.Model, arguments: dict[str, Any]) -> "Variational":
        """Returns one with the same curvature and noise to come, around a model."""
        found = type(self)(model, **arguments, name=self.name)
        for new, old in zip(found.noise.variables, self.noise.variables, strict=True):
            new.assign(ops.convert_to_numpy(old))
        return found

    def _arguments(self) -> dict[str, Any]:
        return {
            "num_examples": self.num_examples,
            "weight_decay": self.noise.weight_decay,
            "initial_curvature": self.noise.initial_curvature,
            "generator_noise": self.generator_noise,
            "temperature": self.temperature,
            "seed": self.noise.seed,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns what the model can be made from."""
        model = keras.saving.serialize_keras_object(self.model)
        return {"name": self.name, "model": model, **self._arguments()}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "Variational":
        """Returns the model of a config."""
        model = keras.saving.deserialize_keras_object(
            config["model"], custom_objects=custom_objects
        )
        return cls(**{**config, "model": model})


class _StopsIfDiverged(keras.callbacks.Callback):
    """Raises `DivergedError` at the end of an epoch whose loss is not finite."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(float(loss)):
            raise DivergedError(f"the loss is {float(loss)} in epoch {epoch + 1}")


def _check_model(model: keras.Model) -> None:
    received = f"Received: model={model.name!r}"
    if not model.built:
        raise ValueError(
            "`model` must be built: give it a keras.Input or call it once. " + received
        )
    if isinstance(model, WeightPosterior):
        raise ValueError(
            "`model` must not have a posterior of its weights already. " + received
        )
    if not model.trainable_variables:
        raise ValueError(f"`model` must have trainable weights. {received} without any")
    if layers := variational_layers(model):
        raise ValueError(
            "`model` must not have layers with a KL divergence: their weights would "
            f"have two priors. {received} with layer '{layers[0].name}' "
            f"({type(layers[0]).__name__})"
        )
    for variable in model.trainable_variables:
        if variable.regularizer is not None:
            raise ValueError(
                "`model` must not have regularizers of its weights: `weight_decay` is "
                f"their prior. {received} with one of '{variable.path}'"
            )
        if variable.constraint is not None:
            raise ValueError(
                "`model` must not have constraints of its weights: what is drawn from "
                f"a Gaussian does not keep them. {received} with one of "
                f"'{variable.path}'"
            )
        if "float" not in variable.dtype:
            raise ValueError(
                f"`model` must have weights of real numbers. {received} with "
                f"'{variable.path}' of {variable.dtype}"
            )


def _losses(loss: Any) -> list:
    """Returns the losses that a model was compiled with, as objects or functions."""
    found = []
    for one in keras.tree.flatten(loss):
        if isinstance(one, str):
            one = keras.losses.get(one)
        if isinstance(one, type) and issubclass(one, keras.losses.Loss):
            one = one()
        if one is not None:
            found.append(one)
    return found


def _check_loss(loss: Any) -> None:
    """Raises ValueError for a loss that is known not to be a mean log-likelihood."""
    is_object = isinstance(loss, keras.losses.Loss)
    name = type(loss).__name__ if is_object else getattr(loss, "__name__", "")
    function = getattr(loss, "fn", loss)
    known = getattr(function, "__name__", name)
    of_keras = (type(loss) if is_object else loss).__module__.split(".")[0] == "keras"
    if of_keras and known not in _LIKELIHOODS:
        raise ValueError(
            "`loss` must be a mean negative log-likelihood, in nats, which the number "
            "of examples weighs against the prior: a cross-entropy, say, or a function "
            "of your own (of a squared error with a noise variance s^2, divided by "
            f"2 s^2). Received: loss={name}"
        )
    if is_object and loss.reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "`loss` must be a mean over the batch, whose size says nothing of the "
            f"data. Received: a loss with reduction={loss.reduction!r}"
        )


def _examples_of_dataset(data: Any) -> tuple[float, float]:
    """Returns how many examples a dataset has at least and at most."""
    unknown = 0, math.inf
    # A `tf.data.Dataset` tells by these two, and TensorFlow need not be imported.
    cardinality = getattr(data, "cardinality", None)
    leaves = keras.tree.flatten(getattr(data, "element_spec", None))
    sizes = [x.shape[0] for x in leaves if getattr(x, "shape", None)]
    # A batch of any size may be the last of them.
    if cardinality is None or not sizes or None in sizes or int(cardinality()) < 0:
        return unknown
    batches, size = int(cardinality()), sizes[0]
    return batches * size, (batches + 1) * size - 1
