"""Layers whose posterior has a density, so that the loss gains a KL divergence."""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_instance, check_number
from tfhyper.keras_private import flatten_layers, only_shapes, outermost_model
from tfhyper.layers.mixin import LayerMixin
from tfhyper.tensor_types import Tensor


class VariationalLayer(LayerMixin):
    """Part of a layer whose posterior q(w) has a KL divergence from a prior p(w).

    The term weight * kl_factor * KL(q || p) is the regularizer of one of the
    layer's variables. So `model.losses` holds it once for each layer, whatever
    the number of calls, before and after the first one, in `model.fit` and in
    any other loop that adds `model.losses`. `kl_factor` is a weight, which
    schedules set. The weight is `kl_weight`, an attribute of the layer, a float
    >= 0; or, with `kl_weight=None`, it is found from the data:

        weight = 0        in the first epoch, which counts its N examples
        weight = 1 / N    then, N those of the last whole epoch

    so that the KL term fades in after an epoch of the data term alone, and beside
    a loss that is the mean over the batch the sum is the negative evidence lower
    bound of one example. An example is a row of the layer's inputs; where a layer
    is called several times in a step, the most rows of one call count. An epoch
    ends when Keras resets the metrics of the model, as `fit` and `evaluate` do when
    they begin and `fit` for each epoch. N is the examples of a step times the steps
    of an epoch: the size of the data, unless `steps_per_epoch` says otherwise or
    an epoch was broken off, whose part counts for the next epoch. The counts are
    weights, saved with the layer. In a loop of your own, give `kl_weight`, or call
    `model.reset_metrics()` when an epoch begins: else there is no KL term, and of a
    model that is not compiled there is a warning.

    Example:

    >>> layer = tfhyper.layers.BayesDense(10, kl_weight=1 / 60_000)
    >>> layer.build((None, 64))
    >>> round(float(layer.losses[0] * 60_000 / layer.kl_divergence()), 3)
    1.0
    """

    @property
    def has_divergence(self) -> bool:
        """Whether q has a density; not where the arguments say that it is points."""
        return True

    def build_kl_factor(self) -> None:
        """Makes the weight that schedules set, 1 at the start, and the counts."""
        # A weight, not an attribute: a compiled training step would not see the
        # attribute change.
        self.kl_factor = keras.Layer.add_weight(
            self,
            shape=(),
            initializer="ones",
            trainable=False,
            autocast=False,
            name="kl_factor",
        )
        if self.kl_weight is not None:
            return
        self.examples = keras.Layer.add_weight(
            self,
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="examples",
        )
        # How many examples this step has, and the steps of this epoch before it. Each
        # replica counts its own, as metrics do; outside of them their sum is read.
        self.examples_seen = keras.Variable(
            "zeros",
            shape=(2,),
            dtype="int32",
            trainable=False,
            aggregation="sum",
            synchronization="on_read",
            name="examples_seen",
        )
        self._epochs = EpochBegin(self._take_examples)

    def count_examples(self, inputs: Tensor, training: bool | None) -> None:
        """Counts the examples of a call in training, if the KL's weight needs it."""
        if self.kl_weight is None and training:
            _warn_of_own_loop()
            step, epoch = ops.unstack(ops.convert_to_tensor(self.examples_seen), 2)
            size = ops.cast(ops.shape(inputs)[0], "int32")
            self.examples_seen.assign(ops.stack([ops.maximum(step, size), epoch]))

    def _end_step(self) -> None:
        # Reading the losses ends a step. Reading them again changes nothing.
        step, epoch = ops.unstack(ops.convert_to_tensor(self.examples_seen), 2)
        self.examples_seen.assign(ops.stack([ops.zeros_like(step), step + epoch]))

    def _take_examples(self) -> None:
        # What is left of a step whose losses nobody read is no part of a training.
        seen = int(ops.convert_to_numpy(self.examples_seen)[1])
        if seen:
            self.examples.assign(seen)
            self.examples_seen.assign(np.zeros((2,), "int32"))

    def check_no_regularizer(self) -> None:
        """Raises ValueError for a regularizer of the kernel."""
        name = f"{self.kernel_argument}_regularizer"
        if getattr(self, name) is not None:
            raise ValueError(
                f"`{name}` must be None: the prior is the regularizer. "
                f"Received: {name}={getattr(self, name)!r}"
            )

    def kl_divergence(self) -> Tensor:
        """Returns KL(q || p) in nats, summed over all weights: a scalar tensor.

        Where it has no formula, an estimate with one draw, which is a function of
        the weights alone: their counts of draws say which draw.
        """
        raise NotImplementedError

    def weighted_kl(self) -> Tensor:
        """Returns the layer's term of the loss."""
        return self._weight_of_kl() * self.kl_factor * self.kl_divergence()

    def _weight_of_kl(self) -> Any:
        if self.kl_weight is not None:
            return self.kl_weight
        self._end_step()
        examples = ops.cast(self.examples, self.kl_factor.dtype)
        known = ops.cast(examples > 0, examples.dtype)
        return known / ops.maximum(examples, 1.0)


class KLTerm(keras.regularizers.Regularizer):
    """A layer's term of the loss, as Keras asks for it: a regularizer of a variable.

    Some releases of Keras take no other callable for one.
    """

    def __init__(self, layer: VariationalLayer):
        self._layer = layer

    def __call__(self, x: Any) -> Tensor:
        return self._layer.weighted_kl()


# The models whose users were warned.
_warned: weakref.WeakSet[keras.Model] = weakref.WeakSet()


def _warn_of_own_loop() -> None:
    """Warns once of a model in training that is not compiled: nobody counts epochs."""
    model = outermost_model()
    if model is None or model.compiled or model in _warned or only_shapes():
        return
    _warned.add(model)
    warnings.warn(
        f"Model '{model.name}' is called in training and is not compiled: in a loop of "
        "your own, give its variational layers `kl_weight`, 1 / N with N training "
        "examples, or call `model.reset_metrics()` when each epoch begins. Without "
        "either, the loss has no KL divergence.",
        stacklevel=2,
    )


class EpochBegin(keras.metrics.Metric):
    """Measures nothing: tells a layer when Keras resets the metrics of its model.

    Which it does when an epoch begins, on every backend. The layer holds it, so that
    it is among the metrics of every model that holds the layer.
    """

    def __init__(self, on_reset: Callable[[], None]):
        super().__init__(name="epoch_begin")
        self._on_reset = on_reset

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        pass

    def result(self) -> dict:
        return {}  # no entry in the logs

    def reset_state(self) -> None:
        self._on_reset()


def check_kl_weight(kl_weight: float | None) -> float | None:
    """Returns a `kl_weight`: a float >= 0, or `None` for one found from the data.

    Raises:
        ValueError, TypeError: for anything else.
    """
    return None if kl_weight is None else check_number("kl_weight", kl_weight)


def variational_layers(model: keras.Layer) -> list[VariationalLayer]:
    """Returns the layers with a KL divergence of a model, nested ones included.

    Raises:
        TypeError: for what is no layer or model of Keras.

    Example:

    >>> [layer.name for layer in tfhyper.layers.variational_layers(model)]
    ['conv', 'logits']
    """
    check_instance("model", model, keras.Layer, "a Keras model or layer")
    layers = flatten_layers(model)
    return [x for x in layers if isinstance(x, VariationalLayer) and x.has_divergence]
