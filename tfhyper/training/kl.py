"""Schedules of the KL divergence in the loss of a variational network."""

import math
from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_integer, check_number, check_positive_integer
from tfhyper.layers import variational_layers
from tfhyper.layers.variational import VariationalLayer
from tfhyper.tensor_types import Tensor


def kl_divergence(model: keras.Model) -> Tensor:
    """Returns KL(q || p) in nats, the sum over all layers that have one.

    A scalar tensor, without the layers' `kl_weight` and the schedules' factor.

    Raises:
        ValueError: if no layer of the model has a KL divergence.

    Example:

    >>> float(tfhyper.training.kl_divergence(model)) > 0
    True
    """
    layers = _check_layers(model)
    return sum(layer.kl_divergence() for layer in layers)


class KLSchedule(keras.callbacks.Callback):
    """Sets the factor of the KL divergence during training, and logs it.

    The loss is the data term + factor x kl_weight x KL. This callback alone
    keeps the factor at `factor`; its subclasses change it. At the end of each
    epoch the logs gain

        kl_factor   the factor of the last batch
        kl          the KL divergence, in nats, with neither factor nor weight

    beside `nll`, the data term, if it is one of the compiled metrics, as
    `tfhyper.training.compile_recipe` has it. Place it before callbacks that
    write logs.

    The factor is a weight of each layer, saved with the model. It is a function
    of the epoch and the batch, so that a resumed training goes on as it was.

    Args:
        factor: float >= 0. Below 1 the posterior is "cold".

    Raises:
        ValueError: for a factor out of range, or (when training begins) a model
            without such layers.

    Example:

    >>> schedule = tfhyper.training.KLSchedule(0.1)
    >>> history = model.fit(x_train, y_train, callbacks=[schedule], verbose=0)
    >>> round(float(model.get_layer("conv").kl_factor), 3)
    0.1
    """

    def __init__(self, factor: float = 1.0):
        super().__init__()
        self.constant = check_number("factor", factor)

    def factor(self, epoch: int, batch: int, steps: int | None) -> float:
        """Returns the factor for one batch.

        Args:
            epoch: int >= 0.
            batch: int >= 0, in the epoch.
            steps: batches in an epoch, `None` if they are not known.
        """
        _check_place(epoch, batch, steps)
        return self.constant

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the layers."""
        self._layers = _check_layers(self.model)
        self._last: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Sets the factor of the batch."""
        factor = self.factor(self._epoch, batch, self.params.get("steps"))
        if factor != self._last:
            for layer in self._layers:
                layer.kl_factor.assign(factor)
            self._last = factor

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds `kl` and `kl_factor` to the logs."""
        if logs is not None:
            logs["kl"] = float(ops.convert_to_numpy(kl_divergence(self.model)))
            factor = self._layers[0].kl_factor
            logs["kl_factor"] = float(ops.convert_to_numpy(factor))


class LinearKLWarmup(KLSchedule):
    """Raises the factor of the KL divergence linearly from 0 to 1, by batches.

        factor = min(1, (epoch + (batch + 1) / steps) / epochs)

    Args:
        epochs: int > 0, the epochs that it takes.

    Raises:
        ValueError: if `epochs` is not positive, or the number of batches in an
            epoch is not known in training.

    Example:

    >>> schedule = tfhyper.training.LinearKLWarmup(10)
    >>> history = model.fit(x_train, y_train, callbacks=[schedule], verbose=0)
    >>> "loss" in history.history
    True
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = check_positive_integer("epochs", epochs)

    def factor(self, epoch: int, batch: int, steps: int | None) -> float:
        """Returns the factor for one batch."""
        _check_place(epoch, batch, steps)
        return min(1.0, (epoch + (batch + 1) / _check_steps(steps)) / self.epochs)


class SonderbyKLWarmup(KLSchedule):
    """Raises the factor of the KL divergence from 0 to 1, by epochs.

        factor = min(1, epoch / warmup_epochs)

    so that the first epoch has no KL term at all (Sonderby et al., 2016, section
    3). The code of the Bayesian CNN takes a quarter of the training for it.

    Args:
        warmup_epochs: int > 0.

    Raises:
        ValueError: if `warmup_epochs` is not positive.

    Example:

    >>> schedule = tfhyper.training.SonderbyKLWarmup(warmup_epochs=100 // 4)
    >>> history = model.fit(x_train, y_train, callbacks=[schedule], verbose=0)
    >>> "loss" in history.history
    True

    Reference:
        Sonderby et al.: Ladder variational autoencoders, NeurIPS 2016.
    """

    def __init__(self, warmup_epochs: int):
        super().__init__()
        self.warmup_epochs = check_positive_integer("warmup_epochs", warmup_epochs)

    def factor(self, epoch: int, batch: int, steps: int | None) -> float:
        """Returns the factor for one batch."""
        _check_place(epoch, batch, steps)
        return min(1.0, epoch / self.warmup_epochs)


class BlundellKL(KLSchedule):
    """Gives the first batches of each epoch more of the KL divergence.

    Blundell et al. (2015), section 3.4: of M batches, number i = 1 ... M bears
    the share

        pi_i = 2^(M - i) / (2^M - 1)

    of the epoch's KL divergence. With a constant factor of 1 each batch bears
    1 / M of it, so that here factor = M pi_i, whose mean over the epoch is 1.

    Raises:
        ValueError: if the number of batches in an epoch is not known in training.

    Example:

    >>> schedule = tfhyper.training.BlundellKL()
    >>> history = model.fit(x_train, y_train, callbacks=[schedule], verbose=0)
    >>> "loss" in history.history
    True

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """

    def __init__(self) -> None:
        super().__init__()

    def factor(self, epoch: int, batch: int, steps: int | None) -> float:
        """Returns the factor for one batch."""
        _check_place(epoch, batch, steps)
        steps = _check_steps(steps)
        # 2^(M - i) / (2^M - 1), divided by 2^M above and below: no overflow.
        return steps * 2.0 ** -(batch + 1) / -math.expm1(-steps * math.log(2.0))


def _check_place(epoch: int, batch: int, steps: int | None) -> None:
    check_integer("epoch", epoch, 0)
    check_integer("batch", batch, 0)
    if steps is not None:
        check_positive_integer("steps", steps)


def _check_steps(steps: int | None) -> int:
    if steps is None:
        raise ValueError(
            "The number of batches in an epoch must be known for this schedule, "
            "`steps`: give `steps_per_epoch` to `fit`. Received: steps=None"
        )
    return steps


def _check_layers(model: keras.Model) -> list[VariationalLayer]:
    layers = variational_layers(model)
    if not layers:
        raise ValueError(
            "`model` must have layers with a KL divergence, such as "
            f"tfhyper.layers.BayesConv2D. Received: model={model.name!r}"
        )
    return layers
