"""Validation by draws of the posterior, while a network is trained."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer, naming
from tfhyper.layers.seeds import check_seed
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.running.batches import check_source
from tfhyper.tensor_types import Structure


class PosteriorValidation(keras.callbacks.Callback):
    """Validates by a small predictor at the end of epochs, in place of one call.

    `fit(validation_data=...)` judges a network by one draw and by BatchNorm's moving
    averages. Those of a network with generated kernels mix the statistics of all the
    kernels that training went through, and the numbers mean little. Here each of a few
    draws gets statistics of its own from training inputs, as
    `tfhyper.PosteriorPredictor.estimate_batch_norm` does, and the logs gain the scores
    of their averaged prediction, those of `PosteriorPredictor.evaluate`:

        val_error, val_nll (nats), val_brier, val_ece       of a classifier
        val_rmse, val_crps, val_nll (nats), ...             of a regression
        val_loss        the same as val_nll
        val_accuracy    1 - val_error, of a classifier

    Place it before callbacks that read the logs, such as `ModelCheckpoint` and
    `EarlyStopping`, and leave out `validation_data`, whose numbers it would replace.
    The draws are the same at each epoch. Training goes on as it would without the
    callback, and on the weights of the last epoch it says what such a predictor would.

    Args:
        validation_data: `(x, y)`, or a `tf.data.Dataset` of batches `(x, y)`.
        train_inputs: training inputs for BatchNorm's statistics, or a dataset of
            batches; a few hundred examples do.
        num_draws: int > 0, draws to average over.
        every: int > 0: at the end of each so many epochs.
        batch_size: int > 0, of arrays, in both passes; best that of training.
        seed: int in 0 <= seed < 2**31, from which the draws are made, or `None` for a
            fresh one.
        **options: further arguments of `tfhyper.PosteriorPredictor`, such as
            `outputs` and `noise_variance`. If nothing in the model draws, there is one
            draw.

    Raises:
        ValueError: for sizes that are not positive, a seed out of range and inputs
            without examples; and when training begins, or for a
            model that is not built then at the end of an epoch, what
            `tfhyper.PosteriorPredictor` raises for the model, and for a regression
            without a noise variance.
        TypeError: if `validation_data` is neither a pair nor a dataset, or
            `train_inputs` nothing that can be read again and again.

    Example:

    >>> validation = tfhyper.training.PosteriorValidation(
    ...     (x_val, y_val), x_train[:100]
    ... )
    >>> best = keras.callbacks.ModelCheckpoint(
    ...     "best.keras", monitor="val_loss", save_best_only=True
    ... )
    >>> history = model.fit(
    ...     x_train, y_train, epochs=2, callbacks=[validation, best], verbose=0
    ... )
    >>> len(history.history["val_loss"])
    2
    """

    def __init__(
        self,
        validation_data: Any,
        train_inputs: Structure,
        *,
        num_draws: int = 4,
        every: int = 1,
        batch_size: int = 128,
        seed: int | None = 0,
        **options: Any,
    ):
        super().__init__()
        if not isinstance(validation_data, tuple | list):
            if not hasattr(validation_data, "element_spec"):
                raise TypeError(
                    "`validation_data` must be a pair (x, y) or a tf.data.Dataset. "
                    f"Received: validation_data of type {type(validation_data)}"
                )
            validation_data = (validation_data,)
        elif len(validation_data) != 2:
            raise ValueError(
                "`validation_data` must be a pair (x, y). Received: "
                f"validation_data of {len(validation_data)} parts"
            )
        self.validation_data = tuple(validation_data)
        check_source("train_inputs", train_inputs)
        self.train_inputs = train_inputs
        self.num_draws = check_positive_integer("num_draws", num_draws)
        self.every = check_positive_integer("every", every)
        self.batch_size = check_positive_integer("batch_size", batch_size)
        self.options = {"seed": check_seed(seed), **options}
        self._predictor: PosteriorPredictor | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Makes the predictor, if the model is built already."""
        self._predictor = self._make_predictor() if self.model.built else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the scores to the logs."""
        if (epoch + 1) % self.every or logs is None:
            return
        predictor = self._predictor = self._predictor or self._make_predictor()
        # Takes the present weights, too.
        size = self._calibration_size()
        with naming("train_inputs", "inputs that the network takes"):
            predictor.estimate_batch_norm(self.train_inputs, size, verbose=0)
        x, y, *_ = *self.validation_data, None  # a dataset has the labels inside
        scores = self.evaluate(predictor, x, y)
        if "error" in scores:
            scores = {"accuracy": 1.0 - scores["error"], **scores}
        # Of several outputs the sum, as that of their losses in training.
        losses = [scores[name] for name in scores if name.split("_")[-1] == "nll"]
        scores = {"loss": sum(losses), **scores}
        logs.update({f"val_{name}": value for name, value in scores.items()})

    def evaluate(
        self, predictor: PosteriorPredictor, x: Any, y: Any
    ) -> dict[str, float]:
        """Returns the scores of the averaged prediction of the validation data.

        Args:
            predictor: the predictor of the present weights.
            x: inputs, or a dataset that has the labels inside.
            y: labels, or `None`.
        """
        return predictor.evaluate(x, y, batch_size=self.batch_size, verbose=0)

    def _calibration_size(self) -> int | None:
        """The batch size of the pass for BatchNorm: a mini-batch has its own."""
        minibatch = self.options.get("batch_norm") == "minibatch"
        return None if minibatch else self.batch_size

    def _make_predictor(self) -> PosteriorPredictor:
        one = PosteriorPredictor(self.model, num_draws=None, **self.options)
        num_draws = min(self.num_draws, one.num_draws)
        predictor = PosteriorPredictor(self.model, num_draws=num_draws, **self.options)
        if not predictor.task.has_likelihood:
            raise ValueError(
                "`noise_variance` must be above 0 for a regression with "
                '`outputs="mean"`, whose likelihood needs it. Received: '
                f"noise_variance={predictor.noise_variance}"
            )
        return predictor
