"""What a study says of a training: the optimizer, the data, the first weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np

from tfhyper import keras_private
from tfhyper.checks import (
    check_bool,
    check_choice,
    check_instance,
    check_integer,
    check_number,
    check_positive_integer,
)
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.roles import GENERATOR
from tfhyper.layers.static_hyper_conv2d import StaticHyperConv2D
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.training.kl import BlundellKL, KLSchedule
from tfhyper.training.optimizers import CoupledDecayAdam, CoupledDecaySGD
from tfhyper.training.recipes import Metrics, compile_classifier, no_decay_roles
from tfhyper.training.schedules import check_rates, rates_schedule

# From so many classes on the top-5 accuracy is customary.
MANY_CLASSES = 100
Fan: TypeAlias = Literal["in", "out"]
Gamma: TypeAlias = Literal["ones", "uniform"]
Classifier: TypeAlias = Literal["he", "uniform"]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """How images are prepared, as arguments of `tfhyper.data.load`.

    Attributes:
        augment: bool, whether training images are cropped and flipped. Sets whose
            images change their class when mirrored are never flipped.
        crop_padding: what is beyond the edge of an image that is cropped, or `"none"`
            for no crops.
        mean: of each channel, or one for all, in units of 0 to 1; `None`: what is
            known of the set.
        std: likewise.
        color_jitter: strength of the jitter of colours.
        resize_method: how images of many sizes are resized.
        train_split: the splits to train on; `None`: the set's own.

    Example:

    >>> data = tfhyper.training.Preparation(crop_padding="reflect")
    >>> data.augment, data.crop_padding
    (True, 'reflect')
    """

    augment: bool = True
    crop_padding: Literal["mean", "reflect", "black", "none"] = "mean"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    color_jitter: float = 0.0
    resize_method: Literal["bilinear", "bicubic"] = "bilinear"
    train_split: str | None = None

    def load_options(self) -> dict[str, Any]:
        """Returns them as arguments of `tfhyper.data.load`.

        Example:

        >>> recipe = tfhyper.training.RECIPES["wide_resnet", "cifar10"]
        >>> recipe.data.load_options()["crop_padding"]
        'reflect'
        """
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class InitialValues:
    """The first weights of plain layers; those of generators are the layers' own.

    Attributes:
        fan: convolutions are normal with variance 2 / fan, where fan is the kernel's
            area times its input channels (`"in"`) or its filters (`"out"`). With
            groups, those of one group, and all filters.
        gamma: BatchNorm's scales: `"ones"`, or `"uniform"` in 0 to 1.
        classifier: weights of dense layers: `"he"`, normal with variance
            2 / inputs, or `"uniform"` in +-1 / sqrt(inputs). Biases are 0.

    Raises:
        ValueError: for any other choice.

    Example:

    >>> tfhyper.training.InitialValues(fan="out")
    InitialValues(fan='out', gamma='ones', classifier='he')
    """

    fan: Fan = "in"
    gamma: Gamma = "ones"
    classifier: Classifier = "he"

    def __post_init__(self) -> None:
        check_choice("fan", self.fan, get_args(Fan))
        check_choice("gamma", self.gamma, get_args(Gamma))
        check_choice("classifier", self.classifier, get_args(Classifier))


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """How a study trained a network on a data set.

    `tfhyper.training.RECIPES` has them by network and data set, `NAMED_RECIPES` by
    name, and `recipe_for` finds the one to use. Numbers may be changed by
    `dataclasses.replace`.

    Attributes:
        name: of `NAMED_RECIPES`.
        study: the publication.
        epochs: int > 0.
        batch_size: int > 0.
        optimizer: `"sgd"` with momentum, or `"adam"`.
        rates: the learning rates, one after the other.
        drops: fractions of the epochs at which the next rate begins, one less.
        weight_decay: float >= 0, factor of a penalty weight_decay / 2 |w|^2, whose
            gradient is added before momentum, or Adam's moments.
        momentum: of SGD.
        nesterov: bool, of SGD.
        rate_per_batch: bool, whether the study has the rates in proportion to
            the size of the batch.
        kernel_decay: float >= 0, factor of a penalty on generated kernels, of
            layers that share one static generator.
        kl: factor of the KL divergence where layers have one: a number, or
            `"blundell"`.
        data: a `Preparation`.
        initial: `InitialValues`, or `None` for those of the layers.
        network_options: arguments of the network.
        kit_options: arguments of the kit, where it has them.
        learned_noise: bool, whether a hypernetwork is better trained in a
            `tfhyper.Variational`, by `tfhyper.training.compile_variational_recipe`,
            as `tfhyper train` then does. `compile` takes no notice.
        sources: where each number is from: name of an attribute -> text.
        notes: what was read in two ways, and what is not done here.
        stands_in_for: the network and the data set that nothing is known of, if
            `recipe_for` chose this one in their place.

    Example:

    >>> recipe = tfhyper.training.RECIPES["wide_resnet", "cifar10"]
    >>> recipe.name, recipe.rates[0], recipe.weight_decay
    ('wrn-cifar10', 0.1, 0.0005)
    >>> shorter = dataclasses.replace(recipe, epochs=20)
    """

    name: str
    study: str
    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"]
    rates: tuple[float, ...]
    drops: tuple[float, ...]
    weight_decay: float
    sources: Mapping[str, str]
    momentum: float = 0.9
    nesterov: bool = True
    rate_per_batch: bool = False
    kernel_decay: float = 0.0
    kl: float | Literal["blundell"] = 1.0
    data: Preparation = Preparation()
    initial: InitialValues | None = InitialValues()
    network_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    kit_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learned_noise: bool = False
    notes: tuple[str, ...] = ()
    stands_in_for: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        check_positive_integer("epochs", self.epochs)
        check_positive_integer("batch_size", self.batch_size)
        check_choice("optimizer", self.optimizer, ("sgd", "adam"))
        for name in ("weight_decay", "momentum", "kernel_decay"):
            check_number(name, getattr(self, name))
        if self.kl != "blundell":
            check_number("kl", self.kl)
        check_rates(self.rates, self.drops)

    def compile(
        self,
        model: keras.Model,
        epochs: int,
        steps_per_epoch: int,
        *,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        decay_generator: bool = True,
        generator_decay: float | None = None,
        metrics: Metrics = ("accuracy",),
        fast_generator: bool = True,
        **compile_options: Any,
    ) -> keras.Model:
        """Compiles a classifier with the optimizer of the recipe.

        Cross-entropy of logits, and beside it the KL divergences and penalties of the
        layers. `tfhyper.training.compile_recipe` says which weights decay.

        Args:
            model: a model that gives logits.
            epochs: int > 0, all the epochs of the training: the rate drops at
                fractions of them.
            steps_per_epoch: int > 0, batches in an epoch.
            batch_size: int > 0, examples in a batch, where it is not the recipe's: a
                recipe with `rate_per_batch` changes its rates in proportion.
            learning_rate: float > 0, the first rate in place of the recipe's (and of
                that proportion); those after it change in proportion.
            weight_decay: float >= 0, in place of the recipe's; 0 is maximum
                likelihood.
            decay_generator: bool, whether the generators' weights decay, too.
            generator_decay: float >= 0, the decay of the generators' weights where it
                is to be another one than that of the rest; `None`: the same.
            metrics: metrics for `model.compile`. For a hundred classes or more the
                accuracy of the five most probable ones, `top_5_accuracy`, is added.
            fast_generator: bool, train generators without their whole gradients where
                that is exact: `tfhyper.training.use_fast_generator`.
            **compile_options: more arguments of `model.compile`.

        Returns:
            The model, compiled.

        Raises:
            ValueError: for an argument out of range.
            TypeError: if the model is none of Keras.

        Example:

        >>> recipe = tfhyper.training.RECIPES["wide_resnet", "cifar10"]
        >>> model = recipe.compile(tfhyper.models.wide_resnet(10, 1), 800, 391)
        >>> round(float(model.optimizer.learning_rate), 4)
        0.1
        """
        check_instance("model", model, keras.Model, "a Keras model")
        first, factor = self.rates[0], 1.0
        if batch_size is not None:
            check_positive_integer("batch_size", batch_size)
            factor = batch_size / self.batch_size if self.rate_per_batch else 1.0
        if learning_rate is not None:
            factor = check_number("learning_rate", learning_rate, positive=True) / first
        rate = rates_schedule(
            tuple(factor * x for x in self.rates), self.drops, epochs, steps_per_epoch
        )
        decay = self.weight_decay
        if weight_decay is not None:
            decay = check_number("weight_decay", weight_decay)
        optimizer: keras.optimizers.Optimizer
        roles, own = no_decay_roles(decay_generator), {}
        if generator_decay is not None:
            own = {GENERATOR: check_number("generator_decay", generator_decay)}
        if self.optimizer == "adam":
            optimizer = CoupledDecayAdam(
                rate, coupled_decay=decay, no_decay_roles=roles, role_decays=own
            )
        else:
            optimizer = CoupledDecaySGD(
                rate,
                self.momentum,
                self.nesterov,
                decay,
                no_decay_roles=roles,
                role_decays=own,
            )
        if self.kernel_decay:
            for layer in keras_private.flatten_layers(model):
                if isinstance(layer, StaticHyperConv2D):
                    penalty = keras.regularizers.L2(self.kernel_decay / 2)
                    layer.kernel_regularizer = penalty
        if model.built and model.output_shape[-1] >= MANY_CLASSES:
            top_5 = keras.metrics.SparseTopKCategoricalAccuracy(
                5, name="top_5_accuracy"
            )
            metrics = [*metrics, top_5]
        return compile_classifier(
            model, optimizer, metrics, fast_generator, compile_options
        )

    def initialize(self, model: keras.Model, seed: int = 0) -> keras.Model:
        """Gives plain layers and mean kernels the first weights of the study.

        Call it on a new network, before it is trained. Generators, posteriors and
        their parameters keep what their layers gave them.

        Args:
            model: a built model.
            seed: int in 0 <= seed < 2**31.

        Returns:
            The model.

        Raises:
            TypeError: if the model is none of Keras.
            ValueError: if it is not built, or for a seed out of range.

        Example:

        >>> recipe = tfhyper.training.RECIPES["resnext", "cifar10"]
        >>> model = tfhyper.models.resnext(11, 2, 4, kit="deterministic")
        >>> recipe.initialize(model, seed=1) is model
        True
        """
        check_instance("model", model, keras.Model, "a Keras model")
        check_integer("seed", seed, 0, 2**31 - 1)
        if not model.built:
            raise ValueError(
                "`model` must be built: its weights are what is set. "
                f"Received: model={model!r}"
            )
        initial = self.initial
        if initial is None:
            return model
        rng = np.random.default_rng(seed)
        for layer in keras_private.flatten_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                if layer.gamma is not None and initial.gamma == "uniform":
                    layer.gamma.assign(rng.uniform(size=layer.gamma.shape))
            elif isinstance(layer, GeneratedKernel):
                if layer.mean is not None:
                    _set_kernel(initial, layer, layer.mean, rng)
            elif isinstance(layer, StochasticLayer):
                continue
            elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
                _set_kernel(initial, layer, layer.kernel, rng)
                if layer.bias is not None:
                    layer.bias.assign(np.zeros(layer.bias.shape))
        return model

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns the callbacks for a network whose layers have a KL divergence.

        Example:

        >>> recipe = tfhyper.training.NAMED_RECIPES["bayesian-cnn"]
        >>> [type(callback).__name__ for callback in recipe.callbacks()]
        ['BlundellKL']
        """
        return [BlundellKL() if self.kl == "blundell" else KLSchedule(self.kl)]

    def describe(self, sources: bool = False) -> str:
        """Returns the recipe in words.

        Args:
            sources: bool, whether with the source of each number, on lines of their
                own, and the notes.

        Example:

        >>> print(tfhyper.training.RECIPES["pyramidnet", "cifar10"].describe())
        pyramidnet-cifar10: 600 epochs of batches of 128; SGD, Nesterov momentum 0.9;
        rate 0.1, 0.01 from 50 %, 0.001 from 75 %; decay 0.0001; ...
        """
        check_bool("sources", sources)
        optimizer = "Adam"
        if self.optimizer == "sgd":
            optimizer = f"SGD, {'Nesterov ' * self.nesterov}momentum {self.momentum:g}"
        later = zip(self.rates[1:], self.drops, strict=True)
        rates = [f"{self.rates[0]:g}", *(f"{r:g} from {100 * d:g} %" for r, d in later)]
        parts = [
            f"{self.epochs} epochs of batches of {self.batch_size}",
            optimizer,
            f"rate {', '.join(rates)}",
            f"decay {self.weight_decay:g}",
        ]
        if self.kernel_decay:
            parts.append(f"decay of generated kernels {self.kernel_decay:g}")
        parts.append(_in_words(self.data))
        initial = self.initial
        if initial is not None:
            parts.append(
                f"convolutions by fan-{initial.fan}, gamma {initial.gamma}, "
                f"classifier {initial.classifier}"
            )
        for options in (self.network_options, self.kit_options):
            parts += [f"{name} {value}" for name, value in options.items()]
        if self.kl != 1.0:
            parts.append(f"KL {self.kl}")
        text = f"{self.name}: {'; '.join(parts)}"
        if self.stands_in_for is not None:
            network, dataset = self.stands_in_for
            text += f" (as nothing is known of {network} on {dataset})"
        if sources:
            lines = [f"  {name}: {source}" for name, source in self.sources.items()]
            lines += [f"  note: {note}" for note in self.notes]
            text = "\n".join([text, f"  study: {self.study}", *lines])
        return text

    def settings(self) -> dict[str, Any]:
        """Returns all that a training depends on, as JSON values, for a `Workdir`.

        Example:

        >>> tfhyper.training.RECIPES["wide_resnet", "cifar10"].settings()["rates"]
        [0.1, 0.02, 0.004, 0.0008]
        """
        values = dataclasses.asdict(self)
        for name in ("sources", "notes", "study", "stands_in_for"):
            del values[name]
        return _as_json(values)


def _set_kernel(
    initial: InitialValues,
    layer: keras.layers.Layer,
    kernel: keras.Variable,
    rng: np.random.Generator,
) -> None:
    *inputs, outputs = kernel.shape
    fan = int(np.prod(inputs))
    if isinstance(layer, keras.layers.Conv2D):
        if initial.fan == "out":
            fan = int(np.prod(inputs[:-1])) * outputs
    elif initial.classifier == "uniform":
        kernel.assign(rng.uniform(-1, 1, kernel.shape) / np.sqrt(fan))
        return
    kernel.assign(rng.normal(size=kernel.shape) * np.sqrt(2 / fan))


def _in_words(data: Preparation) -> str:
    parts = []
    if data.mean is None:
        parts.append("the set's mean and deviation")
    elif any(data.mean) or data.std != (1.0,) * len(data.mean):
        numbers = ", ".join(f"{255 * x:.1f}" for x in (*data.mean, *(data.std or ())))
        parts.append(f"mean and deviation {numbers} of 255")
    else:
        parts.append("divided by 255")
    parts.append(
        f"crops padded by {data.crop_padding}, flips"
        if data.augment
        else "not augmented"
    )
    if data.color_jitter:
        parts.append(f"colour jitter {data.color_jitter:g}")
    if data.resize_method != "bilinear":
        parts.append(data.resize_method)
    if data.train_split is not None:
        parts.append(f"splits {data.train_split}")
    return "images: " + ", ".join(parts)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(x) for name, x in value.items()}
    return [_as_json(x) for x in value] if isinstance(value, list | tuple) else value
